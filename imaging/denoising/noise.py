"""Noise of scans: how much there is, and a step that adds some and makes it the target."""

from numbers import Real

import numpy as np
import torch

from ..errors import ImageError
from ..parameters import Interval, Ordered, StrOptions, parameter, parameters
from ..randomness import sample_seed
from ..synthesis.fields import white_noise
from ..synthesis.steps import Step
from ..volumes import is_picture
from ..voxelwise.geometry import prepare

__all__ = ["LEVEL", "AddedNoise", "noise_sd"]

LEVEL = Interval(Real, 0, None, closed="neither")
_TO_SD = 1.4826  # of a normal distribution, from the median absolute deviation
_FEWEST = 64  # differences that a standard deviation is taken of


def noise_sd(scan):
    """The standard deviation of the noise of a scan, in the scan's own units.

    Neighbouring voxels are subtracted along all axes at once, which leaves little of a head but all
    of its noise. Where the head is brighter than the scan's mean and is not steep, the median
    absolute value of these differences gives the standard deviation.

    Parameters
    ----------
    scan : path, nibabel image, or ndarray of shape (x, y) or (x, y, z)
        As the scanner made it: resampling, smoothing and denoising make neighbours alike, and the
        result is then too small.

    Returns
    -------
    float
        Of Gaussian noise, and of the two Gaussians that Rician noise is made of where the signal is
        well above it.

    Raises
    ------
    ImageError
        If the scan cannot be read, or has fewer than four voxels along an axis.

    References
    ----------
    Donoho and Johnstone, Biometrika 81:425 (1994), for the median; Coupé et al., Med Image Anal
    14:483 (2010), doi 10.1016/j.media.2010.03.001, for the head without its edges.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y, z = np.meshgrid(*[np.linspace(-1, 1, 32)] * 3)
    >>> head = 100.0 * (x**2 + y**2 + z**2 < 0.7)
    >>> round(noise_sd(head + rng.normal(0, 5, head.shape)), 1)
    5.0
    """
    if isinstance(scan, np.ndarray):
        array = scan.astype(np.float32, copy=False)
    else:
        array = prepare(scan, None, 2 if is_picture(scan) else 3).upright
    if array.ndim not in (2, 3) or min(array.shape) < 4:
        raise ImageError(
            f"found a scan of {array.shape} voxels; the noise is estimated in 2 or 3 axes of at "
            "least 4 voxels"
        )
    if not np.isfinite(array).all():
        raise ImageError("the scan holds values that are not finite; correct them")
    fine = coarse = np.asarray(array, np.float64)
    for axis in range(array.ndim):
        low = [slice(None)] * array.ndim
        high = list(low)
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        low, high = tuple(low), tuple(high)
        fine = (fine[high] - fine[low]) / np.sqrt(2)
        coarse = (coarse[high] + coarse[low]) / 2
    steep = sum(slope**2 for slope in np.gradient(coarse))
    head = coarse > array.mean(dtype=np.float64)
    flat = head & (steep <= np.median(steep[head])) if head.any() else head
    # Voxels that were set to one value have no noise to be measured.
    chosen = fine[flat] if np.count_nonzero(flat) >= _FEWEST else fine[fine != 0]
    return float(_TO_SD * np.median(np.abs(chosen))) if chosen.size else 0.0


@parameters
class AddedNoise(Step):
    """Add noise to a clean scan, and make the noise the target.

    The scan, and ``target``, are then in units of the noise's standard deviation.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> scene = {"image": torch.linspace(0, 1, 4096).reshape(1, 16, 16, 16)}
    >>> noisy, history = AddedNoise("gaussian").sample(scene, 0)
    >>> round(float(noisy["target"].std()), 1)
    1.0
    >>> clean = (noisy["image"] - noisy["target"]) * history[0]["parameters"]["sd"]
    >>> float(clean.max() - clean.min()) > 0
    True
    """

    probability = 1.0
    noise: str = parameter(
        "both",
        StrOptions({"gaussian", "rician", "both"}),
        first=True,
        kind='{"both", "gaussian", "rician"}',
        doc='Rician is the noise of magnitudes; "both": either, at random.',
    )
    noise_range: tuple[float, float] = parameter(
        (0.1, 1.0),
        Ordered(LEVEL),
        kind="pair of float",
        doc="Least and greatest standard deviation, in that of the head's intensities.",
    )

    def draw(self, draws, scene):
        kinds = {"both": draws.chance(0.5), "rician": True, "gaussian": False}
        return {
            "sd": draws.log_uniform(*self.noise_range),
            "rician": kinds[self.noise],
            "centred": draws.chance(0.5),
            "stripped": draws.chance(0.3),
            "seed": draws.seed(),
        }

    def apply(self, scene, parameters):
        clean = scene["image"]
        head = clean[clean > clean.mean()]
        deviation = float(head.std()) if head.numel() > 1 else 0.0
        if deviation == 0:
            deviation = float(clean.max() - clean.min()) or 1.0
        if parameters["centred"] and not parameters["rician"]:  # a scan that was standardised
            clean = clean - head.mean() if head.numel() else clean
        clean = clean / (deviation * parameters["sd"])
        seeds = [sample_seed(parameters["seed"], k) for k in range(2)]
        noisy = clean + white_noise(seeds[0], clean.shape, clean.device, "cpu")
        if parameters["rician"]:
            other = white_noise(seeds[1], clean.shape, clean.device, "cpu")
            noisy = (noisy.square() + other.square()).sqrt()
        if parameters["stripped"]:  # what was cut away has no noise either
            noisy = torch.where(clean == clean.min(), clean, noisy)
        return {**scene, "image": noisy, "target": noisy - clean}
