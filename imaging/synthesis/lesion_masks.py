"""Lesion masks of other patients: read, stretched to a brain of another size, or made up."""

from functools import lru_cache

import numpy as np

from ..randomness import Draws
from ..volumes import read_mask
from .fields import smooth_field

__all__ = ["MNI_BRAIN_BOX", "blob_mask", "fit_mask", "read_lesion"]

# Millimetres of grey and white matter of the MNI 152 template, without the brain stem: left to
# right, back to front, bottom to top.
MNI_BRAIN_BOX = np.array([[-71.0, -106.0, -63.0], [71.0, 73.0, 81.0]])


def read_lesion(image, fill_holes=True):
    """Read a lesion mask, cut to its box.

    Returns
    -------
    mask : ndarray of shape (x, y, z), bool
        Of shape (0, 0, 0) where the mask is empty.
    affine : ndarray of shape (4, 4)
        From voxels of the box to millimetres.
    """
    image = read_mask(image)
    mask = np.asanyarray(image.dataobj) > 0
    if not mask.any():
        return np.zeros((0, 0, 0), bool), image.affine
    ends = [
        np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis)))[[0, -1]]
        for axis in range(3)
    ]
    mask = mask[tuple(slice(a, b + 1) for a, b in ends)]
    if fill_holes:
        from scipy.ndimage import binary_fill_holes

        mask = binary_fill_holes(mask)
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [a for a, _ in ends]
    return mask, affine


@lru_cache(maxsize=64)
def blob_mask(seed):
    """A made-up lesion in MNI space: a ball whose surface a smooth field moves in and out.

    Radius 4 to 35 mm, small ones as often as large ones on a logarithmic scale, the centre
    anywhere in the box of the brain.

    Returns
    -------
    mask : ndarray of shape (x, y, z), bool
    affine : ndarray of shape (4, 4)
        1 mm voxels.
    """
    draws = Draws(seed)
    radius = draws.log_uniform(4, 35)
    low, high = 0.8 * MNI_BRAIN_BOX
    centre = [draws.uniform(a, b) for a, b in zip(low, high, strict=True)]
    n = 2 * int(1.6 * radius) + 1
    steps = np.arange(n) - n // 2
    distance = np.sqrt(sum(np.square(np.meshgrid(steps, steps, steps, indexing="ij"))))
    field = smooth_field(draws.seed(), (6, 6, 6), (n, n, n), "cpu")[0].numpy()
    mask = distance < radius * np.exp(0.6 * field)
    affine = np.eye(4)
    affine[:3, 3] = np.round(np.array(centre) - n // 2)
    return mask, affine


def fit_mask(mask, affine, shape, grid_affine, brain_box=None, *, mirrored=False):
    """Put a mask onto the grid of another head, voxel by nearest voxel.

    Parameters
    ----------
    mask : ndarray of shape (x, y, z), bool
    affine : ndarray of shape (4, 4)
    shape : tuple of int
        Of the grid.
    grid_affine : ndarray of shape (4, 4)
    brain_box : ndarray of shape (2, 3) or None
        The brain on the grid, millimetres: the box of the MNI brain is stretched to it. None takes
        millimetres as they are.
    mirrored : bool
        Exchange left and right.

    Returns
    -------
    place : tuple of slice or None
        The part of the grid that the mask meets; None where there is none.
    inside : ndarray, bool
        The mask on that part.
    """
    # From grid voxels to voxels of the mask, axis by axis: both grids are along the body.
    to_mask = np.linalg.inv(affine) @ _fitted(brain_box, mirrored) @ grid_affine
    scale, offset = np.diag(to_mask)[:3], to_mask[:3, 3]
    place, index = [], []
    for axis in range(3):
        voxels = np.rint(np.arange(shape[axis]) * scale[axis] + offset[axis]).astype(int)
        here = np.flatnonzero((voxels >= 0) & (voxels < mask.shape[axis]))
        if len(here) == 0:
            return None, None
        place.append(slice(int(here[0]), int(here[-1]) + 1))
        index.append(voxels[here])
    return tuple(place), mask[np.ix_(*index)]


def _fitted(brain_box, mirrored):
    """From millimetres of the head to those of the mask, shape (4, 4)."""
    fit = np.eye(4)
    if brain_box is not None:
        scale = (MNI_BRAIN_BOX[1] - MNI_BRAIN_BOX[0]) / (brain_box[1] - brain_box[0])
        fit[:3, :3] = np.diag(scale)
        fit[:3, 3] = MNI_BRAIN_BOX[0] - scale * brain_box[0]
    if mirrored:
        fit = np.diag([-1.0, 1, 1, 1]) @ fit
        # Mirrored about the middle of the brain, which is not quite at 0.
        fit[0, 3] += MNI_BRAIN_BOX[:, 0].sum() if brain_box is not None else 0.0
    return fit
