"""The trials of a search, one after the other: suggest, run fold by fold, stop what is behind.

Whatever a trial found is kept in its study, so that a search can end anywhere and go on.
"""

import time

import numpy as np
import optuna
from joblib import delayed, effective_n_jobs
from optuna.trial import TrialState

from imaging.storage.upkeep.savings import pass_on

from .epochs import EpochWatch
from .folds import score_fold
from .ownership import Pulse, by_place, claim, take_up
from .pruning import FOLD_SCORES, ForgivingPruner, takes_fold_scores
from .sampling import find_place

__all__ = ["Budget", "Searcher"]

WAIT_S = 0.5  # between looks at what other workers are still at


class _BrokenOff(Exception):
    """A trial that does not count and is to be done again: out of time, or one too many."""


class Budget:
    """So many trials in all, and so many seconds from now on.

    Parameters
    ----------
    n_trials : int
        Finished ones, those of earlier runs and of other workers among them.
    timeout : float or None
        Seconds, the last fit of the best model included.
    """

    def __init__(self, n_trials, timeout):
        self.n_trials = n_trials
        self.timeout = timeout
        self.start = time.monotonic()

    def left(self):
        """Seconds that are left; infinite without a timeout."""
        if self.timeout is None:
            return np.inf
        return self.timeout - (time.monotonic() - self.start)

    def allows_trial(self, study):
        """Whether one more trial, and the last fit, can be expected to end in time."""
        if self.timeout is None:
            return True
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            return True
        durations = [trial.duration.total_seconds() for trial in complete]
        fits = [trial.user_attrs["folds"] for trial in complete if "folds" in trial.user_attrs]
        last = np.mean([fold["fit_time"] for folds in fits for fold in folds]) if fits else 0.0
        return self.left() > np.mean(durations) + last


class Searcher:
    """Runs trials of one study.

    Parameters
    ----------
    study : optuna.study.Study
    space : Space
    task : FoldTask
    folds : list of (train, test)
    metric : object
        Of several scores, the name of the one that decides.
    parallel : joblib.Parallel
        Runs folds at once; what is found does not depend on how many.
    budget : Budget
    """

    def __init__(self, study, space, task, folds, metric, *, parallel, budget):
        self.study = study
        study.sampler.begin = claim
        self.space = space
        self.task = task
        self.folds = folds
        self.metric = metric
        self.parallel = parallel
        self.budget = budget
        self.progress = None
        self.has_stopped = True
        self.trial, self.error = None, None
        self.at_once = max(1, min(len(folds), effective_n_jobs(parallel.n_jobs)))

    def run(self, progress):
        """Run trials until the budget is spent, and wait for those of other workers.

        Parameters
        ----------
        progress : Progress
        """
        self.progress = progress
        with Pulse(self.study._storage) as self.pulse:
            self._run()

    def _run(self):
        while True:
            taken, running = take_up(self.study, self.budget.n_trials)
            self.progress.show(self.study, taken)
            enough = taken >= self.budget.n_trials
            if enough and running and self.budget.left() > 0:
                time.sleep(WAIT_S)  # they count, or they are taken up
                continue
            if enough or not self.budget.allows_trial(self.study):
                return
            try:
                self.study.optimize(self._trial, catch=(_BrokenOff,), callbacks=[self._after])
            except Exception as error:
                if error is self.error or not self._is_taken_away():
                    raise
                continue
            if not self.has_stopped:  # but the sampler, which has nothing left to draw
                return

    def _after(self, study, trial):
        taken, _ = take_up(study, self.budget.n_trials)
        self.progress.show(study, taken)
        self.has_stopped = taken >= self.budget.n_trials or not self.budget.allows_trial(study)
        if self.has_stopped:
            study.stop()

    def _is_taken_away(self):
        """Whether others took this worker for dead, and have ended its trial."""
        if self.trial is None:
            return False
        return self.study._storage.get_trial(self.trial._trial_id).state.is_finished()

    def _trial(self, trial):
        self.trial = trial
        try:
            return self._evaluated(trial)
        except Exception as error:
            if not self._is_taken_away():
                self.error = error
            raise

    def _evaluated(self, trial):
        place = find_place(
            self.study._storage.get_trial(trial._trial_id), self.study.get_trials(deepcopy=False)
        )
        trial.set_user_attr("place", place)
        if place >= self.budget.n_trials:
            raise _BrokenOff("another worker has taken the last trial")
        with self.pulse.working_at(trial):
            params = self.space.suggest(trial)
            self.task.model(params)  # parameters that there are not are no failure of a fit
            return self._run_folds(trial, place, params)

    def _run_folds(self, trial, place, params):
        found, scores = [], []
        for start in range(0, len(self.folds), self.at_once):
            folds, watch = self.folds[start : start + self.at_once], self._watch()
            if len(folds) == 1 and self._is_ahead(scores):
                watch = None
            results = self.parallel(
                delayed(score_fold)(self.task, params, train, test, watch) for train, test in folds
            )
            # Decisions are taken fold by fold, in order, whatever ran at once.
            for (train, test), result in zip(folds, results, strict=True):
                pass_on(result["images"])
                if result["is_stopped"] and self._is_ahead(scores):
                    result = score_fold(self.task, params, train, test)
                    pass_on(result["images"])
                if result["is_stopped"]:
                    cut = {name: result[name] for name in ("epochs", "images")}
                    trial.set_user_attr("cut", cut)
                    self._keep(trial, found, scores, result, state="pruned")
                    raise optuna.TrialPruned(f"behind within fold {len(found) + 1}")
                if place == 0 and not found and result["about_cohort"] is not None:
                    raise result["about_cohort"]
                found.append(_kept(result))
                score = self._deciding(result["test_scores"])
                scores.append(score)
                if not np.isfinite(score):
                    self._keep(trial, found, scores, result, state="failed")
                    raise optuna.TrialPruned("a fold failed")
                if len(found) == len(self.folds):
                    break
                if self._is_behind(trial, scores):
                    self._keep(trial, found, scores, result, state="pruned")
                    raise optuna.TrialPruned(f"behind after {len(found)} folds")
            if len(found) < len(self.folds) and self._is_late():
                raise _BrokenOff("out of time")
        self._is_behind(trial, scores)
        self._keep(trial, found, scores, result, state="complete")
        return float(np.mean(scores))

    def _is_behind(self, trial, scores):
        raw = takes_fold_scores(self.study.pruner)
        trial.report(scores[-1] if raw else float(np.mean(scores)), step=len(scores) - 1)
        trial.set_user_attr(FOLD_SCORES, scores)
        return trial.should_prune()

    def _is_late(self):
        if self.budget.left() > 0:
            return False
        return bool(self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    def _watch(self):
        """What looks at the training of networks: with the curves of the best trial, if any."""
        best = self._best()
        if best is None or not isinstance(self.study.pruner, ForgivingPruner):
            return None
        return EpochWatch(best["folds"][0]["kind"], [fold["curve"] for fold in best["folds"]])

    def _is_ahead(self, scores):
        """Whether a trial is not behind the best one on the folds that it has run."""
        best = self._best()
        if best is None or not scores:
            return False
        return np.mean(scores) >= np.mean(best[FOLD_SCORES][: len(scores)])

    def _best(self):
        """What is known of the best trial, or None."""
        try:
            return self.study.best_trial.user_attrs
        except ValueError:
            return None

    def _keep(self, trial, found, scores, last, *, state):
        trial.set_user_attr("n_epochs", last["n_epochs"])  # in every fold
        trial.set_user_attr(FOLD_SCORES, scores)
        trial.set_user_attr("folds", found)
        trial.set_user_attr("state", state)

    def _deciding(self, scores):
        if not isinstance(scores, dict):
            return float(scores)
        if self.metric not in scores:
            raise ValueError(
                f"there are several scores ({', '.join(scores)}) and refit={self.metric!r}; let "
                "refit name the one that decides which parameters are best"
            )
        return float(scores[self.metric])

    def finished(self):
        """The trial that counts at every place, by place: the first that was finished."""
        found = {}
        for place, trials in by_place(self.study).items():
            done = [trial for trial in trials if "state" in trial.user_attrs]
            done = [trial for trial in done if trial.state.is_finished()]
            done = [trial for trial in done if trial.state is not TrialState.FAIL]
            if done and place < self.budget.n_trials:
                found[place] = done[0]
        return found


def _kept(result):
    """What a fold found, as the study keeps it: plain numbers and text."""

    def plain(scores):
        if isinstance(scores, dict):
            return {name: float(score) for name, score in scores.items()}
        return float(scores)

    kept = {"test_scores": plain(result["test_scores"])}
    if "train_scores" in result:
        kept["train_scores"] = plain(result["train_scores"])
    for name in ("fit_time", "score_time", "n_test_samples"):
        kept[name] = float(result[name])
    for name in ("fit_error", "epochs", "curve", "kind", "images"):
        kept[name] = result[name]
    return kept
