"""The intensities that a segmentation network sees, in training and afterwards the same.

Whole scans are standardised, never patches, by statistics that do not depend on how much air
surrounds the head.
"""

import numpy as np

from ..synthesis.noise import has_sign

__all__ = ["HOUNSFIELD_RANGE", "from_zero", "standardise"]

# Of brain tissue and fresh blood on computed tomography.
HOUNSFIELD_RANGE = (0.0, 80.0)


def from_zero(array, *, ct=False):
    """A scan whose lowest value is 0, and whether it came with a sign.

    Scans with a sign (computed tomography, standardised ones) are moved up, so that steps made for
    magnitudes neither fold them nor fill with a grey that means tissue; magnitudes stay as they
    are. Computed tomography is cut to its window first.

    Parameters
    ----------
    array : ndarray of float32
    ct : bool, default=False

    Returns
    -------
    array : ndarray of float32, same shape
        `standardise` makes the same of it as of the scan (with the same `ct`), to rounding.
    signed : bool

    Examples
    --------
    >>> import numpy as np
    >>> from_zero(np.float32([-1000, 30, 900]), ct=True)
    (array([ 0., 30., 80.], dtype=float32), True)
    """
    if ct:
        return np.clip(array, *HOUNSFIELD_RANGE) - np.float32(HOUNSFIELD_RANGE[0]), True
    lowest = float(array.min())
    if not has_sign(lowest, float(array.max())):
        return array, False
    return array - np.float32(lowest), True


def standardise(array, *, ct=False):
    """Zero mean and unit standard deviation over the foreground of a scan.

    Foreground is what is brighter than the mean of the scan, single hot voxels left out (one in a
    thousand). Values above the foreground's 99.5th percentile are clipped to it.

    Parameters
    ----------
    array : ndarray
    ct : bool, default=False
        Clip to 0-80 Hounsfield units first.

    Returns
    -------
    ndarray of float32, same shape
        Zeros where the scan is constant.

    Examples
    --------
    >>> import numpy as np
    >>> scan = np.zeros((10, 10))
    >>> scan[2:5, 2:5] = [[90, 100, 110]] * 3
    >>> values = standardise(scan)
    >>> values[3, 2:5].round(2), np.allclose(values, standardise(np.pad(scan, 20))[20:-20, 20:-20])
    (array([-1.22,  0.  ,  1.22], dtype=float32), True)
    """
    array = np.asarray(array, dtype=np.float32)
    if ct:
        array = np.clip(array, *HOUNSFIELD_RANGE)
    hot = _percentile(array.ravel(), 0.999)
    usual = np.minimum(array, hot) if hot > array.min() else array
    foreground = usual[usual > usual.mean(dtype=np.float64)]
    if foreground.size == 0:
        return np.zeros_like(array)
    highest = _percentile(foreground, 0.995)
    foreground = np.minimum(foreground, highest)
    mean, deviation = foreground.mean(dtype=np.float64), foreground.std(dtype=np.float64)
    # A binary image has no spread in its foreground; its own range takes the place.
    if deviation <= 1e-6 * (highest - array.min()):
        deviation = float(highest - array.min())
    return (np.minimum(array, highest) - np.float32(mean)) / np.float32(deviation)


def _percentile(values, share):
    rank = round((values.size - 1) * share)
    return np.partition(values, rank)[rank]
