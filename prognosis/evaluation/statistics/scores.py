"""Scores of predictions: fold by fold, and per patient with confidence intervals.

Fold scores judge one fit each and feed the resampled t-test; patient-level scores give every
patient one prediction, averaged over the repeats.
"""

import numpy as np
import pandas as pd

from .auc import auc, auc_interval
from .intervals import (
    Interval,
    balanced_accuracy_interval,
    bootstrap_interval,
    correlation_interval,
    wilson_interval,
)
from .ordinal import c_index_interval, spearman_interval

__all__ = [
    "CLASSIFICATION_SCORES",
    "LOWER_IS_BETTER",
    "ORDINAL_SCORES",
    "REGRESSION_SCORES",
    "fold_scores",
    "patient_losses",
    "patient_scores",
    "patient_table",
    "ranking",
    "value_columns",
]

CLASSIFICATION_SCORES = ("accuracy", "balanced_accuracy", "auc", "brier")
REGRESSION_SCORES = ("r2", "mae", "r")
ORDINAL_SCORES = ("spearman", "c_index")  # of a scale, beside those of what exceeds a cut of it
LOWER_IS_BETTER = frozenset({"brier", "mae"})


def fold_scores(predictions, classes):
    """Scores of one fold of one model.

    Parameters
    ----------
    predictions : DataFrame
        Columns as in `Comparison.predictions`, rows of one fold and one model.
    classes : list or None
        Sorted classes, the positive one last; None for regression.

    Returns
    -------
    dict of str to float
        NaN where a score is undefined (no probabilities, one test patient, no variance).
    """
    y = predictions["y"].to_numpy()
    guess = predictions["prediction"].to_numpy()
    if classes is None:
        errors = y - guess
        return {
            "r2": float(_r2(y, guess)) if y.size > 1 else np.nan,
            "mae": float(np.abs(errors).mean()),
            "r": correlation_interval(y, guess).estimate,
        }
    correct = y == guess
    recalls = [correct[y == label].mean() for label in classes]
    return {
        "accuracy": float(correct.mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "auc": float(_auc(y, ranking(predictions, classes), classes)),
        "brier": float(_brier(y, _probabilities(predictions, classes), classes).mean()),
    } | {name: found.estimate for name, found in _ordinal(predictions).items()}


def patient_table(predictions, classes):
    """One row per patient for one model, averaged over the repeats.

    Parameters
    ----------
    predictions : DataFrame
        As `Comparison.predictions`, rows of one model.
    classes : list or None

    Returns
    -------
    DataFrame, indexed by patient
        ``y``; for regression ``prediction`` (mean); for classification ``correct`` (fraction of
        the repeats in which the patient was classified correctly) and the mean probabilities.
        Decision values have no common scale, so each becomes its rank within its fold (0 to 1)
        before it is averaged. Of an ordinal outcome also ``level`` and the mean of ``expected``.
    """
    table = predictions.copy(deep=False)
    means = ["prediction"]
    if classes is not None:
        table["correct"] = (table["y"] == table["prediction"]).astype(float)
        decisions = [name for name in table.columns if name.startswith("decision")]
        table[decisions] = table.groupby(["repeat", "fold"])[decisions].rank(pct=True)
        means = ["correct", *value_columns("probability", classes), *decisions]
    means += [name for name in ("level", "expected") if name in table.columns]
    by_patient = table.groupby("patient", sort=False)
    return by_patient[means].mean().assign(y=by_patient["y"].first())


def patient_scores(patients, classes, *, confidence=0.95, random_state=0):
    """Scores over all patients with confidence intervals.

    Accuracy: Wilson; balanced accuracy: Wilson limits of the recalls, combined; AUC of two classes:
    DeLong; r: Fisher's z; Brier, multiclass AUC, R² and MAE: bootstrap over patients, 2000 seeded
    resamples; rank correlation and c-index of an ordinal outcome: closed forms, see `ordinal`.

    Parameters
    ----------
    patients : DataFrame
        From `patient_table`.
    classes : list or None
    confidence : float, default=0.95
    random_state : int, default=0

    Returns
    -------
    dict of str to Interval
    """
    y = patients["y"].to_numpy()
    options = {"confidence": confidence}
    drawn = {"confidence": confidence, "random_state": random_state}
    if classes is None:
        guess = patients["prediction"].to_numpy()
        return {
            "r2": bootstrap_interval(_r2, y, guess, **drawn),
            "mae": bootstrap_interval(_mean, np.abs(y - guess), **drawn),
            "r": correlation_interval(y, guess, **options),
        }
    correct = patients["correct"].to_numpy()
    losses = _brier(y, _probabilities(patients, classes), classes)
    return {
        "accuracy": wilson_interval(correct.sum(), len(y), **options),
        "balanced_accuracy": balanced_accuracy_interval(y, correct, **options),
        "auc": _auc_interval(y, ranking(patients, classes), classes, drawn),
        "brier": bootstrap_interval(_mean, losses, **drawn),
        **_ordinal(patients, confidence),
    }


def patient_losses(patients, classes, score):
    """What a score is the mean of, one value per patient, for `paired_patient_ttest`.

    Parameters
    ----------
    patients : DataFrame
        From `patient_table`.
    classes : list or None
    score : str
        "accuracy", "brier", "mae" or "r2".

    Returns
    -------
    ndarray of shape (n_patients,)
        Their mean is the score, but for R², of which it is the score less one.
    """
    y = patients["y"].to_numpy()
    if score == "accuracy":
        return patients["correct"].to_numpy()
    if score == "brier":
        return _brier(y, _probabilities(patients, classes), classes)
    errors = y - patients["prediction"].to_numpy()
    if score == "mae":
        return np.abs(errors)
    spread = y.var()
    return -(errors**2) / spread if spread > 0 else np.full(len(y), np.nan)


def _ordinal(table, confidence=0.95):
    """Scores along an ordinal outcome; none where there is no such outcome."""
    if "level" not in table.columns:
        return {}
    level, expected = table["level"].to_numpy(), table["expected"].to_numpy()
    if np.isnan(expected).any():
        return dict.fromkeys(ORDINAL_SCORES, Interval(np.nan, np.nan, np.nan))
    return {
        "spearman": spearman_interval(level, expected, confidence=confidence),
        "c_index": c_index_interval(level, expected, confidence=confidence),
    }


def _auc_interval(y, values, classes, drawn):
    if np.isnan(values).any():
        return Interval(np.nan, np.nan, np.nan)
    if len(classes) == 2:
        return auc_interval(y == classes[1], values[:, 1], confidence=drawn["confidence"])
    # drawn within classes, so that the labels are the same in every resample
    order = np.argsort(pd.Categorical(y, categories=classes).codes, kind="stable")
    y, values = y[order], values[order]

    def macro(rows):
        return np.mean([auc(y == k, values[rows, i]) for i, k in enumerate(classes)], axis=0)

    return bootstrap_interval(macro, np.arange(len(y)), strata=y, **drawn)


def _auc(y, values, classes):
    if np.isnan(values).any():
        return np.nan
    if len(classes) == 2:
        return auc(y == classes[1], values[:, 1])
    return np.mean([auc(y == label, values[:, i]) for i, label in enumerate(classes)])


def _brier(y, probabilities, classes):
    """Squared error of the probabilities per patient: 0 to 1 for two classes, to 2 for more."""
    if len(classes) == 2:
        return (probabilities[:, 1] - (y == classes[1])) ** 2
    return ((probabilities - (y[:, None] == np.asarray(classes, dtype=object)[None])) ** 2).sum(
        axis=1
    )


def _r2(y, guess):
    spread = ((y - y.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, 1 - ((y - guess) ** 2).sum(axis=-1) / spread, np.nan)[()]


def _mean(values):
    return values.mean(axis=-1)


def value_columns(prefix, classes):
    """Names of the columns with values per class; two classes need one, the positive class's."""
    return [prefix] if len(classes) == 2 else [f"{prefix}_{label}" for label in classes]


def _probabilities(table, classes):
    values = table[value_columns("probability", classes)].to_numpy(dtype=float)
    return np.c_[1 - values, values] if len(classes) == 2 else values


def ranking(table, classes):
    """What orders the patients, shape (n_patients, n_classes).

    Probabilities; for a model without, the values of its decision function; else NaN.
    """
    values = _probabilities(table, classes)
    names = value_columns("decision", classes)
    if np.isnan(values).any() and set(names) <= set(table.columns):
        values = table[names].to_numpy(dtype=float)
        return np.c_[-values, values] if len(classes) == 2 else values
    return values
