"""Scores that the user brings: any scorer of scikit-learn, computed fold by fold."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer

from ..statistics.scores import CLASSIFICATION_SCORES, ORDINAL_SCORES, REGRESSION_SCORES
from ..statistics.thresholds import THRESHOLD_SCORES

__all__ = ["AboveCut", "apply_scorers", "check_scoring", "check_threshold"]

TAKEN = {*CLASSIFICATION_SCORES, *ORDINAL_SCORES, *REGRESSION_SCORES, *THRESHOLD_SCORES}


def check_scoring(scoring):
    """Scorers by name, from whatever form `compare` takes.

    Parameters
    ----------
    scoring : str, callable, sequence of these, dict of str to these, or None
        Names that stand in the table anyway ("accuracy", "r2") are not shown twice.

    Returns
    -------
    dict of str to callable(estimator, X, y)

    Raises
    ------
    ValueError
        If a name is unknown to scikit-learn, or a callable has none.

    Examples
    --------
    >>> list(check_scoring(["f1", "accuracy", "neg_log_loss"]))
    ['f1', 'neg_log_loss']
    """
    if scoring is None:
        return {}
    if isinstance(scoring, str) or callable(scoring):
        scoring = [scoring]
    pairs = scoring.items() if hasattr(scoring, "items") else [(_name(one), one) for one in scoring]
    found = {}
    for name, scorer in pairs:
        if name in found:
            raise ValueError(f"scoring holds {name!r} twice; give a dict of names and scorers")
        if name not in TAKEN:
            found[name] = get_scorer(scorer)
        elif not isinstance(scorer, str):
            raise ValueError(f"scoring: {name!r} is in the table already; give yours another name")
    return found


def check_threshold(threshold, classes):
    """Refuse a threshold that is no probability, or has no class to speak of."""
    if threshold is None:
        return
    if isinstance(threshold, bool) or not 0 < threshold < 1:
        raise ValueError(f"threshold must be a probability between 0 and 1, got {threshold!r}")
    if classes is None or len(classes) != 2:
        what = "a number" if classes is None else f"{len(classes)} classes"
        raise ValueError(f"threshold={threshold!r} needs an outcome of two classes, not {what}")


def apply_scorers(scorers, model, X, y):
    """What every scorer gives, as numbers.

    Raises
    ------
    ValueError
        If a scorer does, or returns no number; the sentence names it.
    """
    found = {}
    for name, scorer in scorers.items():
        try:
            found[name] = float(scorer(model, X, y))
        except Exception as error:
            raise ValueError(f"scoring {name!r}: {error}") from error
    return found


class AboveCut(ClassifierMixin, BaseEstimator):
    """A fitted ordinal model seen as one of two classes, above the cut or not, for scorers.

    Parameters
    ----------
    probability : ndarray of shape (n_patients,)
        Of exceeding the cut, for the very patients that are scored.
    """

    def __init__(self, probability):
        self.probability = probability
        self.classes_ = np.array([0, 1])

    def predict_proba(self, X):
        return np.c_[1 - self.probability, self.probability]

    def predict(self, X):
        return (self.probability > 0.5).astype(np.int64)


def _name(scorer):
    if isinstance(scorer, str):
        return scorer
    function = getattr(scorer, "_score_func", scorer)
    name = getattr(function, "__name__", "<lambda>")
    if name == "<lambda>":
        raise ValueError("a scorer in scoring has no name; give a dict: scoring={'name': scorer}")
    return name
