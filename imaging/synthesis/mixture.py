"""Label maps become images of a contrast that no sequence has: a random intensity for each class.

A network trained on such images cannot rely on any contrast and must look at shapes.
"""

from numbers import Integral, Real

from ..parameters import (
    COUNT,
    FROM_ZERO,
    NOT_NEGATIVE,
    Each,
    Interval,
    Ordered,
    parameter,
    parameters,
)
from .fields import texture
from .slabs import plain
from .steps import NoisyStep, device_of
from .tissue_maps import fill_classes

__all__ = ["IntensityMixture"]


@parameters
class IntensityMixture(NoisyStep):
    """A Gaussian mixture over the classes of a scene; adds ``image``, of one channel.

    Parameters
    ----------
    {parameters}

    References
    ----------
    Billot et al., Med Image Anal 86:102789 (2023), doi 10.1016/j.media.2023.102789; Chalcroft et
    al., MELBA 2025:014.

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([[[[0, 0], [1, 3]]]], dtype=torch.uint8)
    >>> batch, _ = IntensityMixture(background=0)({"labels": labels}, seed=4)
    >>> (batch["image"] > 0).int().tolist()
    [[[[0, 0], [1, 1]]]]
    """

    classes: int = parameter(12, COUNT, doc="Number of classes; labels are 0 to `classes` - 1.")
    mean: tuple = parameter(
        (0.0, 255.0),
        Ordered(Interval(Real, None, None, closed="neither")),
        kind="pair of float",
        doc="Range of the mean intensity of a class.",
    )
    sd: float = parameter(16.0, NOT_NEGATIVE, doc="Largest standard deviation within a class.")
    texture_width: float = parameter(
        10.0, NOT_NEGATIVE, doc="Largest width of the noise within a class (FWHM), voxels."
    )
    background: object = parameter(
        0,
        FROM_ZERO,
        Each(FROM_ZERO, least=0),
        None,
        kind="int, sequence of int, or None",
        doc="""
        Class or classes that are 0 everywhere; None gives every class an intensity.
        """,
    )

    def __post_init__(self):
        super().__post_init__()
        if max(self._dark(), default=0) >= self.classes:
            raise ValueError(
                f"the 'background' parameter of IntensityMixture must name classes below "
                f"{self.classes}, found {self.background}"
            )

    def draw(self, draws, scene):
        highest = (
            int(plain(scene["labels"]).max()) if "labels" in scene else len(scene["tissues"]) - 1
        )
        if highest >= self.classes:
            raise ValueError(
                f"found class {highest} where classes 0 to {self.classes - 1} were expected; "
                f"raise classes to {highest + 1}"
            )
        means = [[draws.uniform(*self.mean)] for _ in range(self.classes)]
        sds = [[draws.uniform(0, self.sd)] for _ in range(self.classes)]
        for k in self._dark():
            means[k], sds[k] = [0.0], [0.0]
        if "tissues" in scene:
            means, sds = means[: highest + 1], sds[: highest + 1]
        return {
            "means": means,
            "sds": sds,
            "texture_width": draws.uniform(0, self.texture_width),
            "seed": draws.seed(),
            "noise_device": self.drawn_on(scene),
        }

    def apply(self, scene, parameters):
        shape = scene["labels" if "labels" in scene else "tissues"].shape[1:]
        grain = texture(
            parameters["seed"],
            parameters["texture_width"],
            shape,
            device_of(scene),
            parameters["noise_device"],
        )
        image = fill_classes(scene, parameters["means"], parameters["sds"], grain)
        return {**scene, "image": image}

    def _dark(self):
        if self.background is None:
            return ()
        return (self.background,) if isinstance(self.background, Integral) else self.background
