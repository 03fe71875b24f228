"""What a view is: how networks see a cohort, and the way from there back into the brain.

Estimators and explanations ask nothing else of it, so a class of one's own with these methods does
as well as those of this package.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Reading", "View"]


@dataclass(frozen=True)
class Reading:
    """What a view is told by the estimator that holds it; the defaults are for views alone.

    Parameters
    ----------
    memory : None, str, os.PathLike or joblib.Memory
        Folder that keeps prepared images.
    memory_limit_mb : float
        Megabytes of prepared images beyond which they stay in files.
    n_jobs : int or None
        Threads that read images.
    cell_pixels : callable or None
        Takes the spatial shape of an image, and returns how many pixels along an axis one cell of
        the network's last feature maps stands for (None where nobody knows).
    """

    memory: object = None
    memory_limit_mb: float = 4096
    n_jobs: int | None = None
    cell_pixels: Callable | None = None


@runtime_checkable
class View(Protocol):
    """What image estimators ask of the view they hold.

    A view is also a scikit-learn estimator in that it has ``get_params`` and ``set_params``: what
    it is given in ``__init__`` is only stored, and it is cloned before it learns. What it has
    learnt does not follow later changes of its parameters.

    Examples
    --------
    >>> from prognosis import StitchedSlices
    >>> isinstance(StitchedSlices(mosaic_size=64), View)
    True
    """

    def get_params(self, deep=True):
        """Parameters by name, as in scikit-learn."""

    def set_params(self, **params):
        """Change parameters, as in scikit-learn; returns self."""

    def drawn_columns(self):
        """Columns of the cohort, beside those of images, that are drawn into the image: a list."""

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
        ImageRows of shape (n_patients, n_channels, ...)
        """

    def prepare(self, X, columns, reading=None):
        """Images of patients as the networks take them, in the geometry that was learnt."""

    def augmentation(self):
        """What may change at random in training: callable of (images, generator), or None."""

    def place(self):
        """Where the images lie in the brain: see `prognosis.views.places`."""

    def brain(self, images):
        """The part of prepared images that `place` speaks of, without symbols.

        Parameters
        ----------
        images : ndarray of shape (..., *spatial)

        Returns
        -------
        ndarray
            Of the same memory.
        """

    def region_cells(self):
        """Where each region lies that has a cell of its own, dict of str to tuple of slice.

        Empty where regions have none: then an atlas says where they lie.
        """

    def symbol_cells(self):
        """Where each symbol lies, dict of str to (slice, slice), by its column."""

    def symbol_values(self, X):
        """Values drawn as symbols, from 0 to 1 (missing: NaN), ndarray (n_patients, n_symbols)."""
