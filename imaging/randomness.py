"""Random numbers from an explicit seed: the same seed gives the same draws on every device.

Nothing here reads or moves the global random state of torch, numpy or python.
"""

import math
import secrets

import numpy as np
import torch

__all__ = ["Draws", "as_draws", "sample_seed"]

_SEEDS = 2**63 - 1


class Draws:
    """Scalars from the distributions that parameters are drawn from.

    Parameters
    ----------
    seed : int, torch.Generator or None
        A seed, or a generator on the CPU, which is advanced. None takes fresh entropy.

    Examples
    --------
    >>> Draws(3).uniform(0, 1) == Draws(3).uniform(0, 1)
    True
    """

    def __init__(self, seed=None):
        if seed is None:
            seed = secrets.randbits(62)
        if isinstance(seed, torch.Generator):
            if seed.device.type != "cpu":
                raise ValueError(
                    f"found a generator on {seed.device} where one on the CPU was expected; "
                    "parameters are drawn there so that every device draws the same: give an "
                    "integer seed or torch.Generator()"
                )
            self.generator = seed
        elif isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
            self.generator = torch.Generator().manual_seed(int(seed) % _SEEDS)
        else:
            raise TypeError(
                f"found {seed!r} ({type(seed).__name__}) as a seed; give an "
                "integer seed, a torch.Generator or None"
            )

    def uniform(self, low=0.0, high=1.0):
        """Draw from U(low, high)."""
        return low + (high - low) * self._unit()

    def log_uniform(self, low, high):
        """Draw x with log x uniform between log(low) and log(high)."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def normal(self, mean=0.0, sd=1.0):
        """Draw from N(mean, sd²)."""
        z = torch.randn((), generator=self.generator, dtype=torch.float64).item()
        return mean + sd * z

    def log_normal(self, median, sd):
        """Draw 10**N(log10 median, sd²)."""
        return median * 10.0 ** self.normal(0.0, sd)

    def integer(self, low, high):
        """Draw a whole number from low to high, both possible."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability):
        """Draw True with the given probability."""
        return self._unit() < probability

    def choice(self, options):
        """Draw one of `options`, all equally likely."""
        options = list(options)
        return options[self.integer(0, len(options) - 1)]

    def seed(self):
        """Draw a seed for numbers that are drawn elsewhere, such as a noise field."""
        return int(torch.randint(0, _SEEDS, (), generator=self.generator))

    def normals(self, *shape):
        """Draw a small array of standard normal numbers, float32, on the CPU."""
        return torch.randn(shape, generator=self.generator)

    def uniforms(self, *shape):
        """Draw a small array from U(0, 1), float32, on the CPU."""
        return torch.rand(shape, generator=self.generator)

    def _unit(self):
        return torch.rand((), generator=self.generator, dtype=torch.float64).item()


def as_draws(seed):
    """Wrap a seed or generator; a `Draws` passes through and keeps advancing."""
    return seed if isinstance(seed, Draws) else Draws(seed)


def sample_seed(seed, index):
    """Mix a seed with the running number of a sample, so that batches may be split anywhere.

    Examples
    --------
    >>> sample_seed(0, 1) == sample_seed(0, 1) != sample_seed(0, 2)
    True
    """
    words = np.random.SeedSequence([int(seed) % _SEEDS, int(index)]).generate_state(2, np.uint32)
    return (int(words[0]) << 31) | (int(words[1]) >> 1)
