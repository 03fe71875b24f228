"""The weight with which a lesion covers the tissue under it: soft at the edge, faded inside.

The soft weight makes the image. The target stays the mask itself, except where the behaviour of a
published system is asked for by name.
"""

import torch
from torch.nn.functional import avg_pool2d, avg_pool3d

from .fields import smooth_field
from .separable import along_axes, gaussian
from .slabs import plain

__all__ = ["box_around", "fade_field", "grown_weight", "soft_weight"]

# Enough for many independent patches in a lesion, few enough to be smooth.
_FADE_POINTS = 8
# Of the 27 voxels of a box, 9 lie behind a flat face: such a box must pass.
_GROWN = 0.3


def box_around(mask, margin):
    """Slices of the smallest box around the non-zero voxels of a mask, widened by `margin`.

    Parameters
    ----------
    mask : tensor of shape (*spatial,), bool or whole numbers
    margin : int
        Voxels.

    Returns
    -------
    tuple of slice, or None where the mask is empty
    """
    mask, box = plain(mask), []
    for axis, size in enumerate(mask.shape):
        filled = mask
        for other in reversed(range(len(mask.shape))):
            filled = filled if other == axis else filled.any(other)
        where = filled.nonzero()
        where = where[0] if isinstance(where, tuple) else where
        if len(where) == 0:
            return None
        low, high = int(where[0]), int(where[-1]) + 1
        box.append(slice(max(0, low - margin), min(size, high + margin)))
        # Later axes only need to look inside what was found so far.
        mask = mask[(*[slice(None)] * axis, slice(low, high))]
    return tuple(box)


def soft_weight(mask, edge_width):
    """Blur a mask without moving its edge: the weight is 1/2 where the mask ends.

    Parameters
    ----------
    mask : tensor of shape (*spatial,), 0 and 1
    edge_width : float
        Full width at half maximum of the blur, voxels. 0 keeps the edge hard.

    Returns
    -------
    tensor of shape (*spatial,), float32, in [0, 1]
    """
    blurs = [gaussian(n, edge_width) for n in mask.shape]
    return along_axes(mask.float()[None], blurs)[0].clamp_(0, 1)


def grown_weight(mask):
    """Soften as a published system does: box blur, threshold, box blur.

    The result reaches 2 voxels beyond the mask on every side; that system also made its target of
    all voxels above 0 (Chalcroft et al., MELBA 2025:014).
    """
    pool = avg_pool2d if mask.dim() == 2 else avg_pool3d
    weight = mask.float()[None, None]
    weight = (pool(weight, 3, 1, 1) > _GROWN).float()
    return pool(weight, 3, 1, 1)[0, 0]


def fade_field(seed, depth, shape, device):
    r"""A smooth factor between 1 - depth and 1, by which a lesion is weaker here and there.

    .. math:: w = 1 - d \, \Phi(f)

    with :math:`f` a smooth field from control points of zero mean, so that two draws have nothing
    in common, and :math:`\Phi` the normal distribution function.
    """
    field = smooth_field(seed, [_FADE_POINTS] * len(shape), shape, device)[0]
    # A field from a spline has about half the deviation of its control points.
    return 1 - depth * torch.special.ndtr(2 * field)
