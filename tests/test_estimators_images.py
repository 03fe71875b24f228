"""The estimators on image columns: a twin for every array check, and every kind of bad input.

The cohort is made so that the answer is known: the outcome is a bright spot on the left.
"""

import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline

import imaging
from prognosis import (
    CohortError,
    LesionSize,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
    logistic_ladder,
)

AFFINE = np.diag([8.0, 8.0, 8.0, 1])


def spot_image(rng, spot):
    data = rng.uniform(0.3, 0.5, (10, 12, 8)).astype(np.float32)
    if spot:
        data[1:4, 4:8, 2:6] += 0.6
    return nib.Nifti1Image(data, AFFINE)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    y = pd.Series(rng.permutation([0, 1] * 20), name="aphasia")
    y.index = [f"sub-{n:02}" for n in range(40)]
    paths = []
    for row, label in y.items():
        path = folder / f"{row}.nii.gz"
        imaging.write_image(spot_image(rng, label), path)
        paths.append(str(path))
    X = pd.DataFrame({"t1w": paths, "age": rng.uniform(40, 80, 40)}, index=y.index)
    X["sex"] = rng.choice(["F", "M"], 40)
    X.iloc[3, X.columns.get_loc("age")] = np.nan
    return X, y


def classifier(**changes):
    settings = {"rows": 2, "columns": 2, "mosaic_size": 32, "epochs": 25, "random_state": 0}
    return StitchedSliceClassifier("t1w", **{**settings, "n_threads": 1, **changes})


def regressor(**changes):
    return StitchedSliceRegressor(
        "t1w", rows=2, columns=2, mosaic_size=32, epochs=25, random_state=0, **changes
    )


@pytest.fixture(scope="module")
def fitted(cohort):
    return classifier(tabular=["age", "sex"]).fit(*cohort)


# ------------------------------------------------------------------ what it learns


def test_a_planted_spot_is_found_and_shuffled_labels_are_not(cohort):
    X, y = cohort
    found = cross_val_predict(classifier(), X, y, cv=3)
    assert (found == y).mean() > 0.9
    shuffled = y.sample(frac=1, random_state=3).set_axis(y.index)
    nothing = cross_val_predict(classifier(), X, shuffled, cv=3)
    assert 0.2 < (nothing == shuffled).mean() < 0.8


def test_regression_finds_a_planted_number(cohort):
    X, y = cohort
    size = 100 + 20.0 * y
    model = regressor().fit(X[:30], size[:30])
    assert np.corrcoef(model.predict(X[30:]), size[30:])[0, 1] > 0.9
    assert 90 < model.predict(X[30:]).mean() < 130  # in the units of y


def test_tabular_columns_carry_information_beside_the_image(cohort):
    X, _ = cohort
    old = (X["age"].fillna(60) > 60).astype(int)
    alone = cross_val_predict(classifier(), X, old, cv=3)
    with_age = cross_val_predict(classifier(tabular=["age"], epochs=40), X, old, cv=3)
    assert (with_age == old).mean() > max(0.75, (alone == old).mean())


def test_declared_tabular_columns_work_without_an_image(cohort):
    X, _ = cohort
    old = (X["age"].fillna(60) > 60).astype(int)
    table = StitchedSliceClassifier(tabular=["age", "sex"], learning_rate=1e-2, random_state=0)
    assert table.fit(X, old).score(X, old) > 0.85
    np.testing.assert_allclose(table.predict_proba(X[:1]), table.predict_proba(X)[:1], rtol=1e-12)


def test_seeds_are_averaged(cohort):
    X, y = cohort
    pair = classifier(n_seeds=2, epochs=3).fit(X, y)
    assert len(pair.networks_) == len(pair.history_) == 2
    one, two = (clone(pair).set_params(n_seeds=2).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    kept, pair.networks_ = pair.networks_, pair.networks_[:1]
    single = pair.predict_proba(X)
    pair.networks_ = kept[1:]
    other = pair.predict_proba(X)
    np.testing.assert_allclose((single + other) / 2, one.predict_proba(X), rtol=1e-5)


def test_early_stopping_keeps_a_patient_on_one_side(cohort):
    X, y = cohort
    model = classifier(validation_fraction=0.25, patience=2, epochs=8).fit(X, y)
    assert "valid_loss" in model.history_[0][0]
    patients = np.repeat(np.arange(10), 3)
    labels = np.repeat([0, 1], 15)
    rng = np.random.RandomState(0)
    train, held_out = model._inner_split(labels, patients, rng)
    assert not set(patients[train]) & set(patients[held_out])
    assert sorted([*train, *held_out]) == list(range(30))


# ---------------------------------------------------------- twins of sklearn's checks


def test_clone_and_parameters(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "networks_")
    assert repr(StitchedSliceClassifier("t1w", rows=3)) == (
        "StitchedSliceClassifier(image='t1w', rows=3)"
    )
    with pytest.raises(ValueError, match="Invalid parameter 'colums'"):
        copy.set_params(colums=3)


def test_pickle_unfitted_and_fitted(fitted, cohort):
    X, _ = cohort
    assert pickle.loads(pickle.dumps(classifier())).get_params()["epochs"] == 25
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "embed"])
def test_not_fitted(cohort, method):
    with pytest.raises(NotFittedError):
        getattr(classifier(), method)(cohort[0])
    with pytest.raises(NotFittedError):
        regressor().predict(cohort[0])


def test_columns_count_by_name_not_by_place(fitted, cohort):
    X, _ = cohort
    assert fitted.n_features_in_ == 3
    assert fitted.feature_names_in_.tolist() == ["t1w", "age", "sex"]
    moved = X.assign(other=1)[["other", "sex", "t1w", "age"]]
    np.testing.assert_array_equal(fitted.predict_proba(moved), fitted.predict_proba(X))
    with pytest.raises(CohortError, match="column 't1w' not found; the table has 'age', 'sex'"):
        fitted.predict(X[["age", "sex"]])
    with pytest.raises(CohortError, match="found ndarray where a DataFrame"):
        fitted.predict(X.to_numpy())


def test_one_sample_and_subsets_give_the_same_as_all(fitted, cohort):
    X, _ = cohort
    everyone = fitted.predict_proba(X)
    np.testing.assert_allclose(fitted.predict_proba(X[:1]), everyone[:1], atol=1e-5)
    np.testing.assert_allclose(fitted.predict_proba(X[::-1]), everyone[::-1], atol=1e-5)
    np.testing.assert_allclose(everyone.sum(1), 1)


def test_string_labels_and_more_than_two_classes(cohort):
    X, y = cohort
    words = y.map({0: "good", 1: "poor"})
    model = classifier(epochs=10).fit(X, words)
    assert model.classes_.tolist() == ["good", "poor"]
    assert set(model.predict(X)) <= {"good", "poor"}
    three = classifier(epochs=1).fit(X, np.arange(40) % 3)
    assert three.predict_proba(X).shape == (40, 3)


def test_one_class_is_refused(cohort):
    X, _ = cohort
    with pytest.raises(ValueError, match=r"y holds only one class, .*use stratified folds"):
        classifier().fit(X, np.ones(40))


def test_sample_weight_zero_is_as_good_as_absent(cohort):
    X, y = cohort
    keep = np.arange(40) < 25
    absent = classifier(epochs=2).fit(X[keep], y[keep])
    zero = classifier(epochs=2).fit(X, y, sample_weight=keep.astype(float))
    np.testing.assert_allclose(absent.predict_proba(X), zero.predict_proba(X), atol=1e-6)
    with pytest.raises(ValueError, match="at least one non-zero"):
        classifier().fit(X, y, sample_weight=np.zeros(40))


def test_class_weights_move_predictions_towards_the_rarer_class(cohort):
    X, y = cohort
    rows = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:5]]
    shuffled = y.iloc[rows].to_numpy()
    plain = classifier(epochs=4).fit(X.iloc[rows], shuffled)
    heavy = classifier(epochs=4, class_weight={0: 1, 1: 30}).fit(X.iloc[rows], shuffled)
    assert heavy.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean()
    with pytest.raises(ValueError, match=r"class_weight names \[7\]"):
        classifier(class_weight={7: 1}).fit(X, y)


def test_fit_is_reproducible_idempotent_and_changes_nothing(cohort):
    X, y = cohort
    before = X.copy(deep=True)
    model = classifier(epochs=2, tabular=["age"])
    first = model.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), first)
    pd.testing.assert_frame_equal(X, before)
    other = clone(model).set_params(random_state=1).fit(X, y).predict_proba(X)
    assert not np.array_equal(first, other)


def test_results_do_not_depend_on_the_number_of_jobs(cohort):
    X, y = cohort
    model = classifier(epochs=1, n_seeds=2)
    one = cross_validate(model, X, y, cv=2, scoring="neg_log_loss", n_jobs=1)
    two = cross_validate(model, X, y, cv=2, scoring="neg_log_loss", n_jobs=2)
    np.testing.assert_array_equal(one["test_score"], two["test_score"])
    parallel = clone(model).set_params(n_jobs=2).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), parallel)


def test_inside_scikit_learn_meta_estimators(cohort):
    X, y = cohort
    quick = classifier(epochs=3)
    bright = [nib.load(path).get_fdata() > 0.7 for path in X["t1w"]]
    masks = [nib.Nifti1Image(spot.astype(np.uint8), AFFINE) for spot in bright]
    pipe = make_pipeline(LesionSize("bright", column="bright_ml"), quick)
    assert pipe.fit(X.assign(bright=masks), y).score(X.assign(bright=masks), y) >= 0.5
    search = GridSearchCV(quick, {"learning_rate": [1e-3, 1e-4]}, cv=2).fit(X, y)
    assert search.best_params_["learning_rate"] in (1e-3, 1e-4)
    calibrated = CalibratedClassifierCV(quick, cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (40, 2)
    ladder = next(iter(logistic_ladder([["age"]]).values()))
    stack = StackingClassifier(
        [("ladder", ladder), ("cnn", quick)], final_estimator=LogisticRegression(), cv=2
    )
    assert stack.fit(X, y).predict_proba(X).shape == (40, 2)


def test_permutation_importance_finds_the_image(cohort):
    X, y = cohort
    model = classifier(tabular=["age"]).fit(X, y)
    importance = permutation_importance(model, X, y, n_repeats=3, random_state=0)
    image, age, _ = importance.importances_mean
    assert image > 0.2 and image > age


# ------------------------------------------------------------------ images and grids


def test_images_in_memory_and_in_files_give_the_same(cohort):
    X, y = cohort
    loaded = X.assign(t1w=[nib.load(path) for path in X["t1w"]])
    one = classifier(epochs=1).fit(X, y).predict_proba(X)
    two = classifier(epochs=1).fit(loaded, y).predict_proba(loaded)
    np.testing.assert_array_equal(one, two)


def test_the_cache_gives_the_same_and_notices_a_changed_file(cohort, tmp_path):
    X, y = cohort
    X = X.copy()
    own = tmp_path / "sub-00.nii.gz"
    own.write_bytes(Path(X["t1w"].iloc[0]).read_bytes())
    X.iloc[0, 0] = str(own)
    cached = classifier(epochs=1, memory=tmp_path / "cache").fit(X, y)
    np.testing.assert_array_equal(
        cached.predict_proba(X), classifier(epochs=1).fit(X, y).predict_proba(X)
    )
    before = cached.predict_proba(X[:1])
    imaging.write_image(spot_image(np.random.default_rng(9), 1 - y.iloc[0]), own)
    assert not np.allclose(cached.predict_proba(X[:1]), before)


def test_2d_pictures(cohort, tmp_path):
    X, y = cohort
    rng = np.random.default_rng(0)
    pictures = []
    for row, label in y.items():
        array = rng.integers(50, 90, (30, 60), dtype=np.uint8)
        array[10:20, 5:20] += np.uint8(120 * label)
        Image.fromarray(array).save(tmp_path / f"{row}.png")
        pictures.append(tmp_path / f"{row}.png")
    X = X.assign(t1w=pictures)
    model = classifier().fit(X[:30], y[:30])
    assert model.image_shape_ == (1, 16, 32)
    assert model.score(X[30:], y[30:]) > 0.8
    Image.fromarray(np.full((20, 20), 9, np.uint8)).save(tmp_path / "small.png")
    odd = X[:2].assign(t1w=[X["t1w"].iloc[0], tmp_path / "small.png"])
    with pytest.raises(CohortError, match=r"row 'sub-01', .*picture of 20 x 20 .* 30 x 60"):
        model.predict(odd)


def test_images_of_different_grids_are_refused_or_resampled(cohort):
    X, y = cohort
    rng = np.random.default_rng(0)
    shifted = nib.Nifti1Image(spot_image(rng, 1).get_fdata(dtype=np.float32)[:, :, :6], AFFINE)
    cells = list(X["t1w"])
    cells[5] = shifted
    mixed = X.assign(t1w=cells)
    with pytest.raises(CohortError, match=r"row 'sub-05', column 't1w': found a grid .*x 6 voxels"):
        classifier().fit(mixed, y)
    model = classifier(grid=X["t1w"].iloc[0], epochs=1).fit(mixed, y)
    assert model.grid_.shape == (10, 12, 8)


def test_left_right_flips_refuse_sagittal_tiles(cohort):
    with pytest.raises(ValueError, match="sagittal tiles cannot be mirrored"):
        classifier(plane="sagittal", mirror=True, epochs=1).fit(*cohort)


# ---------------------------------------------------------------------- bad input


def bad_image(kind, tmp_path, good):
    data = np.ones((10, 12, 8), np.float32)
    if kind == "missing file":
        return str(tmp_path / "gone.nii.gz")
    if kind == "no image":
        return None
    if kind == "truncated":
        path = tmp_path / "cut.nii.gz"
        path.write_bytes(Path(good).read_bytes()[:1500])
        return path
    if kind == "4-D":
        return nib.Nifti1Image(np.ones((10, 12, 8, 3), np.float32), AFFINE)
    data[2, 2, 2] = {"NaN": np.nan, "infinite": -np.inf}.get(kind, 1)
    return nib.Nifti1Image(data * (kind != "all zero"), AFFINE)


@pytest.mark.parametrize(
    "kind, words",
    [
        ("missing file", "no file at .*gone.nii.gz'; correct the path or drop the row"),
        ("no image", r"no image; drop such rows first: X = X.dropna\(subset=\['t1w'\]\)"),
        ("truncated", "ends early or is corrupt.*copy the file again"),
        ("4-D", "a 4-D image, where a 3-D image was expected; keep one volume"),
        ("NaN", "1 NaN or infinite voxels; replace them first"),
        ("infinite", "1 NaN or infinite voxels; replace them first"),
        ("all zero", "zero everywhere; check the export, or drop the row"),
    ],
)
def test_a_bad_image_is_refused_by_row_and_column(cohort, tmp_path, kind, words):
    X, y = cohort
    cells = list(X["t1w"])
    cells[7] = bad_image(kind, tmp_path, cells[7])
    with pytest.raises(CohortError, match=rf"^row 'sub-07', column 't1w': .*{words}"):
        classifier().fit(X.assign(t1w=cells), y)


def test_an_empty_lesion_is_a_valid_mask(cohort):
    X, y = cohort
    masks = [
        nib.Nifti1Image((nib.load(path).get_fdata() > 0.5).astype(np.float32) * (n > 0), AFFINE)
        for n, path in enumerate(X["t1w"])
    ]
    lesions = X.assign(t1w=masks)
    with pytest.raises(CohortError, match=r"'sub-00', column 't1w': .*zero everywhere"):
        classifier().fit(lesions, y)
    model = classifier(allow_empty=True, epochs=1).fit(lesions, y)
    assert np.isfinite(model.predict_proba(lesions)).all()


def test_missing_and_unseen_tabular_values_are_handled(fitted, cohort):
    X, _ = cohort
    gaps = X.assign(age=np.nan)
    assert np.isfinite(fitted.predict_proba(gaps)).all()
    unseen = X.assign(sex=["X", *X["sex"][1:]])
    with pytest.warns(UserWarning, match="row 'sub-00', column 'sex': category 'X' was not seen"):
        assert np.isfinite(fitted.predict_proba(unseen)).all()
    with pytest.raises(CohortError, match="row 'sub-02', column 'age': found an infinite value"):
        classifier(tabular=["age"]).fit(
            X.assign(age=np.r_[1.0, 2.0, np.inf, np.ones(37)]), cohort[1]
        )
    with pytest.raises(CohortError, match="column 't1w' holds images; declare it as image"):
        classifier(tabular=["t1w"]).fit(X.assign(t1w=[nib.load(p) for p in X["t1w"]]), cohort[1])


def test_bad_tables_and_outcomes_are_refused(cohort):
    X, y = cohort
    doubled = X.set_axis([*X.index[:-1], "sub-00"])
    with pytest.raises(CohortError, match="row 'sub-00' occurs 2 times in the index"):
        classifier().fit(doubled, y.to_numpy())
    with pytest.raises(CohortError, match="X has 40 rows and y 39"):
        classifier().fit(X, y[:-1])
    with pytest.raises(CohortError, match=r"another order than X; sort it: y = y.loc\[X.index\]"):
        classifier().fit(X, y[::-1])
    with pytest.raises(CohortError, match="row 'sub-04', y: the outcome is missing in 1 rows"):
        classifier().fit(X, y.astype(float).where(y.index != "sub-04"))
    with pytest.raises(ValueError, match=r"'epochs' parameter .* must be an int"):
        classifier(epochs=0).fit(X, y)
    with pytest.raises(ValueError, match="the outcome is inf"):
        regressor().fit(X, np.r_[np.inf, np.ones(39)])
