"""Attributions as they are drawn: smooth, per millilitre, on anatomy, and in the brain only.

Maps go from the grid of the scans to that of the anatomy behind them. What a network does not see
stays unpainted instead of counting as zero, so that the gaps between stitched slices are bridged.
"""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage

from imaging.grids import open_image
from imaging.spaces.checking import covers_brain
from imaging.volumes import to_grid, voxel_volume_ml

__all__ = ["Painting", "paint"]

LEAST_WEIGHT = 0.01  # of the smoothing kernel that must fall on what the network sees


@dataclass(frozen=True)
class Painting:
    """A map with the anatomy behind it, in canonical (RAS+) orientation.

    Attributes
    ----------
    values : ndarray of shape (x, y, z)
        Attribution per millilitre; NaN where nothing is painted.
    anatomy : ndarray of shape (x, y, z)
        Grey values behind, in [0, 1].
    affine : ndarray of shape (4, 4)
    outside : float
        Share of the attribution's absolute sum that lies outside the brain and is not painted; 0
        where it is not known where the brain is.
    """

    values: np.ndarray
    anatomy: np.ndarray
    affine: np.ndarray
    outside: float

    @property
    def limit(self):
        """End of a colour scale that is symmetric about zero: what one voxel in 500 exceeds."""
        known = np.abs(self.values[np.isfinite(self.values)])
        known = known[known > 0]
        return float(np.quantile(known, 0.998)) if known.size else 1e-12

    def as_images(self):
        """The map (zero where nothing is painted) and the anatomy, as NIfTI images."""
        values = np.nan_to_num(self.values).astype(np.float32)
        return (
            nib.Nifti1Image(values, self.affine),
            nib.Nifti1Image(self.anatomy.astype(np.float32), self.affine),
        )


def paint(explanation, patient=None, column=None, *, smoothing_mm=8.0, background=None):
    """Prepare a map for drawing.

    Parameters
    ----------
    explanation : Explanation
        Not of 2-D pictures.
    patient, column
        As `Explanation.to_nifti`.
    smoothing_mm : float
        Full width at half maximum; 0 for none.
    background : nibabel image, path, "mni152", "mean" or None
        As `draw_map`.

    Returns
    -------
    Painting
    """
    image = nib.as_closest_canonical(explanation.to_nifti(patient, column))
    shown = nib.as_closest_canonical(explanation.place.shown())
    grid = explanation.place.grid
    known_space = explanation.metadata.get("space") != "native" and covers_brain(grid)
    if background is None:
        background = "mni152" if known_space else "mean"
    anatomy = nib.as_closest_canonical(_anatomy(explanation, column, background))
    attribution = np.asanyarray(image.dataobj, dtype=np.float64)
    seen = (np.asanyarray(shown.dataobj) > 0).astype(np.float64)
    density, weight = _smooth(attribution / voxel_volume_ml(image), seen, image, smoothing_mm)
    values = _on(anatomy, density, image.affine)
    values[_on(anatomy, (weight > LEAST_WEIGHT).astype(float), image.affine) < 0.5] = np.nan
    grey = np.asanyarray(anatomy.dataobj, dtype=np.float64)
    outside = 0.0
    if known_space:
        from nilearn.datasets import load_mni152_brain_mask

        brain = load_mni152_brain_mask(resolution=2)
        here = _mask_on(brain, image)
        total = np.abs(attribution).sum()
        outside = float(np.abs(attribution[~here]).sum() / total) if total > 0 else 0.0
        values[~_mask_on(brain, anatomy)] = np.nan
    return Painting(values, _grey(grey), anatomy.affine, outside)


def _anatomy(explanation, column, background):
    if isinstance(background, str) and background == "mni152":
        from nilearn.datasets import load_mni152_template

        return load_mni152_template(resolution=2)
    if isinstance(background, str) and background == "mean":
        return explanation.background_image(column)
    return open_image(background)


def _smooth(density, seen, image, smoothing_mm):
    """Means over what is seen, weighted by a Gaussian, and the weight that was there."""
    if not smoothing_mm:
        return density, seen
    sizes = nib.affines.voxel_sizes(image.affine)
    sigma = smoothing_mm / np.sqrt(8 * np.log(2)) / sizes
    weight = ndimage.gaussian_filter(seen, sigma, mode="constant")
    total = ndimage.gaussian_filter(density * seen, sigma, mode="constant")
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > LEAST_WEIGHT), weight


def _on(target, data, affine):
    """Values at the voxels of another image, linearly between voxels; zero outside."""
    way = np.linalg.inv(affine) @ target.affine
    return ndimage.affine_transform(
        data, way[:3, :3], way[:3, 3], output_shape=target.shape[:3], order=1, mode="constant"
    )


def _mask_on(mask, target):
    """A mask on the voxels of another image."""
    on_grid = to_grid(mask, target, interpolation="nearest")
    return np.asanyarray(on_grid.dataobj) > 0.5


def _grey(values):
    """Grey values in [0, 1], without the brightest and the darkest few."""
    known = values[values > 0]
    low, high = np.quantile(known, [0.02, 0.99]) if known.size else (0.0, 1.0)
    return np.clip((values - min(low, high - 1e-6)) / max(high - low, 1e-6), 0, 1)
