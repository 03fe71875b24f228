"""`OptunaSearch`: the best parameters of an estimator by cross-validation, found by Optuna.

It is scikit-learn's own search in all but how trials come about: what is found, scored and refitted
has the names and shapes of `GridSearchCV`.
"""

import time
import warnings
from contextlib import ExitStack
from typing import ClassVar

import numpy as np
from joblib import Parallel
from sklearn.base import clone
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import _warn_or_raise_about_fit_failures
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.validation import _check_method_params, check_is_fitted, indexable

from imaging.learning.refitting import refitting
from imaging.parameters import parameters
from imaging.storage.bank import ImageBank, shared_bank, sharing
from imaging.storage.files import ScratchFolder

from ..columns import check_outcome_index
from ..grouping import find_groups, fit_held
from .folds import FoldTask, draw_folds
from .parameters import SearchParameters
from .progress import Progress
from .ready import search_space
from .results import (
    fold_results,
    image_summary,
    in_words,
    mean_times,
    pruning_summary,
    trial_columns,
    within_one_se,
)
from .spaces import Space

__all__ = ["OptunaSearch"]


@parameters
class OptunaSearch(SearchParameters, BaseSearchCV):
    """Search the parameters of an estimator with Optuna, by cross-validation on the same folds.

    A trial is one set of parameters, fitted and scored fold by fold. The first trial has the
    parameters that the estimator was given, as far as the space holds them; the others are drawn
    by what was found so far.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    best_estimator_ : estimator
        Refitted on all rows with the parameters that were chosen; `predict` and the like are its.
    best_params_ : dict
    best_score_ : float
        Mean score over the folds of the parameters that were chosen. It is the best of many, and
        so too good: what it is worth on other patients, an outer cross-validation says.
    best_index_ : int
        Row of `cv_results_`.
    cv_results_ : dict of str to ndarray of shape (n_trials,)
        As of `GridSearchCV`, one row per trial that was finished, with ``state`` ("complete",
        "pruned" or "failed"), ``n_folds_run``, ``n_epochs_run`` and ``epochs_saved`` of networks,
        ``seconds``, and ``trial``, its number in the study. ``images_prepared`` were read and
        prepared (or measured) in ``prepare_seconds``; ``images_reused`` had been before, and were
        read in ``read_seconds``, which saved ``saved_seconds``: what they took then less what
        reading took now. All are added up over threads. Scores of folds that were not run are NaN,
        and so is the mean of such a trial.
    pruning_ : dict of str to int
        How many trials were pruned, and folds and epochs of networks run and saved.
    study_ : optuna.study.Study
        With every trial; in memory, whatever the storage.
    n_splits_ : int
        Folds.
    cohort_ : dict
        What ``X.attrs["cohort"]`` says of it: whether it is simulated, for instance.
    starts_as_given_ : bool
        Whether the first trial has all parameters as the estimator has them.
    folds_ : list of (ndarray of int, ndarray of int)
        Row numbers of training and test, the same for every trial.
    scorer_, multimetric_, refit_time_, classes_, n_features_in_, feature_names_in_
        As of `GridSearchCV`.

    Notes
    -----
    **Folds** are drawn once, also where `cv` shuffles without a seed. A number keeps rows of one
    patient together where `fit` is given `groups` or the estimator declares its `patient`.

    **Studies.** Every fit has a study of its own: its name ends in a fingerprint of the cohort (the
    content of its images, too), outcome, weights, groups, folds, space, estimator, scoring, seed
    and code. So the outer folds of `compare` or `cross_validate` never share one, though they share
    the storage, and other input never goes on with a study but begins a new one. `n_trials` is no
    part of it: more trials go on with what is there.

    **After an interruption**, the same call goes on. Trials that were cut off are done again: those
    of a process of this machine as soon as it is gone, those of another machine when it has been
    silent for ten minutes. With one worker, a seed gives the trials of the undisturbed search; only
    a `sampler` that is an object and no class goes on with other draws. Several processes that make
    the same call with one storage share the trials, and end with the same result; each waits for
    what the others are still at.

    **Images** are prepared once for all trials and folds; a trial of another learning rate reads no
    scan.

    References
    ----------
    Akiba et al. 2019, Optuna, KDD; Bergstra et al. 2011, NeurIPS 24 (the default sampler, TPE);
    Bergman et al. 2024, AutoML-Conf (stopping between folds).

    Examples
    --------
    >>> import numpy as np
    >>> from optuna.distributions import FloatDistribution
    >>> from sklearn.linear_model import LogisticRegression
    >>> from prognosis import OptunaSearch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 40))
    >>> y = (X[:, 0] + rng.normal(size=80) > 0).astype(int)
    >>> space = {"C": FloatDistribution(1e-3, 1e2, log=True)}
    >>> search = OptunaSearch(
    ...     LogisticRegression(), space, n_trials=8, scoring="neg_log_loss", random_state=0
    ... )
    >>> search.fit(X, y).best_params_["C"] < 1
    True
    >>> search.cv_results_["params"][0], len(search.cv_results_["state"])
    ({'C': 1.0}, 8)
    """

    __metadata_request__fit: ClassVar = {"groups": True}
    _kept_elsewhere: ClassVar = ("storage",)  # where results are kept changes none

    def fit(self, X, y=None, *, groups=None, **params):
        """Search, and fit the best parameters on all rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_columns)
        y : array-like of shape (n_patients,), default=None
        groups : array-like of shape (n_patients,), default=None
            Rows of one group (patient) stay together in every fold; also handed to the estimator if
            it takes them. By default the column that the estimator declares as `patient`.
        **params
            Handed to the estimator (and by metadata routing to scorer and splitter), sliced for
            each fold: ``sample_weight``, for instance.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter has a wrong type or value, the space does not suit the estimator, all
            fits fail, or with `storage` something has no name to be recognised by.
        CohortError
            If the cohort cannot be used, or `cv` tears a group apart.
        """
        with refitting(self), ExitStack() as stack:
            return self._search(X, y, groups, params, stack)

    def search_summary(self):
        """What the search did and chose, after `fit`: a dict of plain values.

        Returns
        -------
        dict
            ``trials``, ``pruned``, ``failed``, ``folds_run``, ``folds_saved``, ``epochs_run``,
            ``epochs_saved``, ``seconds`` of all trials, ``trial_seconds`` of the median one, what
            images cost in all trials (as in `cv_results_`), ``chosen`` (what `drawn_params` says,
            as text), ``inner_score`` (`best_score_`) and ``scoring``, its name.
        """
        check_is_fitted(self, "best_params_")
        scoring = self.refit if self.multimetric_ else self.scoring
        seconds = self.cv_results_["seconds"]
        return self.pruning_ | {
            "seconds": float(np.sum(seconds)),
            "trial_seconds": float(np.median(seconds)),
            **image_summary(self.cv_results_),
            "chosen": in_words(self.drawn_params(self.best_index_)),
            "inner_score": self.best_score_,
            "scoring": scoring if isinstance(scoring, str) else "score",
        }

    def drawn_params(self, row):
        """What was drawn for a row of `cv_results_`, for reading: a dict.

        Parameters
        ----------
        row : int

        Returns
        -------
        dict
            The parameters themselves; where `space` is a function, which may return whole
            estimators, what it asked the trial for, by the names that it gave.
        """
        check_is_fitted(self, "best_params_")
        if not callable(self.space):
            return self.cv_results_["params"][row]
        number = self.cv_results_["trial"][row]
        return next(trial.params for trial in self.study_.trials if trial.number == number)

    def get_metadata_routing(self):
        """Where metadata go; see scikit-learn's user guide on metadata routing.

        Returns
        -------
        MetadataRouter
        """
        router = super().get_metadata_routing()
        return router.add_self_request(self) if isinstance(router, MetadataRouter) else router

    def _search(self, X, y, groups, params, stack):
        from .pruning import as_pruner
        from .running import Budget, Searcher
        from .sampling import PlacedSampler
        from .studies import copied, find_seed, fingerprints, open_storage, open_study, quiet

        self._validate_params()
        budget = Budget(self.n_trials, self.timeout)
        given = search_space(self.estimator) if self.space is None else self.space
        space, pruner = Space(given, self.estimator), as_pruner(self.pruner)
        task, groups, splitting = self._task(X, y, groups, params, stack)
        stack.enter_context(quiet())
        storage = open_storage(self.storage)
        parts = None if self.storage is None else fingerprints(self._made_from(task, groups))
        seed = find_seed(self.random_state, parts)
        self.folds_ = draw_folds(
            self.cv, task.X, task.y, groups, estimator=self.estimator, seed=seed, **splitting
        )
        self.n_splits_ = len(self.folds_)
        if parts is not None:
            parts |= fingerprints({"folds": self.folds_, "seed": seed})
        name = self.study_name or type(self.estimator).__name__
        sampler = PlacedSampler(self.sampler, seed, space.first)
        self.cohort_ = dict(getattr(task.X, "attrs", {}).get("cohort", {}))
        study, note = open_study(storage, name, parts, sampler=sampler, pruner=pruner)
        # Inside of a comparison that has a bar of its own, this one is shown if asked for only.
        verbose = 0 if self.verbose is None and shared_bank() is not None else self.verbose
        progress = stack.enter_context(Progress(self.n_trials, verbose))
        progress.say(note)
        with Parallel(n_jobs=self.n_jobs) as parallel:
            searcher = Searcher(
                study, space, task, self.folds_, self.refit, parallel=parallel, budget=budget
            )
            searcher.run(progress)
        self.starts_as_given_ = space.starts_as_given(sampler)
        self._tabulate(searcher.finished(), space, task)
        self.study_ = copied(study)
        if self.refit:
            self._refit(task, self.best_params_)
        return self

    def _task(self, X, y, groups, params, stack):
        """What all fits have in common; the groups for the folds; what else these are drawn by."""
        X, y = indexable(X, y)
        check_outcome_index(X, y)
        scorers, _ = self._get_scorers()
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        is_told = groups is not None
        groups = find_groups(self.estimator, X, groups)
        bank = shared_bank()
        if bank is None:
            bank = ImageBank(stack.enter_context(ScratchFolder()).path, brief=True)
        task = FoldTask(
            self.estimator,
            X,
            y,
            scorers,
            fit_params=routed.estimator.fit,
            score_params=routed.scorer.score,
            groups=groups if is_told else None,  # else it reads them from the table itself
            error_score=self.error_score,
            return_train_score=self.return_train_score,
            bank=bank,
        )
        splitting = {k: v for k, v in routed.splitter.split.items() if k != "groups"}
        return task, groups, splitting

    def _made_from(self, task, groups):
        """What a study is made from, by name."""
        return {
            "cohort": task.X,
            "outcome": task.y,
            "fit parameters": (task.fit_params, task.score_params, groups),
            "estimator": clone(self.estimator),
            "space": self.space,
            "scoring": (self.scoring, self.refit, self.error_score, self.return_train_score),
            "sampler and pruner": (self.sampler, self.pruner),
        }

    def _tabulate(self, finished, space, task):
        """Fill `cv_results_` and choose."""
        trials = list(finished.values())
        complete = [trial for trial in trials if trial.user_attrs["state"] == "complete"]
        folds = [fold for trial in trials for fold in trial.user_attrs["folds"]]
        if not complete:
            self._refit(task, space.again(trials[0]))  # which most probably says what is wrong
        _warn_or_raise_about_fit_failures(folds, self.error_score)
        if not complete:
            raise ValueError(
                f"none of {len(trials)} trials has a score in every fold: the scores are NaN; "
                "choose another scoring, or fewer folds"
            )
        scores = complete[0].user_attrs["folds"][0]["test_scores"]
        self.multimetric_ = isinstance(scores, dict)
        names = list(scores) if self.multimetric_ else None
        out = fold_results(trials, self.n_splits_, names, with_train=self.return_train_score)
        params = [space.again(trial) for trial in trials]
        with warnings.catch_warnings():
            # Trials that were stopped have no mean: they say so in a column.
            warnings.filterwarnings("ignore", "One or more of the", UserWarning)
            columns = trial_columns(trials, self.n_splits_)
            self.cv_results_ = self._format_results(params, self.n_splits_, out, columns)
        self.pruning_ = pruning_summary(columns, self.n_splits_)
        self.cv_results_ |= mean_times(trials)
        self.scorer_ = getattr(task.scorer, "_scorers", task.scorer)
        metric = self.refit if self.multimetric_ else "score"
        self._choose(trials, space, metric)

    def _choose(self, trials, space, metric):
        means = self.cv_results_[f"mean_test_{metric}"]
        if callable(self.refit):
            self.best_index_ = self._select_best_index(self.refit, metric, self.cv_results_)
        elif self.choose == "one_se":
            names = [f"split{fold}_test_{metric}" for fold in range(self.n_splits_)]
            self.best_index_ = within_one_se(
                np.transpose([self.cv_results_[name] for name in names]),
                [space.distance(trial) for trial in trials],
            )
        else:
            self.best_index_ = int(np.nanargmax(means))
        self.best_score_ = float(means[self.best_index_])
        self.best_params_ = self.cv_results_["params"][self.best_index_]

    def _refit(self, task, params):
        self.best_estimator_ = task.model(params)
        start = time.perf_counter()
        with sharing(task.bank):
            fit_held(self.best_estimator_, task.X, task.y, task.groups, **task.fit_params)
        self.refit_time_ = time.perf_counter() - start
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_
