"""What the header of an image says about its space, before any voxel is looked at."""

import nibabel as nib
import numpy as np

from ..grids import open_image

__all__ = ["HeaderSigns", "header_signs"]

_DISAGREE_MM = 2.0
_OBLIQUE_DEG = 2.0
_SLICES_RATIO, _SLICES_MM = 2.5, 2.5  # voxels so much longer than wide are slices of a scanner


class HeaderSigns:
    """Findings of a header, as phrases that continue a sentence about the image.

    Attributes
    ----------
    lost : list of str
        That it says nothing at all of where the voxels lie.
    broken : list of str
        What no sound header has.
    native : list of str
        What scanners' images have, and images that were resampled to a template have not.
    """

    def __init__(self, lost, broken, native):
        self.lost = lost
        self.broken = broken
        self.native = native


def header_signs(image):
    """Look at the header of an image.

    Parameters
    ----------
    image : str, os.PathLike or nibabel spatial image

    Returns
    -------
    HeaderSigns

    Examples
    --------
    >>> lost = nib.Nifti1Image(np.zeros((9, 9, 9)), np.eye(4))
    >>> header_signs(lost).lost
    ['its affine is the identity, as of an array that was saved without its header']
    """
    image = open_image(image)
    affine = np.asarray(image.affine, dtype=float)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    lost, broken, native = [], [], []
    if np.array_equal(affine, np.eye(4)):
        lost.append("its affine is the identity, as of an array that was saved without its header")
    if isinstance(image.header, nib.Nifti1Header):
        broken += _nifti_signs(image)
    # Of each voxel axis the part along the world axis it is nearest to, as a cosine.
    along = np.abs(affine[:3, :3] / np.where(edges > 0, edges, 1)).max(axis=0)
    tilt = np.degrees(np.arccos(np.clip(along.min(), -1, 1)))
    if tilt > _OBLIQUE_DEG:
        native.append(f"its axes are tilted by {tilt:.0f} degrees, as a scanner's")
    if edges.max() >= _SLICES_MM and edges.max() >= _SLICES_RATIO * edges.min():
        size = " x ".join(f"{edge:.2g}" for edge in edges)
        native.append(f"its voxels of {size} mm are slices of a scanner, not a template's cubes")
    return HeaderSigns(lost, broken, native)


def _nifti_signs(image):
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        return ["its header names no space (the codes of sform and qform are 0)"]
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None or qform is None:
        return []
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        return ["sform and qform of its header swap left and right"]
    corners = np.array(np.meshgrid(*[[0, n - 1] for n in image.shape[:3]])).reshape(3, -1)
    gap = np.abs((sform - qform)[:3] @ np.vstack([corners, np.ones(8)])).max()
    if gap > _DISAGREE_MM:
        return [f"sform and qform of its header are {gap:.0f} mm apart"]
    return []
