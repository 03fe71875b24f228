"""When a trial stops before all of its folds are run: only where it is clearly behind.

Early-stopped cross-validation (Bergman, Purucker and Hutter 2024, AutoML-Conf; arXiv 2405.03389)
in its forgiving form, and the chance, from the folds that two trials share, to end ahead.
"""

import numpy as np
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner
from scipy.stats import t as student_t

__all__ = ["FOLD_SCORES", "ForgivingPruner", "as_pruner", "takes_fold_scores"]

FOLD_SCORES = "fold_scores"  # what the attribute of a trial is called


class ForgivingPruner(BasePruner):
    """Stops a trial that is worse on average than the best trial is in its worst fold.

    So says the published rule, in its forgiving form. But where the first fold happens to be the
    hardest, everything that is a trace worse would be stopped by it; so a trial must be that much
    worse when it is measured fold by fold, too: by what it loses on the folds that both have run,
    the best trial's mean falls below its worst fold. Also stopped is what will hardly end ahead:
    what two folds or more say of the differences to the best trial, as a t-test does, leaves a
    chance below `p_threshold` that the mean over all folds, those still to come among them, is the
    better one. Few are to come at the end, so that trials that are nearly the same do not run them.
    A trial that is ahead on the folds that both have run is never stopped.

    Parameters
    ----------
    p_threshold : float, default=0.1

    References
    ----------
    Bergman et al. 2024, Don't waste your time: early stopping cross-validation, AutoML-Conf.

    Examples
    --------
    >>> rule = ForgivingPruner()
    >>> rule.is_behind([0.55], best=[0.71, 0.60, 0.80]), rule.is_behind([0.65], [0.71, 0.60, 0.80])
    (True, False)
    >>> rule.is_behind([0.59], best=[0.60, 0.71, 0.80])  # a hard fold, for both
    False
    """

    def __init__(self, p_threshold=0.1):
        self.p_threshold = p_threshold

    def is_behind(self, scores, best):
        """Whether these first folds are clearly worse than the best trial.

        Parameters
        ----------
        scores : sequence of float
            Of the folds run so far, the first ones; higher is better.
        best : sequence of float
            Of all folds of the best trial.

        Returns
        -------
        bool
        """
        scores, best = np.asarray(scores, float), np.asarray(best, float)
        if not len(scores) or not len(best) or not np.isfinite(scores).all():
            return False
        shared = best[: len(scores)]
        if scores.mean() >= min(shared.mean(), best.mean()):
            return False
        lost = shared.mean() - scores.mean()
        if max(scores.mean(), best.mean() - lost) < best.min():
            return True
        if len(scores) < 2:
            return False
        to_come = 1 - len(scores) / len(best)
        spread = np.std(scores - shared, ddof=1) * np.sqrt(to_come / len(scores))
        if spread == 0:
            return True
        return bool(student_t.cdf(-lost / spread, len(scores) - 1) < self.p_threshold)

    def prune(self, study, trial):
        """As Optuna asks."""
        try:
            best = study.best_trial
        except ValueError:
            return False
        return self.is_behind(
            trial.user_attrs.get(FOLD_SCORES, ()), best.user_attrs.get(FOLD_SCORES, ())
        )


def as_pruner(pruner):
    """The Optuna pruner that a parameter means.

    Parameters
    ----------
    pruner : "auto", None or optuna.pruners.BasePruner

    Raises
    ------
    ValueError
        If it is something else.
    """
    if pruner is None:
        return NopPruner()
    if isinstance(pruner, str) and pruner == "auto":
        return ForgivingPruner()
    if isinstance(pruner, BasePruner):
        return pruner
    raise ValueError(f'pruner={pruner!r}: give "auto", None, or a pruner of optuna.pruners')


def takes_fold_scores(pruner):
    """Whether a pruner compares folds one by one; others compare running means."""
    return isinstance(pruner, WilcoxonPruner)
