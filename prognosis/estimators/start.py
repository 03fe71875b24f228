"""What networks start from: what a fitted model says of each patient, on the scale they add to.

Training patients get what the model says when it is fitted without them, so that networks learn
what it leaves open of patients whom it has not seen.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_sample_weight, column_or_1d, has_fit_parameter

from ..errors import CohortError
from ..grouping import find_groups, fit_held
from ..splits import inner_folds

__all__ = ["cross_fitted", "offsets", "outcome_of", "pretrained_encoder"]

FOLDS = 5
LEAST_PROBABILITY = 1e-6  # its log odds are still exact enough in single precision


def outcome_of(estimator):
    """How `imaging.nets.started.StartedNet` calls what an image estimator predicts."""
    if not is_classifier(estimator):
        return "number"
    return "ordinal" if estimator.ordinal else "classes"


def cross_fitted(estimator, X, outcome, sample_weight, groups, rows):
    """Fit the start of an image estimator, and say what it says of patients whom it did not see.

    Parameters
    ----------
    estimator : ImageEstimator
        Whose `start` is an estimator, and which knows its classes, or its target's scale, already.
    X : DataFrame or ndarray of shape (n_patients, n_columns)
    outcome : array-like of shape (n_patients,)
        As it was given to `fit`.
    sample_weight : array-like of shape (n_patients,) or None
        Handed on where it is not the same for all `rows`.
    groups : array-like of shape (n_patients,) or None
        Those of one patient are in one fold; None: as declared.
    rows : ndarray of int
        Of the patients that count.

    Returns
    -------
    fitted : estimator
        On all `rows`.
    offset : ndarray of shape (n_rows, n_offsets)
        Of patient `rows[k]`, by a model that was fitted without him: see `offsets`.

    Raises
    ------
    ValueError
        If the start cannot predict the outcome, or takes no weights where there are some.
    CohortError
        If there are too few patients for the folds.
    """
    _check_start(estimator)
    groups = find_groups(estimator, X, groups)
    if not isinstance(outcome, pd.Series):  # whose type may say the order of its classes
        outcome = column_or_1d(outcome)
        outcome = pd.Series(outcome, X.index) if isinstance(X, pd.DataFrame) else outcome
    weights = _uneven(estimator.start, sample_weight, X, rows)
    X, outcome = _safe_indexing(X, rows), _safe_indexing(outcome, rows)
    groups = None if groups is None else groups[rows]
    units = len(rows) if groups is None else len(np.unique(groups))
    if units < FOLDS:
        raise CohortError(
            f"start is fitted in {FOLDS} folds of the training patients, found n_samples={units}; "
            "leave start out"
        )

    def fitted(part):
        further = {} if weights is None else {"sample_weight": weights[part]}
        inside = None if groups is None else groups[part]
        given = _safe_indexing(X, part), _safe_indexing(outcome, part)
        return fit_held(clone(estimator.start), *given, inside, **further)

    found = None
    with warnings.catch_warnings():
        # a rare class may be missing from a fold: it then has the least probability there is
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        folds = inner_folds(FOLDS, X, outcome, groups, classifier=is_classifier(estimator))
    for train, test in folds:
        said = _offsets(estimator, fitted(train), _safe_indexing(X, test))
        found = np.full((len(rows), said.shape[1]), np.nan) if found is None else found
        found[test] = said
    return fitted(np.arange(len(rows))), found


def offsets(estimator, X):
    """What the start of a fitted image estimator says of patients.

    Parameters
    ----------
    estimator : fitted ImageEstimator
    X : DataFrame or ndarray of shape (n_patients, n_columns)

    Returns
    -------
    ndarray of shape (n_patients, n_offsets)
        Logarithms of the probabilities of all classes; of an ordinal outcome, log odds of exceeding
        each class but the last; of a number, the prediction as the networks' target is scaled.
    """
    return _offsets(estimator, estimator.start_, X)


def pretrained_encoder(estimator, shape):
    """The encoder of the networks of an image estimator that begin with a pretrained one.

    Parameters
    ----------
    estimator : ImageEstimator
        Whose view is fitted.
    shape : tuple of int
        Of its images: channels, then the spatial ones.

    Returns
    -------
    imaging.nets.pretrained.PretrainedEncoder

    Raises
    ------
    ModelFileError
        If `initial_weights` is no pretrained encoder.
    ValueError
        If it sees another number of dimensions.

    Warns
    -----
    UserWarning
        If the view's voxels are not those that it was pretrained on.
    """
    from imaging.learning.pretrained import open_encoder
    from imaging.nets.pretrained import PretrainedEncoder

    opened = open_encoder(estimator.initial_weights)
    channels, *spatial = shape
    if len(spatial) != opened.spatial_dims:
        kind = "whole volumes" if opened.spatial_dims == 3 else "pictures"
        raise ValueError(
            f"the encoder of initial_weights sees {opened.spatial_dims} dimensions and the images "
            f"here have {len(spatial)}; it suits views of {kind}"
        )
    spacing = getattr(estimator.view_, "spacing_mm", None)
    if len(spatial) == 3 and spacing is not None and spacing != opened.spacing_mm:
        warnings.warn(
            f"the encoder was pretrained on voxels of {opened.spacing_mm:g} mm and sees some of "
            f"{spacing:g} mm here; set spacing_mm={opened.spacing_mm:g}",
            stacklevel=2,
        )
    of_whole_heads = len(spatial) == 3
    return PretrainedEncoder(opened.network, spatial, channels, of_whole_heads=of_whole_heads)


def _offsets(estimator, model, X):
    outcome = outcome_of(estimator)
    if outcome == "number":
        said = np.asarray(model.predict(X), dtype=np.float64).reshape(len(X), -1)[:, :1]
        return (said - estimator.target_mean_) / estimator.target_scale_
    probabilities = np.full((len(X), len(estimator.classes_)), LEAST_PROBABILITY)
    known = {label: number for number, label in enumerate(estimator.classes_.tolist())}
    places = [known[label] for label in np.asarray(model.classes_).tolist()]
    probabilities[:, places] = np.maximum(model.predict_proba(X), LEAST_PROBABILITY)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if outcome == "classes":
        return np.log(probabilities)
    up_to = np.cumsum(probabilities, axis=1)[:, :-1]
    beyond = np.cumsum(probabilities[:, ::-1], axis=1)[:, -2::-1]
    return np.log(beyond) - np.log(up_to)


def _check_start(estimator):
    start, name = estimator.start, type(estimator.start).__name__
    if not is_classifier(estimator):
        if is_classifier(start):
            raise ValueError(
                f"start={name} is a classifier, and {type(estimator).__name__} predicts a number; "
                'give a regressor, such as place_model(outcome="continuous")'
            )
    elif not hasattr(start, "predict_proba"):
        wrapper = "OrdinalFromRegressor" if estimator.ordinal else "CalibratedClassifierCV"
        raise ValueError(
            f"start={name} has no predict_proba, so there is no probability to start from; put it "
            f"into {wrapper}(...), or give another model"
        )


def _uneven(start, sample_weight, X, rows):
    """Weights of the patients for the start, or None where they are all the same."""
    weights = _check_sample_weight(sample_weight, X)[rows]
    if np.ptp(weights) == 0:
        return None
    if not has_fit_parameter(start, "sample_weight"):
        raise ValueError(
            f"start={type(start).__name__} takes no sample_weight, so patients cannot be weighted "
            "in it; leave sample_weight out, or weigh patients by class_weight, which the start "
            "does not get"
        )
    return weights
