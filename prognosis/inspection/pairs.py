"""What a mask and a scan of one patient show together: other affines, and swapped sides."""

import nibabel as nib
import numpy as np

from imaging.grids import same_grid, true_voxels
from imaging.spaces.template import template

from .sampling import nearest_values

__all__ = ["affine_reason", "lesion_contrast", "swapped_rows"]

_LOOKED_AT = 4000  # voxels of a lesion
_LEAST_VOXELS = 30
_LEAST_PATIENTS, _AGREEING = 5, 0.8
_CLEAR = 0.5  # of the typical contrast, itself in standard deviations of the brain
_TYPICAL = 0.4


def affine_reason(mask, scan, column):
    """What is odd in the affine of a mask beside that of its scan, or None.

    Parameters
    ----------
    mask, scan : nibabel spatial image
    column : str
        Of the scan.
    """
    if mask.shape[:3] == scan.shape[:3] and not same_grid(mask, scan, tolerance_mm=1.0):
        return f"it has the voxels of {column!r}, but another affine: one of both headers is wrong"
    return None


def lesion_contrast(scan, mask):
    """How much brighter a lesion is than the same place on the other side of the template.

    Parameters
    ----------
    scan, mask : nibabel spatial image, canonical
        In template space; they may have different grids.

    Returns
    -------
    float
        Standard deviations of the scan's values in the brain; NaN where it cannot be told, as for
        lesions in the middle or on both sides.
    """
    lesion = np.asanyarray(mask.dataobj)
    voxels = np.stack(true_voxels(lesion), axis=-1)
    if not len(voxels):
        return np.nan
    points = nib.affines.apply_affine(mask.affine, voxels[:: -(-len(voxels) // _LOOKED_AT)])
    across = points * [-1, 1, 1]
    brain = (template().distance_at(points) == 0) & (template().distance_at(across) == 0)
    here, there = (nearest_values(scan, places) for places in (points, across))
    alone = np.nan_to_num(nearest_values(mask, across)) == 0
    kept = brain & alone & np.isfinite(here) & np.isfinite(there)
    if kept.sum() < _LEAST_VOXELS:
        return np.nan
    values = np.asanyarray(scan.dataobj)[::4, ::4, ::4]
    values = values[values > values.mean()]
    spread = float(values.std()) if values.size else 0.0
    return float((here[kept] - there[kept]).mean() / spread) if spread > 0 else np.nan


def swapped_rows(contrasts, column):
    """Patients whose lesion differs from the other side the other way round than everybody's.

    Parameters
    ----------
    contrasts : sequence of float
        One for each patient, as `lesion_contrast` gives them.
    column : str
        Of the scans.

    Returns
    -------
    dict of int to str
        Number of the row to the reason.

    Examples
    --------
    >>> list(swapped_rows([2.0, 1.8, 2.2, 1.9, -2.1, 2.0], "flair"))
    [4]
    """
    contrasts = np.asarray(contrasts, dtype=float)
    known = contrasts[np.isfinite(contrasts)]
    if len(known) < _LEAST_PATIENTS:
        return {}
    typical = np.median(known)
    agreeing = np.mean(np.sign(known) == np.sign(typical))
    if abs(typical) < _TYPICAL or agreeing < _AGREEING:
        return {}
    odd = np.flatnonzero(contrasts * np.sign(typical) < -_CLEAR * abs(typical))
    here, others = ("darker", "brighter") if typical > 0 else ("brighter", "darker")
    reason = (
        f"on {column!r} what it marks is {here} than the other side of the brain, where other "
        f"patients' lesions are {others}: left and right may be swapped"
    )
    return dict.fromkeys(odd.tolist(), reason)
