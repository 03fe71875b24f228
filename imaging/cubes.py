"""A lesion mask as the share of each cube of one frame in template space that is lesioned.

The frame is the same for all patients and grids, so their masks become rows that can be compared;
only cubes that hold something are listed, which keeps thousands of patients small.
"""

import nibabel as nib
import numpy as np

from .errors import ImageError
from .grids import marked_places
from .spaces.checking import read_placed_mask, refuse_wrong
from .volumes import voxel_volume_ml

__all__ = ["cube_image", "cube_shares", "shares_of"]

# Template millimetres, RAS: around the brain of the MNI templates. The edges lie between the voxels
# of a 1 mm grid, and whole cubes of 4 mm fill it.
_CORNER_MM = np.array([-92.5, -132.5, -74.5])
_SIZE_MM = np.array([184.0, 228.0, 160.0])
_AT_ONCE = 500_000  # points
_FINEST_MM = 1.0  # voxels that are larger are divided before they are given to cubes


def cube_shares(mask, edge_mm=4.0, *, labels=None, space="template"):
    """Which cubes a lesion touches, and how much of each it fills.

    Parameters
    ----------
    mask : str, os.PathLike or nibabel spatial image
        In template space; above 0.5 is lesion. May be empty.
    edge_mm : float, default=4.0
        Edge of the cubes.
    labels : int, sequence of int or None, default=None
        Where the mask holds labels, those that are lesion.
    space : {"template", "native"}, default="template"
        "template": a mask that cannot lie in template space is refused, see `imaging.check_space`.

    Returns
    -------
    cubes : ndarray of shape (n_touched,), int
        Numbers of the cubes, rising; `cube_image` puts them back into space.
    shares : ndarray of shape (n_touched,), float32
        In (0, 1].

    Raises
    ------
    ImageError
        If the mask cannot be read, cannot lie in template space, or no voxel of a lesion lies in
        the frame.

    Examples
    --------
    >>> data = np.zeros((8, 8, 8), np.uint8)
    >>> data[:2, :4, :4] = 1
    >>> affine = nib.affines.from_matvec(np.eye(3), [0, 0, 2])  # the first voxels begin a cube
    >>> cubes, shares = cube_shares(nib.Nifti1Image(data, affine))
    >>> shares.tolist()
    [0.5]
    """
    mask, verdict = read_placed_mask(mask, labels=labels, checked=space == "template")
    refuse_wrong(verdict)
    return shares_of(mask, edge_mm)


def shares_of(mask, edge_mm=4.0):
    """As `cube_shares`, of a mask that `read_mask` has read; its space is not checked."""
    voxels = np.stack(marked_places(mask), axis=-1)
    counts = _counts(edge_mm)
    if not len(voxels):
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    edges = np.linalg.norm(mask.affine[:3, :3], axis=0)
    # An odd number of parts: their centres stay off the borders of cubes on the usual grids.
    parts = [2 * int(np.ceil(round(edge / _FINEST_MM, 3) / 2 - 0.5)) + 1 for edge in edges]
    offsets = np.stack(
        np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in parts), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    placed = np.zeros(int(np.prod(counts)))
    together = max(1, _AT_ONCE // len(voxels))
    for start in range(0, len(offsets), together):
        parts_of = (voxels[:, None] + offsets[start : start + together]).reshape(-1, 3)
        # not by matrix product: its threads would wait for each other where masks are read at once
        points = np.einsum("ni,ji->nj", parts_of, mask.affine[:3, :3]) + mask.affine[:3, 3]
        places = np.floor((points - _CORNER_MM) / edge_mm).astype(np.int64)
        inside = ((places >= 0) & (places < counts)).all(axis=1)
        numbers = np.ravel_multi_index(places[inside].T, counts)
        placed += np.bincount(numbers, minlength=placed.size)
    cubes = np.flatnonzero(placed)
    if not len(cubes):
        raise ImageError(
            "no voxel of the lesion lies within the brain of the template; bring the mask into "
            "template (MNI) space first"
        )
    share = voxel_volume_ml(mask) * 1000 / len(offsets) / edge_mm**3
    return cubes, np.minimum(placed[cubes] * share, 1).astype(np.float32)


def cube_image(cubes, values, edge_mm=4.0):
    """Values of cubes as an image in template space.

    Parameters
    ----------
    cubes : ndarray of shape (n,), int
        As `cube_shares` numbers them.
    values : ndarray of shape (n,)
    edge_mm : float, default=4.0

    Returns
    -------
    nibabel.Nifti1Image, float32

    Examples
    --------
    >>> image = cube_image(np.array([0]), np.array([1.0]))
    >>> image.shape, image.affine[:3, 3].tolist()
    ((46, 57, 40), [-90.5, -130.5, -72.5])
    """
    counts = _counts(edge_mm)
    data = np.zeros(int(np.prod(counts)), np.float32)
    data[cubes] = values
    affine = nib.affines.from_matvec(np.eye(3) * edge_mm, _CORNER_MM + edge_mm / 2)
    return nib.Nifti1Image(data.reshape(counts), affine)


def _counts(edge_mm):
    return tuple(np.ceil(_SIZE_MM / edge_mm).astype(int).tolist())
