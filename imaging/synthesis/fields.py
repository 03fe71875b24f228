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

    Returns
    -------
    tensor of shape (channels, *shape)
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
    tensor of shape (channels, *shape)
    """
    controls = Draws(seed).normals(channels, *points).to(device)
    return along_axes(controls, [spline_basis(n, p) for n, p in zip(shape, points, strict=True)])
