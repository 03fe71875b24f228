"""The model card of a network: which parameters it keeps, and what it must hold to be believed.

`STORED` is the one list of the parameters that masks depend on: a card is written from it, read by
it, and a segmenter is told from another one by it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import ImagingError
from .parameters import per_axis

__all__ = ["FORMAT", "STORED", "ModelFileError", "check_card", "plain_parameters", "restored"]

FORMAT = 1


class ModelFileError(ImagingError, ValueError):
    """A file does not hold a model that can be used here: the message says why."""


class _Stored(NamedTuple):
    """A parameter, its way to plain JSON and back, and the JSON types it may have there."""

    name: str
    plain: Callable  # of its value and the segmenter
    restore: Callable
    kinds: tuple
    always: bool = True  # in every card; else older ones have the default of the class


def _flips(value, segmenter):
    return bool(value) if isinstance(value, (bool, np.bool_)) else [int(axis) for axis in value]


def _optional_tuple(value):
    return None if value is None else tuple(value)


STORED = (
    _Stored("architecture", lambda value, _: value, str, (str,)),
    _Stored("spatial_dims", lambda value, _: int(value), int, (int,)),
    _Stored(
        "channels",
        lambda value, _: None if value is None else [int(n) for n in value],
        _optional_tuple,
        (list, type(None)),
    ),
    _Stored("spacing_mm", lambda value, _: float(value), float, (int, float)),
    _Stored("patch_size", lambda _, ours: [int(n) for n in ours.patch_size_], tuple, (list,)),
    _Stored("deep_supervision", lambda value, _: bool(value), bool, (bool,)),
    _Stored("dropout", lambda value, _: float(value), float, (int, float)),
    _Stored(
        "mirror",
        lambda value, ours: [float(c) for c in per_axis("mirror", value, ours.spatial_dims)],
        lambda value: value if np.ndim(value) == 0 else tuple(value),
        (list, int, float),
    ),
    _Stored("ct", lambda value, _: bool(value), bool, (bool,)),
    _Stored("overlap", lambda value, _: float(value), float, (int, float), always=False),
    _Stored(
        "test_time_flips",
        _flips,
        lambda value: value if isinstance(value, bool) else tuple(value),
        (bool, list),
        always=False,
    ),
    _Stored("threshold", lambda value, _: float(value), float, (int, float), always=False),
    _Stored("learn_tissues", lambda value, _: bool(value), bool, (bool,), always=False),
)

_NEEDED = {
    "format": int,
    "task": str,
    "classes": list,
    **{stored.name: stored.kinds for stored in STORED if stored.always},
    "training_data": str,
    "date": str,
    "scores": dict,
    "version": str,
}
_OPTIONAL = {
    **{stored.name: stored.kinds for stored in STORED if not stored.always},
    "trained_on": list,
    "trained_on_others": bool,
}


def plain_parameters(segmenter):
    """The parameters of a fitted segmenter that masks depend on, as plain JSON."""
    own = segmenter.get_params(deep=False)
    return {s.name: s.plain(own[s.name], segmenter) for s in STORED if s.name in own}


def restored(card, names):
    """Parameters from a card, of those `names` that it holds."""
    return {s.name: s.restore(card[s.name]) for s in STORED if s.name in names and s.name in card}


def check_card(path, card):
    """Refuse a card that lacks something or contradicts itself.

    Raises
    ------
    ModelFileError
    """
    for name, kind in {**_NEEDED, **{n: k for n, k in _OPTIONAL.items() if n in card}}.items():
        if not isinstance(card.get(name), kind):
            raise ModelFileError(
                f"the model card of {str(path)!r} has {name}={card.get(name)!r}; it is missing or "
                "of the wrong type"
            )
    if card["format"] != FORMAT:
        raise ModelFileError(
            f"{str(path)!r} has format {card['format']}, this version reads {FORMAT}; "
            "install the version that wrote it"
        )
    dims, size = card["spatial_dims"], card["patch_size"]
    if dims not in (2, 3) or len(size) != dims or not all(isinstance(n, int) for n in size):
        raise ModelFileError(
            f"the model card of {str(path)!r} has a patch_size of {size} for {dims} axes"
        )
    if not 0 < card["spacing_mm"] < np.inf or len(set(card["classes"])) < 2:
        raise ModelFileError(
            f"the model card of {str(path)!r} has spacing_mm={card['spacing_mm']!r} and classes "
            f"{card['classes']!r}, which cannot be"
        )
