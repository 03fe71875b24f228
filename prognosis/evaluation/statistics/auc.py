"""The area under the ROC curve: its interval, and the test of two models on the same patients.

Both follow DeLong: each patient's rank among those of the other class says how the area varies.
"""

import numpy as np
from scipy import optimize, stats

from .intervals import Interval, logit_interval
from .significance import TestResult, without_variance

__all__ = ["auc", "auc_interval", "auc_variance", "delong_test"]


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
    area, variance = auc_variance(y, scores)
    if area in (0.0, 1.0):
        z = stats.norm.ppf((1 + confidence) / 2)
        far = _newcombe_limit(z, int(y.sum()), int((~y).sum()))
        low, high = (far, 1.0) if area == 1 else (0.0, 1 - far)
        return Interval(area, low, high)
    return logit_interval(area, np.sqrt(variance), confidence=confidence)


def auc_variance(y, scores):
    """AUC and DeLong's variance of it; parameters and errors as `auc_interval`."""
    y = _binary(y)
    areas, covariance = _delong(y, _rows(scores, y))
    return float(areas[0]), float(covariance[0, 0])


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
        return without_variance(difference, np.inf)
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
