"""What is searched: parameters with their distributions, or a function of the trial.

Choices may be anything (columns, estimators): the study keeps names of them, which any storage can.
"""

from numbers import Integral, Real

import numpy as np

from imaging.parameters import shown

__all__ = ["Space"]


class Space:
    """A search space, whichever form it was given in.

    Parameters
    ----------
    given : dict of str to (Optuna distribution or sequence of choices), or callable
        A callable takes an `optuna.trial.Trial` and returns a dict of parameters.
    estimator : estimator, default=None
        Its parameters, as far as the space holds them, are those of the first trial.

    Raises
    ------
    ValueError
        If the space is empty or holds something else.

    Examples
    --------
    >>> from optuna.distributions import FloatDistribution
    >>> from optuna.trial import FixedTrial
    >>> space = Space({"C": FloatDistribution(0.01, 1, log=True), "columns": [["age"], ["nihss"]]})
    >>> space.suggest(FixedTrial({"C": 0.5, "columns": "['age']"}))
    {'C': 0.5, 'columns': ['age']}
    """

    def __init__(self, given, estimator=None):
        self.function = given if callable(given) else None
        self.distributions, self.choices, self.first = {}, {}, {}
        self.known = {} if estimator is None else estimator.get_params()
        if self.function is not None:
            return
        if not isinstance(given, dict) or not given:
            raise ValueError(
                f"space is {shown(given)}; give a dict of parameters and Optuna distributions (or "
                "lists of choices), or a function of the trial that returns the parameters"
            )
        for name, values in given.items():
            self.distributions[name], self.choices[name] = _distribution(name, values)
        for name in self.distributions.keys() & self.known.keys():
            self._start(name, self.known[name])

    def _start(self, name, value):
        """Let the first trial have this value, where the space holds it."""
        distribution, choices = self.distributions[name], self.choices[name]
        if choices is not None:
            found = [label for label, choice in choices.items() if _equal(choice, value)]
            if found:
                self.first[name] = found[0]
        elif isinstance(value, Real) and not isinstance(value, (bool, np.bool_)):
            inside = distribution.low <= value <= distribution.high
            step = getattr(distribution, "step", None)
            offset = 0 if not step else (value - distribution.low) / step
            if inside and abs(offset - round(offset)) < 1e-9:
                self.first[name] = value

    def starts_as_given(self, sampler):
        """Whether the first trial has the estimator's own value of every parameter."""
        return sampler.keeps_first and set(self.first) == set(self.distributions) != set()

    def suggest(self, trial):
        """The parameters of a trial, a dict.

        Parameters
        ----------
        trial : optuna.trial.BaseTrial
        """
        if self.function is not None:
            params = self.function(trial)
            if not isinstance(params, dict):
                raise ValueError(
                    f"the space's function returned {shown(params)}; let it return a dict of the "
                    "estimator's parameters"
                )
            return params
        return {
            name: self._suggest_one(trial, name, distribution)
            for name, distribution in self.distributions.items()
        }

    def again(self, frozen):
        """The parameters of a trial that was suggested before."""
        from optuna.trial import FixedTrial

        return self.suggest(FixedTrial(frozen.params, frozen.number))

    def distance(self, frozen):
        """How far the parameters of a trial are from the estimator's own.

        Root mean square over the parameters that the estimator has by the same name: 1 is the whole
        range (of the logarithm, where that is drawn), or another choice.
        """
        found = []
        for name, distribution in frozen.distributions.items():
            if name not in self.known:
                continue
            value, own = frozen.params[name], self.known[name]
            if not hasattr(distribution, "low"):
                choices = self.choices.get(name) or {}
                found.append(0.0 if _equal(choices.get(value, value), own) else 1.0)
            elif isinstance(own, Real) and distribution.high > distribution.low:
                ends = [distribution.low, distribution.high]
                scale = np.log if distribution.log else float
                low, high, here = (float(scale(number)) for number in [*ends, value])
                there = float(scale(np.clip(own, *ends)))
                found.append((here - there) / (high - low))
        return float(np.sqrt(np.mean(np.square(found)))) if found else 0.0

    def _suggest_one(self, trial, name, distribution):
        from optuna.distributions import FloatDistribution

        if self.choices[name] is not None:
            return self.choices[name][trial.suggest_categorical(name, list(self.choices[name]))]
        suggest = trial.suggest_int
        if isinstance(distribution, FloatDistribution):
            suggest = trial.suggest_float
        limits = {"step": distribution.step, "log": distribution.log}
        return suggest(name, distribution.low, distribution.high, **limits)


def _distribution(name, values):
    """A distribution, and for choices what the study calls each of them."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(values, (FloatDistribution, IntDistribution)):
        return values, None
    if isinstance(values, CategoricalDistribution):
        values = values.choices
    if isinstance(values, (list, tuple, np.ndarray)) and len(values):
        choices = {}
        for value in values:
            plain = value is None or isinstance(value, (bool, str, Integral, Real))
            label = value if plain else shown(value)
            if label in choices:
                label = f"{label} ({len(choices) + 1})"
            choices[label] = value
        return CategoricalDistribution(tuple(choices)), choices
    raise ValueError(
        f"space[{name!r}] is {shown(values)}; give an Optuna distribution, such as "
        "FloatDistribution(1e-4, 1e-1, log=True), or a list of choices"
    )


def _equal(choice, value):
    if choice is value:
        return True
    try:
        return type(choice) is type(value) and bool(np.all(choice == value))
    except (TypeError, ValueError):
        return False
