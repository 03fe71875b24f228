"""Trained networks as files: safetensors with a model card, never a pickle.

A card is a table of plain values. What a file says about itself is checked before it is believed;
what has to be in a card is for those to say who write it.
"""

import json
import math
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from ..doors.refusals import first_line
from ..errors import ImagingError
from .files import replacing

__all__ = [
    "WEIGHTS",
    "ModelFileError",
    "check_patch",
    "check_shapes",
    "check_weights",
    "fingerprints",
    "model_path",
    "plain_json",
    "pretrained_path",
    "provenance",
    "read_card",
    "read_model",
    "shapes_only",
    "write_model",
]

WEIGHTS = Path(__file__).parent.parent / "weights"
_CARD, _CHECKSUM = "model_card", "checksum"
LARGEST_WEIGHT = 1e9  # of trained networks the largest are thousands; squares of these stay numbers
MOST_PATCH_VOXELS = 2**23  # a little more than 192 x 192 x 192


class ModelFileError(ImagingError, ValueError):
    """A file does not hold a model that can be used here: the message says why."""


def write_model(path, weights, card, *, half=False):
    """Write the weights of a network and its card, whole or not at all.

    Parameters
    ----------
    path : path
        Ending in .safetensors.
    weights : dict of str to Tensor
    card : dict
        Plain values. A checksum of them and of the weights is written with them, and compared when
        the file is read.
    half : bool, default=False
        Store 16-bit floats: half the size, three digits.

    Returns
    -------
    pathlib.Path
    """
    import torch
    from safetensors.torch import save_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ModelFileError(f"found the name {path.name!r}; give one that ends in .safetensors")
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().clone()
        for name, tensor in weights.items()
    }
    card = {**card, _CHECKSUM: _checksum(card, tensors)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_CARD: json.dumps(card)})
    return path


def read_model(path, check):
    """Read weights and card.

    Parameters
    ----------
    path : path
    check : callable
        Takes the card and the shapes of all tensors by name, before any is read; returns the card
        as it counts, or raises ModelFileError.

    Returns
    -------
    weights : dict of str to Tensor
    card : dict

    Raises
    ------
    ModelFileError
        If there is no such file, it is broken or was changed, `check` refuses it, or a weight is no
        number that a trained network has.
    """
    with _opened(path) as (file, card):
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        noted = card.pop(_CHECKSUM, None)
        as_written, card = card, check(dict(card), shapes)
        weights = {name: file.get_tensor(name) for name in shapes}
    check_weights(path, weights)
    if noted is not None and noted != _checksum(as_written, weights):
        raise ModelFileError(
            f"{str(path)!r} was changed or damaged since it was written; get it again from whoever "
            "wrote it"
        )
    return weights, card


def _checksum(card, tensors):
    """What a card and its weights are, as a text; of files of this format only."""
    import torch

    found = sha256(json.dumps(card, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def check_weights(path, weights):
    """Refuse weights that no trained network has, since their results would be no numbers.

    Parameters
    ----------
    path : path
    weights : dict of str to Tensor

    Raises
    ------
    ModelFileError
    """
    import torch

    for name, tensor in weights.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        largest = float(tensor.to(torch.float32).abs().max())
        if not math.isfinite(largest):
            raise ModelFileError(f"{str(path)!r} holds values in {name!r} that are not finite")
        if largest > LARGEST_WEIGHT:
            raise ModelFileError(
                f"{str(path)!r} holds {largest:.3g} in {name!r}, larger than the weights of any "
                "trained network; copy the file again, or train anew with a lower learning rate"
            )


def read_card(path):
    """The card of a model file as it stands there; no weight is read.

    Raises
    ------
    ModelFileError
        If there is no such file, it is broken, or has no card.
    """
    with _opened(path) as (_, card):
        card.pop(_CHECKSUM, None)
        return card


def check_shapes(path, found, network):
    """Refuse weights that are not those of a network.

    Parameters
    ----------
    path : path
    found : dict of str to tuple of int
        Shapes of the tensors in the file.
    network : torch.nn.Module
        As the card describes it.

    Raises
    ------
    ModelFileError
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            raise ModelFileError(
                f"{str(path)!r} holds {name!r} of shape {found.get(name)}, where the network of "
                f"its card has {expected.get(name)}"
            )


def check_patch(path, size):
    """Refuse a patch of a card that is larger than any training sample.

    Raises
    ------
    ModelFileError
    """
    size = size if isinstance(size, (list, tuple)) else [size]
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in size)
    if not whole or math.prod(size) > MOST_PATCH_VOXELS:
        raise ModelFileError(
            f"the model card of {str(path)!r} has a patch_size of {list(size)}, which cannot be: "
            f"whole numbers above 0 were expected, {MOST_PATCH_VOXELS:,} voxels at most"
        )


def shapes_only(build):
    """The network that `build` makes, of shapes without values where its code can do that.

    So whatever a card asks for is compared with the weights in the file before it takes memory.

    Parameters
    ----------
    build : callable

    Returns
    -------
    torch.nn.Module
    """
    import torch

    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, NotImplementedError) as error:
        if "meta" not in str(error):
            raise
    return build()


def plain_json(text):
    """The values of a JSON text; ValueError of anything else, such as NaN or endless nesting.

    Examples
    --------
    >>> plain_json('{"spacing_mm": NaN}')
    Traceback (most recent call last):
        ...
    ValueError: NaN stands where a number was expected
    """

    def refuse(constant):
        raise ValueError(f"{constant} stands where a number was expected")

    def finite(digits):
        number = float(digits)
        return number if math.isfinite(number) else refuse(digits)

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def provenance(training_data, scores, seen):
    """What every card says of where its model comes from.

    Parameters
    ----------
    training_data : str
    scores : dict of str to float, or None
    seen : SeenScans

    Returns
    -------
    dict
    """
    return {
        "training_data": training_data,
        **seen.as_card(),
        "date": datetime.now(UTC).date().isoformat(),
        "scores": {name: float(value) for name, value in (scores or {}).items()},
        "version": metadata.version("prognosis-mri"),
    }


def fingerprints(weights):
    """Name and hash of every tensor, equal for equal numbers."""
    import joblib

    # As bytes: a hash of arrays would tell apart memory layouts of the same numbers.
    return [(name, joblib.hash(tensor.numpy().tobytes())) for name, tensor in weights.items()]


def model_path(model):
    """The file of a model: itself if its name ends in .safetensors, else one of the package.

    Parameters
    ----------
    model : str or path

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> model_path("mine.safetensors").name, model_path("synthetic-small").name
    ('mine.safetensors', 'synthetic-small.safetensors')
    """
    return Path(model) if str(model).endswith(".safetensors") else pretrained_path(str(model))


def pretrained_path(name):
    """The file of a model that comes with the package.

    Raises
    ------
    ModelFileError
        If none has this name.

    Examples
    --------
    >>> pretrained_path("huge")
    Traceback (most recent call last):
        ...
    imaging.storage.models.ModelFileError: no pretrained model 'huge': ...
    """
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in WEIGHTS.glob("*.safetensors")))
        remedy = f"choose among {known}" if known else "none comes with this version"
        raise ModelFileError(
            f"no pretrained model {name!r}: {remedy}; or fit a model, save it, give its file"
        )
    return path


@contextmanager
def _opened(path):
    """The file of a model and its card."""
    from safetensors import SafetensorError, safe_open

    path = Path(path).expanduser()
    if not os.path.isfile(path):
        raise ModelFileError(f"no model at {str(path)!r}; correct the path")
    try:
        with safe_open(path, "pt") as file:
            yield file, _parsed(path, (file.metadata() or {}).get(_CARD))
    except ImagingError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ModelFileError(
            f"{str(path)!r} is no safetensors file ({first_line(error)}); copy it again"
        ) from error
    except MemoryError as error:
        raise ModelFileError(
            f"{str(path)!r} needs more memory than there is; copy it again"
        ) from error


def _parsed(path, text):
    if text is None:
        raise ModelFileError(
            f"{str(path)!r} has no model card; it was not written by `save` of a model"
        )
    try:
        card = plain_json(text)
    except ValueError as error:
        raise ModelFileError(f"the model card of {str(path)!r} is no JSON ({error})") from error
    if not isinstance(card, dict):
        raise ModelFileError(f"the model card of {str(path)!r} is no table of names and values")
    return card
