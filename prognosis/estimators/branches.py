"""From image columns to the images that a network sees: what all kinds of image have in common.

A branch says how one scan becomes an array (`_recipe`) and how training images may be changed at
random (`_augmentation`); `CanvasBranch` is for pictures, beside which symbols can be drawn. What
was learnt of the geometry stays as it is when parameters are changed after `fit`.
"""

import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

from sklearn.utils._param_validation import Interval, StrOptions

from imaging.grids import Grid
from imaging.nets import ARCHITECTURES
from imaging.symbols import symbol_cells

from ..cells import listing
from ..errors import CohortError
from ..symbols import SymbolScaler
from ..views.collecting import Collector, Strip, bank_of
from .base import ImageEstimator

__all__ = ["CanvasBranch", "ImageBranch", "open_grid"]

LEAST_SYMBOL = 24  # pixels


@dataclass(eq=False, repr=False)
class ImageBranch(ImageEstimator):
    """Reads image columns on one grid, one channel each, and names the encoder."""

    grid: object = None
    allow_empty: bool = False
    architecture: object = "lightweight"
    flip_left_right: bool = False

    _parameter_constraints: ClassVar = {
        **ImageEstimator._parameter_constraints,
        "allow_empty": ["boolean"],
        "architecture": [StrOptions(set(ARCHITECTURES)), callable],
        "flip_left_right": ["boolean"],
    }

    def prepared_images(self, X):
        """What the networks see of each patient, after `fit`.

        Parameters
        ----------
        X : DataFrame
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_patients, n_channels, ...), float32
        """
        return self._images(self._check_X(X), fitting=False).array()

    def _images(self, X, fitting):
        if fitting:
            self.recipe_ = self._recipe()
            self.image_columns_ = self._image_columns()
        collector = Collector(
            self.recipe_,
            X,
            self.image_columns_,
            bank=bank_of(self.memory),
            limit_bytes=self.memory_limit_mb * 1e6,
            strip=lambda shape: self._strip(X, shape, fitting),
        )
        return collector.collect(
            lambda column, grids: self._check_grids(X, column, grids, fitting), self.n_jobs
        )

    def _strip(self, X, shape, fitting):
        """The `Strip` of symbols below pictures of this shape; None for none."""
        return None

    def _check_grids(self, X, column, grids, fitting):
        if fitting and not hasattr(self, "grid_"):
            self.grid_ = grids[0]
        for row, grid in zip(X.index, grids, strict=True):
            if not self.grid_.matches(grid):
                raise CohortError(
                    f"row {row!r}, column {column!r}: found {grid}, but the first image in "
                    f"training has {self.grid_}; bring all images to one grid first, or, if they "
                    "are registered already, set the parameter grid to the one they should have"
                )

    def _encoder(self, shape):
        if callable(self.architecture):
            return self.architecture(shape[1:], shape[0])
        from imaging.nets.encoders import build_encoder

        return build_encoder(self.architecture, shape[1:], shape[0])


@dataclass(eq=False, repr=False)
class CanvasBranch(ImageBranch):
    """Sees one picture per patient; symbols are drawn below the brain and scaled apart from it."""

    plane: str | tuple = "axial"
    slice_step: int | None = None
    mosaic_size: int | tuple = 128
    symbols: object = None
    symbol_limits: dict | None = None
    symbol_size: int | None = None

    _parameter_constraints: ClassVar = {
        **ImageBranch._parameter_constraints,
        "slice_step": [Interval(Integral, 1, None, closed="left"), None],
        "symbols": ["array-like", dict, None],
        "symbol_limits": [dict, None],
        "symbol_size": [Interval(Integral, 8, None, closed="left"), None],
    }

    @property
    def mosaic_(self):
        """The layout of the picture, to put saliency maps back into the brain."""
        recipe = self.recipe_ if hasattr(self, "recipe_") else self._recipe()
        if recipe.mosaic is None:
            raise AttributeError("a volume has no mosaic_; its voxels are those of the brain")
        return recipe.mosaic

    @property
    def cells_(self):
        """Where everything lies in the picture, for `imaging.show_canvas`: name to (slice, slice).

        Regions (or "brain"), then one cell per symbol.
        """
        cells = self._brain_cells()
        if self.symbol_rows_:
            top, width = self.image_shape_[1] - self.symbol_rows_, self.image_shape_[2]
            names = [symbol.name for symbol in self.scaler_.symbols_]
            for name, (down, across) in symbol_cells(names, (self.symbol_rows_, width)).items():
                cells[name] = (slice(top + down.start, top + down.stop), across)
        return cells

    def _declared(self):
        return super()._declared() or self.symbols is not None

    def _columns(self):
        if self.symbols is not None and self.image is None:
            raise ValueError(
                "symbols are drawn beside an image, and image is None; name an image column, or "
                "give these columns as tabular"
            )
        return [*super()._columns(), *(self.symbols if self.symbols is not None else [])]

    def _strip(self, X, shape, fitting):
        width = shape[-1]
        if fitting:
            self.symbol_rows_ = 0
            if self.symbols is not None:
                self.scaler_ = SymbolScaler(self.symbols, limits=self.symbol_limits).fit(X)
                size = self.symbol_size or max(LEAST_SYMBOL, self._cell_pixels(shape) or 0)
                per_row = max(1, width // size)
                count = len(self.scaler_.symbols_)
                self.symbol_rows_ = size * -(-count // per_row)
        if not self.symbol_rows_:
            return None
        values = self.scaler_.transform(X)
        return Strip(values, self.scaler_.symbols_, (self.symbol_rows_, width))

    def _cell_pixels(self, shape):
        """Pixels that one cell of the last feature maps stands for; None if nobody knows."""
        if callable(self.architecture):
            return None
        from imaging.nets.encoders import cell_pixels

        return cell_pixels(self.architecture, shape)

    def _look_back(self):
        """Say which regions and symbols are too small for the network to tell their place."""
        if self.image is None or self.recipe_.mosaic is None:
            return
        pixels = self._cell_pixels(self.image_shape_[1:]) or 0
        small = [
            name
            for name, (down, across) in self.cells_.items()
            if (down.stop - down.start) * (across.stop - across.start) < pixels**2
        ]
        if small:
            warnings.warn(
                f"{listing(small)}: smaller than one cell of this network's last feature maps "
                f"({pixels} x {pixels} pixels), so each shares a cell with what is beside it; "
                "raise mosaic_size (or symbol_size), or show fewer regions",
                UserWarning,
                stacklevel=4,
            )

    def _brain_place(self):
        return slice(0, self.image_shape_[1] - self.symbol_rows_), slice(0, self.image_shape_[2])


def open_grid(grid):
    """The grid that scans are resampled to, or None."""
    if grid is None or isinstance(grid, Grid):
        return grid
    if isinstance(grid, str) and grid == "mni152":
        from nilearn.datasets import load_mni152_template

        return Grid.of(load_mni152_template(resolution=2))
    return Grid.of(grid)
