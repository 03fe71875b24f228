"""Whom views are made of: one head, drawn once, which can be shown in any number of contrasts.

A head comes from label maps, from quantitative maps, or from scans whose contrast is given.
"""

from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch

from ..nets.shapes import N_TISSUES
from ..physics.tissues import TISSUES
from ..randomness import as_draws, sample_seed
from ..storage.tensors import as_tensor
from ..synthesis.deformation import Deformation
from ..synthesis.geometry import affine_matrix
from ..synthesis.lesions import PasteLesions
from ..synthesis.mixture import IntensityMixture
from ..synthesis.planes import TakePlane
from ..synthesis.recipes import voxel_mm
from ..synthesis.resampling import resample_scene
from ..synthesis.steps import Chain
from ..synthesis.tissue_maps import MAPS, RandomSequence, TissueMaps
from ..voxelwise.geometry import prepare

__all__ = [
    "KeptPeople",
    "LabelledPeople",
    "MappedPeople",
    "ScannedPeople",
    "brain_places",
    "pose_geometry",
    "posed",
    "prepared_maps",
]

_ANYBODY = 20  # whose seeds are those of people who are kept


class _Grid(NamedTuple):
    """Voxels of a view. What a pose moves out of them is not there, as beyond a field of view."""

    shape: tuple
    spacing_mm: float


class LabelledPeople:
    """People drawn from label maps: deformed, with tissues and lesions of their own.

    Where the label maps are fine enough a voxel is a mixture of the tissues in it, as in scans.

    Parameters
    ----------
    source : Step
        As in `synthetic_chain`.
    shape : sequence of int
        Of a view, in voxels.
    spacing_mm : float
    contrast : {"both", "mixture", "physics"}
    ranges : str
    sequences : sequence of str, default=None
        Those that are scanned; None takes all.
    mirror : float
        Chance to mirror a head, left to right.
    """

    def __init__(
        self,
        source,
        shape,
        spacing_mm,
        *,
        contrast="both",
        ranges="plausible",
        sequences=None,
        mirror=0.5,
    ):
        self.grid = _Grid(tuple(shape), spacing_mm)
        voxel = voxel_mm(source)
        self.factor = 2 if spacing_mm >= 1.9 * voxel else 1
        flat = len(shape) == 2
        self.anatomy = Chain(
            source,
            *([TakePlane()] if flat else []),
            Deformation(
                rotation_deg=0.0,
                patch_size=[self.factor * n for n in self.grid.shape],
                spacing=spacing_mm / self.factor / voxel,
                mirror=(0.0 if flat else mirror, *[0.0] * (len(shape) - 1)),
            ),
        )
        texture = {"texture_width": 10 / spacing_mm, "noise_device": "cpu"}
        lesions = {"edge_width": 2 / spacing_mm, "in_place": True, "noise_device": "cpu"}
        self.mixture = Chain(IntensityMixture(**texture), PasteLesions("image", **lesions))
        self.maps = Chain(TissueMaps(**texture), PasteLesions("maps", **lesions))
        named = {} if sequences is None else {"sequences": tuple(sequences)}
        self.sequence = RandomSequence(ranges=ranges, **named)
        self.contrast = contrast

    def person(self, seed):
        """One head: a scene of labels, lesions, tissues and, where physics is simulated, maps."""
        draws = as_draws(seed)
        return self.measured(self.head(draws.seed()), draws.seed())

    def head(self, seed):
        """The anatomy: a scene of labels, lesions and, where voxels are mixed, tissues."""
        scene, _ = self.anatomy.sample({}, seed)
        return _softened(scene, self.factor)

    def measured(self, head, seed):
        """A head with the maps that are scanned, where physics is simulated."""
        if self.contrast == "mixture":
            return head
        scene, _ = self.maps.sample(head, seed)
        return scene

    def contrasted(self, person, seed):
        """One contrast of a head: a scene of ``image``, labels and lesions."""
        draws = as_draws(seed)
        if self.contrast == "mixture" or (self.contrast == "both" and draws.chance(0.5)):
            scene = {name: tensor for name, tensor in person.items() if name != "maps"}
            scene, _ = self.mixture.sample(scene, draws.seed())
        else:
            scene, _ = self.sequence.sample(person, draws.seed())
        return {name: scene[name] for name in ("image", "labels", "lesion")}


class KeptPeople:
    """So many people and no more: the anatomy of each is made once and kept in memory.

    What their tissues measure, contrasts, poses and faults are drawn anew each time. Who they are
    hangs on nothing but `people`, so trainings with other seeds see the same ones.

    Parameters
    ----------
    people : LabelledPeople
    count : int

    Examples
    --------
    >>> from imaging.synthesis import LabelMapSource
    >>> people = KeptPeople(LabelledPeople(LabelMapSource(spacing_mm=8), (16, 16, 16), 16.0), 2)
    >>> heads = [people.person(seed)["labels"] for seed in range(9)]
    >>> len({head.numpy().tobytes() for head in heads})
    2
    """

    def __init__(self, people, count):
        self.people, self.count = people, count
        self.grid, self.contrasted = people.grid, people.contrasted
        self._parts = people.factor ** len(self.grid.shape)  # shares are eighths, in 2-D quarters
        self._kept = {}

    def person(self, seed):
        """One of them, with tissues that measure something else each time."""
        draws = as_draws(seed)
        number = draws.integer(0, self.count - 1)
        if number not in self._kept:
            head = self.people.head(sample_seed(_ANYBODY, number))
            if "tissues" in head:
                head["tissues"] = (head["tissues"] * self._parts).round().to(torch.uint8)
            self._kept[number] = head
        head = dict(self._kept[number])
        if "tissues" in head:
            head["tissues"] = head["tissues"] / self._parts
        return self.people.measured(head, draws.seed())


class MappedPeople:
    """People of whom quantitative maps are known.

    Parameters
    ----------
    maps : list of Tensor
        PD, R1, R2* and, where they are known, MT and R2 of each head, shape (3 to 5, *spatial), on
        voxels of `spacing_mm`.
    shape, spacing_mm, ranges, sequences, mirror : as in `LabelledPeople`
    """

    def __init__(self, maps, shape, spacing_mm, *, ranges="plausible", sequences=None, mirror=0.5):
        self.heads = maps
        self.grid = _Grid(tuple(shape), spacing_mm)
        axes = (mirror, *[0.0] * (len(shape) - 1))
        self.anatomy = Deformation(rotation_deg=0.0, patch_size=self.grid.shape, mirror=axes)
        named = {} if sequences is None else {"sequences": tuple(sequences)}
        self.sequence = RandomSequence(ranges=ranges, **named)

    def person(self, seed):
        """One head: a scene of its maps."""
        draws = as_draws(seed)
        head = self.heads[draws.integer(0, len(self.heads) - 1)]
        scene, _ = self.anatomy.sample({"maps": head}, draws.seed())
        return scene

    def contrasted(self, person, seed):
        """One contrast of a head: a scene of ``image`` alone."""
        scene, _ = self.sequence.sample(person, seed)
        return scene


class ScannedPeople:
    """People of whom there are scans: other contrasts are made by bending the grey scale.

    Parameters
    ----------
    scans : list of ndarray of shape (*spatial), float32
        On voxels of `spacing_mm`, from 0.
    shape, spacing_mm, mirror : as in `LabelledPeople`
    bend : bool, default=True
        Whether contrasts differ from the scan.
    """

    def __init__(self, scans, shape, spacing_mm, *, mirror=0.5, bend=True):
        self.scans = scans
        self.grid = _Grid(tuple(shape), spacing_mm)
        axes = (0.0 if len(shape) == 2 else mirror, *[0.0] * (len(shape) - 1))
        self.anatomy = Deformation(rotation_deg=0.0, patch_size=self.grid.shape, mirror=axes)
        self.bend = bend

    def person(self, seed):
        """One head: a scene of ``image``."""
        draws = as_draws(seed)
        scan = self.scans[draws.integer(0, len(self.scans) - 1)]
        scene = {"image": as_tensor(np.ascontiguousarray(scan))[None]}
        scene, _ = self.anatomy.sample(scene, draws.seed())
        return scene

    def contrasted(self, person, seed):
        """The head with every grey value moved, along a random curve through five values."""
        if not self.bend:
            return dict(person)
        draws = as_draws(seed)
        image = person["image"][0].numpy()
        low, high = float(image.min()), float(np.quantile(image, 0.995))
        # The background stays dark, whatever becomes of the tissues.
        known = np.linspace(low, max(high, low + 1e-6), 6)
        values = np.array([0.0, *draws.uniforms(5).tolist()])
        bent = np.interp(image, known, values).astype(np.float32)
        return {"image": torch.from_numpy(bent)[None]}


def posed(scene, shape, *, rotation_deg, shift_voxels, seed):
    """A scene as another scan would hold it: turned about every axis, and moved.

    Parameters
    ----------
    scene : dict of Tensor (channels, *spatial)
    shape : sequence of int
        Of the result.
    rotation_deg, shift_voxels : float
        Largest, about and along every axis.
    seed : int or Draws

    Returns
    -------
    dict of Tensor (channels, *shape)
    """
    size = next(iter(scene.values())).shape[1:]
    pose = {"rotation_deg": rotation_deg, "shift_voxels": shift_voxels}
    return resample_scene(scene, pose_geometry(size, shape, **pose, seed=seed))


def pose_geometry(size, shape, *, rotation_deg, shift_voxels, seed):
    """The geometry by which `posed` moves a scene of shape `size`, as `resample_scene` takes it."""
    draws, dims = as_draws(seed), len(shape)
    angles = [draws.uniform(-rotation_deg, rotation_deg) for _ in range(1 if dims == 2 else 3)]
    matrix = affine_matrix(angles, [0.0] * len(angles), [1.0] * dims)
    centre = [(n - 1) / 2 + draws.uniform(-shift_voxels, shift_voxels) for n in size]
    return {"shape": list(shape), "matrix": matrix.tolist(), "centre": centre, "elastic": None}


def brain_places(labels, geometry):
    """Where in the brain the voxels of a pose lie.

    Parameters
    ----------
    labels : Tensor of shape (1, *spatial)
        Tissues of the head before it was posed.
    geometry : dict
        From `pose_geometry`.

    Returns
    -------
    ndarray of shape (D, *geometry["shape"]), float32
        From the middle of the brain along the axes of the head, in standard deviations of the
        brain along each; zeros in a head without a brain.

    Examples
    --------
    >>> labels = torch.zeros(1, 9, 9)
    >>> labels[0, 3:6, 2:7] = 1
    >>> still = {"rotation_deg": 0.0, "shift_voxels": 0.0, "seed": 0}
    >>> places = brain_places(labels, pose_geometry((9, 9), (9, 9), **still))
    >>> [round(float(n), 2) for n in (places[0, 4, 4], places[0, 5, 4], places[1, 5, 4])]
    [0.0, 1.22, 0.0]
    """
    shape = geometry["shape"]
    brain = np.argwhere((labels[0].numpy() >= 1) & (labels[0].numpy() < N_TISSUES))
    if len(brain) < 2:
        return np.zeros((len(shape), *shape), np.float32)
    middle, wide = brain.mean(0), np.maximum(brain.std(0), 1e-3)
    matrix = np.array(geometry["matrix"]) / wide[:, None]
    origin = (np.array(geometry["centre"]) - middle) / wide
    axes = [np.arange(n) - (n - 1) / 2 for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    moved = np.tensordot(matrix, grid, 1) + origin.reshape(-1, *[1] * len(shape))
    return moved.astype(np.float32)


def prepared_maps(maps, spacing_mm):
    """Quantitative maps of one head on upright voxels of one size, as one tensor.

    Parameters
    ----------
    maps : QuantitativeMaps
        Of nibabel images; arrays count as upright, on these voxels already.
    spacing_mm : float

    Returns
    -------
    Tensor of shape (3 to 5, *spatial), float32
        PD, R1, R2* and, where they are known, MT and R2.

    Examples
    --------
    >>> from imaging import QuantitativeMaps
    >>> one = nib.Nifti1Image(np.ones((8, 6, 4), np.float32), np.diag([-2, 2, 2, 1]))
    >>> tuple(prepared_maps(QuantitativeMaps(one, one, one), 4.0).shape)
    (3, 4, 3, 2)
    """
    found = [getattr(maps, name) for name in MAPS]
    while found[-1] is None:
        found.pop()
    if len(found) == 5 and found[3] is None:  # R2 without MT
        found[3] = np.zeros(maps.shape, np.float32)
    found = [np.asarray(values, np.float32) for values in found]
    if maps.affine is not None:
        images = [nib.Nifti1Image(values, maps.affine) for values in found]
        dims = sum(n > 1 for n in maps.shape)
        found = [prepare(one, spacing_mm, dims, allow_empty=True).array for one in images]
    return torch.from_numpy(np.stack(found))


def _softened(scene, factor):
    """Shares of tissues in voxels that are `factor` times as long, and their commonest tissue."""
    if factor == 1:
        return scene
    labels, classes = scene["labels"][0].numpy(), len(TISSUES)
    coarse = [n // factor for n in labels.shape]
    number = np.arange(np.prod(coarse)).reshape(coarse) * classes
    for axis in range(number.ndim):
        number = number.repeat(factor, axis)
    size = np.prod(coarse) * classes
    counts = np.bincount((number + labels).ravel(), minlength=size).reshape(*coarse, classes)
    shares = (counts / np.float32(factor**labels.ndim)).astype(np.float32)
    every = (slice(None), *[slice(None, None, factor)] * labels.ndim)
    return {
        "labels": torch.from_numpy(counts.argmax(-1).astype(np.uint8))[None],
        "lesion": scene["lesion"][every].contiguous(),
        "tissues": torch.from_numpy(np.ascontiguousarray(np.moveaxis(shares, -1, 0))),
    }
