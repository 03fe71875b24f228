"""One temperature: better probabilities, the same ranking, nothing from the test patients.

scikit-learn's suite runs in test_transformers_array.py, folds by patient in test_grouping.py.
"""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from prognosis import StitchedSliceClassifier, TabularEncoder, TemperatureScaled
from prognosis.estimators.temperature import _best_temperature


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(true):
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 3))
    probability = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    y = (probability.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert _best_temperature(honest * true, y, None) == pytest.approx(true, rel=0.05)


def test_too_sure_probabilities_are_mended_and_ranks_stay():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 60))
    y = np.where(X[:, 0] + 1.5 * rng.normal(size=400) > 0, "poor", "good")
    sure = LogisticRegression(C=100, max_iter=1000)
    scaled = TemperatureScaled(sure).fit(X[:120], y[:120])
    alone = sure.fit(X[:120], y[:120])
    assert scaled.temperature_ > 1.5
    assert log_loss(y[120:], scaled.predict_proba(X[120:])) < log_loss(
        y[120:], alone.predict_proba(X[120:])
    )
    np.testing.assert_array_equal(scaled.predict(X), alone.predict(X))
    order = np.argsort(alone.predict_proba(X)[:, 1])
    assert (np.diff(scaled.predict_proba(X)[order, 1]) >= -1e-12).all()


def test_networks_and_weights():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = (X[:, 0] > 0).astype(int)
    model = TemperatureScaled(StitchedSliceClassifier(epochs=3, random_state=0), cv=2)
    assert model.fit(X, y, sample_weight=np.ones(60)).predict_proba(X).shape == (60, 2)
    with pytest.raises(ValueError, match="LinearSVC has no predict_proba"):
        TemperatureScaled(LinearSVC()).fit(X, y)


# Why scikit-learn's CalibratedClassifierCV(method="temperature") does not stand in its place.


@pytest.fixture(scope="module")
def scans():
    """Three scans of every patient, without images; a Series with ids as the outcome."""
    rng = np.random.default_rng(0)
    index = [f"scan-{k:02}" for k in range(72)]
    X = pd.DataFrame({"who": np.repeat(np.arange(24), 3), "age": rng.normal(60, 10, 72)}, index)
    return X, pd.Series(np.arange(72) % 3, index)


@pytest.mark.parametrize("names", [[0, 1, 2], [1, 2, 7], ["a", "b", "c"]], ids=str)
def test_it_does_not_matter_what_the_classes_are_called(scans, names):
    X, y = scans
    model = TemperatureScaled(make_pipeline(TabularEncoder(["age"]), LogisticRegression()), cv=3)
    expected = clone(model).fit(X, y.to_numpy()).predict_proba(X)
    found = model.fit(X, y.map(dict(enumerate(names))))
    np.testing.assert_array_equal(found.predict_proba(X), expected)
    assert found.classes_.tolist() == names


class Spy(LogisticRegression):
    """Notes the patients that it is fitted on, and those that it predicts."""

    seen: ClassVar = []

    def __init__(self, patient=None):
        super().__init__()
        self.patient = patient

    def fit(self, X, y, sample_weight=None):
        self.seen.append(set(X["who"]))
        return super().fit(X[["age"]], y, sample_weight)

    def predict_proba(self, X):
        self.seen.append(set(X["who"]))
        return super().predict_proba(X[["age"]])


def test_a_number_of_folds_keeps_the_scans_of_a_declared_patient_together(scans):
    X, y = scans
    Spy.seen.clear()
    TemperatureScaled(Spy("who"), cv=3).fit(X, y)
    assert len(Spy.seen) == 7  # three folds, fitted and predicted, and the last fit
    assert all(train.isdisjoint(test) for train, test in zip(Spy.seen[:6:2], Spy.seen[1:6:2]))
