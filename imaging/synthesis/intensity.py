"""What scanners and viewers do to intensities: bias field, gamma, rescaling, standardising."""

from functools import partial
from numbers import Integral

import torch

from ..parameters import CHANCE, NOT_NEGATIVE, Interval, Ordered, parameter, parameters
from ..physics.arrays import namespace
from .fields import smooth_field
from .slabs import voxelwise
from .steps import Step

__all__ = ["BiasField", "Gamma", "Rescale", "ZScore", "quantiles"]

# Beyond this many voxels quantiles are taken from an even subset: the rank is off by < 0.1 %.
_ENOUGH = 2**16


@parameters
class BiasField(Step):
    """Multiply by a smooth field, exp(f), as uneven coils do.

    Parameters
    ----------
    {parameters}

    References
    ----------
    Van Leemput et al., IEEE Trans Med Imaging 18:885 (1999), doi 10.1109/42.811268.

    Examples
    --------
    >>> import torch
    >>> image = torch.tensor([[[0.0, 2.0], [2.0, 0.0]]])
    >>> scene, _ = BiasField().sample({"image": image}, 1)
    >>> (scene["image"] > 0).tolist()
    [[[False, True], [True, False]]]
    """

    strength: float = parameter(
        0.5, NOT_NEGATIVE, doc="Largest standard deviation of f.", first=True
    )
    points: tuple = parameter(
        (4, 7),
        Ordered(Interval(Integral, 4, None, closed="left")),
        kind="pair of int",
        doc="Fewest and most control points along an axis, 4 or more.",
    )

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


@parameters
class Gamma(Step):
    r"""Bend the grey scale: :math:`x^\gamma` on the range of each channel, which is kept.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import torch
    >>> scene, history = Gamma().sample({"image": torch.tensor([[[2.0, 3.0, 4.0]]])}, 1)
    >>> gamma = history[0]["parameters"]["gamma"]
    >>> expected = torch.tensor([[[2.0, 2.0 + 2 * 0.5**gamma, 4.0]]])
    >>> torch.allclose(scene["image"], expected)
    True
    """

    sd: float = parameter(0.6, NOT_NEGATIVE, doc=r":math:`\ln \gamma \sim N(0, sd^2)`.", first=True)

    def draw(self, draws, scene):
        return {"gamma": float(torch.tensor(draws.normal(0.0, self.sd)).exp())}

    def apply(self, scene, parameters):
        channels = []
        for channel in scene["image"]:
            low, high = map(float, channel.aminmax())
            span = max(high - low, 1e-12)
            channels.append(voxelwise(partial(_bend, low, span, parameters["gamma"]), channel))
        return {**scene, "image": _stack(channels)}


@parameters
class Rescale(Step):
    """Map two quantiles of each channel to 0 and 1 and clip what lies beyond.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import torch
    >>> scene, _ = Rescale(0.0, 0.5).sample({"image": torch.tensor([[[4.0, 6.0, 8.0]]])}, 0)
    >>> scene["image"].tolist()
    [[[0.0, 1.0, 1.0]]]
    """

    low: float = parameter(0.01, CHANCE, doc="Lower quantile, between 0 and 1.", first=True)
    high: float = parameter(0.99, CHANCE, doc="Upper quantile, above `low`.", first=True)

    def __post_init__(self):
        super().__post_init__()
        if self.low >= self.high:
            raise ValueError(
                f"the 'low' parameter of Rescale must be below 'high', found {self.low} and "
                f"{self.high}"
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


@parameters
class ZScore(Step):
    """Zero mean and unit standard deviation for each channel.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import torch
    >>> ZScore().sample({"image": torch.tensor([[[1.0, 3.0]]])}, 0)[0]["image"].tolist()
    [[[-1.0, 1.0]]]
    """

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
