"""Fit every model in every fold, in parallel, and collect the predictions.

Nothing here knows what is compared: it turns (model, fold) pairs into out-of-fold predictions, with
errors that name both.
"""

import contextlib
import functools
import sys
import time

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from tqdm import tqdm

from imaging.storage.bank import ImageBank, sharing
from imaging.storage.files import ScratchFolder
from imaging.storage.upkeep.savings import counting

from ...cells import listing
from ...errors import CohortError, ModelError
from ...estimators.ordinal.scale import above, is_ordinal
from ...estimators.outputs import keeping_outputs
from ...grouping import fit_with_groups
from ...oddities import oddities_told, warn_of_oddities
from ...workers import let_worker_grow, shows_progress
from ..statistics.scores import value_columns
from .resuming import keep_finished
from .scoring import AboveCut, apply_scorers
from .searches import describe_search, search_table

__all__ = ["cross_predict"]

# what learners of numbers say of images and text
_NOT_NUMBERS = ("setting an array element with a sequence", "could not convert string to float")


def cross_predict(
    models,
    X,
    y,
    splits,
    classes,
    *,
    ordinal=None,
    scorers=None,
    n_jobs=None,
    verbose=None,
    resume=None,
):
    """Out-of-fold predictions of every model.

    Parameters
    ----------
    models : dict of str to estimator
        Cloned before each fit.
    X : DataFrame of shape (n_patients, n_columns)
    y : Series of shape (n_patients,)
    splits : list of Split
    classes : list or None
        Sorted classes, the positive one last; None for regression.
    ordinal : OrdinalCut, default=None
        `y` is an ordinal outcome, of which `classes` are 0 and, above the cut, 1.
    scorers : dict of str to callable(estimator, X, y), default=None
        Further scores of every fold; with a cut, of what exceeds it.
    n_jobs : int, default=None
        (model, fold) pairs that run at once; within ``joblib.parallel_config`` any backend does.
    verbose : int, default=None
        Progress bar on stderr from 1.
    resume : str, os.PathLike or joblib.Memory, default=None
        Where finished (model, fold) pairs are kept and looked for.

    Returns
    -------
    predictions : DataFrame
        See `Comparison.predictions`.
    timings : DataFrame
        ``model``, ``repeat``, ``fold``, ``fit_seconds``, ``predict_seconds``, what images cost, see
        `Savings`, and the `scorers`.
    searches : DataFrame
        See `Comparison.searches`.

    Raises
    ------
    ModelError
        If a model raises, or predicts NaN or the wrong number of values.
    CohortError
        If it is a model's input that cannot be used.
    """
    tasks = [(name, split) for split in splits for name in models]
    for column in _columns_read(models, X):
        with contextlib.suppress(CohortError):  # which the model that reads it will raise
            warn_of_oddities(X, [column], stacklevel=3)
    with (
        ScratchFolder() as scratch,
        tqdm(
            total=len(tasks), unit="fit", file=sys.stderr, disable=not shows_progress(verbose)
        ) as bar,
    ):
        # Every scan is read and prepared once, for all folds and models, in whichever process.
        bank = ImageBank(scratch.path, brief=True)
        run = functools.partial(_run, bank=bank, ordinal=ordinal, scorers=scorers or {})
        run = keep_finished(run, resume, models, X, y, classes, ordinal, scorers)
        results = _Parallel(bar, n_jobs=n_jobs)(
            joblib.delayed(run)(name, models[name], X, y, split, classes) for name, split in tasks
        )
    order = {name: position for position, name in enumerate(models)}
    results.sort(key=lambda result: order[result[1]["model"]])
    predictions = pd.concat([result[0] for result in results], ignore_index=True)
    if classes is not None:
        names = value_columns("probability", classes)
        names += [name for name in value_columns("decision", classes) if name in predictions]
        names += [] if ordinal is None else ["outcome", "level", "expected"]
        predictions = predictions.reindex(
            columns=["patient", "repeat", "fold", "model", "y", "prediction", *names]
        )
    searches = [result[1].pop("search") for result in results]
    searches = search_table([row for row in searches if row is not None])
    return predictions, pd.DataFrame([result[1] for result in results]), searches


def _columns_read(models, X):
    """Columns of the table that the models name: members of lists among their parameters."""
    named = set()
    for model in models.values():
        for value in model.get_params(deep=True).values():
            if isinstance(value, (list, tuple, np.ndarray, pd.Index)):
                named.update(member for member in value if isinstance(member, str))
    return [name for name in X.columns if name in named]


class _Parallel(joblib.Parallel):
    """joblib's, with every finished task on a bar, whatever the backend."""

    def __init__(self, bar, **options):
        super().__init__(**options)
        self.bar = bar

    def print_progress(self):
        self.bar.update(self.n_completed_tasks - self.bar.n)


def _run(name, model, X, y, split, classes, *, bank, scorers, ordinal=None):
    let_worker_grow()
    place = f"model {name!r}, {split}"
    X_test, y_test = X.iloc[split.test], y.iloc[split.test]
    of_patients = {"y": y_test.to_numpy()}
    whole_scale = ordinal is not None and is_ordinal(model)
    if ordinal is not None:
        of_patients = {"y": ordinal.exceeding(y_test), "outcome": np.asarray(y_test)}
        of_patients["level"] = ordinal.levels(y_test)
        if not whole_scale:
            y = pd.Series(ordinal.exceeding(y), y.index, name=y.name)
    try:
        # A worker on another machine does not see the folder, and prepares for itself.
        store = bank if bank.folder.is_dir() else None
        with sharing(store), oddities_told(), counting() as images:
            start = time.perf_counter()
            train = split.train
            model = fit_with_groups(clone(model), X.iloc[train], y.iloc[train], split.groups)
            fitted = time.perf_counter()
            with keeping_outputs():
                if whole_scale:
                    values = _predict_scale(model, X_test, ordinal)
                else:
                    values = _predict(model, X_test, classes)
                    if ordinal is not None and "probability" in values:
                        values["expected"] = values["probability"]
                done = time.perf_counter()
                judged = AboveCut(values["probability"]) if whole_scale else model
                further = apply_scorers(scorers, judged, X_test, of_patients["y"])
                search = describe_search(model, X_test, y.iloc[split.test])
    except CohortError as error:
        raise CohortError(f"{place}: {error}") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or "no message"
        if any(sign in reason for sign in _NOT_NUMBERS):
            reason += (
                f"; it was given the whole table ({listing(X.columns)}), and takes numbers alone: "
                "put TabularEncoder([...]) before it, in a Pipeline"
            )
        raise ModelError(f"{place}: {type(error).__name__}: {reason}") from error
    for column, value in values.items():
        _check_values(place, column, value, X_test)
    where = {"model": name, "repeat": split.repeat, "fold": split.fold}
    frame = pd.DataFrame({"patient": X_test.index.to_numpy(), **where, **of_patients, **values})
    seconds = {"fit_seconds": fitted - start, "predict_seconds": done - fitted}
    measured = seconds | images.as_dict() | further
    return frame, {**where, **measured, "search": search and where | search}


def _predict(model, X, classes):
    """Predictions, and for classification probabilities or else decision values."""
    values = {"prediction": np.asarray(model.predict(X))}
    if classes is None:
        values["prediction"] = values["prediction"].astype(float)
        return values
    if hasattr(model, "predict_proba"):
        prefix, found = "probability", np.asarray(model.predict_proba(X), dtype=float)
    elif hasattr(model, "decision_function"):
        prefix, found = "decision", np.asarray(model.decision_function(X), dtype=float)
    else:
        return values
    if found.ndim == 1:  # decision values of two classes
        found = np.c_[-found, found]
    known = list(model.classes_)
    found = found[:, [known.index(label) for label in classes]]
    names = value_columns(prefix, classes)
    return values | dict(zip(names, found[:, -len(names) :].T, strict=True))


def _predict_scale(model, X, ordinal):
    """Of an ordinal model, what exceeds the cut, and the place on the scale that it expects."""
    probabilities = np.asarray(model.predict_proba(X), dtype=float)
    levels = ordinal.levels(model.classes_)
    higher = above(np.array(ordinal.scale), ordinal.cut)[levels]
    exceeding = probabilities[:, higher].sum(axis=1)
    return {
        "prediction": (exceeding > 0.5).astype(np.int64),
        "probability": exceeding,
        "expected": probabilities @ levels,
    }


def _check_values(place, column, values, X):
    if values.shape != (len(X),):
        raise ModelError(
            f"{place}: {column} has shape {values.shape} where ({len(X)},) was expected"
        )
    missing = pd.isna(values)
    if missing.any():
        raise ModelError(f"{place}: {column} is missing for row {X.index[missing].tolist()[0]!r}")
