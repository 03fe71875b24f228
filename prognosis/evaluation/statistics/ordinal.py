"""How well predictions order patients along an ordinal outcome: concordance and rank correlation.

Neither needs predictions on the scale of the outcome, so that a model of one cut of the scale can
be judged beside a model of all of it.
"""

import numpy as np
from scipy import special, stats

from .intervals import Interval

__all__ = ["c_index", "c_index_interval", "spearman_interval"]


def c_index(y, scores):
    """Ordinal c-index: of two patients with different outcomes, how often the worse ranks higher.

    Ties of the scores count one half; 0.5 is chance. With two classes it is the AUC.

    Parameters
    ----------
    y : array-like of shape (n_patients,)
        Outcome, numbers.
    scores : array-like of shape (n_patients,)
        Higher means a higher outcome is expected.

    Returns
    -------
    float
        NaN where all outcomes are the same.

    Raises
    ------
    ValueError
        If lengths differ or a score is NaN.

    References
    ----------
    Harrell et al. 1996, Statistics in Medicine 15:361-387; it is (Somers' D + 1) / 2.

    Examples
    --------
    >>> c_index([0, 1, 2, 2], [0.1, 0.4, 0.3, 0.9])
    0.8
    """
    won, pairs = _pairs(y, scores)
    return float(won.sum() / pairs.sum()) if pairs.any() else np.nan


def c_index_interval(y, scores, *, confidence=0.95):
    """Ordinal c-index with a confidence interval on the logit scale.

    The variance comes from how each patient's share of pairs won differs from the c-index
    (the leading term for a U-statistic; with two classes DeLong's, but for n in place of n - 1).
    Where every pair is ranked alike, the limits are Wilson's for as many patients.

    Parameters
    ----------
    y, scores
        As `c_index`.
    confidence : float, default=0.95

    Returns
    -------
    Interval
        NaN throughout where all outcomes are the same.

    Raises
    ------
    ValueError
        As `c_index`.

    References
    ----------
    Pencina and D'Agostino 2004, Statistics in Medicine 23:2109-2123.

    Examples
    --------
    >>> interval = c_index_interval([0, 0, 1, 1, 2, 2], [1, 2, 1.5, 4, 3, 5])
    >>> round(interval.estimate, 3), round(interval.low, 3), round(interval.high, 3)
    (0.833, 0.563, 0.951)
    """
    won, pairs = _pairs(y, scores)
    if not pairs.any():
        return Interval(np.nan, np.nan, np.nan)
    total = pairs.sum()
    c = won.sum() / total
    z = stats.norm.ppf((1 + confidence) / 2)
    if c in (0.0, 1.0):
        # Wilson's limit
        far = float(1 / (1 + z**2 / len(won)))
        return Interval(float(c), *((far, 1.0) if c == 1 else (0.0, 1 - far)))
    error = 2 * np.sqrt(((won - c * pairs) ** 2).sum()) / total
    reach = z * error / (c * (1 - c))
    low, high = special.expit(special.logit(c) + np.array([-reach, reach]))
    return Interval(float(c), float(low), float(high))


def spearman_interval(y, scores, *, confidence=0.95):
    """Spearman's rank correlation with Bonett and Wright's interval, on Fisher's z scale.

    Parameters
    ----------
    y, scores : array-like of shape (n_patients,)
    confidence : float, default=0.95

    Returns
    -------
    Interval
        NaN throughout where one of both is constant; no limits below four patients.

    References
    ----------
    Bonett and Wright 2000, Psychometrika 65:23-28.

    Examples
    --------
    >>> interval = spearman_interval([1, 2, 3, 4, 5, 6], [1, 3, 2, 5, 4, 6])
    >>> round(interval.estimate, 3), round(interval.low, 3), round(interval.high, 3)
    (0.886, 0.066, 0.992)
    """
    y, scores = _arrays(y, scores)
    if y.size < 2 or np.ptp(y) == 0 or np.ptp(scores) <= 1e-12 * np.abs(scores).max():
        return Interval(np.nan, np.nan, np.nan)
    ranks = stats.rankdata(y), stats.rankdata(scores)
    r = float(np.clip(np.corrcoef(*ranks)[0, 1], -1, 1))
    if y.size < 4:
        return Interval(r, np.nan, np.nan)
    if abs(r) > 1 - 1e-12:
        return Interval(r, r, r)
    reach = stats.norm.ppf((1 + confidence) / 2) * np.sqrt((1 + r**2 / 2) / (y.size - 3))
    low, high = np.tanh(np.arctanh(r) + np.array([-reach, reach]))
    return Interval(r, float(low), float(high))


def _arrays(y, scores):
    y, scores = np.asarray(y, dtype=float), np.asarray(scores, dtype=float)
    if y.ndim != 1 or y.shape != scores.shape:
        raise ValueError(f"scores have shape {scores.shape} and y has {y.shape}")
    if np.isnan(scores).any() or np.isnan(y).any():
        raise ValueError("y or scores hold NaN; a patient without a prediction cannot be ranked")
    return y, scores


def _pairs(y, scores):
    """Per patient, pairs with another outcome that are ranked rightly, and how many there are."""
    y, scores = _arrays(y, scores)
    won, pairs = np.zeros(y.size), np.zeros(y.size)
    for level in np.unique(y):
        others = np.sort(scores[y == level])
        sides = [np.searchsorted(others, scores, side) for side in ("left", "right")]
        below = sum(sides) / 2  # ties one half
        won += np.where(y > level, below, 0.0) + np.where(y < level, others.size - below, 0.0)
        pairs += np.where(y != level, others.size, 0)
    return won, pairs
