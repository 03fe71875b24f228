"""The scale of an ordinal outcome: which classes there are, in which order, and what exceeds a cut.

Numbers are ordered by themselves and so is an ordered pandas categorical; text is not.
"""

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

__all__ = ["above", "is_ordinal", "ordered_classes", "predict_exceeding"]


def ordered_classes(y, order=None):
    """The classes of an outcome from lowest to highest, and the place of every patient among them.

    Parameters
    ----------
    y : array-like of shape (n_patients,)
        Numbers, truth values, or an ordered pandas categorical; anything else with `order`.
    order : sequence, default=None
        All classes from lowest to highest; those that do not occur are left out.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    codes : ndarray of int of shape (n_patients,)

    Raises
    ------
    ValueError
        If the order of the classes is not known, or `y` holds a class that `order` lacks, a missing
        value, or fractions.

    Examples
    --------
    >>> ordered_classes([3, 0, 6, 3])
    (array([0, 3, 6]), array([1, 0, 2, 1]))
    >>> classes, codes = ordered_classes(["severe", "mild"], order=["none", "mild", "severe"])
    >>> classes.tolist(), codes.tolist()
    (['mild', 'severe'], [1, 0])
    >>> ordered_classes(["severe", "mild"])
    Traceback (most recent call last):
        ...
    ValueError: y holds text ('severe'), whose order is not known; give order=[...] from lowest to
    highest, or an ordered categorical: pd.Categorical(y, categories=[...], ordered=True)
    """
    dtype = getattr(y, "dtype", None)
    if order is None and isinstance(dtype, pd.CategoricalDtype) and dtype.ordered:
        order = dtype.categories
    labels = column_or_1d(y, warn=True)
    missing = pd.isna(labels)
    if missing.any():
        raise ValueError(
            f"y is missing (NaN) in {int(missing.sum())} rows, first in row "
            f"{np.flatnonzero(missing)[0]}; drop these patients"
        )
    if order is None:
        check_classification_targets(labels)
        text = [label for label in labels if _is_text(label)] if labels.dtype.kind in "OUS" else []
        if text:
            raise ValueError(
                f"y holds text ({_plain(text[0])!r}), whose order is not known; give order=[...] "
                "from lowest to highest, or an ordered categorical: "
                "pd.Categorical(y, categories=[...], ordered=True)"
            )
        return np.unique(labels, return_inverse=True)
    order = pd.Index(order)
    if not order.is_unique:
        raise ValueError(f"order names {order[order.duplicated()][0]!r} more than once")
    codes = order.get_indexer(labels)
    if (codes < 0).any():
        raise ValueError(
            f"y holds {_plain(labels[codes < 0][0])!r}, which order={list(order)} lacks; add it "
            "where it belongs"
        )
    present, codes = np.unique(codes, return_inverse=True)
    return order.to_numpy()[present], codes


def above(classes, cut):
    """Which classes lie above a cut.

    Parameters
    ----------
    classes : array-like of shape (n_classes,)
        From lowest to highest.
    cut : object
        A number, where the classes are numbers; else one of the classes.

    Returns
    -------
    ndarray of bool of shape (n_classes,)

    Raises
    ------
    ValueError
        If the cut is not on the scale, or does not leave a class on both of its sides.

    Examples
    --------
    >>> above([0, 1, 2, 3], 1.5).tolist(), above(["low", "middle", "high"], "low").tolist()
    ([False, False, True, True], [False, True, True])
    """
    classes = np.asarray(classes)
    if classes.dtype.kind in "biuf" or not any(map(_is_text, classes)):
        if _is_text(cut) or cut is None or not np.isscalar(cut) or np.isnan(cut):
            raise ValueError(f"cut must be a number, as the classes are, got {cut!r}")
        higher = np.asarray(classes > cut, dtype=bool)
    else:
        found = np.flatnonzero(classes == cut)
        if not len(found):
            raise ValueError(f"cut={cut!r} is none of the classes: {classes.tolist()}")
        higher = np.arange(len(classes)) > found[0]
    if higher.all() or not higher.any():
        side = "above" if higher.all() else "at or below"
        raise ValueError(
            f"all classes are {side} cut={cut!r}: {classes.tolist()}; choose a cut between them"
        )
    return higher


def is_ordinal(model):
    """Whether a model is ordinal: it, or what decides in it, has `predict_exceeding`.

    Looks through pipelines, searches, stacks, and whatever else holds an `estimator`.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from prognosis import OrdinalClassifier
    >>> is_ordinal(make_pipeline(StandardScaler(), OrdinalClassifier()))
    True
    >>> is_ordinal(make_pipeline(StandardScaler(), LogisticRegression()))
    False
    """
    if hasattr(model, "predict_exceeding"):
        return True
    inside = getattr(model, "final_estimator", None)  # of a stack
    if inside is None and getattr(model, "steps", None):
        inside = model.steps[-1][1]
    if inside is None:
        inside = getattr(model, "estimator", None)
    return inside is not None and not isinstance(inside, str) and is_ordinal(inside)


def predict_exceeding(model, X, cut):
    """Probability that the outcome lies above a cut, from any fitted classifier of ordered classes.

    A pipeline around an ordinal model has no method of that name; this takes it as well.

    Parameters
    ----------
    model : fitted classifier with `predict_proba`
    X : DataFrame or array-like of shape (n_patients, n_features)
    cut : object
        As in `OrdinalClassifier.predict_exceeding`.

    Returns
    -------
    ndarray of shape (n_patients,)

    Raises
    ------
    ValueError
        If the cut is not on the scale, or does not leave a class on both of its sides.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from prognosis import OrdinalClassifier, predict_exceeding
    >>> X, y = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]), [0, 0, 1, 1, 2, 2]
    >>> model = make_pipeline(StandardScaler(), OrdinalClassifier()).fit(X, y)
    >>> predict_exceeding(model, X, 0).round(2).tolist() == sorted(
    ...     predict_exceeding(model, X, 0).round(2)
    ... )
    True
    """
    if hasattr(model, "predict_exceeding"):
        return model.predict_exceeding(X, cut)
    return model.predict_proba(X)[:, above(model.classes_, cut)].sum(axis=1)


class ExceedingMixin:
    """What every ordinal classifier answers, from its class probabilities."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # scikit-learn's trial has three heaps of points in no order, which one line cannot tell.
        tags.classifier_tags.poor_score = True
        return tags

    def predict(self, X):
        """The most probable class of every patient, shape (n_patients,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_exceeding(self, X, cut):
        """Probability that the outcome lies above a cut.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_features)
        cut : object
            Any number where the classes are numbers; else one of the classes. For example 2: a
            modified Rankin Scale of 3 or more.

        Returns
        -------
        ndarray of shape (n_patients,)

        Raises
        ------
        ValueError
            If the cut is not on the scale, or does not leave a class on both of its sides.
        """
        probabilities = self.predict_proba(X)
        return probabilities[:, above(self.classes_, cut)].sum(axis=1)


def _is_text(value):
    return isinstance(value, (str, bytes))


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value
