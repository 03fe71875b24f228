"""What a search found, as a table with one row per trial, and which row to choose."""

import warnings

import numpy as np

__all__ = ["fold_results", "mean_times", "trial_columns", "within_one_se"]


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


def trial_columns(trials):
    """Columns of `cv_results_` that a search by trials has besides scikit-learn's.

    Returns
    -------
    dict of str to list
        ``state`` ("complete", "pruned" or "failed"), ``n_folds_run``, ``seconds`` of all of a
        trial, ``trial``: its number in the study.
    """
    return {
        "state": [trial.user_attrs["state"] for trial in trials],
        "n_folds_run": [len(trial.user_attrs["folds"]) for trial in trials],
        "seconds": [trial.duration.total_seconds() for trial in trials],
        "trial": [trial.number for trial in trials],
    }


def mean_times(trials):
    """Mean and standard deviation of times over those folds of every trial that were run."""
    found = {}
    for name in ("fit_time", "score_time"):
        times = [[fold[name] for fold in trial.user_attrs["folds"]] for trial in trials]
        found[f"mean_{name}"] = np.array([np.mean(one) for one in times])
        found[f"std_{name}"] = np.array([np.std(one) for one in times])
    return found


def within_one_se(means, stds, n_folds, distances):
    """The row nearest to the parameters one began with, of those as good as the best.

    As good means: not more than one standard error of the best mean below it (Breiman et al. 1984,
    Classification and regression trees, section 3.4.3).

    Parameters
    ----------
    means, stds : array-like of shape (n_trials,)
        Over the folds; NaN where a trial has not run all of them.
    n_folds : int
    distances : array-like of shape (n_trials,)
        From the parameters one began with; the earliest of equals is taken.

    Returns
    -------
    int

    Examples
    --------
    >>> within_one_se([0.70, 0.74, 0.75, 0.60], [0.05] * 4, 5, [0.0, 0.5, 0.9, 0.1])
    1
    >>> within_one_se([0.70, 0.74, 0.75, 0.60], [0.1] * 4, 5, [0.0, 0.5, 0.9, 0.1])
    0
    """
    means, distances = np.asarray(means, float), np.asarray(distances, float)
    best = int(np.nanargmax(means))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        near = means >= means[best] - np.asarray(stds, float)[best] / np.sqrt(max(n_folds - 1, 1))
    rows = np.flatnonzero(near)
    return int(rows[np.argmin(distances[rows])])
