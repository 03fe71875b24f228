"""Coarser volumes by area averages, which skip no voxel and so do not alias."""

import nibabel as nib
import numpy as np

from .mosaics import resizing_matrix

__all__ = ["shrink_volume"]


def shrink_volume(image, spacing_mm):
    """Average a volume down to about cubic voxels; an axis that is coarser stays as it is.

    The way back to the grid of the scan is `restore_grid`.

    Parameters
    ----------
    image : nibabel spatial image, 3-D
    spacing_mm : float
        Edge of the new voxels; rounded so that a whole number of them fills the field of view.

    Returns
    -------
    nibabel.Nifti1Image, float32
        Same field of view; the affine says where the new voxels lie.

    Raises
    ------
    ValueError
        If `spacing_mm` is not positive.

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> small = shrink_volume(nib.Nifti1Image(np.ones((8, 10, 6)), np.diag([1, 1, 2, 1])), 2)
    >>> small.shape, small.affine.diagonal().tolist(), small.affine[:3, 3].tolist()
    ((4, 5, 6), [2.0, 2.0, 2.0, 1.0], [0.5, 0.5, 0.0])
    """
    if not spacing_mm > 0:
        raise ValueError(f"spacing_mm must be positive, got {spacing_mm!r}")
    data = np.asanyarray(image.dataobj, dtype=np.float32)
    affine = np.asarray(image.affine, dtype=float).copy()
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    for axis, (count, edge) in enumerate(zip(data.shape, edges, strict=True)):
        fewer = min(count, max(1, round(count * edge / spacing_mm)))
        if fewer < count:
            averaged = np.tensordot(resizing_matrix(count, fewer), data, axes=(1, axis))
            data = np.moveaxis(averaged, 0, axis)
            factor = count / fewer
            affine[:3, 3] += affine[:3, axis] * (factor - 1) / 2
            affine[:3, axis] *= factor
    return nib.Nifti1Image(np.ascontiguousarray(data), affine)
