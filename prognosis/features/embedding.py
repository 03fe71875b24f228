"""What a network sees in the images, as columns for conventional learners.

Cross-fitted: the features that a training patient gets come from a network that never saw that
patient's outcome, and are aligned so that a column means the same whichever network gave it.
"""

from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
)

from imaging.parameters import FROM_ZERO, parameter, parameters

from ..columns import check_cohort, check_outcome_index, declared_table
from ..errors import CohortError
from ..grouping import find_groups, fit_held
from ..splits import make_splits
from .measurement import AddsColumns

__all__ = ["ImageEmbedding"]


@parameters
class ImageEmbedding(AddsColumns, MetaEstimatorMixin, TransformerMixin, BaseEstimator):
    """Add features of a network to the table, for logistic regression, boosting and the like.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    estimators_ : list of estimators
        One per fold.
    columns_ : list of str
        The columns that are added.
    feature_names_in_ : ndarray of str
    n_features_in_ : int

    Notes
    -----
    `search_space` has the network's space and `n_components` ready for `OptunaSearch`.

    ``fit_transform`` gives training patients the features of the one network that did not train on
    them; ``transform`` gives new patients the mean over all networks. So ``fit(X).transform(X)`` is
    not ``fit_transform(X)``, and on training patients only the latter is honest. A Pipeline does
    the right thing by itself.

    Networks of different folds number their features differently. Each fold's features are reduced
    to their principal components and rotated (orthogonal Procrustes) onto a reference that knows no
    outcome: the principal components of the images. Networks that agree up to a rotation therefore
    give the same columns, and no outcome passes from one fold to another through the alignment.

    References
    ----------
    Roohani et al. 2018, arXiv 1811.10520 (CNN features complement lesion features); Schönemann
    1966, Psychometrika 31:1-10 (Procrustes).

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from prognosis import ImageEmbedding, StitchedSliceClassifier, TabularEncoder
    >>> from prognosis import make_stroke_cohort
    >>> X, y = make_stroke_cohort(30, spacing_mm=8, random_state=0)
    >>> cnn = StitchedSliceClassifier("t1w", mosaic_size=64, epochs=2, random_state=0)
    >>> embedding = ImageEmbedding(cnn, cv=2, n_components=2, random_state=0)
    >>> columns = ["severity", "cnn_output", "cnn_1", "cnn_2"]
    >>> model = make_pipeline(embedding, TabularEncoder(columns), LogisticRegression())
    >>> model.fit(X, y).predict_proba(X).shape
    (30, 2)
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    estimator: object = parameter(
        first=True,
        kind="image classifier or regressor of this package",
        doc="""
        Unfitted, for example ``StitchedSliceClassifier("t1w")``; it is cloned for every fold.
        """,
    )
    cv: object = parameter(
        5,
        "cv_object",
        kind="int, scikit-learn splitter or iterable of (train, test) row numbers",
        doc="""
        Folds of the cross-fitting; a number is stratified for classifiers, and keeps rows of one
        patient together where `fit` is given `groups` or the estimator declares its `patient`.
        Every row must be tested.
        """,
    )
    n_components: int = parameter(
        8,
        FROM_ZERO,
        doc="Aligned penultimate features; 0 keeps only what the networks conclude.",
    )
    prefix: str = parameter(
        "cnn",
        str,
        doc="""
        The added columns are ``<prefix>_output`` (log odds of each class but the first against it,
        or the predicted number; numbered if there are several) and ``<prefix>_1`` ... .
        """,
    )
    random_state: object = parameter(
        None, FROM_ZERO, None, kind="int or None", doc="Draws the folds."
    )

    def fit(self, X, y, sample_weight=None, *, groups=None):
        """Train one network per fold.

        Parameters
        ----------
        X : DataFrame of shape (n_patients, n_columns); or array-like, if the estimator declares no
            column
        y : array-like of shape (n_patients,)
        sample_weight : array-like of shape (n_patients,), default=None
            Handed to the networks, each of which gets those of its training patients; a patient of
            weight zero teaches none, and has features all the same.
        groups : array-like of shape (n_patients,), default=None
            Rows of one group (patient) stay together in every fold; also handed to the estimator
            if it takes them. By default the column that the estimator declares as `patient`.

        Returns
        -------
        self

        Raises
        ------
        CohortError
            As the estimator; also if a column to be added exists already, `y` has the index of
            other patients, or `cv` tears a group apart.
        ValueError
            If a parameter has a wrong type or value, or the estimator cannot embed.
        """
        self.fit_transform(X, y, sample_weight, groups=groups)
        return self

    def fit_transform(self, X, y, sample_weight=None, *, groups=None):
        """Train one network per fold, and give every patient the features of the one without it.

        Parameters and errors as in `fit`.

        Returns
        -------
        DataFrame
            `X` with the new columns at its end, or these alone, see `output`; an array if `X` is
            one.
        """
        self._validate_params()
        if not hasattr(self.estimator, "embed"):
            raise ValueError(
                f"{type(self.estimator).__name__} has no embed method; give an image estimator "
                'of this package, such as StitchedSliceClassifier("t1w")'
            )
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        given, X = X, declared_table(self, X, None, reset=True)
        self._refuse(X, [f"{self.prefix}_{k + 1}" for k in range(self.n_components)])
        check_outcome_index(X, y)
        y = y if isinstance(y, pd.Series) else pd.Series(column_or_1d(y, warn=True), index=X.index)
        if is_classifier(self.estimator):
            check_classification_targets(y)
        groups, weights = find_groups(self.estimator, X, groups), None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        splits = make_splits(
            self.cv,
            X,
            y,
            classification=is_classifier(self.estimator),
            groups=groups,
            random_state=self.random_state,
        )
        self.estimators_, self._alignments, honest = [], [], None
        for split in splits:
            further = {} if weights is None else {"sample_weight": weights[split.train]}
            known = X.iloc[split.train], y.iloc[split.train]
            model = fit_held(clone(self.estimator), *known, split.groups, **further)
            if not self.estimators_:
                reference = _principal_scores(_flat_inputs(model, X), self.n_components)
            alignment = _Alignment.learn(
                model.embed(X.iloc[split.train]), reference[split.train], self.n_components
            )
            self.estimators_.append(model)
            self._alignments.append(alignment)
            features = self._features(model, alignment, X.iloc[split.test])
            if honest is None:
                honest = np.full((len(X), features.shape[1]), np.nan)
            honest[split.test] = features
        left_out = np.isnan(honest).any(axis=1)
        if left_out.any():
            row = X.index[left_out].tolist()[0]
            raise CohortError(
                f"row {row!r} is in no test fold of cv, so it has no honest "
                "features; give a cv that tests every row"
            )
        self.columns_ = self._names(honest.shape[1])
        self._refuse(X, self.columns_)
        return self._together(given, X, honest)

    def transform(self, X):
        """Features of new patients: the mean over the networks of all folds.

        Parameters
        ----------
        X : DataFrame
            With the estimator's columns; patients that were not in training.

        Returns
        -------
        DataFrame
            `X` with the new columns at its end, or these alone, see `output`; an array if `X` is
            one.
        """
        check_is_fitted(self, "estimators_")
        given = X
        if isinstance(X, pd.DataFrame):  # further columns may come and go
            check_cohort(X)
            self._refuse(X, self.columns_)
        else:
            X = declared_table(self, X, None, reset=False)
        features = [
            self._features(model, alignment, X)
            for model, alignment in zip(self.estimators_, self._alignments, strict=True)
        ]
        return self._together(given, X, np.mean(features, axis=0))

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of the transformed table; ``x0``, ``x1``, ... after an array."""
        check_is_fitted(self, "estimators_")
        before = _check_feature_names_in(self, input_features)
        return self._names_out(before)

    def __sklearn_tags__(self):
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.target_tags = inner.target_tags
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        return tags

    def _refuse(self, X, names):
        self._refuse_taken(X, names, remedy=", or change prefix")

    def _features(self, model, alignment, X):
        if is_classifier(model):
            logs = np.log(np.clip(model.predict_proba(X), 1e-6, 1))
            concluded = logs[:, 1:] - logs[:, :1]
        else:
            concluded = np.asarray(model.predict(X), dtype=float)[:, None]
        return np.hstack([concluded, alignment.apply(model.embed(X))])

    def _names(self, count):
        n_aligned = self._alignments[0].turn.shape[1]
        n_outputs = count - n_aligned
        outputs = [f"{self.prefix}_output"]
        if n_outputs > 1:
            outputs = [f"{self.prefix}_output_{k + 1}" for k in range(n_outputs)]
        return [*outputs, *(f"{self.prefix}_{k + 1}" for k in range(n_aligned))]

    def _together(self, given, X, values):
        if isinstance(given, pd.DataFrame):
            return self._beside(X, values)
        return values if self.output == "added" else np.hstack([X.to_numpy(), values])


class _Alignment:
    """Centre, principal axes and rotation onto the reference, learnt from training patients."""

    def __init__(self, mean, turn):
        self.mean = mean
        self.turn = turn

    @classmethod
    def learn(cls, features, reference, n_components):
        features = np.asarray(features, dtype=float)
        mean = features.mean(axis=0)
        _, spread, axes = np.linalg.svd(features - mean, full_matrices=False)
        count = min(n_components, reference.shape[1], len(spread))
        # Unit variance along every axis, so that the rotation weighs them alike.
        scale = np.sqrt(len(features)) / np.maximum(spread[:count], 1e-6 * max(spread[0], 1e-12))
        axes = axes[:count].T * scale
        left, _, right = np.linalg.svd(((features - mean) @ axes).T @ reference[:, :count])
        return cls(mean, axes @ left @ right)

    def apply(self, features):
        return (np.asarray(features, dtype=float) - self.mean) @ self.turn


def _flat_inputs(model, X):
    """What the network sees of every patient, one row each, without any outcome."""
    inputs = model.inputs(X)
    seen = inputs["image"] if "image" in inputs else inputs["tabular"]
    return seen.reshape(len(seen), -1)


def _principal_scores(rows, count):
    """Scores on the first principal components, from the small patient x patient matrix."""
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh((centred @ centred.T).astype(float))
    first = np.argsort(values)[::-1][: min(count, rows.shape[1], len(rows) - 1)]
    return vectors[:, first] * np.sqrt(len(rows))
