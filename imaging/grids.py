"""Where voxels lie, and images opened without reading them: what all rooms above agree on."""

import os
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from .doors.limits import check_header
from .doors.refusals import existing_file, first_line, named, translated
from .errors import ImageError

__all__ = [
    "Grid",
    "MarkedVoxels",
    "mark",
    "marked_places",
    "marked_voxels",
    "open_image",
    "resample",
    "same_grid",
    "true_voxels",
]

_ORDERS = {"nearest": 0, "linear": 1}
_RESAMPLED = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_MOST_LABELS = 20  # more whole numbers than these are grey values of a scan


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: shape and affine, without the voxels. Small, hashable, picklable.

    Parameters
    ----------
    shape : tuple of int
    rows : tuple of tuple of float, default=None
        The affine; None for a picture, which lies nowhere.

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> print(Grid.of(nib.Nifti1Image(np.zeros((4, 5, 6)), np.diag([2, 2, 2, 1]))))
    a grid of 4 x 5 x 6 voxels of 2 x 2 x 2 mm from (0, 0, 0)
    """

    shape: tuple
    rows: tuple | None = None

    @classmethod
    def of(cls, image):
        """The grid of an image, or of the path of one."""
        image = open_image(image)
        return cls(image.shape[:3], tuple(map(tuple, np.asarray(image.affine).tolist())))

    @property
    def affine(self):
        """The affine, shape (4, 4); None for a picture."""
        return None if self.rows is None else np.array(self.rows)

    def image(self):
        """An image of zeros on this grid, which takes no memory for them."""
        return nib.Nifti1Image(np.broadcast_to(np.uint8(0), self.shape), self.affine)

    def matches(self, other):
        """Whether another grid is the same, to within rounding of its header."""
        if self.rows is None or other.rows is None:
            return self == other
        return same_grid(self, other)

    def __str__(self):
        if self.rows is None:
            return f"a picture of {self.shape[0]} x {self.shape[1]} pixels"
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        voxels, size = (" x ".join(f"{n:.4g}" for n in row) for row in (self.shape, spacing))
        origin = ", ".join(f"{n:.4g}" for n in self.affine[:3, 3])
        return f"a grid of {voxels} voxels of {size} mm from ({origin})"


def open_image(image):
    """Open an image without reading its voxels.

    Parameters
    ----------
    image : str, os.PathLike or nibabel spatial image

    Returns
    -------
    nibabel spatial image
        `image` itself when it is an image already.

    Raises
    ------
    ImageError
        If there is no such file, it is not an image of numbers in millimetres, or shorter than its
        header promises; or if `image` is something else.

    Examples
    --------
    >>> scan = nib.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4))
    >>> open_image(scan) is scan
    True
    >>> open_image("nothing.nii.gz")
    Traceback (most recent call last):
        ...
    imaging.errors.ImageError: no file at 'nothing.nii.gz'; correct the path or drop the row
    """
    if isinstance(image, nib.spatialimages.SpatialImage):
        with translated(f"{named(image)} cannot be used as an image", "make it anew"):
            check_header(image, named(image))
        return image
    if not isinstance(image, (str, os.PathLike)):
        shown = f"an array of shape {image.shape}" if hasattr(image, "shape") else repr(image)
        raise ImageError(
            f"found {shown} ({type(image).__name__}) where an image was expected; give "
            "the path of a NIfTI file or a nibabel image"
        )
    path = existing_file(image)
    with translated(
        f"{str(path)!r} cannot be read as an image", "convert it to NIfTI or copy it again"
    ):
        opened = nib.load(path)
        if not isinstance(opened, nib.spatialimages.SpatialImage):
            raise ValueError(f"it holds a {type(opened).__name__}")
        check_header(opened, repr(str(path)))
    return opened


def same_grid(image, other, *, tolerance_mm=0.05):
    """Whether two images have the same shape and voxel positions within `tolerance_mm`.

    Examples
    --------
    >>> scan = nib.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4))
    >>> moved = nib.Nifti1Image(np.zeros((2, 2, 2)), nib.affines.from_matvec(np.eye(3), [0, 0, 9]))
    >>> same_grid(scan, scan), same_grid(scan, moved)
    (True, False)
    """
    if image.shape[:3] != other.shape[:3]:
        return False
    gap = np.abs((image.affine - other.affine) @ _corners(image.shape[:3])).max()
    return bool(gap <= tolerance_mm)


def _corners(shape):
    """Homogeneous voxel coordinates, shape (4, 8), of the corners of a grid."""
    corners = np.stack(np.meshgrid(*[[0, n - 1] for n in shape], indexing="ij"), -1).reshape(-1, 3)
    return np.c_[corners, np.ones(8)].T


def resample(image, grid, interpolation):
    """An image on the voxels of another grid, through world coordinates.

    What nilearn's `resample_img` gives, to within rounding where most of the image is 0, as most of
    a mask is: then only what surrounds the rest is looked at.

    Parameters
    ----------
    image : nibabel spatial image
    grid : nibabel spatial image or Grid
    interpolation : {"linear", "continuous", "nearest"}

    Returns
    -------
    nibabel.Nifti1Image

    Raises
    ------
    ImageError
        If the image ends before the grid begins.

    Examples
    --------
    >>> image = nib.Nifti1Image(np.arange(8, dtype=np.float32).reshape(2, 2, 2), np.eye(4))
    >>> finer = Grid((3, 3, 3), ((0.5, 0, 0, 0), (0, 0.5, 0, 0), (0, 0, 0.5, 0), (0, 0, 0, 1)))
    >>> np.asanyarray(resample(image, finer, "linear").dataobj)[0, 0].tolist()
    [0.0, 0.5, 1.0]
    """
    data = np.asanyarray(image.dataobj)
    simple = interpolation in _ORDERS and data.ndim == 3 and data.dtype.name in _RESAMPLED
    back = np.linalg.inv(grid.affine) @ image.affine
    below = ((back @ _corners(image.shape[:3]))[:3].max(axis=1) < 0).any()
    if not simple or below or not (data.dtype.kind != "f" or np.isfinite(data).all()):
        from nilearn.image import resample_img

        try:
            return resample_img(
                image,
                target_affine=grid.affine,
                target_shape=grid.shape[:3],
                interpolation=interpolation,
                copy_header=False,
                force_resample=True,
            )
        except ValueError as error:
            raise ImageError(
                f"{named(image)} cannot be resampled ({first_line(error)}); bring both to one space"
            ) from error
    from scipy.linalg import inv
    from scipy.ndimage import affine_transform

    transform = inv(image.affine) @ np.asarray(grid.affine)
    matrix, offset = transform[:3, :3], transform[:3, 3]
    source, target = _around(data, back, grid.shape[:3])
    first = np.array([part.start for part in target])
    if any(part.start for part in (*source, *target)):
        offset = matrix @ first + offset - np.array([part.start for part in source])
    if (np.diag(np.diag(matrix)) == matrix).all():
        matrix = np.diag(matrix)  # for which scipy has a faster way
    placed = np.zeros(grid.shape[:3], data.dtype)
    part, inside = data[source], placed[target]
    if part.size and inside.size:
        affine_transform(
            part,
            matrix,
            offset=offset,
            output_shape=inside.shape,
            output=inside,
            order=_ORDERS[interpolation],
        )
        if data.dtype.kind == "f":
            inside.clip(min(part.min(), 0), max(part.max(), 0), out=inside)
    return nib.Nifti1Image(placed, np.array(grid.affine, dtype=float))


def _around(data, back, shape):
    """Slices of an array around what is not 0, and of a grid around where that lies.

    Whole ones, where that is half of the array or more.
    """
    whole = tuple(slice(0, n) for n in data.shape), tuple(slice(0, n) for n in shape)
    ends = []
    for axis in range(3):
        seen = np.flatnonzero(data.any(axis=tuple(k for k in range(3) if k != axis)))
        ends.append((int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0))
    if 2 * np.prod([stop - start for start, stop in ends]) >= data.size:
        return whole
    # Two zeros on each side: interpolation looks one voxel further.
    source = tuple(slice(max(0, a - 2), min(n, b + 2)) for (a, b), n in zip(ends, data.shape))
    box = np.array([(part.start, part.stop - 1) for part in source])
    corners = np.stack(np.meshgrid(*box, indexing="ij"), axis=-1).reshape(-1, 3)
    places = corners @ back[:3, :3].T + back[:3, 3]
    low, high = np.floor(places.min(axis=0)) - 1, np.ceil(places.max(axis=0)) + 2
    return source, tuple(
        slice(int(np.clip(a, 0, n)), int(np.clip(b, 0, n))) for a, b, n in zip(low, high, shape)
    )


def true_voxels(mask):
    """Where an array is true, as ``mask.nonzero()`` says it, several times faster.

    The array is walked in the order of its memory, and so are the voxels.

    Parameters
    ----------
    mask : ndarray, any dtype and number of dimensions

    Returns
    -------
    tuple of ndarray, shape (n_true,), one for each dimension

    Examples
    --------
    >>> [places.tolist() for places in true_voxels(np.array([[0, 1], [0, 1]]))]
    [[0, 1], [1, 1]]
    """
    order = "C" if mask.flags.c_contiguous else "F"
    flat = mask.ravel(order=order)
    found = np.flatnonzero(flat if flat.dtype == bool else flat != 0)
    return np.unravel_index(found, mask.shape, order=order)


class MarkedVoxels:
    """The voxels of a mask, kept as the places of those that are marked: what a lesion fills.

    Stands for the array of an image; ``np.asanyarray`` makes that of it, uint8.

    Parameters
    ----------
    flat : ndarray of shape (n_marked,), unsigned int
        Numbers of the marked voxels, rising, the first axis running fastest.
    shape : tuple of int

    Examples
    --------
    >>> mask = nib.Nifti1Image(MarkedVoxels(np.array([3], np.uint32), (2, 2, 2)), np.eye(4))
    >>> mask.get_fdata()[1, 1, 0], marked_places(mask)
    (np.float64(1.0), (array([1]), array([1]), array([0])))
    """

    dtype, ndim = np.dtype(np.uint8), 3

    def __init__(self, flat, shape):
        self.flat, self.shape = flat, tuple(int(n) for n in shape)

    @property
    def size(self):
        """Voxels, marked or not."""
        return int(np.prod(self.shape))

    def __array__(self, dtype=None, copy=None):
        values = np.zeros(self.size, self.dtype if dtype is None else dtype)
        values[self.flat] = 1
        return values.reshape(self.shape, order="F")

    def __getitem__(self, place):
        return np.asarray(self)[place]

    def places(self):
        """Coordinates of the marked voxels, one array for each axis."""
        return np.unravel_index(self.flat, self.shape, order="F")


def marked_places(mask):
    """Where a mask is not 0, as `true_voxels` says it.

    Parameters
    ----------
    mask : nibabel spatial image, 3-D
    """
    data = mask.dataobj
    return data.places() if isinstance(data, MarkedVoxels) else true_voxels(np.asanyarray(data))


def mark(data, name, labels=None):
    """What `marked_voxels` marks, as `MarkedVoxels`; the array is walked once.

    Parameters
    ----------
    data : ndarray of shape (x, y, z)
    name, labels
        As for `marked_voxels`.

    Returns
    -------
    MarkedVoxels
    """
    flat = data.ravel(order="F")
    present = flat if flat.dtype == bool else flat != 0  # in which places are found faster
    found = np.flatnonzero(present)
    # One 0 stands for all others, where there are some.
    some = found if len(found) == len(flat) else np.append(found, np.argmin(present))
    marked = marked_voxels(flat[some], name, labels)[: len(found)]
    return MarkedVoxels(found[marked].astype(np.uint32), data.shape)


def marked_voxels(data, name, labels=None):
    """Where the array of a mask is lesion; refuses what no mask can hold.

    Parameters
    ----------
    data : ndarray
    name : str
        Of the image, for messages.
    labels : int, sequence of int or None, default=None
        Those that are lesion, where it holds labels; None: above 0.5.

    Returns
    -------
    ndarray of bool

    Raises
    ------
    ImageError
        If it holds negative values, or neither probabilities nor 0 and one other value.

    Examples
    --------
    >>> marked_voxels(np.array([0, 2, 4]), "the mask", [4]).tolist()
    [False, False, True]
    >>> marked_voxels(np.array([0, 2, 4]), "the mask")
    Traceback (most recent call last):
        ...
    imaging.errors.ImageError: the mask holds 2, 4 where a mask of 0 and 1 was expected; if these
    are labels, say which of them are lesion, for example labels=[4]
    """
    if labels is not None:
        labels = np.atleast_1d(labels)
        if data.dtype.kind == "f" and (data != np.rint(data)).any():
            raise ImageError(
                f"{name} holds fractions where labels={labels.tolist()} asks for whole numbers; "
                "give the label image, or leave labels out"
            )
        return np.isin(data, labels)
    low, top = data.min(initial=0), data.max(initial=0)
    if low < 0:
        raise ImageError(
            f"{name} holds negative values (lowest {low:.4g}) where a mask of 0 and 1 was "
            "expected; give the mask, not the scan"
        )
    # Rounding may lift a probability a little above 1.
    if top > 1.01 and not ((data == 0) | (data == top)).all():
        found = np.unique(data)
        whole = len(found) <= _MOST_LABELS and (found == np.rint(found)).all()
        if whole:
            known = ", ".join(f"{value:g}" for value in found if value)
            raise ImageError(
                f"{name} holds {known} where a mask of 0 and 1 was expected; if these are labels, "
                f"say which of them are lesion, for example labels=[{top:g}]"
            )
        raise ImageError(
            f"{name} holds {len(found)} grey values up to {top:.4g} where a mask of 0 and 1 was "
            "expected; give the mask, not the scan"
        )
    # Of whole numbers the same, without making fractions of them all.
    return data > (0.5 if data.dtype.kind == "f" else 0)
