"""Look up an image at positions between its voxels: nearest for labels, linear for the rest."""

import torch
from torch.nn.functional import grid_sample

from .geometry import positions
from .slabs import over_slabs, plain, whole

__all__ = ["resample_scene"]


def resample_scene(scene, geometry):
    """Move every tensor of a scene by one geometry.

    Whole numbers are labels: the nearest voxel is taken, so hard labels stay hard. Other tensors
    are interpolated linearly; ``tissues`` are made to sum to 1 again, what comes from outside being
    background (their first channel). Everything else is 0 outside.

    Parameters
    ----------
    scene : dict of tensor, each of shape (channels, *spatial)
    geometry : dict
        See `geometry.positions`.

    Returns
    -------
    dict of tensor, each of shape (channels, *geometry["shape"])
    """
    first = next(iter(scene.values()))
    shape, size, device = tuple(geometry["shape"]), first.shape[1:], first.device
    for name, tensor in scene.items():
        if tensor.shape[1:] != size:
            raise ValueError(
                f"{name!r} has the spatial shape {tuple(tensor.shape[1:])} and another entry "
                f"{tuple(size)}; image and target can only move together on one grid"
            )
    at = positions(geometry, device)
    moved = {
        n: torch.empty((len(t), *shape), dtype=t.dtype, device=device) for n, t in scene.items()
    }
    hard = [name for name, tensor in scene.items() if not tensor.is_floating_point()]
    soft = [name for name, tensor in scene.items() if tensor.is_floating_point()]

    def work(rows):
        where = at(rows)
        if soft:
            grid = _unit_grid(where, size)
            for name in soft:
                moved[name][:, rows] = _linear(scene[name], grid)
            if "tissues" in soft:
                _normalise(moved["tissues"][:, rows])
        if hard:
            index, inside = _nearest(where, size)
            for name in hard:
                for channel, out in zip(scene[name], moved[name], strict=True):
                    values = plain(channel.reshape(-1)).take(index) * inside
                    plain(out)[rows] = values.reshape(out[rows].shape)

    over_slabs(work, shape, device)
    return moved


def _unit_grid(where, size):
    """Positions in [-1, 1], last axis first, as `grid_sample` wants them."""
    scaled = [torch.as_tensor(w * (2 / n) + (1 / n - 1)) for w, n in zip(where, size, strict=True)]
    return torch.stack(scaled[::-1], -1)[None]


def _linear(tensor, grid):
    return grid_sample(tensor[None], grid.to(tensor.dtype), align_corners=False)[0]


def _normalise(tissues):
    tissues[0] += 1 - tissues.sum(0)
    tissues.clamp_(min=0)
    tissues /= tissues.sum(0)


def _nearest(where, size):
    """Flat index of the nearest voxel, and whether it exists."""
    index, inside = 0, True
    for place, n in zip(where, size, strict=True):
        nearest = place.reshape(-1).round()
        held = nearest.clip(0, n - 1)
        inside = (held == nearest) & inside
        index = index * n + whole(held)
    return index, inside
