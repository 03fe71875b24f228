"""What every step has in common: draw the parameters of a sample, apply them, remember them.

A batch is worked through sample by sample, each with its own seed, so a sample does not depend on
the batch that it came in.
"""

import copy
from typing import ClassVar

import torch

from ..parameters import CHANCE, Each, Parametrised, check_parameters, parameter, parameters, shown
from ..randomness import Draws, as_draws, sample_seed

__all__ = ["Chain", "Keep", "NoisyStep", "OneOf", "Step", "device_of", "shown_without"]

_WIDEST = 88


@parameters
class Step(Parametrised):
    """A random operation on a scene.

    A *scene* is a dictionary of tensors of one sample, each of shape ``(channels, *spatial)``, 2-D
    or 3-D: ``image``, ``labels`` (tissue numbers, uint8), ``lesion`` (0, or the number of a lesion,
    uint8), ``tissues`` (soft labels that sum to 1 over the channels), ``maps`` (PD, R1, R2*, MT,
    R2), ``target`` (uint8). Steps use the entries they know, add theirs, and pass the rest on.

    Parameters
    ----------
    {parameters}

    Notes
    -----
    A subclass declares what it can be told by `imaging.parameters`, and defines `draw` and `apply`.
    A step that is always applied says so: ``probability: ClassVar = 1.0``.

    Examples
    --------
    >>> import torch
    >>> from imaging.parameters import parameter, parameters
    >>> @parameters
    ... class Invert(Step):
    ...     most: float = parameter(1.0)
    ...
    ...     def draw(self, draws, scene):
    ...         return {"highest": draws.uniform(0, self.most)}
    ...
    ...     def apply(self, scene, parameters):
    ...         return {**scene, "image": parameters["highest"] - scene["image"]}
    >>> scene, history = Invert(probability=0.5).sample({"image": torch.zeros(1, 1)}, 3)
    >>> round(history[0]["parameters"]["highest"], 3), round(scene["image"].item(), 3)
    (0.287, 0.287)
    """

    probability: float = parameter(1.0, CHANCE, doc="Chance that the step is applied to a sample.")

    def draw(self, draws, scene):
        """Draw the parameters of one sample: a dictionary of plain values, storable as JSON."""
        raise NotImplementedError

    def apply(self, scene, parameters):
        """Return the changed scene; nothing is random, and `scene` itself is left as it is."""
        raise NotImplementedError

    def sample(self, scene, seed):
        """Draw and apply once.

        Parameters
        ----------
        scene : dict of tensor
            Each of shape ``(channels, *spatial)``.
        seed : int, torch.Generator, Draws or None

        Returns
        -------
        scene : dict of tensor
        history : list of dict
            One entry: the name of the step and what was drawn for it, storable as JSON.
        """
        draws = as_draws(seed)
        parameters = self.draw(draws, scene) if draws.chance(self.probability) else None
        history = [{"step": type(self).__name__, "parameters": parameters}]
        return self.replay_sample(scene, history), history

    def replay_sample(self, scene, history):
        """Apply what a history says to a scene."""
        (entry,) = history
        if entry["step"] != type(self).__name__:
            raise ValueError(
                f"the history was made by {entry['step']} and is replayed by "
                f"{type(self).__name__}; replay it with the steps that made it, in their order"
            )
        if entry["parameters"] is None:
            return scene
        return self.apply(scene, entry["parameters"])

    def __call__(self, batch, seed=None, *, first=0):
        """Draw and apply to a batch.

        Parameters
        ----------
        batch : dict of tensor
            Each of shape ``(samples, channels, *spatial)``.
        seed : int or None
            None takes fresh entropy.
        first : int
            Running number of the first sample: halves of a batch, the second one with `first` at
            its half, give the same as the whole.

        Returns
        -------
        batch : dict of tensor
        histories : list, one per sample
        """
        seed = Draws(None).seed() if seed is None else seed
        scenes, histories = [], []
        for i in range(_length(batch)):
            scene = {name: tensor[i] for name, tensor in batch.items()}
            scene, history = self.sample(scene, sample_seed(seed, first + i))
            scenes.append(scene)
            histories.append(history)
        return _stack(scenes), histories

    def replay(self, batch, histories):
        """Apply to a batch what was drawn before; returns the batch."""
        scenes = []
        for i, history in enumerate(histories):
            scene = {name: tensor[i] for name, tensor in batch.items()}
            scenes.append(self.replay_sample(scene, history))
        return _stack(scenes)


@parameters
class NoisyStep(Step):
    """Base of steps that draw a noise value for every voxel.

    Parameters
    ----------
    {parameters}
    """

    noise_device: str | None = parameter(
        None,
        str,
        None,
        kind="str or None",
        doc="""
        Kind of device to draw noise on; None is that of the scene. "cpu" is the same everywhere.
        """,
    )

    def drawn_on(self, scene):
        """The kind of device to draw the noise of a scene on, as a history says it."""
        return self.noise_device or device_of(scene).type


class Chain(Step):
    """Steps one after another; each draws from a seed of its own.

    Parameters
    ----------
    *steps : Step

    Examples
    --------
    >>> import torch
    >>> from imaging.synthesis import BiasField, Gamma
    >>> chain = Chain(BiasField(), Gamma())
    >>> batch = {"image": torch.rand(2, 1, 8, 8)}
    >>> drawn, histories = chain(batch, seed=3)
    >>> torch.equal(chain.replay(batch, histories)["image"], drawn["image"])
    True
    >>> chain
    Chain(BiasField(), Gamma())
    """

    _parameter_constraints: ClassVar = {"steps": [Each(Step, least=0)]}

    def __init__(self, *steps):
        self.steps = []
        for step in steps:
            self.steps += step.steps if isinstance(step, Chain) else [step]
        check_parameters(self)

    def __repr__(self):
        return _of_several(self, map(repr, self.steps))

    def sample(self, scene, seed):
        draws = as_draws(seed)
        history = []
        for step in self.steps:
            scene, entry = step.sample(scene, draws.seed())
            history += entry
        return scene, history

    def replay_sample(self, scene, history):
        if len(history) != len(self.steps):
            raise ValueError(
                f"the history has {len(history)} entries for {len(self.steps)} steps; replay it "
                "with the steps that made it"
            )
        for step, entry in zip(self.steps, history, strict=True):
            scene = step.replay_sample(scene, [entry])
        return scene


class OneOf(Step):
    """One of several steps, all equally likely.

    Parameters
    ----------
    *steps : Step
        Chains too.

    Examples
    --------
    >>> import torch
    >>> from imaging.synthesis import Blur, ZScore
    >>> either = OneOf(Blur(), ZScore())
    >>> histories = either({"image": torch.rand(40, 1, 4, 4)}, seed=0)[1]
    >>> sorted({entry["parameters"]["choice"] for (entry,) in histories})
    [0, 1]
    """

    _parameter_constraints: ClassVar = {"steps": [Each(Step)]}

    def __init__(self, *steps):
        self.steps = steps
        check_parameters(self)

    def __repr__(self):
        return _of_several(self, map(repr, self.steps))

    def sample(self, scene, seed):
        draws = as_draws(seed)
        choice = draws.integer(0, len(self.steps) - 1)
        scene, history = self.steps[choice].sample(scene, draws.seed())
        parameters = {"choice": choice, "history": history}
        return scene, [{"step": "OneOf", "parameters": parameters}]

    def apply(self, scene, parameters):
        step = self.steps[parameters["choice"]]
        return step.replay_sample(scene, parameters["history"])


class Keep(Step):
    """Pass on only the named entries of a scene.

    Parameters
    ----------
    *names : str

    Examples
    --------
    >>> import torch
    >>> scene, _ = Keep("image").sample({"image": torch.ones(1, 2), "labels": torch.ones(1, 2)}, 0)
    >>> list(scene)
    ['image']
    """

    _parameter_constraints: ClassVar = {"names": [Each(str)]}

    def __init__(self, *names):
        self.names = names
        check_parameters(self)

    def __repr__(self):
        return _of_several(self, map(shown, self.names))

    def draw(self, draws, scene):
        return {}

    def apply(self, scene, parameters):
        return {name: scene[name] for name in self.names if name in scene}


def device_of(scene):
    """The device that the tensors of a scene are on."""
    return next(iter(scene.values())).device


def shown_without(step, **tables):
    """The code of a step, without parameters that are the tables which None stands for."""
    bare = copy.copy(step)
    for name, table in tables.items():
        if getattr(step, name) == table:
            setattr(bare, name, None)
    return Parametrised.__repr__(bare)


def _of_several(step, members):
    """The code of a step that is made of several others, one to a line where they are many."""
    members, name = list(members), type(step).__name__
    line = f"{name}({', '.join(members)})"
    if len(line) <= _WIDEST:
        return line
    inner = ",\n".join(members).replace("\n", "\n    ")
    return f"{name}(\n    {inner},\n)"


def _length(batch):
    sizes = {name: len(tensor) for name, tensor in batch.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(
            f"found {sizes} samples; every tensor of a batch holds as many, along its first axis"
        )
    return next(iter(sizes.values()))


def _stack(scenes):
    return {name: torch.stack([scene[name] for scene in scenes]) for name in scenes[0]}
