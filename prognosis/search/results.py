"""What a search found, as a table with one row per trial, and which row to choose."""

from numbers import Integral, Real

import numpy as np

from imaging.parameters import shown
from imaging.storage.upkeep.savings import Savings

__all__ = [
    "fold_results",
    "image_summary",
    "in_words",
    "mean_times",
    "pruning_summary",
    "trial_columns",
    "within_one_se",
]


def fold_results(trials, n_folds, names, *, with_train):
    """What every fold of every trial found, in the form that scikit-learn's searches collect.

    Parameters
    ----------
    trials : list of FrozenTrial
    n_folds : int
    names : list of str or None
        Of several scores.
    with_train : bool

    Returns
    -------
    list of dict
        Folds that were not run hold NaN.
    """

    def scores(kept, key):
        found = kept.get(key, np.nan)
        if names is None:
            return found
        return found if isinstance(found, dict) else dict.fromkeys(names, found)

    out = []
    for trial in trials:
        folds = trial.user_attrs["folds"]
        for number in range(n_folds):
            kept = folds[number] if number < len(folds) else {}
            row = {name: kept.get(name, np.nan) for name in ("fit_time", "score_time")}
            row["test_scores"] = scores(kept, "test_scores")
            if with_train:
                row["train_scores"] = scores(kept, "train_scores")
            out.append(row)
    return out


def trial_columns(trials, n_folds):
    """Columns of `cv_results_` that a search by trials has besides scikit-learn's.

    Returns
    -------
    dict of str to list
        ``state`` ("complete", "pruned" or "failed"), ``n_folds_run``, ``n_epochs_run`` of networks
        (0 of other models), ``epochs_saved`` (at most; of pruned trials), ``seconds`` of all of a
        trial, ``trial``: its number in the study; what images cost, see `Savings`.
    """
    rows = []
    for trial in trials:
        known = trial.user_attrs
        whole = known["n_epochs"]
        epochs = [fold["epochs"] for fold in known["folds"]]
        cut = known["cut"]["epochs"] if "cut" in known else 0
        rows.append(
            {
                "state": known["state"],
                "n_folds_run": len(epochs),
                "n_epochs_run": sum(epochs) + cut,
                "epochs_saved": (n_folds - len(epochs)) * whole - cut,
                "seconds": trial.duration.total_seconds(),
                "trial": trial.number,
            }
            | _images(known)
        )
    return {name: [row[name] for row in rows] for name in rows[0]}


def _images(known):
    """What images cost in all folds of a trial that were begun."""
    folds = [*known["folds"], known["cut"]] if "cut" in known else known["folds"]
    return {name: sum(fold["images"][name] for fold in folds) for name in Savings.NAMES}


def image_summary(columns):
    """What images cost in all trials, from what `trial_columns` gives: a dict, see `Savings`."""
    return {name: type(columns[name][0])(sum(columns[name])) for name in Savings.NAMES}


def pruning_summary(columns, n_folds):
    """What stopping trials early has saved, from what `trial_columns` gives.

    Returns
    -------
    dict of str to int
    """
    states = list(columns["state"])
    folds, epochs = sum(columns["n_folds_run"]), sum(columns["n_epochs_run"])
    pruned = [number for number, state in enumerate(states) if state == "pruned"]
    saved = sum(n_folds - columns["n_folds_run"][number] for number in pruned)
    return {
        "trials": len(states),
        "pruned": len(pruned),
        "failed": states.count("failed"),
        "folds_run": int(folds),
        "folds_saved": int(saved),
        "epochs_run": int(epochs),
        "epochs_saved": int(sum(columns["epochs_saved"][number] for number in pruned)),
    }


def in_words(params):
    """Parameters as text for reading.

    Examples
    --------
    >>> in_words({"learning_rate": 0.00123456, "augment": True})
    'learning_rate=0.00123, augment=True'
    """

    def text(value):
        is_real = isinstance(value, Real) and not isinstance(value, (bool, Integral))
        return f"{value:.3g}" if is_real else shown(value)

    return ", ".join(f"{name}={text(value)}" for name, value in params.items())


def mean_times(trials):
    """Mean and standard deviation of times over those folds of every trial that were run."""
    found = {}
    for name in ("fit_time", "score_time"):
        # NaN where a trial was stopped within its first fold
        times = [[fold[name] for fold in trial.user_attrs["folds"]] or [np.nan] for trial in trials]
        found[f"mean_{name}"] = np.array([np.mean(one) for one in times])
        found[f"std_{name}"] = np.array([np.std(one) for one in times])
    return found


def within_one_se(scores, distances):
    """The row nearest to the parameters one began with, of those as good as the best.

    As good means: the differences to the best, fold by fold, have a mean within one standard error
    of it. Which folds are hard for everybody says nothing of that, so it is left out (the rule of
    Breiman et al. 1984, Classification and regression trees, section 3.4.3, for paired folds).

    Parameters
    ----------
    scores : array-like of shape (n_trials, n_folds)
        NaN where a trial has not run a fold.
    distances : array-like of shape (n_trials,)
        From the parameters one began with; the earliest of equals is taken.

    Returns
    -------
    int

    Examples
    --------
    >>> best = [0.75, 0.65, 0.85]
    >>> within_one_se([[0.74, 0.66, 0.84], best, [0.75, 0.65, float("nan")]], [0.0, 0.9, 0.0])
    0
    >>> within_one_se([[0.73, 0.63, 0.83], best], [0.0, 0.9])  # worse in every fold
    1
    """
    scores, distances = np.asarray(scores, float), np.asarray(distances, float)
    best = int(np.nanargmax(scores.mean(axis=1)))
    lost = scores[best] - scores
    n_folds = scores.shape[1]
    error = lost.std(axis=1, ddof=1) / np.sqrt(n_folds) if n_folds > 1 else np.zeros(len(lost))
    rows = np.flatnonzero(lost.mean(axis=1) <= error + 1e-12)  # which NaN is not
    return int(rows[np.argmin(distances[rows])])
