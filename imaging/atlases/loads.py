"""How much of each region of an atlas a lesion takes.

The atlas is brought to the voxels of the mask, never the reverse.
"""

import numpy as np

from ..grids import marked_places
from ..spaces.checking import read_placed_mask, refuse_wrong
from .opening import load_atlas

__all__ = ["loads_of", "region_load"]


def region_load(mask, atlas, *, labels=None, space="template"):
    """Fraction of each region that a lesion takes.

    The atlas is brought to the voxels of the mask, never the reverse, and kept for the next mask on
    the same grid.

    Parameters
    ----------
    mask : str, os.PathLike or nibabel spatial image
        Lesion mask in the space of the atlas; above 0.5 is lesion.
    atlas : Atlas, or whatever `load_atlas` opens
    labels : int, sequence of int or None, default=None
        Where the mask holds labels, those that are lesion.
    space : {"template", "native"}, default="template"
        "template": a mask that cannot lie in the space of an atlas in template space is refused,
        see `imaging.check_space`. "native": it is not looked at, for atlases and masks in a space
        of their own.

    Returns
    -------
    dict of str to float
        Region name to lesioned voxels / voxels of the region on this grid, in [0, 1]. A region
        that the grid does not reach is 0: no damage to it was seen.

    Raises
    ------
    AtlasError
        If no region lies within the mask's grid.
    ImageError
        If the mask cannot be read, or cannot lie in template space.

    Examples
    --------
    >>> aal = load_atlas("aal")
    >>> loads = region_load(aal.region_mask("Insula_L"), aal)
    >>> loads["Insula_L"], loads["Insula_R"]
    (1.0, 0.0)
    """
    atlas = load_atlas(atlas)
    checked = space == "template" and atlas.in_template
    mask, verdict = read_placed_mask(mask, labels=labels, checked=checked)
    refuse_wrong(verdict)
    return loads_of(mask, atlas)


def loads_of(mask, atlas):
    """As `region_load`, of a mask that `read_mask` has read, and an `Atlas`; nothing is checked."""
    labels, sizes = atlas.labels_on(mask), atlas.sizes_on(mask)
    hit = np.bincount(labels[marked_places(mask)], minlength=len(sizes))
    return dict(zip(atlas.regions, (hit / np.maximum(sizes, 1))[1:].tolist()))
