"""Views that turn each scan by itself into an array, all scans being on one grid.

A subclass says how (`recipe`), what may change at random in training, and where its numbers lie.
"""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from imaging.grids import Grid
from imaging.learning.refitting import refitting
from imaging.parameters import parameter, parameters

from ..errors import CohortError
from .collecting import Collector, bank_of
from .protocol import Reading

__all__ = ["ScanParameters", "ScanView", "open_grid"]


@parameters
class ScanParameters:
    """How scans are read, for views and for the estimators that hand it on to one."""

    grid: object = parameter(
        None,
        kind='None, "mni152", path, nibabel image or Grid',
        doc="""
        Resample every scan to the voxels of this image first, through world coordinates (it does
        not register). None requires that all scans have one grid already. "mni152" is the template
        inside nilearn at 2 mm.
        """,
    )
    allow_empty: bool = parameter(
        False,
        "boolean",
        doc="Accept volumes that are zero everywhere: set it for lesion masks, not for scans.",
    )
    mirror: bool = parameter(
        False,
        "boolean",
        doc="Also mirror training images: left to right. Off, since after a stroke sides matter.",
    )


class ScanView(ScanParameters, BaseEstimator):
    """Base of the views of this package: collects what `recipe` makes of every scan.

    Without symbols and without cells of regions; a subclass that has them says so.

    Attributes
    ----------
    grid_ : Grid
        Of the training images.
    recipe_ : imaging.storage.bank.Recipe
    """

    def recipe(self):
        """How one scan becomes an array: `imaging.storage.bank.Recipe`."""
        raise NotImplementedError

    def augmentation(self):
        """What may change at random in training: callable of (images, generator), or None."""
        return None

    def place(self):
        """Where the images lie in the brain: see `prognosis.views.places`."""
        raise NotImplementedError

    def drawn_columns(self):
        """Columns of the cohort, beside those of images, that are drawn into the image: a list."""
        return []

    def fit_prepare(self, X, columns, reading=None):
        """Learn the geometry from training patients, and prepare their images.

        Parameters
        ----------
        X : DataFrame
        columns : list of str
            Image columns, one for each channel.
        reading : Reading, default=None

        Returns
        -------
        ImageRows of shape (n_patients, n_channels, ...), float32

        Raises
        ------
        CohortError
            If an image is missing, cannot be used or has another grid than the first one.
        ValueError
            If a parameter is out of range.
        """
        with refitting(self):
            self._validate_params()
            self.recipe_ = self.recipe()
            return self._collected(X, columns, reading or Reading(), fitting=True)

    def prepare(self, X, columns, reading=None):
        """Images of patients as the networks take them, in the geometry that was learnt.

        Parameters and errors are those of `fit_prepare`.
        """
        if not hasattr(self, "recipe_"):
            raise NotFittedError(
                f"this {type(self).__name__} knows no geometry yet; call fit_prepare first"
            )
        return self._collected(X, columns, reading or Reading(), fitting=False)

    def brain(self, images):
        """The part of prepared images that `place` speaks of, without symbols."""
        return images

    def region_cells(self):
        """Where each region lies that has a cell of its own; none has."""
        return {}

    def symbol_cells(self):
        """Where each symbol lies; there is none."""
        return {}

    def symbol_values(self, X):
        """Values drawn as symbols, ndarray of shape (n_patients, 0)."""
        return np.zeros((len(X), 0))

    def _collected(self, X, columns, reading, fitting):
        collector = Collector(
            self.recipe_,
            X,
            columns,
            bank=bank_of(reading.memory),
            limit_bytes=reading.memory_limit_mb * 1e6,
            strip=lambda shape: self._strip(X, shape, reading, fitting),
        )
        return collector.collect(
            lambda column, grids: self._check_grids(X, column, grids, fitting), reading.n_jobs
        )

    def _strip(self, X, shape, reading, fitting):
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


def open_grid(grid):
    """The grid that scans are resampled to, or None."""
    if grid is None or isinstance(grid, Grid):
        return grid
    if isinstance(grid, str) and grid == "mni152":
        from nilearn.datasets import load_mni152_template

        return Grid.of(load_mni152_template(resolution=2))
    return Grid.of(grid)
