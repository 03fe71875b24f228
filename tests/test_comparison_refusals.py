"""What a comparison refuses, in one clear sentence, and how it names a model that fails."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.dummy import DummyClassifier, DummyRegressor

from prognosis import (
    CohortError,
    ModelError,
    compare,
    linear_ladder,
    logistic_ladder,
)

NUMERIC = ["lesion_ml", "nihss"]


class Failing(ClassifierMixin, BaseEstimator):
    """Fails, in one way or another, when it has to predict one row."""

    def __init__(self, fail_in_test_of=None, wrong="raise"):
        self.fail_in_test_of = fail_in_test_of
        self.wrong = wrong

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        positive = np.linspace(0.2, 0.8, len(X))
        if self.fail_in_test_of in X.index:
            if self.wrong == "raise":
                raise RuntimeError("out of\nluck")
            if self.wrong == "cohort":
                raise CohortError("row 'p1', column 't1w': no image")
            positive[0] = np.nan
        return np.c_[1 - positive, positive]

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]


class WrongLength(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros((len(X), 1))


@pytest.fixture(scope="module")
def ladder():
    return logistic_ladder([["lesion_ml"], NUMERIC, [*NUMERIC, "sex"]])


def refuses(error, match, models, X, y, **options):
    with pytest.raises(error, match=match):
        compare(models, X, y, random_state=0, **options)


def test_baseline(tabular_cohort, poor_outcome, ladder):
    refuses(
        ValueError,
        "baseline='cnn' is none of",
        ladder,
        tabular_cohort[0],
        poor_outcome,
        baseline="cnn",
    )


@pytest.mark.parametrize(
    ("models", "match"),
    [
        ({}, "models is empty"),
        ([("a", DummyClassifier()), ("a", DummyClassifier())], "'a' occurs more than once"),
        ({"a": DummyClassifier}, "not a scikit-learn estimator instance"),
        ({"a": DummyClassifier(), "b": DummyRegressor()}, "'a' is a classifier and 'b'"),
        ([DummyClassifier()], r"must be \(name, estimator\) pairs"),
    ],
)
def test_models(tabular_cohort, poor_outcome, models, match):
    refuses(ValueError, match, models, tabular_cohort[0], poor_outcome)


def test_outcome(tabular_cohort, poor_outcome, ladder):
    X, mrs = tabular_cohort
    missing = poor_outcome.copy()
    missing.loc["p7"] = None
    refuses(CohortError, "row 'p7': the outcome is missing", ladder, X, missing)
    refuses(CohortError, "y has 119 values", ladder, X, poor_outcome.iloc[1:])
    refuses(CohortError, r"y = y\.loc\[X\.index\]", ladder, X, poor_outcome[::-1])
    renamed = poor_outcome.rename(index={"p0": "q0"})
    refuses(CohortError, "row 'q0' that X has not", ladder, X, renamed)
    refuses(CohortError, "every outcome is 'poor'", ladder, X, poor_outcome.map(lambda _: "poor"))
    refuses(CohortError, "one column", ladder, X, poor_outcome.to_frame())
    numeric = linear_ladder([["lesion_ml"]])
    refuses(CohortError, "finite numbers", numeric, X, poor_outcome)
    refuses(CohortError, "finite numbers", numeric, X, mrs.replace(mrs.iloc[0], np.inf))


def test_positive_label(tabular_cohort, poor_outcome, ladder):
    refuses(
        ValueError,
        "positive_label",
        ladder,
        tabular_cohort[0],
        poor_outcome,
        positive_label="dead",
    )


def test_table(tabular_cohort, poor_outcome, ladder):
    X, _ = tabular_cohort
    refuses(CohortError, "DataFrame", ladder, X.to_numpy(), poor_outcome)
    doubled = X.set_axis(["p0", *X.index[:-1]])
    refuses(CohortError, "row 'p0' occurs 2 times", ladder, doubled, poor_outcome)
    refuses(
        CohortError, r"model 'lesion_ml', repeat 1, fold 1: column 'lesion_ml' not found",
        ladder, X[["sex"]], poor_outcome,
    )  # fmt: skip


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_failing_model_is_named_with_its_fold(tabular_cohort, poor_outcome, n_jobs):
    X, _ = tabular_cohort
    models = {"good": Failing(), "bad": Failing(fail_in_test_of="p0")}
    match = r"model 'bad', repeat 1, fold \d: RuntimeError: out of luck"
    refuses(ModelError, match, models, X, poor_outcome, n_jobs=n_jobs)
    models["bad"].wrong = "cohort"
    match = r"model 'bad', repeat 1, fold \d: row 'p1', column 't1w': no image"
    refuses(CohortError, match, models, X, poor_outcome, n_jobs=n_jobs)


def test_missing_and_misshapen_predictions(tabular_cohort, poor_outcome):
    X, mrs = tabular_cohort
    models = {"bad": Failing(fail_in_test_of="p0", wrong="nan")}
    refuses(ModelError, "model 'bad', .*probability is missing for row 'p", models, X, poor_outcome)
    refuses(ModelError, r"has shape \(24, 1\)", {"bad": WrongLength()}, X, mrs)
