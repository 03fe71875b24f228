"""scikit-learn's own suite on everything that transforms a table or holds another estimator.

What needs an image column cannot be tried on scikit-learn's arrays: such checks are expected to
fail, each with its reason, and have twins here that run on a cohort with images.
"""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from imaging.atlases import Atlas
from prognosis import (
    BlockEncoder,
    BlockScaler,
    BrainAgeGap,
    CohortError,
    ImageEmbedding,
    LesionCount,
    LesionKernel,
    LesionSize,
    RegionLoad,
    RegionSelector,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
    SymbolScaler,
    TabularEncoder,
    TemperatureScaled,
    ToTemplate,
)

AFFINE = np.diag([8.0, 8.0, 8.0, 1])
LABELS = np.zeros((16, 16, 10), np.int16)
LABELS[1:7, 1:15, 2:8], LABELS[9:15, 1:15, 2:8] = 1, 2
ATLAS = Atlas(nib.Nifti1Image(LABELS, AFFINE), {1: "left", 2: "right"}, "halves")

ON_THE_ATLAS = [
    LesionSize(),
    LesionCount(),
    LesionKernel(cube_mm=8, space="native"),
    RegionLoad(atlas=ATLAS),
    RegionSelector(
        RoiSymbolClassifier(
            "lesion",
            atlas=ATLAS,
            regions=["left", "right"],
            mosaic_size=32,
            allow_empty=True,
            epochs=8,
            random_state=0,
        ),
        k=1,
        by="saliency",
        random_state=0,
    ),
]
SELECTOR = ON_THE_ATLAS[-1]
ON_ARRAYS = [
    TabularEncoder(),
    SymbolScaler(),
    BlockScaler(),
    BlockEncoder(),
    TemperatureScaled(LogisticRegression(), cv=3),
    ImageEmbedding(StitchedSliceClassifier(epochs=2, random_state=0), cv=2, random_state=0),
    ImageEmbedding(StitchedSliceRegressor(epochs=2, random_state=0), cv=2, random_state=0),
]
ON_IMAGES = [
    LesionSize(),
    LesionCount(),
    LesionKernel(cube_mm=8, space="native"),
    RegionLoad(),
    BrainAgeGap(),  # its twins are in test_brain_age.py
    ToTemplate(),  # its twins are in test_to_template.py
    RegionSelector(RoiSymbolClassifier("lesion"), k=1),
]
AT_LEAST = dict(
    zip([*ON_ARRAYS, *ON_IMAGES], [46] * 4 + [62, 48, 48] + [46] * 6 + [62], strict=True)
)

NO_IMAGES = "an image column cannot be made from an array of numbers; twin: "
TWINS = {
    "test_life_on_images": [
        "check_estimators_overwrite_params",
        "check_dont_overwrite_parameters",
        "check_estimators_fit_returns_self",
        "check_readonly_memmap_input",
        "check_estimators_pickle",
        "check_dict_unchanged",
        "check_fit_idempotent",
        "check_fit_check_is_fitted",
        "check_n_features_in",
        "check_fit_score_takes_y",
        "check_pipeline_consistency",
        "check_transformer_general",
        "check_transformer_preserve_dtypes",
        "check_classifiers_classes",
        "check_classifiers_train",
        "check_f_contiguous_array_estimator",
    ],
    "test_patients_do_not_depend_on_each_other": [
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
    ],
    "test_what_is_no_table_is_refused": [
        "check_estimators_dtypes",
        "check_dtype_object",
        "check_complex_data",
        "check_estimators_empty_data_messages",
        "check_estimators_nan_inf",
        "check_estimator_sparse_tag",
        "check_estimator_sparse_array",
        "check_estimator_sparse_matrix",
        "check_positive_only_tag_during_fit",
        "check_transformer_data_not_an_array",
        "check_classifier_data_not_an_array",
        "check_fit2d_predict1d",
        "check_fit2d_1sample",
        "check_fit2d_1feature",
        "check_n_features_in_after_fitting",
    ],
    "test_weights_and_outcomes_of_the_selector": [
        "check_sample_weights_pandas_series",
        "check_sample_weights_not_an_array",
        "check_sample_weights_list",
        "check_sample_weights_shape",
        "check_sample_weights_not_overwritten",
        "check_sample_weight_equivalence_on_dense_data",
        "check_all_zero_sample_weights_error",
        "check_classifiers_one_label",
        "check_classifiers_one_label_sample_weights",
        "check_classifiers_regression_target",
        "check_supervised_y_2d",
    ],
}
CROSS_FITTED = (
    "training patients get the features of the network that did not see them, so fit_transform is "
    "not fit and transform; twin: test_fit_transform_is_cross_fitted"
)
OF_THE_EMBEDDING = {
    "check_transformer_general": CROSS_FITTED,
    "check_transformer_data_not_an_array": CROSS_FITTED,
    "check_fit2d_1sample": "refused in a sentence of ours; twin: test_one_patient_is_too_few",
    "check_sample_weight_equivalence_on_dense_data": (
        "folds are drawn of rows, whose number weights do not change; twin: "
        "test_weights_reach_the_networks_of_the_embedding in test_composition"
    ),
}


def expected_failures(estimator):
    if isinstance(estimator, ImageEmbedding):
        return OF_THE_EMBEDDING
    if any(estimator is one for one in ON_ARRAYS):
        return {}
    return {check: NO_IMAGES + twin for twin, checks in TWINS.items() for check in checks}


@parametrize_with_checks([*ON_ARRAYS, *ON_IMAGES], expected_failed_checks=expected_failures)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", AT_LEAST, ids=lambda one: type(one).__name__)
def test_the_suite_is_not_silently_switched_off(estimator):
    names = [check.func.__name__ for _, check in estimator_checks_generator(estimator)]
    assert len(names) >= AT_LEAST[estimator]
    assert estimator.__sklearn_tags__().input_tags.two_d_array
    passing = set(names) - set(expected_failures(estimator))
    assert len(passing) >= (10 if any(estimator is one for one in ON_IMAGES) else 35)


# ------------------------------------------------------------------------------- twins


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    y = pd.Series([0, 1] * 8, [f"sub-{k:02}" for k in range(16)], name="poor")
    images = []
    for label in y:
        data = (rng.random(LABELS.shape) < 0.1) & (LABELS > 0)
        told = np.equal(LABELS, 1 + label)
        data[told] = rng.random(told.sum()) < 0.6
        images.append(nib.Nifti1Image(data.astype(np.uint8), AFFINE))
    return pd.DataFrame({"lesion": images, "age": rng.uniform(40, 80, 16)}, y.index), y


def result(fitted, X):
    if hasattr(fitted, "predict_proba"):
        return fitted.predict_proba(X)
    return fitted.transform(X).drop(columns="lesion").to_numpy()


@pytest.mark.parametrize("estimator", ON_THE_ATLAS, ids=lambda one: type(one).__name__)
def test_life_on_images(estimator, cohort):
    X, y = cohort
    before, model = X.copy(), clone(estimator)
    parameters = model.get_params()
    with pytest.raises(NotFittedError):
        result(model, X)
    assert model.fit(X, y) is model
    assert model.n_features_in_ == 2 and model.feature_names_in_.tolist() == ["lesion", "age"]
    learnt = set(vars(model)) - set(model.get_params(deep=False))
    assert all(name.startswith("_") or name.endswith("_") for name in learnt)
    assert model.get_params().keys() == parameters.keys()
    assert all(
        new is parameters[name] for name, new in model.get_params(deep=False).items()
    )  # given, never changed
    state = dict(vars(model))
    first = result(model, X)
    assert all(vars(model)[name] is state[name] for name in state)
    pd.testing.assert_frame_equal(X, before)
    np.testing.assert_array_equal(result(pickle.loads(pickle.dumps(model)), X), first)
    np.testing.assert_array_equal(result(model.fit(X, y), X), first)
    np.testing.assert_array_equal(result(model.fit(X, y.to_numpy()), X), first)
    if hasattr(model, "fit_transform"):
        pd.testing.assert_frame_equal(model.fit_transform(X, y), model.fit(X).transform(X))
    if is_classifier(model):
        assert model.score(X, y) > 0.5 and model.classes_.tolist() == [0, 1]
        assert set(model.predict(X)) <= {0, 1}


@pytest.mark.parametrize("estimator", ON_THE_ATLAS, ids=lambda one: type(one).__name__)
def test_patients_do_not_depend_on_each_other(estimator, cohort):
    X, y = cohort
    model = clone(estimator).fit(X, y)
    together = result(model, X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(result(model, X.iloc[order]), together[order], atol=1e-5)
    alone = np.vstack([result(model, X.iloc[[k]]) for k in range(4)])
    np.testing.assert_allclose(alone, together[:4], atol=1e-5)


@pytest.mark.parametrize("estimator", ON_THE_ATLAS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("X", [np.ones((6, 2)), [[1, 2], [3, 4]], None], ids=["array", "list", ""])
def test_what_is_no_table_is_refused(estimator, X):
    with pytest.raises(CohortError, match="where a DataFrame with one row per patient"):
        clone(estimator).fit(X, np.array([0, 1, 0, 1, 0, 1]))


@pytest.mark.parametrize("estimator", ON_THE_ATLAS, ids=lambda one: type(one).__name__)
def test_a_column_of_numbers_is_no_image(estimator, cohort):
    X, y = cohort
    with pytest.raises(CohortError, match="row 'sub-00', column 'lesion'"):
        result(clone(estimator).fit(X.assign(lesion=1.0), y), X.assign(lesion=1.0))


def test_weights_and_outcomes_of_the_selector(cohort):
    X, y = cohort
    weights = pd.Series(np.r_[np.ones(12), np.zeros(4)], X.index)
    kept = weights.copy()
    weighted = clone(SELECTOR).fit(X, y, sample_weight=weights)
    pd.testing.assert_series_equal(weights, kept)
    for same in (weights.to_numpy(), weights.tolist()):
        again = clone(SELECTOR).fit(X, y, sample_weight=same)
        np.testing.assert_array_equal(again.predict_proba(X), weighted.predict_proba(X))
    left_out = clone(SELECTOR).fit(X[:12], y[:12])
    pd.testing.assert_frame_equal(left_out.ranking_, weighted.ranking_)
    with pytest.raises(ValueError, match="sample_weight"):
        clone(SELECTOR).fit(X, y, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match=r"(?i)weight.*zero|zero.*weight"):
        clone(SELECTOR).fit(X, y, sample_weight=np.zeros(16))
    with pytest.raises(ValueError, match="class"):
        clone(SELECTOR).fit(X, 0 * y)
    with pytest.raises(ValueError, match="class"):
        clone(SELECTOR).fit(X, y, sample_weight=(y == 1).astype(float))
    with pytest.raises(ValueError, match="Unknown label type"):
        clone(SELECTOR).fit(X, y + np.linspace(0.1, 0.2, 16))
    with pytest.warns(UserWarning, match="column-vector"):
        clone(SELECTOR).fit(X, y.to_numpy()[:, None])
    with pytest.raises(ValueError, match="requires y to be passed"):
        clone(SELECTOR).fit(X, None)


def test_fit_transform_is_cross_fitted():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = (X[:, 0] > 0).astype(int)
    embedding = clone(ON_ARRAYS[-2])
    honest = embedding.fit_transform(X, y)
    new = embedding.transform(X)
    assert honest.shape == new.shape == (40, len(embedding.get_feature_names_out()))
    np.testing.assert_array_equal(honest[:, :3], X)
    assert not np.allclose(honest, new)
    np.testing.assert_array_equal(clone(embedding).fit_transform(X.tolist(), y), honest)
    np.testing.assert_array_equal(clone(embedding).fit(X, y).transform(X.tolist()), new)
    table = pd.DataFrame(X, columns=["x0", "x1", "x2"])
    by_table = clone(embedding).fit_transform(table, pd.Series(y))
    np.testing.assert_array_equal(by_table.to_numpy(), honest)
    assert by_table.columns.tolist() == embedding.get_feature_names_out().tolist()


def test_one_patient_is_too_few():
    with pytest.raises(CohortError, match="need at least 2 patients, found 1"):
        clone(ON_ARRAYS[-1]).fit(np.ones((1, 3)), [1.0])
