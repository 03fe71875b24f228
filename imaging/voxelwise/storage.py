"""A segmenter's way to a file and back, and what tells it from another one."""

from sklearn.utils.validation import check_is_fitted

from .card import ModelFileError, plain_parameters, restored
from .seen import SeenScans

__all__ = ["StoredModel"]


class StoredModel:
    """Mixin: `save`, `load`, `from_pretrained` and `identity`."""

    def save(self, path, *, training_data="", scores=None, half=False):
        """Write the trained network and its model card to one safetensors file.

        The card keeps the parameters that masks depend on, and fingerprints of the real scans that
        it was trained on, so that `score` knows them again.

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
        """
        from .model_files import write_model

        check_is_fitted(self, "network_")
        card = self._card(training_data, scores or {})
        return write_model(path, self.network_, card, half=half)

    @classmethod
    def load(cls, path, **parameters):
        """A trained segmenter from a file that `save` wrote; nothing is unpickled.

        It gives the masks of the one that was saved.

        Parameters
        ----------
        path : path
        **parameters
            Of the segmenter, in place of the stored ones, such as ``test_time_flips=True``. To
            train it further, set those of a training, such as ``epochs=20``, and call `fit`.

        Raises
        ------
        ModelFileError
            If the file, its card, its classes or its weights do not fit.
        ValueError
            If a parameter is out of its range.
        """
        from .model_files import read_model

        network, card = read_model(path)
        if tuple(card["classes"]) not in cls._known_classes:
            raise ModelFileError(
                f"{str(path)!r} has the classes {', '.join(map(str, card['classes']))}; "
                f"{cls.__name__} needs {' or '.join(map(str, cls._known_classes))}"
            )
        stored = restored(card, cls._get_param_names())
        try:
            cls(**stored)._check_parameters()
        except ValueError as error:
            raise ModelFileError(f"the model card of {str(path)!r} cannot be: {error}") from error
        segmenter = cls(**{**stored, "initial_weights": str(path), **parameters})
        segmenter._check_parameters()
        segmenter.network_, segmenter.card_ = network, card
        segmenter.classes_ = tuple(card["classes"])
        segmenter.patch_size_ = stored["patch_size"]
        segmenter.seen_scans_ = SeenScans.of_card(card)
        return segmenter

    @classmethod
    def from_pretrained(cls, name="synthetic-small", **parameters):
        """A segmenter that comes with the package; parameters and errors as `load`."""
        from .model_files import pretrained_path

        return cls.load(pretrained_path(name), **parameters)

    def identity(self):
        """A short text by which fitted segmenters can be told apart.

        Equal where class, weights and all parameters that masks depend on are equal; saving and
        loading keep it.
        """
        import joblib

        from .model_files import fingerprints

        check_is_fitted(self, "network_")
        weights = fingerprints(self.network_.state_dict())
        return joblib.hash(repr((type(self).__name__, weights, plain_parameters(self))))

    def _card(self, training_data, scores):
        from datetime import UTC, datetime
        from importlib import metadata

        return {
            "task": type(self).__name__,
            "classes": list(self.classes_),
            **plain_parameters(self),
            "training_data": training_data,
            **self.seen_scans_.as_card(),
            "date": datetime.now(UTC).date().isoformat(),
            "scores": {name: float(value) for name, value in scores.items()},
            "version": metadata.version("prognosis-mri"),
        }
