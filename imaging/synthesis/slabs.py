"""Work on a volume slab by slab, so that intermediate results stay in the cache.

A slab is smaller than the size from which torch splits an operation among threads: waking and
awaiting them takes longer than the work, and samples are better made side by side by the workers of
a DataLoader. On a GPU the volume is one slab.
"""

from math import prod

import numpy as np
import torch

__all__ = ["over_slabs", "plain", "voxelwise", "whole"]

# torch runs operations of fewer elements than 32768 in the calling thread.
SLAB = 32767


def over_slabs(work, shape, device):
    """Call `work(rows)` for consecutive slices of the first axis of `shape`, without gradients."""
    step = max(1, SLAB // max(1, prod(shape[1:])))
    if torch.device(device).type != "cpu":
        step = shape[0]
    with torch.no_grad():
        for start in range(0, shape[0], step):
            work(slice(start, min(start + step, shape[0])))


def voxelwise(function, *tensors, out=None):
    """Apply a function of single voxels slab by slab.

    Parameters
    ----------
    function : callable
        Takes a 1-D piece of every tensor and returns a piece: arrays on the CPU, where NumPy works
        without waking threads, else tensors; so it is made of what both understand.
    *tensors : tensor
        Of one shape.
    out : tensor or None
        Contiguous; may be one of `tensors`. None makes one like the first.

    Returns
    -------
    tensor
    """
    if out is None:
        out = torch.empty_like(tensors[0], memory_format=torch.contiguous_format)
    flat = [plain(tensor.reshape(-1)) for tensor in tensors]
    result = plain(out.view(-1))

    def work(piece):
        result[piece] = function(*[tensor[piece] for tensor in flat])

    over_slabs(work, (out.numel(),), out.device)
    return out


def plain(tensor):
    """A tensor on the CPU as an array of the same memory, else itself.

    For what both can do by the same expression: NumPy does small work without waking threads.
    """
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def whole(values):
    """Numbers without fraction, or labels, in the type that both libraries take as an index."""
    return values.astype(np.int64) if isinstance(values, np.ndarray) else values.long()
