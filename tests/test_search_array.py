"""scikit-learn's own suite, on `OptunaSearch`."""

import warnings

import pytest
from optuna.distributions import FloatDistribution
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from prognosis import OptunaSearch

PENALTY = FloatDistribution(1e-3, 1e2, log=True)
SPACE = {"C": PENALTY}
ESTIMATORS = [
    OptunaSearch(LogisticRegression(), SPACE, cv=2, n_trials=2),
    OptunaSearch(Ridge(), {"alpha": PENALTY}, cv=2, n_trials=2),
    OptunaSearch(
        make_pipeline(StandardScaler(), LogisticRegression()),
        {"logisticregression__C": PENALTY},
        cv=2,
        n_trials=2,
    ),
]
EXPECTED = {
    "check_supervised_y_2d": (
        "Ridge predicts several outcomes and takes y as a column; scikit-learn's own searches over "
        "it do not tell the check, either"
    )
}


@parametrize_with_checks(
    ESTIMATORS,
    expected_failed_checks=lambda search: EXPECTED if isinstance(search.estimator, Ridge) else {},
)
def test_scikit_learn_conformance(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("search, at_least", [*zip(ESTIMATORS, [50, 48, 40])])
def test_the_suite_is_not_silently_switched_off(search, at_least):
    names = [check.func.__name__ for _, check in estimator_checks_generator(search)]
    assert len([name for name in names if "array_api" not in name]) >= at_least
