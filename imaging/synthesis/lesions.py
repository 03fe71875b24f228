"""Paste lesions into images or quantitative maps.

Each lesion of a scene (numbers 1, 2, ... in ``lesion``) draws an edge, a fade and its own values;
the target keeps the voxels of its mask.
"""

from numbers import Real

import torch

from ..parameters import (
    CHANCE,
    NOT_NEGATIVE,
    Each,
    Interval,
    Ordered,
    StrOptions,
    parameter,
    parameters,
)
from ..physics.tissues import LESION_STATISTICS
from ..randomness import sample_seed
from .fields import texture
from .lesion_shapes import box_around, fade_field, grown_weight, soft_weight
from .slabs import plain
from .steps import NoisyStep
from .tissue_maps import MAPS

__all__ = ["PasteLesions"]

LARGEST_NUMBER = 8


@parameters
class PasteLesions(NoisyStep):
    """Cover tissue by lesions: tissue (1 - m) + lesion m.

    Parameters
    ----------
    {parameters}

    Notes
    -----
    A scene without lesion is a healthy sample and passes unchanged. Lesions are painted in the
    order of their numbers; where they overlap, the later covers the earlier.

    Examples
    --------
    >>> import torch
    >>> lesion = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    >>> lesion[..., 6:10, 6:10] = 1
    >>> batch = {"image": torch.zeros(1, 1, 16, 16), "lesion": lesion}
    >>> pasted, histories = PasteLesions("image")(batch, seed=0)
    >>> bool(pasted["image"][0, 0, 7, 7] > 0), bool(pasted["image"][0, 0, 0, 0] == 0)
    (True, True)
    """

    onto: str = parameter(
        "maps",
        StrOptions({"image", "maps"}),
        kind='{"image", "maps"}',
        doc="""
        What lesions are pasted into. Into maps, each lesion takes the values of a kind of lesion;
        into an image, a random intensity.
        """,
        first=True,
    )
    kinds: tuple = parameter(
        ("cavity", "acute", "gliosis"),
        Each(StrOptions(set(LESION_STATISTICS))),
        kind="sequence of str",
        doc='Of `LESION_STATISTICS`: "cavity", "acute", "gliosis".',
    )
    edge_width: float = parameter(
        2.0, NOT_NEGATIVE, doc="Largest width of the soft edge (FWHM), voxels."
    )
    fade: float = parameter(
        0.6,
        CHANCE,
        doc="Largest share by which a lesion is weaker somewhere inside; 0 for none.",
    )
    fade_probability: float = parameter(0.5, CHANCE, doc="Chance that a lesion fades at all.")
    mean: tuple = parameter(
        (0.0, 255.0),
        Ordered(Interval(Real, None, None, closed="neither")),
        kind="pair of float",
        doc="Range of the intensity in an image.",
    )
    sd: float = parameter(
        16.0,
        NOT_NEGATIVE,
        doc="Largest standard deviation of the intensity inside a lesion.",
    )
    softening: str = parameter(
        "centred",
        StrOptions({"centred", "grown"}),
        kind='{"centred", "grown"}',
        doc="""
        "centred" keeps the edge of the mask where it is, so that the target is the mask. "grown"
        repeats a published system: the lesion and its target grow by 2 voxels on every side.
        """,
    )
    in_place: bool = parameter(
        False,
        "boolean",
        doc="Write into the entry itself, for chains in which the step before has just made it.",
    )

    def draw(self, draws, scene):
        count = int(plain(scene["lesion"]).max()) if "lesion" in scene else 0
        if count > LARGEST_NUMBER:
            raise ValueError(
                f"found {count} as the highest number in 'lesion', where lesions are numbered 1 to "
                f"{LARGEST_NUMBER} at most; give a mask of numbered lesions, not a label map"
            )
        lesions = [self._draw_one(draws) for _ in range(count)]
        device = self.drawn_on(scene)
        return {
            "onto": self.onto,
            "softening": self.softening,
            "noise_device": device,
            "lesions": lesions,
        }

    def _draw_one(self, draws):
        lesion = {
            "edge_width": draws.uniform(0.5, self.edge_width) if self.edge_width > 0.5 else 0.0,
            "fade": draws.uniform(0, self.fade) if draws.chance(self.fade_probability) else 0.0,
            "seed": draws.seed(),
            "texture_width": draws.uniform(0, 10),
        }
        if self.onto == "image":
            lesion["mean"] = [draws.uniform(*self.mean)]
            lesion["sd"] = [draws.uniform(0, self.sd)]
            return lesion
        lesion["kind"] = draws.choice(self.kinds)
        statistics = LESION_STATISTICS[lesion["kind"]]._asdict()
        lesion["mean"] = [max(0.0, draws.normal(*statistics[name])) for name in MAPS]
        # Inside one lesion values vary by a part of what they vary between lesions.
        lesion["sd"] = [0.3 * statistics[name][1] for name in MAPS]
        return lesion

    def apply(self, scene, parameters):
        if not parameters["lesions"]:
            return scene
        field = scene[parameters["onto"]]
        field = field if self.in_place else field.clone()
        numbers = scene["lesion"][0]
        if parameters["softening"] == "grown":
            numbers = numbers.clone()
        for number, lesion in enumerate(parameters["lesions"], start=1):
            mask = torch.as_tensor(plain(scene["lesion"][0]) == number)
            box = box_around(mask, 2 + int(2 * lesion["edge_width"]))
            if box is None:
                continue
            if parameters["softening"] == "grown":
                weight = grown_weight(mask[box])
                numbers[box][weight > 0] = number
            else:
                weight = soft_weight(mask[box], lesion["edge_width"])
            _paste(field[(slice(None), *box)], weight, lesion, parameters["noise_device"])
        return {**scene, parameters["onto"]: field, "lesion": numbers[None]}


def _paste(field, weight, lesion, noise_device):
    """Blend one lesion into a box of the field, in place."""
    shape, device = weight.shape, field.device
    if lesion["fade"]:
        weight = weight * fade_field(lesion["seed"], lesion["fade"], shape, device)
    seed = sample_seed(lesion["seed"], 1)  # not the numbers of the fade
    grain = texture(seed, lesion["texture_width"], shape, device, noise_device)
    mean, sd = (torch.tensor(lesion[k], device=device) for k in ("mean", "sd"))
    channels = len(field)
    mean, sd = (v[:channels].reshape(-1, *[1] * weight.dim()) for v in (mean, sd))
    value = (mean + sd * grain).clamp_(min=0)
    field.lerp_(value, weight.expand_as(field))
