"""Who is using what a cache holds, so that nobody removes it meanwhile.

A process that reads entries again and again leaves a small file in the cache. Entries that were
used since then stay; the file goes with the object that made it, or with its process.
"""

import os
import time
import weakref
from contextlib import suppress
from pathlib import Path

from ..files import is_left_over, owned_file

__all__ = ["InUse", "earliest_use"]

FOLDER = ".in-use"
AGAIN_S = 600  # a sign of life, for machines that cannot ask this one
TICK_S = 2.0  # of the clocks of file systems


class InUse:
    """Keeps entries of a cache that are used from now on, for as long as this object lives.

    Where the folder cannot be written to, nothing is promised: nobody else writes there, either.

    Parameters
    ----------
    folder : str or os.PathLike
        The cache.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> using = InUse(folder)
    >>> earliest_use(folder) < time.time()
    True
    >>> del using
    >>> earliest_use(folder)
    inf
    """

    def __init__(self, folder):
        self._path, self._end, self._told = None, None, time.monotonic()
        with suppress(OSError):
            place = Path(folder, FOLDER)
            place.mkdir(parents=True, exist_ok=True)
            self._path = owned_file(place)
            # By the file system's clock, as the times of the entries are.
            since = self._path.stat().st_mtime
            self._end = weakref.finalize(self, _unlink, self._path)
            self._path.write_text(repr(since))

    def __getstate__(self):  # a copy in another process keeps nothing by itself
        return {"_path": None, "_end": None, "_told": 0.0}

    def tell(self):
        """Say now and then that this process lives."""
        if self._path is not None and time.monotonic() - self._told > AGAIN_S:
            self._told = time.monotonic()
            with suppress(OSError):
                os.utime(self._path)


def earliest_use(folder):
    """Since when somebody is using entries, seconds since 1970; infinite where nobody is.

    Parameters
    ----------
    folder : str or os.PathLike
    """
    times = [float("inf")]
    with suppress(OSError):
        for one in os.scandir(Path(folder, FOLDER)):
            if is_left_over(one.path):
                continue
            with suppress(OSError):
                since = one.stat().st_mtime
                with suppress(ValueError):  # it is just being written
                    since = float(Path(one.path).read_text())
                times.append(since - TICK_S)
    return min(times)


def _unlink(path):
    with suppress(OSError):
        path.unlink()
