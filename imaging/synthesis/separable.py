"""Linear operations that act along each axis on its own, as one small matrix per axis.

Blur, slice profile, change of grid, ringing and smooth fields are all of this kind; products of
such matrices are again one matrix, so a chain of them costs as much as one.
"""

import math

import numpy as np
import torch

from ..resizing import area_averages, linear_interpolation

__all__ = [
    "along_axes",
    "chain",
    "cubic_weights",
    "downsampling",
    "gaussian",
    "spline_basis",
    "spline_weights",
    "truncation",
    "upsampling",
]

# Full width at half maximum of a Gaussian, in standard deviations.
FWHM = 2 * math.sqrt(2 * math.log(2))


def along_axes(image, matrices):
    """Apply one matrix to each spatial axis.

    Parameters
    ----------
    image : tensor of shape (channels, *spatial)
    matrices : sequence of tensor of shape (out, in) or None
        One per spatial axis; None leaves the axis as it is.

    Returns
    -------
    tensor of shape (channels, *out)
    """
    steps = [(m.shape[0] / m.shape[1], axis) for axis, m in enumerate(matrices) if m is not None]
    # What shrinks the image comes first.
    for _, axis in sorted(steps):
        image = _along(image, matrices[axis], axis + 1)
    return image


def _along(image, matrix, axis):
    matrix = matrix.to(image)
    before, after = image.shape[:axis], image.shape[axis + 1 :]
    if not after:
        return image @ matrix.T
    folded = image.reshape(-1, image.shape[axis], math.prod(after))
    return torch.matmul(matrix, folded).reshape(*before, matrix.shape[0], *after)


def chain(*matrices):
    """The matrix that applies the given ones from left to right; None is the identity."""
    product = None
    for matrix in matrices:
        if matrix is not None:
            product = matrix if product is None else matrix @ product
    return product


def gaussian(size, fwhm):
    """Blur by a Gaussian of the given width in voxels, the edge value carried on beyond the edge.

    Examples
    --------
    >>> import torch
    >>> blur = gaussian(9, 2.0)
    >>> torch.allclose(blur.sum(1), torch.ones(9))
    True
    """
    if fwhm <= 0:
        return None
    # The part of a Gaussian that falls into each voxel, so that narrow widths stay exact.
    scale = FWHM / (fwhm * math.sqrt(2))
    radius = min(size - 1, math.ceil(2 * fwhm) + 1)
    steps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.erf((steps + 0.5) * scale) - torch.erf((steps - 0.5) * scale)
    return _banded(weights / weights.sum(), steps, torch.arange(size), size)


def downsampling(size, thickness):
    """Average over slices of the given thickness in voxels, side by side.

    Returns
    -------
    tensor of shape (slices, size)

    Examples
    --------
    >>> downsampling(4, 2.0)
    tensor([[0.5000, 0.5000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.5000, 0.5000]])
    """
    count = max(1, round(size / thickness))
    edges = torch.linspace(0, size, count + 1, dtype=torch.float64)
    return torch.from_numpy(area_averages(edges.numpy(), size))


def upsampling(size, count):
    """Interpolate linearly from `count` slices back to `size` voxels.

    Returns
    -------
    tensor of shape (size, count)
    """
    places = (np.arange(size) + 0.5) * (count / size) - 0.5
    return torch.from_numpy(linear_interpolation(places, count))


def truncation(size, kept):
    r"""Keep the given share of k-space along an axis: sharp edges ring (Gibbs).

    .. math:: D_{ij} = \frac{1}{n} \sum_{|k| \le K} \cos \frac{2 \pi k (i - j)}{n}
    """
    highest = min((size - 1) // 2, max(0, round(kept * size / 2)))
    gap = torch.arange(size, dtype=torch.float64)
    waves = torch.arange(1, highest + 1, dtype=torch.float64)
    kernel = (1 + 2 * torch.cos(2 * math.pi / size * gap[:, None] * waves).sum(1)) / size
    index = (torch.arange(size)[:, None] - torch.arange(size)) % size
    return kernel[index].float()


def spline_basis(size, points):
    """Cubic B-splines on `points` control points, sampled at `size` voxels.

    Returns
    -------
    tensor of shape (size, points)
        Rows sum to 1, so a constant stays constant.
    """
    weights, first = spline_weights(size, points)
    matrix = torch.zeros(size, points, dtype=torch.float64)
    return matrix.scatter_(1, first[:, None] + torch.arange(4), weights).float()


def spline_weights(size, points):
    """The four weights of each voxel, shape (size, 4), and the control point of the first."""
    if points < 4:
        raise ValueError(f"a cubic spline needs 4 control points along an axis, found {points}")
    return cubic_weights(torch.linspace(0, points - 3, size, dtype=torch.float64), points)


def cubic_weights(place, points):
    """Cubic B-spline weights, shape (n, 4), at places 0 to `points` - 3, and where they start."""
    first = place.floor().clamp(max=points - 4)
    t = (place - first)[:, None]
    pieces = (
        (1 - t) ** 3,
        3 * t**3 - 6 * t**2 + 4,
        -3 * t**3 + 3 * t**2 + 3 * t + 1,
        t**3,
    )
    return torch.cat(pieces, 1) / 6, first.long()


def _banded(weights, steps, centres, size):
    columns = (centres[:, None] + steps.long()).clamp(0, size - 1)
    matrix = torch.zeros(len(centres), size, dtype=torch.float64)
    return matrix.scatter_add_(1, columns, weights.expand(len(centres), -1)).float()
