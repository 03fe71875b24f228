"""The warp of a brain to the template's: dipy's symmetric registration, the lesion out of its cost.

Both pictures are made of tissues, so they have one contrast (`template.tissue_picture`), and both
lie on the template's grid, the affine behind them.

Notes
-----
Symmetric diffeomorphic registration (Avants et al. 2008, doi 10.1016/j.media.2007.06.004) by local
cross-correlation, as dipy implements it. dipy's knows no mask: here the forces of voxels near the
lesion are left out and those around it are spread into it, so that the lesion follows the brain.
"""

import logging
from contextlib import contextmanager

import numpy as np
from scipy import ndimage

from .transform import Warp

__all__ = ["warp_to_template"]

RADIUS = 3  # voxels of the window within which pictures are correlated
ITERATIONS = (30, 30, 12)  # coarse to fine
SMOOTH = 2.0  # of every step, voxels
_LEAST = 0.02  # weight below which no voxel nearby has a say


def warp_to_template(template, picture, grid, *, lesion=None, iterations=ITERATIONS):
    """The warp between the template's picture and one that an affine has brought to it.

    Parameters
    ----------
    template, picture : ndarray of shape (x, y, z)
        Of equal contrast, on `grid`.
    grid : Grid
        In template space.
    lesion : ndarray of bool of the same shape, default=None
        What is left out, as it lies on `picture`.
    iterations : sequence of int
        Coarse to fine.

    Returns
    -------
    Warp

    Examples
    --------
    >>> from .template import template_maps
    >>> maps = template_maps(8.0)
    >>> warp = warp_to_template(maps.picture, maps.picture, maps.grid, iterations=(2,))
    >>> bool(np.abs(warp.to_scan).max() < 0.5)  # it is there already
    True
    """
    from dipy.align.imwarp import SymmetricDiffeomorphicRegistration

    template = np.ascontiguousarray(template, dtype=np.float32)
    picture = np.ascontiguousarray(picture, dtype=np.float32)
    if lesion is not None and lesion.any():
        picture = np.where(lesion, template, picture)  # nothing foreign in the windows beside it
        lesion = ndimage.binary_dilation(lesion, iterations=1)
    else:
        lesion = None
    metric = _metric()(lesion)
    with _quiet():
        # Windows have to fit into the coarsest picture.
        levels = max(1, int(np.log2(min(grid.shape) / (2 * RADIUS + 2))) + 1)
        registration = SymmetricDiffeomorphicRegistration(
            metric, level_iters=list(iterations)[-levels:]
        )
        found = registration.optimize(
            template,
            picture,
            static_grid2world=grid.affine,
            moving_grid2world=grid.affine,
        )
    return Warp(grid, np.asarray(found.get_forward_field()), np.asarray(found.get_backward_field()))


def _metric():
    """The class of the measure, made when it is first used, since dipy is imported with it."""
    from dipy.align.metrics import CCMetric

    class CorrelationBesideLesion(CCMetric):
        """Local cross-correlation without the forces of a lesion."""

        def __init__(self, lesion):
            super().__init__(3, sigma_diff=SMOOTH, radius=RADIUS)
            self.lesion = None if lesion is None else lesion.astype(np.float32)
            self.weight = None

        def use_moving_image_dynamics(self, original_moving_image, transformation):
            if self.lesion is None:
                return
            moved = transformation.transform(
                self.lesion,
                interpolation="linear",
                out_shape=np.array(self.moving_image.shape, dtype=np.int32),
                out_grid2world=self.moving_affine,
            )
            self.weight = 1 - np.clip(np.asarray(moved), 0, 1)

        def compute_forward(self):
            step, self.energy = self.compute_forward_step(
                self.gradient_static, self.factors, self.radius
            )
            return self._smooth(np.array(step))

        def compute_backward(self):
            step, _ = self.compute_backward_step(self.gradient_moving, self.factors, self.radius)
            return self._smooth(np.array(step))

        def _smooth(self, step):
            if self.weight is None:
                for axis in range(3):
                    step[..., axis] = ndimage.gaussian_filter(step[..., axis], SMOOTH)
                return step
            return smoothed_beside(step, self.weight, SMOOTH)

    return CorrelationBesideLesion


def smoothed_beside(vectors, weight, width):
    """Vectors smoothed by a Gaussian in which those of weight 0 have no say.

    Where the Gaussian reaches none, wider ones are asked, until one does.

    Parameters
    ----------
    vectors : ndarray of shape (x, y, z, 3)
    weight : ndarray of shape (x, y, z)
        0 to 1.
    width : float
        Standard deviation, voxels.

    Returns
    -------
    ndarray of shape (x, y, z, 3)

    Examples
    --------
    >>> vectors = np.ones((9, 9, 9, 3))
    >>> weight = np.ones((9, 9, 9))
    >>> weight[3:6, 3:6, 3:6] = vectors[3:6, 3:6, 3:6] = 0
    >>> bool(smoothed_beside(vectors, weight, 1.0)[4, 4, 4, 0] > 0.99)
    True
    """
    wanted = weight < 1
    result = np.empty_like(vectors)
    share = ndimage.gaussian_filter(weight, width, mode="nearest")
    shares = [(width, share)]
    if share[wanted].min(initial=1.0) < _LEAST:
        shares.append((4 * width, ndimage.gaussian_filter(weight, 4 * width, mode="nearest")))
    for axis in range(vectors.shape[-1]):
        here = vectors[..., axis] * weight
        smooth = ndimage.gaussian_filter(here, width, mode="constant")
        filled = np.where(wanted, smooth / np.maximum(share, _LEAST), smooth)
        for wider, reached in shares[1:]:
            far = wanted & (share < _LEAST)
            spread = ndimage.gaussian_filter(here, wider, mode="constant")
            filled[far] = (spread / np.maximum(reached, _LEAST))[far]
        result[..., axis] = filled
    return result


@contextmanager
def _quiet():
    """dipy tells of every level."""
    logger = logging.getLogger("dipy")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
