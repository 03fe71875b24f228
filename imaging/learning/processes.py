"""One training in several processes, each of which learns from its share of every batch.

``torchrun`` or ``accelerate launch`` start them; accelerate brings them together. Order, samples
and augmentation are drawn alike in all of them, then everyone takes his rows of the batch, and
gradients are averaged: the network is that of a single process, from the same batches.
"""

import multiprocessing
import os
import threading
from typing import NamedTuple

import torch
from skorch.callbacks import Callback

from ..randomness import sample_seed

__all__ = ["Averaged", "Share", "TogetherError", "find_share", "gathered", "process_device"]


class TogetherError(RuntimeError):
    """Processes that were started together cannot train one network together."""


class Share(NamedTuple):
    """Which of the processes this one is.

    Parameters
    ----------
    rank : int
        From 0.
    count : int
        Of processes.

    Examples
    --------
    >>> [Share(rank, 2).rows(5)[0].tolist() for rank in range(2)]
    [[0, 2, 4], [1, 3]]
    >>> Share(1, 2).rows(1)  # nothing is left; one row is learnt from with no weight
    (tensor([0]), 0.0)
    """

    rank: int
    count: int

    @property
    def is_first(self):
        """Whether this one writes and says what all of them found."""
        return self.rank == 0

    def rows(self, n):
        """The rows of a batch of `n` that are this process's.

        Returns
        -------
        rows : Tensor of int
        factor : float
            Of their weights, so that the mean over processes of everyone's mean over his rows is
            the mean over the batch.
        """
        rows = torch.arange(n)[self.rank :: self.count]
        if not len(rows):
            return torch.zeros(1, dtype=torch.long), 0.0
        return rows, len(rows) * self.count / n

    def mean(self, values):
        """The mean over all processes of a tensor, the same in everyone."""
        from accelerate.utils import reduce

        return reduce(values, "mean")

    def check_alike(self, seed, n_samples):
        """Whether all train the same.

        Raises
        ------
        TogetherError
            If seeds or numbers of samples differ.
        """
        from accelerate.utils import broadcast

        own = torch.tensor([seed, n_samples], dtype=torch.int64, device=process_device())
        first = broadcast(own.clone())
        if not bool(self.mean((own == first).all().double()[None]) == 1):
            raise TogetherError(
                f"the {self.count} processes train different networks (here seed {seed}, "
                f"{n_samples} samples); give all of them the same data, and an int as random_state"
            )


def find_share():
    """The share of this process, or None where it trains alone.

    Raises
    ------
    TogetherError
        If it was started with others, but accelerate is not installed, or several of its threads
        train at once.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    if multiprocessing.current_process().name != "MainProcess":
        return None  # a worker of one of them, which only inherited how that was started
    if threading.current_thread() is not threading.main_thread():
        raise TogetherError(
            "processes that train together fit one model after the other; use n_jobs=1"
        )
    state = _state()
    return Share(state.process_index, state.num_processes) if state.num_processes > 1 else None


def process_device():
    """Where this process computes: of several GPUs of a machine everyone has his own."""
    return _state().device


def _state():
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise TogetherError(
            "this process was started together with others, which takes accelerate to train one "
            'network: pip install "prognosis-mri[distributed]"; or start it by itself'
        ) from error
    return PartialState(cpu=not torch.cuda.is_available())


def gathered(values):
    """Rows of all processes, for losses that compare rows of a batch with each other.

    Gradients find their way back to whose rows they are of. Where a process trains alone, `values`.

    Parameters
    ----------
    values : Tensor of shape (n, ...)

    Raises
    ------
    TogetherError
        If the others have more rows, or less.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    from accelerate.utils import gather
    from torch.distributed.nn.functional import all_gather

    counts = gather(torch.tensor([len(values)], device=values.device)).tolist()
    if len(set(counts)) > 1:
        raise TogetherError(
            f"processes have {counts} rows of one batch; make batch_size a multiple of their number"
        )
    return torch.cat(all_gather(values.contiguous()))


class Averaged(Callback):
    """Keeps the networks of all processes the same: gradients, statistics, losses and scores.

    Comes before all other callbacks that read gradients or losses.

    Parameters
    ----------
    share : Share
    seed : int
    """

    def __init__(self, share, seed):
        self.share = share
        self.seed = seed

    def on_train_begin(self, net, **kwargs):
        from accelerate.utils import broadcast

        for values in net.module_.state_dict().values():
            values.copy_(broadcast(values.clone()))

    def on_epoch_begin(self, net, **kwargs):
        # What a network drops is drawn for everyone's own rows.
        if self.share.rank:
            epoch = len(net.history)
            torch.manual_seed(sample_seed(sample_seed(self.seed, self.share.rank), epoch))

    def on_grad_computed(self, net, named_parameters, training=False, **kwargs):
        found = [p.grad for _, p in named_parameters if p.grad is not None]
        found += [b for b in net.module_.buffers() if b.is_floating_point()]  # batch statistics
        if not found:
            return
        mean = self.share.mean(torch.cat([values.detach().ravel() for values in found]))
        start = 0
        for values in found:
            values.copy_(mean[start : start + values.numel()].view_as(values))
            start += values.numel()

    def on_epoch_end(self, net, **kwargs):
        row, device = net.history[-1], process_device()
        batches = [batch for batch in row["batches"] if "train_loss" in batch]
        found = [[batch["train_loss"], batch["train_batch_size"]] for batch in batches]
        losses, sizes = self.share.mean(torch.tensor(found, device=device)).T.double()
        net.history.record("train_loss", float((losses * sizes).sum() / sizes.sum()))
        if "valid_loss" in row:  # rounding aside, all have the same; all are to stop together
            mean = self.share.mean(torch.tensor([row["valid_loss"]], device=device))
            net.history.record("valid_loss", float(mean))
