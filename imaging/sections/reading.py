"""The sections themselves, cut from volumes in template space or out of pictures."""

import numpy as np
from scipy import ndimage

from ..errors import ImageError
from ..mosaics import PLANES
from ..overlay import remove_overlay
from ..volumes import is_picture, is_raster, read_colours, read_mask, read_picture, read_stored
from .panes import FIELD_MM, SOOP_PANES

__all__ = ["lesion_sections", "read_sections"]


def read_sections(source, panes, *, mask=False):
    """The sections of an image, and what was painted over them.

    Parameters
    ----------
    source : str, os.PathLike or nibabel spatial image
        A volume in template space, or a picture. A red overlay is taken off a coloured picture.
    panes : sequence of Pane
    mask : bool, default=False
        Cut at the nearest voxel instead of between voxels; all may be zero.

    Returns
    -------
    sections : list of ndarray of the shapes of `panes`, float32
    painted : list of (ndarray of bool or None)
        Where the overlay was.

    Raises
    ------
    ImageError
        If it cannot be read, or does not have such sections.

    Examples
    --------
    >>> import nibabel as nib
    >>> from .panes import as_panes
    >>> affine = nib.affines.from_matvec(2 * np.eye(3), [-120, -120, -120])
    >>> scan = nib.Nifti1Image(np.ones((120, 120, 120)), affine)
    >>> (section,), _ = read_sections(scan, as_panes({"axial": 18}))
    >>> section.shape, float(section.mean())
    ((189, 157), 1.0)
    """
    if is_picture(source):
        return _of_picture(source, panes, mask)
    if panes[0].at_mm is None:
        raise ImageError(
            "a volume was found where panes declares boxes in a picture; say where to cut volumes, "
            'for example panes={"axial": 18}'
        )
    image = read_mask(source) if mask else read_stored(source)
    data = np.asanyarray(image.dataobj)
    inverse = np.linalg.inv(image.affine)
    return [_cut(data, inverse, pane, mask) for pane in panes], [None] * len(panes)


def lesion_sections(source, panes):
    """The sections of a lesion mask, packed.

    Parameters
    ----------
    source : str, os.PathLike or nibabel spatial image
        A mask in template space, or a picture of masks in the layout of `panes`. Above 0.5 is
        lesion; of picture files, everything above 0.
    panes : sequence of Pane

    Returns
    -------
    ndarray of uint8
        As `describe_sections` takes it: the bits of all sections, one after the other.

    Raises
    ------
    ImageError
        If it cannot be read, or does not have such sections.
    """
    least = 0 if is_raster(source) else 0.5
    sections, _ = read_sections(source, panes, mask=True)
    return np.packbits(np.concatenate([(one > least).ravel() for one in sections]))


def _cut(data, inverse, pane, mask):
    """One section of a volume, on pixels of 1 mm, whatever the grid of the volume."""
    axis = PLANES[pane.plane]
    right, up = (n for n in range(3) if n != axis)
    at = np.empty((3, *pane.shape))
    at[axis] = pane.at_mm
    at[right] = np.arange(FIELD_MM[right][0], FIELD_MM[right][1] + 1)
    at[up] = np.arange(FIELD_MM[up][1], FIELD_MM[up][0] - 1, -1)[:, None]
    voxels = np.tensordot(inverse[:3, :3], at, 1) + inverse[:3, 3, None, None]
    # Rounded, so that places on voxels are exactly on them, whatever the header's last digits.
    return ndimage.map_coordinates(
        data, np.round(voxels, 4), order=0 if mask else 1, output=np.float32
    )


def _of_picture(source, panes, mask):
    if panes[0].rows is None:
        raise ImageError(
            "a 2-D picture was found where panes says where to cut volumes; say where the sections "
            'lie in the picture: panes=[("axial", (0, 189), (0, 157)), ...]'
        )
    if is_raster(source) and not mask:
        whole = read_colours(source)
    else:
        whole = read_picture(source, allow_empty=mask)
    height, width = whole.shape[:2]
    bottom, far = max(pane.rows[1] for pane in panes), max(pane.columns[1] for pane in panes)
    if height < bottom or width < far or (panes == SOOP_PANES and height != bottom):
        raise ImageError(
            f"the picture has {height} rows and {width} columns where the sections of panes reach "
            f"to row {bottom} and column {far}; declare panes as the sections lie in your pictures"
        )
    sections, painted = [], []
    for pane in panes:
        part, paint = whole[slice(*pane.rows), slice(*pane.columns)], None
        if part.ndim == 3:
            part, paint = remove_overlay(part)
        sections.append(np.asarray(part, dtype=np.float32))
        painted.append(paint)
    return sections, painted
