"""CNNs on regions of interest with symbols for tabular values, in one picture per patient.

The published hybrid of White et al. 2024: the network learns from brain and symbols together.
"""

from dataclasses import dataclass
from typing import ClassVar

import joblib

from imaging.grids import Grid
from imaging.intensity import rescale_intensity
from imaging.roi_mosaics import RoiMosaic
from imaging.storage.bank import Recipe
from imaging.volumes import read_stored, read_volume, to_grid

from .base import ImageClassifier, ImageRegressor
from .branches import CanvasBranch, open_grid
from .documentation import documented

__all__ = ["RoiSymbolClassifier", "RoiSymbolRegressor", "RoiSymbols"]


@dataclass(eq=False, repr=False)
class RoiSymbols(CanvasBranch):
    """The branch that sees regions of an atlas, packed into one picture."""

    atlas: object = "aal"
    regions: list | int = 8

    def _recipe(self):
        mosaic = RoiMosaic(
            self.atlas,
            self.regions,
            plane=self.plane,
            slice_step=self.slice_step or 1,
            size=self.mosaic_size,
        )
        layout = (mosaic.regions, mosaic.plane, mosaic.slice_step, mosaic.size)
        others = (open_grid(self.grid), self.allow_empty)
        identity = joblib.hash((mosaic.atlas.identity, layout, others))
        return Recipe(_read_regions, (mosaic, *others), identity, mosaic)

    def _brain_cells(self):
        return self.mosaic_.cells(self.grid_)

    def _augmentation(self):
        if not self.augment or self.image is None:
            return None
        from imaging.learning.augmentation import TileAugmentation

        if self.flip_left_right:
            raise ValueError(
                "flip_left_right cannot mirror packed regions, which lie on one side of the brain; "
                "leave it off"
            )
        # Pieces are not parts of one cross-section: turning the canvas would move far ones most.
        return TileAugmentation(rotation_deg=0, zoom=0, shift=0.01, fixed_rows=self.symbol_rows_)


@documented
@dataclass(eq=False, repr=False)
class RoiSymbolClassifier(ImageClassifier, RoiSymbols):
    """Classify patients by a CNN on regions of interest with symbols for tabular values.

    Parameters
    ----------
    {image}
    {tabular}
    {atlas}
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
    White et al. 2024, NeuroImage: Clinical 43:103638, arXiv 2310.19174.

    Examples
    --------
    >>> from prognosis import RoiSymbolClassifier, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = RoiSymbolClassifier(
    ...     "t1w", regions=3, symbols=["severity", "age"], mosaic_size=64, epochs=2
    ... )
    >>> cnn.fit(X, y).predict_proba(X).shape
    (20, 2)
    >>> list(cnn.cells_)
    ['Temporal_Sup_L', 'Temporal_Mid_L', 'Frontal_Inf_Tri_L', 'severity', 'age']
    """

    _parameter_constraints: ClassVar = {
        **RoiSymbols._parameter_constraints,
        **ImageClassifier._parameter_constraints,
    }


@documented
@dataclass(eq=False, repr=False)
class RoiSymbolRegressor(ImageRegressor, RoiSymbols):
    """Predict a number for patients by a CNN on regions of interest with symbols.

    Parameters
    ----------
    {image}
    {tabular}
    {atlas}
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
    White et al. 2024, NeuroImage: Clinical 43:103638, arXiv 2310.19174.

    Examples
    --------
    >>> from prognosis import RoiSymbolRegressor, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = RoiSymbolRegressor("t1w", regions=3, symbols={"severity": "grey"}, epochs=2)
    >>> cnn.fit(X, X["age"]).predict(X).shape
    (20,)
    """


def _read_regions(source, mosaic, grid, allow_empty):
    """The regions of one scan as a picture in [0, 1], with the grid it had."""
    if grid is None:
        volume = read_stored(source, allow_empty=allow_empty)
    else:  # between voxels there are no whole numbers
        volume = to_grid(read_volume(source, allow_empty=allow_empty), grid)
    return rescale_intensity(mosaic.pack(volume)), Grid.of(volume)
