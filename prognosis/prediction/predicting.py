"""Predictions of new patients, their intervals, and what would be said of a more typical patient.

Asking again with one value replaced by the training patients' typical one works for any model; it
says what the prediction rests on, not what would happen if the value were changed.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from imaging.storage.bank import ImageBank, shared_bank, sharing
from imaging.storage.files import ScratchFolder

from ..estimators.ordinal.scale import above
from ..saving.describing import as_trained, divided, measured

__all__ = ["Predictions", "predict_patients"]

PLACE = "place of the lesion"


@dataclass(frozen=True)
class Predictions:
    """What a model says of new patients.

    Attributes
    ----------
    table : DataFrame
        One row per patient: the prediction, ``low`` and ``high`` of its interval (NaN where the
        model keeps no refits), for more classes also the other probabilities; ``remarks``.
    said : str
        Name of the column that holds the prediction.
    is_probability : bool
    coverage : float
    n_refits : int
        0: no intervals.
    remarks : Series of tuple of str
        Where patients leave what the model has seen; empty where nothing is known of that.
    what_if : dict of label to DataFrame
        Of each patient, one row per value: ``value``, ``typical``, ``rank`` among the training
        patients (0 to 1), ``instead`` (what would be said with the typical value), ``difference``.
    """

    table: pd.DataFrame
    said: str
    is_probability: bool
    coverage: float
    n_refits: int
    remarks: pd.Series
    what_if: dict


def predict_patients(model, X, cohort=None, *, coverage=0.95, cut=None):
    """Predict, and say how sure that is, of whom, and from what.

    Parameters
    ----------
    model : fitted estimator
        As `prognosis.load` gives it.
    X : DataFrame
        New patients; columns that the model only passes on may be missing.
    cohort : TrainingCohort, default=None
        None: nothing is said of where patients lie in the training cohort.
    coverage : float, default=0.95
        Of the intervals.
    cut : object, default=None
        Of an ordered outcome: predict the probability of lying above it.

    Returns
    -------
    Predictions

    Raises
    ------
    CohortError
        If a column that the model uses is missing, or an image cannot be used.
    ValueError
        If `cut` or `coverage` cannot be.

    Examples
    --------
    >>> from prognosis import logistic_ladder, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> model = logistic_ladder([["severity"]])["severity"].fit(X, y)
    >>> predict_patients(model, X.head(2)).table.columns.tolist()
    ['probability_1', 'low', 'high', 'remarks']
    """
    given, X = X, as_trained(model, X)
    with ScratchFolder() as scratch, sharing(shared_bank() or ImageBank(scratch.path, brief=True)):
        said = _target(model, cut)
        table = said.table(X, coverage)
        remarks = pd.Series([()] * len(X), X.index, dtype=object)
        what_if = {}
        if cohort is not None:
            remarks = cohort.remarks(given, model)
            what_if = _what_if(model, X, cohort, said)
    table["remarks"] = ["; ".join(each) for each in remarks]
    n_refits = len(getattr(model, "refits_", ()))
    return Predictions(table, said.name, said.is_probability, coverage, n_refits, remarks, what_if)


class _Target:
    """What of a model's predictions is looked at."""

    def __init__(self, model, name, say, interval=None, others=(), is_probability=True):
        self.model, self.name, self.say, self.others = model, name, say, others
        self.interval, self.is_probability = interval, is_probability

    def table(self, X, coverage):
        ends = np.full((len(X), 2), np.nan)
        if hasattr(self.model, "refits_"):
            ends = self.interval(X, coverage)
        columns = {self.name: self.say(self.model, X), "low": ends[:, 0], "high": ends[:, 1]}
        if self.others:
            columns |= dict(zip(self.others, self.model.predict_proba(X).T, strict=True))
        return pd.DataFrame(columns, index=X.index)


def _target(model, cut):
    if not is_classifier(model):
        if cut is not None:
            raise ValueError(f"cut={cut!r}: the model predicts a number; leave cut out")
        return _Target(
            model,
            "prediction",
            lambda one, X: np.asarray(one.predict(X), dtype=float),
            lambda X, coverage: model.predict_interval(X, coverage),
            is_probability=False,
        )
    classes = model.classes_
    names = [f"probability_{label}" for label in classes.tolist()]
    if cut is not None:
        higher = above(classes, cut)
        return _Target(
            model,
            f"probability_above_{cut}",
            lambda one, X: one.predict_proba(X)[:, higher].sum(axis=1),
            lambda X, coverage: model.exceeding_interval(X, cut, coverage),
            names if len(classes) > 2 else (),
        )
    return _Target(
        model,
        names[-1],
        lambda one, X: one.predict_proba(X)[:, -1],
        lambda X, coverage: model.predict_interval(X, coverage)[:, -1],
        names[:-1] if len(classes) > 2 else (),
    )


def _what_if(model, X, cohort, said):
    """What would be said of each patient with one typical value, by value."""
    table, places = measured(model, X)
    _, rest = divided(model)
    ranks = cohort.ranks(X, model)
    now = said.say(rest, table)
    rows = {row: [] for row in X.index}
    blocks = {name: [name] for name in cohort.columns.index if name in cohort.used}
    if places:
        blocks[PLACE] = list(places)
    for name, columns in blocks.items():
        if not set(columns) <= set(table.columns):
            continue
        typical = 0.0 if name == PLACE else cohort.typical(name)
        if typical is None:
            continue
        instead = said.say(rest, table.assign(**dict.fromkeys(columns, typical)))
        for number, row in enumerate(X.index):
            of_place = name == PLACE
            hit = int((table[columns].iloc[number] > 0).sum()) if of_place else 0
            rows[row].append(
                {
                    "what": name,
                    "value": f"{hit} regions" if of_place else table[name].iloc[number],
                    "typical": "none" if of_place else typical,
                    "rank": ranks[name].iloc[number] if name in ranks else np.nan,
                    "instead": instead[number],
                    "difference": now[number] - instead[number],
                }
            )
    return {row: _sorted(found) for row, found in rows.items()}


def _sorted(rows):
    if not rows:
        return pd.DataFrame(columns=["value", "typical", "rank", "instead", "difference"])
    table = pd.DataFrame(rows).set_index("what")
    return table.iloc[np.argsort(-table["difference"].abs().to_numpy(), kind="stable")]
