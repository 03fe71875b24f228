"""The parameters of `OptunaSearch`: what each is, may be, and means."""

from numbers import Integral, Real

import numpy as np

from imaging.parameters import COUNT, POSITIVE, StrOptions, parameter, parameters

__all__ = ["SearchParameters"]


@parameters
class SearchParameters:
    """What is searched, on which folds, for how long, and where trials are kept."""

    estimator: object = parameter(first=True, kind="estimator", doc="Cloned for every fit.")
    space: object = parameter(
        None,
        dict,
        callable,
        None,
        first=True,
        kind="dict, callable or None",
        doc="""
        Parameters and what they may be: Optuna distributions, or lists of choices of any kind. Or a
        function that takes an `optuna.trial.Trial` and returns the parameters, where what can be
        chosen depends on other choices (which estimator, image, columns, view). None takes
        `search_space` of the estimator.
        """,
    )
    cv: object = parameter(
        5,
        "cv_object",
        kind="int, splitter or iterable",
        doc="Folds; a number is stratified for classifiers. See Notes.",
    )
    n_trials: int = parameter(
        20,
        COUNT,
        doc="Finished trials in all, pruned and failed ones and those of earlier runs among them.",
    )
    timeout: float | None = parameter(
        None,
        POSITIVE,
        None,
        kind="float",
        doc="""
        Seconds that a fit may take. No trial is begun that is not expected to end in time, the
        last fit of the best model included; one that is late stops after its fold and is not
        counted. The first trial is always finished.
        """,
    )
    scoring: object = parameter(
        None,
        str,
        callable,
        list,
        tuple,
        dict,
        None,
        kind="str, callable, list, tuple or dict",
        doc="As of `GridSearchCV`; higher is better. None takes the estimator's own score.",
    )
    refit: object = parameter(
        True,
        "boolean",
        str,
        callable,
        kind="bool, str or callable",
        doc="""
        Fit the best parameters on all rows. Of several scores, the name of the one that decides. A
        callable takes `cv_results_` and returns the row to choose.
        """,
    )
    storage: object = parameter(
        None,
        kind="None, str, os.PathLike or optuna.storages.BaseStorage",
        doc="""
        Where trials are kept: the path of a journal file, the address of a database
        (``"sqlite:///study.db"``), or a storage. None keeps them in memory.
        """,
    )
    study_name: str | None = parameter(
        None,
        str,
        None,
        kind="str",
        doc="What names of studies begin with; by default the name of the estimator's class.",
    )
    sampler: object = parameter(
        None,
        kind="class of optuna.samplers, sampler, or None",
        doc="""
        A class (or a function that takes ``seed=``) is made anew for every trial, seeded by
        `random_state` and the trial; None is TPE that models parameters together.
        """,
    )
    pruner: object = parameter(
        "auto",
        kind='"auto", pruner, or None',
        doc="""
        Stops trials that are clearly behind. "auto" stops one between folds that is worse on
        average than the best trial is in its worst fold, or that a paired t-test on the folds they
        share finds worse; never one that is ahead on the folds they share. Networks with
        `validation_fraction` it stops within a fold, too: where their lowest validation loss is
        above what that of the best trial was in its worst fold at half of the way, by more than a
        standard deviation between folds. None runs every fold; a pruner of Optuna is asked between
        folds.
        """,
    )
    n_jobs: int | None = parameter(
        None,
        Integral,
        None,
        kind="int",
        doc="""
        Folds of a trial that run at once; results do not depend on it. Trials at once: let several
        processes share a `storage`.
        """,
    )
    random_state: object = parameter(
        None,
        "random_state",
        kind="int, RandomState instance or None",
        doc="""
        Of the draws, and of folds that are shuffled without a seed. The estimator keeps its own.
        None with a `storage` takes the seed from the fingerprint, so that the search can go on.
        """,
    )
    verbose: object = parameter(
        None,
        "verbose",
        None,
        kind="int or None",
        doc="1 shows a progress bar on stderr; None: where that is a terminal.",
    )
    error_score: object = parameter(
        np.nan,
        StrOptions({"raise"}),
        Real,
        kind='"raise" or float',
        doc="""
        Score of a fold whose fit fails. NaN ends the trial there, and the search avoids what is
        like it; it fails itself if all trials do, or if the first one cannot use the cohort.
        """,
    )
    return_train_score: bool = parameter(False, "boolean", doc="Also score the training rows.")
    choose: str = parameter(
        "best",
        StrOptions({"best", "one_se"}),
        kind='{"best", "one_se"}',
        doc="""
        "one_se" takes, of all trials within one standard error of the best (of the differences to
        it, fold by fold), the one whose parameters are nearest to those that the estimator was
        given.
        """,
    )
