"""What a head measures, whatever the contrast of its scan and the way it was held.

All is read off template coordinates and tissues. Where a head was and how it was turned falls out:
lengths are those of the affine without its turn, and what bends is said in the template's own axes.
"""

import numpy as np

from .located import COORDINATE_TISSUES
from .robust import biweight, fit_affine

__all__ = ["N_MEASURES", "head_measures"]

_CENTRE = np.array([0.0, -18.0, 8.0])  # of the template's brain, mm
_REACH = np.array([70.0, 88.0, 70.0])  # from there to its surface
_CELLS = (3, 4, 3)  # into which the template is divided
_KINDS = 4  # brain, grey, white, fluid
_TERMS = 16  # quadratic and cubic ones
_RIDGE = 0.02
_MOST_POINTS = 6000  # that are fitted to

N_MEASURES = 6 + 3 * _TERMS + _KINDS + _KINDS * int(np.prod(_CELLS))


def head_measures(maps, to_mm):
    """Lengths, bends, volumes and shares of one head.

    Parameters
    ----------
    maps : ndarray of shape ``(10, *spatial)``
        As `CoordinateModel.maps` gives them.
    to_mm : ndarray of shape (4, 4)
        From voxels of `maps` to millimetres of the scan.

    Returns
    -------
    ndarray of shape (N_MEASURES,), float32
        Logarithmic strain of the affine from scan to template (6 numbers); terms of second and
        third order of what the affine leaves over, millimetres (48); logarithms of the volumes of
        brain, grey matter, white matter and fluid (4); and square roots of the share of each that
        lies in each of 36 parts of the template (144).

    Raises
    ------
    ValueError
        If there is next to no brain.

    Examples
    --------
    A head that is the template itself has no strain and does not bend:

    >>> from imaging.synthesis import LabelMapSource
    >>> from imaging.registration import CoordinateTarget, Located
    >>> scene, _ = Located(LabelMapSource(spacing_mm=8)).sample({}, 0)
    >>> maps = CoordinateTarget().sample(scene, 0)[0]["target"].numpy()
    >>> values = head_measures(maps, np.diag([8.0, 8, 8, 1]))
    >>> values.shape, bool(abs(values[:54]).max() < 1e-3)
    ((202,), True)
    """
    count = len(COORDINATE_TISSUES)
    inside = maps[count] > 0.5
    if inside.sum() < 50:
        raise ValueError("the scan shows too little brain to be measured")
    some = np.argwhere(inside)
    some = some[:: -(-len(some) // _MOST_POINTS)]
    points = some @ to_mm[:3, :3].T + to_mm[:3, 3]
    where = maps[(slice(count + 1, None), *some.T)].T.astype(float)
    affine, _ = fit_affine(points, where)
    strength, axes = np.linalg.eigh(affine[:3, :3] @ affine[:3, :3].T)
    strain = (axes * (0.5 * np.log(np.maximum(strength, 1e-6)))) @ axes.T
    lengths = strain[np.triu_indices(3)]

    at = (where - _CENTRE) / _REACH
    left = where - (points @ affine[:3, :3].T + affine[:3, 3])
    terms = _bends(at)
    trust = np.ones(len(left))
    for _ in range(5):  # robust, as the affine
        square = (terms * trust[:, None]).T @ terms
        square += _RIDGE * np.trace(square) / len(square) * np.eye(len(square))
        bent = np.linalg.solve(square, (terms * trust[:, None]).T @ left)
        away = np.linalg.norm(left - terms @ bent, axis=1)
        trust = biweight(away, np.median(away)) + 1e-6

    skull = maps[0] < 0.5
    parts = np.stack([maps[count], maps[1] + maps[2] / 2, maps[3] + maps[2] / 2, maps[4]])[:, skull]
    voxel_ml = abs(np.linalg.det(to_mm[:3, :3])) / 1000
    volumes = np.log(parts.sum(1) * voxel_ml + 1.0)
    placed = (maps[count + 1 :][:, skull].T - _CENTRE) / _REACH
    shares = np.sqrt(parts @ _cells(placed) / np.maximum(parts.sum(1, keepdims=True), 1e-6))
    return np.concatenate([lengths, bent.ravel(), volumes, shares.ravel()]).astype(np.float32)


def _bends(at):
    """Terms of second and third order of places."""
    x, y, z = at.T
    second = [x * x, y * y, z * z, x * y, x * z, y * z]
    third = [x**3, y**3, z**3, x * x * y, x * x * z, y * y * x, y * y * z, z * z * x, z * z * y]
    return np.stack([*second, *third, x * y * z], 1)


def _cells(at):
    """How far every place belongs to every cell of the template, (n, cells); rows sum to 1."""
    found = np.ones((len(at), 1))
    for axis, count in enumerate(_CELLS):
        middles = np.linspace(-0.75, 0.75, count)
        near = at[:, axis, None].clip(-0.75, 0.75) - middles
        hat = np.clip(1 - np.abs(near) * (count - 1) / 1.5, 0, None)
        found = (found[:, :, None] * hat[:, None]).reshape(len(at), -1)
    return found
