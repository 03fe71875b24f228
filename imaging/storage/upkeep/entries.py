"""What of a folder is this package's own: entries of its caches, known by place and by mark.

A cache may lie in a folder with other files. Nothing is counted or removed that has not the name,
the place and the mark of an entry.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..files import owned_file

__all__ = [
    "FITS",
    "IMAGES",
    "IMAGE_MARK",
    "KINDS",
    "SEAL",
    "SEAL_LENGTH",
    "VALUES",
    "Entry",
    "find_entries",
    "remove",
    "remove_empty",
]

# An image begins with its mark; the checksum of a pickle follows it, since pickles end by
# themselves: others can still read such an entry.
IMAGE_MARK = b"PRI"
SEAL = b"\n# blake2b "
SEAL_LENGTH = len(SEAL) + 64 + 1

IMAGES, VALUES, FITS = "prepared images", "computed values", "finished fits"
KINDS = (IMAGES, VALUES, FITS)
_IMAGE = re.compile(r".*/[0-9a-f]{64}/[0-9a-f]{3}/[0-9a-f]{64}\.image")
_LOCKED = re.compile(r".*/(calling|[0-9a-f]{64})/[0-9a-f]{3}")
_PICKLE = re.compile(r"(.*)/[0-9a-f]{32}/output\.pkl")
# Only these two functions have their results kept, see `caching` and `compare(resume=)`.
_MAKERS = {
    "imaging/storage/caching/_call": VALUES,
    "prognosis/evaluation/protocol/resuming/_finish": FITS,
}


@dataclass(frozen=True)
class Entry:
    """One result that is kept.

    Attributes
    ----------
    path : str
    kind : str
        One of `KINDS`.
    size : int
        Bytes.
    used_ns : int
        When it was written or last read, nanoseconds since 1970.
    """

    path: str
    kind: str
    size: int
    used_ns: int


def find_entries(folder, others=None):
    """All entries in a folder, by their names; symbolic links are not followed.

    Parameters
    ----------
    folder : str or os.PathLike
    others : list, default=None
        To which the sizes of all other files are appended, but for the bookkeeping of caches.

    Yields
    ------
    Entry
    """
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            found = list(os.scandir(waiting.pop()))
        except OSError:  # it went meanwhile, or is nobody's business
            continue
        for one in found:
            with suppress(OSError):
                if one.is_dir(follow_symlinks=False):
                    waiting.append(one.path)
                    continue
                status, kind = one.stat(follow_symlinks=False), None
                if one.is_file(follow_symlinks=False):
                    kind = _kind(one.path)
                if kind is not None:
                    yield Entry(one.path, kind, status.st_size, status.st_mtime_ns)
                elif others is not None and not _is_own(one.name):
                    others.append(status.st_size)


def remove(entry):
    """Remove an entry, unless it was used since it was found, or is none by its mark.

    Parameters
    ----------
    entry : Entry

    Returns
    -------
    bool
        Whether it is gone.
    """
    path, aside = Path(entry.path), None
    try:
        if not _is_marked(entry):
            return False
        # Out of everybody's sight first: whoever reads it from now on has missed it, and who has
        # used it a moment ago has left a later time.
        aside = owned_file(path.parent)
        os.replace(path, aside)
        if aside.stat().st_mtime_ns != entry.used_ns:
            os.replace(aside, path)
            return False
    except OSError:  # in use (Windows), somebody else's, or gone already
        return not path.exists()
    finally:
        if aside is not None:
            with suppress(OSError):  # it is back in its place
                aside.unlink()
    with suppress(OSError):  # it holds another file
        path.parent.rmdir()
    return True


def remove_empty(folder):
    """Remove the folders of prepared images that hold nothing but a lock that nobody holds.

    Parameters
    ----------
    folder : str or os.PathLike
    """
    from filelock import FileLock, Timeout

    for here, _, names in os.walk(folder, topdown=False):
        if names != ["lock"] or not _LOCKED.fullmatch(here.replace(os.sep, "/")):
            continue
        with suppress(OSError, Timeout):
            with FileLock(os.path.join(here, "lock"), timeout=0):
                os.unlink(os.path.join(here, "lock"))
            os.rmdir(here)
            os.rmdir(os.path.dirname(here))  # if this was the last one


def _kind(path):
    path = path.replace(os.sep, "/")
    if path.endswith(".image"):
        return IMAGES if _IMAGE.fullmatch(path) else None
    match = _PICKLE.fullmatch(path) if path.endswith("/output.pkl") else None
    if match is not None:
        for maker, kind in _MAKERS.items():
            if match[1].endswith(f"/{maker}"):
                return kind
    return None


def _is_own(name):
    """Whether a file is of the bookkeeping of caches: locks, limits, joblib's notes of code."""
    return name in ("lock", "func_code.py") or name.startswith(".")


def _is_marked(entry):
    with open(entry.path, "rb") as file:
        if entry.kind == IMAGES:
            return file.read(len(IMAGE_MARK)) == IMAGE_MARK
        if entry.size < SEAL_LENGTH:
            return False
        file.seek(-SEAL_LENGTH, os.SEEK_END)
        return file.read(len(SEAL)) == SEAL
