"""Take parts of an image away: holes, and everything outside the brain."""

import torch

from ..parameters import CHANCE, FROM_ZERO, POSITIVE, Each, Ordered, parameter, parameters
from .slabs import plain
from .steps import Step

__all__ = ["CoarseDropout", "SkullStrip", "grow"]

# Tissue numbers inside the skull: grey matter to lesion.
_BRAIN = (1, 5)


@parameters
class CoarseDropout(Step):
    """Set boxes to the mean of the image.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import torch
    >>> image = torch.arange(100.0).reshape(1, 10, 10)
    >>> scene, history = CoarseDropout(holes=(1, 1), size=(2, 2)).sample({"image": image}, 0)
    >>> [(rows, columns)] = history[0]["parameters"]["boxes"]
    >>> scene["image"][0, slice(*rows), slice(*columns)].tolist()
    [[49.5, 49.5], [49.5, 49.5]]
    """

    holes: tuple = parameter(
        (1, 10), Ordered(FROM_ZERO), kind="pair of int", doc="Fewest and most."
    )
    size: tuple = parameter(
        (5, 0.25),
        Each(POSITIVE, least=2),
        kind="pair of int or float",
        doc="""
        Smallest and largest edge of a hole: voxels, or a share of the axis where below 1.
        """,
    )

    def __post_init__(self):
        super().__post_init__()
        size = self.size
        voxels = [edge for edge in size if edge >= 1]
        # Of voxels and a share it depends on the image which is larger.
        ordered = len(voxels) == 1 or size[0] <= size[1]
        if len(size) != 2 or any(n != round(n) for n in voxels) or not ordered:
            raise ValueError(
                "the 'size' parameter of CoarseDropout must be a pair (smallest, largest), each a "
                f"whole number of voxels or a share below 1, found {size}"
            )

    def draw(self, draws, scene):
        boxes = []
        for _ in range(draws.integer(*self.holes)):
            box = []
            for n in scene["image"].shape[1:]:
                low, high = (round(s * n) if s < 1 else int(s) for s in self.size)
                edge = min(n, draws.integer(min(low, high), max(low, high)))
                start = draws.integer(0, n - edge)
                box.append([start, start + edge])
            boxes.append(box)
        return {"boxes": boxes}

    def apply(self, scene, parameters):
        image = scene["image"].clone()
        axes = tuple(range(1, image.dim()))
        mean = image.mean(dim=axes, keepdim=True)
        for box in parameters["boxes"]:
            hole = (slice(None), *(slice(a, b) for a, b in box))
            image[hole] = mean
        return {**scene, "image": image}


@parameters
class SkullStrip(Step):
    """Blacken what is outside the brain, whose mask is a little too large or too small.

    Reads ``labels`` (tissue numbers 1 to 5 are brain and its fluid) and ``lesion``, or ``tissues``.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import torch
    >>> scene = {"image": torch.ones(1, 5), "labels": torch.tensor([[8, 4, 1, 1, 10]])}
    >>> SkullStrip(growth=0, probability=1.0).sample(scene, 0)[0]["image"].tolist()
    [[0.0, 1.0, 1.0, 1.0, 0.0]]
    """

    growth: int = parameter(
        3, FROM_ZERO, doc="Largest growth or shrinkage of the mask, voxels.", first=True
    )
    probability: float = parameter(0.3, CHANCE, doc="Chance that the step is applied to a sample.")

    def draw(self, draws, scene):
        return {"growth": draws.integer(-self.growth, self.growth)}

    def apply(self, scene, parameters):
        mask = grow(_brain(scene), parameters["growth"])
        return {**scene, "image": scene["image"] * mask}


def _brain(scene):
    if "labels" not in scene:
        return scene["tissues"][_BRAIN[0] : _BRAIN[1] + 1].sum(0) > 0.5
    labels = plain(scene["labels"][0])
    mask = (labels >= _BRAIN[0]) & (labels <= _BRAIN[1])
    if "lesion" in scene:
        mask |= plain(scene["lesion"][0]) > 0
    return torch.as_tensor(mask)


def grow(mask, voxels):
    """Dilate (or, below 0, erode) a mask by a box that reaches `voxels` to every side.

    Examples
    --------
    >>> import torch
    >>> grow(torch.tensor([False, False, True, False, False]), 1).int().tolist()
    [0, 1, 1, 1, 0]
    """
    if voxels < 0:
        return ~grow(~mask, -voxels)
    device, mask = mask.device, plain(mask)
    for axis, size in enumerate(mask.shape):
        grown = mask | False
        ahead, behind = [slice(None)] * len(mask.shape), [slice(None)] * len(mask.shape)
        for step in range(1, min(voxels, size - 1) + 1):
            ahead[axis], behind[axis] = slice(step, None), slice(None, size - step)
            grown[tuple(ahead)] |= mask[tuple(behind)]
            grown[tuple(behind)] |= mask[tuple(ahead)]
        mask = grown
    return torch.as_tensor(mask, device=device)
