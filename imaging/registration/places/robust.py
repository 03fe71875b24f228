"""The affine that most of a head agrees upon."""

import numpy as np

__all__ = ["biweight", "fit_affine"]

_ROUNDS = 12
_TUKEY = 4.685  # times the spread: 95 % as efficient as least squares where errors are normal


def biweight(away, median):
    """Tukey's weights of distances whose median is known: 1 where there is none, 0 far off."""
    spread = max(1.4826 * median, 1e-6)
    return np.clip(1 - (away / (_TUKEY * spread)) ** 2, 0, 1) ** 2


def fit_affine(points, targets, weights=None):
    """The affine from points to targets, by robust least squares.

    Least squares are repeated with smaller weights for what lies far off (Tukey's biweight, whose
    width follows the median distance), so that a fifth of wrong pairs does no harm.

    Parameters
    ----------
    points, targets : ndarray of shape (n, 3)
        Four pairs or more.
    weights : ndarray of shape (n,), or None

    Returns
    -------
    affine : ndarray of shape (4, 4)
    residual : float
        Median distance between what the affine gives and the targets.

    Raises
    ------
    ValueError
        If the points lie in one plane, or are too few.

    References
    ----------
    Beaton and Tukey, Technometrics 16:147 (1974).

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(50, 3))
    >>> targets = 2 * points + 3
    >>> targets[:8] += 40  # wrong pairs
    >>> affine, residual = fit_affine(points, targets)
    >>> bool(np.allclose(affine[0], [2, 0, 0, 3], atol=1e-3)), round(residual, 3)
    (True, 0.0)
    """
    points, targets = np.asarray(points, float), np.asarray(targets, float)
    weights = np.ones(len(points)) if weights is None else np.asarray(weights, float)
    middle = np.average(points, axis=0, weights=weights) if weights.sum() > 0 else 0.0
    known = np.concatenate([points - middle, np.ones((len(points), 1))], 1)
    trust = np.ones(len(points))
    for _ in range(_ROUNDS):
        weighed = known * (weights * trust)[:, None]
        square = weighed.T @ known
        if len(points) < 4 or np.linalg.cond(square) > 1e12:
            raise ValueError(
                f"{len(points)} points do not fix an affine; give four or more that do not lie in "
                "one plane"
            )
        found = np.linalg.solve(square, weighed.T @ targets)
        away = np.linalg.norm(known @ found - targets, axis=1)
        trust = np.maximum(biweight(away, _median(away, weights)), 1e-6)
    affine = np.eye(4)
    affine[:3, :3] = found[:3].T
    affine[:3, 3] = found[3] - affine[:3, :3] @ np.broadcast_to(middle, 3)
    return affine, float(_median(away, weights))


def _median(values, weights):
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return values[order[np.searchsorted(total, total[-1] / 2)]]
