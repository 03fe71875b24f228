"""Ordered outcomes: the likelihood, its penalties, and what is said above a cut."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from prognosis import CohortError, OrdinalClassifier, OrdinalFromRegressor, predict_exceeding
from prognosis.estimators.ordinal.likelihood import (
    class_probabilities,
    from_thresholds,
    objective,
    to_thresholds,
)
from prognosis.estimators.ordinal.scale import is_ordinal, ordered_classes

STEPS = np.array([-2.0, -1.0, -0.3, 0.4, 1.0, 2.0])
# Of a sparse table ridge regression is found step by step.
SCALE = [OrdinalClassifier(), OrdinalFromRegressor(Ridge(tol=1e-12), cv=3)]
TEXT_HAS_NO_ORDER = {
    "check_classifiers_classes": (
        "text has no order that could be known, so it is refused; twin: test_kinds_of_classes"
    )
}


@parametrize_with_checks(SCALE, expected_failed_checks=lambda one: TEXT_HAS_NO_ORDER)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator, at_least", [*zip(SCALE, [60, 61])])
def test_the_suite_is_not_silently_switched_off(estimator, at_least):
    names = [check.func.__name__ for _, check in estimator_checks_generator(estimator)]
    assert len(names) >= at_least
    assert estimator.__sklearn_tags__().input_tags.two_d_array


def draw(n=464, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features))
    b = np.linspace(-1, 1, n_features)
    return X, np.digitize(X @ b + rng.logistic(size=n), STEPS), b


class TestLikelihood:
    def test_thresholds_and_back(self):
        np.testing.assert_allclose(to_thresholds(from_thresholds(STEPS)), STEPS)

    @pytest.mark.parametrize("n_classes", [2, 3, 7])
    def test_gradient(self, n_classes):
        rng = np.random.default_rng(n_classes)
        X, codes = rng.normal(size=(40, 4)), np.arange(40) % n_classes
        given = X, codes, rng.uniform(0.5, 2, 40), np.array([0, 1, 2, 30.0])
        at = rng.normal(size=4 + n_classes - 1)
        _, gradient = objective(at, *given)
        for step in (1e-6, -1e-6):  # the mean of both sides
            gradient = gradient - approx_fprime(at, lambda t: objective(t, *given)[0], step) / 2
        np.testing.assert_allclose(gradient, 0, atol=1e-5)

    def test_value_is_the_definition(self):
        X, codes, b = draw(60)
        weights, penalties = np.linspace(0.5, 2, 60), np.arange(5.0)
        chosen = class_probabilities(X @ b, STEPS)[np.arange(60), codes]
        expected = -(weights @ np.log(chosen)) + penalties @ b**2 / 2
        found, _ = objective(np.r_[b, from_thresholds(STEPS)], X, codes, weights, penalties)
        assert found == pytest.approx(expected, rel=1e-12)

    def test_probabilities_far_out(self):
        found = class_probabilities(np.array([-800.0, 0, 45, 800]), np.array([-1.0, 1.0]))
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
        # where sigmoid(u) - sigmoid(l) would be 0
        assert found[2, 1] == pytest.approx(np.exp(-44) - np.exp(-46), rel=1e-6)

    def test_an_impossible_step_is_no_accident(self):
        X, codes, b = draw(60)
        for free in ([-800.0] * 6, [800.0] * 6):
            value, gradient = objective(np.r_[b, free], X, codes, np.ones(60), np.ones(5))
            assert np.isfinite(value) and np.isfinite(gradient).all()


class TestClassifier:
    def test_two_classes_are_logistic_regression(self):
        X, y, _ = draw()
        weights = np.random.default_rng(1).uniform(0.2, 3, len(y))
        for alpha in (0.3, 10.0):
            logistic = LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=10_000)
            expected = logistic.fit(X, y > 2, sample_weight=weights)
            found = OrdinalClassifier(alpha=alpha).fit(X, y > 2, sample_weight=weights)
            np.testing.assert_allclose(found.coef_, expected.coef_[0], atol=1e-6)
            np.testing.assert_allclose(-found.thresholds_, expected.intercept_, atol=1e-6)
            np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=1e-6)

    def test_the_truth_is_found(self):
        X, y, b = draw(20_000)
        model = OrdinalClassifier().fit(X, y)
        np.testing.assert_allclose(model.coef_, b, atol=0.06)
        np.testing.assert_allclose(model.thresholds_, STEPS, atol=0.08)

    def test_more_than_a_cut_sees(self):
        """On unseen patients the whole scale tells more of y > 2 than y > 2 itself."""
        gains = []
        for seed in range(8):
            X, y, _ = draw(1200, 30, seed)
            ordinal = OrdinalClassifier().fit(X[:150], y[:150])
            binary = LogisticRegression().fit(X[:150], y[:150] > 2)
            truth = y[150:] > 2
            gains.append(
                roc_auc_score(truth, ordinal.predict_exceeding(X[150:], 2))
                - roc_auc_score(truth, binary.predict_proba(X[150:])[:, 1])
            )
        assert np.mean(gains) > 0.005

    def test_exceeding_adds_up(self):
        X, y, _ = draw()
        model = OrdinalClassifier().fit(X, y)
        probabilities = model.predict_proba(X)
        for cut in range(6):
            found = model.predict_exceeding(X, cut)
            np.testing.assert_allclose(found, probabilities[:, cut + 1 :].sum(axis=1))
            s = X @ model.coef_ - model.thresholds_[cut]
            np.testing.assert_allclose(found, 1 / (1 + np.exp(-s)), rtol=1e-9)
        np.testing.assert_array_equal(
            model.predict_exceeding(X, 2), model.predict_exceeding(X, 2.7)
        )
        for cut in (6, -1, "2", None, np.nan):
            with pytest.raises(ValueError, match="cut"):
                model.predict_exceeding(X, cut)

    def test_weights_are_repetitions(self):
        X, y, _ = draw(80)
        weights = np.arange(80) % 3
        one = OrdinalClassifier().fit(X, y, sample_weight=weights)
        other = OrdinalClassifier().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
        np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-7)
        left_out = OrdinalClassifier().fit(X, y, sample_weight=(y < 5).astype(float))
        assert left_out.classes_.tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.filterwarnings("error")
    def test_columns_of_any_unit(self):
        X, y, _ = draw()
        by = np.array([1e-4, 1, 1e3, 1, 1e6])
        one = OrdinalClassifier(alpha=1.0).fit(X, y)
        other = OrdinalClassifier(alpha=by**2).fit(X * by, y)
        np.testing.assert_allclose(other.coef_ * by, one.coef_, atol=1e-6)
        assert other.n_iter_ < 100

    def test_separated_without_penalty(self):
        X = np.arange(12.0)[:, None]
        with pytest.warns(ConvergenceWarning, match="raise alpha"):
            OrdinalClassifier(alpha=0, max_iter=2).fit(X, np.repeat([0, 1, 2], 4))

    def test_kinds_of_classes(self):
        X, y, _ = draw(120)
        words = np.array(["none", "mild", "some", "more", "severe", "worst", "dead"])
        numbers = OrdinalClassifier().fit(X, y)
        ordered = pd.Series(pd.Categorical(words[y], categories=words, ordered=True))
        for model in (
            OrdinalClassifier().fit(X, ordered),
            OrdinalClassifier(order=words.tolist()).fit(X, words[y]),
            clone(OrdinalClassifier(order=[*words, "unused"])).fit(X, words[y]),
        ):
            assert model.classes_.tolist() == words.tolist()
            np.testing.assert_array_equal(model.coef_, numbers.coef_)
            np.testing.assert_array_equal(model.predict(X), words[numbers.predict(X)])
            np.testing.assert_array_equal(
                model.predict_exceeding(X, "some"), numbers.predict_exceeding(X, 2)
            )
            with pytest.raises(ValueError, match="none of the classes"):
                model.predict_exceeding(X, "bad")
        for text in (words[y], pd.Series(words[y]), pd.Series(pd.Categorical(words[y]))):
            with pytest.raises(ValueError, match=r"y holds text .*order is not known"):
                OrdinalClassifier().fit(X, text)
        with pytest.raises(ValueError, match=r"'dead', which order=.* lacks"):
            OrdinalClassifier(order=words[:-1]).fit(X, words[y])
        with pytest.raises(ValueError, match="more than once"):
            ordered_classes([1], order=[1, 1])

    def test_refusals(self):
        X, y, _ = draw(60)
        with pytest.raises(ValueError, match="missing"):
            OrdinalClassifier().fit(X, np.where(y == 3, np.nan, y))
        with pytest.raises(ValueError, match="Unknown label type"):
            OrdinalClassifier().fit(X, y + X[:, 0])
        with pytest.raises(ValueError, match="one class"):
            OrdinalClassifier().fit(X, 0 * y)
        with pytest.raises(ValueError, match="X has 60 rows and y 59"):
            OrdinalClassifier().fit(X, y[1:])
        with pytest.raises(CohortError, match="another order"):
            OrdinalClassifier().fit(pd.DataFrame(X), pd.Series(y)[::-1])
        with pytest.raises(ValueError, match="alpha"):
            OrdinalClassifier(alpha=-1).fit(X, y)


class TestPenalties:
    @pytest.fixture
    def table(self):
        X, y, _ = draw(200)
        names = ["table__age", "place__left", "place__right", "place", "placement"]
        return pd.DataFrame(X, columns=names), y

    def test_blocks_and_columns(self, table):
        X, y = table
        found = OrdinalClassifier(alpha=2, blocks={"place__right": 7, "place": 5}).fit(X, y)
        assert found.penalties_.tolist() == [2, 5, 7, 5, 2]
        same = OrdinalClassifier(alpha=[2, 5, 7, 5, 2]).fit(X.to_numpy(), y)
        np.testing.assert_array_equal(found.coef_, same.coef_)

    def test_a_penalty_is_a_scale(self, table):
        X, y = table
        one = OrdinalClassifier(alpha=[1, 4, 9, 1, 16]).fit(X.to_numpy(), y)
        by = np.array([1, 2, 3, 1, 4.0])
        other = OrdinalClassifier().fit(X.to_numpy() / by, y)
        np.testing.assert_allclose(one.coef_, other.coef_ / by, atol=1e-6)

    def test_a_function_of_names(self, table):
        X, y = table
        model = OrdinalClassifier(alpha=lambda names: [len(name) for name in names])
        assert model.fit(X, y).penalties_.tolist() == [10, 11, 12, 5, 9]

    def test_a_large_penalty_switches_a_block_off(self, table):
        X, y = table
        model = OrdinalClassifier(blocks={"place": 1e9}).fit(X, y)
        np.testing.assert_allclose(model.coef_[1:4], 0, atol=1e-5)
        assert abs(model.coef_[0]) > 0.5

    def test_through_a_pipeline_and_chosen_in_it(self, table):
        X, y = table
        encode = ColumnTransformer(
            [("table", StandardScaler(), ["table__age"]), ("roi", "passthrough", ["place"])]
        )
        pipeline = make_pipeline(encode, OrdinalClassifier(blocks={"roi": 10.0}))
        with pytest.raises(ValueError, match=r'set_output\(transform="pandas"\)'):
            pipeline.fit(X, y)
        pipeline.set_output(transform="pandas").fit(X, y)
        assert pipeline[-1].penalties_.tolist() == [1, 10]
        grid = {"ordinalclassifier__blocks": [{"roi": 0.1}, {"roi": 1e6}]}
        search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=3).fit(X, y)
        assert search.best_params_["ordinalclassifier__blocks"]["roi"] in (0.1, 1e6)
        assert is_ordinal(pipeline) and is_ordinal(search)
        np.testing.assert_array_equal(
            predict_exceeding(pipeline, X, 2), pipeline.predict_proba(X)[:, 3:].sum(axis=1)
        )
        again = pickle.loads(pickle.dumps(pipeline))
        np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"blocks": {"tracts": 1.0}}, "'tracts', and no column .* there are table, place"),
            ({"blocks": {"place": -1.0}}, "penalty of column 'place__left' is -1"),
            ({"blocks": {"place": np.nan}}, "finite"),
            ({"alpha": [1.0, 2.0]}, "X has 5 columns"),
        ],
    )
    def test_refusals(self, table, options, message):
        with pytest.raises(ValueError, match=message):
            OrdinalClassifier(**options).fit(*table)


class TestFromRegressor:
    def test_as_good_as_proportional_odds_where_that_is_true(self):
        X, y, _ = draw(3000)
        found = OrdinalFromRegressor(Ridge()).fit(X[:1000], y[:1000])
        best = OrdinalClassifier().fit(X[:1000], y[:1000])
        losses = [log_loss(y[1000:], one.predict_proba(X[1000:])) for one in (found, best)]
        assert losses[0] < losses[1] + 0.03

    def test_probabilities_are_calibrated_although_the_regressor_overfits(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(2200, 20))
        y = np.digitize(2 * np.abs(X[:, 0]) + rng.logistic(size=2200), [0, 1, 2, 3])
        model = OrdinalFromRegressor(SVR(C=100, gamma=0.1)).fit(X[:200], y[:200])
        poor = model.predict_exceeding(X[200:], 1)
        truth = y[200:] > 1
        assert poor.mean() == pytest.approx(truth.mean(), abs=0.06)
        assert log_loss(truth, poor) < log_loss(truth, np.full(len(truth), truth.mean())) + 0.01

    def test_nothing_to_learn(self):
        rng = np.random.default_rng(3)
        X, y = rng.normal(size=(100, 60)), np.arange(100) % 4
        model = OrdinalFromRegressor(Ridge(alpha=1e-6)).fit(X, y)
        assert 0 <= model.scale_ < 0.3
        np.testing.assert_allclose(model.predict_proba(X).mean(axis=0), 0.25, atol=0.05)

    def test_no_patient_predicts_himself(self):
        class Spy(Ridge):
            seen = []  # noqa: RUF012

            def fit(self, X, y, sample_weight=None):
                self.seen.append(set(X.index))
                return super().fit(X, y, sample_weight)

            def predict(self, X):
                self.seen.append(set(X.index))
                return super().predict(X)

        X, y, _ = draw(70)
        X = pd.DataFrame(X, [f"p{k}" for k in range(70)])
        OrdinalFromRegressor(Spy(), cv=KFold(4)).fit(X, pd.Series(y, X.index))
        assert len(Spy.seen) == 9
        for fitted, predicted in zip(Spy.seen[:8:2], Spy.seen[1:8:2], strict=True):
            assert fitted.isdisjoint(predicted)

    def test_refusals(self):
        X, y, _ = draw(60)
        with pytest.raises(ValueError, match="LogisticRegression is no regressor"):
            OrdinalFromRegressor(LogisticRegression()).fit(X, y)
        with pytest.raises(ValueError, match="order is not known"):
            OrdinalFromRegressor(Ridge()).fit(X, y.astype(str))
        with pytest.raises(ValueError, match="one class"):
            OrdinalFromRegressor(Ridge()).fit(X, 0 * y)
