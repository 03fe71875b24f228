"""Trained networks as files: safetensors with a model card, never a pickle.

What a file says about itself is checked before it is believed.
"""

import json
from pathlib import Path

import torch

from ..storage.files import replacing
from .card import FORMAT, ModelFileError, check_card

__all__ = [
    "WEIGHTS",
    "ModelFileError",
    "fingerprints",
    "model_path",
    "pretrained_path",
    "read_model",
    "trained_weights",
    "write_model",
]

WEIGHTS = Path(__file__).parent.parent / "weights"
_CARD = "model_card"


def write_model(path, network, card, *, half=False):
    """Write a network and its card, whole or not at all.

    Parameters
    ----------
    path : path
        Ending in .safetensors.
    network : torch.nn.Module
    card : dict
        Plain values; see `read_model`. It must describe this network.
    half : bool, default=False
        Store 16-bit floats: half the size, three digits.

    Returns
    -------
    pathlib.Path
    """
    from safetensors.torch import save_file

    from ..nets.segmenters import build_segmenter

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ModelFileError(f"found the name {path.name!r}; give one that ends in .safetensors")
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    card = {"format": FORMAT, **card}
    check_card(path, card)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    _check_shapes(path, shapes, _network(path, card, build_segmenter).state_dict())
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_CARD: json.dumps(card)})
    return path


def read_model(path):
    """Read and check a model.

    Parameters
    ----------
    path : path

    Returns
    -------
    network : SegmentationNet
        float32, in evaluation mode.
    card : dict
        "task", "classes" in the order of the network's outputs, "spacing_mm", "patch_size",
        "spatial_dims", "architecture", "channels", "deep_supervision", "dropout", "mirror" (chance
        that training mirrored each axis), "ct", "training_data", "date", "scores", "version".
        Not in older ones: "overlap", "test_time_flips", "threshold", "learn_tissues", "trained_on"
        (fingerprints of the real scans it was trained on), "trained_on_others" (whether there are
        more that are not named).

    Raises
    ------
    ModelFileError
        If there is no such file, it is broken, its card lacks something, or its weights do not fit
        the network that the card describes.
    """
    from safetensors import SafetensorError, safe_open

    from ..nets.segmenters import build_segmenter

    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"no model at {str(path)!r}; correct the path")
    try:
        with safe_open(path, "pt") as file:
            card = (file.metadata() or {}).get(_CARD)
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            card = _parsed_card(path, card)
            network = _network(path, card, build_segmenter)
            _check_shapes(path, shapes, network.state_dict())
            weights = {name: file.get_tensor(name) for name in shapes}
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{str(path)!r} is no safetensors file ({str(error).splitlines()[0]}); copy it again"
        ) from error
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelFileError(f"{str(path)!r} holds values in {name!r} that are not finite")
    network.load_state_dict(weights)
    return network.eval(), card


def trained_weights(model, settings):
    """The weights of a trained network, for one that is to be trained further.

    Parameters
    ----------
    model : str or path
        As for `model_path`.
    settings : dict
        For `build_segmenter`, of the network that is to be trained.

    Returns
    -------
    weights : dict of str to Tensor
    card : dict
        See `read_model`.

    Raises
    ------
    ModelFileError
        If there is no such model, or its network is another one.
    """
    network, card = read_model(model_path(model))
    channels = None if card["channels"] is None else tuple(card["channels"])
    for name, value in {**card, "channels": channels}.items():
        if name in ("architecture", "channels", "spatial_dims") and settings[name] != value:
            raise ModelFileError(
                f"initial_weights={str(model)!r} has {name}={value!r} and this segmenter "
                f"{settings[name]!r}; give it the same"
            )
    return network.state_dict(), card


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

    Examples
    --------
    >>> pretrained_path("huge")
    Traceback (most recent call last):
        ...
    imaging.voxelwise.card.ModelFileError: no pretrained model 'huge': ...
    """
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in WEIGHTS.glob("*.safetensors")))
        remedy = f"choose among {known}" if known else "none comes with this version"
        raise ModelFileError(
            f"no pretrained model {name!r}: {remedy}; or fit a segmenter, save it, give its file"
        )
    return path


def _parsed_card(path, text):
    if text is None:
        raise ModelFileError(
            f"{str(path)!r} has no model card; it was not written by `save` of a segmenter"
        )
    try:
        card = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelFileError(f"the model card of {str(path)!r} is no JSON ({error})") from error
    if not isinstance(card, dict):
        raise ModelFileError(f"the model card of {str(path)!r} is no table of names and values")
    check_card(path, card)
    return card


def _network(path, card, build):
    try:
        with torch.random.fork_rng():  # random weights that are overwritten
            return build(
                card["architecture"],
                len(card["classes"]),
                spatial_dims=card["spatial_dims"],
                channels=None if card["channels"] is None else tuple(card["channels"]),
                deep_supervision=card["deep_supervision"],
                dropout=card["dropout"],
            )
    except (ValueError, TypeError) as error:
        raise ModelFileError(
            f"{str(path)!r} describes a network that cannot be built: {error}"
        ) from error


def _check_shapes(path, found, network):
    expected = {name: tuple(tensor.shape) for name, tensor in network.items()}
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            raise ModelFileError(
                f"{str(path)!r} holds {name!r} of shape {found.get(name)}, where the network of "
                f"its card has {expected.get(name)}"
            )
