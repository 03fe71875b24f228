"""`CacheFolder`: look at a cache, limit it, clear it."""

import os
from contextlib import suppress
from pathlib import Path

from ..files import is_left_over
from .entries import FITS, KINDS, find_entries, remove, remove_empty
from .limits import find_limit, set_limit, shrink
from .usage import earliest_use

__all__ = ["CacheFolder"]


class CacheFolder:
    """A folder that was given as `memory` or `resume`: what it holds, and how large it may grow.

    Only entries that this package made are counted and removed; other files in the folder stay.

    Parameters
    ----------
    folder : str or os.PathLike

    Notes
    -----
    With a limit, whoever writes makes room: prepared images and computed values that were not used
    for longest leave first. What a running fit reads stays, and so do finished fits of
    ``compare(resume=)``, though they count. For a moment a folder can be larger, by a twentieth of
    the limit for each process that writes. A folder without a limit of its own has that of the
    environment variable ``PROGNOSIS_CACHE_LIMIT``, else none.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> cache = CacheFolder(tempfile.mkdtemp())
    >>> cache.set_limit("20GB")
    0
    >>> cache.limit
    20000000000
    >>> cache.look()["prepared images"]
    {'entries': 0, 'bytes': 0, 'last_used': None}
    """

    def __init__(self, folder):
        self.folder = Path(os.path.expanduser(folder))
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"no folder at {str(folder)!r}; give the one that was given as memory or resume"
            )

    @property
    def limit(self):
        """Bytes beyond which entries leave, its own or the environment's; None: never."""
        return find_limit(self.folder)

    def look(self):
        """What is kept.

        Returns
        -------
        dict of str to dict
            For "prepared images", "computed values" and "finished fits": number of ``entries``,
            ``bytes`` and, in seconds since 1970, when one was ``last_used`` (None without any).
            ``"other files"``, which are not this package's, have no time.
        """
        others = []
        found = {kind: {"entries": 0, "bytes": 0, "last_used": None} for kind in KINDS}
        for entry in find_entries(self.folder, others):
            row = found[entry.kind]
            row["entries"] += 1
            row["bytes"] += entry.size
            row["last_used"] = max(row["last_used"] or 0, entry.used_ns / 1e9)
        return found | {"other files": {"entries": len(others), "bytes": sum(others)}}

    def set_limit(self, limit):
        """Limit the folder, for every process that writes to it from now on, and make room.

        Parameters
        ----------
        limit : int, str or None
            Bytes, or text such as "20GB"; None: no limit.

        Returns
        -------
        int
            Entries that were removed.

        Raises
        ------
        ValueError
            If it is no size.
        OSError
            If the folder cannot be written to.
        """
        set_limit(self.folder, limit)
        return 0 if limit is None else len(shrink(self.folder, self.limit)[1])

    def clear(self, kinds=KINDS):
        """Remove entries, but for those that somebody is using.

        Parameters
        ----------
        kinds : sequence of str
            Of "prepared images", "computed values" and "finished fits".

        Returns
        -------
        removed, kept : int
            Entries.

        Raises
        ------
        ValueError
            If there is no such kind.
        """
        unknown = set(kinds).difference(KINDS)
        if unknown:
            raise ValueError(f"{sorted(unknown)[0]!r}: the kinds are {', '.join(KINDS)}")
        used_from, removed, kept = earliest_use(self.folder), 0, 0
        for entry in list(find_entries(self.folder)):
            if entry.kind not in kinds:
                continue
            # A fit that is being read was read at once.
            free = entry.kind == FITS or entry.used_ns / 1e9 < used_from
            gone = free and remove(entry)
            removed, kept = removed + gone, kept + (not gone)
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                if is_left_over(path):
                    with suppress(OSError):
                        os.unlink(path)
        remove_empty(self.folder)
        return removed, kept
