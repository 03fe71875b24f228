"""Where the regions of an atlas lie in what a network sees: a mask per region, in that geometry."""

import numpy as np

from imaging.atlases import load_atlas

__all__ = ["region_masks"]


def region_masks(estimator, *, atlas=None, regions=None, symbols=False):
    """Masks of regions in the prepared image of an estimator.

    For `RoiSymbolClassifier` and its regressor a region is its cell of the canvas. For stitched
    slices and volumes the labels of the atlas are stitched or shrunk as the scans are, so that a
    pixel may belong to two regions in part.

    Parameters
    ----------
    estimator : fitted image estimator
        Whatever has a `view_` and an `image_shape_`.
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
    >>> X, y = make_stroke_cohort(12, spacing_mm=8, random_state=0)
    >>> cnn = RoiSymbolClassifier("t1w", regions=2, mosaic_size=32, epochs=1).fit(X, y)
    >>> {name: mask.shape for name, mask in region_masks(cnn).items()}
    {'Temporal_Sup_L': (32, 32), 'Temporal_Mid_L': (32, 32)}
    """
    shape, view = estimator.image_shape_[1:], estimator.view_
    if isinstance(regions, dict):
        masks = {name: _checked(name, mask, shape) for name, mask in regions.items()}
    elif atlas is None and view.region_cells():
        masks = _from_cells(view.region_cells(), regions, shape)
    else:
        masks = _from_atlas(view, "aal" if atlas is None else atlas, regions, shape)
    if symbols:
        masks |= _from_cells(view.symbol_cells(), None, shape)
    if not masks:
        raise ValueError("there is no region to swap; name regions that the network sees")
    return masks


def _from_cells(cells, regions, shape):
    regions = list(cells) if regions is None else _listed(regions)
    missing = [name for name in regions if name not in cells]
    if missing:
        raise ValueError(f"region {missing[0]!r} has no cell in the picture; it has {list(cells)}")
    masks = {name: np.zeros(shape, np.float32) for name in regions}
    for name, mask in masks.items():
        mask[cells[name]] = 1
    return masks


def _from_atlas(view, atlas, regions, shape):
    place = view.place()
    if place.is_picture:
        raise ValueError(
            "2-D pictures lie in no space, so no atlas fits them; give regions as a dict of "
            f"masks of shape {shape}"
        )
    atlas = load_atlas(atlas)
    found = place.region_weights(atlas)
    columns = {name: number for number, name in enumerate(found.names)}
    if regions is not None:
        regions = _listed(regions)
        atlas.labels_of(regions)
        hidden = [name for name in regions if name not in columns]
        if hidden:
            raise ValueError(
                f"the network does not see region {hidden[0]!r}; leave it out of regions"
            )
    masks = {}
    for name in found.names if regions is None else regions:
        masks[name] = np.zeros(shape, np.float32)
        weights = found.weights[:, [columns[name]]].toarray()
        brain = view.brain(masks[name])
        brain[:] = weights.reshape(brain.shape)
    return masks


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
