"""What files hold, as short hashes: of any file, and of images with all their parts.

A file is hashed once per process and state; size and time alone are never believed.
"""

import hashlib
import os
import re
import time
from pathlib import Path

from ..errors import ImageError
from .hashing import new_hash

__all__ = [
    "file_content",
    "image_content",
    "image_state",
    "label_tables",
    "named_content",
    "settled_state",
]

_SETTLED_S = 2.0  # clocks of file systems tick: within one tick a file can change twice
_PARTS = ((".hdr", ".img", ".mat"), (".par", ".rec"), (".head", ".brik"))
_COMPRESSED = (".gz", ".bz2", ".zst")
_TABLE_SUFFIXES = (".txt", ".csv", ".tsv")
_known = {}  # path: (state, hash)


def file_content(path):
    """Hash of a file's bytes.

    Parameters
    ----------
    path : str or os.PathLike
        ``~`` is the home folder.

    Returns
    -------
    str
        Hexadecimal, 64 digits.

    Raises
    ------
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a").write_text("same"), (folder / "b").write_text("same")
    >>> file_content(folder / "a") == file_content(folder / "b")
    True
    """
    path = os.path.abspath(os.path.expanduser(os.fspath(path)))
    known = _known.get(path)
    if known is not None and known[0] == _state(os.stat(path)):
        return known[1]
    with open(path, "rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        content = hashlib.file_digest(file, new_hash).hexdigest()
        after = os.fstat(file.fileno())
    # Windows keeps no time of the last change that programs cannot set: there nothing is believed.
    settled = os.name != "nt" and time.time() - after.st_ctime > _SETTLED_S
    if settled and _state(before) == _state(after):
        _known[path] = (_state(after), content)
    else:
        _known.pop(path, None)
    return content


def image_content(path):
    """Hashes of an image file and of the other halves of its format (.img with .hdr and .mat).

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    tuple of str
        Ending and hash of each file, in the order of their endings but the named one first. The
        folder and the name do not matter.

    Raises
    ------
    ImageError
        If there is no such file, or it cannot be read.
    """
    file = os.path.expanduser(os.fspath(path))
    try:
        return _contents(_parts(file))
    except OSError as error:
        if not os.path.isfile(file):
            reason = f"no file at {str(path)!r}; correct the path or drop the row"
        else:
            reason = (
                f"{str(path)!r} cannot be read ({error.strerror}); mend its permissions or drop "
                "the row"
            )
        raise ImageError(reason) from error


def image_state(path):
    """What tells an image file from others, and from itself when it changes, without reading it.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    tuple or None
        Place, size and times of the file and of the other halves of its format. None on Windows,
        where programs can set all times.
    """
    if os.name == "nt":
        return None
    try:
        return tuple(_state(os.stat(file)) for file in _parts(os.path.expanduser(os.fspath(path))))
    except OSError:
        return None


def settled_state(path):
    """As `image_state`, or None of a file that was written so lately that it may yet change unseen.

    For what is kept in this process only.
    """
    state = image_state(path)
    if state is None or any(time.time() - part[-1] / 1e9 <= _SETTLED_S for part in state):
        return None
    return state


def named_content(path):
    """Hashes of a file that a parameter names: an image's other halves and label tables, too.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    tuple of str or None
        None if it names no file that can be read.
    """
    file = os.path.expanduser(os.fspath(path))
    if not os.path.isfile(file):
        return None
    tables = label_tables(Path(os.path.realpath(file) if os.path.islink(file) else file))
    tables = [table for table in map(os.fspath, tables) if os.path.isfile(table) and table != file]
    try:
        return _contents([*_parts(file), *tables])
    except OSError:
        return None


def label_tables(path):
    """Where the label table of an atlas may be: beside it, under the same name.

    Examples
    --------
    >>> [path.name for path in label_tables(Path("aal.nii.gz"))]
    ['aal.txt', 'aal.csv', 'aal.tsv']
    """
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
    return [path.with_name(stem + suffix) for suffix in _TABLE_SUFFIXES]


def _state(status):
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *times)


def _parts(file):
    """The file itself, then the other halves of its format, in the order of their endings."""
    stem, ending = os.path.splitext(file)
    if ending.lower() in _COMPRESSED:
        stem, ending = os.path.splitext(stem)
    for group in _PARTS:
        if ending.lower() in group:
            names = [
                stem + case(other) + compressed
                for other in group
                for case in (str.lower, str.upper)
                for compressed in ("", *_COMPRESSED)
            ]
            found = [file, *(name for name in names if os.path.isfile(name))]
            # Each once, where the file system takes .HDR for .hdr.
            distinct = {os.stat(name).st_ino: name for name in reversed(found)}
            return [file, *sorted(name for name in distinct.values() if name != file)]
    return [file]


def _contents(files):
    """Ending and hash of each: the format is chosen by the ending."""
    return tuple(text for file in files for text in (_ending(file), file_content(file)))


def _ending(file):
    stem, ending = os.path.splitext(file.lower())
    return os.path.splitext(stem)[1] + ending if ending in _COMPRESSED else ending
