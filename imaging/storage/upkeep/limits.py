"""How large a cache may grow: a limit that its folder keeps, and what leaves when it is reached.

What was not used for longest leaves first. Finished fits stay, since they took hours, and so does
what anybody is using. Each process looks at the whole folder now and then, and adds up what it
writes in between.
"""

import os
import re
import time
import warnings
from contextlib import suppress
from pathlib import Path

from ..files import replacing
from .entries import FITS, find_entries, remove
from .usage import earliest_use

__all__ = ["VARIABLE", "as_bytes", "as_text", "find_limit", "set_limit", "shrink", "written"]

VARIABLE = "PROGNOSIS_CACHE_LIMIT"
FILE = ".cache-limit"
LOCK = ".cache-lock"
GOAL = 0.9  # of the limit is what is left, so that not every entry pushes one out
LOOK = 0.05  # of the limit may be written before one looks what others have written
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)B?\s*", re.IGNORECASE)
_seen = {}  # of every folder: bytes at the last look, and written since


def as_bytes(size):
    """Bytes that a size means.

    Parameters
    ----------
    size : int, float or str
        Bytes, or text such as ``"20GB"`` (a thousand million bytes each) and ``"500 MB"``.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it is none, or not above zero.

    Examples
    --------
    >>> as_bytes("1.5 GB"), as_bytes(2000)
    (1500000000, 2000)
    """
    match = None if isinstance(size, bool) else _SIZE.fullmatch(str(size))
    exact = float(match[1]) * _UNITS[match[2].upper()] if match else 0
    found = int(exact) if exact < 2**63 else 0
    if found < 1:
        raise ValueError(f"{size!r} is no size; give bytes, or text such as '20GB' or '500MB'")
    return found


def as_text(size):
    """A number of bytes for reading.

    Examples
    --------
    >>> as_text(1_234_567_890), as_text(0), as_text(999_999)
    ('1.23 GB', '0 B', '1 MB')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= 0.9995 * factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} B"


def find_limit(folder):
    """The limit of a cache: its own, else that of the environment, else None.

    Parameters
    ----------
    folder : str or os.PathLike

    Returns
    -------
    int or None
        Bytes.

    Raises
    ------
    ValueError
        If the environment variable is set to something that is no size.
    """
    with suppress(OSError, ValueError):
        text = Path(folder, FILE).read_text().strip()
        return None if text == "none" else as_bytes(text)
    text = os.environ.get(VARIABLE, "").strip()
    if not text or text.lower() == "none":
        return None
    try:
        return as_bytes(text)
    except ValueError as error:
        raise ValueError(f"the environment variable {VARIABLE}={text}: {error}") from error


def set_limit(folder, limit):
    """Let a folder keep a limit.

    Parameters
    ----------
    folder : str or os.PathLike
    limit : int, str or None
        See `as_bytes`; None is no limit, whatever the environment says.
    """
    text = "none" if limit is None else str(as_bytes(limit))
    with replacing(Path(folder, FILE)) as temporary:
        temporary.write_text(f"{text}\n")


def written(folder, size):
    """Note that an entry of so many bytes was written, and make room where that is needed.

    Parameters
    ----------
    folder : str, os.PathLike or None
        The cache; None is none.
    size : int
    """
    limit = None if folder is None else find_limit(folder)
    if limit is None:
        return
    folder = os.path.abspath(folder)
    total, since = _seen.get(folder, (None, 0))
    since += size
    if total is None or since > LOOK * limit:
        total, since = sum(entry.size for entry in find_entries(folder)), 0
    _seen[folder] = (total, since)
    if total + since > limit:
        left, _ = shrink(folder, limit)
        if left is not None:
            _seen[folder] = (left, 0)
            _warn(folder, left, limit)


def shrink(folder, limit):
    """Remove what was not used for longest until less than the limit is left.

    Parameters
    ----------
    folder : str or os.PathLike
    limit : int
        Bytes.

    Returns
    -------
    left : int or None
        Bytes that are there afterwards; None where another process is at it.
    removed : list of Entry
    """
    from filelock import FileLock, Timeout

    lock = FileLock(Path(folder, LOCK))
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return None, []
    try:
        entries = list(find_entries(folder))
        left, removed = sum(entry.size for entry in entries), []
        if left <= limit:
            return left, removed
        used_from = earliest_use(folder)
        for entry in sorted(entries, key=lambda entry: entry.used_ns):
            if left <= GOAL * limit or entry.used_ns / 1e9 >= used_from:
                break
            if entry.kind != FITS and remove(entry):
                left -= entry.size
                removed.append(entry)
        return left, removed
    finally:
        lock.release()


def _warn(folder, left, limit):
    if left <= limit or time.monotonic() - _warned.get(folder, -1e9) < 3600:
        return
    _warned[folder] = time.monotonic()
    warnings.warn(
        f"the cache {folder!r} holds {as_text(left)} that are in use or finished fits, and its "
        f"limit is {as_text(limit)}; set it higher (prognosis cache FOLDER --limit), or what is "
        "needed again is prepared again",
        stacklevel=2,
    )


_warned = {}
