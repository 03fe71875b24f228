"""A segmenter's way to a file and back, and what tells it from another one."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

__all__ = ["StoredModel"]


class StoredModel:
    """Mixin: `save`, `load`, `from_pretrained` and `identity`."""

    def save(self, path, *, training_data="", scores=None, half=False):
        """Write the trained network and its model card to one safetensors file.

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

        Parameters
        ----------
        path : path
        **parameters
            Of the segmenter, such as ``test_time_flips=True``. To train it further, set those of a
            training, such as ``epochs=20``, and call `fit`.

        Raises
        ------
        ModelFileError
            If the file, its card, its classes or its weights do not fit.
        """
        from .model_files import ModelFileError, read_model

        network, card = read_model(path)
        if tuple(card["classes"]) not in cls._known_classes:
            raise ModelFileError(
                f"{str(path)!r} has the classes {', '.join(map(str, card['classes']))}; "
                f"{cls.__name__} needs {' or '.join(map(str, cls._known_classes))}"
            )
        names = ("architecture", "spatial_dims", "spacing_mm", "deep_supervision", "dropout", "ct")
        stored = {name: card[name] for name in names}
        stored["channels"] = None if card["channels"] is None else tuple(card["channels"])
        stored["patch_size"] = tuple(card["patch_size"])
        stored["mirror"] = card["mirror"] if np.ndim(card["mirror"]) == 0 else tuple(card["mirror"])
        stored["initial_weights"] = str(path)
        segmenter = cls(**{**stored, **parameters})
        segmenter.network_, segmenter.card_ = network, card
        segmenter.classes_ = tuple(card["classes"])
        segmenter.patch_size_ = stored["patch_size"]
        return segmenter

    @classmethod
    def from_pretrained(cls, name="synthetic-small", **parameters):
        """A segmenter that comes with the package; parameters and errors as `load`."""
        from .model_files import pretrained_path

        return cls.load(pretrained_path(name), **parameters)

    def identity(self):
        """A short text that is equal for two fitted segmenters that give the same masks."""
        import joblib

        from .model_files import fingerprints

        check_is_fitted(self, "network_")
        names = ("spacing_mm", "overlap", "test_time_flips", "mirror", "ct", "threshold")
        chosen = [getattr(self, name, None) for name in names]
        weights = fingerprints(self.network_.state_dict())
        return joblib.hash(repr((type(self).__name__, weights, _plain([chosen, self.patch_size_]))))

    def _card(self, training_data, scores):
        from datetime import UTC, datetime
        from importlib import metadata

        chances = [self.mirror] if np.ndim(self.mirror) == 0 else self.mirror
        return {
            "task": type(self).__name__,
            "classes": list(self.classes_),
            "spacing_mm": float(self.spacing_mm),
            "patch_size": [int(n) for n in self.patch_size_],
            "spatial_dims": self.spatial_dims,
            "architecture": self.architecture,
            "channels": None if self.channels is None else [int(n) for n in self.channels],
            "deep_supervision": bool(self.deep_supervision),
            "dropout": float(self.dropout),
            "mirror": [float(c) for c in chances] * (self.spatial_dims // len(chances)),
            "ct": bool(self.ct),
            "training_data": training_data,
            "date": datetime.now(UTC).date().isoformat(),
            "scores": {name: float(value) for name, value in scores.items()},
            "version": metadata.version("prognosis-mri"),
        }


def _plain(value):
    """Numbers as floats and sequences as lists, so that 8 and 8.0 are the same setting."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (bool, type(None))):
        return value
    return float(value)
