"""From a scan to the voxels of the network, and from there back to the voxels of the scan.

A scan is turned to the canonical orientation and resized along its own axes, so an oblique scan
stays as it lies; the way back is exact in orientation and affine.
"""

from dataclasses import dataclass

import nibabel as nib
import numpy as np

from ..errors import ImageError
from ..grids import open_image
from ..resizing import resized
from ..storage.seen import fingerprint
from ..volumes import (
    as_picture,
    is_picture,
    is_raster,
    read_picture,
    read_volume,
    read_voxels,
    restore_grid,
)

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A scan on the voxels of the network.

    Parameters
    ----------
    array : ndarray of shape (*spatial), float32
        Raw intensities.
    upright : ndarray
        The scan before it was resized: canonical in 3-D, row 0 at the top in 2-D.
    image : nibabel image or None
        3-D, canonical: the grid of `upright`; None where a picture lies nowhere.
    original : nibabel image or None
        As it came.
    """

    array: np.ndarray
    upright: np.ndarray
    image: object = None
    original: object = None

    @property
    def fingerprint(self):
        """Tells the scan from others by its upright voxels, whatever the network's are."""
        return fingerprint(self.upright)

    def back(self, values):
        """One channel of results on the voxels of the network, resized to those of the scan.

        Parameters
        ----------
        values : ndarray of shape `array.shape`

        Returns
        -------
        ndarray of shape `upright.shape`, float32
        """
        return resized(values, self.upright.shape)

    def restore(self, values):
        """Give results on `upright` the grid and affine of the input.

        Parameters
        ----------
        values : ndarray of shape (*upright.shape) or (*upright.shape, channels)

        Returns
        -------
        nibabel.Nifti1Image, or ndarray where the input was an array or a picture file
        """
        if self.original is None:
            return values
        channels = values.shape[self.upright.ndim :]
        if self.upright.ndim == 2:
            values = values[::-1].swapaxes(0, 1).reshape(*self.image.shape[:3], *channels)
        turned = nib.Nifti1Image(np.ascontiguousarray(values), self.image.affine)
        whole = nib.Nifti1Image(
            np.broadcast_to(np.uint8(0), (*self.original.shape, 1, 1)[:3]), self.original.affine
        )
        restored = np.asanyarray(restore_grid(turned, whole).dataobj)
        if not channels:
            restored = restored.reshape(self.original.shape)
        return nib.Nifti1Image(restored, self.original.affine)


def prepare(scan, spacing_mm, spatial_dims=3, *, allow_empty=False):
    """Bring a scan to the voxels of a network.

    Parameters
    ----------
    scan : path, nibabel image, or (2-D) ndarray
    spacing_mm : float or None
        None leaves the scan its own voxels. An array or a picture file has no millimetres and
        keeps its pixels.
    spatial_dims : {2, 3}
    allow_empty : bool, default=False
        Zero everywhere is allowed, as masks are.

    Returns
    -------
    Prepared

    Raises
    ------
    ImageError
        If it cannot be read, or has another number of dimensions.
    """
    if spatial_dims == 3:
        if isinstance(scan, np.ndarray):
            raise ImageError(
                f"found an array of shape {scan.shape} where a 3-D image was expected; give a "
                "path or nibabel.Nifti1Image(array, affine)"
            )
        original = open_image(scan)
        image = read_volume(original, allow_empty=allow_empty)
        upright = np.asanyarray(image.dataobj)
        edges = np.linalg.norm(image.affine[:3, :3], axis=0)
        return Prepared(_at_spacing(upright, edges, spacing_mm), upright, image, original)
    if isinstance(scan, np.ndarray):
        upright = scan.astype(np.float32) if allow_empty else as_picture(scan)
        if upright.ndim != 2:
            raise ImageError(f"found an array of shape {scan.shape}; a 2-D network needs 2-D")
        return Prepared(upright, upright)
    if not is_picture(scan):
        raise ImageError(
            f"found an image of shape {open_image(scan).shape}; a 2-D network needs one slice: "
            "cut it first, for example with img.slicer[:, :, 40:41]"
        )
    if is_raster(scan):
        upright = read_picture(scan)
        return Prepared(upright, upright)
    original = open_image(scan)
    shape = (*original.shape, 1, 1)[:3]
    data = read_voxels(original).astype(np.float32, copy=False).reshape(shape)
    image = nib.as_closest_canonical(nib.Nifti1Image(data, original.affine))
    if allow_empty:  # `read_picture` refuses what is zero everywhere
        upright = np.squeeze(np.asanyarray(image.dataobj)).T[::-1]
    else:
        upright = read_picture(original)
    edges = np.linalg.norm(image.affine[:3, :3], axis=0)
    edges = [edge for edge, count in zip(edges, image.shape, strict=True) if count > 1][::-1]
    return Prepared(_at_spacing(upright, edges, spacing_mm), upright, image, original)


def _at_spacing(array, edges, spacing_mm):
    if spacing_mm is None:
        return np.ascontiguousarray(array, dtype=np.float32)
    shape = [
        max(1, round(count * float(edge) / spacing_mm))
        for count, edge in zip(array.shape, edges, strict=True)
    ]
    return resized(array, shape)
