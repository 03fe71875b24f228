"""Tests of the difference between two models, from cross-validated scores and predictions.

Per-fold scores share training patients and per-patient predictions do not, so each has its own
test here; none needs anything but the numbers.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from .intervals import Interval

__all__ = [
    "TestResult",
    "adjust_p_values",
    "auc",
    "auc_interval",
    "corrected_resampled_ttest",
    "delong_test",
]


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


def corrected_resampled_ttest(differences, test_to_train, *, df="folds", confidence=0.95):
    """Corrected resampled t-test on per-fold differences of a score.

    The folds of (repeated) cross-validation share training patients, so their differences are
    correlated and the plain paired t-test finds effects that are not there. The variance of the
    mean is therefore taken as ``(1 / k + n_test / n_train) * variance`` over the k folds, with
    k - 1 degrees of freedom.

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
    mean = differences.mean()
    degrees = k - 1.0
    if df == "effective":
        degrees = k / (1 + (k - 1) * ratio / (1 + ratio)) - 1
    if np.ptp(differences) <= 1e-12 * max(1.0, np.abs(differences).max()):
        return _without_variance(mean, degrees)
    error = np.sqrt((1 / k + ratio) * differences.var(ddof=1))
    reach = stats.t.ppf((1 + confidence) / 2, degrees) * error
    t = mean / error
    p = 2 * stats.t.sf(abs(t), degrees)
    return TestResult(
        float(mean), float(mean - reach), float(mean + reach), float(t), float(degrees), float(p)
    )


def auc(y, scores):
    """Area under the ROC curve: how often a positive patient outranks a negative one.

    Parameters
    ----------
    y : array-like of shape (n_patients,)
        True (or 1) for patients with the outcome.
    scores : array-like of shape (..., n_patients)
        Higher means more likely positive; ties count one half.

    Returns
    -------
    float, or ndarray of shape (...)

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    y, scores = _binary(y), np.asarray(scores, dtype=float)
    positives = int(y.sum())
    ranks = stats.rankdata(scores, axis=-1)[..., y].sum(axis=-1)
    area = (ranks - positives * (positives + 1) / 2) / (positives * (y.size - positives))
    return float(area) if area.ndim == 0 else area


def auc_interval(y, scores, *, confidence=0.95):
    """AUC with DeLong's confidence interval, on the logit scale so that it stays within 0 and 1.

    Where every pair of patients is ranked alike (AUC 0 or 1) DeLong's variance is zero; the limits
    are then Newcombe's (method 5), which widen as they should in a small sample.

    Parameters
    ----------
    y : array-like of shape (n_patients,)
        True (or 1) for patients with the outcome; both classes must occur.
    scores : array-like of shape (n_patients,)
    confidence : float, default=0.95

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If only one class occurs, lengths differ, or a score is NaN.

    References
    ----------
    DeLong et al. 1988, Biometrics 44:837-845; Pepe 2003, The Statistical Evaluation of Medical
    Tests, section 5.2 (logit scale); Newcombe 2006, Statistics in Medicine 25:559-573.

    Examples
    --------
    >>> interval = auc_interval([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.8, 0.9])
    >>> round(interval.estimate, 3), round(interval.low, 3), round(interval.high, 3)
    (0.889, 0.261, 0.995)
    """
    y = _binary(y)
    areas, covariance = _delong(y, _rows(scores, y))
    area, variance = areas[0], covariance[0, 0]
    z = stats.norm.ppf((1 + confidence) / 2)
    if area in (0.0, 1.0):
        far = _newcombe_limit(z, int(y.sum()), int((~y).sum()))
        low, high = (far, 1.0) if area == 1 else (0.0, 1 - far)
        return Interval(float(area), low, high)
    reach = z * np.sqrt(variance) / (area * (1 - area))
    low, high = special.expit(special.logit(area) + np.array([-reach, reach]))
    return Interval(float(area), float(low), float(high))


def delong_test(y, scores, other, *, confidence=0.95):
    """DeLong's test of the difference between two AUCs on the same patients.

    Computed from midranks, in O(n log n).

    Parameters
    ----------
    y : array-like of shape (n_patients,)
        True (or 1) for patients with the outcome; both classes must occur.
    scores, other : array-like of shape (n_patients,)
        One prediction per patient and model: average repeats before, or patients count twice.
    confidence : float, default=0.95

    Returns
    -------
    TestResult
        Of ``auc(y, scores) - auc(y, other)``. p is 1 for models that rank alike; where the
        variance is zero and the areas differ (perfect against perfectly wrong) p is 0.

    Raises
    ------
    ValueError
        If only one class occurs, lengths differ, or a score is NaN.

    References
    ----------
    DeLong et al. 1988, Biometrics 44:837-845; Sun and Xu 2014, IEEE Signal Processing Letters
    21:1389-1393 (midranks).

    Examples
    --------
    >>> y = [0, 0, 0, 0, 1, 1, 1, 1]
    >>> result = delong_test(y, [1, 2, 3, 5, 4, 6, 7, 8], [2, 1, 7, 5, 3, 4, 8, 6])
    >>> round(result.difference, 4), round(result.p_value, 4)
    (0.25, 0.2207)
    """
    y = _binary(y)
    areas, covariance = _delong(y, np.concatenate([_rows(scores, y), _rows(other, y)]))
    difference = areas[0] - areas[1]
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance <= 1e-14:
        return _without_variance(difference, np.inf)
    error = np.sqrt(variance)
    z = difference / error
    reach = stats.norm.ppf((1 + confidence) / 2) * error
    return TestResult(
        float(difference),
        float(difference - reach),
        float(difference + reach),
        float(z),
        np.inf,
        float(2 * stats.norm.sf(abs(z))),
    )


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


def _without_variance(difference, df):
    """The limit of both tests as the variance goes to zero."""
    difference = float(difference)
    if abs(difference) <= 1e-12:
        return TestResult(0.0, 0.0, 0.0, 0.0, float(df), 1.0)
    return TestResult(
        difference, difference, difference, float(np.copysign(np.inf, difference)), float(df), 0.0
    )


def _binary(y):
    y = np.asarray(y)
    if not np.isin(y, [0, 1]).all():
        raise ValueError("y must hold True and False, or 1 and 0; encode it: y == positive_label")
    y = y.astype(bool)
    if y.all() or not y.any():
        raise ValueError(f"y holds only {bool(y[0])!r}: an AUC needs patients of both classes")
    return y


def _rows(scores, y):
    scores = np.asarray(scores, dtype=float)
    if scores.shape != y.shape:
        raise ValueError(f"scores have shape {scores.shape} and y has {y.shape}")
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN; a patient without a prediction cannot be ranked")
    return scores[None]


def _delong(y, scores):
    """AUCs, shape (n_models,), and their covariance, from midranks (Sun and Xu, algorithm 2)."""
    positive, negative = scores[:, y], scores[:, ~y]
    m, n = positive.shape[1], negative.shape[1]
    overall = stats.rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    # the share of negatives below each positive, and of positives above each negative
    above = (overall[:, :m] - stats.rankdata(positive, axis=1)) / n
    below = 1 - (overall[:, m:] - stats.rankdata(negative, axis=1)) / m
    areas = (overall[:, :m].sum(axis=1) - m * (m + 1) / 2) / (m * n)

    def spread(placements):
        k = placements.shape[1]
        # one patient of a class says nothing of that class's variance
        return np.cov(placements).reshape(len(areas), -1) / k if k > 1 else 0.0

    return areas, np.broadcast_to(spread(above) + spread(below), (len(areas),) * 2)


def _newcombe_limit(z, m, n):
    """Lower limit of an AUC of 1: the area whose own score interval just reaches 1."""
    half = (m + n) / 2 - 1

    def gap(area):
        spread = 1 + half * ((1 - area) / (2 - area) + area / (1 + area))
        return (1 - area) - z * np.sqrt(area * (1 - area) * spread / (m * n))

    return float(optimize.brentq(gap, 0.0, 1 - 1e-9))
