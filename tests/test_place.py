"""Ready models on place: planted regions are found and named, none is found where none is."""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from imaging.atlases import Atlas
from prognosis import (
    BlockEncoder,
    TabularEncoder,
    coef_image,
    coef_table,
    place_model,
    predict_exceeding,
)

# Twelve bars of 2 x 6 x 6 voxels of 4 mm around the origin of the template.
AFFINE = nib.affines.from_matvec(np.eye(3) * 4, [-46, -10, -10])
LABELS = np.repeat(np.arange(1, 13), 2)[:, None, None] * np.ones((1, 6, 6), np.int16)
ATLAS = Atlas(
    nib.Nifti1Image(LABELS.astype(np.int16), AFFINE), {k: f"bar {k}" for k in range(1, 13)}, "bars"
)
PLANTED = 4


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    images, planted = [], []
    for _ in range(240):
        data = np.zeros(LABELS.shape, np.uint8)
        for start in rng.integers(0, 23, rng.integers(1, 4)):
            data[start : start + 2, : rng.integers(1, 7), : rng.integers(2, 7)] = 1
        planted.append(data[LABELS == PLANTED].mean())
        images.append(nib.Nifti1Image(data, AFFINE))
    X = pd.DataFrame({"lesion": images, "nihss": rng.integers(0, 25, 240).astype(float)})
    X["age"] = rng.normal(70, 10, 240)
    latent = 4 * np.sqrt(planted) + np.log1p(X["nihss"]) + rng.logistic(0, 0.7, 240)
    return X.set_axis([f"p{k}" for k in range(240)]), latent.set_axis([f"p{k}" for k in range(240)])


def small(**parameters):
    # On the voxels of 4 mm as they are, else each mask would be resampled first.
    model = place_model(atlas=ATLAS, **parameters).set_params(size__spacing_mm=None)
    return model.set_params(place__least_voxels=0) if "place" in model.named_steps else model


def test_the_planted_region_is_found_and_named(cohort):
    X, latent = cohort
    y = (latent > latent.median()).astype(int)
    table = coef_table(small().fit(X, y))
    assert table.index[:4].tolist() == ["lesion_ml", "log_lesion_count", "nihss", "age"]
    places = table[table["block"] == "place"]
    assert places["coefficient"].idxmax() == f"bar {PLANTED}"
    assert places["coefficient"].nlargest(2).iloc[1] < 0.6 * places["coefficient"].max()
    assert (places["penalty"] == 10).all() and (table["penalty"][:4] == 1).all()
    image = coef_image(small().fit(X, y))
    assert image.get_fdata()[LABELS == PLANTED][0] == pytest.approx(places["coefficient"].max())


def test_what_it_measures_may_be_named_too():
    named = place_model(tabular=["lesion_ml", "nihss", "age", "age"])
    assert named["encode"].tabular == ["lesion_ml", "log_lesion_count", "nihss", "age"]
    assert named["encode"].log == ["nihss"]


@pytest.mark.parametrize("representation", ["tracts", "kernel", "auto"])
def test_place_helps_where_it_counts_and_hardly_harms_where_not(cohort, representation):
    X, latent = cohort
    y = (latent > latent.median()).astype(int)
    model = small(representation=representation)

    def auc(y):
        return roc_auc_score(y, cross_val_predict(model, X, y, cv=3, method="predict_proba")[:, 1])

    severity = roc_auc_score(y, X["nihss"])
    assert auc(y) > severity + 0.05
    rng = np.random.default_rng(3)
    noise = np.log1p(X["nihss"]) + rng.logistic(0, 0.7, len(X))
    null = (noise > noise.median()).astype(int)
    assert auc(null) < roc_auc_score(null, X["nihss"]) + 0.03


def test_steps_are_the_recipe(cohort):
    """The pipeline's features, made by hand from its parts."""
    X, latent = cohort
    y = (latent > latent.median()).astype(int)
    model = small(penalty=4.0).fit(X, y)
    features = model[:-1].transform(X)
    columns = model[:-2].transform(X)
    columns["nihss"] = np.log1p(columns["nihss"])
    table = TabularEncoder(["lesion_ml", "log_lesion_count", "nihss", "age"]).fit_transform(columns)
    roots = np.sqrt(columns.filter(like="place_").to_numpy())
    roots -= roots.mean(axis=0)
    roots *= np.sqrt(10 / (roots**2).sum(axis=1).mean())
    np.testing.assert_allclose(features, np.hstack([table, roots / 2]), atol=1e-9)
    assert isinstance(model["encode"], BlockEncoder)


def test_continuous_outcomes(cohort):
    X, latent = cohort
    for representation in ("tracts", "kernel"):
        model = small(outcome="continuous", representation=representation)
        predicted = cross_val_predict(model, X, latent, cv=3)
        severity = np.corrcoef(np.log1p(X["nihss"]), latent)[0, 1]
        assert np.corrcoef(predicted, latent)[0, 1] > severity + 0.03
    kernel = coef_image(model.fit(X, latent))
    middle = nib.affines.apply_affine(np.linalg.inv(kernel.affine), [-18, 0, 0]).round().astype(int)
    assert kernel.get_fdata()[tuple(middle)] > 3 * np.abs(kernel.get_fdata()).mean()


def test_without_severity_and_with_another_logarithm():
    assert place_model(tabular=["age"])["encode"].tabular[-1] == "age"
    assert place_model(tabular=["age"])["encode"].log == []
    assert place_model()["encode"].log == ["nihss"]
    assert place_model(log=["age"])["encode"].log == ["age"]


def test_life(cohort, tmp_path):
    X, latent = cohort
    X, y = X[:60], (latent[:60] > latent.median()).astype(int)
    model = small(memory=str(tmp_path), penalty="auto")
    first = clone(model).fit(X, y)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(first)).predict_proba(X), clone(model).fit(X, y).predict_proba(X)
    )
    assert set(first["choose"].best_params_) == {"encode__blocks", "encode__penalties"}
    assert len(coef_table(first)) == 4 + 12


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"outcome": "survival"}, "outcome must be one of ordinal, binary, continuous"),
        ({"representation": "voxels"}, "representation must be one of tracts, kernel, auto"),
        ({"penalty": 0}, "penalty must be above 0"),
        ({"penalty": "large"}, "penalty must be above 0"),
        ({"cut": 2, "outcome": "binary"}, "cut=2 is of an ordinal outcome"),
        ({"log": ["bmi"]}, "log names 'bmi', which is not in tabular"),
    ],
)
def test_unknown_choices_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        place_model(**wrong)


def test_coefficients_of_something_else_are_refused(cohort):
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    X, latent = cohort
    other = make_pipeline(TabularEncoder(["age"]), LinearRegression()).fit(X, latent)
    with pytest.raises(ValueError, match="end in a BlockEncoder and a linear model"):
        coef_table(other)
    blind = make_pipeline(BlockEncoder(["age"]), LinearRegression()).fit(X, latent)
    with pytest.raises(ValueError, match="no block of places"):
        coef_image(blind)


def test_ordinal_outcomes_teach_more_than_one_cut(cohort):
    """Six steps of the scale, of which one cut is asked for."""
    X, latent = cohort
    steps = pd.Series(np.digitize(latent, np.quantile(latent, [0.2, 0.4, 0.6, 0.75, 0.9])), X.index)
    model = small().fit(X, steps)
    assert model.predict_proba(X).shape == (240, 6)
    poor = predict_exceeding(model, X, 2)
    np.testing.assert_allclose(poor, model.predict_proba(X)[:, 3:].sum(axis=1))
    assert roc_auc_score(steps > 2, poor) > roc_auc_score(steps > 2, X["nihss"]) + 0.05
    places = coef_table(model).query("block == 'place'")["coefficient"]
    assert places.idxmax() == f"bar {PLANTED}"


def test_two_steps_are_logistic_regression(cohort):
    X, latent = cohort
    y = (latent > latent.median()).astype(int)
    ordinal, binary = small().fit(X, y), small(outcome="binary").fit(X, y)
    np.testing.assert_allclose(ordinal.predict_proba(X), binary.predict_proba(X), atol=2e-3)


def test_text_is_for_binary_outcomes(cohort):
    X, latent = cohort
    y = np.where(latent > latent.median(), "poor", "good")
    assert small(outcome="binary").fit(X, y).classes_.tolist() == ["good", "poor"]
    with pytest.raises(ValueError, match="y holds text"):
        small().fit(X, y)


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("cut", [None, 2])
def test_choosing_with_rare_steps_and_several_scans_of_a_patient(cohort, cut):
    """One step of the scale occurs once, so that some training parts lack it."""
    X, latent = cohort
    steps = pd.Series(np.digitize(latent, np.quantile(latent, [0.2, 0.4, 0.6, 0.9])), X.index)
    steps.iloc[0] = 6
    X = X.assign(subject=np.repeat(np.arange(120), 2))
    model = small(penalty="auto", cut=cut, patient="subject").fit(X, steps)
    chosen = model["choose"]
    assert np.isfinite(chosen.cv_results_["mean_test_score"]).all()
    for train, test in chosen.cv.split(X, steps):
        assert not set(X["subject"].iloc[train]) & set(X["subject"].iloc[test])
    pickle.loads(pickle.dumps(model))


def test_the_brain_age_gap_is_one_more_column(cohort):
    model = place_model(tabular=["age"], brain_age="flair", patient="subject", memory="kept")
    assert list(model.named_steps)[:2] == ["brain_age", "size"]
    gap = model["brain_age"]
    assert (gap.image, gap.lesion, gap.patient, gap.memory) == (
        "flair",
        "lesion",
        "subject",
        "kept",
    )
    assert model["encode"].tabular == ["lesion_ml", "log_lesion_count", "age", "brain_age_gap"]
