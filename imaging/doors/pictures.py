"""Picture files: PNG, JPEG, TIFF and BMP, whose pixels lie nowhere in space."""

import os
import warnings

import numpy as np

from ..errors import ImageError
from .limits import MOST_PIXELS, check_count
from .refusals import existing_file, translated

__all__ = ["PICTURE_SUFFIXES", "is_raster", "pixels"]

_GREY = ("L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_RASTERS = ("PNG", "JPEG", "TIFF", "BMP")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def is_raster(image):
    """Whether `image` is the path of a PNG, JPEG, TIFF or BMP file, which lies nowhere in space.

    Examples
    --------
    >>> is_raster("sections/sub-1.PNG"), is_raster("sub-1_T1w.nii.gz")
    (True, False)
    """
    named = isinstance(image, (str, os.PathLike))
    return named and str(image).lower().endswith(PICTURE_SUFFIXES)


def pixels(path, mode="L"):
    """The pixels of a picture file.

    Parameters
    ----------
    path : str or os.PathLike
    mode : {"L", "RGB"}
        What a coloured one becomes.

    Returns
    -------
    ndarray of shape (rows, columns), float32; with "RGB", of a coloured one (rows, columns, 3),
    uint8

    Raises
    ------
    ImageError
        If there is no such file, it is broken, too large, or holds several pictures.
    """
    from PIL import Image

    path = existing_file(path)
    with (
        translated(f"{str(path)!r} cannot be read as a picture", "copy it again"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # counted here
        with Image.open(path, formats=_RASTERS) as picture:
            check_count(picture.size[::-1], repr(str(path)), "pixels", MOST_PIXELS)
            if getattr(picture, "n_frames", 1) > 1:
                raise ImageError(
                    f"{str(path)!r} holds {picture.n_frames} pictures; save the one that is meant "
                    "by itself"
                )
            if picture.mode in _GREY:
                return np.asarray(picture).astype(np.float32)
            return np.asarray(picture.convert(mode), dtype=np.float32 if mode == "L" else None)
