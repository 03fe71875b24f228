"""A model's way to a file and back, and what tells it from another one."""

from sklearn.utils.validation import check_is_fitted

from ..learning.pretrained import is_encoder, open_encoder
from ..nets import ON_PRETRAINED
from ..storage.models import (
    ModelFileError,
    check_shapes,
    fingerprints,
    model_path,
    pretrained_path,
    provenance,
    read_model,
    shapes_only,
    write_model,
)
from ..storage.seen import SeenScans
from .card import (
    FORMAT,
    as_format_2,
    built_as,
    check_card,
    plain_parameters,
    restored,
    stored_fields,
)

__all__ = ["StoredModel", "architecture_of", "read_network", "trained_weights"]


class StoredModel:
    """Mixin: `save`, `load`, `from_pretrained` and `identity`."""

    def save(self, path, *, training_data="", scores=None, half=False):
        """Write the trained network and its model card to one safetensors file.

        The card keeps the parameters that results depend on, and fingerprints of the real scans
        that it was trained on, so that `score` knows them again.

        Parameters
        ----------
        path : path
            Ending in .safetensors.
        training_data : str
            What it was trained on, for the card.
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
            If the name has another ending, or the architecture is a function, which no card holds.
        """
        check_is_fitted(self, "network_")
        if callable(built_as(self)[0]):
            raise ModelFileError(
                "a card cannot hold an architecture that is a function; save "
                "network_.state_dict() with torch, or take one with a name"
            )
        card = self._card(training_data, scores)
        weights = self.network_.state_dict()
        check_card(path, card)
        check_shapes(path, {n: tuple(t.shape) for n, t in weights.items()}, _network(path, card))
        return write_model(path, weights, card, half=half)

    @classmethod
    def load(cls, path, **parameters):
        """A trained model from a file that `save` wrote; nothing is unpickled.

        It gives the results of the one that was saved.

        Parameters
        ----------
        path : path
        **parameters
            Of the model, in place of the stored ones, such as ``test_time_mirroring=True``. To
            train it further, set those of a training, such as ``epochs=20``, and call `fit`.

        Raises
        ------
        ModelFileError
            If the file, its card, its outputs or its weights do not fit.
        ValueError
            If a parameter is out of its range.
        """
        network, card = read_network(path)
        stored = restored(card, cls)
        model = cls(**{**stored, "initial_weights": str(path), **parameters})
        model.outputs_ = tuple(card["outputs"])
        try:
            _ = model.task_
        except ModelFileError as error:
            raise ModelFileError(f"{str(path)!r} cannot be loaded: {error}") from error
        given = {name: value for name, value in parameters.items() if name not in stored}
        try:
            cls(**{**given, **stored})._check_parameters()
        except ValueError as error:
            cls(**parameters)._check_parameters()  # it may be what was given
            raise ModelFileError(f"the model card of {str(path)!r} cannot be: {error}") from error
        needed = [n for n, f in stored_fields(cls)[1].items() if f.metadata["stored"] == "always"]
        if missing := [name for name in needed if name not in card["task"]]:
            raise ModelFileError(
                f"the model card of {str(path)!r} says nothing of {missing[0]!r}; load it with the "
                "class that wrote it, or get it again"
            )
        model._check_parameters()
        model.network_, model.card_ = network, card
        model.patch_size_ = stored["patch_size"]
        model.seen_scans_ = SeenScans.of_card(card)
        return model

    @classmethod
    def from_pretrained(cls, name="synthetic-small", **parameters):
        """A model that comes with the package; parameters and errors as `load`."""
        return cls.load(pretrained_path(name), **parameters)

    def identity(self):
        """A short text by which fitted models can be told apart.

        Equal where class, weights and all parameters that results depend on are equal; saving and
        loading keep it.
        """
        import joblib

        check_is_fitted(self, "network_")
        weights = fingerprints(self.network_.state_dict())
        return joblib.hash(repr((type(self).__name__, weights, plain_parameters(self))))

    def _card(self, training_data, scores):
        common, of_task = plain_parameters(self)
        return {
            "format": FORMAT,
            "outputs": list(self.task_.outputs),
            "task": {"name": type(self.task_).__name__, **of_task},
            **common,
            **provenance(training_data, scores, self.seen_scans_),
        }


def read_network(path):
    """Read and check a model.

    Parameters
    ----------
    path : path

    Returns
    -------
    network : imaging.nets.voxelwise.VoxelwiseNet
        float32, in evaluation mode.
    card : dict
        Of format 2: "outputs" in the order of the network's, "task" (its "name" and the parameters
        that only it has), the stored parameters of `Settings`, "training_data", "date", "scores",
        "version"; not in older ones "trained_on" (fingerprints of the real scans it was trained
        on) and "trained_on_others" (whether there are more that are not named).

    Raises
    ------
    ModelFileError
        If there is no such file, it is broken, its card lacks something, or its weights do not fit
        the network that the card describes.
    """

    def check(card, shapes):
        card = as_format_2(card)
        check_card(path, card)
        check_shapes(path, shapes, _network(path, card, shapes_only))
        return card

    weights, card = read_model(path, check)
    network = _network(path, card)
    network.load_state_dict(weights)
    return network.eval(), card


def architecture_of(model):
    """The architecture of a model, by name or as a function, and its channels.

    Those of the pretrained encoder, where the model begins with one.

    Raises
    ------
    ModelFileError
        If the encoder does not suit the model.
    """
    if model.initial_weights is None or not is_encoder(model.initial_weights):
        return model.architecture, model.channels
    opened = open_encoder(model.initial_weights)
    if opened.spatial_dims != model.spatial_dims:
        raise ModelFileError(
            f"the encoder of initial_weights sees {opened.spatial_dims} dimensions and this model "
            f"{model.spatial_dims}; give one of as many"
        )
    if model.architecture in ON_PRETRAINED:
        if model.architecture.partition("-")[2] != opened.name:
            raise ModelFileError(
                f"found architecture={model.architecture!r} with an encoder {opened.name!r} as "
                "initial_weights; give them the same name"
            )
        return model.architecture, opened.channels
    return f"encoder-{opened.name}", opened.channels


def trained_weights(model, settings):
    """The weights of a trained network, for one that is to be trained further.

    Parameters
    ----------
    model : str, path or SequenceInvariantEncoder
        As for `model_path`, or as for `open_encoder`.
    settings : dict
        For `build_voxelwise`, of the network that is to be trained.

    Returns
    -------
    weights : dict of str to Tensor
        By their names in that network.
    seen : SeenScans
        Real scans that they have learnt from.

    Raises
    ------
    ModelFileError
        If there is no such model, or its network is another one.
    """
    if is_encoder(model):
        opened = open_encoder(model)
        way = settings["architecture"].partition("-")[0]
        part = {"encoder": "body.encoder", "features": "body.features"}[way]
        weights = opened.network.state_dict()
        return {f"{part}.{name}": tensor for name, tensor in weights.items()}, opened.seen
    network, card = read_network(model_path(model))
    channels = None if card["channels"] is None else tuple(card["channels"])
    for name, value in {**card, "channels": channels}.items():
        if name in ("architecture", "channels", "spatial_dims") and settings[name] != value:
            raise ModelFileError(
                f"initial_weights={str(model)!r} has {name}={value!r} and this model "
                f"{settings[name]!r}; give it the same"
            )
    return network.state_dict(), SeenScans.of_card(card)


def _network(path, card, built=lambda build: build()):
    import torch

    from ..nets.voxelwise import build_voxelwise

    def build():
        return build_voxelwise(
            card["architecture"],
            len(card["outputs"]),
            spatial_dims=card["spatial_dims"],
            channels=None if card["channels"] is None else tuple(card["channels"]),
            deep_supervision=card["deep_supervision"],
            dropout=card["dropout"],
            shape=tuple(card["patch_size"]),
        )

    try:
        with torch.random.fork_rng():  # random weights that are overwritten
            return built(build)
    except (ValueError, TypeError, RuntimeError, IndexError, ZeroDivisionError) as error:
        raise ModelFileError(
            f"{str(path)!r} describes a network that cannot be built: {error}"
        ) from error
