"""The template's head on a coarse frame, and the template's brain as a map of distances.

Made once in a process, in a tenth of a second, from ``brain.npz``: the brain mask of the MNI
template inside nilearn (ICBM 2009a, Fonov et al. 2011, NeuroImage 54:313), whose import and
resampling would take every worker of a comparison two seconds.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import fft, ndimage

__all__ = ["EDGE_MM", "PADDED", "REACH", "Outline", "Template", "brain_bounds_mm", "template"]

# The frame reaches past the head, so that a head that was moved is still seen. Millimetres, RAS.
EDGE_MM = 8
_LOW_MM = (-128, -160, -136)
_SHAPE = (33, 37, 35)
PADDED = (40, 45, 42)  # so far that a search of REACH voxels does not wrap round
REACH = 5  # voxels
_MARGIN = 15  # voxels of 2 mm around the brain
_UPPER_MM = -20  # below it are face and neck, of which images hold more or less

# Of each outline: what is head beyond the brain, and from where on there must be air, mm.
_BRAIN_ONLY, _WHOLE_HEAD = (0, 14), (12, 22)


@dataclass(frozen=True)
class Outline:
    """What a head of one kind fills of the frame, for correlations.

    `head` (0 to 1) is filled, `air` (0 or 1) must be empty; `size` is the sum of `head`; both
    have conjugate Fourier transforms.
    """

    size: float
    head_conjugate: np.ndarray
    air_conjugate: np.ndarray


@dataclass(frozen=True)
class Template:
    """The template's brain.

    Attributes
    ----------
    axes : tuple of three ndarray
        World coordinates of the voxels of the frame, mm.
    brain : ndarray, float32
        Share of each voxel of the frame that is brain.
    outlines : tuple of Outline
        Of a brain without skull, and of a whole head.
    distance : ndarray, float32
        Distance from the brain on a grid of 2 mm, mm.
    distance_low : ndarray of shape (3,)
        World coordinates of the first voxel of that grid.
    """

    axes: tuple
    brain: np.ndarray
    outlines: tuple
    distance: np.ndarray
    distance_low: np.ndarray

    def distance_at(self, points):
        """Distance of world points from the brain, mm; points far outside are at infinity."""
        places = np.rint((points - self.distance_low) / 2).astype(np.intp)
        inside = ((places >= 0) & (places < self.distance.shape)).all(axis=-1)
        found = np.full(len(points), np.inf, np.float32)
        found[inside] = self.distance[tuple(places[inside].T)]
        return found


@functools.cache
def brain_bounds_mm():
    """World coordinates between which the template's brain lies: tuple of (low, high), RAS, mm.

    Examples
    --------
    >>> [[round(end) for end in ends] for ends in brain_bounds_mm()]
    [[-72, 72], [-106, 72], [-72, 82]]
    """
    found = template()
    places = np.argwhere(found.distance == 0)
    ends = (found.distance_low + 2.0 * places.min(0), found.distance_low + 2.0 * places.max(0))
    return tuple(zip(*(end.tolist() for end in ends), strict=True))


@functools.cache
def template():
    """The `Template`."""
    with np.load(Path(__file__).with_name("brain.npz")) as stored:
        shape, low = tuple(stored["shape"].tolist()), stored["low_mm"] - 2.0 * _MARGIN
        brain = np.unpackbits(stored["bits"], count=np.prod(shape)).reshape(shape).astype(bool)
    brain = np.pad(brain, _MARGIN)
    distance = (2 * ndimage.distance_transform_edt(~brain)).astype(np.float32)
    axes = tuple(start + EDGE_MM * np.arange(n) for start, n in zip(_LOW_MM, _SHAPE))
    share = ndimage.uniform_filter(brain.astype(np.float32), EDGE_MM // 2)
    places = [np.rint((axis - start) / 2).astype(int) for axis, start in zip(axes, low)]
    kept = [(place >= 0) & (place < n) for place, n in zip(places, brain.shape)]
    there = np.ix_(*kept)
    picked = np.ix_(*(place[keep] for place, keep in zip(places, kept)))
    coarse, away = np.zeros(_SHAPE, np.float32), np.full(_SHAPE, np.inf, np.float32)
    coarse[there], away[there] = share[picked], distance[picked]
    upper = (axes[2] >= _UPPER_MM)[None, None]
    outlines = tuple(_outline(coarse, away, upper, *kind) for kind in (_BRAIN_ONLY, _WHOLE_HEAD))
    return Template(axes, coarse, outlines, distance, low)


def _outline(brain, away, upper, rim_mm, free_mm):
    head = np.maximum(brain, (away <= rim_mm) & upper) if rim_mm else brain
    air = ((away > free_mm) & upper).astype(np.float32)
    transforms = (fft.rfftn(part, PADDED).conj() for part in (head, air))
    return Outline(float(head.sum()), *transforms)
