"""The time line of a sequence: how long it waits where, and whether a scanner could run it."""

from typing import NamedTuple

from ..errors import TimingError
from .arrays import number

__all__ = ["check_timing", "mp2rage_intervals", "mprage_intervals"]

DEFAULT_SPACING = 0.006


class Intervals(NamedTuple):
    """Seconds from inversion to readouts, between two trains, and from them to the next cycle."""

    before: float
    between: float
    after: float
    spacing: float
    echo: float
    n_readouts: int


def readout_times(echo_time, excitation_spacing):
    """Fill in whichever of echo time and excitation spacing is missing.

    Examples
    --------
    >>> readout_times(0.003, None), readout_times(None, None)
    ((0.003, 0.006), (0.003, 0.006))
    """
    echo, spacing = number(echo_time), number(excitation_spacing)
    if spacing is None:
        spacing = DEFAULT_SPACING if echo is None else 2 * echo
    if echo is None:
        echo = spacing / 2
    return echo, spacing


def mprage_intervals(*, repetition_time, inversion_time, echo_time, n_readouts, excitation_spacing):
    """Waits of an MPRAGE; they come out negative where the timing cannot exist."""
    echo, spacing = readout_times(echo_time, excitation_spacing)
    n = _whole(n_readouts)
    half = n * spacing / 2
    start, cycle = number(inversion_time), number(repetition_time)
    return Intervals(start - half, 0.0, cycle - start - half, spacing, echo, n)


def mp2rage_intervals(
    *, repetition_time, inversion_times, echo_time, n_readouts, excitation_spacing
):
    """Waits of an MP2RAGE; they come out negative where the timing cannot exist."""
    echo, spacing = readout_times(echo_time, excitation_spacing)
    n = _whole(n_readouts)
    half = n * spacing / 2
    first, second = map(number, inversion_times)
    after = number(repetition_time) - second - half
    return Intervals(first - half, second - first - 2 * half, after, spacing, echo, n)


def check_timing(sequence, parameters):
    """Refuse a timing that cannot exist.

    Parameters
    ----------
    sequence : str
    parameters : mapping
        Every timing parameter of the sequence, seconds.

    Raises
    ------
    TimingError
        With the first reason found and what to change.

    Examples
    --------
    >>> check_timing("fse", {"repetition_time": 4.0, "echo_time": 0.1})
    >>> check_timing("fse", {"repetition_time": 0.1, "echo_time": 4.0})
    Traceback (most recent call last):
    imaging.errors.TimingError: fse: the echo comes 4 s after the excitation, but ...
    """
    p = {name: _lowest(value) for name, value in parameters.items()}
    times = ("repetition_time", "echo_time", "inversion_time", "excitation_spacing")
    for name in times:
        _require(
            p.get(name) is None or p[name] > 0,
            sequence,
            f"{name} is {p.get(name)} s; times are positive and in seconds",
        )
    cycle = p["repetition_time"]
    _require(
        cycle < 60,
        sequence,
        f"repetition_time is {cycle:g} s; times are in seconds, not milliseconds",
    )
    for angle in _angles(p):
        _require(
            0 <= angle <= 180,
            sequence,
            f"a flip angle of {angle:g} was found where 0 to 180 degrees were expected",
        )
    efficiency = p.get("inversion_efficiency", 1.0)
    _require(
        0 < efficiency <= 1,
        sequence,
        f"inversion_efficiency is {efficiency:g}; it lies above 0 and up to 1 (a full inversion)",
    )
    if sequence in ("mprage", "mp2rage"):
        _check_trains(sequence, p)
        return
    echo, inversion = p["echo_time"], p.get("inversion_time", 0.0)
    _require(
        inversion < cycle,
        sequence,
        f"the inversion time of {inversion:g} s is longer than the cycle of {cycle:g} s; "
        "raise repetition_time or lower inversion_time",
    )
    _require(
        inversion + echo < cycle,
        sequence,
        f"the echo comes {inversion + echo:g} s after the "
        f"{'inversion' if inversion else 'excitation'}, but the cycle is over after {cycle:g} s; "
        "raise repetition_time or lower echo_time",
    )


def _check_trains(sequence, p):
    names = ("repetition_time", "echo_time", "n_readouts", "excitation_spacing")
    common = {name: p[name] for name in names}
    if sequence == "mprage":
        times = mprage_intervals(inversion_time=p["inversion_time"], **common)
        first = p["inversion_time"]
    else:
        times = mp2rage_intervals(inversion_times=p["inversion_times"], **common)
        first = p["inversion_times"][0]
    train = times.n_readouts * times.spacing
    what = f"the train of {times.n_readouts} readouts lasts {train:.3g} s"
    _require(
        times.n_readouts >= 2,
        sequence,
        f"n_readouts is {times.n_readouts}; a train has 2 or more readouts",
    )
    _require(
        times.echo < times.spacing,
        sequence,
        f"the echo time of {times.echo:g} s does not fit between excitations {times.spacing:g} s "
        "apart; raise excitation_spacing or lower echo_time",
    )
    _require(
        times.before >= 0,
        sequence,
        f"{what}, so half of it does not fit between the inversion and an inversion time of "
        f"{first:g} s; raise the inversion time or lower n_readouts",
    )
    _require(
        times.between >= 0,
        sequence,
        f"{what}, so two of them overlap at the inversion times {p.get('inversion_times')}; "
        "move the inversion times apart or lower n_readouts",
    )
    _require(
        times.after >= 0,
        sequence,
        f"{what} and ends after the cycle of {p['repetition_time']:g} s; "
        "raise repetition_time or lower n_readouts",
    )


def _require(holds, sequence, reason):
    if not holds:
        raise TimingError(f"{sequence}: {reason}")


def _angles(p):
    if "flip_angles" in p:
        return p["flip_angles"]
    return (p["flip_angle"],) if "flip_angle" in p else ()


def _lowest(value):
    """A plain number (a tensor that autograd follows is looked at, not followed)."""
    if isinstance(value, (tuple, list)):
        return tuple(_lowest(item) for item in value)
    if hasattr(value, "detach"):
        value = value.detach()
    return float(value.min()) if hasattr(value, "min") else value


def _whole(n_readouts):
    return round(float(n_readouts))
