"""Flip angles: what a nominal angle and a transmit field do to the magnetisation."""

import math

from .arrays import namespace, number

__all__ = ["flip"]


def flip(flip_angle, transmit):
    """Sine, cosine and 1 - cosine of a flip angle in degrees, times the transmit field.

    1 - cosine comes from the half angle: small angles would lose half its digits otherwise.
    """
    angle = number(flip_angle) * number(transmit) * (math.pi / 180)
    xp = math if isinstance(angle, (int, float)) else namespace(angle)
    complement = 2 * xp.sin(angle / 2) ** 2
    return xp.sin(angle), 1 - complement, complement
