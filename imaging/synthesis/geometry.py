"""Where each voxel of an output comes from: an affine about the centre, after an elastic field.

Positions are voxel indices. A geometry is a dictionary of plain values; see `Deformation`.
"""

import math

import torch

from ..randomness import Draws
from .separable import along_axes, cubic_weights, spline_basis, spline_weights
from .slabs import plain

__all__ = ["affine_matrix", "displacement", "output_positions", "positions", "pulled_positions"]


def affine_matrix(rotation_deg, shear, zoom):
    """Rotation, shear and zoom as one matrix, from output to input.

    Parameters
    ----------
    rotation_deg : sequence of 1 (2-D) or 3 (3-D) floats
        Degrees; in 3-D about the first, second and third axis, in this order.
    shear : sequence of 1 or 3 floats
        Share by which axis pairs (01, 02, 12) lean.
    zoom : sequence of 2 or 3 floats
        Above 1 makes the anatomy larger.

    Returns
    -------
    tensor of shape (D, D), float64

    Examples
    --------
    >>> affine_matrix([90], [0], [1, 1]).round().tolist()
    [[0.0, -1.0], [1.0, 0.0]]
    """
    dims = len(zoom)
    matrix = torch.eye(dims, dtype=torch.float64)
    planes = [(0, 1)] if dims == 2 else [(1, 2), (2, 0), (0, 1)]
    for (a, b), angle in zip(planes, rotation_deg, strict=True):
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turn = torch.eye(dims, dtype=torch.float64)
        turn[a, a] = turn[b, b] = cosine
        turn[a, b], turn[b, a] = -sine, sine
        matrix = turn @ matrix
    lean = torch.eye(dims, dtype=torch.float64)
    pairs = [(0, 1)] if dims == 2 else [(0, 1), (0, 2), (1, 2)]
    for (a, b), share in zip(pairs, shear, strict=True):
        lean[a, b] = share
    return matrix @ lean @ torch.diag(1 / torch.tensor(zoom, dtype=torch.float64))


def displacement(elastic, shape, device):
    """Control points and spline bases of an elastic field, or None where there is none.

    Control points are uniform within the amplitude, which stays below the spacing / 2.48: such a
    cubic B-spline field never folds (Choi and Lee, Graphical Models 62:411, 2000).
    """
    if elastic is None or elastic["amplitude"] == 0:
        return None
    dims, points = len(shape), elastic["points"]
    controls = 2 * Draws(elastic["seed"]).uniforms(dims, *points) - 1
    spacing = [(n - 1) / (p - 3) for n, p in zip(shape, points, strict=True)]
    bound = torch.tensor([min(elastic["amplitude"], s / 2.48) for s in spacing])
    controls = controls * bound.reshape(-1, *[1] * dims)
    bases = [spline_basis(n, p).to(device) for n, p in zip(shape, points, strict=True)]
    return controls.to(device), bases


def positions(geometry, device):
    """A function from rows (a slice of the first axis) to where their voxels come from.

    Parameters
    ----------
    geometry : dict
        With ``shape`` (of the output), ``matrix``, ``centre`` (input position of the middle of the
        output) and ``elastic``.
    device : torch.device

    Returns
    -------
    callable
        Takes a slice and gives D float32 arrays of shape (rows, *shape[1:]); off the CPU, tensors.
    """
    shape = geometry["shape"]
    dims = len(shape)
    # The product of the output index and the matrix, in float64 where it is small.
    matrix = torch.tensor(geometry["matrix"], dtype=torch.float64)
    middle = torch.tensor([(n - 1) / 2 for n in shape], dtype=torch.float64)
    origin = torch.tensor(geometry["centre"], dtype=torch.float64) - matrix @ middle
    along = [
        [(matrix[c, d] * torch.arange(shape[d])).float().to(device) for d in range(dims)]
        for c in range(dims)
    ]
    plane = []
    for c in range(dims):
        total = origin[c].float().to(device)
        for d in range(1, dims):
            total = total + along[c][d].reshape(-1, *[1] * (dims - 1 - d))
        plane.append(plain(total.expand(shape[1:])))
    lines = [plain(along[c][0]) for c in range(dims)]
    field = displacement(geometry["elastic"], shape, device)
    if field is not None:
        controls, bases = field
        # The matrix turns displacements of the output grid into those of the input.
        controls = torch.tensordot(matrix.to(controls), controls, dims=1)
        controls = plain(along_axes(controls, [None, *bases[1:]]))
        weights, first = spline_weights(shape[0], geometry["elastic"]["points"][0])
        weights, first = weights.tolist(), first.tolist()

    def at(rows):
        where = []
        for c in range(dims):
            place = lines[c][rows].reshape(-1, *[1] * (dims - 1)) + plane[c]
            if field is not None:
                # Row by row, from the four control planes around it.
                for row, line in zip(range(rows.start, rows.stop), place, strict=True):
                    for k, weight in enumerate(weights[row]):
                        line += weight * controls[c, first[row] + k]
            where.append(place)
        return where

    return at


def pulled_positions(geometry, points):
    """Input positions of arbitrary output positions.

    Parameters
    ----------
    geometry : dict
    points : tensor of shape (n, D), float64

    Returns
    -------
    tensor of shape (n, D), float64
    """
    shape = geometry["shape"]
    moved = points + _elastic_at(geometry, points)
    middle = torch.tensor([(n - 1) / 2 for n in shape], dtype=torch.float64)
    matrix = torch.tensor(geometry["matrix"], dtype=torch.float64)
    return (moved - middle) @ matrix.T + torch.tensor(geometry["centre"], dtype=torch.float64)


def output_positions(geometry, points, *, rounds=30):
    """Output positions of arbitrary input positions: the inverse of `pulled_positions`.

    The elastic field is undone by fixed-point iteration, which converges because it never folds;
    positions beyond the edge of the output move as the edge does.
    """
    shape = geometry["shape"]
    middle = torch.tensor([(n - 1) / 2 for n in shape], dtype=torch.float64)
    matrix = torch.tensor(geometry["matrix"], dtype=torch.float64)
    centre = torch.tensor(geometry["centre"], dtype=torch.float64)
    target = (points - centre) @ torch.linalg.inv(matrix).T + middle
    found = target.clone()
    for _ in range(rounds):
        found = target - _elastic_at(geometry, found)
    return found


def _elastic_at(geometry, points):
    """Displacement at arbitrary output positions, shape (n, D), from the splines themselves."""
    shape, elastic = geometry["shape"], geometry["elastic"]
    field = displacement(elastic, shape, "cpu")
    if field is None:
        return torch.zeros_like(points)
    controls = field[0].double()
    total = torch.zeros(len(points), len(shape), dtype=torch.float64)
    weights, columns = [], []
    for d, (n, p) in enumerate(zip(shape, elastic["points"], strict=True)):
        place = points[:, d].clamp(0, n - 1) * ((p - 3) / max(n - 1, 1))
        weight, column = cubic_weights(place, p)
        weights.append(weight)
        columns.append(column[:, None] + torch.arange(4))
    for corner in torch.cartesian_prod(*[torch.arange(4)] * len(shape)).tolist():
        weight = torch.ones(len(points), dtype=torch.float64)
        index = []
        for d, k in enumerate(corner):
            weight = weight * weights[d][:, k]
            index.append(columns[d][:, k])
        total += weight[:, None] * controls[(slice(None), *index)].T
    return total
