"""Views that turn each scan by itself into an array, all scans being on one grid.

A subclass says how (`recipe`), what may change at random in training, and where its numbers lie.
"""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from imaging.errors import ImageError
from imaging.grids import Grid, open_image
from imaging.learning.refitting import refitting
from imaging.parameters import parameter, parameters
from imaging.spaces.checking import check_space, covers_brain
from imaging.spaces.verdicts import SpaceVerdict
from imaging.volumes import read_stored, read_volume, to_grid

from ..errors import CohortError
from ..spaces import ReadsTemplate, judge_spaces
from .collecting import Collector, bank_of
from .protocol import Reading

__all__ = ["ScanParameters", "ScanView", "open_grid", "read_on_grid"]


@parameters
class ScanParameters(ReadsTemplate):
    """How scans are read, for views and for the estimators that hand it on to one."""

    grid: object = parameter(
        None,
        kind='None, "mni152", path, nibabel image or Grid',
        doc="""
        Resample every scan to the voxels of this image first, through world coordinates. It does
        not register: scans must be in the space of this image already. None requires that all scans
        have one grid. "mni152" is the template inside nilearn at 2 mm.
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
            reading = reading or Reading()
            self._learn_layout(X, columns, reading)
            self.recipe_ = self.recipe()
            return self._collected(X, columns, reading, fitting=True)

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

    def _learn_layout(self, X, columns, reading):
        """What `recipe` has to know of the training patients; for most views, nothing."""

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
            lambda column, found: self._check(X, column, found, fitting), reading.n_jobs
        )

    def _strip(self, X, shape, reading, fitting):
        """The `Strip` of symbols below pictures of this shape; None for none."""
        return None

    def asks_for_template(self):
        """Whether what lies where matters: True, False, or "perhaps".

        True refuses images that cannot lie in template space, and names doubtful ones; "perhaps"
        names the former: where images are shown as they are, on one grid, only what is said of
        regions afterwards is at stake.
        """
        if self.space == "native" or self.grid_.affine is None or not covers_brain(self.grid_):
            return False
        return True if self.grid is not None else "perhaps"

    def _check(self, X, column, found, fitting):
        """Refuse images of another grid, or of another space; `found`: grids and notes."""
        self._check_grids(X, column, [grid for grid, _ in found], fitting)
        asks = self.asks_for_template()
        if asks:
            spaces = [(note or {}).get("space") for _, note in found]
            verdicts = [space and SpaceVerdict.from_dict(space) for space in spaces]
            judge_spaces(X, column, verdicts, refuse=asks is True, stacklevel=9)

    def _check_grids(self, X, column, grids, fitting):
        if fitting and not hasattr(self, "grid_"):
            self.grid_ = grids[0]
        for row, grid in zip(X.index, grids, strict=True):
            if not self.grid_.matches(grid):
                raise CohortError(
                    f"row {row!r}, column {column!r}: found {grid}, but the first image in "
                    f"training has {self.grid_}; register all images to one template first (for "
                    "example with ANTs or FSL). The parameter grid only resamples, and helps where "
                    "they are registered already"
                )


def open_grid(grid):
    """The grid that scans are resampled to, or None."""
    if grid is None or isinstance(grid, Grid):
        return grid
    if isinstance(grid, str) and grid == "mni152":
        from nilearn.datasets import load_mni152_template

        return Grid.of(load_mni152_template(resolution=2))
    return Grid.of(grid)


def read_on_grid(source, grid, allow_empty, *, stored=False):
    """A scan on the voxels of a grid, and what the space check says of it.

    Parameters
    ----------
    source : str, os.PathLike or nibabel spatial image
    grid : Grid or None
        None: as it is.
    allow_empty : bool
        Whether it may be zero everywhere.
    stored : bool, default=False
        Whole numbers may stay as they are where nothing is resampled.

    Returns
    -------
    volume : nibabel.Nifti1Image
    note : dict
        ``"space"``: the `SpaceVerdict` as plain values.

    Raises
    ------
    ImageError
        If it cannot be read, or nothing of it lies on the grid.
    """
    read = read_stored if stored and grid is None else read_volume
    source = open_image(source)  # once, for all that follows
    volume = read(source, allow_empty=allow_empty)
    note = {"space": check_space(source, volume=volume).as_dict()}
    if grid is None:
        return volume, note
    try:
        placed = to_grid(volume, grid)
    except ValueError as error:  # nilearn: the two fields of view do not meet
        raise _nothing_left(grid) from error
    if not allow_empty and not np.asanyarray(placed.dataobj).any():
        raise _nothing_left(grid)
    return placed, note


def _nothing_left(grid):
    return ImageError(
        f"nothing of it is left on {grid}: it lies elsewhere; register it to the template first "
        "(for example with ANTs or FSL; grid only resamples)"
    )
