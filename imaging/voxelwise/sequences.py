"""All sequences of one patient, segmented together."""

import nibabel as nib
import numpy as np

from ..errors import ImageError
from ..grids import same_grid
from ..learning.device import resolve_device
from ..resizing import resized
from ..volumes import to_grid
from .geometry import prepare
from .scaling import standardise
from .windows import apply_windows, mirrored_axes

__all__ = ["patient_probabilities"]


def patient_probabilities(segmenter, sequences, draws=0):
    """Mean probability over the sequences of one patient.

    Parameters
    ----------
    segmenter : BaseSegmenter
        Fitted.
    sequences : list of scans
    draws : int
        Of dropout; 0 for none.

    Returns
    -------
    prepared : list of Prepared
        Of every sequence.
    mean : ndarray of shape (classes, *spatial), float32
        On the network's voxels of the first; only the classes that `segmenter._kept` names.
    variance : ndarray of the same shape, or None without `draws`
    """
    if not sequences:
        raise ImageError("found a patient without any scan; give at least one")
    found, total, variances = [], 0.0, 0.0
    for scan in sequences:
        prepared = prepare(scan, segmenter.spacing_mm, segmenter.spatial_dims)
        found.append(prepared)
        mean, variance = apply_windows(
            segmenter.network_,
            standardise(prepared.array, ct=segmenter.ct),
            patch_size=segmenter.patch_size_,
            keep=segmenter._kept(),
            overlap=segmenter.overlap,
            axes=mirrored_axes(segmenter.test_time_flips, segmenter.mirror, segmenter.spatial_dims),
            draws=draws,
            device=resolve_device(segmenter.device),
            n_threads=segmenter.n_threads,
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
