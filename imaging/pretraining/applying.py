"""What a pretrained encoder makes of one scan: a vector, or features at every voxel."""

import copy

import numpy as np
import torch
from torch.nn import functional

from ..learning.device import private_torch_state, resolve_device
from ..nets.pretraining import ContractingEncoder
from ..storage.tensors import as_tensor
from ..voxelwise.geometry import prepare
from ..voxelwise.scaling import Standardised
from ..voxelwise.windows import head_box

__all__ = ["feature_map", "framed", "summary"]

_LINEAR = {2: "bilinear", 3: "trilinear"}


def summary(model, scan):
    """The vector of one scan, shape (n_features,)."""
    prepared = prepare(scan, model.spacing_mm, model.spatial_dims)
    array = Standardised().scaled(prepared.array)
    image = as_tensor(framed(array, frame_of(model, array)))[None, None]
    network, device = _on_device(model)
    with private_torch_state(n_threads=model.n_threads), torch.inference_mode():
        return network.encoder(image.to(device))[0].float().cpu().numpy()


def feature_map(model, scan):
    """Features of unit length on the voxels of one scan."""
    from monai.inferers import sliding_window_inference

    prepared = prepare(scan, model.spacing_mm, model.spatial_dims)
    array = Standardised().scaled(prepared.array)
    image = as_tensor(np.ascontiguousarray(array))[None, None]
    network, device = _on_device(model)

    def features(windows):
        levels = network.encoder.levels(windows)
        levels = network.dense(levels) if network.dense is not None else [levels[model.map_level]]
        shape = windows.shape[2:]
        mode = _LINEAR[model.spatial_dims]
        return torch.cat(
            [
                functional.interpolate(functional.normalize(maps, dim=1), shape, mode=mode)
                for maps in levels
            ],
            dim=1,
        )

    with private_torch_state(n_threads=model.n_threads), torch.inference_mode():
        maps = sliding_window_inference(
            image.to(device),
            model.patch_size_,
            1,
            features,
            overlap=0.5,
            mode="gaussian",
            padding_mode="constant",
            cval=float(image.min()),
        )[0]
    values = np.stack([prepared.back(one) for one in maps.cpu().numpy()], axis=-1)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    values /= np.maximum(length, 1e-12)
    return prepared.restore(values)


def frame_of(model, array):
    """The shape of the window through which a whole scan is seen."""
    encoder, shape = model.network_.encoder, model.patch_size_
    if not isinstance(encoder, ContractingEncoder) or encoder.cells > 1:
        return shape
    lengths = [one.stop - one.start for one in head_box(array)]
    return tuple(
        max(least, -(-length // encoder.divisor) * encoder.divisor)
        for least, length in zip(shape, lengths, strict=True)
    )


def framed(array, shape):
    """A window of fixed shape about the middle of the head; beyond the scan its lowest value.

    Parameters
    ----------
    array : ndarray of shape (*spatial)
    shape : sequence of int

    Returns
    -------
    ndarray of shape `shape`

    Examples
    --------
    >>> scan = np.zeros((20, 20), np.float32)
    >>> scan[2:12, 10:20] = 1
    >>> (rows, columns) = np.nonzero(framed(scan, (16, 16)))
    >>> [int(n) for n in (rows.min(), rows.max(), columns.min(), columns.max())]
    [3, 12, 3, 12]
    """
    frame = np.full(shape, array.min(), array.dtype)
    taken, place = [], []
    for box, count, size in zip(head_box(array, margin=0), array.shape, shape, strict=True):
        first = (box.start + box.stop - size) // 2
        low, high = max(0, first), min(count, first + size)
        taken.append(slice(low, high))
        place.append(slice(low - first, high - first))
    frame[tuple(place)] = array[tuple(taken)]
    return frame


def _on_device(model):
    device = resolve_device(model.device)
    network = model.network_
    return (network if device.type == "cpu" else copy.deepcopy(network).to(device)), device
