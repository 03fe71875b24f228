"""What every image estimator shares: checking a cohort, training networks, predicting from them.

A subclass says how a cell of an image column becomes an array and what may be changed at random in
training; everything else is here once. Parameters are dataclass fields, so that a class adds its
own to those it inherits and `__init__` only stores them.
"""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.utils import _safe_indexing, check_random_state, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from imaging.learning.refitting import refitting

from ..columns import TabularEncoder, check_cohort, check_outcome_index
from ..errors import CohortError
from ..grouping import check_groups
from .outputs import kept_output
from .training import as_tensors, train_one

__all__ = ["ImageClassifier", "ImageEstimator", "ImageRegressor"]

INFERENCE_BATCH = 64


@dataclass(eq=False, repr=False)
class ImageEstimator(BaseEstimator):
    """Base of the classifiers and regressors on images and tabular values.

    A subclass defines `_images(X, fitting)` (`ImageRows`), `_encoder(shape)` and `_augmentation()`;
    see `prognosis.estimators.branches`.
    """

    # The patient of each row, where it is handed on by metadata routing.
    __metadata_request__fit: ClassVar = {"groups": True}

    image: str | list | None = None
    tabular: list | None = None
    _: KW_ONLY
    patient: str | None = None
    epochs: int = 25
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    dropout: float = 0.5
    augment: bool = True
    validation_fraction: float = 0.0
    patience: int | None = None
    n_seeds: int = 1
    n_jobs: int | None = None
    n_threads: int = 1
    precision: str = "auto"
    device: str = "auto"
    memory: object = None
    memory_limit_mb: float = 4096
    random_state: object = None
    verbose: int = 0

    _parameter_constraints: ClassVar = {
        "image": [str, list, tuple, None],
        "tabular": ["array-like", None],
        "patient": [str, None],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "augment": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "n_threads": [Interval(Integral, 1, None, closed="left")],
        "precision": [StrOptions({"auto", "float32", "bf16"})],
        "device": [str],
        "memory_limit_mb": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

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

    def _fit(self, X, y, sample_weight, groups, loss, n_outputs):
        """Train the networks; `y` is encoded already (class indices or scaled values)."""
        random_state = check_random_state(self.random_state)
        weights = self._patient_weights(X, y, sample_weight)
        # A patient of weight zero is no patient.
        rows = np.flatnonzero(weights > 0)
        patients = self._patients(X, groups)[rows]
        X, y, weights = _safe_indexing(X, rows), y[rows], weights[rows]
        inputs = self._prepared(X, fit_weights=weights)
        train, validation = self._inner_split(y, patients, random_state)
        reference = None
        if "image" in inputs:
            seen = inputs["image"].at(train)
            mean = seen.mean()
            reference = (mean, max(seen.spread(mean), 1e-6))
        seeds = random_state.randint(np.iinfo(np.int32).max, size=self.n_seeds)
        given = (self, inputs, y, weights, train, validation, reference, loss, n_outputs)
        trained = Parallel(n_jobs=self.n_jobs)(
            delayed(train_one)(*given, seed=int(seed)) for seed in seeds
        )
        self.networks_ = [network for network, _ in trained]
        self.history_ = [history for _, history in trained]
        self._look_back()
        return self

    def _look_back(self):
        """What is to be said of a fitted model, by a subclass."""

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

    def _inputs(self, X):
        """What the network takes, by name, as arrays in memory."""
        prepared = self._prepared(X).items()
        return {name: v if isinstance(v, np.ndarray) else v.array() for name, v in prepared}

    def _declared(self):
        return self.image is not None or self.tabular is not None

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
        return [*self._image_columns(), *patient, *tabular]

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
        if len(X) != len(y):
            raise CohortError(f"X has {len(X)} rows and y {len(y)}; select y.loc[X.index]")
        check_outcome_index(X, y)
        missing = pd.isna(y)
        if np.any(missing):
            row = X.index[np.flatnonzero(missing)[0]]
            raise CohortError(
                f"row {row!r}, y: the outcome is missing in {int(np.sum(missing))} rows; "
                "drop them first: X, y = X[y.notna()], y.dropna()"
            )
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
        return kept_output(self, method, X, lambda: self._applied(X, method))

    def _applied(self, X, method):
        from imaging.learning.engine import apply_network

        inputs = as_tensors(self._prepared(X))
        return np.stack(
            [
                apply_network(
                    network,
                    inputs,
                    method=method,
                    batch_size=INFERENCE_BATCH,
                    device=self.device,
                    n_threads=self.n_threads,
                )
                for network in self.networks_
            ]
        )

    def _network_class(self):
        from imaging.nets.classifiers import ImageTabularNet

        return ImageTabularNet

    def _new_network(self, inputs, y, weights, n_outputs, reference):
        """A new network for these inputs; the torch random state is the caller's."""
        import torch

        encoder, start = None, None
        if "image" in inputs:
            encoder = self._encoder(inputs["image"].shape)
            reference = (torch.from_numpy(reference[0]), reference[1])
            if "tabular" in inputs:
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
        # Tabular networks are tiny: double precision costs nothing and makes a prediction the same
        # whoever else is predicted with it.
        return network.double() if encoder is None else network


@dataclass(eq=False, repr=False)
class ImageClassifier(ClassifierMixin, ImageEstimator):
    """Classification of patients: class probabilities are averaged over the networks."""

    class_weight: object = None

    _parameter_constraints: ClassVar = {
        **ImageEstimator._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def fit(self, X, y, sample_weight=None, groups=None):
        """Train on a cohort.

        Parameters
        ----------
        X : DataFrame of shape (n_patients, n_columns), or array-like when no column is declared
            One row per patient, with the declared columns; others are ignored. Never changed.
        y : array-like of shape (n_patients,)
            Class labels, numbers or strings.
        sample_weight : array-like of shape (n_patients,), default=None
            Zero leaves a patient out.
        groups : array-like of shape (n_patients,), default=None
            The patient of each row, where a patient has several; takes the place of the column
            `patient`. scikit-learn's metadata routing hands it on by default.

        Returns
        -------
        self

        Raises
        ------
        CohortError
            If a row or column of X cannot be used; the message names it and the remedy.
        ValueError
            If a parameter is out of range or y holds one class only.
        """
        with refitting(self):
            return self._fit_classes(X, y, sample_weight, groups)

    def _fit_classes(self, X, y, sample_weight, groups):
        from imaging.learning.losses import cross_entropy

        X, y = self._check_X_y(X, y, numeric=False)
        check_classification_targets(y)
        encoder = LabelEncoder().fit(y)
        if len(encoder.classes_) < 2:
            raise ValueError(
                f"y holds only one class, {encoder.classes_[0]!r}; a classifier needs at least two "
                "(use stratified folds)"
            )
        self.classes_ = encoder.classes_
        codes = encoder.transform(y)
        return self._fit(X, codes, sample_weight, groups, cross_entropy, len(self.classes_))

    def predict_proba(self, X):
        """Class probabilities, shape (n_patients, n_classes), in the order of `classes_`."""
        from scipy.special import softmax

        return softmax(self._apply(X).astype(np.float64), axis=2).mean(axis=0)

    def predict(self, X):
        """The most probable class of every patient, shape (n_patients,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _patient_weights(self, X, y, sample_weight):
        given = super()._patient_weights(X, y, sample_weight)
        weights = self.class_weight
        if weights is None:
            return given
        if isinstance(weights, dict):
            index = {label: n for n, label in enumerate(self.classes_.tolist())}
            unknown = [label for label in weights if label not in index]
            if unknown:
                raise ValueError(f"class_weight names {unknown}; the classes are {list(index)}")
            weights = {index[label]: weight for label, weight in weights.items()}
        return given * compute_sample_weight(weights, y)

    def _stratified(self):
        return True

    def _linear_start(self, tabular, y, weights):
        """Logistic regression on the tabular values: where the output layer starts from."""
        import torch
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=1000).fit(tabular, y, sample_weight=weights)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(coefficients) == 1:
            # One logit against zero, written as two outputs.
            coefficients = np.vstack([-coefficients, coefficients]) / 2
            intercepts = np.r_[-intercepts, intercepts] / 2
        return torch.from_numpy(coefficients), torch.from_numpy(intercepts)


@dataclass(eq=False, repr=False)
class ImageRegressor(RegressorMixin, ImageEstimator):
    """Regression of a numeric outcome: predictions are averaged over the networks."""

    def fit(self, X, y, sample_weight=None, groups=None):
        """Train on a cohort; parameters and errors as in the classifier, `y` numeric."""
        with refitting(self):
            return self._fit_numbers(X, y, sample_weight, groups)

    def _fit_numbers(self, X, y, sample_weight, groups):
        from imaging.learning.losses import squared_error

        X, y = self._check_X_y(X, y, numeric=True)
        y = np.asarray(y, dtype=np.float64)
        if not np.isfinite(y).all():
            raise ValueError("y holds infinite values; correct or drop these patients")
        weights = self._patient_weights(X, y, sample_weight)
        self.target_mean_ = float(np.average(y, weights=weights))
        spread = np.sqrt(np.average((y - self.target_mean_) ** 2, weights=weights))
        self.target_scale_ = float(spread) or 1.0
        scaled = (y - self.target_mean_) / self.target_scale_
        return self._fit(X, scaled, sample_weight, groups, squared_error, 1)

    def predict(self, X):
        """The predicted outcome of every patient, shape (n_patients,)."""
        outputs = self._apply(X)[:, :, 0].astype(np.float64)
        return outputs.mean(axis=0) * self.target_scale_ + self.target_mean_

    def _stratified(self):
        return False

    def _linear_start(self, tabular, y, weights):
        """Ridge regression on the tabular values: where the output layer starts from."""
        import torch
        from sklearn.linear_model import Ridge

        model = Ridge().fit(tabular, y, sample_weight=weights)
        return torch.from_numpy(model.coef_[None]), torch.tensor([model.intercept_])
