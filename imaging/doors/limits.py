"""What an image of a head can be, checked before any memory is asked for.

What a header promises is compared with the length of the file; sizes, voxels, units and kinds of
numbers with what there is.
"""

import math
import os
import struct
from pathlib import Path

import numpy as np

from ..errors import ImageError

__all__ = ["MOST_PIXELS", "MOST_VOXELS", "check_affine", "check_count", "check_header"]

# What a brain image can be. The finest scan of a whole brain in a living person, .25 mm, has half
# as many voxels; a computer of today holds them.
MOST_VOXELS = 1_000_000_000
MOST_PIXELS = 100_000_000
MOST_ALONG = 32_767  # the most that a NIfTI header can say
SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 0.01, 50.0
LARGEST_FIELD_MM = 3000.0  # a whole body
_LAST_SPACE = 5  # of the codes that NIfTI defines

# How many bytes one byte of a file can become: deflate's bound, and generous ones of the others.
_DEFLATE, _BZIP2, _ZSTD = 1032, 50_000, 50_000
_RATIOS = {
    ".gz": _DEFLATE,
    ".mgz": _DEFLATE,
    ".mnc": _DEFLATE,  # HDF5 may compress within
    ".bz2": _BZIP2,
    ".zst": _ZSTD,
}


def check_count(shape, name, what="voxels", most=MOST_VOXELS):
    """Refuse a shape that no image of a head has, before anything of that size is made.

    Raises
    ------
    ImageError

    Examples
    --------
    >>> check_count((1200, 1200, 1200), "the image")
    Traceback (most recent call last):
        ...
    imaging.errors.ImageError: the image has 1200 x 1200 x 1200 voxels, more than 1,000,000,000,
    which no image of a head has; check how it was made
    """
    shape = [int(n) for n in shape]
    least, longest = min(shape, default=0), max(shape, default=0)
    if least < 0 or longest > MOST_ALONG or math.prod(shape) > most:
        size = " x ".join(map(str, shape))
        why = f", more than {most:,}" if least >= 0 and longest <= MOST_ALONG else ""
        raise ImageError(
            f"{name} has {size} {what}{why}, which no image of a head has; check how it was made"
        )


def check_affine(affine, name, shape=()):
    """Refuse an affine that cannot be inverted, or whose voxels no scan of a head has.

    Raises
    ------
    ImageError
    """
    affine = np.asarray(affine, dtype=float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ImageError(f"{name} has an affine that cannot be inverted; repair its header")
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if edges.min() < SMALLEST_VOXEL_MM or edges.max() > LARGEST_VOXEL_MM:
        size = " x ".join(f"{edge:.4g}" for edge in edges)
        raise ImageError(
            f"{name} has voxels of {size} mm where {SMALLEST_VOXEL_MM:g} to {LARGEST_VOXEL_MM:g} "
            "mm were expected; correct its header, or convert it to millimetres"
        )
    fields = edges[: len(shape[:3])] * shape[:3]
    if fields.max(initial=0) > LARGEST_FIELD_MM:
        raise ImageError(
            f"{name} is {fields.max():,.0f} mm long, more than a body; correct the size of the "
            "voxels in its header"
        )
    if np.abs(affine[:3, 3]).max() > 1e5:
        raise ImageError(
            f"{name} lies {np.abs(affine[:3, 3]).max():.3g} mm from the origin, far from every "
            "scanner; correct its header"
        )


def check_header(image, name):
    """Refuse what a header says and no voxel could mend: units, kinds of numbers, promised length.

    Parameters
    ----------
    image : nibabel spatial image
        No voxel of it is read.
    name : str

    Raises
    ------
    ImageError
        If lengths are not in millimetres, voxels are complex or coloured, or the file is shorter
        than its header promises.
    """
    _check_sides(image, name)
    _check_units(image, name)
    _check_space_codes(image, name)
    dtype = _stored_dtype(image)
    if dtype.kind == "c":
        raise ImageError(
            f"{name} holds complex numbers; give one image of them, for example the magnitude: "
            "nibabel.Nifti1Image(abs(np.asanyarray(img.dataobj)), img.affine)"
        )
    if dtype.names is not None:
        raise ImageError(
            f"{name} holds colours ({', '.join(dtype.names)}); give the scan in grey, or the mask "
            "or labels as numbers"
        )
    if dtype.kind not in "iufb":
        raise ImageError(f"{name} holds {dtype} where numbers were expected; convert it")
    _check_length(image, dtype, name)


def _check_sides(image, name):
    """Refuse Analyze files that do not say which side is left; some NIfTI are read as such."""
    from nibabel.analyze import AnalyzeImage
    from nibabel.nifti1 import Nifti1Pair

    if not isinstance(image, AnalyzeImage) or isinstance(image, Nifti1Pair):
        return
    named = [holder.filename for holder in image.file_map.values() if holder.filename is not None]
    matrix = image.file_map.get("mat")
    if named and (matrix is None or not os.path.isfile(str(matrix.filename))):
        raise ImageError(
            f"{name} is an Analyze file, which does not say which side is left (or a NIfTI file "
            "with a damaged header); convert it to NIfTI where that is known"
        )


_OTHER_UNITS = {1: ("meter", "1000"), 3: ("micron", "0.001")}


def _check_units(image, name):
    try:
        code = int(image.header["xyzt_units"]) & 7  # the rest is the unit of time
    except (KeyError, TypeError, ValueError):  # of another format, whose unit is the millimetre
        return
    if code in _OTHER_UNITS:
        unit, factor = _OTHER_UNITS[code]
        raise ImageError(
            f"{name} says that its lengths are in {unit}s where millimetres were expected; if that "
            "is so, convert it: nibabel.Nifti1Image(img.dataobj, np.diag(3 * "
            f"[{factor}] + [1]) @ img.affine); if not, img.header.set_xyzt_units('mm')"
        )


def _check_space_codes(image, name):
    """Refuse a stated affine whose code means nothing: nibabel would take another one instead."""
    from nibabel.nifti1 import Nifti1Pair
    from nibabel.nifti2 import Nifti2Pair
    from nibabel.openers import ImageOpener

    holder = image.file_map.get("header") or image.file_map.get("image")
    if not isinstance(image, Nifti1Pair) or holder is None or holder.filename is None:
        return
    if image.header["sform_code"] != 0 or not getattr(image.dataobj, "is_proxy", False):
        return
    offset, layout = (344, "2i") if isinstance(image, Nifti2Pair) else (252, "2h")
    layout = image.header.endianness + layout
    with ImageOpener(holder.filename) as file:
        raw = file.read(offset + struct.calcsize(layout))
    qform, sform = struct.unpack_from(layout, raw, offset)
    for kind, code in (("sform", sform), ("qform", qform)):
        if not 0 <= code <= _LAST_SPACE:
            raise ImageError(
                f"{name} states where it lies by an affine of {kind}_code {code}, which means "
                "nothing; if the affine is right, set the code to 1: img.set_sform(affine, 1)"
            )


def _stored_dtype(image):
    dtype = getattr(image.dataobj, "dtype", None)
    return image.get_data_dtype() if dtype is None else np.dtype(dtype)


def _check_length(image, dtype, name):
    """Compare what a header promises with the files: no voxel of more can be in them."""
    shape = tuple(int(n) for n in image.shape)
    if any(n < 0 for n in shape):
        check_count(shape, name)
    if not getattr(image.dataobj, "is_proxy", False):
        return
    files = {
        str(holder.filename) for holder in image.file_map.values() if holder.filename is not None
    }
    held = sum(
        os.stat(file).st_size * _RATIOS.get(Path(file).suffix.lower(), 1)
        for file in files
        if os.path.isfile(file)
    )
    promised = dtype.itemsize * math.prod(shape)
    if files and promised > held:
        raise ImageError(
            f"{name} ends early: its header promises {' x '.join(map(str, shape))} voxels, "
            f"{promised:,} bytes, and the file can hold {held:,} at most; copy the file again"
        )
