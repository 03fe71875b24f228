"""Write files whole or not at all.

They are written under temporary names beside their place and renamed when complete; what a killed
run left under such a name is removed by the next writer in that folder.
"""

import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
import time
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import PlaceError

__all__ = [
    "ScratchFolder",
    "is_left_over",
    "making_folder",
    "owned_file",
    "replacing",
    "replacing_all",
]

_PREFIX = ".writing-"
_NAME = re.compile(rf"{re.escape(_PREFIX)}([0-9a-f]{{8}})-(\d+)-(\d+)-")
_FORGOTTEN_S = 24 * 3600  # older ones whose owner nobody here can know are nobody's


@contextmanager
def replacing(path):
    """Give a temporary path to write to; it becomes `path` if the block ends without an error.

    Parameters
    ----------
    path : str or os.PathLike
        Its folder must exist. The temporary name has the same ending, so that writers which choose
        the format by it choose the same one. Who may read the file is what the system's umask says.

    Yields
    ------
    pathlib.Path

    Raises
    ------
    PlaceError
        If a folder of this name is there.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "note.txt") as temporary:
    ...     _ = temporary.write_text("done")
    >>> [file.name for file in folder.iterdir()]
    ['note.txt']
    """
    path = Path(path)
    if path.is_dir():
        what = "a folder stands where a file is to be written; remove it"
        raise PlaceError(errno.EISDIR, what, str(path))
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    temporary = _new(path.parent, suffix, _empty_file)
    mode = stat.S_IMODE(temporary.stat().st_mode)
    try:
        yield temporary
        # Some writers put a private file of their own in the place of the one that was given.
        if stat.S_IMODE(temporary.stat().st_mode) != mode:
            temporary.chmod(mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_all(folder):
    """Give a temporary folder to write to; its files move into `folder` together, all or none.

    Parameters
    ----------
    folder : str or os.PathLike
        Made if it does not exist. Files of other names that it holds stay.

    Yields
    ------
    pathlib.Path

    Raises
    ------
    OSError
        If a file cannot be moved; those that were there before are there again.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing_all(folder) as temporary:
    ...     _ = (temporary / "one.txt").write_text("1")
    ...     _ = (temporary / "two.txt").write_text("2")
    >>> sorted(file.name for file in folder.iterdir())
    ['one.txt', 'two.txt']
    """
    folder = Path(folder)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = _new(folder, "", os.mkdir)
    try:
        yield temporary
        _move_all(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # somebody else wrote to it
                folder.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def making_folder(path):
    """Give a temporary folder to fill; it becomes `path` if the block ends without an error.

    Parameters
    ----------
    path : str or os.PathLike
        Must not exist, or be an empty folder; the folder that holds it must exist.

    Yields
    ------
    pathlib.Path

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "study"
    >>> with making_folder(path) as temporary:
    ...     _ = (temporary / "table.csv").write_text("age")
    ...     path.exists()
    False
    >>> [file.name for file in path.iterdir()]
    ['table.csv']
    """
    path = Path(path)
    temporary = _new(path.parent, "", os.mkdir)
    try:
        yield temporary
        if path.is_dir():
            path.rmdir()
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def owned_file(folder, suffix=""):
    """Make an empty file of a name that tells which process it belongs to.

    It is removed by whoever makes the next one in that folder after that process has ended.

    Parameters
    ----------
    folder : str or os.PathLike
        Must exist.
    suffix : str, default=""

    Returns
    -------
    pathlib.Path
    """
    return _new(folder, suffix, _empty_file)


def is_left_over(path):
    """Whether a file or folder has the name of a temporary one whose process has ended.

    Parameters
    ----------
    path : str or os.PathLike
        Of other machines nobody knows; what has not changed for a day is left over.
    """
    name = os.path.basename(path)
    if not name.startswith(_PREFIX):
        return False
    gone = _owner_is_gone(name)
    return time.time() - _last_change(path) > _FORGOTTEN_S if gone is None else gone


class ScratchFolder:
    """A folder for temporary files, removed with this object at the latest.

    If the process is killed, the next scratch folder in the same place removes it.

    Parameters
    ----------
    parent : str or os.PathLike, default=None
        None: the system's folder for temporary files.

    Attributes
    ----------
    path : pathlib.Path

    Examples
    --------
    >>> with ScratchFolder() as scratch:
    ...     scratch.path.is_dir()
    True
    >>> scratch.path.exists()
    False
    """

    def __init__(self, parent=None):
        parent = tempfile.gettempdir() if parent is None else parent
        self.path = _new(parent, "", functools.partial(os.mkdir, mode=0o700))
        self._close = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def __getstate__(self):
        return {"path": self.path, "_close": None}  # a copy in another process owns nothing

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._close is not None:
            self._close()


def _move_all(temporary, folder):
    files = sorted(temporary.iterdir())
    earlier = temporary / ".earlier"
    earlier.mkdir()
    moved = []
    try:
        for file in files:
            target, kept = folder / file.name, earlier / file.name
            if os.path.lexists(target) and not target.is_dir():
                _second_name(target, kept)
            moved.append((file, target, kept))
            os.replace(file, target)
    except BaseException:
        for file, target, kept in reversed(moved):
            if os.path.lexists(file):  # was not moved
                continue
            if os.path.lexists(kept):
                os.replace(kept, target)
            else:
                target.unlink(missing_ok=True)
        raise


def _second_name(path, name):
    try:
        os.link(path, name, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without links
        shutil.copy2(path, name, follow_symlinks=False)


def _empty_file(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _new(folder, suffix, make):
    """Make a file or folder of a name that tells whose it is, after removing what was left over."""
    _remove_left_overs(folder)
    owner = f"{_host()}-{os.getpid()}-{_process(os.getpid())[1] or 0}"
    while True:
        path = Path(folder, f"{_PREFIX}{owner}-{secrets.token_hex(4)}{suffix}")
        with suppress(FileExistsError):
            make(path)
            return path


def _remove_left_overs(folder):
    try:
        found = [entry for entry in os.scandir(folder) if entry.name.startswith(_PREFIX)]
    except OSError:
        return  # the writer itself will say what is wrong with the folder
    for entry in found:
        if is_left_over(entry.path):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)


def _owner_is_gone(name):
    """Whether the process that made a temporary name has ended; None if that cannot be known."""
    match = _NAME.match(name)
    if match is None or match[1] != _host():
        return None
    pid, born = int(match[2]), match[3]
    if pid != os.getpid():
        if os.name == "nt":  # asking by os.kill would end the process
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # somebody else's: it lives
        except OverflowError:
            return None
    state, since = _process(pid)
    if state in ("Z", "X"):
        return True
    # Numbers of processes are given out again.
    return born != "0" and since is not None and since != born


def _process(pid):
    """State and time of birth (clock ticks since boot) of a process, where the system tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None, None


@functools.cache
def _host():
    """Where a process number means something: the machine and, in containers, the name space."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.blake2b(f"{platform.node()} {space}".encode(), digest_size=4).hexdigest()


def _last_change(path):
    """Time of the latest change, of a folder the latest of anything in it; now if it vanished."""
    times = []
    try:
        times.append(os.lstat(path).st_mtime)
        for folder, _, files in os.walk(path):
            times += [os.lstat(os.path.join(folder, name)).st_mtime for name in ("", *files)]
    except OSError:
        return time.time()
    return max(times)
