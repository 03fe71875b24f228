"""Affines between pictures of one contrast, and what they are made of.

Pictures of tissues differ by place alone, so the squares of their differences can be made small by
Gauss and Newton's steps, the lesion left out, in a second: what knows no contrast has to search.
"""

from itertools import permutations, product

import nibabel as nib
import numpy as np
from scipy import linalg, ndimage

__all__ = ["affine_parts", "fit_pictures", "turns"]

SMOOTH_MM = (10.0, 6.0, 3.0)  # coarse to fine
_STEPS, _STILL_MM = 12, 0.02
_POINTS = 60_000
_REACH_MM = 80.0  # where a movement is measured


def fit_pictures(fixed, moving, grid, *, weight=None, rigid=False, moving_grid=None):
    """The affine between two pictures of equal contrast that lie nearly on each other.

    Parameters
    ----------
    fixed, moving : ndarray of shape (x, y, z)
    grid : Grid
        Of `fixed`, and of `moving` unless it has its own.
    weight : ndarray of the shape of `fixed`, default=None
        How much its voxels count, 0 to 1. None: all alike.
    rigid : bool, default=False
        Turn and shift only.
    moving_grid : Grid, default=None

    Returns
    -------
    ndarray of shape (4, 4)
        World coordinates of `moving` to those of `fixed`, mm.

    Examples
    --------
    >>> from .template import template_maps
    >>> maps = template_maps(4.0)
    >>> moved = np.roll(maps.picture, 1, axis=1)  # 4 mm to the front
    >>> found = fit_pictures(maps.picture, moved, maps.grid)
    >>> bool(np.abs(found[:3, 3] - [0, -4, 0]).max() < 0.1)
    True
    """
    moving_grid = grid if moving_grid is None else moving_grid
    generators = _generators(rigid)
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    moving_spacing = np.linalg.norm(moving_grid.affine[:3, :3], axis=0)
    to_voxels = np.linalg.inv(moving_grid.affine)
    weight = np.ones(fixed.shape, np.float32) if weight is None else weight
    # Where neither has tissue nothing can be learnt.
    places = np.argwhere((ndimage.gaussian_filter(fixed, 8.0 / spacing) > 0.02) & (weight > 0))
    places = places[:: max(1, len(places) // _POINTS)]
    counted = weight[tuple(places.T)].astype(float)
    points = np.c_[nib.affines.apply_affine(grid.affine, places), np.ones(len(places))]
    found = np.eye(4)  # of fixed to moving
    for width in SMOOTH_MM:
        wanted = ndimage.gaussian_filter(fixed, width / 2.355 / spacing)[tuple(places.T)]
        smooth = ndimage.gaussian_filter(moving, width / 2.355 / moving_spacing)
        slopes = np.gradient(smooth, *moving_spacing)
        for _ in range(_STEPS):
            at = (to_voxels @ found @ points.T)[:3]
            values = ndimage.map_coordinates(smooth, at, order=1)
            slope = np.stack([ndimage.map_coordinates(part, at, order=1) for part in slopes], -1)
            slope = slope @ np.linalg.inv(_turn_of(moving_grid.affine)) @ found[:3, :3]
            design = np.stack(
                [(slope * (points @ one.T)[:, :3]).sum(axis=1) for one in generators], axis=-1
            )
            rows = design * counted[:, None]
            normal = rows.T @ design
            normal += 1e-6 * np.trace(normal) / len(normal) * np.eye(len(normal))
            step = np.linalg.solve(normal, rows.T @ (wanted - values))
            change = linalg.expm(sum(a * one for a, one in zip(step, generators)))
            found = found @ change
            if np.abs(change[:3, :3] - np.eye(3)).max() * _REACH_MM < _STILL_MM and (
                np.abs(change[:3, 3]).max() < _STILL_MM
            ):
                break
    return np.linalg.inv(found)


def _turn_of(affine):
    """The axes of a grid, without the size of its voxels."""
    return affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)


def _generators(rigid):
    """Of small movements, scaled so that a unit of each moves a point of the brain alike."""
    found = []
    for axis in range(3):
        shift = np.zeros((4, 4))
        shift[axis, 3] = 1
        found.append(shift)
    for row in range(3):
        for column in range(3):
            turn = np.zeros((4, 4))
            turn[row, column] = 1 / _REACH_MM
            if rigid:
                if row >= column:
                    continue
                turn[column, row] = -1 / _REACH_MM
            found.append(turn)
    return found


def turns():
    """The 24 ways to hold a box: orders and signs of its axes, none mirrored; the first is none.

    Examples
    --------
    >>> found = list(turns())
    >>> len(found), found[0]
    (24, ((0, 1, 2), (1, 1, 1)))
    """
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        if np.linalg.det(np.eye(3)[list(order)]) * np.prod(signs) > 0:
            yield order, signs


def affine_parts(affine):
    """Rotation (degrees), scales (as singular values) and whether an affine mirrors.

    Parameters
    ----------
    affine : ndarray of shape (4, 4)

    Returns
    -------
    turned_deg : float
    scales : ndarray of shape (3,)
    mirrored : bool

    Examples
    --------
    >>> turned, scales, mirrored = affine_parts(np.diag([-1.0, 1, 2, 1]))
    >>> scales.tolist(), mirrored
    ([2.0, 1.0, 1.0], True)
    """
    left, scales, right = np.linalg.svd(affine[:3, :3])
    turn = left @ right
    mirrored = bool(np.linalg.det(turn) < 0)
    if mirrored:
        turn = turn @ np.diag([-1.0, 1, 1])
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    return float(angle), scales, mirrored
