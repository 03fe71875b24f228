"""Noise of images: Rician or non-central chi where they are magnitudes, else Gaussian.

It is drawn as a field of numbers from a seed, so a history repeats it.
"""

from ..parameters import COUNT, NOT_NEGATIVE, parameter, parameters
from ..randomness import sample_seed
from .fields import smooth_field, white_noise
from .slabs import voxelwise
from .steps import NoisyStep

__all__ = ["RicianNoise", "add_noise", "draw_noise", "has_sign"]

# Of the range of an image; what is nearer to 0 is rounding.
_ROUNDING = 1e-5


@parameters
class RicianNoise(NoisyStep):
    r"""Noise of a magnitude image, and Gaussian noise of one that has a sign.

    .. math:: S' = \sqrt{(S + n_1)^2 + n_2^2 + \ldots + n_{2L}^2}, \quad n_i \sim N(0, \sigma^2)

    for L coils: Rician for one, non-central chi for several. Where there is no signal its mean is
    :math:`\sigma \sqrt{\pi/2}` for one coil. An image that has a sign (standardised, computed
    tomography, a phase) would be folded by this; it becomes :math:`S + n_1`.

    Parameters
    ----------
    {parameters}

    References
    ----------
    Gudbjartsson and Patz, Magn Reson Med 34:910 (1995), doi 10.1002/mrm.1910340618.

    Examples
    --------
    Where there is no signal, the noise has a mean.

    >>> import math, torch
    >>> image = torch.zeros(1, 64, 64)
    >>> image[..., 0] = 1.0
    >>> scene, history = RicianNoise(0.1).sample({"image": image}, 0)
    >>> sd = history[0]["parameters"]["sd"]
    >>> background = float(scene["image"][..., 1:].mean())
    >>> math.isclose(background, sd * math.sqrt(math.pi / 2), rel_tol=0.05)
    True
    """

    sd: float = parameter(
        0.1,
        NOT_NEGATIVE,
        doc="""
        Largest standard deviation, as a share of the highest intensity; where the image has a
        sign, of its range.
        """,
        first=True,
    )
    coils: int = parameter(1, COUNT, doc="Most coils that are combined; 1 is Rician.")
    g_factor: float = parameter(
        0.0,
        NOT_NEGATIVE,
        doc="""
        Largest strength of the uneven noise of parallel imaging: log sd of a smooth map. 0 is even
        noise.
        """,
    )
    signed: bool | None = parameter(
        None,
        "boolean",
        None,
        kind="bool or None",
        doc="""
        Whether the image has a sign. None sees it by voxels below 0. Ringing leaves some, too:
        where `Gibbs` comes before, say False, or use `Acquisition`, which looks before it.
        """,
    )

    def draw(self, draws, scene):
        return draw_noise(self, draws, scene)

    def apply(self, scene, parameters):
        return {**scene, "image": add_noise(scene["image"], parameters)}


def draw_noise(step, draws, scene):
    """Parameters of `add_noise`, drawn within the ranges of a `RicianNoise`."""
    signed = step.signed
    if signed is None:
        signed = has_sign(*map(float, scene["image"].aminmax()))
    return {
        "sd": draws.uniform(0, step.sd),
        "coils": draws.integer(1, step.coils),
        "g_factor": draws.uniform(0, step.g_factor),
        "seed": draws.seed(),
        "noise_device": step.drawn_on(scene),
        "signed": bool(signed),
    }


def has_sign(lowest, highest):
    """Whether an image with these extremes has a sign: values below 0 that are no rounding.

    Examples
    --------
    >>> has_sign(-1, 3), has_sign(-5, -2), has_sign(0, 100), has_sign(-1e-8, 1)
    (True, True, False, False)
    """
    return lowest < -_ROUNDING * (highest - lowest)


def add_noise(image, parameters):
    """Add the noise that `parameters` describe (see `RicianNoise`) to each channel of an image."""
    shape, device = image.shape, image.device
    signed = parameters.get("signed", False)
    highest = float(image.amax())
    level = (highest - float(image.amin()) if signed else max(highest, 0.0)) * parameters["sd"]
    uneven = ()
    if parameters["g_factor"]:
        field = smooth_field(parameters["seed"], [4] * (image.dim() - 1), shape[1:], device)
        uneven = (field.mul_(2 * parameters["g_factor"]).exp_().expand(shape),)
    total = None
    for k in range(1 if signed else 2 * parameters["coils"]):
        seed = sample_seed(parameters["seed"], k)
        noise = white_noise(seed, shape, device, parameters["noise_device"])

        def power(n, x, *g, first=k == 0):
            n = n * level * g[0] if g else n * level
            if signed:
                return n + x
            return (n + x) ** 2 if first else n**2 + x

        # The first field is added to the image, the square of every further one to the sum.
        total = voxelwise(power, noise, image if k == 0 else total, *uneven, out=noise)
    return total if signed else voxelwise(lambda x: x**0.5, total, out=total)
