"""CNNs on cross-sections of raw MRI, stitched into one picture per patient.

Needs no lesion map: the network looks at the scan itself (Roohani et al. 2018, arXiv 1811.10520).
"""

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

from sklearn.utils._param_validation import Interval, StrOptions

from imaging.caching import as_memory, cached_call
from imaging.intensity import rescale_intensity
from imaging.mosaics import SliceMosaic, resize_picture
from imaging.nets import ARCHITECTURES
from imaging.volumes import Grid, is_picture, read_picture, read_volume, to_grid

from ..columns import map_images
from .base import ImageClassifier, ImageEstimator, ImageRegressor
from .documentation import documented

__all__ = ["StitchedSliceClassifier", "StitchedSliceRegressor"]


@dataclass(eq=False, repr=False)
class _StitchedSlices(ImageEstimator):
    """The mosaic branch: how a scan becomes a picture."""

    plane: str | tuple = "axial"
    rows: int = 4
    columns: int = 4
    first_slice: int | None = None
    slice_step: int | None = None
    mosaic_size: int | tuple = 128
    grid: object = None
    allow_empty: bool = False
    architecture: str = "lightweight"
    flip_left_right: bool = False

    _parameter_constraints: ClassVar = {
        **ImageEstimator._parameter_constraints,
        "rows": [Interval(Integral, 1, None, closed="left")],
        "columns": [Interval(Integral, 1, None, closed="left")],
        "first_slice": [Integral, None],
        "slice_step": [Interval(Integral, 1, None, closed="left"), None],
        "allow_empty": ["boolean"],
        "architecture": [StrOptions(set(ARCHITECTURES))],
        "flip_left_right": ["boolean"],
    }

    @property
    def mosaic_(self):
        """The layout of the tiles, to put saliency maps back into the brain."""
        return SliceMosaic(
            plane=self.plane,
            rows=self.rows,
            columns=self.columns,
            first_slice=self.first_slice,
            slice_step=self.slice_step,
            size=self.mosaic_size,
        )

    def _read_images(self, X):
        read = cached_call(as_memory(self.memory), _read_mosaic)
        arguments = (self.mosaic_, _open_grid(self.grid), self.allow_empty)
        results = map_images(lambda cell: read(cell, *arguments), X, self.image, n_jobs=self.n_jobs)
        pictures, grids = zip(*results, strict=True)
        return pictures, grids

    def _encoder(self, shape):
        from imaging.nets.classifiers import build_encoder

        return build_encoder(self.architecture, shape[1:], shape[0])

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
        return TileAugmentation(tiles=tiles, flip_left_right=self.flip_left_right)


@documented
@dataclass(eq=False, repr=False)
class StitchedSliceClassifier(ImageClassifier, _StitchedSlices):
    """Classify patients by a CNN on stitched cross-sections of their scans.

    Parameters
    ----------
    image : str, default=None
        Column of `X` that holds the scans: paths of NIfTI files or nibabel images, 3-D, all on the
        same grid (or see `grid`); or 2-D pictures (PNG, NIfTI of one slice), all of the same size.
        None: no image; then the network sees the declared tabular columns, or, with none declared,
        all of a numeric `X`.
    {tabular}
    {mosaic}
    {class_weight}
    {training}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    {mosaic_fitted}
    {fitted}

    References
    ----------
    Roohani et al. 2018, arXiv 1811.10520; White et al. 2024, NeuroImage: Clinical 43:103638.

    Examples
    --------
    >>> from prognosis import StitchedSliceClassifier, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, resolution_mm=8, random_state=0)
    >>> cnn = StitchedSliceClassifier("t1w", mosaic_size=64, epochs=2, random_state=0)
    >>> cnn.fit(X, y).predict_proba(X).shape
    (20, 2)
    """

    _parameter_constraints: ClassVar = {
        **_StitchedSlices._parameter_constraints,
        **ImageClassifier._parameter_constraints,
    }


@documented
@dataclass(eq=False, repr=False)
class StitchedSliceRegressor(ImageRegressor, _StitchedSlices):
    """Predict a number for patients by a CNN on stitched cross-sections of their scans.

    Parameters
    ----------
    image : str, default=None
        As in `StitchedSliceClassifier`.
    {tabular}
    {mosaic}
    {training}

    Attributes
    ----------
    target_mean_, target_scale_ : float
        Mean and standard deviation of the outcome in training; networks predict the scaled one.
    {mosaic_fitted}
    {fitted}

    References
    ----------
    Roohani et al. 2018, arXiv 1811.10520.

    Examples
    --------
    >>> from prognosis import StitchedSliceRegressor, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, resolution_mm=8, random_state=0)
    >>> cnn = StitchedSliceRegressor("t1w", mosaic_size=64, epochs=2, random_state=0)
    >>> cnn.fit(X, X["age"]).predict(X).shape
    (20,)
    """


def _open_grid(grid):
    """The grid that scans are resampled to, or None."""
    if grid is None or isinstance(grid, Grid):
        return grid
    if isinstance(grid, str) and grid == "mni152":
        from nilearn.datasets import load_mni152_template

        return Grid.of(load_mni152_template(resolution=2))
    return Grid.of(grid)


def _read_mosaic(source, mosaic, grid, allow_empty):
    """One scan as a picture in [0, 1], with the grid it had."""
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
