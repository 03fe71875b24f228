"""The brain-age gap: a planted effect of age is found and none is not, and nothing leaks."""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, cross_val_predict
from sklearn.pipeline import make_pipeline

from prognosis import BrainAgeGap, CohortError, TabularEncoder, make_stroke_cohort
from prognosis.evaluation.protocol.comparison import compare

PANES = [("axial", (0, 96), (0, 80))]
YEARS_PER_PIXEL = 8.0


def drawn(looks_aged, rng):
    """An axial section whose ventricle widens by a pixel in eight years, as a NIfTI of a slice."""
    x, y = np.indices((80, 96)) - np.array([39.5, 47.5])[:, None, None]
    data = np.where((x / 36) ** 2 + (y / 44) ** 2 < 1, 120 + rng.normal(0, 8, x.shape), 0)
    width = max(1.0, looks_aged / YEARS_PER_PIXEL)
    data[(x / width) ** 2 + (y / (1.5 * width)) ** 2 < 1] = 30
    return nib.Nifti1Image(data[..., None].astype(np.float32), np.eye(4))


def people(n, seed, planted=True):
    """Age, how old the brain looks, and its picture."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(30, 85, n).round()
    ahead = rng.normal(0, 6, n)
    looks = (age if planted else rng.permutation(age)) + ahead
    index = [f"sub-{k:03}" for k in range(n)]
    flair = pd.Series([drawn(years, rng) for years in looks], index, dtype=object)
    return pd.DataFrame({"flair": flair, "age": age}, index), ahead


def gap(**parameters):
    return BrainAgeGap(**{"panes": PANES, "alpha": 10.0, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def cohort():
    return people(90, 0)


@pytest.fixture(scope="module")
def fitted(cohort):
    model = gap(predicted="brain_age")
    return model, model.fit_transform(cohort[0])


class PairsApart:
    """Folds that know no patient."""

    def split(self, X, y, groups):
        halves = np.arange(len(X) // 2), np.arange(len(X) // 2, len(X))
        return [halves, halves[::-1]]


def correlation(a, b):
    return np.corrcoef(np.asarray(a, float), np.asarray(b, float))[0, 1]


def test_a_planted_effect_is_recovered(cohort, fitted):
    (X, ahead), (model, table) = cohort, fitted
    assert table.columns.tolist() == ["flair", "age", "brain_age_gap", "brain_age"]
    assert model.get_feature_names_out().tolist() == table.columns.tolist()
    assert correlation(table["brain_age"], X["age"]) == pytest.approx(model.correlation_)
    assert model.correlation_ > 0.85
    assert np.abs(table["brain_age"] - X["age"]).mean() == pytest.approx(model.mean_absolute_error_)
    assert model.mean_absolute_error_ < 8
    assert correlation(table["brain_age_gap"], ahead) > 0.8
    new, new_ahead = people(60, 1)
    told = model.transform(new)
    assert correlation(told["brain_age"], new["age"]) > 0.85
    assert correlation(told["brain_age_gap"], new_ahead) > 0.8
    assert abs(correlation(told["brain_age_gap"], new["age"])) < 0.3


def test_the_gap_is_uncorrelated_with_age_in_training(cohort, fitted):
    (X, _), (model, table) = cohort, fitted
    assert correlation(table["brain_age_gap"], X["age"]) == pytest.approx(0, abs=1e-9)
    assert table["brain_age_gap"].mean() == pytest.approx(0, abs=1e-9)
    intercept, slope = model.line_
    line = np.polyfit(X["age"], table["brain_age"], 1)
    np.testing.assert_allclose([slope, intercept], line, rtol=1e-6)
    again = table["brain_age"] - intercept - slope * X["age"]
    np.testing.assert_allclose(table["brain_age_gap"], again)


def test_no_effect_is_not_found():
    found = []
    for seed in range(4):
        X, _ = people(90, seed, planted=False)
        model = gap(predicted="seen", alpha=0.1).fit(X)
        found.append(model.correlation_)
        # What was learnt from does look predictable: that is why predictions are cross-fitted.
        assert correlation(model.transform(X)["seen"], X["age"]) > 0.8
    assert abs(np.mean(found)) < 0.2
    new, _ = people(60, 9, planted=False)
    assert abs(correlation(model.transform(new)["seen"], new["age"])) < 0.3


def test_weights_lie_where_age_is_planted(fitted):
    (picture,) = fitted[0].weight_pictures()
    assert picture.shape == (24, 20)
    row, column = np.unravel_index(np.abs(picture).argmax(), picture.shape)
    assert 7 <= row <= 16 and 6 <= column <= 13
    assert picture[row, column] < 0  # darker is older


def test_a_training_patient_gets_what_a_model_without_them_says(cohort, fitted):
    X = cohort[0]
    folds = KFold(5, shuffle=True, random_state=3)
    honest = gap(cv=folds, predicted="seen").fit_transform(X)["seen"]
    for train, test in folds.split(X):
        without = gap(predicted="seen").fit(X.iloc[train]).transform(X.iloc[test])["seen"]
        np.testing.assert_allclose(honest.iloc[test], without, rtol=1e-9)
    again = gap(predicted="brain_age").fit_transform(X)
    pd.testing.assert_frame_equal(again, fitted[1])
    other = gap(predicted="brain_age", random_state=1).fit_transform(X)
    assert not np.allclose(other["brain_age"], again["brain_age"])


def test_rows_of_one_patient_stay_together():
    """Two rows each whose noise is alike: apart, the model knows patients and not ages."""
    X, _ = people(30, 0, planted=False)
    twice = pd.concat([X, X.set_axis([f"{row}-b" for row in X.index])])
    twice["subject"] = np.tile(np.arange(30), 2)
    apart = gap(alpha=0.1).fit(twice).correlation_
    declared = gap(alpha=0.1, patient="subject").fit(twice).correlation_
    given = gap(alpha=0.1).fit(twice, groups=twice["subject"].to_numpy()).correlation_
    assert apart > 0.6 and declared < 0.3 and given == declared
    with pytest.raises(CohortError, match=r"group .* is in training and in test"):
        gap(cv=PairsApart(), patient="subject").fit(twice)
    assert gap(alpha=0.1, cv=GroupKFold(5), patient="subject").fit(twice).correlation_ < 0.4


def test_who_has_no_age_teaches_nothing_and_has_no_gap(cohort):
    X = cohort[0].copy()
    without = X.index[[4, 50]]
    X.loc[without, "age"] = np.nan
    model = gap(predicted="seen")
    table = model.fit_transform(X)
    assert model.n_learnt_from_ == len(X) - 2
    assert table["seen"].notna().all()
    assert table.index[table["brain_age_gap"].isna()].tolist() == without.tolist()
    rest = gap(predicted="seen").fit(X.drop(without))
    assert rest.line_ == pytest.approx(model.line_)
    new = rest.transform(X.loc[without])
    np.testing.assert_allclose(table.loc[without, "seen"], new["seen"])
    assert new["brain_age_gap"].isna().all()
    known = table["age"].notna()
    assert correlation(table["brain_age_gap"][known], table["age"][known]) == pytest.approx(0)
    X["age"] = np.nan
    with pytest.raises(CohortError, match="column 'age' holds 0 ages in 90 rows"):
        gap().fit(X)


def test_ages_are_numbers(cohort):
    X = cohort[0]
    text = X.assign(age=X["age"].astype(int).astype(str).where(X["age"] < 80, "80+"))
    with pytest.raises(CohortError, match=r"column 'age': found '\d.*' where an age in years"):
        gap().fit(text)
    nullable = X.assign(age=X["age"].astype("Int64"))
    pd.testing.assert_series_equal(
        gap().fit_transform(nullable)["brain_age_gap"], gap().fit_transform(X)["brain_age_gap"]
    )


def test_one_sentence_for_what_cannot_be_used(cohort, fitted, tmp_path):
    X = cohort[0]
    lacking = X.copy()
    lacking.loc["sub-003", "flair"] = None
    with pytest.raises(CohortError, match="row 'sub-003', column 'flair': no image"):
        gap().fit(lacking)
    with pytest.raises(CohortError, match="row 'sub-003', column 'flair': no image"):
        fitted[0].transform(lacking)
    with pytest.raises(CohortError, match="row 'sub-000', column 'flair': the picture has 96 rows"):
        gap(panes="soop").fit(X)
    with pytest.raises(CohortError, match="row 'sub-000', column 'flair': a 2-D picture was found"):
        gap(panes={"axial": 18}).fit(X)
    with pytest.raises(CohortError, match="column 'lesion' not found"):
        gap(lesion="lesion").fit(X)
    masks = X.assign(lesion=pd.Series([None] * len(X), X.index, dtype=object))
    with pytest.raises(CohortError, match="row 'sub-000', column 'lesion': no image"):
        gap(lesion="lesion").fit(masks)
    with pytest.raises(CohortError, match="'brain_age_gap' exists already"):
        gap().fit(X.assign(brain_age_gap=0))
    with pytest.raises(CohortError, match="column 'years' not found"):
        gap(age="years").fit(X)
    with pytest.raises(CohortError, match="5 folds need at least 5 patients, found 4"):
        gap().fit(X[:4])
    with pytest.raises(CohortError, match="in no test fold of cv"):
        gap(cv=ShuffleSplit(2, random_state=0)).fit(X)
    for wrong in ({"alpha": 0}, {"n_components": 0}, {"cv": 1}, {"panes": "axial"}):
        with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' parameter of BrainAgeGap"):
            gap(**wrong).fit(X)
    with pytest.raises(ValueError, match="is not understood"):
        gap(panes=[("oblique", (0, 9), (0, 9))]).fit(X)


def test_what_no_training_patient_has_does_not_run_away(cohort, fitted):
    """No training patient has bright tissue, so nothing is known of it."""
    X = cohort[0].iloc[[0]]
    data = np.asanyarray(X["flair"].iloc[0].dataobj).copy()
    data[50:56, 44:50] = 200
    spot = X.assign(flair=pd.Series([nib.Nifti1Image(data, np.eye(4))], X.index, dtype=object))
    before, after = (fitted[0].transform(table)["brain_age"].item() for table in (X, spot))
    assert abs(after - before) < 20


def test_masked_lesions_do_not_age_a_brain(cohort):
    """Bright spots that come with age are the lesion's doing where they are masked."""
    rng = np.random.default_rng(0)
    X, _ = people(60, 5, planted=False)
    spots, masks = [], []
    for image, age in zip(X["flair"], X["age"]):
        mask = np.zeros(image.shape, np.uint8)
        edge = int(age / 6)
        left, top = rng.integers(14, 44), rng.integers(20, 50)
        mask[left : left + edge, top : top + edge] = 1
        told = np.where(mask > 0, 230, np.asanyarray(image.dataobj)).astype(np.float32)
        spots.append(nib.Nifti1Image(told, np.eye(4)))
        masks.append(nib.Nifti1Image(mask, np.eye(4)))
    for name, images in (("flair", spots), ("lesion", masks)):
        X[name] = pd.Series(images, X.index, dtype=object)
    assert gap().fit(X).correlation_ > 0.8
    assert abs(gap(lesion="lesion").fit(X).correlation_) < 0.4


def test_a_step_of_a_pipeline(cohort):
    X, ahead = cohort
    y = pd.Series(X["age"] / 10 + ahead / 3, X.index)
    plain = make_pipeline(TabularEncoder(["age"]), LinearRegression())
    aware = make_pipeline(gap(), TabularEncoder(["age", "brain_age_gap"]), LinearRegression())
    errors = [np.abs(cross_val_predict(model, X, y, cv=3) - y).mean() for model in (plain, aware)]
    assert errors[1] < 0.75 * errors[0]
    # The learner is trained on cross-fitted gaps.
    aware.fit(X, y)
    columns = gap().fit_transform(X)
    alone = make_pipeline(TabularEncoder(["age", "brain_age_gap"]), LinearRegression())
    np.testing.assert_allclose(aware[-1].coef_, alone.fit(columns, y)[-1].coef_)


def test_compare_hands_on_the_groups(cohort):
    X, ahead = cohort
    X = X.assign(subject=np.repeat(np.arange(45), 2))
    model = make_pipeline(gap(), TabularEncoder(["brain_age_gap"]), LinearRegression())
    result = compare(
        {"gap": model}, X, pd.Series(ahead, X.index), cv=3, groups=X["subject"], random_state=0
    )
    assert len(result.predictions) == 90


@pytest.mark.parametrize("X", [np.ones((6, 2)), [[1, 2], [3, 4]], None], ids=["array", "list", ""])
def test_what_is_no_table_is_refused(X):
    with pytest.raises(CohortError, match="where a DataFrame with one row per patient"):
        gap().fit(X)


def test_life(cohort, fitted, tmp_path, monkeypatch):
    from imaging.sections import describing

    X, (model, table) = cohort[0], fitted
    before, unfitted = X.copy(), gap()
    with pytest.raises(NotFittedError):
        unfitted.transform(X)
    with pytest.raises(NotFittedError):
        unfitted.weight_pictures()
    assert unfitted.fit(X) is unfitted and unfitted.feature_names_in_.tolist() == ["flair", "age"]
    learnt = set(vars(model)) - set(model.get_params(deep=False))
    assert all(name.startswith("_") or name.endswith("_") for name in learnt)
    kept = gap(predicted="brain_age", memory=str(tmp_path), n_jobs=2)
    pd.testing.assert_frame_equal(kept.fit_transform(X), table)

    def read(*args):
        raise AssertionError("read again")

    monkeypatch.setattr(describing, "read_sections", read)
    new = clone(kept).fit(X).transform(X)
    monkeypatch.undo()
    pd.testing.assert_frame_equal(model.transform(X), new)
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(model)).transform(X), new)
    assert len(pickle.dumps(model)) < 50_000  # no patient's picture in it
    pd.testing.assert_frame_equal(X, before)
    order = np.random.default_rng(0).permutation(len(X))[:7]
    pd.testing.assert_frame_equal(model.transform(X.iloc[order]), new.iloc[order])


def test_pictures_in_files_are_as_good(cohort, tmp_path):
    X = cohort[0][:20]
    paths = {}
    for row, image in X["flair"].items():
        paths[row] = str(tmp_path / f"{row}.png")
        grey = np.asanyarray(image.dataobj)[..., 0].T[::-1]
        Image.fromarray(np.clip(grey, 0, 255).round().astype(np.uint8)).save(paths[row])
    files = X.assign(flair=pd.Series(paths))
    a, b = (gap(cv=2).fit_transform(table)["brain_age_gap"] for table in (X, files))
    assert correlation(a, b) > 0.99


def test_volumes_of_simulated_patients():
    """Sections are cut where they are asked for, of volumes and of their masks."""
    X, _ = make_stroke_cohort(12, spacing_mm=8, random_state=0)
    model = BrainAgeGap("t1w", lesion="lesion", cv=3, random_state=0)
    table = model.fit_transform(X)
    assert table["brain_age_gap"].notna().all()
    assert not np.allclose(
        table["brain_age_gap"], clone(model).set_params(lesion=None).fit_transform(X).iloc[:, -1]
    )
    more = clone(model).set_params(panes={"axial": [0, 18, 36], "coronal": -18}).fit(X)
    assert [one.shape for one in more.weight_pictures()] == [(48, 40)] * 3 + [(34, 40)]


def test_real_flair_tells_age(data_home):
    """120 patients, the published pictures as they are, with the lesion painted over."""
    folder = data_home / "soop"
    if not folder.is_dir():
        pytest.skip(f"no Stroke Outcome Optimization Project data at {folder}")
    table = pd.read_csv(folder / "Scripts" / "participants.tsv", sep="\t", dtype={"age": str})[:120]
    X = pd.DataFrame(
        {
            "flair": [str(folder / f"PNG/r{p}_lesion.nii.png") for p in table["participant_id"]],
            "age": pd.to_numeric(table["age"].str.rstrip("+")).to_numpy(),
        },
        index=table["participant_id"],
    )
    assert BrainAgeGap(random_state=0).fit(X).correlation_ > 0.5
