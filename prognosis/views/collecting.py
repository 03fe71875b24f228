"""The prepared images of a cohort: made once, in memory or in files, whoever needs them.

What fits into memory becomes one array that is filled scan by scan; what does not stays in files,
from which batches are read. Within a comparison, folds and models share the files.
"""

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np

from imaging.learning.rows import ImageRows
from imaging.storage.bank import BankError, ImageBank, RowsInFiles, shared_bank
from imaging.storage.files import ScratchFolder
from imaging.symbols import draw_symbols

from ..columns import map_images

__all__ = ["Collector", "Strip", "bank_of"]

_DRAWN_AT_ONCE = 64


@dataclass(frozen=True)
class Strip:
    """The symbols below the pictures, drawn when they are needed.

    Parameters
    ----------
    values : ndarray of shape (n_patients, n_symbols)
        Positions on the scales, see `SymbolScaler.transform`.
    symbols : list of imaging.Symbol
    shape : (int, int)
        Rows and columns of pixels.
    """

    values: np.ndarray
    symbols: list
    shape: tuple

    def __call__(self, rows):
        """The strips of some patients, shape (n, rows, columns), float32."""
        return draw_symbols(self.values[rows], self.symbols, self.shape)


def bank_of(memory):
    """Where prepared images are kept: in the folder given, else where a comparison shares them.

    Parameters
    ----------
    memory : None, str, os.PathLike or joblib.Memory

    Returns
    -------
    ImageBank or None
        None keeps nothing.
    """
    folder = memory.location if isinstance(memory, joblib.Memory) else memory
    return shared_bank() if folder is None else ImageBank(Path(folder, "images"), cache=folder)


class Collector:
    """Prepares every image of some columns, each column a channel, and keeps them once.

    Parameters
    ----------
    recipe : imaging.storage.bank.Recipe
    X : DataFrame
    columns : list of str
        Image columns, one for each channel.
    bank : ImageBank or None
    limit_bytes : float
        Beyond so many, images stay in files: those of the bank, or temporary ones.
    strip : callable, default=None
        Takes the shape of a prepared image and returns the `Strip` that continues it, or None.
    """

    def __init__(self, recipe, X, columns, *, bank, limit_bytes, strip=None):
        self.recipe = recipe
        self.X = X
        self.columns = columns
        self.bank = bank
        self.limit_bytes = limit_bytes
        self.make_strip = strip
        self.shape, self.strip, self.array = None, None, None
        self._entries, self._using = None, None
        self._scratch = None
        self._lock = threading.Lock()

    def collect(self, check, n_jobs=None):
        """Prepare all images.

        Parameters
        ----------
        check : callable
            Takes a column and, of each of its images, the grid and what was noted (see
            `imaging.storage.bank.Recipe`); refuses those that do not fit.
        n_jobs : int or None
            Threads.

        Returns
        -------
        ImageRows

        Raises
        ------
        CohortError
            If an image is missing or cannot be used: the message names row and column.
        """
        self._using = None if self.bank is None else self.bank.using()
        for channel, column in enumerate(self.columns):

            def keep(cell, number, channel=channel):
                return self._keep(cell, number, channel)

            check(column, map_images(keep, self.X, column, n_jobs=n_jobs, numbered=True))
        if self.array is None:
            keep = {"keep": self._scratch, "using": self._using}
            return ImageRows(RowsInFiles(self._entries, self.strip, **keep))
        self._using = None  # all of it is in memory
        if self.strip is not None:
            for start in range(0, len(self.array), _DRAWN_AT_ONCE):
                rows = slice(start, start + _DRAWN_AT_ONCE)
                self.array[rows, :, self.shape[0] :] = self.strip(rows)[:, None]
        return ImageRows(self.array)

    def _keep(self, cell, number, channel):
        """Prepare one image and put it where it belongs; returns its grid and its note."""
        entry = None
        if self.bank is not None:
            with suppress(BankError):  # sharing is a help, not a condition
                entry, array = self.bank.fetch(self.recipe, cell)
                grid, note = entry.grid, entry.note
        if entry is None:
            array, grid, note = self.recipe(cell)
        with self._lock:
            if self.shape is None:
                self._begin(array.shape)
        if array.shape != self.shape:
            return grid, note  # not as the first one: it is refused when all are there
        if self.array is not None:
            self.array[number, channel, : array.shape[0]] = array
        else:
            if entry is None:
                entry = self._own_bank().put(f"{number:06d}-{channel}", array, grid)
            self._entries[number][channel] = entry
        return grid, note

    def _begin(self, shape):
        """Now that one image is there, decide where all of them go."""
        strip = None if self.make_strip is None else self.make_strip(shape)
        whole = shape if strip is None else (shape[0] + strip.shape[0], *shape[1:])
        count = (len(self.X), len(self.columns))
        if 4.0 * np.prod(count) * np.prod(whole) <= self.limit_bytes:
            self.array = np.empty((*count, *whole), np.float32)
        else:
            self._entries = [[None] * count[1] for _ in range(count[0])]
        self.shape, self.strip = shape, strip

    def _own_bank(self):
        with self._lock:
            if self._scratch is None:
                try:
                    self._scratch = ScratchFolder()
                except OSError as error:
                    raise BankError(
                        f"prepared images beyond memory_limit_mb have no place ({error}); name a "
                        "folder: memory=..., or TMPDIR for temporary files"
                    ) from error
        return ImageBank(self._scratch.path)
