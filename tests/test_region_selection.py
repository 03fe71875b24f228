"""Regions are chosen inside the fold: what is planted is kept, and nothing is learnt from tests."""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline

from imaging.atlases import Atlas
from prognosis import (
    RegionSelector,
    RoiSymbolClassifier,
    RoiSymbolRegressor,
    StitchedSliceClassifier,
    compare,
    counterfactuals,
    explain,
)
from prognosis.explanation.selection import _region_shares

AFFINE = np.diag([8.0, 8.0, 8.0, 1])
SHAPE = (16, 16, 10)
BOXES = {"a": (1, 1), "b": (1, 9), "c": (9, 1), "d": (9, 9)}
LABELS = np.zeros(SHAPE, np.int16)
for number, (i, j) in enumerate(BOXES.values(), start=1):
    LABELS[i : i + 6, j : j + 6, 2:8] = number
ATLAS = Atlas(nib.Nifti1Image(LABELS, AFFINE), dict(enumerate(BOXES, start=1)), "four")
CNN = RoiSymbolClassifier(
    "t1w",
    atlas=ATLAS,
    regions=list(BOXES),
    mosaic_size=32,
    symbols=["age"],
    symbol_size=16,
    epochs=8,
    learning_rate=3e-3,
    dropout=0.2,
    random_state=0,
)
SELECTOR = RegionSelector(CNN, k=2, n_patients=16, random_state=0)


def cohort_of(n, seed=0):
    """The outcome is told by region c, and half as loudly by region b."""
    rng = np.random.default_rng(seed)
    y = pd.Series(rng.permutation([0, 1] * (n // 2)), [f"sub-{k:02}" for k in range(n)])
    images = []
    for label in y:
        data = rng.uniform(0.3, 0.5, SHAPE).astype(np.float32)
        data[LABELS == 3] += 0.4 * label
        data[LABELS == 2] += 0.2 * label
        data[LABELS == 4] = 1.0  # as bright in everybody, so that images are scaled alike
        images.append(nib.Nifti1Image(data, AFFINE))
    X = pd.DataFrame({"t1w": images, "age": rng.uniform(40, 80, n)}, index=y.index)
    return X, y


@pytest.fixture(scope="module")
def cohort():
    return cohort_of(40)


@pytest.mark.parametrize("changes", [{}, {"by": "saliency"}, {"cv": 2}], ids=str)
def test_planted_regions_are_kept(changes, cohort):
    model = clone(SELECTOR).set_params(**changes).fit(*cohort)
    assert set(model.regions_) == {"b", "c"}
    assert model.ranking_["rank"].tolist() == [1, 2, 3, 4]
    assert model.ranking_["kept"].tolist() == [True, True, False, False]
    assert model.estimator_.mosaic_.regions == tuple(model.regions_)
    assert list(model.estimator_.cells_) == [*model.regions_, "age"]
    assert model.score(*cohort) > 0.9
    assert ("support" in model.ranking_) and model.ranking_["share"].sum() == pytest.approx(1)


def test_life_of_a_selector(cohort):
    X, y = cohort
    model = clone(SELECTOR).set_params(estimator__epochs=2)
    with pytest.raises(NotFittedError):
        model.predict(X)
    assert is_classifier(model) and model.get_params()["estimator__regions"] == list(BOXES)
    first = model.fit(X, y).predict_proba(X)
    assert first.shape == (40, 2) and model.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), first)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict_proba(X), first)
    assert model.estimator.regions == list(BOXES)  # what was given is never changed
    assert model.n_features_in_ == 2 and model.embed(X).shape == (40, 128)


def test_grid_search_and_pipeline_over_k(cohort):
    X, y = cohort
    search = GridSearchCV(
        make_pipeline(clone(SELECTOR).set_params(estimator__epochs=4)),
        {"regionselector__k": [1, 3]},
        cv=2,
    ).fit(X, y)
    found = search.best_estimator_[-1]
    assert len(found.regions_) == search.best_params_["regionselector__k"]
    explained = counterfactuals(search.best_estimator_, X, X.index[:4], y_reference=y)
    assert set(explained.importance.index) == set(found.regions_)


def test_it_can_be_compared_and_explained_fold_by_fold(cohort):
    X, y = cohort
    quick = clone(SELECTOR).set_params(estimator__epochs=4, k=1, n_patients=8)
    result = compare({"table": DummyClassifier(), "chosen": quick}, X, y, cv=2, random_state=0)
    assert result.table.loc["chosen", "accuracy"] > result.table.loc["table", "accuracy"]
    folds = cross_validate(quick, X, y, cv=2, return_estimator=True, return_indices=True)
    sums = explain(folds, X).region_sums(ATLAS)
    chosen = {model.regions_[0] for model in folds["estimator"]}
    assert set(sums.columns[(sums != 0).any()]) == chosen


def test_only_training_rows_are_looked_at(cohort):
    """Test patients may hold anything: neither ranking nor predictions of others move."""
    X, y = cohort
    split = (np.arange(30), np.arange(30, 40))
    kept = cross_validate(SELECTOR, X, y, cv=[split], return_estimator=True)["estimator"][0]
    other = X.copy()
    other["t1w"] = [*X["t1w"].iloc[:30], *cohort_of(40, seed=9)[0]["t1w"].iloc[30:]]
    changed = pd.Series(np.r_[y[:30], 1 - y[30:]], y.index)
    again = cross_validate(SELECTOR, other, changed, cv=[split], return_estimator=True)
    pd.testing.assert_frame_equal(again["estimator"][0].ranking_, kept.ranking_)
    weights = np.r_[np.ones(30), np.zeros(10)]
    weighted = clone(SELECTOR).fit(other, changed, sample_weight=weights)
    pd.testing.assert_frame_equal(weighted.ranking_, kept.ranking_)


def test_a_shuffled_outcome_gives_chance(cohort):
    X, _ = cohort_of(60, seed=3)
    rng = np.random.default_rng(0)
    quick = clone(SELECTOR).set_params(estimator__epochs=4, k=1, n_patients=8)
    scores = []
    for _ in range(3):
        y = pd.Series(rng.permutation([0, 1] * 30), X.index)
        scores += cross_val_score(quick, X, y, cv=3).tolist()
    # 180 predictions at chance have a standard error of .037 around .5
    assert 0.38 < np.mean(scores) < 0.62


def test_a_network_that_learnt_nothing_is_ranked_by_saliency_with_a_warning(cohort):
    X, y = cohort
    lazy = clone(SELECTOR).set_params(estimator__epochs=1, estimator__learning_rate=1e-12)
    lazy.set_params(estimator__class_weight={0: 100, 1: 1})
    full = clone(lazy.estimator).fit(X, y)
    if len(np.unique(full.predict(X))) == 2:
        pytest.skip("this untrained network happens to use both classes")
    with pytest.warns(UserWarning, match="ranked by saliency"):
        lazy.fit(X, y)
    assert len(lazy.regions_) == 2


def test_a_regressor_keeps_its_regions_too(cohort):
    X, y = cohort
    known = RoiSymbolRegressor().get_params()
    parameters = {name: value for name, value in CNN.get_params().items() if name in known}
    model = RegionSelector(RoiSymbolRegressor(**parameters), k=1, n_patients=16, random_state=0)
    assert is_regressor(model) and not hasattr(model, "predict_proba")
    outcome = 50 + 10.0 * y
    model.fit(X[:30], outcome[:30])
    assert model.regions_ == ["c"]
    assert model.score(X[30:], outcome[30:]) > 0.3


def test_shares_add_up_and_point_to_the_planted_region(cohort):
    X, y = cohort
    shares = _region_shares(clone(CNN).set_params(n_seeds=2).fit(X, y), X[:10])
    assert shares.shape == (10, 4)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares.mean().idxmax() == "c"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"k": 0}, ValueError, "'k' parameter of RegionSelector must be an int in the range"),
        ({"k": 5}, ValueError, "k must be 1 to 4"),
        ({"by": "taste"}, ValueError, "'by' parameter of RegionSelector must be a str among"),
        ({"n_patients": 0}, ValueError, "n_patients"),
        ({"estimator": StitchedSliceClassifier("t1w")}, TypeError, "has no regions"),
    ],
)
def test_wrong_parameters_are_refused(changes, error, words, cohort):
    with pytest.raises(error, match=words):
        clone(SELECTOR).set_params(**changes).fit(*cohort)
