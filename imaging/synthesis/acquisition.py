"""What a scan loses on its way: blur, thick slices, coarse voxels, ringing, noise.

Each has a step of its own. `Acquisition` is all of them in the order of nature: the anatomy is
blurred and sampled coarsely, noise comes with the sample, and the voxels are interpolated at last.
"""

from numbers import Real
from typing import ClassVar

from ..parameters import CHANCE, NOT_NEGATIVE, Interval, check_parameters
from .noise import RicianNoise, add_noise, draw_noise
from .separable import along_axes, chain, downsampling, gaussian, truncation, upsampling
from .steps import Step

__all__ = ["Acquisition", "Blur", "Gibbs", "LowResolution"]


class Blur(Step):
    """Gaussian blur of random width along each axis.

    Parameters
    ----------
    fwhm : float
        Largest full width at half maximum, voxels.
    """

    _parameter_constraints: ClassVar = {"fwhm": [NOT_NEGATIVE]}

    def __init__(self, fwhm=3.0, probability=1.0):
        self.fwhm = fwhm
        self.probability = probability
        check_parameters(self)

    def draw(self, draws, scene):
        dims = scene["image"].dim() - 1
        return {"fwhm": [draws.uniform(0, self.fwhm) for _ in range(dims)]}

    def apply(self, scene, parameters):
        image = scene["image"]
        sizes = image.shape[1:]
        blurs = [gaussian(n, w) for n, w in zip(sizes, parameters["fwhm"], strict=True)]
        return {**scene, "image": along_axes(image, blurs)}


class LowResolution(Step):
    """Thick slices along one axis, or coarse voxels along all; linearly interpolated back.

    Parameters
    ----------
    thickest, coarsest : float
        Largest slice thickness and largest coarse voxel, in voxels. Voxels that are coarse along
        all axes leave little to see beyond 4; slices of 8 do occur.
    thick_slices : float
        Chance of thick slices rather than coarse voxels.
    """

    _parameter_constraints: ClassVar = {
        "thickest": [Interval(Real, 1, None, closed="left")],
        "coarsest": [Interval(Real, 1, None, closed="left")],
        "thick_slices": [CHANCE],
    }

    def __init__(self, thickest=8.0, coarsest=4.0, thick_slices=0.7, probability=1.0):
        self.thickest = thickest
        self.coarsest = coarsest
        self.thick_slices = thick_slices
        self.probability = probability
        check_parameters(self)

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


class Gibbs(Step):
    """Ringing at sharp edges: the outer part of k-space is missing along each axis.

    Parameters
    ----------
    least_kept : float
        Smallest share of k-space that is kept along an axis, in (0, 1].
    """

    _parameter_constraints: ClassVar = {"least_kept": [Interval(Real, 0, 1, closed="right")]}

    def __init__(self, least_kept=0.6, probability=1.0):
        self.least_kept = least_kept
        self.probability = probability
        check_parameters(self)

    def draw(self, draws, scene):
        dims = scene["image"].dim() - 1
        return {"kept": [draws.uniform(self.least_kept, 1) for _ in range(dims)]}

    def apply(self, scene, parameters):
        image = scene["image"]
        cuts = [truncation(n, k) for n, k in zip(image.shape[1:], parameters["kept"], strict=True)]
        return {**scene, "image": along_axes(image, cuts)}


class Acquisition(Step):
    """Blur, ringing, slice profile and noise of one scan, at the resolution of that scan.

    Each of them occurs with its own chance; the linear ones are multiplied into one small matrix
    per axis.

    Parameters
    ----------
    blur : Blur
    resolution : LowResolution
    gibbs : Gibbs
    noise : RicianNoise
        Their ranges and probabilities are used; see there. Whether the image is a magnitude is
        seen before it is blurred and rings.
    """

    _parameter_constraints: ClassVar = {
        "blur": [Blur],
        "resolution": [LowResolution],
        "gibbs": [Gibbs],
        "noise": [RicianNoise],
    }

    def __init__(self, blur, resolution, gibbs, noise, probability=1.0):
        self.blur = blur
        self.resolution = resolution
        self.gibbs = gibbs
        self.noise = noise
        self.probability = probability
        check_parameters(self)

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
