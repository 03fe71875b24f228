"""Whole volumes: a scan, a lesion mask, or several of these as channels.

Volumes shrink to a coarse grid first, so that a cohort of a few hundred trains on a CPU.
"""

import joblib
import numpy as np

from imaging.grids import Grid
from imaging.intensity import rescale_intensity
from imaging.parameters import POSITIVE, parameter, parameters
from imaging.resizing import shrink_volume
from imaging.storage.bank import Recipe

from .places import VolumePlace
from .scans import ScanParameters, ScanView, open_grid, read_on_grid

__all__ = ["VolumeParameters", "Volumes"]


@parameters
class VolumeParameters(ScanParameters):
    """How coarse the volumes are."""

    spacing_mm: float = parameter(
        4.0,
        POSITIVE,
        doc="""
        Edge of the voxels that the network sees: scans shrink to it by averages, and are never
        enlarged.
        """,
    )


@parameters
class Volumes(VolumeParameters, ScanView):
    """See whole volumes, one channel per image column.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    grid_ : Grid
        Of the training images.

    Examples
    --------
    >>> from prognosis import Volumes, make_stroke_cohort
    >>> X, _ = make_stroke_cohort(3, spacing_mm=8, random_state=0)
    >>> Volumes(spacing_mm=16, allow_empty=True).fit_prepare(X, ["t1w", "lesion"]).array().shape
    (3, 2, 10, 12, 10)
    """

    def recipe(self):
        """How one scan becomes a coarse volume."""
        arguments = (float(self.spacing_mm), open_grid(self.grid), self.allow_empty)
        return Recipe(_read_volume, arguments, joblib.hash(arguments))

    def augmentation(self):
        """Volumes turn, shift, grow and brighten a little."""
        from imaging.learning.augmentation import VolumeAugmentation

        spacing = np.linalg.norm(self.grid_.affine[:3, :3], axis=0)
        return VolumeAugmentation(
            extent_mm=tuple((spacing * self.grid_.shape).tolist()), mirror=self.mirror
        )

    def place(self):
        """Where the coarse voxels lie in the brain."""
        spacing_mm, *_ = self.recipe_.arguments
        return VolumePlace(spacing_mm, self.grid_)


def _read_volume(source, spacing_mm, grid, allow_empty):
    """One scan as a coarse array in [0, 1], with the grid it had, and a note on its space."""
    volume, note = read_on_grid(source, grid, allow_empty)
    small = shrink_volume(volume, spacing_mm)
    return rescale_intensity(np.asanyarray(small.dataobj)), Grid.of(volume), note
