"""The model card of a network: which parameters it keeps, and what it must hold to be believed.

Format 2 has fields that all models share, and a block of the task. Format 1, which knew classes
only, is read as format 2. What is stored is said where a parameter is declared (`stored`).
"""

from numbers import Real
from types import NoneType, UnionType
from typing import get_args

import numpy as np

from ..parameters import SPACING, Channels, fields_of, shown
from ..storage.models import ModelFileError, check_patch
from .settings import Settings, per_axis

__all__ = [
    "FORMAT",
    "as_format_2",
    "built_as",
    "check_card",
    "plain_parameters",
    "restored",
    "stored_fields",
]

FORMAT = 2
MOST_OUTPUTS = 1000

_NEEDED = {
    "format": int,
    "outputs": list,
    "task": dict,
    "training_data": str,
    "date": str,
    "scores": dict,
    "version": str,
}
_OPTIONAL = {"trained_on": list, "trained_on_others": bool}
_OF_TASK_1 = ("ct", "threshold", "learn_tissues")
_RENAMED_1 = {"test_time_flips": "test_time_mirroring", "classes": "outputs"}


def stored_fields(cls):
    """The declared parameters of a class that its card keeps, by name: all, and those of the task.

    Returns
    -------
    common, of_task : dict of str to dataclasses.Field
    """
    found = {n: f for n, f in fields_of(cls).items() if f.metadata.get("stored")}
    shared = fields_of(Settings)
    return (
        {name: field for name, field in found.items() if name in shared},
        {name: field for name, field in found.items() if name not in shared},
    )


def built_as(model):
    """Architecture and channels of the network; parameters, unless it began with an encoder."""
    return (
        getattr(model, "architecture_", model.architecture),
        getattr(model, "channels_", model.channels),
    )


def plain_parameters(model):
    """The parameters of a fitted model that results depend on, as plain JSON: all, of the task."""
    architecture, channels = built_as(model)
    counted = {
        **model.get_params(deep=False),
        "patch_size": model.patch_size_,
        "mirror": per_axis("mirror", model.mirror, model.spatial_dims),
        "architecture": architecture,
        "channels": channels,
    }
    return tuple(
        {name: _plain(counted[name], field.type) for name, field in fields.items()}
        for fields in stored_fields(type(model))
    )


def restored(card, cls):
    """The parameters of a class that a card holds, as `__init__` takes them."""
    common, of_task = stored_fields(cls)
    held = {n: card[n] for n in common if n in card}
    held |= {n: card["task"][n] for n in of_task if n in card["task"]}
    return {name: _restored(value) for name, value in held.items()}


def as_format_2(card):
    """A card of format 1 as one of format 2; others are left as they are."""
    if card.get("format") != 1:
        return card
    card = {_RENAMED_1.get(name, name): value for name, value in card.items()}
    task = {"name": card.get("task"), **{n: card.pop(n) for n in _OF_TASK_1 if n in card}}
    return {**card, "format": FORMAT, "task": task}


def check_card(path, card):
    """Refuse a card that lacks something or contradicts itself.

    Raises
    ------
    ModelFileError
    """
    named = f"the model card of {str(path)!r}"
    if card.get("format") != FORMAT:
        raise ModelFileError(
            f"{str(path)!r} has format {card.get('format')}, this version reads up to {FORMAT}; "
            "install the version that wrote it"
        )
    fields = stored_fields(Settings)[0]
    always = {n: _kinds(f.type) for n, f in fields.items() if f.metadata["stored"] == "always"}
    later = {n: _kinds(f.type) for n, f in fields.items() if n in card and n not in always}
    known = {name: kind for name, kind in _OPTIONAL.items() if name in card}
    for name, kind in {**_NEEDED, **always, **later, **known}.items():
        if name not in card or not isinstance(card[name], kind):
            raise ModelFileError(
                f"{named} has {name}={card.get(name)!r}; it is missing or of the wrong type"
            )
    dims, size = card["spatial_dims"], card["patch_size"]
    size = size if isinstance(size, list) else [size]
    if dims not in (2, 3) or len(size) != dims:
        raise ModelFileError(f"{named} has a patch_size of {size} for {dims} axes")
    check_patch(path, size)
    outputs = card["outputs"]
    spacing = card["spacing_mm"]
    if (
        not (spacing is None or SPACING.is_satisfied_by(spacing))
        or not 0 < len(outputs) <= MOST_OUTPUTS
        or not all(isinstance(name, str) for name in outputs)
        or len(set(outputs)) < len(outputs)
    ):
        raise ModelFileError(
            f"{named} has spacing_mm={card['spacing_mm']!r} and outputs {shown(outputs)}, which "
            "cannot be"
        )
    channels = card["channels"]
    if channels is not None and not Channels().is_satisfied_by(channels):
        raise ModelFileError(f"{named} has channels={shown(channels)}, which cannot be")
    _check_origin(named, card)


def _check_origin(named, card):
    """Refuse what a card says of its task, scores and scans that is not of their kind."""
    if not isinstance(card["task"].get("name"), str):
        raise ModelFileError(f"{named} does not name its task")
    for name, value in card["scores"].items():
        if not isinstance(value, Real) or isinstance(value, bool) or not np.isfinite(value):
            raise ModelFileError(f"{named} has the score {name}={shown(value)}; no number")
    if not all(isinstance(one, str) for one in card.get("trained_on", [])):
        raise ModelFileError(f"{named} has trained_on={shown(card['trained_on'])}; no fingerprints")


def _kinds(annotation):
    """Types that a value of an annotated type may have in JSON."""
    found = []
    for kind in get_args(annotation) if isinstance(annotation, UnionType) else (annotation,):
        json_kinds = {float: (int, float), tuple: (list,), object: (str,), None: (NoneType,)}
        found += json_kinds.get(kind, (kind,))
    return tuple(found)


def _plain(value, annotation):
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(one, annotation) for one in value]
    floating = float in (get_args(annotation) or (annotation,))
    if isinstance(value, Real):
        return float(value) if floating else int(value)
    return value


def _restored(value):
    return tuple(_restored(one) for one in value) if isinstance(value, list) else value
