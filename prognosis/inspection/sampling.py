"""Values of an image at places of the world, as pictures and comparisons of sides ask for them."""

import nibabel as nib
import numpy as np

__all__ = ["nearest_values"]


def nearest_values(image, points):
    """Values of the nearest voxels.

    Parameters
    ----------
    image : nibabel spatial image, 3-D
    points : ndarray of shape (..., 3)
        World coordinates, mm.

    Returns
    -------
    ndarray of shape (...), float
        NaN outside of the field of view.

    Examples
    --------
    >>> image = nib.Nifti1Image(np.arange(8.0).reshape(2, 2, 2), np.diag([2, 2, 2, 1]))
    >>> nearest_values(image, np.array([[0, 0, 2.4], [9, 0, 0]])).tolist()
    [1.0, nan]
    """
    voxels = np.rint(nib.affines.apply_affine(np.linalg.inv(image.affine), points)).astype(np.intp)
    inside = ((voxels >= 0) & (voxels < image.shape[:3])).all(axis=-1)
    found = np.full(inside.shape, np.nan)
    found[inside] = np.asanyarray(image.dataobj)[tuple(voxels[inside].T)]
    return found
