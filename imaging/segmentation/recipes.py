"""From a label map to a training sample at the voxel size of a segmenter.

The recipe of `imaging.synthesis.synthetic_chain` with every distance in millimetres, and in 2-D
through a plane of the head; intensities are left to `standardise`, as for a real scan.
"""

from numbers import Integral
from typing import ClassVar

import numpy as np

from ..synthesis.acquisition import Acquisition, Blur, Gibbs, LowResolution
from ..synthesis.constraints import Each, Interval, check_parameters
from ..synthesis.deformation import Deformation
from ..synthesis.intensity import BiasField, Gamma, Rescale
from ..synthesis.lesions import PasteLesions
from ..synthesis.mixture import IntensityMixture
from ..synthesis.noise import RicianNoise
from ..synthesis.occlusion import SkullStrip
from ..synthesis.scans import Target
from ..synthesis.sources import LabelMapSource
from ..synthesis.steps import Chain, Keep, OneOf, Step
from ..synthesis.tissue_maps import RandomSequence, TissueMaps
from ..volumes import open_image

__all__ = ["TakePlane", "real_chain", "segmentation_chain"]


class TakePlane(Step):
    """Cut a 3-D scene along one plane, through a lesion where there is one.

    The plane is turned as viewers show it: the second of its two axes up, the first to the right.

    Parameters
    ----------
    axes : sequence of int
        That a plane may be perpendicular to: 0 sagittal, 1 coronal, 2 axial.
    """

    _parameter_constraints: ClassVar = {"axes": [Each(Interval(Integral, 0, 2, closed="both"))]}

    def __init__(self, axes=(0, 1, 2)):
        self.axes = axes
        check_parameters(self)

    def draw(self, draws, scene):
        axis = draws.choice(self.axes)
        lesion = scene["lesion"][0].numpy() if "lesion" in scene else None
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(lesion.any(others)) if lesion is not None else []
        if len(filled) == 0:
            labels = scene["labels"][0].numpy()
            filled = np.flatnonzero(((labels > 0) & (labels < 5)).any(others))
        if len(filled) == 0:
            filled = np.arange(next(iter(scene.values())).shape[1 + axis])
        return {"axis": axis, "place": int(filled[int(draws.uniform() * len(filled))])}

    def apply(self, scene, parameters):
        axis, place = parameters["axis"], parameters["place"]
        return {
            name: tensor.select(axis + 1, place).transpose(1, 2).flip(1).contiguous()
            for name, tensor in scene.items()
        }


def segmentation_chain(
    source=None,
    *,
    spacing_mm=1.0,
    field_of_view=None,
    contrast="both",
    ranges="plausible",
    classes="tissues",
    mirror=0.0,
    spatial_dims=3,
):
    """The steps from a label map to ``image`` and ``target`` on voxels of `spacing_mm`.

    Parameters
    ----------
    source : Step or None
        Gives ``labels`` and ``lesion``; None is `LabelMapSource` with all it embeds.
    spacing_mm : float
    field_of_view : int, sequence of int or None
        Voxels of the sample; None takes the whole head.
    contrast : {"both", "mixture", "physics"}
    ranges : {"plausible", "reference", "reference-segmentation"}
    classes : {"tissues", "lesion"}
    mirror : float or sequence of float
        Chance to mirror each axis.
    spatial_dims : {2, 3}

    Returns
    -------
    Chain

    References
    ----------
    Chalcroft et al., MELBA 2025:014 and arXiv 2412.03318.
    """
    source = LabelMapSource() if source is None else source
    noise = {"noise_device": "cpu"}
    lesions = {"edge_width": 2 / spacing_mm, "in_place": True, **noise}
    texture = {"texture_width": 10 / spacing_mm, **noise}
    mixture = Chain(IntensityMixture(**texture), PasteLesions("image", **lesions))
    physics = Chain(
        TissueMaps(**texture), PasteLesions("maps", **lesions), RandomSequence(ranges=ranges)
    )
    contrasts = {"both": OneOf(mixture, physics), "mixture": mixture, "physics": physics}
    if contrast not in contrasts:
        raise ValueError(f"found contrast={contrast!r}; choose one of {', '.join(contrasts)}")
    return Chain(
        source,
        *([TakePlane()] if spatial_dims == 2 else []),
        Deformation(
            patch_size=field_of_view,
            spacing=spacing_mm / voxel_mm(source),
            centre_on="lesion",
            mirror=mirror,
        ),
        contrasts[contrast],
        BiasField(),
        Gamma(sd=0.6 if contrast != "physics" else 0.2, probability=0.5),
        Acquisition(
            Blur(3.0 / spacing_mm, probability=0.7),
            LowResolution(
                thickest=max(1.0, 8.0 / spacing_mm),
                coarsest=max(1.0, 4.0 / spacing_mm),
                probability=0.5,
            ),
            Gibbs(probability=0.2),
            RicianNoise(probability=0.9, signed=False, **noise),
        ),
        Rescale(),
        SkullStrip(growth=round(3 / spacing_mm), probability=0.3),
        Target(classes),
        Keep("image", "target"),
    )


def real_chain(*, spacing_mm=1.0, mirror=0.0, signed=None):
    """The steps that vary a real scan and its mask: geometry, bias field, grey scale, noise.

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


def voxel_mm(source):
    """Edge of the voxels that a source gives, millimetres."""
    maps = getattr(source, "label_maps", None)
    if not maps:
        return getattr(source, "spacing_mm", 1)
    return float(np.linalg.norm(open_image(maps[0]).affine[:3, :3], axis=0).mean())
