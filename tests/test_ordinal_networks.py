"""Image estimators of ordered outcomes: one score, thresholds, and what exceeds a cut."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from imaging.learning.losses import cross_entropy, cumulative_logit
from imaging.nets.ordinal import CumulativeLogit
from prognosis import (
    FusionClassifier,
    OrdinalClassifier,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    StitchedSlices,
    VolumeClassifier,
    compare,
    explain,
    make_stroke_cohort,
)
from prognosis.estimators.ordinal.likelihood import class_probabilities
from prognosis.estimators.ordinal.scale import is_ordinal

FULL_BATCH = StitchedSliceClassifier(
    ordinal=True, batch_size=10_000, dropout=0.0, epochs=60, learning_rate=1e-2
)
TEXT_HAS_NO_ORDER = {
    "check_classifiers_classes": "text is refused, as of OrdinalClassifier; twin: test_categories"
}


@parametrize_with_checks([FULL_BATCH], expected_failed_checks=lambda one: TEXT_HAS_NO_ORDER)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


def test_the_suite_is_not_silently_switched_off():
    names = [check.func.__name__ for _, check in estimator_checks_generator(FULL_BATCH)]
    assert len(names) >= 60


class TestHead:
    thresholds = np.array([-2.0, -0.5, 0.0, 3.0])

    def test_probabilities(self):
        scores = np.array([-40.0, -1.0, 0.3, 60.0])
        head = CumulativeLogit(self.thresholds).double()
        found = head(torch.from_numpy(scores)[:, None])
        np.testing.assert_allclose(
            found.detach().exp(), class_probabilities(scores, self.thresholds), atol=1e-6
        )
        assert torch.isfinite(found).all()

    def test_the_loss_is_the_likelihood_and_has_a_gradient(self):
        head = CumulativeLogit(self.thresholds).double()
        scores = torch.linspace(-3, 3, 10, dtype=torch.float64)[:, None].requires_grad_()
        targets = torch.arange(10) % 5
        loss = cumulative_logit(head(scores), targets)
        assert loss.shape == (10,)
        # log probabilities are logits too
        torch.testing.assert_close(loss, cross_entropy(head(scores), targets))
        assert torch.autograd.gradcheck(lambda s: cumulative_logit(head(s), targets), scores)
        loss.sum().backward()
        assert (head.steps.grad != 0).all() and head.first.grad != 0

    def test_two_classes(self):
        found = CumulativeLogit([0.0])(torch.tensor([[1.0]])).exp()
        assert found[0, 1].item() == pytest.approx(1 / (1 + np.exp(-1)), rel=1e-6)

    def test_thresholds_stay_in_order(self):
        head = CumulativeLogit(self.thresholds)
        with torch.no_grad():
            head.steps[:] = torch.tensor([-1000.0, 0.0, 1000.0])
        assert (head.thresholds().diff() >= 0).all()
        assert torch.isfinite(head(torch.tensor([[0.0]]))).all()


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    s = 2 * X[:, 0] - X[:, 1] + rng.logistic(size=300)
    return X, np.digitize(s, [-3, -2, -1, 0, 1, 3])


def test_a_table_is_learnt_as_by_proportional_odds(table):
    X, y = table
    network = StitchedSliceClassifier(ordinal=True, epochs=60, dropout=0.1, random_state=0)
    network.fit(X[:200], y[:200])
    best = OrdinalClassifier().fit(X[:200], y[:200])
    losses = [log_loss(y[200:], one.predict_proba(X[200:])) for one in (network, best)]
    assert losses[0] < losses[1] + 0.1
    np.testing.assert_allclose(network.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    exceeding = network.predict_exceeding(X, 2)
    np.testing.assert_allclose(exceeding, network.predict_proba(X)[:, 3:].sum(axis=1))
    again = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(again.predict_exceeding(X, 2), exceeding)


def test_categories(table):
    X, y = table
    words = np.array(["none", "mild", "some", "more", "severe", "worst", "dead"])
    model = StitchedSliceClassifier(ordinal=True, epochs=2, random_state=0)
    numbers = clone(model).fit(X, y)
    ordered = pd.Series(pd.Categorical(words[y], categories=words, ordered=True))
    found = clone(model).fit(X, ordered)
    assert found.classes_.tolist() == words.tolist()
    np.testing.assert_array_equal(found.predict_proba(X), numbers.predict_proba(X))
    with pytest.raises(ValueError, match="y holds text"):
        clone(model).fit(X, words[y])


def test_only_ordinal_classifiers_exceed(table):
    assert not hasattr(StitchedSliceClassifier(), "predict_exceeding")
    assert is_ordinal(StitchedSliceClassifier(ordinal=True))
    assert not is_ordinal(VolumeClassifier())


@pytest.fixture(scope="module")
def cohort():
    X, _ = make_stroke_cohort(40, spacing_mm=8, random_state=0)
    score = X["severity"].rank(pct=True)
    return X, np.floor(score * 4.99).astype(int).rename("scale")


SMALL = {"ordinal": True, "epochs": 2, "random_state": 0}
NETWORKS = {
    "stitched": StitchedSliceClassifier("t1w", mosaic_size=64, **SMALL),
    "stitched, table": StitchedSliceClassifier(
        "t1w", tabular=["severity"], mosaic_size=64, **SMALL
    ),
    "roi": RoiSymbolClassifier("lesion", symbols=["severity"], allow_empty=True, **SMALL),
    "volume": VolumeClassifier("t1w", spacing_mm=8, validation_fraction=0.3, **SMALL),
    "fusion": FusionClassifier(
        "t1w", tabular=["severity"], view=StitchedSlices(mosaic_size=64), **SMALL
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_image_estimator(cohort, name):
    X, y = cohort
    model = clone(NETWORKS[name]).fit(X, y)
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (40, 5)
    poor = model.predict_exceeding(X, 2)
    assert ((poor > 0) & (poor < 1)).all()
    assert (poor < model.predict_exceeding(X, 1)).all()
    assert np.isfinite(model.history_[0][-1]["train_loss"])


def test_it_starts_from_ordinal_regression_on_the_table(cohort):
    X, y = cohort
    model = clone(NETWORKS["stitched, table"]).set_params(learning_rate=1e-9).fit(X, y)
    assert spearmanr(model.predict_exceeding(X, 2), X["severity"])[0] > 0.7
    values = model.inputs(X)["tabular"]
    expected = OrdinalClassifier().fit(values, y)
    head = model.networks_[0].output
    np.testing.assert_allclose(
        head[1].thresholds().detach(), expected.thresholds_, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(head[0].weight[0, -1].detach(), expected.coef_[0], rtol=1e-4)


def test_it_stands_in_a_comparison_and_is_explained(cohort):
    X, y = cohort
    network = NETWORKS["stitched, table"]
    models = {"ordinal": network, "binary": clone(network).set_params(ordinal=False)}
    result = compare(models, X, y, cv=2, cut=2, random_state=0)
    assert result.kinds == {"ordinal": "ordinal", "binary": "binary"}
    assert result.table["c_index"].gt(0.6).all()
    fitted = clone(network).fit(X, y)
    found = explain(fitted, X[:2], target=4, method="gradient")
    probability = fitted.predict_proba(X[:2])[:, 4]
    log_odds = np.log(probability / (1 - probability))
    np.testing.assert_allclose(found.outputs["output"], log_odds, rtol=1e-3)
