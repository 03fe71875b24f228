"""Fuse an equation into one kernel with torch.compile, once for all protocols.

Numbers of the protocol enter as scalars that the kernel reads, so that another timing does not
compile again.
"""

import functools

import numpy as np

from ..storage.tensors import as_tensor
from .arrays import is_tensor
from .inversion_signals import mp2rage_constants, mp2rage_signal, mprage_constants, mprage_signal

__all__ = ["COMPILED", "run_compiled"]

COMPILED = {
    "mprage": (mprage_constants, mprage_signal),
    "mp2rage": (mp2rage_constants, mp2rage_signal),
}


def run_compiled(sequence, inputs, parameters):
    """Evaluate a sequence in one fused kernel.

    Parameters
    ----------
    sequence : {"mprage", "mp2rage"}
    inputs : list of arrays or tensors
        The maps that the sequence takes.
    parameters : dict
        Of the sequence; fields are arrays or tensors of the shape of the maps.

    Returns
    -------
    array or tensor, as the first map

    Raises
    ------
    RuntimeError
        If there is no C++ compiler.
    """
    import torch

    constants, _ = COMPILED[sequence]
    parameters = {name: _tensor(value) for name, value in parameters.items()}
    signed = {"signed": parameters.pop("signed")} if "signed" in parameters else {}
    if sequence == "mp2rage":
        parameters.pop("receive")  # cancels in the ratio
    numbers = {name: _scalars(value) for name, value in constants(**parameters).items()}
    tensors = [_tensor(value) for value in inputs]
    try:
        image = _kernel(sequence)(*tensors, **numbers, **signed)
    except torch._inductor.exc.InductorError as error:
        if "compiler" not in str(error).lower():
            raise
        raise RuntimeError(
            "compiled=True needs a C++ compiler and found none; install g++ or clang, or leave "
            "compiled out"
        ) from error
    return image if is_tensor(inputs[0]) else image.numpy()


@functools.cache
def _kernel(sequence):
    import torch

    _, signal = COMPILED[sequence]
    return torch.compile(functools.partial(signal, torch), dynamic=True)


def _tensor(value):
    return as_tensor(value) if isinstance(value, np.ndarray) else value


def _scalars(value):
    """Floats as tensors without dimensions, which keep the precision of the maps; ints as is."""
    import torch

    if isinstance(value, tuple):
        return tuple(map(_scalars, value))
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, float) else value
