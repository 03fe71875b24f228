"""Intensity scales: MRI has no unit, so every image is brought to a common range of its own."""

import numpy as np

__all__ = ["rescale_intensity"]


def rescale_intensity(array, *, upper_percentile=99.5):
    """Scale to [0, 1]: the lowest value becomes 0, a high percentile of the foreground 1.

    The foreground is everything above the lowest value, so that the size of the background does not
    move the scale; a mask of 0 and 1 stays as it is, a constant image becomes zeros.

    Parameters
    ----------
    array : ndarray
    upper_percentile : float, default=99.5
        In percent of the foreground; brighter voxels are clipped to 1.

    Returns
    -------
    ndarray of float32, same shape

    Examples
    --------
    >>> import numpy as np
    >>> rescale_intensity(np.array([0, 0, 50, 100]), upper_percentile=100)
    array([0. , 0. , 0.5, 1. ], dtype=float32)
    """
    array = np.asarray(array, dtype=np.float32)
    low = array.min()
    foreground = array[array > low]
    if foreground.size == 0:
        return np.zeros_like(array)
    rank = round((foreground.size - 1) * upper_percentile / 100)
    high = np.partition(foreground, rank)[rank]
    return np.clip((array - low) / (high - low), 0, 1, dtype=np.float32)
