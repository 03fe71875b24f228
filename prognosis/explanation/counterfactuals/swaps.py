"""Swaps of regions between two images: which there are, what they look like, which are minimal.

Also the local regression that says in one number per region what a swap does.
"""

import itertools
from dataclasses import dataclass

import numpy as np

__all__ = ["LocalRegression", "all_swaps", "minimal", "swapped_images"]

RIDGE = 1e-3  # of the weight of the whole sample: keeps regions apart that always change together


def all_swaps(n_regions, max_regions, candidates=None):
    """Every swap of at most `max_regions` regions, small ones first.

    Parameters
    ----------
    n_regions : int
    max_regions : int
    candidates : sequence of int, default=None
        Swaps of two regions and more are made of these only; None: of all.

    Returns
    -------
    ndarray of shape (n_swaps, n_regions), bool

    Examples
    --------
    >>> all_swaps(3, 2).astype(int).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    """
    candidates = range(n_regions) if candidates is None else sorted(candidates)
    chosen = [(region,) for region in range(n_regions)]
    for size in range(2, max_regions + 1):
        chosen += itertools.combinations(candidates, size)
    swaps = np.zeros((len(chosen), n_regions), bool)
    for row, regions in enumerate(chosen):
        swaps[row, list(regions)] = True
    return swaps


def swapped_images(image, contrast, masks, swaps):
    """Images in which regions are replaced by those of the contrast.

    Parameters
    ----------
    image, contrast : ndarray of shape (n_channels, ...)
    masks : ndarray of shape (n_regions, ...)
    swaps : ndarray of shape (n_swaps, n_regions), bool

    Returns
    -------
    ndarray of shape (n_swaps, n_channels, ...), float32
    """
    taken = swaps.astype(np.float32) @ masks.reshape(len(masks), -1)
    taken = taken.reshape(len(swaps), 1, *masks.shape[1:])
    return image + taken * (contrast - image)


def minimal(swaps, flips):
    """Which of the swaps that change the prediction contain no smaller one that does.

    Parameters
    ----------
    swaps : ndarray of shape (n_swaps, n_regions), bool
    flips : ndarray of shape (n_swaps,), bool

    Returns
    -------
    ndarray of shape (n_swaps,), bool

    Examples
    --------
    >>> swaps = all_swaps(3, 2)
    >>> minimal(swaps, np.array([True, False, False, True, True, True])).tolist()
    [True, False, False, False, False, True]
    """
    found = swaps[flips].astype(int)
    size = found.sum(axis=1)
    # Row i contains row j if they share all of j's regions.
    contains = found @ found.T == size
    np.fill_diagonal(contains, False)
    result = np.zeros(len(swaps), bool)
    result[np.flatnonzero(flips)[~contains.any(axis=1)]] = True
    return result


@dataclass(frozen=True)
class LocalRegression:
    """Margin of a patient's prediction, as what it is minus what each swapped region takes away.

    Attributes
    ----------
    start : float
        The margin of the patient as he or she is; the regression passes through it.
    coefficients : ndarray of shape (n_regions,)
        What a region holds up of the prediction; negative where the contrast's region would
        strengthen it.
    r2 : float
        Weighted, over the swaps.
    """

    start: float
    coefficients: np.ndarray
    r2: float

    @classmethod
    def fit(cls, swaps, margins, start):
        """Ridge regression of the change, weighted by proximity.

        A swap of k regions weighs exp(-(k / 3)²), divided by how many swaps of that size there
        are, so that the many triples do not drown the few single swaps.
        """
        sizes = swaps.sum(axis=1)
        counts = np.bincount(sizes)
        weights = np.exp(-((sizes / 3) ** 2)) / counts[sizes]
        weights /= weights.sum()
        design, change = swaps.astype(float), start - margins
        normal = design.T @ (weights[:, None] * design)
        penalty = RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
        coefficients = np.linalg.solve(normal + penalty, design.T @ (weights * change))
        residual = weights @ (change - design @ coefficients) ** 2
        spread = weights @ (change - weights @ change) ** 2
        r2 = 1 - residual / spread if spread > 0 else np.nan
        return cls(float(start), coefficients, float(r2))

    def predict(self, swaps):
        """Margins of swaps."""
        return self.start - swaps @ self.coefficients
