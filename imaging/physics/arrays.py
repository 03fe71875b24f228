"""One notation for NumPy arrays and torch tensors, so that each equation is written once.

Arrays on the CPU are worked through in blocks that stay in the cache, by as many threads as torch
is allowed; voxels without signal are left out.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np

__all__ = ["blockwise", "is_tensor", "namespace", "number"]

# Some ten blocks of float32 are alive inside an equation: 4 MB, close to the core.
BLOCK = 98304
# Below this share of voxels with signal it pays to gather them, compute, and scatter.
SPARSE = 0.7


def is_tensor(value):
    """Whether `value` is a torch tensor (torch is not imported to find out)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def namespace(*values):
    """The library whose functions take these values: torch if one is a tensor, else numpy."""
    if any(is_tensor(value) for value in values):
        return sys.modules["torch"]
    return np


def number(value):
    """A NumPy scalar as a Python number (which does not promote float32); the rest as it is."""
    return value.item() if isinstance(value, np.generic) else value


def blockwise(expression, arrays, *, threads, block=BLOCK):
    """Evaluate a voxelwise expression block by block.

    Parameters
    ----------
    expression : callable
        Takes one 1-D piece of each array and returns one piece.
    arrays : sequence of ndarray
        Of one shape and floating dtype. The result is zero where the first of them is zero.
    threads : int

    Returns
    -------
    ndarray, shape and dtype of the first array
    """
    first = arrays[0]
    flat = [np.ascontiguousarray(array).reshape(-1) for array in arrays]
    out = np.empty(first.size, first.dtype)
    turn = count()

    def work(_):
        while (start := next(turn) * block) < first.size:
            piece = slice(start, start + block)
            inputs = [array[piece] for array in flat]
            here = inputs[0] != 0
            filled = np.count_nonzero(here)
            if filled == here.size:
                out[piece] = expression(*inputs)
            elif filled > SPARSE * here.size:
                np.multiply(expression(*inputs), here, out=out[piece])
            else:
                out[piece] = 0
                if filled:
                    out[piece][here] = expression(*[array[here] for array in inputs])

    threads = min(threads, -(-first.size // block))
    if threads < 2:
        work(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
    return out.reshape(first.shape)
