"""Where the regions of an atlas lie in what a network sees: a mask per region, in that geometry."""

import nibabel as nib
import numpy as np

from imaging.atlases import load_atlas
from imaging.shrinking import shrink_volume

from ..estimators.roi import RoiSymbols
from ..estimators.stitched import StitchedSlices

__all__ = ["region_masks"]

LEAST_PIXELS = 0.5  # a region of which less is seen cannot be swapped


def region_masks(estimator, *, atlas=None, regions=None, symbols=False):
    """Masks of regions in the prepared image of an estimator.

    For `RoiSymbolClassifier` and its regressor a region is its cell of the canvas. For stitched
    slices and volumes the labels of the atlas are stitched or shrunk as the scans are, so that a
    pixel may belong to two regions in part.

    Parameters
    ----------
    estimator : fitted image estimator
    atlas : Atlas, or whatever `imaging.load_atlas` opens, default=None
        None: the estimator's own, else "aal".
    regions : list of str or dict of str to array, default=None
        Names of regions; None takes all that the network sees. A dict brings masks of its own, of
        the spatial shape of the prepared image, values from 0 to 1.
    symbols : bool, default=False
        Also the cells of the symbols.

    Returns
    -------
    dict of str to ndarray of the spatial shape of the prepared image, float32
        Values from 0 to 1; nowhere do they add up to more than 1.

    Raises
    ------
    AtlasError
        If a region is unknown.
    ValueError
        If a region is not in the picture, or there are no regions at all.

    Examples
    --------
    >>> from prognosis import RoiSymbolClassifier, make_stroke_cohort
    >>> X, y = make_stroke_cohort(12, resolution_mm=8, random_state=0)
    >>> cnn = RoiSymbolClassifier("t1w", regions=2, mosaic_size=32, epochs=1).fit(X, y)
    >>> {name: mask.shape for name, mask in region_masks(cnn).items()}
    {'Temporal_Sup_L': (32, 32), 'Temporal_Mid_L': (32, 32)}
    """
    shape = estimator.image_shape_[1:]
    if isinstance(regions, dict):
        masks = {name: _checked(name, mask, shape) for name, mask in regions.items()}
    elif _kind(estimator) == "roi" and atlas is None:
        masks = _from_cells(estimator._brain_cells(), regions, shape)
    else:
        masks = _from_atlas(estimator, atlas, regions, shape)
    if symbols:
        cells = getattr(estimator, "cells_", {}) if _kind(estimator) != "volume" else {}
        brain = {"brain", *(estimator._brain_cells() if cells else ())}
        masks |= _from_cells({k: v for k, v in cells.items() if k not in brain}, None, shape)
    if not masks:
        raise ValueError("there is no region to swap; name regions that the network sees")
    return masks


def _kind(estimator):
    named = getattr(estimator, "branch", None)
    if named is not None:
        return named
    if isinstance(estimator, RoiSymbols):
        return "roi"
    return "stitched" if isinstance(estimator, StitchedSlices) else "volume"


def _from_cells(cells, regions, shape):
    regions = list(cells) if regions is None else _listed(regions)
    missing = [name for name in regions if name not in cells]
    if missing:
        raise ValueError(f"region {missing[0]!r} has no cell in the picture; it has {list(cells)}")
    masks = {name: np.zeros(shape, np.float32) for name in regions}
    for name, mask in masks.items():
        mask[cells[name]] = 1
    return masks


def _from_atlas(estimator, atlas, regions, shape):
    if estimator.grid_.affine is None:
        raise ValueError(
            "2-D pictures lie in no space, so no atlas fits them; give regions as a dict of "
            f"masks of shape {shape}"
        )
    atlas = load_atlas(getattr(estimator, "atlas", "aal") if atlas is None else atlas)
    grid = estimator.grid_.image()
    labels = atlas.labels_on(grid)
    if regions is not None:
        atlas.labels_of(_listed(regions))
    order = {name: number for number, name in enumerate(atlas.regions, start=1)}
    present = np.bincount(labels.ravel(), minlength=len(order) + 1) > 0
    masks = {}
    for name in atlas.regions if regions is None else _listed(regions):
        seen = np.zeros(shape, np.float32)
        if present[order[name]]:
            mask = nib.Nifti1Image((labels == order[name]).astype(np.float32), grid.affine)
            picture = _as_seen(estimator, mask)
            seen[tuple(slice(0, n) for n in picture.shape)] = picture
        if seen.sum() >= LEAST_PIXELS:
            masks[name] = seen
        elif regions is not None:
            raise ValueError(f"the network does not see region {name!r}; leave it out of regions")
    return masks


def _as_seen(estimator, mask):
    """A volume brought into the picture as the scans are, without the scaling of intensities."""
    kind = _kind(estimator)
    if kind == "volume":
        return np.asarray(shrink_volume(mask, float(estimator.spacing_mm)).dataobj)
    mosaic = estimator.mosaic_
    return mosaic.pack(mask) if kind == "roi" else mosaic.stitch(mask)


def _checked(name, mask, shape):
    mask = np.asarray(mask, dtype=np.float32)
    if mask.shape != tuple(shape):
        raise ValueError(
            f"the mask of region {name!r} has shape {mask.shape}; the network sees {tuple(shape)}"
        )
    if not (np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1):
        raise ValueError(f"the mask of region {name!r} has values outside 0 to 1; rescale it")
    return mask


def _listed(regions):
    return [regions] if isinstance(regions, str) else list(regions)
