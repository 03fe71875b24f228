"""Affines: niimath's search, and what is asked of an affine before it is believed."""

import json
import subprocess
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from ..errors import ImageError

__all__ = ["affine_parts", "align"]

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
