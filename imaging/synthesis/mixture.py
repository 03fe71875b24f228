"""Label maps become images of a contrast that no sequence has: a random intensity for each class.

A network trained on such images cannot rely on any contrast and must look at shapes.
"""

from numbers import Integral, Real
from typing import ClassVar

from ..parameters import COUNT, NOT_NEGATIVE, Each, Interval, Ordered, check_parameters
from .fields import texture
from .slabs import plain
from .steps import Step, device_of
from .tissue_maps import fill_classes

__all__ = ["IntensityMixture"]


class IntensityMixture(Step):
    """A Gaussian mixture over the classes of a scene; adds ``image``, of one channel.

    Parameters
    ----------
    classes : int
        Number of classes; labels are 0 to `classes` - 1.
    mean : pair of float
        Range of the mean intensity of a class.
    sd : float
        Largest standard deviation within a class.
    texture_width : float
        Largest width of the noise within classes (FWHM), voxels.
    background : int, sequence of int, or None
        Class or classes that are 0 everywhere; None gives every class an intensity.
    noise_device : str or None
        Kind of device to draw noise on; None is that of the scene.

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

    _parameter_constraints: ClassVar = {
        "classes": [COUNT],
        "mean": [Ordered(Interval(Real, None, None, closed="neither"))],
        "sd": [NOT_NEGATIVE],
        "texture_width": [NOT_NEGATIVE],
        "background": [
            Interval(Integral, 0, None, closed="left"),
            Each(Interval(Integral, 0, None, closed="left"), least=0),
            None,
        ],
        "noise_device": [str, None],
    }

    def __init__(
        self,
        classes=12,
        mean=(0.0, 255.0),
        sd=16.0,
        texture_width=10.0,
        background=0,
        noise_device=None,
        probability=1.0,
    ):
        self.classes = classes
        self.mean = mean
        self.sd = sd
        self.texture_width = texture_width
        self.background = background
        self.noise_device = noise_device
        self.probability = probability
        check_parameters(self)
        if max(self._dark(), default=0) >= classes:
            raise ValueError(
                f"the 'background' parameter of IntensityMixture must name classes below "
                f"{classes}, found {background}"
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
            "noise_device": self.noise_device or device_of(scene).type,
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
