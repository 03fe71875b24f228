"""Atlases of white matter: where their images are found, and what their labels are called.

The images do not ship with this package. They are looked for on this computer, then fetched from
the Debian package that holds them, and only labels that are known voxel by voxel get our names.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import platformdirs

from ..errors import AtlasError, ImageError
from ..grids import open_image
from ..volumes import read_voxels
from .assembling import assemble
from .fetching import DEBIAN_URLS, fetch_templates
from .tables import read_table

__all__ = ["WHITE_MATTER", "load_white_matter"]

DEBIAN_FOLDER = Path("/usr/share/mricron/templates")  # of the package mricron-data
TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class _Known:
    """One atlas: its file, a hash of its labels, its table, and whether Debian packages it."""

    file: str
    labels_sha256: str
    table: str
    packaged: bool = True
    affine: tuple | None = None  # where the file's own is wrong


WHITE_MATTER = {
    "natbrainlab": _Known(
        "natbrainlab.nii.gz",
        "5bb96d3c5826ea389d542d7c9252d903b3b4422c6c2ec016fd9e7b4d0b0d95cf",
        "natbrainlab.csv",
    ),
    "jhu": _Known(
        "jhu.nii.gz",
        "7031a29ffaf597e381a8e817b7813b862afebf7516b07ea1eb3dad2608ffc925",
        "jhu.csv",
        packaged=False,
    ),
    "jhu189": _Known(
        "jhu189.nii.gz",
        "0c43da69a34d9754c32d9dc1f0cfaa48cafa2cfd9be464dfbdcbaba3bc4ec64b",
        "jhu.csv",
    ),
    "jhu-white-matter": _Known(
        "JHU-WhiteMatter-labels-1mm.nii.gz",
        "c5d7d867c7fab7b06da6b104641e0edf403006c6d69cbc14d93ae9bf0501ab7e",
        "jhu-white-matter.csv",
        # The file says that x grows with the first index, which puts every region of the table
        # that ends in _R to the left. FSL's own affine of these voxels, which follows, puts them
        # right, and then they meet the regions of "jhu" better than their mirror images do.
        affine=((-1, 0, 0, 90), (0, 1, 0, -126), (0, 0, 1, -72), (0, 0, 0, 1)),
    ),
}


def load_white_matter(name):
    """Open one of `WHITE_MATTER`.

    Looked for in ``atlases`` of the folder that the environment variable PROGNOSIS_DATA names (else
    of ``../shared/datasets`` beside the checkout), then where Debian's package ``mricron-data``
    puts it, then in the user's cache folder, into which it is fetched from Debian's server if it is
    nowhere else.

    Parameters
    ----------
    name : {"natbrainlab", "jhu", "jhu189", "jhu-white-matter"}

    Returns
    -------
    Atlas

    Raises
    ------
    AtlasError
        If the image is nowhere and cannot be fetched, or holds other labels than those that the
        names belong to.
    """
    known = WHITE_MATTER[name]
    path = _found(known)
    if path is None and not known.packaged:
        raise AtlasError(
            f"atlas {name!r} was not found: {known.file} of the repository neurolabusc/NiiStat is "
            f"looked for in {', '.join(map(str, _folders()))}; put it into one of them, or use "
            "'jhu189', the same regions as Debian packages them"
        )
    if path is None:
        wanted = [one.file for one in WHITE_MATTER.values() if one.packaged]
        try:
            path = fetch_templates(_cache(), wanted, urls=DEBIAN_URLS) / known.file
        except OSError as error:
            raise AtlasError(
                f"atlas {name!r} is not on this computer and could not be fetched ({error}); "
                "install Debian's package mricron-data (apt-get install mricron-data), or put "
                f"{known.file} into {str(_cache())!r}"
            ) from error
    try:
        image = open_image(path)
        labels = np.asarray(read_voxels(image))
    except ImageError as error:
        raise AtlasError(f"atlas {name!r}: {error}") from error
    if hashlib.sha256(labels.tobytes(order="F")).hexdigest() != known.labels_sha256:
        raise AtlasError(
            f"{str(path)!r} holds other labels than the atlas {name!r} whose regions are named "
            "here; remove it, or load it by its path with a table of its own beside it"
        )
    affine = image.affine if known.affine is None else np.array(known.affine, dtype=float)
    return assemble(nib.Nifti1Image(labels, affine), read_table(TABLES / known.table), name)


def _found(known):
    candidates = (folder / known.file for folder in _folders())
    return next((path for path in candidates if path.is_file()), None)


def _folders():
    if os.environ.get("PROGNOSIS_DATA"):
        data = Path(os.environ["PROGNOSIS_DATA"]).expanduser()
    else:
        data = Path(__file__).resolve().parents[3] / "shared" / "datasets"
    return [data / "atlases", DEBIAN_FOLDER, _cache()]


def _cache():
    return platformdirs.user_cache_path("prognosis-mri") / "atlases"
