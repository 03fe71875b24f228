"""The folds of a search, drawn once for all of its trials, and what one fold of one trial is."""

import copy
import time
import traceback
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.model_selection._validation import _score
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

from imaging.storage.bank import sharing
from imaging.storage.upkeep.savings import counting

from ..errors import CohortError
from ..grouping import check_apart, fit_held
from ..splits import inner_folds
from ..workers import let_worker_grow
from .epochs import EpochWatch, StoppedTraining, find_network, loss_kind

__all__ = ["FoldTask", "draw_folds", "score_fold"]


def draw_folds(cv, X, y, groups, *, estimator, seed, **further):
    """The folds of a search, as pairs of row numbers; no group is on both sides of one.

    Parameters
    ----------
    cv : int, scikit-learn splitter, iterable or None
        A splitter that shuffles without a seed of its own is given `seed`.
    X, y : training rows
    groups : ndarray of shape (n_rows,) or None
    estimator : estimator
        Classifiers have stratified folds.
    seed : int
    **further
        What else the splitter asks for.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
    """
    if hasattr(cv, "split") and getattr(cv, "random_state", 0) is None:
        cv = copy.copy(cv)
        if getattr(cv, "shuffle", True):  # without shuffling, scikit-learn refuses a seed
            cv.random_state = seed
    elif hasattr(cv, "split"):
        cv = copy.deepcopy(cv)  # drawing folds leaves the user's random state where it is
    classifier = is_classifier(estimator)
    if further:
        folds = check_cv(cv, y, classifier=classifier).split(X, y, groups=groups, **further)
    else:
        folds = inner_folds(cv, X, y, groups, classifier=classifier)
    folds = [(np.asarray(train), np.asarray(test)) for train, test in folds]
    if not folds:
        raise ValueError("No fits were performed: cv gives no folds. Was the CV iterator empty?")
    for number, (train, test) in enumerate(folds, start=1):
        check_apart(groups, train, test, f"inner fold {number}")
    return folds


@dataclass(frozen=True)
class FoldTask:
    """What every fold of every trial has in common.

    Attributes
    ----------
    estimator : estimator
        Cloned for each fit.
    X, y : all rows
    scorer : callable
        scikit-learn's, of one score or of several.
    fit_params, score_params : dict
        Sliced for each fold.
    groups : ndarray or None
        Handed to `fit` where it asks for them.
    error_score : float or "raise"
    return_train_score : bool
    bank : ImageBank or None
        Where prepared images are shared.
    """

    estimator: object
    X: object
    y: object
    scorer: object
    fit_params: dict = field(default_factory=dict)
    score_params: dict = field(default_factory=dict)
    groups: np.ndarray | None = None
    error_score: object = np.nan
    return_train_score: bool = False
    bank: object = None

    def model(self, params):
        """A new estimator with some parameters."""
        # Parameters can be estimators, which must not be fitted twice.
        return clone(self.estimator).set_params(**clone(params, safe=False))


def score_fold(task, params, train, test, watch=None):
    """Fit on one side of a fold and score on the other; a function, so that joblib can send it.

    Parameters
    ----------
    task : FoldTask
    params : dict
    train, test : ndarray of int
    watch : EpochWatch, default=None
        Looks at the training, where the model is a network or ends in one.

    Returns
    -------
    dict
        ``epochs`` that were run, ``n_epochs`` that there could have been, ``curve`` of validation
        losses, and ``kind`` of these, see `EpochWatch`; ``images``: what these cost, see `Savings`;
        with ``is_stopped`` nothing else. Else
        ``test_scores``, ``train_scores`` (a float, or a dict of them), ``n_test_samples``,
        ``fit_time``, ``score_time`` in seconds, ``fit_error``: the text of what went wrong, or
        None; ``about_cohort``: the error itself, where it is the cohort that cannot be used.
    """
    with counting() as images:
        found = _score_fold(task, params, train, test, watch)
    return found | {"images": images.as_dict()}


def _score_fold(task, params, train, test, watch):
    model = task.model(params)
    watch = copy.deepcopy(watch) if watch is not None else EpochWatch()
    network = find_network(model)
    if network is not None:
        watch.begin(loss_kind(network), network.epochs)
        network._on_epoch = watch
    X_train, y_train = _safe_split(model, task.X, task.y, train)
    X_test, y_test = _safe_split(model, task.X, task.y, test, train)
    found = {"n_test_samples": _num_samples(X_test), "fit_error": None, "about_cohort": None}
    further = _check_method_params(task.X, params=task.fit_params, indices=train)
    inside = None if task.groups is None else task.groups[train]
    # A worker on another machine does not see the folder, and prepares for itself.
    bank = task.bank if task.bank is not None and task.bank.folder.is_dir() else None
    let_worker_grow()
    start = time.perf_counter()
    with sharing(bank):
        try:
            fit_held(model, X_train, y_train, inside, **further)
            fitted = time.perf_counter()
            found["test_scores"] = _scores(task, model, X_test, y_test, test)
            found |= {"fit_time": fitted - start, "score_time": time.perf_counter() - fitted}
            if task.return_train_score:
                found["train_scores"] = _scores(task, model, X_train, y_train, train)
        except StoppedTraining:
            return _watched(watch, network) | {"is_stopped": True}
        except Exception as error:
            if task.error_score == "raise":
                raise
            found["fit_error"] = traceback.format_exc()
            found["about_cohort"] = error if isinstance(error, CohortError) else None
            scores = dict.fromkeys(_names(task.scorer), task.error_score) or task.error_score
            found |= {"test_scores": scores, "train_scores": scores}
            found |= {"fit_time": time.perf_counter() - start, "score_time": 0.0}
    return _watched(watch, network) | found


def _watched(watch, network):
    """What is known of the training of a network, if there is one."""
    if network is None:
        return {"is_stopped": False, "epochs": 0, "n_epochs": 0, "curve": [], "kind": None}
    network._on_epoch = None
    # Where networks are trained in other processes, only what they bring back is known here.
    histories = getattr(network, "history_", [])
    losses = [row["valid_loss"] for history in histories[:1] for row in history if len(row) > 1]
    curve = [round(loss, 6) for loss in losses]
    return {
        "is_stopped": False,
        "epochs": sum(map(len, histories)) or watch.epochs,
        "n_epochs": network.epochs * network.n_seeds,
        # Stopped early for want of progress: it stays where it is.
        "curve": curve + curve[-1:] * (network.epochs - len(curve)),
        "kind": loss_kind(network),
    }


def _scores(task, model, X, y, rows):
    further = _check_method_params(task.X, params=task.score_params, indices=rows)
    # Of several scores, those that cannot be computed are replaced one by one.
    error_score = task.error_score if _names(task.scorer) else "raise"
    return _score(model, X, y, task.scorer, further, error_score)


def _names(scorer):
    return getattr(scorer, "_scorers", ())
