"""Three cross-sections of an image where the template's brain is, with outlines on them, as PNG."""

import functools
import io

import nibabel as nib
import numpy as np

from imaging.grids import true_voxels
from imaging.spaces.template import template

from .sampling import nearest_values

__all__ = ["draw_panes"]

PIXEL_MM = 1.5
# Around the template's head, RAS.
LOW_MM, HIGH_MM = np.array([-105.0, -140.0, -95.0]), np.array([105.0, 115.0, 115.0])
CENTRE_MM = np.array([-4.0, -20.0, 12.0])  # where sections are cut if no lesion says where
# Axial, coronal, sagittal: the axis cut, and those that go right and up.
PLANES = ((2, 0, 1), (1, 0, 2), (0, 1, 2))
BRAIN_COLOUR, LESION_COLOUR = (70, 200, 255), (255, 70, 60)
WHITE_COLOUR = (255, 205, 60)


def draw_panes(scan=None, mask=None, *, white=False):
    """Draw an axial, a coronal and a sagittal section, through the lesion where there is one.

    Parameters
    ----------
    scan : nibabel spatial image, default=None
        None: the template is drawn, dimmed.
    mask : nibabel spatial image, default=None
        Lesion, outlined in red.
    white : bool, default=False
        Outline the template's white matter, too, in yellow: what folds of the brain should follow.

    Returns
    -------
    bytes
        A PNG; left is left. The outline of the template's brain is blue.
    """
    from PIL import Image

    centre = _centre(mask)
    panes = []
    for plane in PLANES:
        grey = _grey(scan, plane, centre)
        pane = np.repeat(grey[..., None], 3, axis=2)
        pane[_rim(_brain(plane, centre))] = BRAIN_COLOUR
        if white:
            inner = np.nan_to_num(_section(_template_white(), plane, centre)) > 0.5
            pane[_rim(inner)] = WHITE_COLOUR
        if mask is not None:
            lesion = np.nan_to_num(_section(mask, plane, centre)) > 0
            if scan is None:  # nothing of the patient lies below
                pane[lesion] = (pane[lesion] + np.array(LESION_COLOUR)) // 2
            pane[_rim(lesion)] = LESION_COLOUR
        panes.append(pane)
    height = max(pane.shape[0] for pane in panes)
    whole = np.concatenate([_padded(pane, height) for pane in panes], axis=1)
    file = io.BytesIO()
    Image.fromarray(whole).quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


def _centre(mask):
    """The middle of the lesion, moved into the pictures if it lies outside."""
    if mask is None:
        return CENTRE_MM
    voxels = np.stack(true_voxels(np.asanyarray(mask.dataobj)), axis=-1)
    if not len(voxels):
        return CENTRE_MM
    points = voxels @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    return np.clip(np.median(points, axis=0), LOW_MM + 40, HIGH_MM - 40)


def _places(plane, centre):
    """World coordinates of the pixels of a section, shape (rows, columns, 3); row 0 at the top."""
    cut, right, up = plane
    columns = np.arange(LOW_MM[right], HIGH_MM[right], PIXEL_MM)
    rows = np.arange(LOW_MM[up], HIGH_MM[up], PIXEL_MM)[::-1]
    points = np.empty((len(rows), len(columns), 3))
    points[..., cut] = centre[cut]
    points[..., right] = columns
    points[..., up] = rows[:, None]
    return points


def _section(image, plane, centre):
    """Nearest voxels of an image in a section; NaN outside of its field of view."""
    return nearest_values(image, _places(plane, centre))


def _grey(scan, plane, centre):
    """A section as grey values of a byte; what is out of view is a little brighter than black."""
    if scan is None:
        return (0.55 * _grey(_template_scan(), plane, centre)).astype(np.uint8)
    low, high = _window(scan)
    section = _section(scan, plane, centre)
    scaled = np.clip((section - low) / (high - low), 0, 1) * 255
    return np.where(np.isnan(section), 40, scaled).astype(np.uint8)


def _window(scan):
    values = np.asanyarray(scan.dataobj)[::3, ::3, ::3]
    bright = values[values > values.mean()]
    low = float(np.percentile(values, 1))
    high = float(np.percentile(bright, 99.5)) if bright.size else low
    return low, max(high, low + 1e-6)


@functools.cache
def _template_scan():
    from nilearn.datasets import load_mni152_template

    return load_mni152_template(resolution=2)


@functools.cache
def _template_white():
    from imaging.registration.template import template_maps

    maps = template_maps(2.0)
    return nib.Nifti1Image(maps.tissues[1], maps.grid.affine)


def _brain(plane, centre):
    points = _places(plane, centre)
    flat = template().distance_at(points.reshape(-1, 3)) == 0
    return flat.reshape(points.shape[:2])


def _rim(area):
    """Pixels of an area that touch one that is not of it."""
    padded = np.pad(area, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return area & ~inner


def _padded(pane, height):
    above = (height - pane.shape[0]) // 2
    below = height - pane.shape[0] - above
    return np.pad(pane, ((above, below), (0, 4), (0, 0)))
