"""What a comparison predicts: numbers, classes, or what exceeds a cut of an ordinal scale.

An ordinal outcome is learnt whole by models that can, and as "above the cut or not" by those that
know two classes; both are judged by the same patients.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...errors import CohortError
from ...estimators.ordinal.scale import above, is_ordinal, ordered_classes

__all__ = ["OrdinalCut", "cut_outcome", "model_kinds"]


@dataclass(frozen=True)
class OrdinalCut:
    """An ordinal scale and where it is cut.

    Attributes
    ----------
    scale : tuple
        All classes from lowest to highest.
    cut : object
        Highest class below the cut, or a number between two.
    """

    scale: tuple
    cut: object

    def levels(self, classes):
        """Places on the whole scale of some of its classes, from 0."""
        place = {label: number for number, label in enumerate(self.scale)}
        return np.array([place[label] for label in np.asarray(classes).tolist()])

    def exceeding(self, labels):
        """1 for every outcome above the cut, else 0."""
        return above(np.array(self.scale), self.cut)[self.levels(labels)].astype(np.int64)


def cut_outcome(y, cut, positive_label=None):
    """The scale of an outcome with its cut, and the outcome as 0 and 1.

    Parameters
    ----------
    y : Series of shape (n_patients,)
        Numbers, or an ordered categorical.
    cut : object
    positive_label : object
        Must be None: what exceeds the cut is positive.

    Returns
    -------
    OrdinalCut
    exceeding : Series of int

    Raises
    ------
    ValueError
        If `cut` does not divide the outcomes, or `positive_label` is given too.
    CohortError
        If the order of the outcomes is not known.

    Examples
    --------
    >>> ordinal, exceeding = cut_outcome(pd.Series([0, 2, 3, 6, 2]), 2)
    >>> ordinal.scale, exceeding.tolist()
    ((0, 2, 3, 6), [0, 0, 1, 1, 0])
    """
    if positive_label is not None:
        raise ValueError("with a cut the positive class is what exceeds it; leave positive_label")
    try:
        classes, _ = ordered_classes(y)
    except ValueError as error:
        raise CohortError(f"the outcome cannot be cut: {error}") from error
    ordinal = OrdinalCut(tuple(classes.tolist()), cut)
    return ordinal, pd.Series(ordinal.exceeding(y), y.index, name=y.name)


def model_kinds(models):
    """By name of each model, whether it is "ordinal", or "binary" and learns the cut alone."""
    return {name: "ordinal" if is_ordinal(model) else "binary" for name, model in models.items()}
