"""Which pixels are hidden together: regions of an atlas, symbols, or square patches."""

import numpy as np

__all__ = ["occlusion_features"]

ELSEWHERE = "elsewhere"
PATCHES = 8  # along each side of a 2-D picture
LEAST_SHARE = 0.5  # of a pixel that belongs to regions; below, it is elsewhere


def occlusion_features(view, image_shape, atlas):
    """Number every pixel by what it shows.

    Parameters
    ----------
    view : View
        Fitted.
    image_shape : tuple of int
        Channels and spatial shape of what the networks see.
    atlas : Atlas
        Not looked at for 2-D pictures.

    Returns
    -------
    features : ndarray of int, shape (1, *image_shape)
        The same in all channels; 0 is everything outside regions.
    names : list of str
        What each number stands for: "elsewhere", regions (or patches), then symbols.
    """
    channels, *shape = image_shape
    features = np.zeros(shape, np.int64)
    brain, place = view.brain(features), view.place()
    if place.is_picture:
        across = [np.arange(n) * PATCHES // n for n in brain.shape]
        brain[:] = 1 + across[0][:, None] * PATCHES + across[1][None]
        patches = [(row, column) for row in range(PATCHES) for column in range(PATCHES)]
        names = [ELSEWHERE, *(f"patch {row + 1}, {column + 1}" for row, column in patches)]
    else:
        regions = place.region_weights(atlas)
        dense = regions.weights.tocsr()
        share = np.asarray(dense.sum(axis=1)).ravel()
        # the region of the largest share, without a dense matrix of all voxels and regions
        best = np.asarray(dense.argmax(axis=1)).ravel() + 1
        brain[:] = np.where(share >= LEAST_SHARE, best, 0).reshape(brain.shape)
        names = [ELSEWHERE, *regions.names]
    for name, cell in view.symbol_cells().items():
        features[cell] = len(names)
        names.append(name)
    return np.ascontiguousarray(np.broadcast_to(features, (1, channels, *shape))), names
