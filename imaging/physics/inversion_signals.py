"""The voxelwise arithmetic of MPRAGE and MP2RAGE, apart from the times and angles it starts from.

`..._constants` turns a protocol into numbers, `..._signal` takes them to the voxels; so the latter
can be compiled once for all protocols. Powers of the readout decay take one exponential each.
"""

from .arrays import number
from .gradient_echo import flip
from .timing import mp2rage_intervals, mprage_intervals

__all__ = [
    "mp2rage_centres",
    "mp2rage_constants",
    "mp2rage_signal",
    "mprage_constants",
    "mprage_signal",
]

_TINY = 1e-30


def mprage_constants(*, flip_angle, n_readouts, inversion_efficiency, receive, transmit, **timing):
    """What `mprage_signal` needs besides the maps: numbers, or arrays of fields."""
    times = mprage_intervals(n_readouts=n_readouts, **timing)
    sine, cosine, complement = flip(flip_angle, transmit)
    middle = times.n_readouts // 2 - 1
    return {
        "spacing": times.spacing,
        "before_time": times.before,
        "after_time": times.after,
        "half_time": middle * times.spacing,
        "echo": times.echo,
        "cosine": cosine,
        "complement": complement,
        "half_cosine": cosine**middle,
        "efficiency": number(inversion_efficiency),
        "gain": sine * number(receive),
        "rest": times.n_readouts - 2 * middle,
    }


def mprage_signal(
    xp,
    pd,
    r1,
    r2s,
    *,
    spacing,
    before_time,
    after_time,
    half_time,
    echo,
    cosine,
    complement,
    half_cosine,
    efficiency,
    gain,
    rest,
):
    """The voxelwise part of `mprage`, in the notation of the library `xp`."""
    fresh = xp.expm1(r1 * -spacing)
    before = xp.exp(r1 * -before_time)
    after = xp.exp(r1 * -after_time)
    half = xp.exp(r1 * -half_time) * half_cosine
    lost, step = _readout(fresh, cosine, complement)
    whole = _train(half, step, rest)

    # Everything is written as what is missing to full magnetisation, 1 - g in place of g.
    read_out = whole * (lost - before) - lost
    steady = (1 + after * read_out) / (1 + whole * before * after * efficiency)
    centre = half * (lost - before * (1 + steady * efficiency)) + (1 - lost)
    decayed = xp.exp(r2s * -echo)
    return abs(centre) * decayed * pd * gain


def _readout(fresh, cosine, complement):
    """What one readout does, from E_x - 1: the missing level 1 - g, and the decay c E_x."""
    kept = fresh + 1
    return kept / (1 - fresh * (cosine / (complement + _TINY))), kept * cosine


def _train(half, step, rest):
    """The whole train, from the decay over half of it and over one readout: half² step^rest."""
    whole = half * step
    if rest == 2:
        return whole * whole
    return whole * whole * step ** (rest - 2)


def mp2rage_constants(*, flip_angles, n_readouts, inversion_efficiency, transmit, **timing):
    """What `mp2rage_signal` needs besides the maps: numbers, or arrays of fields."""
    times = mp2rage_intervals(n_readouts=n_readouts, **timing)
    sine1, cosine1, complement1 = flip(flip_angles[0], transmit)
    sine2, cosine2, complement2 = flip(flip_angles[1], transmit)
    n = times.n_readouts
    to_first, to_second = n // 2 - 1, n - n // 2
    return {
        "spacing": times.spacing,
        "before_time": times.before,
        "between_time": times.between,
        "after_time": times.after,
        "half_time": to_first * times.spacing,
        "sines": (sine1, sine2),
        "cosines": (cosine1, cosine2),
        "complements": (complement1, complement2),
        "half_cosines": (cosine1**to_first, cosine2**to_second),
        "whole_cosines": (cosine1**n, cosine2**n),
        "efficiency": number(inversion_efficiency),
        "rest": n - 2 * to_first,
        "later": to_second - to_first,
    }


def mp2rage_signal(xp, pd, r1, *, signed, **constants):
    """The voxelwise part of `mp2rage`, in the notation of the library `xp`."""
    first, second = mp2rage_centres(xp, r1, **constants)
    product = first * second
    if not signed:
        product = abs(product)
    return product / (first * first + second * second + _TINY) * (pd != 0)


def mp2rage_centres(
    xp,
    r1,
    *,
    spacing,
    before_time,
    between_time,
    after_time,
    half_time,
    sines,
    cosines,
    complements,
    half_cosines,
    whole_cosines,
    efficiency,
    rest,
    later,
):
    """Transverse magnetisation at the centre of both trains, per unit of PD."""
    fresh = xp.expm1(r1 * -spacing)
    step = fresh + 1
    before = xp.exp(r1 * -before_time)
    between = xp.exp(r1 * -between_time)
    after = xp.exp(r1 * -after_time)
    half = xp.exp(r1 * -half_time)
    half2 = half * (step**later if later > 1 else step) * half_cosines[1]
    train = _train(half, step, rest)
    train1, train2 = train * whole_cosines[0], train * whole_cosines[1]

    # As in `mprage`, in what is missing to full magnetisation.
    lost1, _ = _readout(fresh, cosines[0], complements[0])
    lost2, _ = _readout(fresh, cosines[1], complements[1])
    second = between * (train1 * (lost1 - before) - lost1)
    kept = train1 * before * between
    steady = 1 + after * (train2 * (second + lost2) - lost2)
    steady = steady / (1 + kept * train2 * after * efficiency) * efficiency
    first = half * half_cosines[0] * (lost1 - before * (1 + steady)) + (1 - lost1)
    second = half2 * (second + lost2 - steady * kept) + (1 - lost2)
    return first * sines[0], second * sines[1]
