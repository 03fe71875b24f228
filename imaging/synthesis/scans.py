"""Complete training samples: image and target, from one seed each.

`SyntheticScans` is a data set of such samples for a torch DataLoader; recipes are in `recipes`.
"""

from typing import ClassVar

from torch.utils.data import Dataset

from ..parameters import COUNT, StrOptions, check_parameters
from ..physics.tissues import TISSUES
from ..randomness import sample_seed
from .slabs import voxelwise
from .steps import Step

__all__ = ["SyntheticScans", "Target"]

_LESION = TISSUES.index("lesion")


class Target(Step):
    """Make the target of a segmentation: ``target``, uint8, hard classes.

    Parameters
    ----------
    classes : {"tissues", "lesion"}
        "tissues": 0 background and all outside the brain, 1 grey matter, 2 grey/white partial
        volume, 3 white matter, 4 cerebrospinal fluid, 5 lesion. "lesion": 0 and 1.
    """

    _parameter_constraints: ClassVar = {"classes": [StrOptions({"tissues", "lesion"})]}

    def __init__(self, classes="tissues"):
        self.classes = classes
        check_parameters(self)

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


class SyntheticScans(Dataset):
    """Training samples by number: the same number gives the same sample, whoever asks.

    Parameters
    ----------
    chain : Chain or None
        None is `synthetic_chain()`.
    length : int
        Number of samples.
    seed : int

    Examples
    --------
    >>> from imaging.synthesis import LabelMapSource, SyntheticScans, synthetic_chain
    >>> head = LabelMapSource(spacing_mm=4)
    >>> scans = SyntheticScans(synthetic_chain(head, patch_size=32), length=10, seed=1)
    >>> sample = scans[3]
    >>> tuple(sample["image"].shape), sample["target"].dtype
    ((1, 32, 32, 32), torch.uint8)
    """

    _parameter_constraints: ClassVar = {"chain": [Step], "length": [COUNT]}

    def __init__(self, chain=None, length=1000, seed=0):
        if chain is None:
            from .recipes import synthetic_chain

            chain = synthetic_chain()
        self.chain = chain
        self.length = length
        self.seed = seed
        check_parameters(self)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.sample(index)[0]

    def sample(self, index):
        """The sample of that number, and the history of what was drawn for it."""
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of a data set of {self.length}")
        return self.chain.sample({}, sample_seed(self.seed, index))

    def replay(self, history):
        """Make a sample again from its history."""
        return self.chain.replay_sample({}, history)
