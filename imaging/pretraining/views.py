"""Views: what an encoder is to see as the same head, and what it is to make of each."""

import numpy as np
import torch

from ..learning.batches import Samples
from ..physics.tissues import TISSUES
from ..randomness import Draws, sample_seed
from ..synthesis.occlusion import CoarseDropout
from ..synthesis.recipes import scanner_steps
from ..synthesis.resampling import resample_scene
from ..synthesis.steps import Chain
from ..voxelwise.scaling import Standardised
from .people import brain_places, pose_geometry

__all__ = ["ViewStream", "Views"]

_LESION = TISSUES.index("lesion")
_BLOCK = 8  # voxels along an axis that are masked together
_MASKED = 0.6  # share of blocks
_HOLES = 0.3  # chance that a view has any


class Views:
    """Scans of one head, each with a pose and faults of its own.

    Parameters
    ----------
    people : LabelledPeople, MappedPeople or ScannedPeople
    contrasts : {"own", "shared"}
        Whether every view has a contrast of its own.
    poses : {"own", "shared"}
        Whether every view has a pose of its own; shared, voxels of views are the same places.
    count : int
        Of views.
    contrast : {"both", "mixture", "physics"}
        How far grey scales are bent, see `scanner_steps`.
    rotation_deg, shift_mm : float
        Largest, about and along every axis.
    clean : bool, default=True
        Whether views without faults are wanted, too.
    places : bool, default=False
        Whether it is wanted where in the brain voxels lie.
    """

    def __init__(
        self,
        people,
        *,
        contrasts="own",
        poses="own",
        count=2,
        contrast="both",
        rotation_deg=15.0,
        shift_mm=20.0,
        clean=True,
        places=False,
    ):
        self.people = people
        self.contrasts, self.poses, self.count = contrasts, poses, count
        self.clean, self.places = clean, places
        grid = people.grid
        self.pose = {"rotation_deg": rotation_deg, "shift_voxels": shift_mm / grid.spacing_mm}
        *faults, self.strip = scanner_steps(grid.spacing_mm, contrast, "cpu")
        self.faults = Chain(*faults)
        largest = max(2, min(grid.shape) // 4)
        self.holes = CoarseDropout(size=(min(3, largest), largest), probability=_HOLES)
        self.scaling = Standardised()

    def draw(self, seed):
        """All views of one head.

        Parameters
        ----------
        seed : int

        Returns
        -------
        images : ndarray of shape (count, *spatial), float32
            Standardised, with all faults.
        clean : ndarray of the same shape
            The same without bias field, blur, noise and holes; zeros where they are not wanted.
        labels : ndarray of shape (count, *spatial), uint8
            Tissues, lesions among them, where the head has labels; else zeros. With `places`, of
            shape (count, 1 + D, *spatial) and float32: behind them, `brain_places`.
        """
        draws = Draws(seed)
        person = self.people.person(draws.seed())
        poses, looks = draws.seed(), draws.seed()
        found = []
        for number in range(self.count):
            look = sample_seed(looks, number if self.contrasts == "own" else 0)
            pose = sample_seed(poses, number if self.poses == "own" else 0)
            scene = self.people.contrasted(person, look)
            size, shape = scene["image"].shape[1:], self.people.grid.shape
            geometry = pose_geometry(size, shape, **self.pose, seed=pose)
            image, clean, labels = self._scanned(resample_scene(scene, geometry), draws.seed())
            if self.places:
                places = brain_places(scene["labels"], geometry)
                labels = np.concatenate([labels[None].astype(np.float32), places])
            found.append((image, clean, labels))
        return tuple(np.stack(parts) for parts in zip(*found, strict=True))

    def _scanned(self, scene, seed):
        draws = Draws(seed)
        clean = scene["image"]
        scene, _ = self.faults.sample(scene, draws.seed())
        labels = torch.zeros(clean.shape, dtype=torch.uint8)
        if "labels" in scene:
            scene, history = self.strip.sample(scene, draws.seed())
            kept = self.strip.replay_sample({**scene, "image": torch.ones_like(clean)}, history)
            clean = clean * kept["image"]
            lesion = scene["lesion"] > 0
            labels = torch.where(lesion, torch.tensor(_LESION, dtype=torch.uint8), scene["labels"])
            labels = labels * (kept["image"] > 0)  # what is black is no skull
        clean = self.scaling.finished(clean[0].numpy()) if self.clean else np.zeros(clean[0].shape)
        image = torch.from_numpy(self.scaling.finished(scene["image"][0].numpy()))[None]
        scene, _ = self.holes.sample({"image": image}, draws.seed())
        return scene["image"][0].numpy(), clean, labels[0].numpy()


class ViewStream:
    """Batches of views for the training engine, each from the seed, the epoch and its place.

    Parameters
    ----------
    views : Views
    length : int
        Heads of an epoch.
    target : {"clean", "labels", "places", "masked", "none"}
        What losses compare with: the views without faults; labels; labels and places; of views
        whose blocks are masked, the clean views and the masks behind each other; or nothing but
        other views.
    seed : int
    """

    def __init__(self, views, *, length, target="clean", seed=0):
        self.views = views
        self.length = length
        self.target = target
        self.seed = seed
        self.epoch = 0

    def __len__(self):
        return self.length

    def at_epoch(self, epoch):
        """Go to an epoch, the first being 0."""
        self.epoch = epoch

    def at_batch(self, batch):
        """Batches are made ahead; nothing depends on which one is being learnt from."""

    def take(self, rows):
        """The views of the heads at `rows`, `Samples`."""
        images, targets = [], []
        for row in rows.tolist():
            seed = sample_seed(sample_seed(self.seed, self.epoch), row)
            image, clean, labels = self.views.draw(seed)
            if self.target == "masked":
                mask = block_mask(image.shape[1:], sample_seed(seed, 1))
                image = np.where(mask, 0, image).astype(np.float32)
                clean = np.concatenate([clean, mask[None].astype(np.float32)])
            images.append(image)
            found = {"labels": labels, "places": labels, "none": np.zeros(1, np.float32)}
            targets.append(found.get(self.target, clean))
        return Samples(
            {"image": torch.from_numpy(np.stack(images))},
            torch.from_numpy(np.stack(targets)),
            torch.ones(len(images)),
        )


def block_mask(shape, seed):
    """Which voxels are hidden: blocks of 8 along every axis, three in five of them.

    Examples
    --------
    >>> mask = block_mask((32, 32, 32), 0)
    >>> mask.shape, bool(0.4 < mask.mean() < 0.8)
    ((32, 32, 32), True)
    """
    blocks = [-(-n // _BLOCK) for n in shape]
    mask = (Draws(seed).uniforms(*blocks) < _MASKED).numpy()
    for axis, count in enumerate(shape):
        mask = mask.repeat(_BLOCK, axis).take(range(count), axis)
    return mask
