"""Whether predicted probabilities can be taken at their word.

A model that says 30 % should be right about 30 patients in 100: binned curves, the expected
calibration error, and the slope and intercept of logistic recalibration.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from .intervals import Interval, wilson_interval

__all__ = [
    "CalibrationLine",
    "calibration_bins",
    "calibration_line",
    "expected_calibration_error",
]


@dataclass(frozen=True)
class CalibrationLine:
    """Slope and intercept of logistic recalibration, each with its confidence limits.

    Attributes
    ----------
    slope : Interval
        1 is right; below 1 the probabilities are too extreme, above 1 too timid.
    intercept : Interval
        0 is right; below 0 the probabilities are too high on the whole, above 0 too low.
    """

    slope: Interval
    intercept: Interval


def calibration_bins(y, probability, *, n_bins=10, confidence=0.95):
    """Predicted and observed frequency in bins of equally many patients.

    Parameters
    ----------
    y : array-like of shape (n_patients,)
        True (or 1) for patients with the outcome.
    probability : array-like of shape (n_patients,)
        Predicted probability of the outcome, one per patient.
    n_bins : int, default=10
        Fewer where patients share a prediction: equal predictions are never torn apart.
    confidence : float, default=0.95

    Returns
    -------
    DataFrame
        One row per bin: ``n``, ``predicted`` (mean probability), ``observed`` (frequency), ``low``
        and ``high`` (Wilson limits of the frequency).

    Raises
    ------
    ValueError
        If lengths differ, a probability is NaN or outside 0 to 1, or there is no patient.

    Examples
    --------
    >>> bins = calibration_bins([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9], n_bins=2)
    >>> bins[["n", "predicted", "observed"]].round(2).values.tolist()
    [[3.0, 0.2, 0.33], [3.0, 0.8, 0.67]]
    """
    y, probability = _check(y, probability)
    # a bin ends only where the prediction changes
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, n_bins + 1)[1:-1]))
    numbers = np.searchsorted(edges, probability, side="right")
    rows = []
    for number in np.unique(numbers):
        inside = numbers == number
        n = int(inside.sum())
        observed = wilson_interval(y[inside].sum(), n, confidence=confidence)
        rows.append(
            {
                "n": n,
                "predicted": probability[inside].mean(),
                "observed": observed.estimate,
                "low": observed.low,
                "high": observed.high,
            }
        )
    return pd.DataFrame(rows)


def expected_calibration_error(y, probability, *, n_bins=10):
    """Mean distance between predicted and observed frequency over the bins, by their patients.

    It is above 0 by chance even for perfect probabilities, and the more so the fewer patients a bin
    holds: compare models on the same patients only.

    Parameters
    ----------
    y, probability, n_bins
        As `calibration_bins`.

    Returns
    -------
    float

    References
    ----------
    Naeini et al. 2015, AAAI; bins of equal counts as in Nixon et al. 2019, CVPR workshops.

    Examples
    --------
    >>> y, probability = [0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9]
    >>> round(expected_calibration_error(y, probability, n_bins=2), 3)
    0.133
    """
    bins = calibration_bins(y, probability, n_bins=n_bins)
    gaps = (bins["predicted"] - bins["observed"]).abs()
    return float(np.average(gaps, weights=bins["n"]))


def calibration_line(y, probability, *, confidence=0.95):
    """Slope and intercept of calibration.

    The slope comes from a logistic regression of the outcome on the logit of the probability, the
    intercept from one in which the slope is held at 1 (calibration in the large). Probabilities
    are clipped to 1e-6 from 0 and 1. Limits are Wald's.

    Parameters
    ----------
    y, probability
        As `calibration_bins`.
    confidence : float, default=0.95

    Returns
    -------
    CalibrationLine
        The slope is NaN where it does not exist: every prediction the same, one class only, or
        classes perfectly separated; the intercept is NaN with one class only.

    References
    ----------
    Cox 1958, Biometrika 45:562-565; Van Calster et al. 2019, BMC Medicine 17:230.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> logit = rng.normal(size=5000)
    >>> y = rng.random(5000) < 1 / (1 + np.exp(-logit))
    >>> line = calibration_line(y, 1 / (1 + np.exp(-2 * logit)))  # twice too sure
    >>> round(line.slope.estimate, 1), abs(round(line.intercept.estimate, 1))
    (0.5, 0.0)
    """
    y, probability = _check(y, probability)
    logit = special.logit(np.clip(probability, 1e-6, 1 - 1e-6))
    nothing = Interval(np.nan, np.nan, np.nan)
    if y.all() or not y.any():
        return CalibrationLine(nothing, nothing)
    z = stats.norm.ppf((1 + confidence) / 2)
    ones = np.ones((y.size, 1))
    intercept = _newton(ones, y, offset=logit)
    slope = None
    overlap = logit[y].min() < logit[~y].max() and logit[y].max() > logit[~y].min()
    if np.ptp(logit) > 1e-9 and overlap:
        slope = _newton(np.c_[ones, logit], y, offset=np.zeros(y.size))
    return CalibrationLine(nothing if slope is None else _wald(*slope, z), _wald(*intercept, z))


def _wald(coefficients, covariance, z):
    estimate, error = float(coefficients[-1]), float(np.sqrt(covariance[-1, -1]))
    return Interval(estimate, estimate - z * error, estimate + z * error)


def _newton(design, y, offset, steps=100):
    """Logistic regression without penalty: coefficients and their covariance."""
    beta = np.zeros(design.shape[1])
    for _ in range(steps):
        p = special.expit(design @ beta + offset)
        information = design.T @ (design * np.maximum(p * (1 - p), 1e-12)[:, None])
        step = np.linalg.solve(information, design.T @ (y - p))
        # a long step can overshoot where the curve is flat
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    return beta, np.linalg.inv(information)


def _check(y, probability):
    y, probability = np.asarray(y).astype(bool), np.asarray(probability, dtype=float)
    if y.ndim != 1 or y.shape != probability.shape or not y.size:
        raise ValueError(f"y has shape {y.shape} and probability {probability.shape}")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities must lie between 0 and 1; decision values are none")
    return y, probability
