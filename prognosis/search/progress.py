"""How a search says how far it is: a bar of trials on stderr, with the best score so far."""

import sys

from tqdm import tqdm

from ..workers import shows_progress

__all__ = ["Progress"]


class Progress:
    """A bar of trials; shows nothing where `verbose` is 0.

    Parameters
    ----------
    n_trials : int
    verbose : int or None
    """

    def __init__(self, n_trials, verbose):
        self.bar = tqdm(
            total=n_trials,
            desc="search",
            unit="trial",
            file=sys.stderr,
            disable=not shows_progress(verbose),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def say(self, text):
        """A line above the bar."""
        if text and not self.bar.disable:
            tqdm.write(text, file=sys.stderr)

    def show(self, study, taken):
        """How many trials are taken, how many were pruned, and the best score.

        Parameters
        ----------
        study : optuna.study.Study
        taken : int
        """
        if self.bar.disable:
            return
        trials = study.get_trials(deepcopy=False)
        states = [trial.user_attrs.get("state") for trial in trials]
        scores = [trial.value for trial, state in zip(trials, states) if state == "complete"]
        best = f"{max(scores):.4g}" if scores else "none yet"
        self.bar.set_postfix(best=best, pruned=states.count("pruned"), refresh=False)
        self.bar.update(taken - self.bar.n)
