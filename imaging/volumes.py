"""NIfTI volumes and 2-D pictures in and out.

Every image enters the package here: it is checked, brought to the canonical orientation (RAS+) and,
where needed, to another grid; and results go back to the input's own grid here. Currency between
functions is the nibabel image; 2-D pictures are arrays with row 0 at the top.
"""

import os
from pathlib import Path

import nibabel as nib
import numpy as np

from .doors.limits import check_affine, check_count
from .doors.pictures import PICTURE_SUFFIXES, is_raster, pixels
from .doors.refusals import named, translated
from .errors import ImageError
from .grids import Grid, MarkedVoxels, mark, open_image, resample, same_grid
from .storage.contents import settled_state
from .storage.decompression import voxels
from .storage.files import replacing
from .storage.recently_used import RecentlyUsed

LARGEST_LESION_ML = 1200.0
_MASKS = RecentlyUsed(most_bytes=250_000_000)  # about a thousand lesions

__all__ = [
    "PICTURE_SUFFIXES",
    "as_picture",
    "is_picture",
    "is_raster",
    "mask_volume_ml",
    "read_colours",
    "read_mask",
    "read_picture",
    "read_stored",
    "read_volume",
    "read_voxels",
    "restore_grid",
    "to_grid",
    "to_spacing",
    "voxel_volume_ml",
    "write_image",
]


def is_picture(image):
    """Whether `image` is a 2-D picture (PNG, JPEG, TIFF, or a NIfTI of one slice).

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> is_picture(nib.Nifti1Image(np.ones((4, 5, 1), np.float32), np.eye(4)))
    True
    >>> is_picture(nib.Nifti1Image(np.ones((4, 5, 6), np.float32), np.eye(4)))
    False
    """
    if is_raster(image):
        return True
    return sum(n > 1 for n in open_image(image).shape) == 2


def read_volume(image, *, allow_empty=False):
    """Read a 3-D image in canonical orientation (RAS+) as float32.

    Parameters
    ----------
    image : str, os.PathLike or nibabel spatial image
        Trailing axes of length one are dropped.
    allow_empty : bool, default=False
        Accept an image in which every voxel is zero (a mask may be empty, a scan may not).

    Returns
    -------
    nibabel.Nifti1Image, shape (x, y, z), float32

    Raises
    ------
    ImageError
        If the file is missing, truncated or not an image; if the image is not 3-D; if it holds
        NaN or infinite voxels; if every voxel is zero and `allow_empty` is false.

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> flipped = nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.diag([-2, 2, 2, 1]))
    >>> nib.aff2axcodes(read_volume(flipped).affine)
    ('R', 'A', 'S')
    """
    stored = read_stored(image, allow_empty=allow_empty)
    data = np.asanyarray(stored.dataobj).astype(np.float32, copy=False)
    return nib.Nifti1Image(data, stored.affine)


def read_stored(image, *, allow_empty=False):
    """As `read_volume`, but whole numbers stay in the type of the file, which saves their copy."""
    name = named(image)
    image = open_image(image)
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise ImageError(
            f"{name} has shape {image.shape}, a {len(image.shape)}-D image, where a 3-D image was "
            "expected; keep one volume, for example with nilearn.image.index_img(img, 0)"
        )
    data = read_voxels(image, name).reshape(shape)
    _check_values(data, name, allow_empty)
    axes = nib.io_orientation(image.affine)
    affine = image.affine @ nib.orientations.inv_ornt_aff(axes, shape)
    dtype = data.dtype if data.dtype.itemsize < 8 else np.float32
    return nib.Nifti1Image(nib.apply_orientation(data, axes).astype(dtype, copy=False), affine)


def read_mask(image, *, labels=None):
    """Read a 3-D mask in canonical orientation: uint8, 1 where the image is above 0.5.

    An empty mask is valid: a patient may have no visible lesion. Where the lesion of a file lies is
    kept in this process, up to so many megabytes, so that measuring it again reads nothing.

    Parameters
    ----------
    image : str, os.PathLike or nibabel spatial image
        0 and one other value, or probabilities from 0 to 1.
    labels : int, sequence of int or None, default=None
        Of an image of labels, those that are lesion.

    Raises
    ------
    ImageError
        As `read_volume`; also if it is no mask: a voxel is negative, it holds other grey values
        than those of a mask, or marks more than 1.2 litres.

    Examples
    --------
    >>> shares = np.array([0.0, 0.4, 0.6, 1.0]).reshape(4, 1, 1)
    >>> mask = read_mask(nib.Nifti1Image(shares, np.eye(4)))
    >>> mask.get_data_dtype(), np.asanyarray(mask.dataobj).ravel().tolist()
    (dtype('uint8'), [0, 0, 1, 1])
    >>> parts = nib.Nifti1Image(np.array([0, 1, 2, 4], np.uint8).reshape(4, 1, 1), np.eye(4))
    >>> np.asanyarray(read_mask(parts, labels=[1, 4]).dataobj).ravel().tolist()
    [0, 1, 0, 1]
    """
    labels = None if labels is None else tuple(np.atleast_1d(labels).tolist())
    state = settled_state(image) if isinstance(image, (str, os.PathLike)) else None

    def read():
        stored = read_stored(image, allow_empty=True)
        marked = mark(np.asanyarray(stored.dataobj), named(image), labels)
        return marked.flat, marked.shape, stored.affine

    flat, shape, affine = read() if state is None else _MASKS.get((state, labels), read)
    mask = nib.Nifti1Image(MarkedVoxels(flat, shape), affine.copy())
    ml = mask_volume_ml(mask)
    if ml > LARGEST_LESION_ML:
        raise ImageError(
            f"{named(image)} marks {ml:,.0f} ml, more than 1.2 litres and so most of a brain; give "
            "the mask of the lesion, not of the brain, and not the scan"
        )
    return mask


def read_picture(image, *, allow_empty=False):
    """Read a 2-D image as a grey float32 array, row 0 at the top.

    PNG, JPEG and TIFF files keep their own layout, colours become luminance. A NIfTI of one slice
    is brought to canonical orientation and turned so that the second of its two axes points up and
    the first one right, as viewers show it.

    Parameters
    ----------
    image : str, os.PathLike or nibabel spatial image
    allow_empty : bool, default=False
        Accept a picture that is zero everywhere (a mask may be empty, a scan may not).

    Returns
    -------
    ndarray of shape (rows, columns), float32

    Raises
    ------
    ImageError
        If the file is missing or broken, the image is not 2-D, holds NaN or infinite values, or is
        zero everywhere and `allow_empty` is false.

    Examples
    --------
    >>> voxels = np.arange(6.0).reshape(2, 3, 1)  # to the right, to the front
    >>> read_picture(nib.Nifti1Image(voxels, np.eye(4)))
    array([[2., 5.],
           [1., 4.],
           [0., 3.]], dtype=float32)
    """
    name = named(image)
    if is_raster(image):
        return as_picture(pixels(image), name, allow_empty=allow_empty)
    image = open_image(image)
    if sum(n > 1 for n in image.shape) != 2:
        raise ImageError(
            f"{name} has shape {image.shape} where a 2-D image was expected; give one slice, or "
            "a 3-D column"
        )
    data = read_voxels(image, name).astype(np.float32, copy=False)
    if data.ndim == 2:
        data = data[:, :, None]
    data = data.reshape(data.shape[:3])
    canonical = nib.as_closest_canonical(nib.Nifti1Image(data, image.affine))
    plane = np.squeeze(np.asanyarray(canonical.dataobj))
    return as_picture(plane.T[::-1], name, allow_empty=allow_empty)


def as_picture(array, name="the picture", *, allow_empty=False):
    """Check a 2-D array and return it as contiguous float32; errors as `read_picture`."""
    array = np.ascontiguousarray(array, dtype=np.float32)
    if array.ndim != 2:
        raise ImageError(f"{name} has shape {array.shape} where a 2-D image was expected")
    _check_values(array, name, allow_empty)
    return array


def read_colours(path):
    """Read a PNG, JPEG, TIFF or BMP file with its colours.

    Returns
    -------
    ndarray of shape (rows, columns), float32; of a coloured one (rows, columns, 3), uint8

    Raises
    ------
    ImageError
        If the file is missing or broken.
    """
    return pixels(path, "RGB")


def to_grid(image, grid, *, interpolation="linear"):
    """Resample `image` onto the voxels of `grid`, through world coordinates.

    Parameters
    ----------
    image : nibabel spatial image
    grid : nibabel spatial image or Grid
    interpolation : {"linear", "continuous", "nearest"}, default="linear"
        "nearest" for masks and labels.

    Returns
    -------
    nibabel.Nifti1Image
        `image` itself when it is on that grid already.

    Examples
    --------
    >>> heights = np.array([0.0, 2.0, 4.0]) * np.ones((3, 3, 1))
    >>> coarse = nib.Nifti1Image(heights, np.diag([2, 2, 2, 1]))
    >>> fine = nib.Nifti1Image(np.zeros((5, 5, 5)), np.eye(4))
    >>> to_grid(coarse, fine).get_fdata()[2, 2].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    if same_grid(image, grid):
        return image
    # Turning axes is exact, where resampling loses the border of a flipped copy to rounding.
    axes = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.io_orientation(grid.affine)
    )
    turned = image.as_reoriented(axes)
    if same_grid(turned, grid):
        return turned
    return resample(image, grid, interpolation)


def to_spacing(image, spacing_mm, *, interpolation="nearest"):
    """Resample an image to cubic voxels, over the same field of view.

    Parameters
    ----------
    image : nibabel spatial image, 3-D
    spacing_mm : float
        Edge of the new voxels.
    interpolation : {"linear", "continuous", "nearest"}, default="nearest"
        "nearest" for masks and labels.

    Returns
    -------
    nibabel.Nifti1Image
        `image` itself when its voxels have that size already, to within a hundredth.

    Examples
    --------
    >>> mask = nib.Nifti1Image(np.ones((3, 4, 5), np.uint8), np.diag([2, 1, 1, 1]))
    >>> to_spacing(mask, 1).shape, to_spacing(mask, 1).affine[:3, 3].tolist()
    ((6, 4, 5), [-0.5, 0.0, 0.0])
    """
    edges = np.linalg.norm(image.affine[:3, :3], axis=0)
    if np.allclose(edges, spacing_mm, rtol=0.01):
        return image
    counts = np.maximum(1, np.round(np.multiply(image.shape[:3], edges) / spacing_mm))
    check_count(counts, f"{named(image)}, resampled to {spacing_mm:g} mm,")
    counts = counts.astype(int)
    affine = image.affine @ np.diag([*(spacing_mm / edges), 1])
    # The corner of the field of view stays where it is, so the first voxel's centre moves.
    affine[:3, 3] += (affine[:3, :3] - image.affine[:3, :3]).sum(axis=1) / 2
    grid = Grid(tuple(counts.tolist()), tuple(map(tuple, affine.tolist())))
    return to_grid(image, grid, interpolation=interpolation)


def restore_grid(image, original, *, interpolation="linear"):
    """Bring a result back to the grid, orientation and affine of the image it was made from.

    The inverse of `read_volume` (and of `to_grid`): reorientation is undone exactly, anything else
    is resampled.

    Parameters
    ----------
    image : nibabel spatial image
        A map or mask on any grid in the same world space.
    original : nibabel spatial image or path
    interpolation : {"linear", "continuous", "nearest"}, default="linear"

    Returns
    -------
    nibabel.Nifti1Image
        Shape and affine of `original`.

    Examples
    --------
    >>> stored = nib.Nifti1Image(np.arange(8.0).reshape(2, 2, 2), np.diag([-1, 1, 1, 1]))
    >>> volume = read_volume(stored)
    >>> np.array_equal(volume.get_fdata(), stored.get_fdata())
    False
    >>> np.array_equal(restore_grid(volume, stored).get_fdata(), stored.get_fdata())
    True
    """
    original = open_image(original)
    restored = to_grid(image, Grid.of(original), interpolation=interpolation)
    return nib.Nifti1Image(np.asanyarray(restored.dataobj), original.affine)


def voxel_volume_ml(image):
    """Volume of one voxel in millilitres, from the affine (oblique and sheared grids included).

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> voxel_volume_ml(nib.Nifti1Image(np.zeros((2, 2, 2)), np.diag([2, 2, 2, 1])))
    0.008
    """
    return float(round(abs(np.linalg.det(image.affine[:3, :3])) / 1000, 12))


def mask_volume_ml(mask):
    """Volume of all voxels of a mask that are not zero, millilitres.

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> mask_volume_ml(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.diag([2, 2, 2, 1])))
    1.0
    """
    data = mask.dataobj
    count = len(data.flat) if isinstance(data, MarkedVoxels) else np.count_nonzero(data)
    return float(count * voxel_volume_ml(mask))


def write_image(image, path):
    """Write `image` under `path`, whole or not at all (temporary name, then renamed).

    Folders on the way are made.

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> import tempfile
    >>> mask = nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4))
    >>> path = write_image(mask, Path(tempfile.mkdtemp(), "sub-1", "lesion.nii.gz"))
    >>> read_volume(path).shape
    (2, 2, 2)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        nib.save(image, temporary)
    return path


def read_voxels(image, name=None):
    """The voxels of an opened image as they are stored, after what must hold for any was checked.

    Parameters
    ----------
    image : nibabel spatial image
        As `open_image` gives it.
    name : str, default=None
        For messages; None takes its file's.

    Returns
    -------
    ndarray of the shape of `image`
        Whole numbers in the type of the file, others float32.

    Raises
    ------
    ImageError
        If it is broken or ends early, or its grid is none that a scan of a head has.
    """
    name = named(image) if name is None else name
    check_affine(image.affine, name, image.shape)
    check_count(image.shape[:3], name)
    if 0 in image.shape:
        raise ImageError(f"{name} has no voxels (shape {image.shape})")
    with translated(f"{name} ends early or is corrupt", "copy the file again"):
        data = np.asanyarray(voxels(image))
    # Whole numbers are checked faster before they are converted.
    return data if data.dtype.kind in "iub" else data.astype(np.float32, copy=False)


def _check_values(data, name, allow_empty):
    if data.size == 0:
        raise ImageError(f"{name} has no voxels (shape {data.shape})")
    low, high = data.min(), data.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int(data.size - np.isfinite(data).sum())
        raise ImageError(
            f"{name} holds {count} NaN or infinite voxels; replace them first, for example with "
            'nilearn.image.math_img("np.nan_to_num(img)", img=img)'
        )
    if low == 0 and high == 0 and not allow_empty:
        raise ImageError(
            f"{name} is zero everywhere; check the export, or drop the row; of lesion masks, which "
            "may be empty, say allow_empty=True"
        )
