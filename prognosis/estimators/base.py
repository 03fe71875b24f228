"""What every image estimator shares: checking a cohort, training networks, predicting from them.

A subclass says which view it holds: how a cohort becomes images, what may change at random in
training, and where in the brain these images lie. Everything else is here once.
"""

from typing import ClassVar

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from imaging.parameters import fields_of, parameters
from imaging.storage.tensors import as_tensor

from ..columns import TabularEncoder, check_cohort, check_outcome_index, check_training
from ..errors import CohortError
from ..grouping import check_groups
from ..views.protocol import Reading
from .outputs import apply_networks, kept_output
from .parameters import ImageParameters
from .start import cross_fitted, offsets, outcome_of, pretrained_encoder
from .training import train_one

__all__ = ["ImageEstimator", "of_view"]


def of_view(name, doc):
    """An attribute of the fitted view, read from the estimator that holds it."""
    return property(lambda estimator: getattr(estimator.view_, name), doc=doc)


@parameters
class ImageEstimator(ImageParameters, BaseEstimator):
    """Base of the classifiers and regressors on images and tabular values.

    A subclass names its `view_class`, whose parameters it has too and hands on to the view.
    """

    # The patient of each row, where it is handed on by metadata routing.
    __metadata_request__fit: ClassVar = {"groups": True}
    view_class: ClassVar = None
    # Called after each epoch of each network, see `train_network`; a search sets it on its copies.
    _on_epoch = None

    grid_ = of_view("grid_", "Grid of the training images.")
    recipe_ = of_view("recipe_", "How one scan becomes an array.")
    cells_ = of_view("cells_", "Where everything lies in the picture, for `imaging.show_canvas`.")
    scaler_ = of_view("scaler_", "The `SymbolScaler`, where there are symbols.")
    symbol_rows_ = of_view("symbol_rows_", "Rows of pixels below the brain that hold symbols.")

    @property
    def mosaic_(self):
        """The layout of the brain's picture, which is known before `fit`, too."""
        return self.view_.mosaic_ if hasattr(self, "view_") else self.make_view().mosaic()

    def make_view(self):
        """The view that these parameters describe, not fitted.

        Returns
        -------
        View
        """
        names = fields_of(self.view_class)
        return self.view_class(**{name: getattr(self, name) for name in names})

    def inputs(self, X):
        """What the networks see of each patient, after `fit`: images, and encoded tabular values.

        Not what they start from: explanations are of what networks add to a patient of whom `start`
        says what it says of training patients in the mean.

        Parameters
        ----------
        X : DataFrame, or array-like when no column is declared
            As in `fit`.

        Returns
        -------
        dict of str to ndarray
            "image" of shape (n_patients, n_channels, ...), float32, where there are images, and
            "tabular" of shape (n_patients, n_values), where there are such columns.
        """
        prepared = self._prepared(self._check_X(X)).items()
        return {name: v if isinstance(v, np.ndarray) else v.array() for name, v in prepared}

    def prepared_images(self, X):
        """The images that the networks see of each patient, after `fit`.

        Parameters
        ----------
        X : DataFrame
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_patients, n_channels, ...), float32
        """
        return self._images(self._check_X(X), fitting=False).array()

    def embed(self, X):
        """Penultimate features of the first network, for conventional learners.

        Parameters
        ----------
        X : DataFrame, or array-like when no column is declared
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_patients, n_features)
        """
        return self._apply(X, method="embed")[0]

    # ------------------------------------------------------------------ fitting

    def _fit(self, X, y, outcome, sample_weight, groups, loss, n_outputs):
        """Train the networks; `y` is the outcome, encoded (class indices or scaled values)."""
        from imaging.learning.losses import shrinking

        random_state = check_random_state(self.random_state)
        weights = self._patient_weights(X, y, sample_weight)
        # A patient of weight zero is no patient.
        rows = np.flatnonzero(weights > 0)
        patients = self._patients(X, groups)[rows]
        if self.start is not None:
            self.start_, offset = cross_fitted(self, X, outcome, sample_weight, groups, rows)
        X, y, weights = _safe_indexing(X, rows), y[rows], weights[rows]
        inputs = self._prepared(X, fit_weights=weights)
        if self.start is not None:
            inputs["offset"] = offset.astype(self._offset_type(inputs))
        train, validation = self._inner_split(y, patients, random_state)
        reference = None
        if "image" in inputs:
            seen = inputs["image"].at(train)
            mean = seen.mean()
            reference = (mean, max(seen.spread(mean), 1e-6))
        seeds = random_state.randint(np.iinfo(np.int32).max, size=self.n_seeds)
        loss = shrinking(loss, self.start_penalty)
        given = (self, inputs, y, weights, train, validation, reference, loss, n_outputs)
        trained = Parallel(n_jobs=self.n_jobs)(
            delayed(train_one)(*given, seed=int(seed)) for seed in seeds
        )
        self.networks_ = [network for network, _ in trained]
        self.history_ = [history for _, history in trained]
        return self

    def _patient_weights(self, X, y, sample_weight):
        return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)

    def _patients(self, X, groups):
        """Who each row is of: as handed on in `groups`, as declared, or everybody for himself."""
        if groups is not None:
            return check_groups(groups, X)
        return np.arange(len(X)) if self.patient is None else np.asarray(X[self.patient])

    def _prepared(self, X, fit_weights=None):
        """What the network takes, by name: `ImageRows` of images and an array of tabular values.

        With weights, encodings are learnt first.
        """
        fitting = fit_weights is not None
        if not self._declared():
            if fitting:
                self.encoder_ = StandardScaler().fit(X, sample_weight=fit_weights)
            else:
                X = validate_data(self, X, reset=False, dtype=np.float64)
            return {"tabular": self.encoder_.transform(X)}
        inputs = {}
        if self.image is not None:
            inputs["image"] = self._images(X, fitting)
            if fitting:
                self.image_shape_ = inputs["image"].shape
        if self.tabular is not None:
            if fitting:
                self.encoder_ = TabularEncoder(self.tabular).fit(X)
            # Without an image the network computes in double precision, see `_new_network`.
            dtype = np.float64 if self.image is None else np.float32
            inputs["tabular"] = self.encoder_.transform(X).astype(dtype)
        return inputs

    def _images(self, X, fitting):
        """`ImageRows` of all patients, by the fitted view."""
        named = not callable(self.architecture) and self.initial_weights is None
        cell_pixels = self._cell_pixels if named else None
        reading = Reading(self.memory, self.memory_limit_mb, self.n_jobs, cell_pixels)
        if not fitting:
            return self.view_.prepare(X, self.image_columns_, reading)
        self.view_, self.image_columns_ = self.make_view(), self._image_columns()
        return self.view_.fit_prepare(X, self.image_columns_, reading)

    def _cell_pixels(self, shape):
        from imaging.nets.encoders import cell_pixels

        return cell_pixels(self.architecture, shape)

    def _augmentation(self):
        return self.view_.augmentation() if self.augment and self.image is not None else None

    def _declared(self):
        named = self.image is not None or self.tabular is not None
        return named or bool(self._drawn_columns())

    def _drawn_columns(self):
        return self.make_view().drawn_columns()

    def _image_columns(self):
        if self.image is None:
            return []
        columns = [self.image] if isinstance(self.image, str) else list(self.image)
        if not columns:
            raise ValueError("image names no column; give one, or None to do without images")
        return columns

    def _columns(self):
        patient = [] if self.patient is None else [self.patient]
        tabular = [] if self.tabular is None else self.tabular
        drawn = self._drawn_columns()
        if drawn and self.image is None:
            raise ValueError(
                "symbols are drawn beside an image, and image is None; name an image column, or "
                "give these columns as tabular"
            )
        return [*self._image_columns(), *patient, *tabular, *drawn]

    def _check_X_y(self, X, y, *, numeric):
        """Validate both and remember the columns; returns X and a 1-D y."""
        self._validate_params()
        if self.patience is not None and not self.validation_fraction:
            raise ValueError(
                f"patience={self.patience} needs a validation set to look at; set "
                "validation_fraction, for example to 0.2, or leave patience out"
            )
        if not self._declared():
            check_outcome_index(X, y)
            return validate_data(self, X, y, dtype=np.float64, y_numeric=numeric)
        check_cohort(X, self._columns())
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        check_training(X, y)
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        self.columns_ = [name for name in self._columns() if name != self.patient]
        return X, column_or_1d(y, warn=True)

    def _check_X(self, X):
        check_is_fitted(self, "networks_")
        if self._declared():
            check_cohort(X, self.columns_)
        return X

    def _inner_split(self, y, patients, random_state):
        """Row positions for training and for early stopping, never one patient in both."""
        everyone = np.arange(len(y))
        if not self.validation_fraction:
            return everyone, None
        ids, first = np.unique(patients, return_index=True)
        labels = y[first] if self._stratified() else np.zeros(len(ids), int)
        split = StratifiedShuffleSplit(
            1, test_size=self.validation_fraction, random_state=random_state.randint(2**31 - 1)
        )
        try:
            _, held_out = next(split.split(ids, labels))
        except ValueError as error:
            raise CohortError(
                f"validation_fraction={self.validation_fraction} of {len(ids)} patients cannot be "
                f"set aside ({error}); raise it, or set it to 0 to train on everybody"
            ) from error
        chosen = np.isin(patients, ids[held_out])
        return everyone[~chosen], everyone[chosen]

    # --------------------------------------------------------------- predicting

    def _apply(self, X, method="forward"):
        """Outputs of every network, shape (n_seeds, n_patients, n_outputs)."""
        self._check_X(X)
        return kept_output(self, method, X, lambda: self._outputs(X, method))

    def _outputs(self, X, method):
        inputs = self._prepared(X)
        if self.start is not None:
            if not self._declared():
                X = validate_data(self, X, reset=False, dtype=np.float64)
            inputs["offset"] = offsets(self, X).astype(self._offset_type(inputs))
        return apply_networks(self, inputs, method)

    def _offset_type(self, inputs):
        return np.float32 if "image" in inputs else np.float64

    def _encoder(self, shape):
        if self.initial_weights is not None:
            return pretrained_encoder(self, shape)
        if callable(self.architecture):
            return self.architecture(shape[1:], shape[0])
        from imaging.nets.encoders import build_encoder

        return build_encoder(self.architecture, shape[1:], shape[0])

    def _network_class(self):
        from imaging.nets.classifiers import ImageTabularNet

        return ImageTabularNet

    def _new_network(self, inputs, y, weights, n_outputs, reference):
        """A new network for these inputs; the torch random state is the caller's."""
        encoder, start = None, None
        if "image" in inputs:
            encoder = self._encoder(inputs["image"].shape)
            reference = (as_tensor(reference[0]), reference[1])
            if "tabular" in inputs and "offset" not in inputs:
                start = self._linear_start(inputs["tabular"], y, weights)
        n_tabular = inputs["tabular"].shape[1] if "tabular" in inputs else 0
        network = self._network_class()(
            encoder,
            n_tabular,
            n_outputs,
            dropout=self.dropout,
            reference=reference,
            start=start,
        )
        from imaging.nets.freezing import frozen_epochs

        frozen, epochs = frozen_epochs(self.freeze)
        if frozen and encoder is not None and self.initial_weights is not None:
            network.freeze("encoder", epochs=epochs)
        if "offset" in inputs:
            from imaging.nets.started import StartedNet

            base = np.average(inputs["offset"], axis=0, weights=weights)
            network = StartedNet(network, outcome_of(self), as_tensor(base))
        # Tabular networks are tiny: double precision costs nothing and makes a prediction the same
        # whoever else is predicted with it.
        return network.double() if encoder is None else network
