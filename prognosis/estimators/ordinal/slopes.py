"""Proportional odds let go a little: every step of the scale with a slope of its own.

Proportional odds spreads one line over all steps. Where the table tells death from disability less
well than it tells disability from independence, probabilities at the one cut are too timid and at
the other too bold, although patients are in the right order. Slopes mend that and keep the order.
"""

import numpy as np
from scipy.special import expit, log_expit

__all__ = ["exceedances", "left_out_scores", "step_slopes"]

PENALTY = 4.0  # ridge penalty of a slope's distance from 1


def left_out_scores(X, codes, weights, b, thresholds, penalties):
    """Score of every training patient by the model without this patient, to first order.

    Scores of the patients that a model was fitted to spread too much, and slopes learnt from them
    would be too steep. One Newton step away from each patient costs a single matrix.

    Parameters
    ----------
    X : ndarray of shape (n_patients, n_features)
    codes : ndarray of int of shape (n_patients,)
        Place of the class, from 0.
    weights : ndarray of shape (n_patients,)
    b : ndarray of shape (n_features,)
    thresholds : ndarray of shape (n_classes - 1,)
    penalties : ndarray of shape (n_features,)

    Returns
    -------
    ndarray of shape (n_patients,)

    References
    ----------
    Rad and Maleki 2020, A scalable estimate of the out-of-sample prediction error via approximate
    leave-one-out cross-validation, Journal of the Royal Statistical Society B 82:965-996.
    """
    scores = X @ b
    ends = np.r_[-np.inf, thresholds, np.inf]
    above, below = ends[codes + 1] - scores, ends[codes] - scores
    slope = weights * (expit(-above) - expit(below))
    curvature = weights * (expit(above) * expit(-above) + expit(below) * expit(-below))
    matrix = (X * curvature[:, None]).T @ X + np.diag(penalties)
    # Columns without a penalty that are constant or doubled leave it singular.
    leverage = np.einsum("ij,ij->i", X, (np.linalg.pinv(matrix, hermitian=True) @ X.T).T)
    return scores + leverage * slope / np.maximum(1 - leverage * curvature, 1e-3)


def step_slopes(scores, codes, weights, thresholds):
    """Logistic regression of every step on the score, its slope drawn to 1.

    Parameters
    ----------
    scores : ndarray of shape (n_patients,)
    codes : ndarray of int of shape (n_patients,)
    weights : ndarray of shape (n_patients,)
    thresholds : ndarray of shape (n_classes - 1,)
        Where to start.

    Returns
    -------
    slopes, thresholds : ndarray of shape (n_classes - 1,)
        P(y > k) = sigmoid(slopes[k] * score - thresholds[k]); slopes are above 0.
    """
    from scipy.optimize import minimize

    found = []
    for k, start in enumerate(thresholds):
        sign = np.where(codes > k, 1.0, -1.0)

        def loss(line, sign=sign):
            margin = sign * (line[0] * scores - line[1])
            pull = -weights * sign * expit(-margin)
            value = -weights @ log_expit(margin) + PENALTY / 2 * (line[0] - 1) ** 2
            return value, np.array([pull @ scores + PENALTY * (line[0] - 1), -pull.sum()])

        limits = [(0.05, None), (None, None)]
        found.append(minimize(loss, [1.0, start], jac=True, method="L-BFGS-B", bounds=limits).x)
    return np.array(found).T


def exceedances(scores, slopes, thresholds):
    """P(y > k), never rising with k: where two lines cross, the higher step takes the lower one's.

    Examples
    --------
    >>> at = np.array([0.0, 9.0])
    >>> exceedances(at, np.array([1.0, 2.0]), np.array([0.0, 1.0])).round(3).tolist()
    [[0.5, 0.269], [1.0, 1.0]]
    """
    lines = np.outer(scores, slopes) - thresholds
    return expit(np.minimum.accumulate(lines, axis=1))
