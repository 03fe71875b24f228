"""The one recipe from a label map to a scan, with several endings, and the one for real scans.

What a network learns from a synthetic scan is decided by the last steps (`ending`): a segmentation
target, quantitative maps, another contrast of the same head.
"""

import numpy as np

from ..grids import open_image
from .acquisition import Acquisition, Blur, Gibbs, LowResolution
from .deformation import Deformation
from .intensity import BiasField, Gamma, Rescale, ZScore
from .lesions import PasteLesions
from .mixture import IntensityMixture
from .noise import RicianNoise
from .occlusion import SkullStrip
from .planes import TakePlane
from .scans import Target
from .sources import LabelMapSource
from .steps import Chain, Keep, OneOf
from .tissue_maps import RandomSequence, TissueMaps

__all__ = ["real_chain", "scanner_steps", "synthetic_chain", "voxel_mm"]


def synthetic_chain(
    source=None,
    *,
    contrast="both",
    patch_size=128,
    spacing_mm=None,
    ranges="plausible",
    mirror=0.0,
    spatial_dims=3,
    noise=0.1,
    noise_device=None,
    ending=None,
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
        Voxels of the sample; None takes the whole head.
    spacing_mm : float or None
        Edge of its voxels. None keeps those of the label maps, and counts the widths of the recipe
        (of blur, slices, edges, texture) in voxels as if these had 1 mm.
    ranges : {"plausible", "reference", "reference-segmentation"}
        Of the protocols, see `sample_protocol`.
    mirror : float or sequence of float
        Chance to mirror each axis.
    spatial_dims : {3, 2}
        2 goes on with a plane of the head, see `TakePlane`.
    noise : float
        Largest standard deviation of the scan's noise, as a share of the highest intensity.
    noise_device : str or None
        "cpu" makes samples the same on every device; None draws noise where the scene is.
    ending : sequence of Step or None
        What becomes of the finished scan (``image``, beside ``labels`` and ``lesion`` on the same
        voxels). None: tissues as the target, standardised intensities.

    Returns
    -------
    Chain

    References
    ----------
    Chalcroft et al., MELBA 2025:014 and arXiv 2412.03318.

    Examples
    --------
    >>> from imaging.synthesis import Keep, LabelMapSource, Target
    >>> ending = (Target("lesion"), Keep("image", "target"))
    >>> head = LabelMapSource(spacing_mm=8)
    >>> chain = synthetic_chain(head, spacing_mm=8, patch_size=16, ending=ending)
    >>> scene, history = chain.sample({}, 3)
    >>> {name: tuple(tensor.shape) for name, tensor in scene.items()}
    {'image': (1, 16, 16, 16), 'target': (1, 16, 16, 16)}
    """
    source = LabelMapSource() if source is None else source
    unit = 1.0 if spacing_mm is None else spacing_mm
    drawn_on = {"noise_device": noise_device}
    lesions = {"edge_width": 2 / unit, "in_place": True, **drawn_on}
    texture = {"texture_width": 10 / unit, **drawn_on}
    mixture = Chain(IntensityMixture(**texture), PasteLesions("image", **lesions))
    physics = Chain(
        TissueMaps(**texture), PasteLesions("maps", **lesions), RandomSequence(ranges=ranges)
    )
    contrasts = {"both": OneOf(mixture, physics), "mixture": mixture, "physics": physics}
    if contrast not in contrasts:
        raise ValueError(f"found contrast={contrast!r}; choose one of {', '.join(contrasts)}")
    if ending is None:
        ending = (Target(), Keep("image", "target"), ZScore())
    return Chain(
        source,
        *([TakePlane()] if spatial_dims == 2 else []),
        Deformation(
            patch_size=patch_size,
            spacing=1.0 if spacing_mm is None else spacing_mm / voxel_mm(source),
            centre_on="lesion",
            mirror=mirror,
        ),
        contrasts[contrast],
        *scanner_steps(spacing_mm, contrast, noise_device, noise=noise),
        *ending,
    )


def real_chain(*, spacing_mm=1.0, mirror=0.0, signed=None):
    """The steps that vary a real scan and its target: geometry, bias field, grey scale, noise.

    What comes from outside a scan is 0, and so the lowest value of a scan should be.

    Parameters
    ----------
    spacing_mm : float
    mirror : float or sequence of float
        Chance to mirror each axis.
    signed : bool or None
        Whether the scan came with a sign, see `RicianNoise`.

    Returns
    -------
    Chain
        From ``image`` and ``target`` to the same.

    Examples
    --------
    >>> import torch
    >>> scan = {"image": torch.rand(1, 16, 16), "target": torch.ones(1, 16, 16, dtype=torch.uint8)}
    >>> varied, history = real_chain().sample(scan, 0)
    >>> [entry["step"] for entry in history]
    ['Deformation', 'BiasField', 'Gamma', 'Acquisition']
    >>> varied["target"].dtype
    torch.uint8
    """
    return Chain(
        Deformation(mirror=mirror),
        BiasField(strength=0.3, probability=0.5),
        Gamma(sd=0.3, probability=0.5),
        Acquisition(
            Blur(2.0 / spacing_mm, probability=0.3),
            LowResolution(
                thickest=max(1.0, 4.0 / spacing_mm),
                coarsest=max(1.0, 2.0 / spacing_mm),
                probability=0.2,
            ),
            Gibbs(probability=0.1),
            RicianNoise(sd=0.05, probability=0.5, noise_device="cpu", signed=signed),
        ),
    )


def scanner_steps(spacing_mm=None, contrast="both", noise_device=None, *, noise=0.1):
    """The steps by which a scanner makes a scan of a contrast, bad as scans are.

    Parameters
    ----------
    spacing_mm, contrast, noise_device, noise : as in `synthetic_chain`

    Returns
    -------
    list of Step
        From ``image``, beside ``labels`` and ``lesion``, to the same.

    Examples
    --------
    >>> [type(step).__name__ for step in scanner_steps(2.0)]
    ['BiasField', 'Gamma', 'Acquisition', 'Rescale', 'SkullStrip']
    """
    unit = 1.0 if spacing_mm is None else spacing_mm
    return [
        BiasField(),
        Gamma(sd=0.6 if contrast != "physics" else 0.2, probability=0.5),
        Acquisition(
            Blur(3.0 / unit, probability=0.7),
            LowResolution(
                thickest=max(1.0, 8.0 / unit), coarsest=max(1.0, 4.0 / unit), probability=0.5
            ),
            Gibbs(probability=0.2),
            RicianNoise(noise, probability=0.9, signed=False, noise_device=noise_device),
        ),
        Rescale(),
        SkullStrip(growth=round(3 / unit), probability=0.3),
    ]


def voxel_mm(source):
    """Edge of the voxels that a source gives, millimetres.

    Examples
    --------
    >>> voxel_mm(LabelMapSource(spacing_mm=2))
    2
    """
    maps = getattr(source, "label_maps", None)
    if not maps:
        return getattr(source, "spacing_mm", 1)
    return float(np.linalg.norm(open_image(maps[0]).affine[:3, :3], axis=0).mean())
