"""Label maps become quantitative maps, and those the image of a random sequence.

Hard labels take a value per class; soft labels mix the classes of a voxel. Every map has its own
noise within a class.
"""

from collections.abc import Mapping

import torch

from ..parameters import NOT_NEGATIVE, Each, StrOptions, parameter, parameters
from ..physics.maps import QuantitativeMaps
from ..physics.protocols import Protocol, sample_protocol
from ..physics.ranges import RANGES
from ..physics.simulation import SEQUENCES, simulate
from ..physics.tissues import TISSUE_STATISTICS, TISSUES
from .fields import texture
from .slabs import over_slabs, plain, whole
from .steps import NoisyStep, Step, device_of, shown_without

__all__ = ["MAPS", "RandomSequence", "TissueMaps", "fill_classes"]

MAPS = ("pd", "r1", "r2s", "mt", "r2")


@parameters
class TissueMaps(NoisyStep):
    """Draw quantitative maps for the tissues of a scene.

    Adds ``maps``, of shape (4 or 5, *spatial): PD, R1, R2*, MT and, where the statistics have it,
    R2.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([[[1, 3], [4, 0]]], dtype=torch.uint8)
    >>> exact = TissueMaps(spread=0.0, temperature=0.0)
    >>> maps = exact.sample({"labels": labels}, 0)[0]["maps"]
    >>> bool(maps[1, 0, 1] > maps[1, 0, 0] > maps[1, 1, 0])  # R1: white, grey, fluid
    True
    """

    statistics: Mapping = parameter(
        None,
        Mapping,
        kind="mapping of str to TissueStatistics",
        doc="""
        By name of tissue; every tissue of the scene must be in it. None is `TISSUE_STATISTICS`.
        """,
        first=True,
    )
    spread: float = parameter(
        1.0,
        NOT_NEGATIVE,
        doc="""
        Of the mean of a class between samples, in standard deviations of the statistics.
        """,
    )
    temperature: float = parameter(
        0.3,
        NOT_NEGATIVE,
        doc="Of values within a class, in standard deviations of the statistics.",
    )
    texture_width: float = parameter(
        10.0, NOT_NEGATIVE, doc="Largest width of the noise within a class (FWHM), voxels."
    )

    def __post_init__(self):
        self.statistics = TISSUE_STATISTICS if self.statistics is None else self.statistics
        super().__post_init__()

    def __repr__(self):
        return shown_without(self, statistics=TISSUE_STATISTICS)

    def draw(self, draws, scene):
        names = MAPS if next(iter(self.statistics.values())).r2 is not None else MAPS[:4]
        means, sds = [], []
        for tissue in TISSUES:
            values = self.statistics.get(tissue)
            if values is None:
                means.append([0.0] * len(names))
                sds.append([0.0] * len(names))
                continue
            pairs = [getattr(values, name) for name in names]
            means.append([_positive(draws, mean, self.spread * sd) for mean, sd in pairs])
            sds.append([self.temperature * sd for _, sd in pairs])
        self._check_known(scene)
        return {
            "means": means,
            "sds": sds,
            "texture_width": draws.uniform(0, self.texture_width),
            "seed": draws.seed(),
            "noise_device": self.drawn_on(scene),
        }

    def apply(self, scene, parameters):
        grain = texture(
            parameters["seed"],
            parameters["texture_width"],
            _shape(scene),
            device_of(scene),
            parameters["noise_device"],
            channels=len(parameters["means"][0]),
        )
        maps = fill_classes(scene, parameters["means"], parameters["sds"], grain)
        return {**scene, "maps": maps}

    def _check_known(self, scene):
        if "labels" not in scene:
            return
        counts = torch.bincount(scene["labels"].reshape(-1)[::101].long(), minlength=len(TISSUES))
        present = [TISSUES[i] for i, n in enumerate(counts[: len(TISSUES)].tolist()) if n]
        missing = [name for name in present if name not in self.statistics and name != "lesion"]
        if missing or len(counts) > len(TISSUES):
            raise ValueError(
                f"the statistics have no {missing or 'class above ' + str(len(TISSUES) - 1)}; "
                "add it, or change the table by which the label map was read"
            )


def _positive(draws, mean, sd):
    """A normal value that does not fall below a fifth of its mean."""
    return max(0.2 * mean, draws.normal(mean, sd))


def _shape(scene):
    return scene["labels" if "labels" in scene else "tissues"].shape[1:]


def fill_classes(scene, means, sds, grain):
    """Turn noise into a Gaussian mixture over the classes of a scene.

    Parameters
    ----------
    scene : dict
        With ``labels`` of shape (1, *spatial), or ``tissues`` of shape (classes, *spatial).
    means, sds : sequence of shape (classes, channels)
    grain : tensor of shape ``(channels, *spatial)``
        Noise of unit variance; it is overwritten by the result.

    Returns
    -------
    tensor of shape ``(channels, *spatial)``, float32, not negative
    """
    device, shape = grain.device, grain.shape[1:]
    means, sds = (
        plain(torch.tensor(v, dtype=torch.float32, device=device).T.contiguous())
        for v in (means, sds)
    )
    hard = "labels" in scene
    tissues = plain(scene["labels"][0] if hard else scene["tissues"])

    def work(rows):
        if hard:
            classes = whole(tissues[rows].reshape(-1))
        else:
            classes = tissues[:, rows].reshape(len(tissues), -1)
        for channel, mean, sd in zip(plain(grain), means, sds, strict=True):
            noise = channel[rows].reshape(-1)
            if hard:
                values = noise * sd.take(classes) + mean.take(classes)
            else:
                values = noise * (sd @ classes) + mean @ classes
            channel[rows] = values.clip(0).reshape(channel[rows].shape)

    over_slabs(work, shape, device)
    return grain


@parameters
class RandomSequence(Step):
    """Scan the maps of a scene with a random protocol: ``image``, of one channel, replaces them.

    The uniform image of an MP2RAGE is moved up by 0.5, as scanners store it, with a dark
    background.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([[[1, 3], [4, 0]]], dtype=torch.uint8)
    >>> maps, _ = TissueMaps().sample({"labels": labels}, 0)
    >>> scan, history = RandomSequence(["flair"]).sample(maps, 0)
    >>> history[0]["parameters"]["sequence"], sorted(scan), tuple(scan["image"].shape)
    ('flair', ['image', 'labels'], (1, 2, 2))
    """

    sequences: tuple = parameter(
        SEQUENCES,
        Each(StrOptions(set(SEQUENCES))),
        kind="sequence of str",
        doc="Those to draw from.",
        first=True,
    )
    ranges: str = parameter(
        "plausible",
        StrOptions(set(RANGES)),
        kind='{"plausible", "reference", "reference-segmentation"}',
        doc="See `sample_protocol`.",
    )

    def draw(self, draws, scene):
        return dict(sample_protocol(draws.choice(self.sequences), self.ranges, draws))

    def apply(self, scene, parameters):
        values = dict(zip(MAPS, scene["maps"], strict=False))
        image = simulate(QuantitativeMaps.unchecked(**values), Protocol(parameters))
        if parameters["sequence"] == "mp2rage":
            image += 0.5 * (values["pd"] > 0)
        rest = {name: tensor for name, tensor in scene.items() if name != "maps"}
        return {**rest, "image": image[None]}
