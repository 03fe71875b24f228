"""What a user gives as scans, and all sequences of one patient seen together."""

from pathlib import Path

import nibabel as nib
import numpy as np

from ..errors import ImageError
from ..grids import same_grid
from ..learning.device import resolve_device
from ..resizing import resized
from ..volumes import to_grid
from .geometry import prepare
from .windows import apply_windows, mirrored_axes

__all__ = ["check_scans", "naming", "patient_numbers", "patient_results", "sequences_of"]


def patient_results(model, sequences, draws=0):
    """Mean result over the sequences of one patient.

    Parameters
    ----------
    model : VoxelwiseModel
        Fitted.
    sequences : list of scans
    draws : int
        Of dropout; 0 for none.

    Returns
    -------
    prepared : list of Prepared
        Of every sequence.
    mean : ndarray of shape (n_kept, *spatial), float32
        On the network's voxels of the first; only the outputs that the task keeps.
    variance : ndarray of the same shape, or None without `draws`
    """
    if not sequences:
        raise ImageError("found a patient without any scan; give at least one")
    found, total, variances = [], 0.0, 0.0
    axes = mirrored_axes(model.test_time_mirroring, model.mirror, model.spatial_dims)
    for scan in sequences:
        prepared = prepare(scan, model.spacing_mm, model.spatial_dims)
        found.append(prepared)
        mean, variance = apply_windows(
            model.network_,
            model.task_.scaling.scaled(prepared.array),
            patch_size=model.patch_size_,
            task=model.task_,
            overlap=model.overlap,
            axes=axes,
            draws=draws,
            device=resolve_device(model.device),
            n_threads=model.n_threads,
        )
        total = total + _onto(mean, prepared, found[0])
        if draws:
            variances = variances + _onto(variance, prepared, found[0])
    count = len(sequences)
    # The variance of a mean of independent draws.
    return found, total / count, variances / count**2 if draws else None


def _onto(values, prepared, first):
    """Channels on the network's voxels of one scan, brought to those of another."""
    if prepared is first:
        return values
    if prepared.image is None or first.image is None or first.upright.ndim == 2:
        if values.shape[1:] != first.array.shape:
            raise ValueError(
                f"found 2-D sequences of one patient with {prepared.upright.shape} and "
                f"{first.upright.shape} pixels; give them on the same pixels"
            )
        return values
    if same_grid(prepared.image, first.image):
        return values
    moved = []
    for channel in values:
        image = nib.Nifti1Image(prepared.back(channel), prepared.image.affine)
        on_first = to_grid(image, first.image)
        moved.append(resized(np.asanyarray(on_first.dataobj), first.array.shape))
    return np.stack(moved)


def sequences_of(scan):
    """The sequences of one patient, as a list."""
    return list(scan) if isinstance(scan, (list, tuple)) else [scan]


def check_scans(X):
    """Refuse one scan where several are expected."""
    if isinstance(X, (str, Path)) or hasattr(X, "affine"):
        raise ImageError("found one scan where a list of scans was expected; give [scan]")


def patient_numbers(groups, count):
    """The patient of every entry as a number, in order of first appearance."""
    if groups is None:
        return list(range(count))
    groups = list(groups)
    if len(groups) != count:
        raise ValueError(f"found {count} scans and {len(groups)} groups; give one label per scan")
    missing = [n for n, label in enumerate(groups) if label is None or label != label]
    if missing:
        raise ValueError(f"groups names no patient for scan {missing[0]}; give a label for each")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(groups))}
    return [numbers[label] for label in groups]


class naming:
    """Says which scan an error is about."""

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, ImageError):
            raise ImageError(f"scan {self.number}: {error}") from error
