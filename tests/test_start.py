"""Networks that start from another model: they add to it, from nothing, and nobody leaks."""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from imaging.learning.losses import cumulative_logit, shrinking
from imaging.nets.classifiers import ImageTabularNet
from imaging.nets.started import StartedNet
from prognosis import (
    CohortError,
    FusionClassifier,
    OrdinalClassifier,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
    StitchedSlices,
    TabularEncoder,
    VolumeClassifier,
    compare,
    explain,
)
from prognosis.estimators.ordinal.likelihood import class_probabilities

AFFINE = np.array([[20.0, 0, 0, -70], [0, 20, 0, -105], [0, 0, 20, -60], [0, 0, 0, 1]])
OTHERWISE = {
    "check_sample_weight_equivalence_on_dense_data": (
        "repeating a patient changes the folds in which the start is fitted"
    ),
    "check_class_weight_classifiers": "the start has a class_weight of its own",
}


@parametrize_with_checks(
    [
        StitchedSliceClassifier(start=LogisticRegression(), epochs=10),
        StitchedSliceRegressor(start=Ridge(), epochs=10),
    ],
    expected_failed_checks=lambda one: OTHERWISE,
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def cohort():
    """Severity and a bright spot both decide; of every patient there is a blank picture, too."""
    rng = np.random.default_rng(0)
    n = 160
    spot, severity = rng.integers(0, 2, n), rng.normal(size=n)
    score = 1.5 * severity + 3.0 * (spot - 0.5)
    images = []
    for one in spot:
        data = rng.uniform(0.2, 0.3, (8, 10, 8)).astype(np.float32)
        data[2:5, 3:6, 2:6] += 0.6 * one
        images.append(nib.Nifti1Image(data, AFFINE))
    blank = nib.Nifti1Image(np.zeros((8, 10, 8), np.float32), AFFINE)
    X = pd.DataFrame(
        {"scan": images, "blank": [blank] * n, "severity": severity},
        index=[f"p{k:03d}" for k in range(n)],
    )
    noise = rng.logistic(size=n)
    y = pd.Series((score + noise > 0).astype(int), X.index, name="poor")
    scale = pd.Series(np.digitize(score + noise, [-2, 0, 2]), X.index, name="scale")
    return X, y, scale


def start(model=None):
    return make_pipeline(TabularEncoder(["severity"]), model or LogisticRegression())


SMALL = {"mosaic_size": 32, "epochs": 12, "random_state": 0}


def network(**changed):
    return StitchedSliceClassifier("scan", **{"start": start(), **SMALL, **changed})


def test_a_network_that_learns_nothing_is_its_start(cohort):
    X, y, scale = cohort
    still = {"learning_rate": 1e-12, "epochs": 1}
    named = y.map({0: "good", 1: "poor"})
    pairs = [
        (network(**still), named),
        (network(**still, start=start(LogisticRegression(C=0.1))), scale),
        (network(**still, ordinal=True, start=start(OrdinalClassifier())), scale),
        (network(**still, ordinal=True, start=start(LogisticRegression())), scale),
        (
            FusionClassifier(
                "scan",
                tabular=["severity"],
                view=StitchedSlices(mosaic_size=32),
                start=start(),
                **still,
            ),
            y,
        ),
        (VolumeClassifier("scan", spacing_mm=20, tabular=["severity"], start=start(), **still), y),
    ]
    for model, outcome in pairs:
        alone = clone(model.start).fit(X, outcome)
        model.fit(X, outcome)
        assert model.classes_.tolist() == alone.classes_.tolist()
        np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X), atol=1e-5)
    regressor = StitchedSliceRegressor(
        "scan", start=start(LinearRegression()), mosaic_size=32, **still
    )
    ages = 60 + 10 * X["severity"] + np.arange(len(X)) % 7
    alone = clone(regressor.start).fit(X, ages)
    np.testing.assert_allclose(regressor.fit(X, ages).predict(X), alone.predict(X), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*smaller than one cell")
@pytest.mark.parametrize("ordinal", [False, True])
def test_a_blank_brain_adds_nothing(cohort, ordinal):
    X, y, scale = cohort
    model = RoiSymbolClassifier(
        "blank",
        regions=1,
        allow_empty=True,
        start=start(OrdinalClassifier() if ordinal else LogisticRegression()),
        ordinal=ordinal,
        dropout=0.2,
        learning_rate=1e-2,
        epochs=3,
        random_state=0,
        mosaic_size=64,
    ).fit(X, scale if ordinal else y)
    alone = clone(model.start).fit(X, scale if ordinal else y)
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X), atol=1e-5)


@pytest.fixture(scope="module")
def fitted(cohort):
    X, y, _ = cohort
    return network().fit(X[:110], y[:110])


def test_a_planted_effect_is_added(cohort, fitted):
    X, y, _ = cohort
    seen = roc_auc_score(y[110:], fitted.predict_proba(X[110:])[:, 1])
    alone = roc_auc_score(y[110:], fitted.start_.predict_proba(X[110:])[:, 1])
    assert seen > alone + 0.03


def test_a_null_effect_does_little_harm(cohort):
    X, y, _ = cohort
    shuffled = X.assign(scan=X["scan"].sample(frac=1, random_state=1).to_numpy())
    model = network().fit(shuffled[:110], y[:110])
    losses = [log_loss(y[110:], m.predict_proba(shuffled[110:])) for m in (model, model.start_)]
    assert losses[0] < losses[1] + 0.03


def test_the_penalty_holds_the_image_back(cohort, fitted):
    X, y, _ = cohort
    held = network(start_penalty=30.0).fit(X[:110], y[:110])

    def shift(model):
        odds = [np.log(m.predict_proba(X)) for m in (model, model.start_)]
        return np.abs(np.diff(odds[0] - odds[1], axis=1)).mean()

    assert shift(held) < 0.1 * shift(fitted)


def test_it_pickles_and_clones_and_shows_its_parameters(cohort, fitted):
    X, _, _ = cohort
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    copy = clone(fitted).set_params(start__logisticregression__C=0.5)
    assert copy.start.steps[-1][1].C == 0.5 and fitted.start.steps[-1][1].C == 1.0
    assert fitted.start_ is not fitted.start and not hasattr(fitted.start.steps[-1][1], "coef_")
    assert fitted.embed(X[:3]).shape == (3, 128)


def test_searches_comparisons_and_explanations(cohort, fitted):
    X, y, scale = cohort
    quick = network(epochs=1)
    search = GridSearchCV(quick, {"start__logisticregression__C": [1e-6, 1.0]}, cv=2).fit(X, y)
    assert search.best_params_ == {"start__logisticregression__C": 1.0}
    assert cross_validate(quick, X, y, cv=2, scoring="roc_auc")["test_score"].min() > 0.5
    models = {
        "start": start(OrdinalClassifier()),
        "network": clone(quick).set_params(ordinal=True, start=start(OrdinalClassifier())),
    }
    result = compare(models, X, scale, cv=2, cut=1, random_state=0)
    assert result.kinds == {"start": "ordinal", "network": "ordinal"}
    assert result.table["auc"].min() > 0.6
    found = explain(fitted, X[:2], method="gradient")
    offset = np.log(fitted.start_.predict_proba(X[:2]))
    total = np.diff(np.log(fitted.predict_proba(X[:2])), axis=1)[:, 0]
    base = np.diff(fitted.networks_[0].base.numpy())[0]
    added = total - np.diff(offset, axis=1)[:, 0]
    np.testing.assert_allclose(found.outputs["output"], base + added, atol=1e-4)


class Remembers(ClassifierMixin, BaseEstimator):
    """Is certain of whom it has seen in training, and has no opinion of all others."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = set(X["person"])
        self.rows_ = len(X)
        return self

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X):
        seen = X["person"].isin(self.seen_).to_numpy()
        return np.where(seen[:, None], [0.001, 0.999], 0.5)


def test_nobody_starts_from_a_model_that_saw_him(cohort, monkeypatch):
    X, y, _ = cohort
    X = X.assign(person=[f"h{k // 2}" for k in range(len(X))])
    given = []
    build = StitchedSliceClassifier._new_network

    def spy(self, inputs, *rest):
        given.append(inputs["offset"])
        return build(self, inputs, *rest)

    monkeypatch.setattr(StitchedSliceClassifier, "_new_network", spy)
    model = network(start=Remembers(), epochs=1, patient="person").fit(X, y)
    model = clone(model).set_params(patient=None).fit(X, y, groups=X["person"])
    weights = np.r_[np.zeros(20), np.ones(len(X) - 20)]
    absent = clone(model).fit(X, y, sample_weight=weights, groups=X["person"])
    for offset, rows in zip(given, [160, 160, 140], strict=True):
        np.testing.assert_allclose(offset, np.full((rows, 2), np.log(0.5)), rtol=1e-6)
    assert (model.start_.rows_, absent.start_.rows_) == (160, 140)


def test_rare_classes_and_weights(cohort):
    X, y, scale = cohort
    scale = scale.copy()
    scale.iloc[7] = 9  # one patient: some folds never see this class
    model = network(ordinal=True, start=start(OrdinalClassifier()), epochs=1).fit(X, scale)
    assert np.isfinite(model.predict_proba(X)).all() and model.classes_[-1] == 9
    weights = np.where(y == 1, 20.0, 1.0)
    with pytest.raises(ValueError, match="start=Pipeline takes no sample_weight"):
        network(epochs=1).fit(X, y, sample_weight=weights)
    heavy = StitchedSliceClassifier(start=LogisticRegression(), epochs=1, random_state=0)
    values = X[["severity"]].to_numpy()
    light = clone(heavy).fit(values, y).predict_proba(values)[:, 1].mean()
    assert heavy.fit(values, y, sample_weight=weights).predict_proba(values)[:, 1].mean() > light


def test_what_cannot_be_started_from_is_refused(cohort):
    X, y, scale = cohort
    with pytest.raises(ValueError, match=r"start=SVC has no predict_proba.*CalibratedClassifierCV"):
        network(start=SVC()).fit(X, y)
    with pytest.raises(ValueError, match=r"start=Ridge has no.*OrdinalFromRegressor"):
        network(start=Ridge(), ordinal=True).fit(X, scale)
    with pytest.raises(ValueError, match="start=LogisticRegression is a classifier"):
        StitchedSliceRegressor("scan", start=LogisticRegression()).fit(X, X["severity"])
    with pytest.raises(ValueError, match="'start' parameter"):
        network(start="place").fit(X, y)
    with pytest.raises(CohortError, match="in 5 folds of the training patients, found n_samples=4"):
        network().fit(X[:4], [0, 1, 0, 1])


class TestNetwork:
    def test_ordinal_probabilities(self):
        thresholds, scores = np.array([-2.0, -0.5, 3.0]), np.array([-20.0, -1.0, 0.3, 30.0])
        inner = ImageTabularNet(None, n_tabular=1, n_outputs=1, dropout=0).double()
        model = StartedNet(inner, "ordinal", torch.zeros(3)).double().eval()
        torch.nn.init.constant_(inner.output.bias, 0.7)
        odds = torch.from_numpy(scores[:, None] - thresholds)
        found = model(tabular=torch.zeros(4, 1).double(), offset=odds).exp().detach()
        np.testing.assert_allclose(found, class_probabilities(scores + 0.7, thresholds), atol=1e-9)
        model.centre_on([0.7])
        found = model(tabular=torch.zeros(4, 1).double(), offset=odds).exp().detach()
        np.testing.assert_allclose(found, class_probabilities(scores, thresholds), atol=1e-6)

    def test_the_penalised_loss_has_the_right_gradient(self):
        model = StartedNet(ImageTabularNet(None, 2, 1), "ordinal", torch.zeros(2)).double()
        shift = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None].requires_grad_()
        odds = torch.tensor([[2.0, -1.0]] * 6, dtype=torch.float64)
        targets, loss = torch.arange(6) % 3, shrinking(cumulative_logit, 3.0)

        def losses(shift):
            return loss((model._moved(odds, shift), shift), targets)

        assert torch.autograd.gradcheck(losses, shift)
        plain = cumulative_logit(model._moved(odds, shift), targets)
        torch.testing.assert_close(losses(shift) - plain, 1.5 * shift[:, 0] ** 2)
        torch.testing.assert_close(loss(model._moved(odds, shift), targets), plain)

    def test_an_unknown_outcome(self):
        with pytest.raises(ValueError, match="outcome must be among"):
            StartedNet(ImageTabularNet(None, 2, 1), "survival", torch.zeros(1))


def test_a_pipeline_is_a_start_too():
    assert isinstance(network().get_params()["start"], Pipeline)
