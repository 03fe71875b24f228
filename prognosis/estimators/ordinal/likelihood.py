"""Proportional odds: the likelihood of an ordinal outcome and its gradient.

P(y > k) = sigmoid(s - t_k) for a score s per patient and increasing thresholds t. The thresholds
are kept in order by how they are written: the first one, then the logarithms of the steps.
"""

import numpy as np
from scipy.special import expit, log_expit, logit

__all__ = ["class_probabilities", "fit_proportional_odds", "from_thresholds", "to_thresholds"]

# Logarithms of steps beyond these change no probability in double precision.
LIMITS = (-700.0, 6.0)


def to_thresholds(free):
    """Thresholds from the first one and the logarithms of the steps.

    Examples
    --------
    >>> to_thresholds(np.array([-1.0, 0.0, np.log(2)])).tolist()
    [-1.0, 0.0, 2.0]
    """
    return np.cumsum(np.r_[free[:1], np.exp(np.clip(free[1:], *LIMITS))])


def from_thresholds(thresholds):
    """The inverse of `to_thresholds`."""
    return np.r_[thresholds[:1], np.log(np.diff(thresholds))]


def class_probabilities(scores, thresholds):
    """Probability of every class.

    Parameters
    ----------
    scores : ndarray of shape (n_patients,)
    thresholds : ndarray of shape (n_classes - 1,)

    Returns
    -------
    ndarray of shape (n_patients, n_classes)

    Examples
    --------
    >>> class_probabilities(np.array([0.0]), np.array([-1.0, 1.0])).round(3).tolist()
    [[0.269, 0.462, 0.269]]
    """
    distance = thresholds[None] - scores[:, None]
    ones = np.ones((len(scores), 1))
    up_to, beyond = np.hstack([expit(distance), ones]), np.hstack([ones, expit(-distance)])
    # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)), without cancellation
    inner = np.r_[1.0, -np.expm1(-np.diff(thresholds)), 1.0]
    return up_to * beyond * inner if len(thresholds) > 1 else up_to * beyond


def objective(parameters, X, codes, weights, penalties):
    """Penalised negative log likelihood, a sum over patients, and its gradient.

    Parameters
    ----------
    parameters : ndarray of shape (n_features + n_classes - 1,)
        Coefficients b, then the thresholds as `from_thresholds` writes them.
    X : ndarray of shape (n_patients, n_features)
    codes : ndarray of int of shape (n_patients,)
        Place of the class, from 0.
    weights : ndarray of shape (n_patients,)
    penalties : ndarray of shape (n_features,)
        Half of these times the squared coefficients is added.

    Returns
    -------
    value : float
    gradient : ndarray, as `parameters`
    """
    n_features = X.shape[1]
    b, free = parameters[:n_features], parameters[n_features:]
    thresholds = to_thresholds(free)
    scores, top = X @ b, len(thresholds)
    bounded_above, bounded_below = codes < top, codes > 0
    upper = thresholds[codes[bounded_above]] - scores[bounded_above]
    lower = thresholds[codes[bounded_below] - 1] - scores[bounded_below]
    w_above, w_below = weights[bounded_above], weights[bounded_below]
    value = -(w_above @ log_expit(upper) + w_below @ log_expit(-lower))
    value += 0.5 * penalties @ b**2
    # derivatives by the upper and the lower threshold of each patient
    by_upper, by_lower = -w_above * expit(-upper), w_below * expit(lower)
    by_score = np.zeros(len(scores))
    by_score[bounded_above] -= by_upper
    by_score[bounded_below] -= by_lower
    by_threshold = np.bincount(codes[bounded_above], by_upper, minlength=top)
    by_threshold += np.bincount(codes[bounded_below] - 1, by_lower, minlength=top)
    gradient = np.r_[X.T @ by_score + penalties * b, np.cumsum(by_threshold[::-1])[::-1]]
    if top > 1:
        steps = np.exp(np.clip(free[1:], *LIMITS))
        within = np.bincount(codes, weights, minlength=top + 1)[1:-1]
        value -= within @ np.log(-np.expm1(-steps))
        gradient[n_features + 1 :] *= steps
        gradient[n_features + 1 :] -= within * steps / np.expm1(steps)
    return value, gradient


def fit_proportional_odds(X, codes, weights, penalties, *, max_iter=1000, tol=1e-8, rising=False):
    """Minimise `objective` by L-BFGS, from b = 0 and the thresholds of the class shares.

    Parameters
    ----------
    X, codes, weights, penalties
        As `objective`; every class has patients.
    max_iter : int, default=1000
    tol : float, default=1e-8
        Largest derivative at the end, per unit of weight.
    rising : bool, default=False
        Keep the coefficients from falling below zero.

    Returns
    -------
    b : ndarray of shape (n_features,)
    thresholds : ndarray of shape (n_classes - 1,)
    n_iter : int
    converged : bool
    """
    from scipy.optimize import minimize

    n_features, total = X.shape[1], weights.sum()
    shares = np.bincount(codes, weights) / total
    start = np.r_[np.zeros(n_features), from_thresholds(logit(np.cumsum(shares)[:-1]))]
    lowest = np.full(len(start), -np.inf)
    lowest[:n_features] = 0.0 if rising else -np.inf
    # Coefficients are searched in steps in which all are about equally curved.
    units = np.ones(len(start))
    curvature = (weights @ X**2 / 4 + penalties) / total
    units[:n_features] = 1 / np.sqrt(np.where(curvature > 0, curvature, 1.0))

    def mean(scaled):
        value, gradient = objective(scaled * units, X, codes, weights, penalties)
        return value / total, gradient * units / total

    found = minimize(
        mean,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=np.c_[lowest, np.full(len(start), np.inf)],
        options={"maxiter": max_iter, "maxfun": 10 * max_iter, "gtol": tol, "ftol": 0.0},
    )
    b, free = np.split(found.x * units, [n_features])
    # Where the last digit of the sum is reached first, the line search ends without success.
    slack = np.where((found.x <= lowest) & (found.jac > 0), 0.0, found.jac)
    converged = found.success or np.abs(slack).max() < 1e-5
    return b, to_thresholds(free), max(int(found.nit), 1), bool(converged)
