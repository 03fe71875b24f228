"""Where the numbers that a network sees lie in the brain: to voxels, and to sums over regions.

Going back is the adjoint of how the picture was made, so that an attribution's sum is kept; a
region's sum is therefore the product of the attribution with the region drawn as a picture.
"""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import sparse

from imaging.grids import Grid
from imaging.resizing import resizing_matrix, shrink_volume
from imaging.volumes import restore_grid, voxel_volume_ml

from ..errors import CohortError

__all__ = [
    "MosaicPlace",
    "PicturePlace",
    "Place",
    "RegionWeights",
    "VolumePlace",
    "VoxelPlace",
]


@dataclass(frozen=True)
class RegionWeights:
    """How much of each number belongs to each region of an atlas.

    Attributes
    ----------
    names : list of str
        Regions of which something is seen.
    weights : scipy.sparse.csc_matrix of shape (n_numbers, n_regions), float32
        In [0, 1]: ``flat_attribution @ weights`` are the sums over regions.
    volume_ml : ndarray of shape (n_regions,)
        What is seen of each region.
    """

    names: list
    weights: object
    volume_ml: np.ndarray


class Place:
    """Base of all places in the brain; `grid` is that of the scans.

    A subclass says how a volume is drawn as the numbers that a network sees (`draw`), how an
    attribution goes back to voxels with its sum kept (`put_back`) and how values do (`restore`),
    which voxels are seen at all (`shown`), and what tells it from other places (`key`).
    """

    is_picture = False

    def region_weights(self, atlas):
        """Weights of the regions of an atlas; those that are not seen are left out."""
        grid = self.grid.image()
        labels = atlas.labels_on(grid)
        shown = np.asanyarray(self.shown().dataobj) > 0
        sizes = np.bincount(labels[shown], minlength=len(atlas.regions) + 1)[1:]
        names, weights = [], []
        for number in np.flatnonzero(sizes):
            mask = nib.Nifti1Image((labels == number + 1).astype(np.float32), grid.affine)
            names.append(atlas.regions[number])
            weights.append(sparse.csc_matrix(self.draw(mask).reshape(-1, 1)))
        volume = sizes[sizes > 0] * voxel_volume_ml(grid)
        return RegionWeights(names, sparse.hstack(weights, format="csc"), volume)


@dataclass(frozen=True)
class MosaicPlace(Place):
    """A `SliceMosaic` or `RoiMosaic` of volumes on one grid."""

    mosaic: object
    grid: Grid

    def draw(self, volume):
        stitch = getattr(self.mosaic, "stitch", None) or self.mosaic.pack
        return stitch(volume)

    def put_back(self, picture):
        back = getattr(self.mosaic, "unstitch_attribution", None) or self.mosaic.unpack_attribution
        return back(picture, self.grid.image())

    def restore(self, picture):
        """As an image of values, not of shares: interpolated, for the background of figures."""
        back = getattr(self.mosaic, "unstitch", None) or self.mosaic.unpack
        return back(picture, self.grid.image())

    def shown(self):
        return self.mosaic.coverage(self.grid.image())

    @property
    def key(self):
        mosaic = self.mosaic
        atlas = getattr(mosaic, "atlas", None)
        layout = {name: value for name, value in vars(mosaic).items() if name != "atlas"}
        return repr((layout, None if atlas is None else atlas.identity, self.grid))


@dataclass(frozen=True)
class VolumePlace(Place):
    """Volumes that shrank to coarse voxels."""

    spacing_mm: float
    grid: Grid

    def draw(self, volume):
        return np.asanyarray(shrink_volume(volume, self.spacing_mm).dataobj)

    def put_back(self, values):
        data = np.asarray(values, np.float32)
        for axis, (fine, coarse) in enumerate(zip(self.grid.shape, data.shape, strict=True)):
            if coarse < fine:
                shares = resizing_matrix(fine, coarse)
                data = np.moveaxis(np.tensordot(shares, data, axes=(0, axis)), 0, axis)
        return nib.Nifti1Image(np.ascontiguousarray(data), self.grid.affine)

    def restore(self, values):
        coarse = shrink_volume(self.grid.image(), self.spacing_mm)
        return restore_grid(
            nib.Nifti1Image(np.asarray(values, np.float32), coarse.affine), self.grid.image()
        )

    def shown(self):
        return nib.Nifti1Image(np.ones(self.grid.shape, np.uint8), self.grid.affine)

    @property
    def key(self):
        return repr((self.spacing_mm, self.grid))


@dataclass(frozen=True)
class VoxelPlace(Place):
    """Voxels as they are, where the models of a cross-validation do not share one picture."""

    grid: Grid

    def draw(self, volume):
        return np.asanyarray(volume.dataobj)

    def put_back(self, values):
        return nib.Nifti1Image(np.asarray(values, np.float32), self.grid.affine)

    restore = put_back

    def shown(self):
        return nib.Nifti1Image(np.ones(self.grid.shape, np.uint8), self.grid.affine)

    @property
    def key(self):
        return repr(self.grid)


@dataclass(frozen=True)
class PicturePlace:
    """2-D pictures, which lie nowhere in a brain."""

    grid: Grid
    is_picture = True

    def _refuse(self, *args):
        raise CohortError(
            "these images are 2-D pictures without a place in the brain; use .pictures for their "
            "attribution, or explain a model that was fitted on volumes"
        )

    put_back = restore = region_weights = shown = _refuse

    @property
    def key(self):
        return repr(self.grid)
