"""Confidence intervals for the figures of one model, with the patient as the unit.

Closed forms where they are standard (Wilson, Fisher's z), a seeded bootstrap elsewhere.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

__all__ = [
    "Interval",
    "balanced_accuracy_interval",
    "bootstrap_interval",
    "correlation_interval",
    "logit_interval",
    "wilson_interval",
]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence limits."""

    estimate: float
    low: float
    high: float


def logit_interval(share, error, *, confidence=0.95):
    """Interval of a share or an area, symmetric on the scale of log odds.

    Parameters
    ----------
    share : float
        In (0, 1).
    error : float
        Its standard error.
    confidence : float, default=0.95

    Returns
    -------
    Interval

    Examples
    --------
    >>> interval = logit_interval(0.8, 0.05)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.684, 0.881)
    """
    reach = stats.norm.ppf((1 + confidence) / 2) * error / (share * (1 - share))
    low, high = special.expit(special.logit(share) + np.array([-reach, reach]))
    return Interval(share, float(low), float(high))


def wilson_interval(successes, n, *, confidence=0.95):
    """Wilson's score interval of a proportion.

    Parameters
    ----------
    successes : float
        May be fractional: with repeated cross-validation a patient who is classified correctly in
        one repeat of two counts one half. The interval is then slightly too wide, never too narrow.
    n : int
        Patients, not predictions.
    confidence : float, default=0.95

    Returns
    -------
    Interval

    References
    ----------
    Wilson 1927, Journal of the American Statistical Association 22:209-212.

    Examples
    --------
    >>> interval = wilson_interval(8, 10)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.49, 0.943)
    """
    if n == 0:
        return Interval(np.nan, np.nan, np.nan)
    p = successes / n
    z = stats.norm.ppf((1 + confidence) / 2)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return Interval(float(p), float(max(centre - reach, 0.0)), float(min(centre + reach, 1.0)))


def balanced_accuracy_interval(y, correct, *, confidence=0.95):
    """Mean recall over the classes, with limits recovered from the Wilson interval of each recall.

    Parameters
    ----------
    y : array-like of shape (n_patients,)
        Classes.
    correct : array-like of shape (n_patients,)
        1 where the patient was classified correctly, or the fraction of repeats in which.
    confidence : float, default=0.95

    Returns
    -------
    Interval

    References
    ----------
    Zou and Donner 2008, Statistics in Medicine 27:1693-1702 (method of variance estimates
    recovery).

    Examples
    --------
    >>> balanced_accuracy_interval(["a", "a", "b", "b"], [1, 1, 1, 0]).estimate
    0.75
    """
    y, correct = np.asarray(y), np.asarray(correct, dtype=float)
    recalls = [
        wilson_interval(correct[y == label].sum(), int((y == label).sum()), confidence=confidence)
        for label in np.unique(y)
    ]
    k = len(recalls)
    mean = sum(r.estimate for r in recalls) / k
    below = np.sqrt(sum((r.estimate - r.low) ** 2 for r in recalls)) / k
    above = np.sqrt(sum((r.high - r.estimate) ** 2 for r in recalls)) / k
    return Interval(float(mean), float(mean - below), float(mean + above))


def correlation_interval(y, predicted, *, confidence=0.95):
    """Pearson's r with Fisher's z interval.

    Returns
    -------
    Interval
        NaN throughout where `predicted` or `y` is constant; no limits below four patients.

    References
    ----------
    Fisher 1921, Metron 1:3-32.

    Examples
    --------
    >>> interval = correlation_interval([1, 2, 3, 4, 5, 6], [1, 3, 2, 5, 4, 6])
    >>> round(interval.estimate, 3), round(interval.low, 3), round(interval.high, 3)
    (0.886, 0.264, 0.987)
    """
    y, predicted = np.asarray(y, dtype=float), np.asarray(predicted, dtype=float)
    if y.size < 2 or np.ptp(y) == 0 or np.ptp(predicted) <= 1e-12 * np.abs(predicted).max():
        return Interval(np.nan, np.nan, np.nan)
    r = float(np.clip(np.corrcoef(y, predicted)[0, 1], -1, 1))
    if y.size < 4:
        return Interval(r, np.nan, np.nan)
    if abs(r) == 1:
        return Interval(r, r, r)
    reach = stats.norm.ppf((1 + confidence) / 2) / np.sqrt(y.size - 3)
    low, high = np.tanh(np.arctanh(r) + np.array([-reach, reach]))
    return Interval(r, float(low), float(high))


def bootstrap_interval(
    statistic, *arrays, strata=None, n_resamples=2000, confidence=0.95, random_state=0
):
    """Percentile bootstrap over patients.

    Parameters
    ----------
    statistic : callable
        Takes the resampled arrays, shape (n_resamples, n_patients) each, and reduces the last
        axis; must also take the arrays themselves.
    *arrays : array-like of shape (n_patients,)
        One value per patient: average repeats before.
    strata : array-like of shape (n_patients,), default=None
        Patients are drawn within strata, so that no class can vanish from a resample.
    n_resamples : int, default=2000
    confidence : float, default=0.95
    random_state : int, default=0
        The same seed gives the same limits.

    Returns
    -------
    Interval
        Resamples in which the statistic is undefined (NaN) are left out of the limits.

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.

    Examples
    --------
    >>> import numpy as np
    >>> interval = bootstrap_interval(lambda e: e.mean(axis=-1), np.arange(100.0))
    >>> interval.estimate, round(interval.low), round(interval.high)
    (49.5, 44, 55)
    """
    arrays = [np.asarray(values) for values in arrays]
    n = arrays[0].shape[0]
    rng = np.random.default_rng(random_state)
    strata = np.zeros(n) if strata is None else np.asarray(strata)
    groups = [np.flatnonzero(strata == label) for label in np.unique(strata)]
    drawn = np.concatenate(
        [group[rng.integers(group.size, size=(n_resamples, group.size))] for group in groups],
        axis=1,
    )
    values = np.asarray(statistic(*[array[drawn] for array in arrays]), dtype=float)
    estimate = float(statistic(*arrays))
    values = values[~np.isnan(values)]
    if values.size == 0:
        return Interval(estimate, np.nan, np.nan)
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high))
