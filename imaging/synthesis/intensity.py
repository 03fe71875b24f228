"""What scanners and viewers do to intensities: bias field, gamma, rescaling, standardising."""

from functools import partial
from numbers import Integral
from typing import ClassVar

import torch

from ..parameters import CHANCE, NOT_NEGATIVE, Interval, Ordered, check_parameters
from ..physics.arrays import namespace
from .fields import smooth_field
from .slabs import voxelwise
from .steps import Step

__all__ = ["BiasField", "Gamma", "Rescale", "ZScore", "quantiles"]

# Beyond this many voxels quantiles are taken from an even subset: the rank is off by < 0.1 %.
_ENOUGH = 2**16


class BiasField(Step):
    """Multiply by a smooth field, exp(f), as uneven coils do.

    Parameters
    ----------
    strength : float
        Largest standard deviation of f.
    points : pair of int
        Fewest and most control points along an axis, 4 or more.

    References
    ----------
    Van Leemput et al., IEEE Trans Med Imaging 18:885 (1999), doi 10.1109/42.811268.
    """

    _parameter_constraints: ClassVar = {
        "strength": [NOT_NEGATIVE],
        "points": [Ordered(Interval(Integral, 4, None, closed="left"))],
    }

    def __init__(self, strength=0.5, points=(4, 7), probability=1.0):
        self.strength = strength
        self.points = points
        self.probability = probability
        check_parameters(self)

    def draw(self, draws, scene):
        dims = scene["image"].dim() - 1
        return {
            "strength": draws.uniform(0, self.strength),
            "points": [draws.integer(*self.points) for _ in range(dims)],
            "seed": draws.seed(),
        }

    def apply(self, scene, parameters):
        image = scene["image"]
        field = smooth_field(
            parameters["seed"], parameters["points"], image.shape[1:], image.device
        )
        # A spline halves the deviation of its control points, roughly, along each of the axes.
        strength = 2 * parameters["strength"]
        channels = [
            voxelwise(lambda f, x: namespace(f).exp(f * strength) * x, field[0], channel)
            for channel in image
        ]
        return {**scene, "image": _stack(channels)}


class Gamma(Step):
    r"""Bend the grey scale: :math:`x^\gamma` on the range of each channel, which is kept.

    Parameters
    ----------
    sd : float
        :math:`\ln \gamma \sim N(0, sd^2)`.
    """

    _parameter_constraints: ClassVar = {"sd": [NOT_NEGATIVE]}

    def __init__(self, sd=0.6, probability=1.0):
        self.sd = sd
        self.probability = probability
        check_parameters(self)

    def draw(self, draws, scene):
        return {"gamma": float(torch.tensor(draws.normal(0.0, self.sd)).exp())}

    def apply(self, scene, parameters):
        channels = []
        for channel in scene["image"]:
            low, high = map(float, channel.aminmax())
            span = max(high - low, 1e-12)
            channels.append(voxelwise(partial(_bend, low, span, parameters["gamma"]), channel))
        return {**scene, "image": _stack(channels)}


class Rescale(Step):
    """Map two quantiles of each channel to 0 and 1 and clip what lies beyond.

    Parameters
    ----------
    low, high : float
        Quantiles, between 0 and 1.
    """

    _parameter_constraints: ClassVar = {"low": [CHANCE], "high": [CHANCE]}

    def __init__(self, low=0.01, high=0.99, probability=1.0):
        self.low = low
        self.high = high
        self.probability = probability
        check_parameters(self)
        if low >= high:
            raise ValueError(
                f"the 'low' parameter of Rescale must be below 'high', found {low} and {high}"
            )

    def draw(self, draws, scene):
        return {"low": self.low, "high": self.high}

    def apply(self, scene, parameters):
        channels = []
        for channel in scene["image"]:
            low, high = quantiles(channel, parameters["low"], parameters["high"])
            span = max(high - low, 1e-12)
            channels.append(voxelwise(partial(_stretch, low, span), channel))
        return {**scene, "image": _stack(channels)}


class ZScore(Step):
    """Zero mean and unit standard deviation for each channel."""

    def __init__(self, probability=1.0):
        self.probability = probability
        check_parameters(self)

    def draw(self, draws, scene):
        return {}

    def apply(self, scene, parameters):
        channels = []
        for channel in scene["image"]:
            mean = float(channel.mean())
            centred = voxelwise(lambda x, m=mean: x - m, channel)
            sd = float(torch.linalg.vector_norm(centred)) / centred.numel() ** 0.5
            factor = 1 / max(sd, 1e-12)
            channels.append(voxelwise(lambda x, f=factor: x * f, centred, out=centred))
        return {**scene, "image": _stack(channels)}


def _bend(low, span, gamma, x):
    return ((x - low) / span).clip(0, 1) ** gamma * span + low


def _stretch(low, span, x):
    return ((x - low) / span).clip(0, 1)


def _stack(channels):
    """Channels as one tensor; a single one is not copied."""
    return channels[0][None] if len(channels) == 1 else torch.stack(channels)


def quantiles(values, *shares):
    """Quantiles of a tensor, from at most some hundred thousand evenly taken voxels.

    Examples
    --------
    >>> import torch
    >>> quantiles(torch.arange(101.0), 0.01, 0.5)
    [1.0, 50.0]
    """
    flat = values.reshape(-1)
    step = -(-flat.numel() // _ENOUGH)
    # A step that shares a factor with an axis would only meet some of its rows.
    while step > 1 and any(n % step == 0 or step % n == 0 for n in values.shape if n > 1):
        step += 1
    ordered = flat[::step].sort().values
    last = len(ordered) - 1
    return [float(ordered[round(share * last)]) for share in shares]
