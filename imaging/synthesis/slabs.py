"""Work on a volume slab by slab, so that intermediate results stay in the cache of one core.

A slab is smaller than the size from which torch splits one operation among its threads; here whole
slabs are shared among them instead. On a GPU the volume is one slab.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from math import prod

import torch

__all__ = ["over_slabs", "plain", "voxelwise"]

# torch runs operations of fewer elements than 32768 in the calling thread.
SLAB = 32767
# Up to here a few operations on each voxel take less time than waking and awaiting threads.
_LIGHT = 2**22


def over_slabs(work, shape, device, *, threads=None):
    """Call `work(rows)` for consecutive slices of the first axis of `shape`, without gradients."""
    plane = max(1, prod(shape[1:]))
    step = max(1, SLAB // plane)
    turn = count()

    def until_done(_):
        with torch.no_grad():
            while (start := next(turn) * step) < shape[0]:
                work(slice(start, min(start + step, shape[0])))

    if torch.device(device).type != "cpu":
        step = shape[0]
    threads = min(threads or torch.get_num_threads(), -(-shape[0] // step))
    if threads < 2 or step * plane > SLAB:
        until_done(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(until_done, range(threads)))


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

    threads = 1 if out.numel() < _LIGHT else None
    over_slabs(work, (out.numel(),), out.device, threads=threads)
    return out


def plain(tensor):
    """A tensor on the CPU as an array of the same memory, else itself.

    For what both can do by the same expression: NumPy does small work without waking threads.
    """
    return tensor.numpy() if tensor.device.type == "cpu" else tensor
