"""Label maps become quantitative maps, and those the image of a random sequence.

Hard labels take a value per class; soft labels mix the classes of a voxel. Every map has its own
noise within a class.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch

from ..parameters import NOT_NEGATIVE, Each, StrOptions, check_parameters
from ..physics.maps import QuantitativeMaps
from ..physics.protocols import Protocol, sample_protocol
from ..physics.ranges import RANGES
from ..physics.simulation import SEQUENCES, simulate
from ..physics.tissues import TISSUE_STATISTICS, TISSUES
from .fields import texture
from .slabs import over_slabs, plain, whole
from .steps import Step, device_of

__all__ = ["MAPS", "RandomSequence", "TissueMaps", "fill_classes"]

MAPS = ("pd", "r1", "r2s", "mt", "r2")


class TissueMaps(Step):
    """Draw quantitative maps for the tissues of a scene.

    Adds ``maps``, of shape (4 or 5, *spatial): PD, R1, R2*, MT and, where the statistics have it,
    R2.

    Parameters
    ----------
    statistics : mapping of str to TissueStatistics
        By name of tissue; every tissue of the scene must be in it.
    spread : float
        Of the mean of a class between samples, in standard deviations of the statistics.
    temperature : float
        Of values within a class, in standard deviations of the statistics.
    texture_width : float
        Largest width of the noise within a class, voxels.
    noise_device : str or None
        Kind of device to draw noise on; None is that of the scene.
    """

    _parameter_constraints: ClassVar = {
        "statistics": [Mapping],
        "spread": [NOT_NEGATIVE],
        "temperature": [NOT_NEGATIVE],
        "texture_width": [NOT_NEGATIVE],
        "noise_device": [str, None],
    }

    def __init__(
        self,
        statistics=TISSUE_STATISTICS,
        spread=1.0,
        temperature=0.3,
        texture_width=10.0,
        noise_device=None,
        probability=1.0,
    ):
        self.statistics = statistics
        self.spread = spread
        self.temperature = temperature
        self.texture_width = texture_width
        self.noise_device = noise_device
        self.probability = probability
        check_parameters(self)

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
            "noise_device": self.noise_device or device_of(scene).type,
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
    grain : tensor of shape (channels, *spatial)
        Noise of unit variance; it is overwritten by the result.

    Returns
    -------
    tensor of shape (channels, *spatial), float32, not negative
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


class RandomSequence(Step):
    """Scan the maps of a scene with a random protocol: ``image``, of one channel, replaces them.

    The uniform image of an MP2RAGE is moved up by 0.5, as scanners store it, with a dark
    background.

    Parameters
    ----------
    sequences : sequence of str
        Those to draw from.
    ranges : {"plausible", "reference", "reference-segmentation"}
        See `sample_protocol`.
    """

    _parameter_constraints: ClassVar = {
        "sequences": [Each(StrOptions(set(SEQUENCES)))],
        "ranges": [StrOptions(set(RANGES))],
    }

    def __init__(self, sequences=SEQUENCES, ranges="plausible", probability=1.0):
        self.sequences = sequences
        self.ranges = ranges
        self.probability = probability
        check_parameters(self)

    def draw(self, draws, scene):
        return dict(sample_protocol(draws.choice(self.sequences), self.ranges, draws))

    def apply(self, scene, parameters):
        values = dict(zip(MAPS, scene["maps"], strict=False))
        image = simulate(QuantitativeMaps.unchecked(**values), Protocol(parameters))
        if parameters["sequence"] == "mp2rage":
            image += 0.5 * (values["pd"] > 0)
        rest = {name: tensor for name, tensor in scene.items() if name != "maps"}
        return {**rest, "image": image[None]}
