"""Slopes for every step of the scale: right at each cut, and the same order of patients."""

import pickle

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from prognosis import OrdinalClassifier
from prognosis.estimators.ordinal.slopes import exceedances, left_out_scores

STEPS = np.array([-1.5, -0.5, 0.5, 1.5])
NOT_LIKE_COPIES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a patient of weight two is left out whole, two copies of a patient one by one"
    ),
    "check_classifiers_classes": "text has no order; see test_ordinal",
}


@parametrize_with_checks(
    [OrdinalClassifier(slopes="each")], expected_failed_checks=lambda one: NOT_LIKE_COPIES
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


def draw(slopes, n, seed=0):
    """Outcomes in five steps, each with its own slope on the score."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    score = X @ [1.0, -0.5, 0.25, 0.0]
    above = exceedances(score, np.asarray(slopes), STEPS)
    return X, (rng.random(n)[:, None] < above).sum(axis=1)


def slope_at(y, chance):
    chance = chance.clip(1e-6, 1 - 1e-6)
    logit = np.log(chance / (1 - chance))[:, None]
    return LogisticRegression(C=np.inf).fit(logit, y).coef_[0, 0]


def test_probabilities_are_right_at_every_cut():
    slopes = [0.5, 1.0, 2.0, 1.0]
    X, y = draw(slopes, 4000)
    new, truth = draw(slopes, 20_000, seed=1)
    one, each = OrdinalClassifier().fit(X, y), OrdinalClassifier(slopes="each").fit(X, y)
    of_one = [slope_at(truth > k, one.predict_exceeding(new, k)) for k in range(4)]
    of_each = [slope_at(truth > k, each.predict_exceeding(new, k)) for k in range(4)]
    assert of_one[0] < 0.7 and of_one[2] > 1.5
    np.testing.assert_allclose(of_each, 1, atol=0.12)
    np.testing.assert_allclose(each.slopes_ / each.slopes_[1], slopes, rtol=0.15)
    for k in range(4):  # where no lines cross, patients stay in their order
        same = np.corrcoef(
            rankdata(one.predict_exceeding(new, k)), rankdata(each.predict_exceeding(new, k))
        )
        assert same[0, 1] > 0.999


def test_proportional_odds_stay_as_they_are():
    X, y = draw([1, 1, 1, 1], 4000)
    each = OrdinalClassifier(slopes="each").fit(X, y)
    np.testing.assert_allclose(each.slopes_, 1, atol=0.12)
    one = OrdinalClassifier().fit(X, y)
    np.testing.assert_allclose(each.predict_proba(X), one.predict_proba(X), atol=0.03)
    assert (one.slopes_ == 1).all()


def test_few_patients_and_many_columns_are_not_made_bold():
    """On their own scores training patients look better told apart than new ones will be."""
    rng = np.random.default_rng(0)
    X, y = draw([1, 1, 1, 1], 120)
    X = np.hstack([X, rng.normal(size=(120, 30))])
    each = OrdinalClassifier(slopes="each").fit(X, y)
    assert each.slopes_.mean() < 0.9  # the fit spreads too much, and the slopes take it back


def test_left_out_scores_are_those_of_models_without_the_patient():
    X, y = draw([1, 1, 1, 1], 150)
    model = OrdinalClassifier(alpha=3.0).fit(X, y)
    seen = X, y, np.ones(150), model.coef_, model.thresholds_, model.penalties_
    about = left_out_scores(*seen)
    off = []
    for i in range(0, 150, 5):
        rest = np.arange(150) != i
        exact = X[i] @ OrdinalClassifier(alpha=3.0).fit(X[rest], y[rest]).coef_
        off.append([abs(about[i] - exact), abs(X[i] @ model.coef_ - exact)])
    approximate, own = np.mean(off, axis=0)
    assert approximate < 0.2 * own


def test_probabilities_are_probabilities():
    X, y = draw([0.3, 2.0, 0.3, 2.0], 400)
    model = OrdinalClassifier(slopes="each").fit(X, y)
    chances = model.predict_proba(10 * X)  # far out, where lines cross
    assert (chances >= 0).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_two_classes_have_one_slope():
    X, y = draw([1, 1, 1, 1], 200)
    one = OrdinalClassifier().fit(X, y > 2)
    each = OrdinalClassifier(slopes="each").fit(X, y > 2)
    np.testing.assert_array_equal(one.predict_proba(X), each.predict_proba(X))


def test_constant_columns_without_a_penalty():
    X, y = draw([1, 1, 1, 1], 200)
    X = np.hstack([X, np.zeros((200, 1)), X[:, :1]])
    model = OrdinalClassifier(alpha=0, slopes="each").fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()
    assert expit(model.slopes_).min() > 0.5


def test_unknown_slopes_are_refused():
    with pytest.raises(ValueError, match="slopes"):
        OrdinalClassifier(slopes="two").fit([[0.0], [1.0]], [0, 1])
