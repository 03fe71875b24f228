"""An encoder that stands on template coordinates: the vector of a scan is the shape of its head.

A network says which tissue every voxel is and where in the template it lies; what the head measures
is read off that (`imaging.registration.places.shape`). Learnt is only which combinations of
measures tell people apart and not scans; that is solved in closed form from simulated people.
"""

import os
from numbers import Integral
from pathlib import Path

import joblib
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from ..errors import ImageError
from ..learning.refitting import refitting
from ..parameters import COUNT, SHARE, Interval, StrOptions, parameter, parameters
from ..randomness import sample_seed
from ..registration.places.model import CoordinateModel
from ..registration.places.shape import N_MEASURES
from ..storage.models import (
    ModelFileError,
    model_path,
    pretrained_path,
    provenance,
    read_model,
    write_model,
)
from ..storage.seen import SeenScans
from ..voxelwise.sequences import naming
from .scans import mean_vectors, scan_list

__all__ = ["HeadShapeEncoder"]

_KIND, _FORMAT = "HeadShapeEncoder", 1
_WAVES_MM = (480.0, 160.0)  # of the features of a voxel; half of the longest spans a head


@parameters
class HeadShapeEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A vector for every scan that hangs on the head, not on contrast, pose or field of view.

    Nothing of an outcome is learnt, nor of any scan that is given: `fit` simulates people, scans
    each of them twice, and keeps those directions of what heads measure along which people differ
    and scans of one person do not.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    model_ : CoordinateModel
    centre_ : ndarray of shape (202,)
        Mean measures.
    directions_ : ndarray of shape (202, n_features)
        Strongest first; scans of one simulated person have unit variance along each.
    card_ : dict
        After `load`.

    References
    ----------
    Fisher, Annals of Eugenics 7:179 (1936), for the directions.

    Examples
    --------
    >>> import nibabel as nib
    >>> from imaging.registration import Located
    >>> from imaging.synthesis import LabelMapSource
    >>> model = CoordinateModel(
    ...     channels=(8, 8, 8), source=Located(LabelMapSource(spacing_mm=8)), spacing_mm=8,
    ...     patch_size=32, epochs=3, steps_per_epoch=8, learning_rate=1e-2, validation_samples=0,
    ...     random_state=0,
    ... ).fit()
    >>> encoder = HeadShapeEncoder(
    ...     model, source=LabelMapSource(spacing_mm=4), n_people=4, n_features=2, random_state=0
    ... ).fit()
    >>> encoder.directions_.shape
    (202, 2)
    """

    coordinates: object = parameter(
        "coordinates",
        str,
        os.PathLike,
        HasMethods("measures"),
        kind="str, path or CoordinateModel",
        first=True,
        doc="The model that places voxels: the name of one that comes with the package, a file, or "
        "a fitted model.",
    )
    n_features: int = parameter(6, COUNT, doc="Length of the vector, 202 at most.")
    source: object = parameter(
        None,
        HasMethods("sample"),
        None,
        kind="LabelMapSource or None",
        doc="Label maps of simulated people; None is the embedded head.",
    )
    n_people: int = parameter(
        200, Interval(Integral, 2, None, closed="left"), doc="That are simulated."
    )
    contrast: str = parameter(
        "both",
        StrOptions({"both", "mixture", "physics"}),
        kind='{"both", "mixture", "physics"}',
        doc="Of their scans.",
    )
    shrinkage: float = parameter(
        0.1,
        SHARE,
        doc="How far the covariance within people is drawn towards its diagonal.",
    )
    random_state: object = parameter(None, "random_state", kind="int, RandomState or None")
    frozen: bool = parameter(
        False,
        "boolean",
        doc="`fit` learns nothing; `load` and `from_pretrained` set it, so that a loaded encoder "
        "stays what it is in a Pipeline or a cross-validation.",
    )

    @property
    def _n_features_out(self):
        return self.directions_.shape[1]

    def fit(self, X=None, y=None):
        """Solve for the directions that tell simulated people apart.

        Parameters
        ----------
        X, y : ignored
            Nothing is learnt of them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        ImageError
            If fewer than two simulated people could be measured.
        """
        self._validate_params()
        if self.frozen:
            check_is_fitted(self, "directions_")
            return self
        with refitting(self):
            self.model_ = self._model()
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            pairs = self._pairs(seed)
            if len(pairs) < 2:
                raise ImageError(
                    f"of {self.n_people} simulated people {len(pairs)} could be measured; the "
                    "coordinate model is not trained well enough"
                )
            self.centre_, self.directions_ = _solved(pairs, self.n_features, self.shrinkage)
        return self

    def transform(self, X):
        """The vector of every scan.

        Parameters
        ----------
        X : sequence of scans
            A list, an array, or one column of a table. Several sequences of one patient, as a list,
            give the mean of their vectors.

        Returns
        -------
        ndarray of shape (n_scans, n_features), float32

        Raises
        ------
        ImageError
            If a scan cannot be used: the message names its place in `X`.
        """
        check_is_fitted(self, "directions_")
        measured = mean_vectors(X, self.model_.measures)
        rows = [(one - self.centre_) @ self.directions_ for one in measured]
        return np.array(rows, np.float32).reshape(len(rows), self._n_features_out)

    def transform_map(self, X):
        """Features at every voxel, of unit length: alike where two scans show the same place.

        Parameters
        ----------
        X : sequence of scans

        Returns
        -------
        list of nibabel.Nifti1Image, float32
            On each scan's own voxels, 12 features along a last axis. The product of two of them
            falls with the distance of their places in the template.
        """
        import nibabel as nib

        check_is_fitted(self, "directions_")
        found = []
        for number, scan in enumerate(scan_list(X)):
            with naming(number):
                where = self.model_.predict(scan).coordinates
                angles = [np.float32(2 * np.pi / wave) * where.get_fdata() for wave in _WAVES_MM]
                waves = [turned(angle) for angle in angles for turned in (np.sin, np.cos)]
                values = np.concatenate(waves, -1) / np.sqrt(3 * len(_WAVES_MM))
                found.append(nib.Nifti1Image(values.astype(np.float32), where.affine))
        return found

    def save(self, path, *, training_data="", scores=None):
        """Write directions and card to a safetensors file, which names the coordinate model.

        Parameters
        ----------
        path : path
            Ending in .safetensors.
        training_data : str
            For the card.
        scores : dict of str to float, or None
            For the card.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ModelFileError
            If the name has another ending, or `coordinates` is no name or file.
        """
        import torch

        check_is_fitted(self, "directions_")
        if not isinstance(self.coordinates, (str, os.PathLike)):
            raise ModelFileError(
                "the file names its coordinate model; save that first, and give its path as "
                "coordinates"
            )
        card = {
            "format": _FORMAT,
            "kind": _KIND,
            "coordinates": str(self.coordinates),
            "coordinates_identity": self.model_.identity(),
            **provenance(training_data, scores, SeenScans()),
        }
        weights = {"centre": self.centre_, "directions": self.directions_}
        return write_model(path, {n: torch.from_numpy(v) for n, v in weights.items()}, card)

    @classmethod
    def load(cls, path, **parameters):
        """An encoder from a file that `save` wrote; nothing is unpickled.

        Parameters
        ----------
        path : path
        **parameters
            Of the encoder; ``coordinates`` where the coordinate model lies elsewhere now.

        Raises
        ------
        ModelFileError
            If the file or its card do not fit, or the coordinate model is another one.
        """
        weights, card = read_model(path, lambda card, shapes: _checked(path, card, shapes))
        given = {"coordinates": card["coordinates"], **parameters}
        model = cls(**{"n_features": weights["directions"].shape[1], "frozen": True, **given})
        model._validate_params()
        model.model_ = model._model()
        if model.model_.identity() != card["coordinates_identity"]:
            raise ModelFileError(
                f"{str(path)!r} stands on another coordinate model than {model.coordinates!r}; "
                "give the one that it was fitted with as coordinates"
            )
        model.centre_, model.directions_ = (weights[n].numpy() for n in ("centre", "directions"))
        model.card_ = card
        return model

    @classmethod
    def from_pretrained(cls, name="sequence-invariant-small", **parameters):
        """An encoder that comes with the package; parameters and errors as `load`."""
        return cls.load(pretrained_path(name), **parameters)

    def identity(self):
        """A short text by which fitted encoders can be told apart; saving and loading keep it."""
        check_is_fitted(self, "directions_")
        return joblib.hash((_KIND, self.model_.identity(), self.centre_, self.directions_))

    def _model(self):
        if not isinstance(self.coordinates, (str, Path, os.PathLike)):
            check_is_fitted(self.coordinates, "network_")
            return self.coordinates
        return CoordinateModel.load(model_path(self.coordinates))

    def _pairs(self, seed):
        """Measures of two scans of each simulated person, (people, 2, 202)."""
        from ..synthesis.sources import LabelMapSource
        from .people import LabelledPeople
        from .views import Views

        model = self.model_
        source = LabelMapSource() if self.source is None else self.source
        people = LabelledPeople(source, model.patch_size_, model.spacing_mm, contrast=self.contrast)
        views = Views(people, contrast=self.contrast, clean=False)
        to_mm, pairs = np.diag([*[model.spacing_mm] * 3, 1.0]), []
        for number in range(self.n_people):
            images, _, _ = views.draw(sample_seed(seed, number))
            try:
                pairs.append([model._measured(image, to_mm) for image in images])
            except ImageError:
                continue  # a view that shows next to no head
        return np.array(pairs, np.float32)


def _solved(pairs, n_features, shrinkage):
    """Mean of measures, and the directions along which people differ."""
    import torch

    from ..nets.shapes import discriminant

    flat = pairs.reshape(-1, pairs.shape[-1]).astype(float)
    centre, apart = flat.mean(0), (pairs[:, 0] - pairs[:, 1]).astype(float)
    within = torch.from_numpy(apart.T @ apart / (2 * len(apart)))
    total = torch.from_numpy(np.cov(flat.T))
    found = discriminant(total - within, within, n_features, shrinkage)
    return centre.astype(np.float32), found.numpy().astype(np.float32)


def _checked(path, card, shapes):
    known = {"centre", "directions"}
    if card.get("kind") != _KIND or card.get("format") != _FORMAT or set(shapes) != known:
        raise ModelFileError(
            f"{str(path)!r} holds no {_KIND} of format {_FORMAT}; load it with the class that "
            "wrote it"
        )
    if shapes["directions"][0] != N_MEASURES or shapes["centre"] != (N_MEASURES,):
        raise ModelFileError(
            f"{str(path)!r} holds {shapes['directions'][0]} measures, this version has "
            f"{N_MEASURES}; install the version that wrote it"
        )
    missing = [n for n in ("coordinates", "coordinates_identity") if n not in card]
    if missing:
        raise ModelFileError(f"the card of {str(path)!r} lacks {missing[0]}")
    return card
