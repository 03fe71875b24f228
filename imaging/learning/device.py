"""Where and how arithmetic runs: device, precision, threads, and a random state of one's own."""

import ctypes
import functools
import threading
from contextlib import contextmanager

import torch

_TRAINING = threading.RLock()

__all__ = [
    "autocast",
    "generators",
    "give_back_memory",
    "private_torch_state",
    "resolve_device",
    "resolve_precision",
]

PRECISIONS = ("auto", "float32", "bf16")


def resolve_device(device="auto"):
    """The torch device for "auto" (a GPU when there is one), "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    ValueError
        If the device is unknown or not present.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f'device must be "auto", "cpu", "cuda" or "cuda:N", got {device!r}'
        ) from error
    here = {
        "cpu": lambda: 1,
        "cuda": torch.cuda.device_count,
        "mps": torch.backends.mps.is_available,
        "xpu": torch.xpu.device_count,
    }.get(resolved.type, lambda: 0)()
    if (resolved.index or 0) >= here:
        raise ValueError(f'device {device!r} is not present on this machine; use device="auto"')
    return resolved


def resolve_precision(precision, device, network=None):
    """Whether to compute in bfloat16 where it is safe ("bf16") or in float32 throughout.

    "auto" takes bfloat16 on GPUs that have it and on processors with bfloat16 instructions, where
    it was measured to be about twice as fast as float32 (`benchmarks/training_speed.py`). On
    processors, networks with 3-D convolutions stay in float32: PyTorch's bfloat16 kernels give
    wrong values there where a strided convolution leaves one voxel along the last axis (PyTorch
    issue 169688, open for version 2.13), as deep encoders of small volumes do.

    Parameters
    ----------
    precision : {"auto", "float32", "bf16"}
    device : torch.device
    network : torch.nn.Module, default=None
        What is going to be computed.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        If the precision is unknown, or "bf16" is asked for where it gives wrong values.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be among {list(PRECISIONS)}, got {precision!r}")
    if precision == "float32":
        return False
    volumes = network is not None and any(
        isinstance(module, torch.nn.Conv3d) for module in network.modules()
    )
    if precision == "bf16":
        if volumes and device.type == "cpu":
            raise ValueError(
                'precision="bf16" gives wrong values in 3-D convolutions on a processor (PyTorch '
                'issue 169688); use precision="auto", which takes float32 there'
            )
        return True
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if volumes:
        return False
    return device.type == "cpu" and any(
        getattr(torch.cpu, name, bool)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def generators(device, seed):
    """Generators of random numbers for one training: the order of samples, and what is augmented.

    Samples are ordered where they lie, on the CPU; images are augmented where the network is.

    Parameters
    ----------
    device : torch.device
    seed : int

    Returns
    -------
    order : torch.Generator
        On the CPU.
    draws : torch.Generator
        On `device`; on the CPU the same one.

    Examples
    --------
    >>> order, draws = generators(torch.device("cpu"), seed=3)
    >>> order is draws, order.initial_seed()
    (True, 3)
    """
    order = torch.Generator("cpu").manual_seed(seed)
    if device.type == "cpu":
        return order, order
    return order, torch.Generator(device).manual_seed(seed)


def autocast(device, enabled):
    """torch.autocast to bfloat16, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


@contextmanager
def private_torch_state(seed=None, n_threads=None):
    """Run with torch's random state and thread count set, and give both back unchanged.

    A fixed thread count is what makes results independent of how many jobs run beside this one:
    sums are then always split in the same way. One training at a time per process, since torch's
    random state is one per process.

    Parameters
    ----------
    seed : int, default=None
        None leaves the random state alone.
    n_threads : int, default=None
        CPU threads; None leaves them alone.
    """
    with _TRAINING, torch.random.fork_rng(enabled=seed is not None):
        threads_before = torch.get_num_threads()
        if seed is not None:
            torch.manual_seed(seed)
        if n_threads is not None and n_threads != threads_before:
            torch.set_num_threads(n_threads)
        try:
            # Whatever is not named here, `flags` sets to a default of its own, "off" among them.
            with torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=True
            ):
                yield
        finally:
            if torch.get_num_threads() != threads_before:
                torch.set_num_threads(threads_before)


def give_back_memory():
    """Give memory that was freed back to the system, where the C library is glibc.

    Its heap does not take up again the holes that tensors of some megabytes leave (bug 14581), so a
    process would grow with every batch.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(ctypes.c_size_t(0))


@functools.cache
def _malloc_trim():
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
