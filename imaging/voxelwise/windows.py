"""Results of a trained network: windows, mirrored copies, draws of dropout."""

import copy
import math
from contextlib import contextmanager
from itertools import combinations

import numpy as np
import torch

from ..errors import ImageError
from ..learning.device import private_torch_state
from ..storage.tensors import as_tensor
from .settings import per_axis
from .training import Outputs

__all__ = ["apply_windows", "dropout_layers", "head_box", "mirrored_axes"]

_WINDOWS_AT_ONCE = 2
_MOST_WINDOWS = 50_000


def apply_windows(
    network,
    array,
    *,
    patch_size,
    task,
    overlap=0.5,
    axes=(),
    draws=0,
    device="cpu",
    n_threads=None,
    seed=0,
):
    """What a network says of every voxel.

    Parameters
    ----------
    network : torch.nn.Module
    array : ndarray of shape (*spatial)
        Scaled as in training.
    patch_size : sequence of int
        Of the windows, which overlap by `overlap` and are averaged with Gaussian weights.
    task : Task
        Says which outputs are kept, what they mean, and what is outside the head.
    overlap : float
    axes : sequence of int
        Also look at the copies mirrored along every set of these axes (8 copies for 3 axes) and
        average the results.
    draws : int
        Repeat with dropout at work, so many times; 0 switches it off.
    device : torch.device
    n_threads : int or None
    seed : int
        Of dropout.

    Returns
    -------
    mean : ndarray of shape (n_kept, *spatial), float32
    variance : ndarray of the same shape, or None without `draws`

    Raises
    ------
    ImageError
        If there are too many windows, or a value is not finite.
    """
    from monai.inferers import sliding_window_inference

    keep = list(task.kept)
    device = torch.device(device)
    network = network if device.type == "cpu" else copy.deepcopy(network).to(device)
    on_device = Outputs(network).eval()

    def results(windows):
        return task.activated(on_device(windows).float())[:, keep]

    # Windows of nothing but air were never trained on: normalised, their noise looks like anything.
    everywhere = tuple(slice(0, n) for n in array.shape)
    box = everywhere if task.outside is None else head_box(array)
    _check_windows(array[box].shape, patch_size, overlap)
    image = as_tensor(np.ascontiguousarray(array[box]))[None, None].to(device)
    flips = [
        tuple(2 + a for a in chosen)
        for n in range(len(axes) + 1)
        for chosen in combinations(axes, n)
    ]
    total, squares, count = 0.0, 0.0, 0
    with (
        private_torch_state(seed if draws else None, n_threads),
        torch.inference_mode(),
        _dropping(on_device, draws > 0),
    ):
        for _ in range(max(1, draws)):
            for flip in flips:
                found = sliding_window_inference(
                    image.flip(flip),
                    tuple(patch_size),
                    _WINDOWS_AT_ONCE,
                    results,
                    overlap=overlap,
                    mode="gaussian",
                    cval=float(image.min()),
                ).flip(flip)[0]
                total = total + found
                if draws:
                    squares = squares + found.square()
                count += 1
    mean = total / count
    if not bool(torch.isfinite(mean).all()):
        raise ImageError(
            "the network gives values that are not finite for this scan; its weights or the "
            "intensities of the scan are damaged: look at both"
        )
    whole = np.zeros((len(keep), *array.shape), np.float32)
    if task.outside is not None:
        for values, number in zip(whole, keep, strict=True):
            values[:] = task.outside[number]
    whole[(slice(None), *box)] = mean.cpu().numpy()
    if not draws:
        return whole, None
    variance = np.zeros_like(whole)
    variance[(slice(None), *box)] = (squares / count - mean.square()).clamp(min=0).cpu().numpy()
    return whole, variance


def mirrored_axes(test_time_mirroring, mirror, spatial_dims):
    """Axes of the mirrored copies: True means those that training mirrored, too."""
    if isinstance(test_time_mirroring, (bool, np.bool_)):
        if not test_time_mirroring:
            return ()
        chances = per_axis("mirror", mirror, spatial_dims)
        return tuple(axis for axis, chance in enumerate(chances) if chance > 0)
    return tuple(test_time_mirroring)


def dropout_layers(network):
    """Those layers of a network that drop features."""
    kinds = (torch.nn.Dropout, torch.nn.Dropout2d, torch.nn.Dropout3d)
    return [m for m in network.modules() if isinstance(m, kinds) and m.p > 0]


def head_box(array, margin=3):
    """The part of a scan that holds the head: what is brighter than the mean, and a rim.

    Parameters
    ----------
    array : ndarray of shape (*spatial)
    margin : int
        Voxels.

    Returns
    -------
    tuple of slice
        Everything where nothing is brighter than the mean.

    Examples
    --------
    >>> import numpy as np
    >>> scan = np.zeros((20, 20))
    >>> scan[8:12, 5:15] = 1
    >>> head_box(scan)
    (slice(5, 15, None), slice(2, 18, None))
    """
    bright = array > array.mean()
    box = []
    for axis, count in enumerate(array.shape):
        share = bright.mean(tuple(a for a in range(array.ndim) if a != axis))
        # Single bright voxels of noise do not make a head.
        filled = np.flatnonzero(share > min(0.005, share.max() / 2))
        if len(filled) == 0:
            box.append(slice(0, count))
            continue
        low, high = int(filled[0]) - margin, int(filled[-1]) + 1 + margin
        box.append(slice(max(0, low), min(count, high)))
    return tuple(box)


def _check_windows(shape, patch_size, overlap):
    """Refuse scans that would take days, before the first window."""
    steps = [max(1, int(size * (1 - overlap))) for size in patch_size]
    count = math.prod(
        1 + max(0, math.ceil((n - size) / step))
        for n, size, step in zip(shape, patch_size, steps, strict=True)
    )
    if count > _MOST_WINDOWS:
        voxels, size = (" x ".join(map(str, row)) for row in (shape, patch_size))
        raise ImageError(
            f"{voxels} voxels need {count:,} windows of {size}, more than {_MOST_WINDOWS:,}; give "
            "a larger patch_size, less overlap or a larger spacing_mm"
        )


@contextmanager
def _dropping(network, on):
    layers = dropout_layers(network) if on else []
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()
