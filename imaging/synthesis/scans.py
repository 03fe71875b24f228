"""Complete training samples: image and target, from one seed each.

`SyntheticScans` is a data set of such samples for a torch DataLoader; recipes are in `recipes`.
"""

from numbers import Integral
from typing import ClassVar

from torch.utils.data import Dataset

from ..parameters import COUNT, Parametrised, StrOptions, parameter, parameters
from ..physics.tissues import TISSUES
from ..randomness import sample_seed
from .slabs import voxelwise
from .steps import Step

__all__ = ["SyntheticScans", "Target"]

_LESION = TISSUES.index("lesion")


@parameters
class Target(Step):
    """Make the target of a segmentation: ``target``, uint8, hard classes.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    Skin (8) is no target, and a lesion covers what is under it.

    >>> import torch
    >>> scene = {"labels": torch.tensor([[8, 4, 1, 3]]), "lesion": torch.tensor([[0, 0, 0, 2]])}
    >>> Target().sample(scene, 0)[0]["target"].tolist()
    [[0, 4, 1, 5]]
    >>> Target("lesion").sample(scene, 0)[0]["target"].tolist()
    [[0, 0, 0, 1]]
    """

    probability: ClassVar = 1.0  # a sample without target trains nothing
    classes: str = parameter(
        "tissues",
        StrOptions({"tissues", "lesion"}),
        kind='{"tissues", "lesion"}',
        doc="""
        "tissues": 0 background and all outside the brain, 1 grey matter, 2 grey/white partial
        volume, 3 white matter, 4 cerebrospinal fluid, 5 lesion. "lesion": 0 and 1.
        """,
        first=True,
    )

    def draw(self, draws, scene):
        return {"classes": self.classes}

    def apply(self, scene, parameters):
        if parameters["classes"] == "lesion":
            target = voxelwise(lambda lesion: lesion > 0, scene["lesion"])
        else:
            target = voxelwise(_classes, scene["labels"], scene["lesion"])
        return {**scene, "target": target}


def _classes(labels, lesion):
    """Tissues outside the brain are background; lesions cover what is under them."""
    here = lesion > 0
    return labels * ((labels < _LESION) & ~here) + _LESION * here


@parameters
class SyntheticScans(Parametrised, Dataset):
    """Training samples by number: the same number gives the same sample, whoever asks.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> from imaging.synthesis import LabelMapSource, SyntheticScans, synthetic_chain
    >>> head = LabelMapSource(spacing_mm=4)
    >>> scans = SyntheticScans(synthetic_chain(head, patch_size=32), length=10, random_state=1)
    >>> sample = scans[3]
    >>> tuple(sample["image"].shape), sample["target"].dtype
    ((1, 32, 32, 32), torch.uint8)
    """

    chain: Step = parameter(
        None, Step, kind="Step or None", doc="None is `synthetic_chain()`.", first=True
    )
    length: int = parameter(1000, COUNT, doc="Number of samples.")
    random_state: int = parameter(0, Integral, doc="Seed of the samples.")

    def __post_init__(self):
        if self.chain is None:
            from .recipes import synthetic_chain

            self.chain = synthetic_chain()
        super().__post_init__()

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.sample(index)[0]

    def sample(self, index):
        """The sample of that number, and the history of what was drawn for it."""
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of a data set of {self.length}")
        return self.chain.sample({}, sample_seed(self.random_state, index))

    def replay(self, history):
        """Make a sample again from its history."""
        return self.chain.replay_sample({}, history)
