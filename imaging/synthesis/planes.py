"""Pictures out of heads: a plane through a scene, for 2-D networks."""

from numbers import Integral
from typing import ClassVar

import numpy as np

from ..parameters import Each, Interval, parameter, parameters
from .steps import Step

__all__ = ["TakePlane"]


@parameters
class TakePlane(Step):
    """Cut a 3-D scene along one plane, through a lesion where there is one.

    The plane is turned as viewers show it: the second of its two axes up, the first to the right.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import torch
    >>> scene = {"labels": torch.ones(1, 4, 5, 6, dtype=torch.uint8)}
    >>> plane, history = TakePlane(axes=[2]).sample(scene, 0)
    >>> tuple(plane["labels"].shape)
    (1, 5, 4)
    """

    probability: ClassVar = 1.0  # a network for pictures takes no heads
    axes: tuple = parameter(
        (0, 1, 2),
        Each(Interval(Integral, 0, 2, closed="both")),
        kind="sequence of int",
        doc="That a plane may be perpendicular to: 0 sagittal, 1 coronal, 2 axial.",
        first=True,
    )

    def draw(self, draws, scene):
        axis = draws.choice(self.axes)
        lesion = scene["lesion"][0].numpy() if "lesion" in scene else None
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(lesion.any(others)) if lesion is not None else []
        if len(filled) == 0:
            labels = scene["labels"][0].numpy()
            filled = np.flatnonzero(((labels > 0) & (labels < 5)).any(others))
        if len(filled) == 0:
            filled = np.arange(next(iter(scene.values())).shape[1 + axis])
        return {"axis": axis, "place": int(filled[int(draws.uniform() * len(filled))])}

    def apply(self, scene, parameters):
        axis, place = parameters["axis"], parameters["place"]
        return {
            name: tensor.select(axis + 1, place).transpose(1, 2).flip(1).contiguous()
            for name, tensor in scene.items()
        }
