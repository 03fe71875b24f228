"""The difference between two models over folds or patients, and p values of several comparisons.

Scores of folds share training patients, so they need a test of their own; `auc` has the one for
areas under the curve.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = [
    "DELONG",
    "OVER_FOLDS",
    "OVER_PATIENTS",
    "TestResult",
    "adjust_p_values",
    "corrected_resampled_ttest",
    "paired_patient_ttest",
    "without_variance",
]

# What the tests are called in tables.
OVER_FOLDS, OVER_PATIENTS, DELONG = "corrected t", "t over patients", "DeLong"


@dataclass(frozen=True)
class TestResult:
    """A difference between two models, its confidence limits and its two-sided p value.

    Attributes
    ----------
    difference, low, high : float
        Mean difference and confidence limits, in the units of the score.
    statistic : float
        t (with `df` degrees of freedom) or z (`df` infinite).
    df : float
    p_value : float
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    difference: float
    low: float
    high: float
    statistic: float
    df: float
    p_value: float

    @property
    def smallest(self):
        """The smallest difference, of either sign, that would have been significant."""
        return (self.high - self.low) / 2


def corrected_resampled_ttest(differences, test_to_train, *, df="folds", confidence=0.95):
    """Corrected resampled t-test on per-fold differences of a score.

    The folds of (repeated) cross-validation share training patients, so their differences are
    correlated and the plain paired t-test finds effects that are not there. The variance of the
    mean is therefore taken as ``(1 / k + n_test / n_train) * variance`` over the k folds, with
    k - 1 degrees of freedom.

    How many times the folds are drawn has to be settled before anybody looks: with more repeats
    the first term vanishes and the degrees of freedom grow, so that the same patients and models
    reach smaller p values. From 5 folds to 5 folds drawn ten times the difference that is just
    significant shrinks by 44 %, though nobody new was examined; then there is little left to gain.

    Parameters
    ----------
    differences : array-like of shape (n_folds,) or (n_folds, n_seeds)
        Score of one model minus score of the other, fold by fold, over all repeats. Seeds are
        averaged inside each fold first: they are no independent samples of patients.
    test_to_train : float or array-like of shape (n_folds,)
        Test patients divided by training patients; over folds of unequal size the mean is used.
    df : {"folds", "effective"}, default="folds"
        Degrees of freedom: k - 1; or ``k_eff - 1`` with ``k_eff = k / (1 + (k - 1) * rho)``, the
        number of independent folds that carry as much information as k folds whose scores have
        the correlation ``rho = n_test / (n_test + n_train)``. The latter is far more cautious: five
        folds leave 1.8 degrees of freedom, not 4.
    confidence : float, default=0.95

    Returns
    -------
    TestResult
        Where no two folds differ, p is 1 if all differences are zero and 0 if they are not. NaN
        throughout if a difference is NaN or there are fewer than two folds.

    Raises
    ------
    ValueError
        If `differences` has more than two dimensions, `test_to_train` is not positive, or `df` is
        unknown.

    References
    ----------
    Nadeau and Bengio 2003, Inference for the generalization error, Machine Learning 52:239-281;
    Bouckaert and Frank 2004, PAKDD, for repeated cross-validation.

    Examples
    --------
    >>> result = corrected_resampled_ttest([0.03, 0.01, 0.02, 0.04, 0.00], 1 / 4)
    >>> round(result.statistic, 4), round(result.p_value, 4)
    (1.8856, 0.1324)
    """
    differences = np.asarray(differences, dtype=float)
    if differences.ndim not in (1, 2):
        raise ValueError(
            f"differences must be (n_folds,) or (n_folds, n_seeds), got shape {differences.shape}"
        )
    if differences.ndim == 2:
        differences = differences.mean(axis=1)
    if df not in ("folds", "effective"):
        raise ValueError(f'df must be "folds" or "effective", got {df!r}')
    ratio = float(np.mean(test_to_train))
    if not ratio > 0:
        raise ValueError(f"test_to_train must be positive, got {test_to_train!r}")
    k = differences.size
    if k < 2 or np.isnan(differences).any():
        return TestResult(*[np.nan] * 6)
    degrees = k - 1.0
    if df == "effective":
        degrees = k / (1 + (k - 1) * ratio / (1 + ratio)) - 1
    error = np.sqrt((1 / k + ratio) * differences.var(ddof=1))
    return _t_test(differences, error, degrees, confidence)


def paired_patient_ttest(differences, *, confidence=0.95):
    """Paired t-test over patients: does one model err less than the other on the same patients?

    For errors of a regression, or whether the class was right. The patients are the sample, so that
    repeats of the folds make no further evidence: they only average out how the folds fell. Like
    DeLong's test of two AUCs it takes the fitted models as given, and allows for the patients who
    were tested but not for those who might have been trained on.

    Parameters
    ----------
    differences : array-like of shape (n_patients,)
        Error (or success) with one model less that with the other, averaged over the repeats first,
        one value per patient.
    confidence : float, default=0.95

    Returns
    -------
    TestResult
        Where no two patients differ, p is 1 if all differences are zero and 0 if they are not. NaN
        throughout if a difference is NaN or there are fewer than two patients.

    References
    ----------
    Student 1908, Biometrika 6:1-25; Dietterich 1998, Neural Computation 10:1895-1923, on tests that
    take fitted models as given.

    Examples
    --------
    >>> result = paired_patient_ttest([0.5, -0.2, 0.9, 0.4, 0.1, 0.7])
    >>> round(result.difference, 2), round(result.p_value, 3), round(result.smallest, 2)
    (0.4, 0.058, 0.42)
    """
    differences = np.asarray(differences, dtype=float)
    if differences.ndim != 1:
        raise ValueError(f"differences must be (n_patients,), got shape {differences.shape}")
    n = differences.size
    if n < 2 or np.isnan(differences).any():
        return TestResult(*[np.nan] * 6)
    return _t_test(differences, differences.std(ddof=1) / np.sqrt(n), n - 1.0, confidence)


def _t_test(differences, error, degrees, confidence):
    """Of their mean, whose standard error is known."""
    mean = differences.mean()
    if np.ptp(differences) <= 1e-12 * max(1.0, np.abs(differences).max()):
        return without_variance(mean, degrees)
    reach = stats.t.ppf((1 + confidence) / 2, degrees) * error
    t = mean / error
    p = 2 * stats.t.sf(abs(t), degrees)
    return TestResult(*map(float, (mean, mean - reach, mean + reach, t, degrees, p)))


def adjust_p_values(p_values):
    """Benjamini-Hochberg adjustment; NaN (no test) stays NaN and does not count as a comparison.

    Parameters
    ----------
    p_values : array-like of shape (n_comparisons,)

    Returns
    -------
    ndarray of shape (n_comparisons,)

    References
    ----------
    Benjamini and Hochberg 1995, Journal of the Royal Statistical Society B 57:289-300.

    Examples
    --------
    >>> adjust_p_values([0.01, 0.04, 0.03, float("nan")]).round(3).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(p_values.shape, np.nan)
    known = ~np.isnan(p_values)
    if known.any():
        adjusted[known] = stats.false_discovery_control(p_values[known], method="bh")
    return adjusted


def without_variance(difference, df):
    """The limit of a test as the variance goes to zero."""
    difference = float(difference)
    if abs(difference) <= 1e-12:
        return TestResult(0.0, 0.0, 0.0, 0.0, float(df), 1.0)
    return TestResult(
        difference, difference, difference, float(np.copysign(np.inf, difference)), float(df), 0.0
    )
