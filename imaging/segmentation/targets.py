"""Masks and label maps of real scans as targets on the voxels of the network."""

import numpy as np

from ..errors import ImageError
from ..grids import same_grid
from ..resizing import resized
from ..volumes import read_mask, read_volume, to_grid
from ..voxelwise.geometry import prepare

__all__ = ["resized_labels", "upright_target"]


def upright_target(mask, prepared, count):
    """A mask or label map on the upright voxels of a scan, uint8.

    Parameters
    ----------
    mask : path, nibabel image, or (2-D) ndarray
    prepared : Prepared
    count : int
        Classes; with 2, above 0.5 is lesion.

    Raises
    ------
    ImageError
        If it lies on another grid in 2-D, does not meet the scan, or holds other numbers.
    """
    if prepared.upright.ndim == 2:
        labels = prepare(mask, 1.0, 2, allow_empty=True).upright
        if labels.shape != prepared.upright.shape:
            raise ImageError(
                f"the mask has {labels.shape} pixels and the scan {prepared.upright.shape}; give "
                "both on the same pixels"
            )
    else:
        image = read_mask(mask) if count == 2 else read_volume(mask, allow_empty=True)
        if not same_grid(image, prepared.image):
            inside = np.asanyarray(image.dataobj) > 0.5
            image = to_grid(image, prepared.image, interpolation="nearest")
            if inside.any() and not (np.asanyarray(image.dataobj) > 0.5).any():
                raise ImageError(
                    "the mask lies wholly outside the scan; check that both have the affine of "
                    "the same space"
                )
        labels = np.asanyarray(image.dataobj)
    if count == 2:
        return (labels > 0.5).astype(np.uint8)
    whole = np.rint(labels)
    if not np.array_equal(whole, labels) or whole.min() < 0 or whole.max() >= count:
        raise ImageError(
            f"the label map holds values from {labels.min():g} to {labels.max():g}; whole numbers "
            f"from 0 to {count - 1} are the classes"
        )
    return whole.astype(np.uint8)


def resized_labels(labels, shape, count):
    """Resize a label map: the class that fills most of each new voxel.

    Examples
    --------
    >>> import numpy as np
    >>> resized_labels(np.array([0, 1, 1, 1, 2, 2], np.uint8), (2,), 3)
    array([1, 2], dtype=uint8)
    """
    if labels.shape == tuple(shape):
        return labels
    best = np.full(shape, -1.0, np.float32)
    found = np.zeros(shape, np.uint8)
    for number in range(count):
        share = resized(labels == number, shape)
        more = share > best
        found[more], best[more] = number, share[more]
    return found
