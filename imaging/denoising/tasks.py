"""Denoising as a task: scans in units of their noise, and the noise as what is learnt."""

from dataclasses import dataclass

import numpy as np
import torch

from ..metrics import psnr
from ..parameters import Ordered, StrOptions, parameter, parameters
from ..synthesis.deformation import Deformation
from ..synthesis.intensity import BiasField, Gamma
from ..synthesis.noise import has_sign
from ..synthesis.steps import Chain, Keep
from ..voxelwise.scaling import from_zero
from ..voxelwise.task import Task
from .noise import LEVEL, AddedNoise, noise_sd

__all__ = ["DenoisingTask", "NoiseParameters", "NoiseUnits"]


@dataclass(frozen=True)
class NoiseUnits:
    """Scans in units of the standard deviation of their noise; as `Standardised` otherwise.

    Parameters
    ----------
    sd : float or None
        None estimates it of every scan.
    """

    sd: float | None = None

    def of(self, scan):
        """The standard deviation of a scan's noise."""
        return noise_sd(scan) if self.sd is None else self.sd

    def scaled(self, scan):
        """A scan as the network sees it: zeros where there is no noise to be taken off."""
        sd = self.of(scan)
        return np.float32(scan) / np.float32(sd) if sd > 0 else np.zeros_like(scan)

    def from_zero(self, scan):
        """A scan for steps that were made for magnitudes, and whether it had a sign."""
        return from_zero(scan)

    def finished(self, scan):
        """What `AddedNoise` has made, which is in these units already."""
        return np.asarray(scan, np.float32)

    def undone(self, values, scan):
        """Noise in the units of the scan that it belongs to."""
        return np.asarray(values, np.float32) * np.float32(self.of(scan))


@parameters
class NoiseParameters:
    """Parameters that `Denoiser` hands on to its task, which has them too."""

    noise: str = parameter(
        "both",
        StrOptions({"gaussian", "rician", "both"}),
        stored="later",
        task=True,
        kind='{"both", "gaussian", "rician"}',
        doc="""
            That is learnt. Rician is the noise of magnitudes, as scanners make them; scans that
            were standardised or simulated may have Gaussian noise. "both" learns either.""",
    )
    noise_range: tuple[float, float] = parameter(
        (0.1, 1.0),
        Ordered(LEVEL),
        stored="later",
        task=True,
        kind="pair of float",
        doc="""
            Least and greatest standard deviation of the noise in training, in that of the
            intensities of the head (what is brighter than the mean of the scan).""",
    )
    noise_sd: float | None = parameter(
        None,
        LEVEL,
        None,
        task=True,
        kind="float or None",
        doc="""
            Standard deviation of the noise of the scans to be denoised, in their own units, where
            it is known. None estimates that of each scan, see `imaging.noise_sd`.""",
    )


@parameters
class DenoisingTask(NoiseParameters, Task):
    """The noise at every voxel, to be subtracted.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> DenoisingTask().outputs, DenoisingTask(noise_sd=3.0).scaling.scaled(np.ones(1))
    (('noise',), array([0.33333334], dtype=float32))
    """

    outputs = ("noise",)
    target_name = "clean scan"
    score_name = "dB"
    scan_noise = 0.0

    @property
    def scaling(self):
        return NoiseUnits(self.noise_sd)

    def settings(self):
        return {"noise": self.noise, "noise_range": list(map(float, self.noise_range))}

    def ending(self):
        return AddedNoise(self.noise, noise_range=self.noise_range), Keep("image", "target")

    def variations(self, *, augment, signed, **geometry):
        varied = [
            Deformation(mirror=geometry["mirror"], probability=0.5),
            BiasField(strength=0.3, probability=0.5),
            Gamma(sd=0.3, probability=0.5),
        ]
        return Chain(*(varied if augment else ()), *self.ending())

    def loss(self):
        return lambda outputs, target, step: _squared(outputs, target)

    def score(self, outputs, target):
        """By how many decibels the noise is less afterwards."""
        left = float((outputs.cpu() - torch.from_numpy(target)).square().mean())
        return [10 * np.log10(max(float(np.square(target).mean()), 1e-12) / max(left, 1e-12))]

    def real_target(self, given, prepared):
        return np.zeros((1, *prepared.array.shape), np.uint8)  # `AddedNoise` makes the real one

    def finished(self, prepared, values):
        clean = prepared.upright - self.scaling.undone(prepared.back(values[0]), prepared.array)
        lowest = float(prepared.upright.min())
        if not has_sign(lowest, float(prepared.upright.max())):
            clean = np.maximum(clean, 0)  # a magnitude
        return clean.astype(np.float32)

    def real_score(self, found, given, prepared):
        return psnr(found, given)


def _squared(outputs, target):
    """Squared distance of every sample; with deep supervision of the finest outputs alone."""
    finest = outputs[-1] if isinstance(outputs, (list, tuple)) else outputs
    return (finest - target).square().flatten(1).mean(1)
