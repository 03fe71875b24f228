"""Ordered classes from any regressor: it predicts the place on the scale, and that is calibrated.

Predictions of patients whom the regressor has not seen tell how sure it may be, so these are made
within the training patients.
"""

import warnings
from numbers import Integral
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone, is_regressor
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from imaging.parameters import parameter, parameters

from ...columns import check_outcome_index
from ...grouping import find_groups, fit_held
from ...splits import inner_folds
from .likelihood import class_probabilities, fit_proportional_odds
from .scale import ExceedingMixin, ordered_classes

__all__ = ["OrdinalFromRegressor"]


@parameters
class OrdinalFromRegressor(ExceedingMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Class probabilities of an ordered outcome from any regressor.

    The regressor learns the place of the class on the scale: 0, 1, 2, ... from the lowest. Its
    predictions of training patients whom it has not seen give a scale and thresholds by
    proportional odds, ``P(y > k) = sigmoid(scale * prediction - t_k)``; then it is fitted on all.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    scale_ : float
        Log odds per step of the regressor; 0 where its predictions of unseen patients say nothing,
        or the opposite of the truth: then all patients get the shares of the classes.
    thresholds_ : ndarray of shape (n_classes - 1,)
    estimator_ : regressor
        Fitted on all training patients.
    classes_ : ndarray of shape (n_classes,)
        From lowest to highest.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where `X` has column names.

    Notes
    -----
    `search_space` has the space of its regressor ready for `OptunaSearch`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import SVR
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(150, 2))
    >>> y = np.digitize(3 * np.abs(X[:, 0]) + rng.logistic(size=150), [1, 3])
    >>> model = OrdinalFromRegressor(SVR()).fit(X, y)
    >>> model.predict_proba(X).shape, bool(model.scale_ > 1)
    ((150, 3), True)
    >>> bool(model.predict_exceeding([[-2.0, 0.0]], 1) > 0.5)
    True
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    estimator: object = parameter(first=True, kind="regressor", doc="Unfitted.")
    cv: object = parameter(
        5,
        "cv_object",
        kind="int or scikit-learn splitter",
        doc="""
        Folds for the predictions of unseen patients; a number is stratified, and keeps rows of one
        patient together where `fit` is given `groups` or the regressor declares its `patient`.
        """,
    )
    order: object = parameter(
        None,
        "array-like",
        None,
        kind="sequence or None",
        doc="The classes from lowest to highest; None as in `OrdinalClassifier`.",
    )

    def fit(self, X, y, sample_weight=None, *, groups=None):
        """Learn scale and thresholds out of fold, then fit the regressor.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_features)
        y : array-like of shape (n_patients,)
            Ordered classes, two or more.
        sample_weight : array-like of shape (n_patients,), default=None
            Handed to the regressor, and weighs patients in the likelihood; zero leaves out.
        groups : array-like of shape (n_patients,), default=None
            Rows of one group (patient) stay together in every fold; also handed to the regressor
            if it takes them. By default the column that the regressor declares as `patient`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter has a wrong type or value, the estimator is no regressor, there is one
            class only, the order of the classes is not known, or there are too few patients.
        CohortError
            If `y` has the index of other patients, or `cv` tears a group apart.
        """
        self._validate_params()
        if not is_regressor(self.estimator):
            raise ValueError(
                f"{type(self.estimator).__name__} is no regressor; choose one, such as Ridge()"
            )
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        (X,) = indexable(X)
        validate_data(self, X, skip_check_array=True)
        check_outcome_index(X, y)
        groups = find_groups(self.estimator, X, groups)
        labels, codes = ordered_classes(y, self.order)
        check_consistent_length(X, codes)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        # a patient of weight zero is no patient
        kept = np.arange(len(codes)) if weights is None else np.flatnonzero(weights > 0)
        present = np.unique(codes[kept])
        self.classes_ = labels[present]
        if len(present) < 2:
            raise ValueError(
                f"y holds only one class, {self.classes_.tolist()}; at least two are needed"
            )
        codes = np.minimum(np.searchsorted(present, codes), len(present) - 1)
        unseen = np.full(len(codes), np.nan)
        for train, test in self._folds(X, codes, groups, kept):
            model = self._fit_one(X, codes, weights, groups, train)
            unseen[test] = _one_column(model.predict(_safe_indexing(X, test)))
        tested = ~np.isnan(unseen)
        # A class that no fold tests has no threshold to learn.
        if len(np.unique(codes[tested])) < len(present):
            raise ValueError("cv tests no patient of one of the classes; use stratified folds")
        shares = np.ones(len(codes)) if weights is None else weights
        self._learn_scale(unseen[tested], codes[tested], shares[tested])
        self.estimator_ = self._fit_one(X, codes, weights, groups, kept)
        return self

    def linear_predictor(self, X):
        """Where every patient stands on the scale of `thresholds_`, shape (n_patients,)."""
        check_is_fitted(self, "estimator_")
        (X,) = indexable(X)
        if np.ndim(X) == 2:  # anything else is for the regressor to refuse
            validate_data(self, X, reset=False, skip_check_array=True)
        return self.scale_ * _one_column(self.estimator_.predict(X))

    def predict_proba(self, X):
        """Class probabilities, shape (n_patients, n_classes), in the order of `classes_`."""
        return class_probabilities(self.linear_predictor(X), self.thresholds_)

    def _folds(self, X, codes, groups, kept):
        if self.cv is None or isinstance(self.cv, Integral):
            inside = None if groups is None else groups[kept]
            inputs = _safe_indexing(X, kept), codes[kept], inside
            with warnings.catch_warnings():
                # a rare class may be missing from a fold
                warnings.filterwarnings("ignore", "The least populated class", UserWarning)
                folds = inner_folds(self.cv, *inputs, classifier=True)
            return [(kept[train], kept[test]) for train, test in folds]
        folds = inner_folds(self.cv, X, codes, groups, classifier=True)
        return [(np.intersect1d(train, kept), np.intersect1d(test, kept)) for train, test in folds]

    def _fit_one(self, X, codes, weights, groups, rows):
        further = {} if weights is None else {"sample_weight": weights[rows]}
        inside = None if groups is None else groups[rows]
        X, target = _safe_indexing(X, rows), codes[rows].astype(float)
        if isinstance(X, pd.DataFrame):
            # An image estimator compares the index of the outcome with that of its patients.
            target = pd.Series(target, X.index)
        return fit_held(clone(self.estimator), X, target, inside, **further)

    def _learn_scale(self, unseen, codes, weights):
        middle = np.average(unseen, weights=weights)
        spread = np.sqrt(np.average((unseen - middle) ** 2, weights=weights))
        spread = spread if spread > 1e-9 else 1.0
        # The least of a penalty, lest classes that are told apart without fault have no end.
        slope, thresholds, _, _ = fit_proportional_odds(
            ((unseen - middle) / spread)[:, None],
            codes,
            weights,
            np.array([1e-2]),
            rising=True,
        )
        self.scale_ = float(slope[0] / spread)
        self.thresholds_ = thresholds + self.scale_ * middle

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self.estimator).input_tags.sparse
        tags.input_tags.allow_nan = get_tags(self.estimator).input_tags.allow_nan
        return tags


def _one_column(predictions):
    predictions = np.asarray(predictions, dtype=float)
    return predictions[:, 0] if predictions.ndim == 2 else predictions
