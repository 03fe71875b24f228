"""Affines: niimath's search, and what is asked of an affine before it is believed."""

import json
import subprocess
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from ..errors import ImageError

__all__ = ["affine_parts", "align", "fit_affine"]

_MOST_SECONDS = 600


def align(moving, base, *, kind="aff", weight=None):
    """The affine from the world of one image to that of another, by niimath's fast search.

    Its other costs were as good on the same images and took twenty times as long.

    Parameters
    ----------
    moving, base : nibabel spatial image, 3-D
    kind : {"sho", "shr", "srs", "aff"}
        Shift only, rigid, rigid and scale, or all twelve.
    weight : nibabel spatial image on the grid of `base`, default=None
        0 to 1: how much each voxel counts.

    Returns
    -------
    ndarray of shape (4, 4)
        World coordinates of `moving` to those of `base`, mm.

    Raises
    ------
    ImageError
        If niimath finds nothing, or is not installed.
    """
    try:
        import niimath
    except ImportError as error:
        raise ImageError("niimath is needed: pip install niimath") from error
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nib.save(moving, folder / "moving.nii")
        nib.save(base, folder / "base.nii")
        options = ["-warp", kind]
        if weight is not None:
            nib.save(weight, folder / "weight.nii")
            options += ["-weight", str(folder / "weight.nii")]
        command = [niimath.bin, str(folder / "moving.nii"), "-allineate", str(folder / "base.nii")]
        command += [*options, "-savemat", str(folder / "found.json"), str(folder / "out.nii")]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_MOST_SECONDS, check=False
            )
            found = json.loads((folder / "found.json").read_text())
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            said = "" if isinstance(error, subprocess.TimeoutExpired) else done.stderr.strip()
            raise ImageError(f"niimath found no affine ({said[-200:] or error})") from error
    return np.array(found["moving_to_fixed"], dtype=float)


def fit_affine(points, targets, weights, *, steps=8):
    """The affine that takes points to targets, those that do not agree with the others left aside.

    Parameters
    ----------
    points, targets : ndarray of shape (n, 3)
    weights : ndarray of shape (n,)
        Not negative.
    steps : int
        Of reweighting.

    Returns
    -------
    affine : ndarray of shape (4, 4)
    residual_mm : float
        Weighted median distance between targets and what the affine says.

    Raises
    ------
    ImageError
        If there are not enough points.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(50, 3))
    >>> targets = points * 2 + [0, 5, 0]
    >>> targets[0] += 100
    >>> affine, residual_mm = fit_affine(points, targets, np.ones(50))
    >>> affine[:3, 3].round(3).tolist(), round(residual_mm, 3)
    ([0.0, 5.0, 0.0], 0.0)
    """
    used = np.asarray(weights, dtype=float) > 0
    if used.sum() < 12:
        raise ImageError("too little brain was found to place the head; look at the scan")
    points, targets = np.asarray(points)[used], np.asarray(targets)[used]
    weights = np.asarray(weights, dtype=float)[used]
    design = np.c_[points, np.ones(len(points))]
    trust = weights
    for _ in range(steps):
        root = np.sqrt(trust)[:, None]
        solved = np.linalg.lstsq(design * root, targets * root, rcond=None)[0]
        away = np.linalg.norm(design @ solved - targets, axis=1)
        scale = 1.5 * max(_weighted_median(away, weights), 1e-6)
        trust = weights / (1 + (away / scale) ** 2) ** 2
    affine = np.eye(4)
    affine[:3] = solved.T
    return affine, float(_weighted_median(away, weights))


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


def _weighted_median(values, weights):
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return values[order][np.searchsorted(reached, reached[-1] / 2)]
