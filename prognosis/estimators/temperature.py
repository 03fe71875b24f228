"""Probabilities that mean what they say: one temperature, learnt inside the fold.

Networks tend to be too sure of themselves; dividing their log odds by a number above one corrects
that without changing which patient ranks above which.
"""

from typing import ClassVar

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from imaging.parameters import parameter, parameters

from ..columns import check_outcome_index
from ..grouping import find_groups, fit_held
from ..splits import inner_folds

__all__ = ["TemperatureScaled"]

LEAST_PROBABILITY = 1e-12
LIMITS = (0.05, 20.0)


@parameters
class TemperatureScaled(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """A classifier whose log odds are divided by a temperature.

    The temperature is learnt from out-of-fold predictions of the training patients, then the
    classifier is fitted on all of them; so nothing of a test patient enters it when this stands
    inside cross-validation.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    temperature_ : float
        Above 1 the classifier was too sure, below 1 too cautious; between 0.05 and 20.
    estimator_ : classifier
        Fitted on all training patients.
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where `X` has column names.

    Notes
    -----
    `search_space` has the space of its classifier ready for `OptunaSearch`.

    scikit-learn's ``CalibratedClassifierCV(method="temperature")`` does not stand in its place: up
    to version 1.9 it fails on an outcome whose index holds patient ids, learns nonsense where the
    classes are other numbers than 0, 1, ..., and tears patients apart where `cv` is a number.

    References
    ----------
    Guo et al. 2017, On calibration of modern neural networks, ICML, 1321-1330.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 40))
    >>> y = (X[:, 0] + rng.normal(size=80) > 0).astype(int)
    >>> model = TemperatureScaled(LogisticRegression(C=100)).fit(X, y)
    >>> bool(model.temperature_ > 2)
    True
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    estimator: object = parameter(
        first=True, kind="classifier with `predict_proba`", doc="Unfitted."
    )
    cv: object = parameter(
        5,
        "cv_object",
        kind="int or scikit-learn splitter",
        doc="""
        Folds for the out-of-fold predictions; a number is stratified, and keeps rows of one patient
        together where `fit` is given `groups` or the classifier declares its `patient`. Networks
        are trained once more for each.
        """,
    )

    def fit(self, X, y, sample_weight=None, *, groups=None):
        """Learn the temperature out of fold, then fit the classifier.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_features)
        y : array-like of shape (n_patients,)
        sample_weight : array-like of shape (n_patients,), default=None
            Handed to the classifier, and weighs patients when the temperature is learnt.
        groups : array-like of shape (n_patients,), default=None
            Rows of one group (patient) stay together in every fold; also handed to the classifier
            if it takes them. By default the column that the classifier declares as `patient`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter has a wrong type or value, a class has fewer patients than there are
            folds, or the classifier gives no probabilities.
        CohortError
            If `y` has the index of other patients, or `cv` tears a group apart.
        """
        self._validate_params()
        if not hasattr(self.estimator, "predict_proba"):
            raise ValueError(
                f"{type(self.estimator).__name__} has no predict_proba, so there is no probability "
                "to correct; choose a classifier that has"
            )
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        (X,) = indexable(X)
        validate_data(self, X, skip_check_array=True)
        check_outcome_index(X, y)
        groups = find_groups(self.estimator, X, groups)
        check_classification_targets(y)
        labels = column_or_1d(y, warn=True)
        # A Series stays one, so that an image estimator can compare its index with that of X.
        y = y if hasattr(y, "iloc") else labels
        self.classes_, targets = np.unique(labels, return_inverse=True)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        log_odds = np.full((len(labels), len(self.classes_)), np.nan)
        for train, test in inner_folds(self.cv, X, labels, groups, classifier=True):
            model = self._fit_one(X, y, weights, groups, train)
            log_odds[test] = self._log_probabilities(model, _safe_indexing(X, test))
        tested = ~np.isnan(log_odds).any(axis=1)
        self.temperature_ = _best_temperature(
            log_odds[tested], targets[tested], None if weights is None else weights[tested]
        )
        self.estimator_ = self._fit_one(X, y, weights, groups, np.arange(len(labels)))
        return self

    def predict_proba(self, X):
        """Corrected class probabilities, shape (n_patients, n_classes)."""
        check_is_fitted(self, "estimator_")
        (X,) = indexable(X)
        if np.ndim(X) == 2:  # anything else is for the classifier to refuse
            validate_data(self, X, reset=False, skip_check_array=True)
        return softmax(self._log_probabilities(self.estimator_, X) / self.temperature_, axis=1)

    def predict(self, X):
        """The most probable class of every patient, as without a temperature."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _fit_one(self, X, y, weights, groups, rows):
        further = {} if weights is None else {"sample_weight": weights[rows]}
        inside = None if groups is None else groups[rows]
        X, y = _safe_indexing(X, rows), _safe_indexing(y, rows)
        return fit_held(clone(self.estimator), X, y, inside, **further)

    def _log_probabilities(self, model, X):
        found = np.clip(model.predict_proba(X), LEAST_PROBABILITY, 1)
        # A class that a fold has not seen gets the least probability there is.
        logs = np.full((len(found), len(self.classes_)), np.log(LEAST_PROBABILITY))
        logs[:, np.searchsorted(self.classes_, model.classes_)] = np.log(found)
        return logs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self.estimator).input_tags.sparse
        tags.input_tags.allow_nan = get_tags(self.estimator).input_tags.allow_nan
        return tags


def _best_temperature(log_odds, targets, weights):
    """The temperature with the lowest (weighted) log loss."""
    rows = np.arange(len(targets))

    def loss(log_temperature):
        logs = log_softmax(log_odds / np.exp(log_temperature), axis=1)
        return -np.average(logs[rows, targets], weights=weights)

    return float(np.exp(minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded").x))
