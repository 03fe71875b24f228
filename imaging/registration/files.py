"""Transforms as files: an ITK text affine, NIfTI displacement fields, and a card of plain words.

ANTs, ITK and 3D Slicer read them: ``antsApplyTransforms -r template -i scan -t STEM_warp.nii.gz -t
STEM_affine.txt`` gives what `Transform.to_template` gives. Their axes point left and back (LPS).
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from ..errors import ImageError
from ..grids import Grid, open_image
from ..storage.files import replacing
from .transform import Transform, Warp

__all__ = ["load_transform", "save_transform", "transform_files"]

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_STEP = 1 / 128  # mm; what is rounded to it is packed far smaller
VERSION = 1


def transform_files(stem):
    """Names of the files of a transform: dict of "affine", "warp", "inverse" and "card" to path.

    Parameters
    ----------
    stem : str or os.PathLike
        Folder and beginning of the names.
    """
    endings = {
        "affine": "_affine.txt",
        "warp": "_warp.nii.gz",
        "inverse": "_inversewarp.nii.gz",
        "card": "_transform.json",
    }
    return {key: Path(f"{stem}{ending}") for key, ending in endings.items()}


def save_transform(transform, stem):
    """Write a transform.

    Parameters
    ----------
    transform : Transform
    stem : str or os.PathLike
        Folders on the way are made.

    Returns
    -------
    dict of str to pathlib.Path
        The files written; of an affine alone two.
    """
    names = transform_files(stem)
    names["card"].parent.mkdir(parents=True, exist_ok=True)
    with replacing(names["affine"]) as temporary:
        temporary.write_text(_itk_text(transform.affine), encoding="ascii")
    kept = ["affine", "card"]
    if transform.warp is not None:
        for key, vectors in (
            ("warp", transform.warp.to_scan),
            ("inverse", transform.warp.to_template),
        ):
            with replacing(names[key]) as temporary:
                nib.save(_displacement(vectors, transform.warp.grid), temporary)
            kept.append(key)
    card = {
        "format": VERSION,
        "warped": transform.warp is not None,
        "conventions": "ITK: points of the template to points of the scan, LPS, mm",
        "about": transform.about,
    }
    with replacing(names["card"]) as temporary:
        temporary.write_text(json.dumps(card, indent=1), encoding="utf-8")
    return {key: names[key] for key in kept}


def load_transform(stem):
    """Read what `save_transform` wrote.

    Parameters
    ----------
    stem : str or os.PathLike

    Returns
    -------
    Transform

    Raises
    ------
    ImageError
        If a file is missing, or is not what was written.
    """
    names = transform_files(stem)
    try:
        card = json.loads(names["card"].read_text(encoding="utf-8"))
        affine = _from_itk_text(names["affine"].read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ImageError(f"no transform at {str(stem)!r} ({error}); register the scan again") from (
            error
        )
    if card.get("format") != VERSION:
        raise ImageError(
            f"{str(names['card'])!r} is of format {card.get('format')!r}, this version reads "
            f"{VERSION}; register the scan again"
        )
    warp = None
    if card["warped"]:
        images = [open_image(names[key]) for key in ("warp", "inverse")]
        vectors = [_vectors(image, names["warp"]) for image in images]
        shape = images[0].shape[:3]
        grid = Grid(shape, tuple(map(tuple, images[0].affine.tolist())))
        warp = Warp(grid, *vectors)
    return Transform(affine, warp, card["about"])


def _displacement(vectors, grid):
    """A field as ITK writes it: five dimensions, the intent "vector", axes to the left and back."""
    turned = vectors.astype(np.float32) * np.array([-1, -1, 1], np.float32)
    turned = np.round(turned / _STEP) * np.float32(_STEP)
    image = nib.Nifti1Image(turned[:, :, :, None], grid.affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    return image


def _vectors(image, path):
    if len(image.shape) != 5 or image.shape[3:] != (1, 3):
        raise ImageError(
            f"{str(path)!r} has shape {image.shape} where (x, y, z, 1, 3) was expected; register "
            "the scan again"
        )
    return np.asanyarray(image.dataobj)[:, :, :, 0] * np.array([-1, -1, 1], np.float32)


def _itk_text(affine):
    matrix = _FLIP @ np.linalg.inv(affine) @ _FLIP
    numbers = " ".join(f"{value:.12g}" for value in (*matrix[:3, :3].ravel(), *matrix[:3, 3]))
    return (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )


def _from_itk_text(text):
    line = next(line for line in text.splitlines() if line.startswith("Parameters:"))
    numbers = np.array(line.split()[1:], dtype=float)
    if len(numbers) != 12:
        raise ValueError(f"{len(numbers)} parameters where 12 were expected")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = numbers[:9].reshape(3, 3), numbers[9:]
    return np.linalg.inv(_FLIP @ matrix @ _FLIP)
