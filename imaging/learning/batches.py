"""Samples and the batches drawn from them.

Images of a cohort are rows of one array or of files, so a batch is a slice; no worker processes, no
collation. Samples that are made as they are needed are made in a second thread, while the network
learns from those before.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import torch

__all__ = ["Batches", "Samples"]

_AHEAD = 3  # batches that are made before they are asked for


@dataclass(frozen=True)
class Samples:
    """Inputs by name, targets and weights, all of the same length.

    Parameters
    ----------
    inputs : dict of str to Tensor or ImageRows
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
        Or anything with a length and `take`. Where it has `at_batch`, it makes samples as they are
        needed: `take` is called ahead, by a thread of its own, and `at_batch` with the number of
        a batch, from 0, when that batch is handed over.
    batch_size : int
    order : torch.Generator, default=None
        Draws the order, on the CPU, where the samples are; None keeps the order.
    draws : torch.Generator, default=None
        Draws the random numbers of the augmentation, on `device`; may be `order` itself.
    augment : callable, default=None
        Takes (image batch, generator) and returns the augmented image batch.
    device : torch.device, default=None
    share : Share, default=None
        The rows of every batch that are this process's; None takes all.
    """

    def __init__(
        self,
        samples,
        batch_size,
        *,
        order=None,
        draws=None,
        augment=None,
        device=None,
        share=None,
    ):
        self.samples = samples
        self.batch_size = batch_size
        self.order = order
        self.draws = draws
        self.augment = augment
        self.device = device
        self.share = share

    def __iter__(self):
        count = len(self.samples)
        rows = torch.arange(count)
        if self.order is not None and count > self.batch_size:
            rows = torch.randperm(count, generator=self.order)
        splits = _even_split(rows, self.batch_size)
        on_demand = hasattr(self.samples, "at_batch")
        shares = self._shares(splits)
        if on_demand and self.share is not None:  # a sample does not hang on those beside it
            splits = [rows[own] for rows, (own, _) in zip(splits, shares, strict=True)]
        made = self._made_ahead(splits) if on_demand else map(self.samples.take, splits)
        for batch, (own, factor) in zip(made, shares, strict=True):
            inputs = {name: values.to(self.device) for name, values in batch.inputs.items()}
            targets = batch.targets.to(self.device)
            if self.augment is not None and "image" in inputs:
                inputs["image"] = self.augment(inputs["image"], self.draws)
            inputs["weight"] = batch.weights.to(self.device)
            if self.share is not None:
                if not on_demand:
                    inputs = {name: values[own] for name, values in inputs.items()}
                    targets = targets[own]
                inputs["weight"] = inputs["weight"] * factor
            yield inputs, targets

    def _shares(self, splits):
        if self.share is None:
            return [(None, 1.0)] * len(splits)
        return [self.share.rows(len(rows)) for rows in splits]

    def _made_ahead(self, splits):
        maker = ThreadPoolExecutor(1)
        rest, waiting = iter(splits), deque()
        try:
            for number in range(len(splits)):
                missing = _AHEAD + 1 - len(waiting)
                waiting += [maker.submit(self.samples.take, r) for r in islice(rest, missing)]
                batch = waiting.popleft().result()
                self.samples.at_batch(number)
                yield batch
        finally:
            maker.shutdown(cancel_futures=True)


def _even_split(rows, batch_size):
    """Split into batches that differ by at most one sample, so that no step rests on a remnant."""
    count = max(1, -(-len(rows) // batch_size))
    return torch.tensor_split(rows, count)
