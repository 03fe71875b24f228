"""Ready spaces: for every estimator of the package, beginning at its own parameters."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import prognosis
from imaging import LesionSegmenter, SequenceInvariantEncoder, TissueSegmenter
from imaging.synthesis import LabelMapSource
from prognosis import (
    BlockEncoder,
    BlockScaler,
    FusionClassifier,
    FusionRegressor,
    ImageEmbedding,
    LesionKernel,
    LesionSize,
    OptunaSearch,
    OrdinalClassifier,
    OrdinalFromRegressor,
    RegionSelector,
    RoiSymbolClassifier,
    RoiSymbolRegressor,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
    TemperatureScaled,
    VolumeClassifier,
    VolumeRegressor,
    place_model,
    search_space,
)
from prognosis.search.spaces import Space

NETWORK = {"learning_rate", "weight_decay", "dropout", "epochs", "augment"}
ESTIMATORS = {
    **{
        cls: (cls("t1w"), NETWORK)
        for cls in (
            StitchedSliceClassifier,
            StitchedSliceRegressor,
            RoiSymbolClassifier,
            RoiSymbolRegressor,
            VolumeClassifier,
            VolumeRegressor,
        )
    },
    FusionClassifier: (FusionClassifier("t1w", tabular=["age"]), NETWORK | {"fusion"}),
    FusionRegressor: (FusionRegressor("t1w", tabular=["age"]), NETWORK | {"fusion"}),
    OrdinalClassifier: (OrdinalClassifier(), {"alpha"}),
    OrdinalFromRegressor: (OrdinalFromRegressor(Ridge()), {"estimator__alpha"}),
    TemperatureScaled: (TemperatureScaled(LogisticRegression()), {"estimator__C"}),
    ImageEmbedding: (
        ImageEmbedding(VolumeClassifier("t1w")),
        {"n_components"} | {f"estimator__{name}" for name in NETWORK},
    ),
    RegionSelector: (
        RegionSelector(RoiSymbolClassifier("t1w", regions=8)),
        {"k"} | {f"estimator__{name}" for name in NETWORK},
    ),
    BlockScaler: (BlockScaler(), {"length"}),
    BlockEncoder: (BlockEncoder(["age"], blocks={"place": "p_*"}), {"penalties"}),
    LesionKernel: (LesionKernel(), {"length"}),
}
ENCODER = {"learning_rate", "weight_decay"}
VOXELS = {"learning_rate", "weight_decay", "dropout"}
HEADS = LabelMapSource(spacing_mm=8)
OF_IMAGES = [
    (LesionSegmenter(), VOXELS | {"tversky"}),
    (LesionSegmenter(source=HEADS), VOXELS | {"tversky", "real_share"}),
    (TissueSegmenter(), VOXELS),
    (SequenceInvariantEncoder(), {*ENCODER, "temperature", "reconstruction_weight"}),
    (SequenceInvariantEncoder("dense", loss="barlow-twins"), ENCODER),
    (SequenceInvariantEncoder("masked"), ENCODER),
]
NOTHING_TO_SEARCH = {
    "BrainAgeGap",
    "WithIntervals",  # of what it holds
    "ScanEmbedding",
    "ToTemplate",
    "LesionSize",
    "LesionCount",
    "RegionLoad",
    "TabularEncoder",
    "SymbolScaler",
}
OTHERS = [
    (model(), names)
    for model, names in (
        (LogisticRegression, {"C"}),
        (Ridge, {"alpha"}),
        (RidgeClassifier, {"alpha"}),
        (Lasso, {"alpha"}),
        (ElasticNet, {"alpha", "l1_ratio"}),
        (SVC, {"C"}),
        (SVR, {"C"}),
        (RandomForestClassifier, {"min_samples_leaf", "max_features"}),
        (ExtraTreesRegressor, {"min_samples_leaf", "max_features"}),
        (
            HistGradientBoostingClassifier,
            {
                "learning_rate",
                "max_iter",
                "max_leaf_nodes",
                "min_samples_leaf",
                "l2_regularization",
            },
        ),
    )
]


def test_no_estimator_of_the_package_is_forgotten():
    found = {name: getattr(prognosis, name) for name in prognosis.__all__}
    estimators = {
        name
        for name, value in found.items()
        if isinstance(value, type) and hasattr(value, "fit") and hasattr(value, "get_params")
    } - {"OptunaSearch"}
    assert estimators - NOTHING_TO_SEARCH == {cls.__name__ for cls in ESTIMATORS}


@pytest.mark.parametrize(
    "estimator, names",
    [*ESTIMATORS.values(), *OTHERS, *OF_IMAGES],
    ids=lambda value: type(value).__name__,
)
def test_a_ready_space_begins_at_the_estimators_own_parameters(estimator, names):
    found = search_space(estimator)
    assert set(found) == names
    space = Space(found, estimator)
    assert set(space.first) == names
    clone(estimator).set_params(**{name: estimator.get_params()[name] for name in names})


@pytest.mark.parametrize(
    "cls",
    [*ESTIMATORS, LesionSegmenter, TissueSegmenter, SequenceInvariantEncoder],
    ids=lambda cls: cls.__name__,
)
def test_docstrings_tell_of_the_space(cls):
    assert "search_space`" in cls.__doc__ and "OptunaSearch`" in cls.__doc__


def test_whatever_is_held_is_searched_by_its_name():
    cnn = StitchedSliceClassifier("t1w")
    stack = StackingClassifier(
        [("cnn", cnn), ("table", make_pipeline(StandardScaler(), LogisticRegression()))],
        final_estimator=LogisticRegression(),
    )
    assert set(search_space(make_pipeline(LesionSize(), stack))) == {
        "stackingclassifier__final_estimator__C",
        "stackingclassifier__table__logisticregression__C",
        *(f"stackingclassifier__cnn__{name}" for name in NETWORK),
    }
    columns = ColumnTransformer([("loads", BlockScaler(), ["insula"])])
    assert set(search_space(columns)) == {"loads__length"}
    assert set(search_space(place_model("lesion", tabular=["age"]))) == {
        "encode__penalties",
        "model__alpha",
    }


def test_what_another_search_decides_is_left_to_it():
    model = make_pipeline(BlockScaler(), GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2))
    assert set(search_space(model)) == {"blockscaler__length"}


def test_no_image_no_augmentation():
    assert set(search_space(StitchedSliceClassifier())) == NETWORK - {"augment"}
    assert "fusion" not in search_space(FusionClassifier())
    assert search_space(make_pipeline(OrdinalClassifier(alpha=[1.0, 2.0]), Ridge()))


@pytest.mark.parametrize(
    "nothing",
    [
        LesionSize(),
        LesionSize(segmenter=LesionSegmenter()),
        SequenceInvariantEncoder(frozen=True),
        FrozenEstimator(LogisticRegression()),
        OrdinalClassifier(alpha=[1, 2]),
        make_pipeline(StandardScaler()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_without_a_space_one_sentence_says_so(nothing):
    with pytest.raises(ValueError, match="there is no ready space for "):
        search_space(nothing)


def test_a_search_without_space_takes_the_ready_one():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 5)), columns=["age", *(f"p_{n}" for n in range(4))])
    y = (X["age"] + rng.normal(size=60) > 0).astype(int)
    model = make_pipeline(BlockEncoder(["age"], blocks={"place": "p_*"}), LogisticRegression())
    search = OptunaSearch(model, n_trials=8, cv=3, scoring="neg_log_loss", random_state=0)
    search.fit(X, y)
    assert set(search.best_params_) == {"blockencoder__penalties", "logisticregression__C"}
    assert search.cv_results_["params"][0]["blockencoder__penalties"] is None
    assert search.cv_results_["params"][0]["logisticregression__C"] == 1.0


def test_a_segmenter_is_searched_on_scans_and_masks(tmp_path):
    """Also from files, whose content tells one study from another."""
    rng = np.random.default_rng(0)
    scans, masks = [], []
    for number in range(4):
        voxels = rng.normal(size=(10, 12, 9)).astype(np.float32)
        inside = np.zeros(voxels.shape, np.uint8)
        inside[3:6, 4:8, 2:5] = 1
        for kind, values, found in (("scan", voxels + 2 * inside, scans), ("mask", inside, masks)):
            path = tmp_path / f"{number}-{kind}.nii.gz"
            nib.save(nib.Nifti1Image(values, np.diag([8, 8, 8, 1])), path)
            found.append(str(path))
    segmenter = LesionSegmenter(
        channels=(4, 8, 8), spacing_mm=8, patch_size=16, epochs=1, steps_per_epoch=1, random_state=0
    )
    storage = tmp_path / "trials"
    search = OptunaSearch(segmenter, cv=2, n_trials=2, storage=storage, random_state=0)
    search.fit(scans, masks)
    assert set(search.best_params_) == {*VOXELS, "tversky"}
    assert search.cv_results_["params"][0]["learning_rate"] == segmenter.learning_rate
    assert search.predict(scans[:1])[0].shape == (10, 12, 9)
    first = search.study_.study_name
    nib.save(nib.load(masks[1]), masks[0])
    voxels = nib.load(scans[0]).get_fdata(dtype=np.float32) + 1
    nib.save(nib.Nifti1Image(voxels, np.diag([8, 8, 8, 1])), scans[0])
    assert clone(search).fit(scans, masks).study_.study_name != first
