"""Intervals of predictions: as wide as predictions vary, holding what they promise."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline

from prognosis import CohortError, OrdinalClassifier, WithIntervals, make_stroke_cohort, place_model


def draw(n, rng, width=3):
    X = rng.normal(size=(n, width))
    return X, rng.random(n) < expit(X @ np.array([1.0, -0.5, 0.0]))


@pytest.fixture(scope="module")
def fitted():
    X, y = draw(120, np.random.default_rng(0))
    return X, y, WithIntervals(LogisticRegression(), n_refits=20, random_state=0).fit(X, y)


def test_the_predictions_are_those_of_the_model_alone(fitted):
    X, y, model = fitted
    alone = LogisticRegression().fit(X, y)
    assert np.array_equal(model.predict_proba(X), alone.predict_proba(X))
    assert np.array_equal(model.predict(X), alone.predict(X))


def test_intervals_hold_the_probability_and_mirror_between_classes(fitted):
    X, _, model = fitted
    found, said = model.predict_interval(X), model.predict_proba(X)
    assert found.shape == (120, 2, 2)
    assert (found[..., 0] < said).all() and (said < found[..., 1]).all()
    np.testing.assert_allclose(found[:, 0, 0], 1 - found[:, 1, 1], atol=1e-6)
    narrow = model.predict_interval(X, coverage=0.5)
    assert (narrow[..., 1] - narrow[..., 0] < found[..., 1] - found[..., 0]).all()


def test_their_width_is_how_probabilities_vary_between_samples():
    rng = np.random.default_rng(1)
    where = np.array([[0.0, 0, 0], [1, 1, 1], [-2, 1, 0]])
    learner, said, widths = LogisticRegression(C=100), [], []
    for _ in range(60):
        X, y = draw(200, rng)
        model = WithIntervals(learner, n_refits=16, random_state=0).fit(X, y)
        said.append(logit(model.predict_proba(where)[:, 1]))
        low, high = logit(model.predict_interval(where, coverage=0.6827)[:, 1]).T
        widths.append((high - low) / 2)
    ratio = np.mean(widths, axis=0) / np.std(said, axis=0)
    assert ((ratio > 0.8) & (ratio < 1.4)).all(), ratio


def test_intervals_of_numbers_hold_as_many_outcomes_as_they_say():
    rng = np.random.default_rng(2)
    held = []
    for seed in range(10):
        X = rng.normal(size=(100, 3))
        y = X[:, 0] + rng.standard_t(4, 100)
        new = rng.normal(size=(200, 3))
        outcome = new[:, 0] + rng.standard_t(4, 200)
        model = WithIntervals(LinearRegression(), random_state=seed).fit(X, y)
        assert len(model.refits_) == 10
        low, high = model.predict_interval(new, coverage=0.9).T
        held.append(np.mean((low <= outcome) & (outcome <= high)))
    assert 0.86 < np.mean(held) < 0.95


def test_too_few_patients_promise_nothing():
    X, y = np.arange(12.0)[:, None], np.arange(12.0)
    model = WithIntervals(LinearRegression(), random_state=0).fit(X, y)
    assert np.isinf(model.predict_interval(X, coverage=0.95)).all()


def test_a_seed_gives_the_same_and_a_clone_knows_nothing(fitted):
    X, y, model = fitted
    again = clone(model).fit(X, y)
    assert np.array_equal(model.predict_interval(X), again.predict_interval(X))
    assert not hasattr(clone(model), "refits_")


def test_ordered_outcomes_have_an_interval_above_a_cut():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(90, 1))
    y = np.digitize(X[:, 0] + rng.normal(size=90), [-1, 0, 1])
    model = WithIntervals(OrdinalClassifier(), n_refits=8, random_state=0).fit(X, y)
    said = model.predict_exceeding(X, 1)
    low, high = model.exceeding_interval(X, 1).T
    assert ((low < said) & (said < high)).all()
    np.testing.assert_allclose(said, model.predict_proba(X)[:, 2:].sum(axis=1))


class TestPipelines:
    @pytest.fixture(scope="class")
    @staticmethod
    def cohort(tmp_path_factory):
        folder = tmp_path_factory.mktemp("cohort")
        return make_stroke_cohort(20, spacing_mm=8, folder=folder, random_state=0)

    def test_masks_are_measured_once_for_all_refits(self, cohort, reads):
        X, y = cohort
        place = place_model("lesion", tabular=["severity"], atlas="aal", outcome="binary")
        model = WithIntervals(place, n_refits=3, random_state=0).fit(X, y)
        assert reads().count("lesion.nii.gz") + len(reads()) <= 3 * len(X)
        assert [name for name, _ in model.estimator_.steps] == ["size", "place", "encode", "model"]
        assert isinstance(model.refits_[0], Pipeline) and len(model.refits_[0]) == 2
        assert np.array_equal(model.predict_proba(X), place.fit(X, y).predict_proba(X))
        assert model.predict_interval(X.head(2)).shape == (2, 2, 2)

    def test_the_given_estimator_stays_unfitted(self, cohort):
        X, y = cohort
        place = place_model("lesion", tabular=["severity"], atlas="aal", outcome="binary")
        WithIntervals(place, n_refits=2, random_state=0).fit(X, y)
        assert not hasattr(place[0], "columns_")


def test_rows_of_one_patient_stay_together():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=40)}, index=[f"r{k}" for k in range(40)])
    groups, y = np.repeat(np.arange(10), 4), np.tile([0, 1], 20)

    class Seen(LogisticRegression):
        def fit(self, X, y):
            self.rows_ = list(X.index)
            return super().fit(X, y)

    model = WithIntervals(Seen(), n_refits=5, random_state=0).fit(X, y, groups=groups)
    for refit in model.refits_:
        patients = {int(row[1:]) // 4 for row in refit.rows_}
        assert len(refit.rows_) == 20 and len(patients) == 5


def test_refusals(fitted):
    X, _, model = fitted
    with pytest.raises(ValueError, match="coverage must lie between 0 and 1, got 95"):
        model.predict_interval(X, coverage=95)
    with pytest.raises(CohortError, match="halves of 3 patients"):
        WithIntervals(LogisticRegression()).fit(X[:3], [0, 1, 0])
    table = pd.DataFrame({"a": [1.0, 2, 3, 4]}, index=list("abcd"))
    with pytest.raises(CohortError, match="another order"):
        WithIntervals(LogisticRegression()).fit(table, pd.Series([0, 1, 0, 1], list("dcba")))
