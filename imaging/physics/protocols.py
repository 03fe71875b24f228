"""Protocols: the parameters of one scan, readable, storable as JSON, and replayable.

A protocol is a dictionary, so that `simulate(maps, protocol)` and `json.dump` both take it.
"""

from ..randomness import as_draws
from .ranges import RANGES
from .simulation import SEQUENCES

__all__ = ["Protocol", "sample_protocol"]

_UNITS = {
    "repetition_time": ("TR", "s"),
    "inversion_time": ("TI", "s"),
    "inversion_times": ("TI", "s"),
    "echo_time": ("TE", "ms"),
    "excitation_spacing": ("spacing", "ms"),
    "flip_angle": ("flip", "°"),
    "flip_angles": ("flip", "°"),
    "n_readouts": ("readouts", ""),
    "field_strength": ("field", "T"),
}


class Protocol(dict):
    """The sequence, its parameters, and where they were drawn from.

    Keys: ``sequence``, ``ranges``, the parameters of the sequence, and ``field_strength`` (tesla)
    or ``gain``. Printing it gives one line for people.

    Examples
    --------
    >>> print(Protocol(sequence="fse", repetition_time=4.0, echo_time=0.1, field_strength=3.0))
    FSE: TR 4 s, TE 100 ms, field 3 T
    """

    def __str__(self):
        parts = []
        for name, value in self.items():
            if name not in ("sequence", "ranges"):
                label, unit = _UNITS.get(name, (name.replace("_", " "), ""))
                parts.append(f"{label} {_readable(value, unit)}")
        return f"{self['sequence'].upper()}: {', '.join(parts)}"


def _readable(value, unit):
    if isinstance(value, (tuple, list)):
        return " and ".join(_readable(item, unit) for item in value)
    space = "" if unit == "°" else " "
    return f"{value * 1000 if unit == 'ms' else value:.3g}{space}{unit}".rstrip()


def sample_protocol(sequence=None, ranges="plausible", seed=None):
    """Draw the parameters of a scan.

    Parameters
    ----------
    sequence : str or None
        One of `SEQUENCES`; None draws one, all equally likely.
    ranges : {"plausible", "reference", "reference-segmentation"}
        "plausible" draws what clinical scanners run at 1.5 to 3 T: every timing can exist, and R1
        and R2* follow the field. The others draw as two published systems did, for pretraining and
        for segmentation: most of those MP2RAGE and half of those FLAIR timings cannot exist, and
        the field strength is only a gain.
    seed : int, torch.Generator, Draws or None
        None takes fresh entropy.

    Returns
    -------
    Protocol

    Raises
    ------
    ValueError
        If the sequence or the ranges are unknown.

    Examples
    --------
    >>> protocol = sample_protocol("flair", seed=0)
    >>> protocol["inversion_time"] < protocol["repetition_time"]
    True
    >>> protocol == sample_protocol("flair", seed=0)
    True
    """
    if ranges not in RANGES:
        raise ValueError(f"found ranges={ranges!r}; choose one of {', '.join(map(repr, RANGES))}")
    if sequence is not None and sequence not in SEQUENCES:
        raise ValueError(f"found sequence {sequence!r}; choose one of {', '.join(SEQUENCES)}")
    draws = as_draws(seed)
    if sequence is None:
        sequence = draws.choice(SEQUENCES)
    protocol = Protocol(sequence=sequence, ranges=ranges, **RANGES[ranges][sequence](draws))
    if ranges == "plausible":
        protocol["field_strength"] = draws.choice((1.5, 3.0))
    else:
        protocol["gain"] = draws.uniform(0.3, 7.0)
    return protocol
