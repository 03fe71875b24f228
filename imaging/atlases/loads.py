"""How much of each region of an atlas a lesion takes.

The atlas is brought to the voxels of the mask, never the reverse.
"""

import numpy as np

from ..grids import true_voxels
from ..volumes import read_mask
from .opening import load_atlas

__all__ = ["region_load"]


def region_load(mask, atlas):
    """Fraction of each region that a lesion takes.

    The atlas is brought to the voxels of the mask, never the reverse, and kept for the next mask on
    the same grid.

    Parameters
    ----------
    mask : str, os.PathLike or nibabel spatial image
        Lesion mask in the space of the atlas; above 0.5 is lesion.
    atlas : Atlas, or whatever `load_atlas` opens

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
        If the mask cannot be read.

    Examples
    --------
    >>> aal = load_atlas("aal")
    >>> loads = region_load(aal.region_mask("Insula_L"), aal)
    >>> loads["Insula_L"], loads["Insula_R"]
    (1.0, 0.0)
    """
    atlas = load_atlas(atlas)
    mask = read_mask(mask)
    labels, sizes = atlas.labels_on(mask), atlas.sizes_on(mask)
    lesioned = true_voxels(np.asanyarray(mask.dataobj))
    hit = np.bincount(labels[lesioned], minlength=len(sizes))
    return dict(zip(atlas.regions, (hit / np.maximum(sizes, 1))[1:].tolist()))
