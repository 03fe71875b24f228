"""Other numbers of pixels and voxels: area averages where they shrink, linear where they grow.

Every resizing here is one matrix for each axis. Averages skip no voxel, so nothing aliases.
"""

from functools import lru_cache

import nibabel as nib
import numpy as np
from scipy import sparse

from .doors.limits import check_count

__all__ = [
    "area_averages",
    "linear_interpolation",
    "pixel_shares",
    "resize_picture",
    "resized",
    "resizing_matrix",
    "shrink_volume",
]


@lru_cache(maxsize=256)
def resizing_matrix(n_in, n_out):
    """The matrix that resizes `n_in` samples to `n_out`; its rows sum to one.

    Shrinking takes area averages (nothing is skipped, so nothing aliases), growing interpolates
    linearly between pixel centres.

    Returns
    -------
    ndarray of shape (n_out, n_in), float32, read-only

    Examples
    --------
    >>> resizing_matrix(4, 2)
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.5, 0.5]], dtype=float32)
    """
    if n_out <= n_in:
        matrix = area_averages(np.arange(n_out + 1) * n_in / n_out, n_in)
    else:
        matrix = linear_interpolation((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, n_in)
    matrix.flags.writeable = False
    return matrix


def area_averages(edges, n_in):
    """The matrix that averages `n_in` samples of width 1 over intervals side by side.

    Parameters
    ----------
    edges : ndarray of shape (n_out + 1,), float64
        Where intervals begin and end; the first sample is from 0 to 1.
    n_in : int

    Returns
    -------
    ndarray of shape (n_out, n_in), float32
    """
    cells = np.arange(n_in)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return _of_sum_one(np.clip(overlap, 0, None))


def linear_interpolation(places, n_in):
    """The matrix that interpolates `n_in` samples at places between their centres 0, 1, 2, ...

    Parameters
    ----------
    places : ndarray of shape (n_out,), float64
        The value at the edge is carried on beyond it.
    n_in : int

    Returns
    -------
    ndarray of shape (n_out, n_in), float32
    """
    places = np.clip(places, 0, n_in - 1)
    low = np.minimum(places.astype(int), max(n_in - 2, 0))
    matrix, rows = np.zeros((len(places), n_in)), np.arange(len(places))
    matrix[rows, low] += 1 - (places - low)
    matrix[rows, np.minimum(low + 1, n_in - 1)] += places - low
    return _of_sum_one(matrix)


def _of_sum_one(matrix):
    return (matrix / matrix.sum(1, keepdims=True)).astype(np.float32)


def resized(array, shape):
    """Resize along each axis: area averages where it shrinks, linear where it grows.

    Parameters
    ----------
    array : ndarray
    shape : sequence of int
        One length for each axis.

    Returns
    -------
    ndarray of shape `shape`, float32

    Raises
    ------
    ImageError
        If it would be larger than any image of a head.

    Examples
    --------
    >>> import numpy as np
    >>> resized(np.array([[0.0, 2.0, 4.0, 6.0]]), (1, 2))
    array([[1., 5.]], dtype=float32)
    """
    array = np.asarray(array, dtype=np.float32)
    check_count(shape, "the resized image")
    # What shrinks comes first.
    axes = sorted(range(array.ndim), key=lambda axis: shape[axis] / array.shape[axis])
    for axis in axes:
        if shape[axis] != array.shape[axis]:
            matrix = resizing_matrix(array.shape[axis], shape[axis])
            array = np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(array)


def resize_picture(picture, size):
    """Resize a 2-D picture to fit into `size`, keeping its proportions (no padding).

    Parameters
    ----------
    picture : ndarray of shape (rows, columns)
    size : (height, width)
        The largest height and width, in pixels.

    Returns
    -------
    ndarray of float32

    Examples
    --------
    >>> import numpy as np
    >>> resize_picture(np.ones((4, 8)), (4, 4)).shape
    (2, 4)
    """
    scale = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = (max(1, round(n * scale)) for n in picture.shape)
    down, across = (
        resizing_matrix(picture.shape[0], height),
        resizing_matrix(picture.shape[1], width),
    )
    return down @ np.asarray(picture, np.float32) @ across.T


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


def pixel_shares(canvas, content, pixels):
    """What some pixels of a picture give to every pixel when it shrinks by area averages.

    Parameters
    ----------
    canvas : (int, int)
        Rows and columns of the picture.
    content : (int, int)
        What it shrinks to.
    pixels : (ndarray of int, ndarray of int)
        Rows and columns of those pixels.

    Returns
    -------
    scipy.sparse.csr_array of shape (content pixels, n_pixels)

    Examples
    --------
    >>> pixel_shares((4, 4), (2, 2), (np.array([0, 3]), np.array([0, 3]))).toarray()[:, 0].tolist()
    [0.25, 0.0, 0.0, 0.0]
    """
    (rows, down), (columns, across) = (
        _entries(resizing_matrix(*pair)) for pair in zip(canvas, content, strict=True)
    )
    places = rows[pixels[0]][:, :, None] * content[1] + columns[pixels[1]][:, None, :]
    values = down[pixels[0]][:, :, None] * across[pixels[1]][:, None, :]
    given = values != 0
    ends = np.cumsum(given.reshape(len(given), -1).sum(axis=1))
    parts = values[given], places[given], np.r_[0, ends]
    return sparse.csc_array(parts, shape=(content[0] * content[1], len(given))).tocsr()


def _entries(matrix):
    """For each column of a matrix of few entries: their rows and values, filled up with zeros."""
    columns, rows = np.nonzero(matrix.T)
    counts = np.bincount(columns, minlength=matrix.shape[1])
    place = np.arange(len(columns)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.zeros((matrix.shape[1], counts.max()), np.intp)
    values = np.zeros(found.shape, matrix.dtype)
    found[columns, place], values[columns, place] = rows, matrix[rows, columns]
    return found, values
