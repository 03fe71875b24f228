"""An image and the names of its labels, put together into an atlas or refused.

Maps of probabilities become labels: the most probable region, where it is probable enough.
"""

import nibabel as nib
import numpy as np

from ..errors import AtlasError, ImageError
from ..grids import open_image
from ..volumes import read_voxels
from .atlas import Atlas
from .tables import distinct

__all__ = ["assemble"]

LEAST_PROBABILITY_PERCENT = 25


def assemble(maps, names, name):
    try:
        image = open_image(maps)
        data = read_voxels(image, repr(name))
        if isinstance(data, np.memmap):  # the file may be written to while the atlas is in use
            data = np.array(data)
    except ImageError as error:
        raise AtlasError(f"atlas {name!r}: {error}") from error
    if data.ndim == 4 and data.shape[3] > 1:
        first = min(names, default=0)
        if len(names) != data.shape[3]:
            names = {label: text for label, text in names.items() if text.lower() != "background"}
            first = min(names, default=0)
        if sorted(names) != list(range(first, first + data.shape[3])):
            raise AtlasError(
                f"atlas {name!r} has {data.shape[3]} maps and {len(names)} names; correct its table"
            )
        # The tables of 4-D atlases number the maps; as labels they start at 1, 0 is background.
        names = {label - first + 1: text for label, text in sorted(names.items())}
        data = _most_probable(data, name)
    elif data.ndim != 3:
        data = data.reshape(data.shape[:3])
    if data.dtype.kind == "f":
        if not np.array_equal(data, np.round(data)):
            raise AtlasError(
                f"atlas {name!r} holds fractions where whole numbers (labels) were expected; "
                "give the label image, not a scan or a probability map"
            )
        data = data.astype(np.int32)
    if data.min(initial=0) < 0:
        raise AtlasError(f"atlas {name!r} holds negative labels; number its regions from 1")
    names = {int(label): text for label, text in names.items() if label > 0}
    present = np.unique(data)
    if not names or not np.isin(present, list(names)).any():
        raise AtlasError(
            f"atlas {name!r}: none of the labels in the image ({present[:5].tolist()}, ...) has a "
            "name; image and table do not belong together"
        )
    return Atlas(nib.Nifti1Image(data, image.affine), distinct(names), name)


def _most_probable(maps, name):
    """Index of the most probable map + 1, 0 where none reaches the threshold."""
    low, high = maps.min(), maps.max()
    if low < 0 or high > 100:
        raise AtlasError(
            f"atlas {name!r} is 4-D with values from {low:.4g} to {high:.4g} where probabilities "
            "(0-1, or 0-100 %) were expected; give a label image"
        )
    least = LEAST_PROBABILITY_PERCENT / (1 if high > 1 else 100)
    highest = np.zeros(maps.shape[:3], maps.dtype)
    labels = np.zeros(maps.shape[:3], np.uint16)
    for label in range(1, maps.shape[3] + 1):  # map by map: they fill hundreds of megabytes
        here = maps[..., label - 1]
        labels[here > highest] = label
        np.maximum(highest, here, out=highest)
    labels[highest < least] = 0
    return labels
