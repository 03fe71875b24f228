"""Every trial draws from a random state of its own, so that a search can be cut off and go on.

A trial has a *place*, which counts from 0. A trial that was cut off is tried again at its place:
it draws what it drew before, as long as one worker is at the study.
"""

import copy
import warnings

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler, TPESampler

__all__ = ["PlacedSampler", "find_place"]

AGAIN = "again"


def find_place(trial, trials):
    """The place of a trial among those that are searched.

    Parameters
    ----------
    trial : optuna.trial.FrozenTrial
    trials : list of optuna.trial.FrozenTrial
        All of its study.

    Returns
    -------
    int
    """
    if "place" in trial.user_attrs:
        return trial.user_attrs["place"]
    repeated = [t for t in trials if t.number < trial.number and t.user_attrs.get(AGAIN)]
    return trial.number - len(repeated)


class PlacedSampler(BaseSampler):
    """A sampler that begins anew, seeded by its place, for every trial.

    Parameters
    ----------
    make : callable, BaseSampler or None
        Takes ``seed=`` and returns a sampler, as the sampler classes of Optuna do; None is TPE that
        models parameters together. A sampler is used as it is, with the random state it has.
    seed : int
    first : dict of str to object
        What the trial at place 0 takes, unless the sampler goes through all there is.

    Attributes
    ----------
    begin : callable or None
        Called with storage and trial as soon as there is a new one.
    """

    def __init__(self, make, seed, first):
        self.make = make
        self.seed = seed
        self.first = first
        self.place = 0
        self.begin = None
        self.sampler = copy.deepcopy(make) if isinstance(make, BaseSampler) else None

    @property
    def keeps_first(self):
        """Whether the trial at place 0 is not the sampler's, but what one began with."""
        return not isinstance(self.sampler, (BruteForceSampler, GridSampler))

    def before_trial(self, study, trial):
        if self.begin is not None:
            self.begin(study._storage, trial)
        self.place = find_place(trial, study.get_trials(deepcopy=False))
        if not isinstance(self.make, BaseSampler):
            drawn = np.random.SeedSequence([self.seed, self.place]).generate_state(1)
            self.sampler = _tpe(int(drawn[0])) if self.make is None else self._made(int(drawn[0]))
        self.sampler.before_trial(study, trial)

    def _made(self, seed):
        sampler = self.make(seed=seed)
        if not isinstance(sampler, BaseSampler):
            raise ValueError(
                f"sampler(seed=...) returned {sampler!r}; give a class of optuna.samplers, a "
                "sampler, or None"
            )
        return sampler

    def infer_relative_search_space(self, study, trial):
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study, trial, search_space):
        return self.sampler.sample_relative(study, trial, search_space)

    def sample_independent(self, study, trial, param_name, param_distribution):
        if self.place == 0 and param_name in self.first and self.keeps_first:
            return self.first[param_name]
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study, trial, state, values):
        self.sampler.after_trial(study, trial, state, values)

    def reseed_rng(self):
        self.sampler.reseed_rng()


def _tpe(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Groups let parameters that only some trials have be modelled together, too.
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
