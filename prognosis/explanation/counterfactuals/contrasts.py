"""Whom a patient is contrasted with: someone whom the network puts on the other side.

Contrasts are real patients of a reference, usually the training set.
"""

import numpy as np

from ...errors import CohortError
from ...grouping import declared_patient
from .answers import answers

__all__ = ["NoContrastError", "Patients", "choose_contrasts", "given_contrasts"]


class NoContrastError(CohortError):
    """The network puts all reference patients on one side."""


def choose_contrasts(patients, reference, sides, y_reference, n_contrasts):
    """The nearest reference patients that are predicted otherwise, rightly and confidently.

    Near means near in the tabular values that the network gets (as numbers or symbols), so that
    the image has to make the difference; where these tie, or there are none, near in the image.
    Confident means a margin of at least the median of the rightly predicted ones of that side.

    Parameters
    ----------
    patients, reference : Patients
    sides : Sides
    y_reference : ndarray or None
        None counts every reference patient as rightly predicted.
    n_contrasts : int

    Returns
    -------
    list of ndarray of int
        Rows of the reference, nearest first, for each patient.

    Raises
    ------
    NoContrastError
        If a patient has none.
    """
    own = sides.of(patients.answers)
    predicted = sides.of(reference.answers)
    right = np.ones(len(predicted), bool)
    if y_reference is not None:
        right = predicted == sides.of_outcome(y_reference)
    usable = np.zeros(len(predicted), bool)
    for side in np.unique(predicted[right]):
        rows = np.flatnonzero(right & (predicted == side))
        confidence = _confidence(reference.answers[rows], sides, side)
        usable[rows[confidence >= np.median(confidence)]] = True
    chosen = []
    for number, side in enumerate(own):
        rows = np.flatnonzero(usable & (predicted != side))
        rows = rows[[reference.people[row] != patients.people[number] for row in rows]]
        if not len(rows):
            raise NoContrastError(
                f"row {patients.ids[number]!r}: no reference patient is rightly predicted as "
                f"anything but {sides.names[side]}; give more reference patients, or name "
                "contrasts yourself"
            )
        tabular = _distance(patients.tabular[number], reference.tabular[rows])
        image = _distance(patients.images[number].ravel(), reference.flat(rows))
        chosen.append(rows[np.lexsort((image, tabular.round(6)))[:n_contrasts]])
    return chosen


def given_contrasts(contrasts, patients, reference, sides):
    """The named contrasts as rows of the reference.

    Raises
    ------
    CohortError
        If one is missing, unknown, or predicted as the patient is.
    """
    own, predicted = sides.of(patients.answers), sides.of(reference.answers)
    where = {name: row for row, name in enumerate(reference.ids)}
    chosen = []
    for number, patient in enumerate(patients.ids):
        if patient not in contrasts:
            raise CohortError(f"row {patient!r} has no contrast; add it to contrasts")
        names = contrasts[patient]
        names = list(names) if isinstance(names, (list, tuple, np.ndarray)) else [names]
        for name in names:
            if name not in where:
                raise CohortError(
                    f"row {patient!r}: contrast {name!r} is not among the reference patients; "
                    "take one of X_reference.index"
                )
            if predicted[where[name]] == own[number]:
                raise CohortError(
                    f"row {patient!r}: contrast {name!r} is predicted "
                    f"{sides.names[own[number]]} as well; name one that is not"
                )
        chosen.append(np.array([where[name] for name in names]))
    return chosen


class Patients:
    """Patients as the networks get them, and what these answer.

    Attributes
    ----------
    ids : list
        Index labels.
    people : list
        Whose row it is: these, or the column that the estimator's `patient` names.
    images : ndarray of shape (n, n_channels, ...)
    inputs : ndarray of shape (n, n_values) or None
        Encoded tabular values.
    tabular : ndarray of shape (n, n_values)
        These and the values of symbols, each scaled to about one; for distances.
    answers : ndarray
    """

    def __init__(self, estimator, X):
        inputs, patient = estimator.inputs(X), declared_patient(estimator)
        self.ids = X.index.tolist()
        self.people = self.ids if patient is None else X[patient].tolist()
        self.images = inputs["image"]
        self.inputs = inputs.get("tabular")
        encoded = np.zeros((len(X), 0)) if self.inputs is None else self.inputs
        # Symbols lie from 0 to 1, encoded values have a standard deviation of 1.
        drawn = 3 * np.nan_to_num(estimator.view_.symbol_values(X), nan=0.5)
        self.tabular = np.concatenate([encoded, drawn], axis=1, dtype=np.float64)
        self.answers = answers(estimator, self.images, self.inputs)

    def flat(self, rows):
        return self.images[rows].reshape(len(rows), -1)


def _confidence(answers, sides, side):
    if not sides.classification:
        return sides.margin(answers, side, 1 - side)
    others = np.delete(answers, side, axis=1).max(axis=1)
    return answers[:, side] - others


def _distance(one, many):
    return np.sqrt(np.square(many - one).sum(axis=1))
