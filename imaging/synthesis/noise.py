"""Noise of magnitude images: Rician for one coil, non-central chi for several.

It is drawn as a field of numbers from a seed, so a history repeats it.
"""

from ..physics.draws import sample_seed
from .fields import smooth_field, white_noise
from .slabs import voxelwise
from .steps import Step, device_of

__all__ = ["RicianNoise", "draw_noise", "rician"]


class RicianNoise(Step):
    r"""Noise of a magnitude image.

    .. math:: S' = \sqrt{(S + n_1)^2 + n_2^2 + \dots + n_{2L}^2}, \quad n_i \sim N(0, \sigma^2)

    for L coils: Rician for one, non-central chi for several. Where there is no signal its mean is
    :math:`\sigma \sqrt{\pi/2}` for one coil.

    Parameters
    ----------
    sd : float
        Largest standard deviation, as a share of the highest intensity.
    coils : int
        Most coils that are combined; 1 is Rician.
    g_factor : float
        Largest strength of the uneven noise of parallel imaging: log sd of a smooth map. 0 is even
        noise.
    noise_device : str or None
        Kind of device to draw noise on; None is that of the scene. "cpu" is the same everywhere.

    References
    ----------
    Gudbjartsson and Patz, Magn Reson Med 34:910 (1995), doi 10.1002/mrm.1910340618.
    """

    def __init__(self, sd=0.1, coils=1, g_factor=0.0, noise_device=None, probability=1.0):
        if coils < 1:
            raise ValueError(f"coils must be 1 or more, found {coils}")
        self.sd = sd
        self.coils = coils
        self.g_factor = g_factor
        self.noise_device = noise_device
        self.probability = probability

    def draw(self, draws, scene):
        return draw_noise(self, draws, scene)

    def apply(self, scene, parameters):
        return {**scene, "image": rician(scene["image"], parameters)}


def draw_noise(step, draws, scene):
    """Parameters of `rician`, drawn within the ranges of a `RicianNoise`."""
    return {
        "sd": draws.uniform(0, step.sd),
        "coils": draws.integer(1, step.coils),
        "g_factor": draws.uniform(0, step.g_factor),
        "seed": draws.seed(),
        "noise_device": step.noise_device or device_of(scene).type,
    }


def rician(image, parameters):
    """Add the noise that `parameters` describe (see `RicianNoise`) to each channel of an image."""
    shape, device = image.shape, image.device
    level = max(float(image.amax()), 0.0) * parameters["sd"]
    uneven = ()
    if parameters["g_factor"]:
        field = smooth_field(parameters["seed"], [4] * (image.dim() - 1), shape[1:], device)
        uneven = (field.mul_(2 * parameters["g_factor"]).exp_().expand(shape),)
    total = None
    for k in range(2 * parameters["coils"]):
        seed = sample_seed(parameters["seed"], k)
        noise = white_noise(seed, shape, device, parameters["noise_device"])

        def power(n, x, *g, first=k == 0):
            n = n * level * g[0] if g else n * level
            return (n + x) ** 2 if first else n**2 + x

        # The first field is added to the image, the square of every further one to the sum.
        total = voxelwise(power, noise, image if k == 0 else total, *uneven, out=noise)
    return voxelwise(lambda x: x**0.5, total, out=total)
