"""What a scan loses on its way: blur, thick slices, coarse voxels, ringing, noise.

Each has a step of its own. `Acquisition` is all of them in the order of nature: the anatomy is
blurred and sampled coarsely, noise comes with the sample, and the voxels are interpolated at last.
"""

from dataclasses import MISSING
from numbers import Real

from ..parameters import CHANCE, NOT_NEGATIVE, Interval, parameter, parameters
from .noise import RicianNoise, add_noise, draw_noise
from .separable import along_axes, chain, downsampling, gaussian, truncation, upsampling
from .steps import Step

__all__ = ["Acquisition", "Blur", "Gibbs", "LowResolution"]


@parameters
class Blur(Step):
    """Gaussian blur of random width along each axis.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    A point is spread, and what it is worth stays.

    >>> import torch
    >>> point = torch.zeros(1, 9, 9)
    >>> point[0, 4, 4] = 1
    >>> scene, history = Blur(2.0).sample({"image": point}, 0)
    >>> round(float(scene["image"].sum()), 4), bool(scene["image"].max() < 1)
    (1.0, True)
    """

    fwhm: float = parameter(
        3.0, NOT_NEGATIVE, doc="Largest full width at half maximum, voxels.", first=True
    )

    def draw(self, draws, scene):
        dims = scene["image"].dim() - 1
        return {"fwhm": [draws.uniform(0, self.fwhm) for _ in range(dims)]}

    def apply(self, scene, parameters):
        image = scene["image"]
        sizes = image.shape[1:]
        blurs = [gaussian(n, w) for n, w in zip(sizes, parameters["fwhm"], strict=True)]
        return {**scene, "image": along_axes(image, blurs)}


@parameters
class LowResolution(Step):
    """Thick slices along one axis, or coarse voxels along all; linearly interpolated back.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import torch
    >>> image = torch.rand(1, 16, 16)
    >>> scene, history = LowResolution(thick_slices=1.0).sample({"image": image}, 2)
    >>> [round(voxels, 2) for voxels in history[0]["parameters"]["thickness"]]
    [1.0, 7.67]
    >>> bool(scene["image"].var() < image.var())
    True
    """

    thickest: float = parameter(
        8.0,
        Interval(Real, 1, None, closed="left"),
        doc="Largest slice thickness, voxels; slices of 8 do occur.",
    )
    coarsest: float = parameter(
        4.0,
        Interval(Real, 1, None, closed="left"),
        doc="Largest coarse voxel, in voxels: what is coarse along all axes leaves little to see "
        "beyond 4.",
    )
    thick_slices: float = parameter(
        0.7, CHANCE, doc="Chance of thick slices rather than coarse voxels."
    )

    def draw(self, draws, scene):
        dims = scene["image"].dim() - 1
        axis = draws.integer(0, dims - 1)
        if draws.chance(self.thick_slices):
            thickness = [1.0] * dims
            thickness[axis] = draws.uniform(1, self.thickest)
        else:
            thickness = [draws.uniform(1, self.coarsest)] * dims
        return {"thickness": thickness}

    def apply(self, scene, parameters):
        image = scene["image"]
        down, up = _sampling(image.shape[1:], parameters["thickness"])
        both = [chain(d, u) for d, u in zip(down, up, strict=True)]
        return {**scene, "image": along_axes(image, both)}


@parameters
class Gibbs(Step):
    """Ringing at sharp edges: the outer part of k-space is missing along each axis.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    An edge between 0 and 1 overshoots on both sides.

    >>> import torch
    >>> edge = (torch.arange(32) >= 16).float().expand(1, 32, 32)
    >>> scene, _ = Gibbs(least_kept=0.3).sample({"image": edge}, 0)
    >>> bool(scene["image"].max() > 1), bool(scene["image"].min() < 0)
    (True, True)
    """

    least_kept: float = parameter(
        0.6,
        Interval(Real, 0, 1, closed="right"),
        doc="Smallest share of k-space that is kept along an axis, in (0, 1].",
        first=True,
    )

    def draw(self, draws, scene):
        dims = scene["image"].dim() - 1
        return {"kept": [draws.uniform(self.least_kept, 1) for _ in range(dims)]}

    def apply(self, scene, parameters):
        image = scene["image"]
        cuts = [truncation(n, k) for n, k in zip(image.shape[1:], parameters["kept"], strict=True)]
        return {**scene, "image": along_axes(image, cuts)}


@parameters
class Acquisition(Step):
    """Blur, ringing, slice profile and noise of one scan, at the resolution of that scan.

    Each of them occurs with its own chance; the linear ones are multiplied into one small matrix
    per axis. Whether the image is a magnitude is seen before it is blurred and rings.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    What is even everywhere stays so, but for the noise.

    >>> import torch
    >>> silent = RicianNoise(probability=0.0)
    >>> scan = Acquisition(Blur(), LowResolution(), Gibbs(), silent)
    >>> scene, _ = scan.sample({"image": torch.ones(1, 12, 12)}, 0)
    >>> torch.allclose(scene["image"], torch.ones(1, 12, 12), atol=1e-5)
    True
    """

    blur: Blur = parameter(
        MISSING,
        Blur,
        doc="Its range and its probability are used, as those of the others.",
        first=True,
    )
    resolution: LowResolution = parameter(
        MISSING, LowResolution, doc="Slices and voxels of the scan.", first=True
    )
    gibbs: Gibbs = parameter(MISSING, Gibbs, doc="Ringing, before it is sampled.", first=True)
    noise: RicianNoise = parameter(
        MISSING, RicianNoise, doc="Noise of the samples, before they are interpolated.", first=True
    )

    def draw(self, draws, scene):
        steps = {"blur": self.blur, "resolution": self.resolution, "gibbs": self.gibbs}
        parameters = {}
        for name, step in steps.items():
            parameters[name] = step.draw(draws, scene) if draws.chance(step.probability) else None
        noisy = draws.chance(self.noise.probability)
        parameters["noise"] = draw_noise(self.noise, draws, scene) if noisy else None
        return parameters

    def apply(self, scene, parameters):
        image = scene["image"]
        sizes = image.shape[1:]
        blur, low, gibbs, noise = (parameters[k] for k in ("blur", "resolution", "gibbs", "noise"))
        into = [None] * len(sizes)
        back = [None] * len(sizes)
        if blur:
            into = [gaussian(n, w) for n, w in zip(sizes, blur["fwhm"], strict=True)]
        if gibbs:
            cuts = [truncation(n, k) for n, k in zip(sizes, gibbs["kept"], strict=True)]
            into = [chain(a, b) for a, b in zip(into, cuts, strict=True)]
        if low:
            down, back = _sampling(sizes, low["thickness"])
            into = [chain(a, b) for a, b in zip(into, down, strict=True)]
        if noise is None:
            whole = [chain(a, b) for a, b in zip(into, back, strict=True)]
            return {**scene, "image": along_axes(image, whole)}
        measured = add_noise(along_axes(image, into), noise)
        return {**scene, "image": along_axes(measured, back)}


def _sampling(sizes, thickness):
    """Matrices to the slices of a scan and back, None along axes that keep their voxels."""
    down, up = [], []
    for size, thick in zip(sizes, thickness, strict=True):
        matrix = downsampling(size, thick)
        whole = len(matrix) == size
        down.append(None if whole else matrix)
        up.append(None if whole else upsampling(size, len(matrix)))
    return down, up
