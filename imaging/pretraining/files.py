"""A pretrained encoder's way to a file and back: safetensors with a card, as other models have."""

from numbers import Real

import joblib
from sklearn.utils.validation import check_is_fitted

from ..parameters import fields_of, marked
from ..storage.models import (
    ModelFileError,
    check_patch,
    check_shapes,
    fingerprints,
    model_path,
    pretrained_path,
    provenance,
    read_card,
    read_model,
    shapes_only,
    write_model,
)
from ..storage.seen import SeenScans
from .settings import Settings

__all__ = ["StoredEncoder", "initial_encoder"]

FORMAT = 1
KIND = "SequenceInvariantEncoder"
_NEEDED = {
    "training_data": str,
    "date": str,
    "scores": dict,
    "version": str,
    "trained_on": list,
    "epochs_trained": int,
}
_KEPT = ("encoder.", "dense.")  # the projector and the reconstruction have served their time


class StoredEncoder:
    """Mixin: `save`, `load`, `from_pretrained` and `identity`."""

    def save(self, path, *, training_data="", scores=None, half=False):
        """Write the encoder and its card to one safetensors file.

        Parameters
        ----------
        path : path
            Ending in .safetensors.
        training_data : str
            What it was trained on, and for how long, for the card.
        scores : dict of str to float, or None
            What was measured, for the card.
        half : bool, default=False
            Store 16-bit floats.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ModelFileError
            If the name has another ending.
        """
        check_is_fitted(self, "network_")
        card = {
            "format": FORMAT,
            "kind": KIND,
            **self._stored(),
            "epochs_trained": len(getattr(self, "history_", ())) or self._epochs_before(),
            **provenance(training_data, scores, self.seen_scans_),
        }
        return write_model(path, _kept(self.network_.state_dict()), card, half=half)

    @classmethod
    def load(cls, path, **parameters):
        """A pretrained encoder from a file that `save` wrote; nothing is unpickled.

        Parameters
        ----------
        path : path
        **parameters
            Of the encoder, in place of the stored ones. ``frozen=False`` with those of a training,
            such as ``epochs=20``, lets `fit` train it further.

        Raises
        ------
        ModelFileError
            If the file, its card or its weights do not fit.
        ValueError
            If a parameter is out of its range.
        """
        stored = _stored_in(path)
        try:
            cls(**stored)._prepare_fit()
        except ValueError as error:
            raise ModelFileError(f"the card of {str(path)!r} cannot be: {error}") from error
        model = cls(**{**stored, "initial_weights": str(path), "frozen": True})
        model.set_params(**parameters)
        return model._thaw()

    @classmethod
    def from_pretrained(cls, name="sequence-invariant-small", **parameters):
        """An encoder that comes with the package; parameters and errors as `load`."""
        return cls.load(pretrained_path(name), **parameters)

    def identity(self):
        """A short text by which fitted encoders can be told apart; saving and loading keep it."""
        check_is_fitted(self, "network_")
        weights = fingerprints(_kept(self.network_.state_dict()))
        return joblib.hash(repr((KIND, weights, self._stored())))

    def _stored(self):
        """The parameters that results depend on, as plain values."""
        stored = {**marked(self, "stored"), "patch_size": self.patch_size_}
        return {name: _plain(value) for name, value in stored.items()}

    def _epochs_before(self):
        return getattr(self, "card_", {}).get("epochs_trained", 0)

    def _thaw(self):
        """Take network and card of `initial_weights` as they are."""
        self._prepare_fit()
        path = model_path(self.initial_weights)
        self.network_, self.card_ = _read(path, self)
        self.seen_scans_ = SeenScans.of_card(self.card_)
        return self


def initial_encoder(model):
    """Weights of the encoder that a training begins with, and the real scans it has learnt from.

    Raises
    ------
    ModelFileError
        If there is no such encoder, or its network is another one.
    """
    path = model_path(model.initial_weights)
    stored = _stored_in(path)
    for name in ("encoder", "channels", "spatial_dims"):
        given = getattr(model, name)
        given = None if given is None else _back(_plain(given))
        if stored[name] != given:
            raise ModelFileError(
                f"initial_weights={str(model.initial_weights)!r} has {name}={stored[name]!r} and "
                f"this encoder {given!r}; give it the same"
            )
    other = type(model)(**stored)
    other._prepare_fit()
    network, card = _read(path, other)
    return network.encoder.state_dict(), SeenScans.of_card(card)


def _read(path, model):
    """Network and card of a file, for a model with its parameters."""
    import torch

    from .fitting import build_network

    def build():
        network = build_network(model)
        network.projector = network.reconstruction = network.spread = None
        return network

    def made(how):
        try:
            with torch.random.fork_rng():
                return how(build)
        except (ValueError, TypeError, RuntimeError, IndexError, ZeroDivisionError) as error:
            raise ModelFileError(
                f"{str(path)!r} describes an encoder that cannot be built: {error}"
            ) from error

    def check(card, shapes):
        check_card(path, card)
        check_shapes(path, shapes, made(shapes_only))
        return card

    weights, card = read_model(path, check)
    network = made(lambda build: build())
    network.load_state_dict(weights)
    return network.eval(), card


def check_card(path, card):
    """Refuse a card that is no encoder's or lacks something.

    Raises
    ------
    ModelFileError
    """
    if card.get("kind") != KIND:
        raise ModelFileError(
            f"{str(path)!r} holds no {KIND} but {card.get('task', card.get('kind'))!r}; load it "
            "with the class that wrote it"
        )
    if card.get("format") != FORMAT:
        raise ModelFileError(
            f"{str(path)!r} has format {card.get('format')}, this version reads {FORMAT}; install "
            "the version that wrote it"
        )
    missing = [name for name in _stored_names() if name not in card]
    wrong = [name for name, kind in _NEEDED.items() if not isinstance(card.get(name), kind)]
    if missing or wrong:
        name = (missing + wrong)[0]
        raise ModelFileError(
            f"the card of {str(path)!r} has {name}={card.get(name)!r}; it is missing or of the "
            "wrong type"
        )
    check_patch(path, card["patch_size"])
    if not all(isinstance(one, str) for one in card["trained_on"]):
        raise ModelFileError(f"the card of {str(path)!r} has other fingerprints than texts")


def _stored_names():
    return [name for name, field in fields_of(Settings).items() if field.metadata.get("stored")]


def _stored_in(path):
    """The parameters that the card of a file holds, as `__init__` takes them."""
    card = read_card(path)
    check_card(path, card)
    return {name: _back(card[name]) for name in _stored_names()}


def _kept(weights):
    return {name: tensor for name, tensor in weights.items() if name.startswith(_KEPT)}


def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Real):
        return int(value) if value == int(value) else float(value)
    return value


def _back(value):
    return tuple(value) if isinstance(value, list) else value
