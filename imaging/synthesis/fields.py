"""Random fields: white noise, noise of a chosen width, and smooth fields from few control points.

A field is named by a seed. Small ones are drawn on the CPU, so that every device has the same;
noise for each voxel is drawn where it is needed, and a history says on which kind of device.
"""

import math

import torch

from ..randomness import Draws
from .separable import along_axes, spline_basis

__all__ = ["smooth_field", "texture", "white_noise"]

# Standard normal noise through a cubic B-spline of unit spacing has this width (FWHM).
_SPLINE_FWHM = math.sqrt(1 / 3) * 2 * math.sqrt(2 * math.log(2))


def white_noise(seed, shape, device, drawn_on=None):
    """Standard normal noise.

    Parameters
    ----------
    seed : int
    shape : tuple of int
    device : torch.device
        Where the noise is wanted.
    drawn_on : {"cpu", "cuda", ...} or None
        The kind of device whose random numbers are meant; None is that of `device`. "cpu" gives
        the same numbers everywhere.

    Raises
    ------
    RuntimeError
        If the noise was drawn on a kind of device that is not here.

    Examples
    --------
    >>> noise = white_noise(3, (1, 100, 100), "cpu")
    >>> bool(abs(noise.mean()) < 0.05), bool(abs(noise.std() - 1) < 0.05)
    (True, True)
    >>> torch.equal(noise, white_noise(3, (1, 100, 100), "cpu"))
    True
    """
    device = torch.device(device)
    there = device if drawn_on in (None, device.type) else torch.device(drawn_on)
    if there.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            "this history was drawn on a GPU and none is here, so its noise cannot be repeated; "
            'draw with noise_device="cpu" to replay anywhere'
        )
    generator = torch.Generator(there).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=there).to(device)


def texture(seed, width, shape, device, drawn_on=None, *, channels=1):
    """Noise of unit variance whose neighbours agree over about `width` voxels (FWHM).

    White below a width of one voxel. Else white noise on a coarser grid, interpolated by cubic
    B-splines; each voxel is divided by its own standard deviation, so the variance is 1 everywhere.

    Parameters
    ----------
    seed : int
    width : float
        Full width at half maximum of what looks alike, voxels.
    shape : tuple of int
    device, drawn_on
        As in `white_noise`.
    channels : int

    Returns
    -------
    tensor of shape ``(channels, *shape)``

    Examples
    --------
    Neighbours differ by less the wider it is.

    >>> def step(width):
    ...     field = texture(0, width, (64, 64), "cpu")
    ...     return float(field.diff(dim=1).std() / field.std())
    >>> step(0) > step(3) > step(9)
    True
    """
    if width < 1:
        return white_noise(seed, (channels, *shape), device, drawn_on)
    spacing = max(1.0, width / _SPLINE_FWHM)
    points = [max(4, math.ceil((n - 1) / spacing) + 3) for n in shape]
    bases = [spline_basis(n, p) for n, p in zip(shape, points, strict=True)]
    bases = [basis / basis.square().sum(1, keepdim=True).sqrt() for basis in bases]
    return along_axes(white_noise(seed, (channels, *points), device, drawn_on), bases)


def smooth_field(seed, points, shape, device, *, channels=1):
    """A smooth field of zero mean and about unit size, from normal control points.

    Parameters
    ----------
    seed : int
    points : sequence of int
        Control points along each axis, at least 4.
    shape : tuple of int
    device : torch.device
    channels : int

    Returns
    -------
    tensor of shape ``(channels, *shape)``

    Examples
    --------
    >>> field = smooth_field(1, (4, 4), (32, 32), "cpu")
    >>> tuple(field.shape), bool(field.diff(dim=1).abs().max() < 0.2)
    ((1, 32, 32), True)
    """
    controls = Draws(seed).normals(channels, *points).to(device)
    return along_axes(controls, [spline_basis(n, p) for n, p in zip(shape, points, strict=True)])
