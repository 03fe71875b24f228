"""Samples in memory and the batches drawn from them.

Images of a cohort fit into memory once they are mosaics or small volumes, so batches are slices of
tensors; no worker processes, no collation.
"""

from dataclasses import dataclass

import torch

__all__ = ["Batches", "Samples"]


@dataclass(frozen=True)
class Samples:
    """Inputs by name, targets and weights, all of the same length.

    Parameters
    ----------
    inputs : dict of str to Tensor
        Names are the arguments of the network's `forward`.
    targets : Tensor
    weights : Tensor of shape (n_samples,)
    """

    inputs: dict
    targets: torch.Tensor
    weights: torch.Tensor

    def __len__(self):
        return len(self.weights)

    def take(self, rows):
        """The samples at `rows` (a tensor of indices)."""
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        return Samples(inputs, self.targets[rows], self.weights[rows])


class Batches:
    """Iterate over samples: in a new random order each time when training, else in theirs.

    Parameters
    ----------
    samples : Samples
    batch_size : int
    generator : torch.Generator, default=None
        Source of the order; None keeps the order.
    augment : callable, default=None
        Takes (image batch, generator) and returns the augmented image batch.
    device : torch.device, default=None
    """

    def __init__(self, samples, batch_size, *, generator=None, augment=None, device=None):
        self.samples = samples
        self.batch_size = batch_size
        self.generator = generator
        self.augment = augment
        self.device = device

    def __iter__(self):
        count = len(self.samples)
        order = torch.arange(count)
        if self.generator is not None and count > self.batch_size:
            order = torch.randperm(count, generator=self.generator)
        for rows in _even_split(order, self.batch_size):
            batch = self.samples.take(rows)
            inputs = {name: values.to(self.device) for name, values in batch.inputs.items()}
            if self.augment is not None and "image" in inputs:
                inputs["image"] = self.augment(inputs["image"], self.generator)
            inputs["weight"] = batch.weights.to(self.device)
            yield inputs, batch.targets.to(self.device)


def _even_split(order, batch_size):
    """Split into batches that differ by at most one sample, so that no step rests on a remnant."""
    count = max(1, -(-len(order) // batch_size))
    return torch.tensor_split(order, count)
