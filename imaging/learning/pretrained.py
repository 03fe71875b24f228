"""Pretrained encoders, as other networks begin with them: opened, copied, and what they are."""

import copy
import os
from typing import NamedTuple

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from ..nets import PRETRAINING
from ..storage.models import ModelFileError, check_shapes, model_path, read_card, read_model
from ..storage.seen import SeenScans

__all__ = ["OpenedEncoder", "is_encoder", "open_encoder"]

_KIND = "SequenceInvariantEncoder"
_INSIDE = "encoder."  # where its weights are among those of a file


class OpenedEncoder(NamedTuple):
    """A copy of a pretrained encoder, and how one like it is built.

    Parameters
    ----------
    network : imaging.nets.encoders.Encoder
        In evaluation mode, on the CPU.
    name : str
        For `build_pretraining_encoder`.
    channels : tuple of int or None
    spatial_dims : int
    spacing_mm : float
        Of the voxels that it was pretrained on.
    seen : SeenScans
        Real scans that it has learnt from.
    """

    network: object
    name: str
    channels: tuple | None
    spatial_dims: int
    spacing_mm: float
    seen: SeenScans


def is_encoder(given):
    """Whether something that a network may begin with is a pretrained encoder, or a file of one.

    Raises
    ------
    ModelFileError
        If it names no model file.
    """
    if isinstance(given, (str, os.PathLike)):
        return read_card(model_path(given)).get("kind") == _KIND
    return given is not None


def open_encoder(given):
    """Open a pretrained encoder.

    Parameters
    ----------
    given : str, path, fitted SequenceInvariantEncoder, or a FrozenEstimator of one
        One that is frozen (as `load` gives it) may have been cloned.

    Returns
    -------
    OpenedEncoder

    Raises
    ------
    ModelFileError
        If it is no pretrained encoder, or was not fitted.
    """
    if isinstance(given, (str, os.PathLike)):
        return _read(model_path(given))
    model = getattr(given, "estimator", given)  # of a FrozenEstimator
    try:
        check_is_fitted(model, "network_")
    except (NotFittedError, TypeError) as error:
        if not getattr(model, "frozen", False):
            raise ModelFileError(
                "the encoder to begin with is not fitted, or was cloned; give a file, or "
                "sklearn.frozen.FrozenEstimator(encoder)"
            ) from error
        model = copy.copy(model).fit()  # takes its weights as they are
    channels = None if model.channels is None else tuple(model.channels)
    return OpenedEncoder(
        copy.deepcopy(model.network_.encoder).eval(),
        model.encoder,
        channels,
        model.spatial_dims,
        model.spacing_mm,
        model.seen_scans_,
    )


def _read(path):
    import torch

    from ..nets.pretraining import build_pretraining_encoder

    built = []

    def check(card, shapes):
        if card.get("kind") != _KIND or card.get("encoder") not in PRETRAINING:
            raise ModelFileError(f"{str(path)!r} holds no pretrained encoder; give one of these")
        channels = None if card.get("channels") is None else tuple(card["channels"])
        try:
            with torch.random.fork_rng():
                network = build_pretraining_encoder(
                    card["encoder"], tuple(card["patch_size"]), channels=channels
                )
            known = (card["encoder"], channels, card["spatial_dims"], card["spacing_mm"])
            built[:] = [OpenedEncoder(network.eval(), *known, SeenScans.of_card(card))]
        except (KeyError, ValueError, TypeError) as error:
            raise ModelFileError(
                f"{str(path)!r} describes an encoder that cannot be built: {error}"
            ) from error
        check_shapes(path, _of_encoder(shapes), network)
        return card

    weights, _ = read_model(path, check)
    (opened,) = built
    opened.network.load_state_dict(_of_encoder(weights))
    return opened


def _of_encoder(values):
    return {n.removeprefix(_INSIDE): v for n, v in values.items() if n.startswith(_INSIDE)}
