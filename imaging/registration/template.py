"""The template's own pictures: where the target of every registration comes from, without download.

They are the ICBM 2009a template and tissue maps that nilearn brings along (Fonov et al. 2011,
NeuroImage 54:313).
"""

import functools
from typing import NamedTuple

import numpy as np

from ..grids import Grid

__all__ = [
    "WEIGHTS",
    "TemplateMaps",
    "output_grid",
    "template_grid",
    "template_maps",
    "tissue_picture",
]

# Grey values of grey matter, white matter and fluid in a picture that looks like a T1w scan. Fluid
# is as dark as the outside: where a brain ends is said differently by every tool, and so is fluid.
WEIGHTS = (0.6, 1.0, 0.0)
_MARGIN_MM = 16  # around the brain, so that a warp has come to nothing at the border
_CORNER_MM, _FIELD_MM = (-98, -134, -72), (196, 232, 188)  # of the template's files
_BOUNDS_MM = ((-72, 72), (-106, 72), (-72, 82))


class TemplateMaps(NamedTuple):
    """Maps of the template's brain on one grid, float32.

    `tissues` is of shape (3, x, y, z): shares of grey matter, white matter and fluid; `brain` is
    the mask of the brain.
    """

    grid: Grid
    tissues: np.ndarray
    brain: np.ndarray

    @property
    def picture(self):
        """The tissues as a picture that looks like a T1w scan, shape (x, y, z)."""
        return tissue_picture(self.tissues)


def tissue_picture(tissues):
    """One picture of equal contrast for whatever sequence the tissues were found on.

    Parameters
    ----------
    tissues : ndarray of shape (3, x, y, z)
        Shares of grey matter, white matter and fluid.

    Returns
    -------
    ndarray of shape (x, y, z), float32

    Examples
    --------
    >>> picture = tissue_picture(np.array([0.5, 0.25, 0.25]).reshape(3, 1, 1, 1))
    >>> round(float(picture[0, 0, 0]), 2)
    0.55
    """
    return np.tensordot(np.asarray(WEIGHTS, np.float32), tissues.astype(np.float32), 1)


@functools.cache
def template_grid(spacing_mm=2.0, margin_mm=_MARGIN_MM):
    """The grid around the template's brain, its voxels on multiples of their size.

    Parameters
    ----------
    spacing_mm : float
    margin_mm : float
        Left around the brain.

    Returns
    -------
    Grid

    Examples
    --------
    >>> print(template_grid(2))
    a grid of 89 x 106 x 94 voxels of 2 x 2 x 2 mm from (-88, -122, -88)
    """
    low = [np.floor((low - margin_mm) / spacing_mm) * spacing_mm for low, _ in _BOUNDS_MM]
    high = [np.ceil((high + margin_mm) / spacing_mm) * spacing_mm for _, high in _BOUNDS_MM]
    shape = tuple(round((b - a) / spacing_mm) + 1 for a, b in zip(low, high))
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = low
    return Grid(shape, tuple(map(tuple, affine.tolist())))


def output_grid(spacing_mm=1.0):
    """The grid on which images are brought to the template: that of the template's own files.

    Parameters
    ----------
    spacing_mm : float

    Returns
    -------
    Grid

    Examples
    --------
    >>> print(output_grid(2))
    a grid of 99 x 117 x 95 voxels of 2 x 2 x 2 mm from (-98, -134, -72)
    """
    shape = tuple(int(n / spacing_mm + 1e-6) + 1 for n in _FIELD_MM)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = _CORNER_MM
    return Grid(shape, tuple(map(tuple, affine.tolist())))


@functools.lru_cache(maxsize=4)
def template_maps(spacing_mm=2.0):
    """The template's tissues and brain on `template_grid`.

    Parameters
    ----------
    spacing_mm : float

    Returns
    -------
    TemplateMaps

    Examples
    --------
    >>> maps = template_maps(4.0)
    >>> maps.tissues.shape[1:] == maps.grid.shape, maps.tissues.sum(0).max() <= 1.001
    (True, np.True_)
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    grid = template_grid(spacing_mm)
    nearest = max(1, min(2, int(spacing_mm)))
    found = []
    for image in _loaded(nearest):
        data = np.asanyarray(image.dataobj).astype(np.float32)
        if spacing_mm > nearest:  # what a coarse voxel holds, not what lies at its middle
            data = gaussian_filter(data, 0.4 * spacing_mm / nearest)
        at = np.linalg.inv(image.affine) @ grid.affine
        axes = np.meshgrid(
            *(at[k, k] * np.arange(n) + at[k, 3] for k, n in enumerate(grid.shape)), indexing="ij"
        )
        found.append(map_coordinates(data, axes, order=1, output=np.float32).clip(0, 1))
    grey, white, brain = found
    fluid = np.clip(brain - grey - white, 0, 1)
    return TemplateMaps(grid, np.stack([grey, white, fluid]), brain > 0.5)


@functools.lru_cache(maxsize=2)
def _loaded(resolution):
    """Grey matter, white matter and brain of the template, which nilearn resamples every time."""
    from nilearn import datasets

    names = ("gm_template", "wm_template", "brain_mask")
    return [getattr(datasets, f"load_mni152_{name}")(resolution=resolution) for name in names]
