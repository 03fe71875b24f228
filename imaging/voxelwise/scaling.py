"""The intensities that a network sees, in training and afterwards the same, and the way back.

Whole scans are standardised, never patches, by statistics that do not depend on how much air
surrounds the head.
"""

from dataclasses import dataclass

import numpy as np

from ..synthesis.noise import has_sign

__all__ = ["HOUNSFIELD_RANGE", "Standardised", "from_zero", "standardise"]

# Of brain tissue and fresh blood on computed tomography.
HOUNSFIELD_RANGE = (0.0, 80.0)


@dataclass(frozen=True)
class Standardised:
    """How a task scales its images: see `standardise`.

    Another scaling has these four methods.

    Parameters
    ----------
    ct : bool, default=False
        Scans are computed tomography, whose window is cut first.

    Examples
    --------
    >>> scaling, scan = Standardised(), np.float32([[0, 0, 4], [0, 6, 8]])
    >>> np.allclose(scaling.undone(scaling.scaled(scan), scan), scan)
    True
    """

    ct: bool = False

    def scaled(self, scan):
        """A scan as the network sees it."""
        return standardise(scan, ct=self.ct)

    def from_zero(self, scan):
        """A scan for steps that were made for magnitudes, and whether it had a sign."""
        return from_zero(scan, ct=self.ct)

    def finished(self, scan):
        """What such steps have made, or what a synthetic scan is, as the network sees it.

        The window of computed tomography was cut before; noise may leave it, as in a scan.
        """
        return standardise(scan)

    def undone(self, values, scan):
        """Values on the network's scale in the units of the scan that they belong to."""
        mean, deviation, _ = _statistics(_cut(scan, self.ct))
        return np.asarray(values, np.float32) * np.float32(deviation) + np.float32(mean)


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
    array = _cut(array, ct)
    mean, deviation, highest = _statistics(array)
    if deviation == 0:
        return np.zeros_like(array)
    return (np.minimum(array, highest) - np.float32(mean)) / np.float32(deviation)


def _cut(array, ct):
    array = np.asarray(array, dtype=np.float32)
    return np.clip(array, *HOUNSFIELD_RANGE) if ct else array


def _statistics(array):
    """Mean and standard deviation of the foreground, and above what intensities are cut."""
    hot = _percentile(array.ravel(), 0.999)
    usual = np.minimum(array, hot) if hot > array.min() else array
    foreground = usual[usual > usual.mean(dtype=np.float64)]
    if foreground.size == 0:
        return float(array.flat[0]), 0.0, None
    highest = _percentile(foreground, 0.995)
    foreground = np.minimum(foreground, highest)
    mean, deviation = foreground.mean(dtype=np.float64), foreground.std(dtype=np.float64)
    # A binary image has no spread in its foreground; its own range takes the place.
    if deviation <= 1e-6 * (highest - array.min()):
        deviation = float(highest - array.min())
    return mean, deviation, highest


def _percentile(values, share):
    rank = round((values.size - 1) * share)
    return np.partition(values, rank)[rank]
