"""From whatever holds a fitted estimator to the estimator, and the patients it should explain.

A pipeline's earlier steps are applied on the way; of a cross-validation, every fold's model
explains the patients that it did not see.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..columns import check_cohort
from ..errors import CohortError
from ..views.protocol import View

__all__ = ["Explainable", "Part", "find_parts", "target_index"]

_MODELS = (
    "give a fitted image estimator (StitchedSliceClassifier, RoiSymbolClassifier, ...), a pipeline "
    "that ends in one, a stack that holds one, or what cross_validate(..., return_estimator=True, "
    "return_indices=True) returns"
)


class Explainable(Protocol):
    """What a fitted estimator must have so that its predictions can be explained.

    A classifier has ``classes_`` besides, a regressor ``target_mean_`` and ``target_scale_``, and
    what has tabular inputs an ``encoder_``: the `TabularEncoder` that they come from.

    Attributes
    ----------
    networks_ : list of torch.nn.Module
        Take "image" and perhaps "tabular"; with an `encoder` and a buffer `image_mean`.
    view_ : View
        What they see of the images.
    image_columns_ : list of str
        In the order of the channels.
    image_shape_ : tuple
        Channels and pixels of what the networks see.
    device : str
    n_threads : int
    """

    networks_: list
    view_: View
    image_columns_: list
    image_shape_: tuple
    device: str
    n_threads: int

    def inputs(self, X):
        """Arrays as the networks get them, by name: "image" and perhaps "tabular"."""


@dataclass(frozen=True)
class Part:
    """One fitted image estimator and the patients it explains.

    Attributes
    ----------
    estimator : Explainable
    X : DataFrame
        As the estimator takes it: after the earlier steps of a pipeline.
    rows : ndarray of int
        Where these patients stand in the cohort.
    member : str or None
        Of an ensemble, whose other members and their weights are not explained.
    """

    estimator: Explainable
    X: object
    rows: np.ndarray
    member: str | None = None


def find_parts(model, X):
    """The fitted image estimators inside `model`, each with its patients.

    Parameters
    ----------
    model : estimator, Pipeline, search, or dict from `sklearn.model_selection.cross_validate`
        Also whatever keeps its fitted model in ``estimator_`` or ``best_estimator_``, and stacks
        and votes of which one member sees images.
    X : DataFrame

    Returns
    -------
    list of Part

    Raises
    ------
    TypeError
        If there is no image estimator in it.
    ValueError
        If a cross-validation kept no estimators or indices, or the estimator sees no image.
    CohortError
        If the folds do not belong to this table.
    """
    check_cohort(X)
    if not isinstance(model, Mapping):
        return [_open(model, X, np.arange(len(X)))]
    for key in ("estimator", "indices"):
        if key not in model:
            raise ValueError(
                f"the cross-validation holds no {key!r}; run cross_validate(..., "
                "return_estimator=True, return_indices=True)"
            )
    parts = []
    for fitted, rows in zip(model["estimator"], model["indices"]["test"], strict=True):
        rows = np.asarray(rows)
        if rows.max() >= len(X):
            raise CohortError(
                f"a fold tests row number {rows.max()}, but X has {len(X)} rows; give the table "
                "that was cross-validated"
            )
        parts.append(_open(fitted, X.iloc[rows], rows))
    return parts


def _open(model, X, rows):
    """Unwrap one model, and take X through the steps before it."""
    if isinstance(model, Pipeline):
        if len(model.steps) > 1:
            check_is_fitted(model)
            X = model[:-1].transform(X)
        return _open(model.steps[-1][1], X, rows)
    if hasattr(model, "inputs"):
        check_is_fitted(model, "networks_")
        if not hasattr(model, "view_"):
            raise ValueError(
                f"this {type(model).__name__} sees no image, so there is nothing to map; use "
                "sklearn.inspection.permutation_importance for its tabular columns"
            )
        return Part(model, X, rows)
    for name in ("best_estimator_", "estimator_"):
        if hasattr(model, name):
            return _open(getattr(model, name), X, rows)
    if hasattr(model, "named_estimators_"):
        return _open_ensemble(model, X, rows)
    raise TypeError(
        f"found {type(model).__name__} where an image estimator was expected; {_MODELS}"
    )


def _open_ensemble(model, X, rows):
    """The one member of a stack or a vote that sees images, under the ensemble's own classes."""
    found = {}
    for name, member in model.named_estimators_.items():
        if not isinstance(member, str):  # "drop"
            try:
                found[name] = _open(member, X, rows)
            except (TypeError, ValueError) as error:
                if isinstance(error, CohortError):
                    raise
    if len(found) != 1:
        names = ", ".join(repr(name) for name in found) or "none"
        raise TypeError(
            f"{type(model).__name__} holds {names} where one image estimator was expected among "
            "its members; explain one by itself: explain(model.named_estimators_['...'], X)"
        )
    ((name, part),) = found.items()
    estimator = part.estimator
    if hasattr(model, "classes_") and hasattr(estimator, "classes_"):
        estimator = copy.copy(estimator)  # whose classes scikit-learn has numbered
        estimator.classes_ = model.classes_
    within = name if part.member is None else f"{name}, {part.member}"
    return replace(part, estimator=estimator, member=within)


def target_index(estimator, target):
    """Which output to explain: the number of a class, or None for a regressor.

    Parameters
    ----------
    estimator : Explainable
    target : class label or None
        None: of two classes the last, the positive one.

    Raises
    ------
    ValueError
        If the class is unknown, must be named, or the estimator is a regressor.
    """
    if not is_classifier(estimator):
        if target is not None:
            raise ValueError(f"target={target!r}: a regressor has no classes; leave target out")
        return None
    classes = estimator.classes_.tolist()
    if target is None:
        if len(classes) > 2:
            raise ValueError(f"there are {len(classes)} classes; set target to one of {classes}")
        return 1
    if target not in classes:
        raise ValueError(f"target={target!r} is no class; the classes are {classes}")
    return classes.index(target)
