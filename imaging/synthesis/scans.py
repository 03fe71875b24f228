"""Complete training samples: image and target, from one seed each.

`synthetic_chain` is the recipe for segmentation from synthetic data; `SyntheticScans` is a data set
of such samples for a torch DataLoader.
"""

from typing import ClassVar

from torch.utils.data import Dataset

from ..physics.draws import sample_seed
from ..physics.tissues import TISSUES
from .acquisition import Acquisition, Blur, Gibbs, LowResolution
from .constraints import COUNT, StrOptions, check_parameters
from .deformation import Deformation
from .intensity import BiasField, Gamma, Rescale, ZScore
from .lesions import PasteLesions
from .mixture import IntensityMixture
from .noise import RicianNoise
from .occlusion import SkullStrip
from .slabs import voxelwise
from .sources import LabelMapSource
from .steps import Chain, Keep, OneOf, Step
from .tissue_maps import RandomSequence, TissueMaps

__all__ = ["SyntheticScans", "Target", "synthetic_chain"]

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


def synthetic_chain(
    source=None,
    contrast="both",
    patch_size=128,
    spacing=1.0,
    classes="tissues",
    ranges="plausible",
    mirror=0.0,
    noise_device=None,
):
    """The steps from a label map to a training sample.

    Parameters
    ----------
    source : Step or None
        Gives ``labels`` and ``lesion``; None is `LabelMapSource` with all it embeds.
    contrast : {"both", "mixture", "physics"}
        A random intensity for each class, a random sequence of random quantitative maps, or either
        with equal chance.
    patch_size : int, sequence of int or None
    spacing : float
        Voxel size of the sample over that of the label maps.
    classes : {"tissues", "lesion"}
        See `Target`.
    ranges : {"plausible", "reference", "reference-segmentation"}
        Of the protocols, see `sample_protocol`.
    mirror : float or sequence of float
        Chance to mirror each axis.
    noise_device : str or None
        "cpu" makes samples the same on every device; None draws noise where the scene is.

    Returns
    -------
    Chain

    References
    ----------
    Chalcroft et al., MELBA 2025:014 and arXiv 2412.03318.
    """
    noise = {"noise_device": noise_device}
    mixture = Chain(IntensityMixture(**noise), PasteLesions("image", in_place=True, **noise))
    physics = Chain(
        TissueMaps(**noise),
        PasteLesions("maps", in_place=True, **noise),
        RandomSequence(ranges=ranges),
    )
    contrasts = {"both": OneOf(mixture, physics), "mixture": mixture, "physics": physics}
    if contrast not in contrasts:
        raise ValueError(f"found contrast={contrast!r}; choose one of {', '.join(contrasts)}")
    return Chain(
        LabelMapSource() if source is None else source,
        Deformation(patch_size=patch_size, spacing=spacing, centre_on="lesion", mirror=mirror),
        contrasts[contrast],
        BiasField(),
        Gamma(sd=0.6 if contrast != "physics" else 0.2, probability=0.5),
        Acquisition(
            Blur(3.0, probability=0.7),
            LowResolution(probability=0.5),
            Gibbs(probability=0.2),
            RicianNoise(probability=0.9, signed=False, **noise),
        ),
        Rescale(),
        SkullStrip(probability=0.3),
        Target(classes),
        Keep("image", "target"),
        ZScore(),
    )


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
        self.chain = synthetic_chain() if chain is None else chain
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
