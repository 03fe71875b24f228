"""Every kind of image estimator on one small cohort: a twin for scikit-learn's array checks.

The cohort is made so that the answer is known: the outcome is a bright spot in one region.
"""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict

from imaging import show_canvas, write_image
from imaging.atlases import Atlas
from imaging.nets.encoders import LightweightEncoder
from prognosis import (
    CohortError,
    FusionClassifier,
    FusionRegressor,
    RoiSymbolClassifier,
    RoiSymbolRegressor,
    RoiSymbols,
    StitchedSliceClassifier,
    StitchedSlices,
    VolumeClassifier,
    VolumeRegressor,
    Volumes,
)

AFFINE = np.diag([8.0, 8.0, 8.0, 1])
SHAPE = (14, 14, 12)
LABELS = np.zeros(SHAPE, np.int16)
LABELS[1:7, 4:10, 2:8] = 1
LABELS[8:13, 3:9, 3:9] = 2
ATLAS = Atlas(nib.Nifti1Image(LABELS, AFFINE), {1: "here", 2: "elsewhere"}, "blocks")

COMMON = {"image": "t1w", "epochs": 8, "learning_rate": 3e-3, "dropout": 0.2, "random_state": 0}
ROI = {"atlas": ATLAS, "regions": ["here", "elsewhere"], "mosaic_size": 32, "symbol_size": 16}
STITCHED = {"rows": 2, "columns": 2, "mosaic_size": 32}
VOLUME = {"spacing_mm": 8}
FUSED = {**COMMON, "tabular": ["age", "sex"], "epochs": 12}
CLASSIFIERS = {
    "regions": RoiSymbolClassifier(**COMMON, **ROI),
    "regions with symbols": RoiSymbolClassifier(**COMMON, **ROI, symbols=["age", "sex"]),
    "stitched with symbols": StitchedSliceClassifier(**COMMON, **STITCHED, symbols=["age"]),
    "volume": VolumeClassifier(**COMMON, **VOLUME, tabular=["age"]),
    "early fusion, stitched": FusionClassifier(**FUSED, view=StitchedSlices(**STITCHED)),
    "DAFT, regions": FusionClassifier(**FUSED, view=RoiSymbols(**ROI), fusion="daft"),
    "DAFT, volume": FusionClassifier(**FUSED, view=Volumes(**VOLUME), fusion="daft"),
}
REGRESSORS = {
    "regions with symbols": RoiSymbolRegressor(**COMMON, **ROI, symbols=["sex"]),
    "volume": VolumeRegressor(**COMMON, **VOLUME),
    "early fusion, regions": FusionRegressor(**FUSED, view=RoiSymbols(**ROI)),
}
EVERY = [*CLASSIFIERS.values(), *REGRESSORS.values()]
EVERY_NAME = [f"classifier: {name}" for name in CLASSIFIERS]
EVERY_NAME += [f"regressor: {name}" for name in REGRESSORS]
every_estimator = pytest.mark.parametrize("estimator", EVERY, ids=EVERY_NAME)
every_classifier = pytest.mark.parametrize("estimator", CLASSIFIERS.values(), ids=CLASSIFIERS)


def scan(rng, spot):
    data = rng.uniform(0.3, 0.5, SHAPE).astype(np.float32)
    if spot:
        data[2:6, 5:9, 3:7] += 0.6
    return data


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    y = pd.Series(rng.permutation([0, 1] * 20), name="aphasia")
    y.index = [f"sub-{n:02}" for n in range(40)]
    paths = []
    for row, label in y.items():
        paths.append(
            str(write_image(nib.Nifti1Image(scan(rng, label), AFFINE), folder / f"{row}.nii"))
        )
    X = pd.DataFrame({"t1w": paths, "age": rng.uniform(40, 80, 40)}, index=y.index)
    X["sex"] = rng.choice(["F", "M"], 40)
    X.iloc[3, X.columns.get_loc("age")] = np.nan
    return X, y


def outputs(model, X):
    return model.predict_proba(X) if is_classifier(model) else model.predict(X)


def quick(estimator, **changes):
    return clone(estimator).set_params(epochs=1, **changes)


def of_view(estimator, **settings):
    """Parameters of the view by the names that they have in the estimator."""
    held = "view" in estimator.get_params(deep=False)
    return {f"view__{name}" if held else name: value for name, value in settings.items()}


@every_classifier
def test_a_planted_spot_is_found(estimator, cohort):
    X, y = cohort
    found = cross_val_predict(estimator, X, y, cv=2)
    assert (found == y).mean() > 0.85


@pytest.mark.parametrize("estimator", REGRESSORS.values(), ids=REGRESSORS)
def test_a_planted_number_is_found(estimator, cohort):
    X, y = cohort
    model = clone(estimator).fit(X[:30], 100 + 20.0 * y[:30])
    predicted = model.predict(X[30:])
    assert np.corrcoef(predicted, y[30:])[0, 1] > 0.8
    assert 90 < predicted.mean() < 130  # in the units of y


@every_estimator
def test_life_of_an_estimator(estimator, cohort):
    """Clone, not fitted, fit, pickle, subsets, order of rows and columns, nothing changed."""
    X, y = cohort
    before = X.copy(deep=True)
    model = quick(estimator)
    changed = {**estimator.get_params(), "epochs": 1, "view": None}  # a view is cloned as well
    assert {**model.get_params(), "view": None} == changed
    with pytest.raises(NotFittedError):
        outputs(model, X)
    first = outputs(model.fit(X, y), X)
    assert np.isfinite(first).all()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(outputs(again, X), first)
    np.testing.assert_array_equal(outputs(model.fit(X, y), X), first)
    np.testing.assert_allclose(outputs(model, X[:1]), first[:1], atol=1e-4)
    np.testing.assert_allclose(outputs(model, X[::-1])[::-1], first, atol=1e-4)
    moved = X.assign(other=1)[["other", "sex", "t1w", "age"]]
    np.testing.assert_array_equal(outputs(model, moved), first)
    other = outputs(clone(model).set_params(random_state=1).fit(X, y), X)
    assert not np.array_equal(first, other)
    assert model.n_features_in_ == 3 and len(model.history_[0]) == 1
    assert model.embed(X).shape == (40, 256 if getattr(estimator, "fusion", "") == "early" else 128)
    pd.testing.assert_frame_equal(X, before)


@pytest.mark.parametrize("name", ["regions with symbols", "DAFT, volume"])
def test_weight_zero_is_as_good_as_absent(name, cohort):
    X, y = cohort
    estimator = CLASSIFIERS[name]
    keep = np.arange(40) < 25
    absent = quick(estimator).fit(X[keep], y[keep])
    zero = quick(estimator).fit(X, y, sample_weight=keep.astype(float))
    np.testing.assert_allclose(outputs(absent, X), outputs(zero, X), atol=1e-6)


@every_estimator
def test_bad_input_is_refused_by_row_and_column(estimator, cohort):
    X, y = cohort
    cells = list(X["t1w"])
    cells[7] = "gone.nii.gz"
    with pytest.raises(CohortError, match=r"^row 'sub-07', column 't1w': no file at .*gone"):
        quick(estimator).fit(X.assign(t1w=cells), y)
    cells[7] = nib.Nifti1Image(scan(np.random.default_rng(0), 1)[:, :, :10], AFFINE)
    with pytest.raises(
        CohortError, match=r"row 'sub-07', column 't1w': found a grid .*x 10 voxels"
    ):
        quick(estimator).fit(X.assign(t1w=cells), y)
    onto = quick(estimator, **of_view(estimator, grid=X["t1w"].iloc[0])).fit(X.assign(t1w=cells), y)
    assert onto.grid_.shape == SHAPE
    with pytest.raises(CohortError, match="column 't1w' not found"):
        onto.predict(X[["age", "sex"]])
    empty = nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE)
    with pytest.raises(CohortError, match=r"'sub-07', column 't1w': .*zero everywhere"):
        quick(estimator).fit(X.assign(t1w=[*cells[:7], empty, *cells[8:]]), y)
    masks = X.assign(t1w=[*X["t1w"][:39], empty])
    model = quick(estimator, **of_view(estimator, allow_empty=True)).fit(masks, y)
    assert np.isfinite(outputs(model, masks)).all()


@every_classifier
def test_words_as_classes_and_meta_estimators(estimator, cohort):
    X, y = cohort
    words = y.map({0: "good", 1: "poor"})
    model = quick(estimator)
    assert set(model.fit(X, words).predict(X)) <= {"good", "poor"}
    assert quick(estimator).fit(X, np.arange(40) % 3).predict_proba(X).shape == (40, 3)
    with pytest.raises(ValueError, match="y holds only one class"):
        quick(estimator).fit(X, np.ones(40))


@pytest.mark.parametrize("name", ["regions with symbols", "DAFT, volume"])
def test_inside_meta_estimators(name, cohort):
    X, y = cohort
    model = quick(CLASSIFIERS[name])
    assert CalibratedClassifierCV(model, cv=2).fit(X, y).predict_proba(X).shape == (40, 2)
    search = GridSearchCV(model, {"dropout": [0.0, 0.1]}, cv=2).fit(X, y)
    assert search.best_params_["dropout"] in (0.0, 0.1)


@pytest.mark.parametrize("name", ["regions with symbols", "volume"])
def test_the_cache_gives_the_same(name, cohort, tmp_path):
    X, y = cohort
    estimator = CLASSIFIERS[name]
    plain = outputs(quick(estimator).fit(X, y), X)
    cached = quick(estimator, memory=tmp_path)
    for _ in range(2):
        np.testing.assert_array_equal(outputs(cached.fit(X, y), X), plain)


# ------------------------------------------------------------- what only some of them have


def test_symbols_are_seen_and_named(cohort):
    X, y = cohort
    model = quick(CLASSIFIERS["regions with symbols"]).fit(X, y)
    assert list(model.cells_) == ["here", "elsewhere", "age", "sex"]
    assert model.image_shape_ == (1, 32 + 16, 32)
    pictures = model.prepared_images(X)[:, 0]
    other = model.prepared_images(X.assign(age=[80.0, *X["age"][1:]]))[:, 0]
    differs = other != pictures
    assert (
        differs[0][model.cells_["age"]].any()
        and differs.sum() == differs[0][model.cells_["age"]].sum()
    )
    assert pictures.min() >= 0 and pictures.max() <= 1
    assert len(show_canvas(pictures[0], model.cells_).axes[0].patches) == 4


def test_symbols_carry_the_outcome(cohort):
    X, _ = cohort
    old = (X["age"].fillna(60) > 60).astype(int)
    model = RoiSymbolClassifier(**{**COMMON, "epochs": 15}, **ROI, symbols={"age": "radius"})
    assert (cross_val_predict(model, X, old, cv=2) == old).mean() > 0.8


def test_tabular_values_change_what_fusion_says(cohort):
    X = cohort[0].assign(t1w=cohort[0]["t1w"].iloc[0])
    old = (X["age"].fillna(60) > 60).astype(int)
    for name in ("early fusion, stitched", "DAFT, regions"):
        model = clone(CLASSIFIERS[name]).set_params(tabular=["age"], augment=False, epochs=120)
        assert (cross_val_predict(model, X, old, cv=2) == old).mean() > 0.75, name


def test_several_columns_become_channels(cohort):
    X, y = cohort
    X = X.assign(lesion=X["t1w"])
    model = quick(CLASSIFIERS["volume"], image=["t1w", "lesion"]).fit(X, y)
    assert model.image_shape_ == (2, 14, 14, 12)
    np.testing.assert_array_equal(*np.moveaxis(model.prepared_images(X), 1, 0))
    with pytest.raises(CohortError, match="row 'sub-00', column 'lesion': no file"):
        model.predict(X.assign(lesion="gone.nii"))


def test_an_encoder_of_ones_own(cohort):
    X, y = cohort
    model = quick(CLASSIFIERS["volume"], architecture=_narrow).fit(X, y)
    assert model.networks_[0].encoder.n_maps == 8


def _narrow(shape, in_channels):
    return LightweightEncoder(shape, in_channels, channels=(8, 8))


def test_what_does_not_go_together_is_refused(cohort):
    X, y = cohort
    with pytest.raises(ValueError, match="symbols are drawn beside an image, and image is None"):
        RoiSymbolClassifier(symbols=["age"]).fit(X, y)
    with pytest.raises(CohortError, match="nothing to fuse the image with"):
        FusionClassifier("t1w").fit(X, y)
    with pytest.raises(ValueError, match="symbols are drawn beside an image, and image is None"):
        FusionClassifier(tabular=["age"], view=StitchedSlices(symbols=["sex"])).fit(X, y)
    with pytest.raises(
        ValueError, match="'view' parameter of FusionClassifier must be an instance"
    ):
        FusionClassifier("t1w", tabular=["age"], view="volume").fit(X, y)
    with pytest.raises(ValueError, match="'spacing_mm' parameter of Volumes must be a float in"):
        FusionClassifier("t1w", tabular=["age"], view=Volumes(spacing_mm=0)).fit(X, y)
    with pytest.raises(ValueError, match="image names no column"):
        VolumeClassifier([]).fit(X, y)
    with pytest.raises(ValueError, match="packed regions cannot be mirrored"):
        quick(CLASSIFIERS["regions"], mirror=True).fit(X, y)
