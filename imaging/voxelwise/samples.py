"""Training patches by number: each depends on the seed, the epoch and its place, on nothing else.

They are made when they are asked for, so that a training that was killed goes on with the very
patches that it would have seen.
"""

import numpy as np
import torch

from ..learning.batches import Samples
from ..randomness import Draws, sample_seed
from ..storage.tensors import as_tensor

__all__ = ["PatchStream", "RealScans", "SyntheticHeads", "cut_patch"]


class SyntheticHeads:
    """Whole heads from a chain, scaled as real scans are.

    Parameters
    ----------
    chain : Chain
        Gives ``image`` and ``target``.
    scaling : Standardised
        Or another one with its methods.
    """

    def __init__(self, chain, scaling):
        self.chain = chain
        self.scaling = scaling

    def draw(self, seed):
        """One head: image (1, *spatial) float32 and target (channels, *spatial), as arrays."""
        scene, _ = self.chain.sample({}, seed)
        return self.scaling.finished(scene["image"].numpy()), scene["target"].numpy()


class RealScans:
    """Real scans and their targets, varied by a chain, scaled afterwards.

    Parameters
    ----------
    images : list of ndarray, (*spatial) float32
        Raw intensities, each on the voxels of the network.
    targets : list of ndarray, (channels, *spatial)
    scaling : Standardised
        Or another one with its methods.
    chain : Chain or None
        For magnitudes.
    signed_chain : Chain or None
        For scans with a sign: computed tomography, and those with negative voxels. Chains get a
        scan whose lowest value is 0. None takes `chain`.
    """

    def __init__(self, images, targets, scaling, chain=None, signed_chain=None):
        self.images = images
        self.targets = targets
        self.scaling = scaling
        self.chain = chain
        self.signed_chain = chain if signed_chain is None else signed_chain

    def draw(self, seed):
        """One scan, as `SyntheticHeads.draw`."""
        draws = Draws(seed)
        number = draws.integer(0, len(self.images) - 1)
        image, target = self.images[number], self.targets[number]
        if self.chain is None:
            return self.scaling.scaled(image)[None], target
        image, signed = self.scaling.from_zero(image)
        chain = self.signed_chain if signed else self.chain
        scene = {"image": as_tensor(image[None]), "target": as_tensor(target)}
        scene, _ = chain.sample(scene, draws.seed())
        return self.scaling.finished(scene["image"][0].numpy())[None], scene["target"].numpy()


class PatchStream:
    """Patches for the training engine: see `imaging.learning.batches.Samples`.

    Parameters
    ----------
    sources : sequence of (object with `draw`, float)
        Where heads come from, and the share of each.
    length : int
        Heads of an epoch.
    batch_size : int
        Heads of a step.
    patch_size : sequence of int
    task : Task
        Says where patches are centred and what fills a target.
    patches : int
        That are cut from each head: the first through what the task seeks where there is some, the
        others anywhere in the head.
    seed : int
    """

    def __init__(self, sources, *, length, batch_size, patch_size, task, patches=1, seed=0):
        self.sources = sources
        self.length = length
        self.batch_size = batch_size
        self.patch_size = tuple(patch_size)
        self.patches = patches
        self.task = task
        self.seed = seed
        self.epoch = 0
        self.batch = 0

    def __len__(self):
        return self.length

    def at_epoch(self, epoch):
        """Go to an epoch, the first being 0."""
        self.epoch = epoch
        self.batch = 0

    def at_batch(self, batch):
        """Go to a batch of the epoch, the first being 0."""
        self.batch = batch

    @property
    def step(self):
        """Batches before the present one, since the first epoch."""
        return self.epoch * -(-self.length // self.batch_size) + self.batch

    def take(self, rows):
        """The patches of the heads at `rows`, `Samples`."""
        images, targets = [], []
        for row in rows.tolist():
            draws = Draws(sample_seed(sample_seed(self.seed, self.epoch), row))
            source = self._choose(draws.uniform())
            image, target = source.draw(draws.seed())
            for number in range(self.patches):
                centre = self._centre(draws, image[0], target if number == 0 else None)
                images.append(cut_patch(image, centre, self.patch_size))
                fill = self.task.target_fill
                targets.append(cut_patch(target, centre, self.patch_size, fill=fill))
        return Samples(
            {"image": torch.from_numpy(np.stack(images))},
            torch.from_numpy(np.stack(targets)),
            torch.ones(len(images)),
        )

    def _choose(self, share):
        total = sum(weight for _, weight in self.sources)
        for source, weight in self.sources:
            share -= weight / total
            if share < 0:
                return source
        return self.sources[-1][0]

    def _centre(self, draws, image, target):
        """A voxel that is sought, or one brighter than the average, and some way off it."""
        places = [] if target is None else self.task.centres(target)
        if len(places) == 0:
            places = np.flatnonzero(image > image.mean())
        if len(places) == 0:
            return [(n - 1) / 2 for n in image.shape]
        voxel = np.unravel_index(places[int(draws.uniform() * len(places))], image.shape)
        return [v + draws.uniform(-p, p) / 3 for v, p in zip(voxel, self.patch_size, strict=True)]


def cut_patch(array, centre, size, fill=None):
    """Cut a patch of fixed size that lies inside the array as far as it can.

    Parameters
    ----------
    array : ndarray of shape (channels, *spatial)
    centre : sequence of float
        Voxel that the patch is about; moved inwards at the edges.
    size : sequence of int
    fill : float or None
        What lies beyond an array smaller than the patch; None takes its lowest value.

    Returns
    -------
    ndarray of shape (channels, *size)

    Examples
    --------
    >>> import numpy as np
    >>> cut_patch(np.arange(5)[None], [4], [3])
    array([[2, 3, 4]])
    >>> cut_patch(np.arange(1, 3)[None], [0], [4], fill=0)
    array([[0, 1, 2, 0]])
    """
    window, padding = [slice(None)], [(0, 0)]
    for count, middle, wanted in zip(array.shape[1:], centre, size, strict=True):
        missing = max(0, wanted - count)
        first = min(max(0, round(middle - (wanted - 1) / 2)), max(0, count - wanted))
        window.append(slice(first, first + wanted))
        padding.append((missing // 2, missing - missing // 2))
    patch = array[tuple(window)]
    if not any(sum(pair) for pair in padding):
        return np.ascontiguousarray(patch)
    return np.pad(patch, padding, constant_values=patch.min() if fill is None else fill)
