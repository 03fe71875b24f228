"""CNNs on cross-sections of raw MRI, stitched into one picture per patient.

Needs no lesion map: the network looks at the scan itself (Roohani et al. 2018, arXiv 1811.10520).
"""

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import joblib
from sklearn.utils._param_validation import Interval

from imaging.grids import Grid, open_image
from imaging.intensity import rescale_intensity
from imaging.mosaics import SliceMosaic
from imaging.resizing import resize_picture
from imaging.storage.bank import Recipe
from imaging.volumes import is_picture, is_raster, read_picture, read_volume, to_grid

from .base import ImageClassifier, ImageRegressor
from .branches import CanvasBranch, open_grid
from .documentation import documented

__all__ = ["StitchedSliceClassifier", "StitchedSliceRegressor"]


@dataclass(eq=False, repr=False)
class StitchedSlices(CanvasBranch):
    """The branch that sees cross-sections, stitched into one picture."""

    rows: int = 4
    columns: int = 4
    first_slice: int | None = None

    _parameter_constraints: ClassVar = {
        **CanvasBranch._parameter_constraints,
        "rows": [Interval(Integral, 1, None, closed="left")],
        "columns": [Interval(Integral, 1, None, closed="left")],
        "first_slice": [Integral, None],
    }

    def _recipe(self):
        mosaic = SliceMosaic(
            plane=self.plane,
            rows=self.rows,
            columns=self.columns,
            first_slice=self.first_slice,
            slice_step=self.slice_step,
            size=self.mosaic_size,
        )
        arguments = (mosaic, open_grid(self.grid), self.allow_empty)
        return Recipe(_read_mosaic, arguments, joblib.hash(arguments), mosaic)

    def _brain_cells(self):
        return {"brain": self._brain_place()}

    def _augmentation(self):
        if not self.augment or self.image is None:
            return None
        from imaging.learning.augmentation import TileAugmentation

        volume = self.grid_.affine is not None
        if self.flip_left_right and volume and "sagittal" in self.mosaic_.plane:
            raise ValueError(
                "flip_left_right cannot mirror sagittal tiles, whose left and right are front and "
                'back; use plane="axial" or "coronal"'
            )
        tiles = self.mosaic_.tiles if volume else (1, 1)
        return TileAugmentation(
            tiles=tiles, mirror=self.flip_left_right, fixed_rows=self.symbol_rows_
        )


@documented
@dataclass(eq=False, repr=False)
class StitchedSliceClassifier(ImageClassifier, StitchedSlices):
    """Classify patients by a CNN on stitched cross-sections of their scans.

    Parameters
    ----------
    {image}
        2-D pictures (PNG, NIfTI of one slice), all of the same size, are taken as they are.
    {tabular}
    {slices}
    {canvas}
    {branch}
    {class_weight}
    {training}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    {canvas_fitted}
    {fitted}

    References
    ----------
    Roohani et al. 2018, arXiv 1811.10520; White et al. 2024, NeuroImage: Clinical 43:103638.

    Examples
    --------
    >>> from prognosis import StitchedSliceClassifier, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = StitchedSliceClassifier("t1w", mosaic_size=64, epochs=2, random_state=0)
    >>> cnn.fit(X, y).predict_proba(X).shape
    (20, 2)
    """

    _parameter_constraints: ClassVar = {
        **StitchedSlices._parameter_constraints,
        **ImageClassifier._parameter_constraints,
    }


@documented
@dataclass(eq=False, repr=False)
class StitchedSliceRegressor(ImageRegressor, StitchedSlices):
    """Predict a number for patients by a CNN on stitched cross-sections of their scans.

    Parameters
    ----------
    {image}
        2-D pictures (PNG, NIfTI of one slice), all of the same size, are taken as they are.
    {tabular}
    {slices}
    {canvas}
    {branch}
    {training}

    Attributes
    ----------
    target_mean_, target_scale_ : float
        Mean and standard deviation of the outcome in training; networks predict the scaled one.
    {canvas_fitted}
    {fitted}

    References
    ----------
    Roohani et al. 2018, arXiv 1811.10520.

    Examples
    --------
    >>> from prognosis import StitchedSliceRegressor, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = StitchedSliceRegressor("t1w", mosaic_size=64, epochs=2, random_state=0)
    >>> cnn.fit(X, X["age"]).predict(X).shape
    (20,)
    """


def _read_mosaic(source, mosaic, grid, allow_empty):
    """One scan as a picture in [0, 1], with the grid it had."""
    if not is_raster(source):
        source = open_image(source)  # once, for all that follows
    if is_picture(source):
        picture = read_picture(source)
        place = Grid(picture.shape)
        if mosaic.size is not None:
            picture = resize_picture(picture, mosaic.size)
        return rescale_intensity(picture), place
    volume = read_volume(source, allow_empty=allow_empty)
    if grid is not None:
        volume = to_grid(volume, grid)
    return rescale_intensity(mosaic.stitch(volume)), Grid.of(volume)
