"""Prepared images, each made once and kept in a file of its own, for every process that needs it.

A file holds plain numbers with a checksum, so nothing is unpickled and a damaged file is noticed;
it belongs to the content of the scan, to what was made of it, and to the version of the code.
"""

import contextlib
import json
import os
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ImageError
from ..grids import Grid
from .caching import as_memory, cached_call, image_identity
from .code_identity import code_version
from .contents import image_state
from .files import replacing
from .identity import identity
from .upkeep.entries import IMAGE_MARK
from .upkeep.limits import written
from .upkeep.savings import note_made, note_reused
from .upkeep.usage import InUse

__all__ = [
    "BankEntry",
    "BankError",
    "ImageBank",
    "Recipe",
    "RowsInFiles",
    "keeping",
    "shared_bank",
    "sharing",
]

_MAGIC = IMAGE_MARK + b"2"
_HEAD = struct.Struct("<4sII")  # magic, checksum of all that follows it, length of the description
_SHARED = []
_LOOKS, _LOOK_S = 5, 0.02  # a file that is just being looked at for removal comes back


class BankError(ImageError):
    """Prepared images cannot be kept where they should be: the message says why."""


@dataclass(frozen=True)
class Recipe:
    """How one scan becomes an array.

    Parameters
    ----------
    function : callable
        Module-level; takes a scan and `arguments`, returns an array and the `Grid` it had, and
        perhaps a note: whatever else was seen on the way, a dict for JSON or None.
    arguments : tuple
    identity : str
        Equal exactly when the arguments are equal in what they do.
    """

    function: object
    arguments: tuple
    identity: str

    def __call__(self, image):
        """Array, grid and note of a scan."""
        array, grid, *note = self.function(image, *self.arguments)
        return np.ascontiguousarray(array, dtype=np.float32), grid, note[0] if note else None

    @property
    def key(self):
        """What tells this recipe's files from those of another, or of other code."""
        packages = ("imaging", self.function.__module__.partition(".")[0])
        name = (self.function.__module__, self.function.__qualname__)
        return identity((code_version(*sorted(set(packages))), name, self.identity))


@dataclass(frozen=True)
class BankEntry:
    """One prepared image in a file, which took so many seconds to prepare."""

    path: Path
    shape: tuple
    grid: Grid
    note: dict | None = None
    seconds: float = 0.0

    def read(self):
        """The image, float32.

        Raises
        ------
        ImageError
            If the file was damaged or removed since; it is made again the next time.
        """
        try:
            _, values = _opened(self._bytes(), self.path.name)
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                self.path.unlink()
            raise ImageError(
                f"the prepared image {str(self.path)!r} was damaged or removed while it was in "
                "use; run this again, and it is made anew"
            ) from error
        return values

    def _bytes(self):
        for _ in range(_LOOKS):
            with contextlib.suppress(FileNotFoundError):
                return self.path.read_bytes()
            time.sleep(_LOOK_S)
        return self.path.read_bytes()


class ImageBank:
    """A folder of prepared images.

    Parameters
    ----------
    folder : str or os.PathLike
        Made when it is needed. Several processes may use it at once; no scan is prepared twice.
    brief : bool, default=False
        The folder is of one run only: a file is known by its place, size and times, and so is not
        read to be recognised. A lasting folder knows files by their content.
    cache : str or os.PathLike, default=None
        The cache that this folder is part of, whose limit counts here; see `CacheFolder`.

    Examples
    --------
    >>> import tempfile
    >>> import nibabel as nib
    >>> def halved(image):
    ...     return np.asanyarray(image.dataobj) / 2, Grid.of(image)
    >>> bank = ImageBank(tempfile.mkdtemp())
    >>> scan = nib.Nifti1Image(np.ones((2, 3, 4), np.float32), np.eye(4))
    >>> entry, array = bank.fetch(Recipe(halved, (), "halved"), scan)
    >>> entry.shape, bool((entry.read() == array).all())
    ((2, 3, 4), True)
    """

    def __init__(self, folder, *, brief=False, cache=None):
        self.folder = Path(os.path.expanduser(folder))
        self.brief = brief
        self.cache = None if cache is None else Path(os.path.expanduser(cache))

    def fetch(self, recipe, image):
        """The prepared image of one scan, made now if it is not there yet.

        Parameters
        ----------
        recipe : Recipe
        image : str, os.PathLike or nibabel spatial image

        Returns
        -------
        entry : BankEntry
        array : ndarray, float32

        Raises
        ------
        ImageError
            If the scan cannot be used.
        BankError
            If the folder cannot be written to.
        """
        kind = recipe.key  # the code is looked at once in a process, whatever the images
        start = time.perf_counter()
        path = self._path(kind, identity(self._recognise(image)))
        found = self._found(path)
        if found is None:
            # Another process may be at the same scan: it is waited for, not repeated.
            with self._locked(path.parent):
                found = self._found(path)
                if found is None:
                    begin = time.perf_counter()
                    array, grid, note = recipe(image)
                    seconds = time.perf_counter() - begin
                    entry = self._written(path, array, grid, note, seconds)
                    note_made(time.perf_counter() - start)
                    return entry, array
        note_reused(found[0].seconds, reading=time.perf_counter() - start)
        return found

    def using(self):
        """Keep what is fetched from now on from being removed, while the object returned lives."""
        return None if self.cache is None else InUse(self.cache)

    def kept_call(self, function):
        """Wrap `function(image, *arguments)` so that each result is computed once and kept here.

        Parameters
        ----------
        function : callable
            As `imaging.storage.caching.cached_call` takes.
        """
        return cached_call(
            as_memory(self.folder / "calls"),
            function,
            self._recognise,
            locked=lambda key: self._locked(self.folder / "calling" / key[:3]),
        )

    def put(self, name, array, grid):
        """Keep an image under a name of one's own; returns its `BankEntry`."""
        return self._written(self._path("named", name), array, grid)

    def _recognise(self, image):
        named = isinstance(image, (str, os.PathLike))
        state = image_state(image) if self.brief and named else None
        return image_identity(image) if state is None else state

    def _path(self, kind, name):
        """Many small folders: in a large one, each writing would take longer than the last."""
        return self.folder / kind / name[:3] / f"{name}.image"

    @contextlib.contextmanager
    def _locked(self, folder):
        from filelock import FileLock

        with self._explaining():
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / "lock")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _found(self, path):
        """Entry and array of a file, or None where there is none that is whole."""
        if self.cache is not None:
            with contextlib.suppress(OSError):  # somebody else's, or not there
                os.utime(path)  # the time of its last use, see `upkeep`; before it is read
        return _found(path)

    def _written(self, path, array, grid, note=None, seconds=0.0):
        with self._explaining():
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                _write(temporary, path.name, array, grid, note, seconds)
            written(self.cache, array.size * 4)
        return BankEntry(path, array.shape, grid, note, seconds)

    @contextlib.contextmanager
    def _explaining(self):
        try:
            yield
        except OSError as error:
            raise BankError(
                f"prepared images cannot be kept in {str(self.folder)!r} ({error.strerror}); make "
                "room there, or name another folder: memory=..., or TMPDIR for temporary files"
            ) from error


class RowsInFiles:
    """Images for `ImageRows` that stay in files.

    Parameters
    ----------
    entries : list of list of BankEntry
        Of every image, one for each channel.
    below : callable, default=None
        Takes row numbers and returns the pixels that continue these 2-D images downwards, in all
        of their channels, shape (n, height, width); its `shape` says height and width.
    keep : object, default=None
        Kept as long as this is, for instance the folder that holds the files.
    using : InUse, default=None
        Of the bank that the entries are from.
    """

    def __init__(self, entries, below=None, keep=None, using=None):
        self.entries = entries
        self.below = below
        self.keep = keep
        self.using = using
        first = entries[0][0].shape
        if below is not None:
            first = (first[0] + below.shape[0], *first[1:])
        self.shape = (len(entries), len(entries[0]), *first)

    def __call__(self, rows):
        if self.using is not None:
            self.using.tell()
        found = np.empty((len(rows), *self.shape[1:]), np.float32)
        for place, row in enumerate(rows):
            for channel, entry in enumerate(self.entries[row]):
                found[place, channel, : entry.shape[0]] = entry.read()
        if self.below is not None:
            found[:, :, -self.below.shape[0] :] = self.below(rows)[:, None]
        return found


@contextlib.contextmanager
def sharing(bank):
    """Let whatever prepares images in this process keep them in `bank` until the block ends.

    Parameters
    ----------
    bank : ImageBank or None
        None changes nothing.
    """
    if bank is None:
        yield
        return
    _SHARED.append(bank)
    try:
        yield
    finally:
        _SHARED.remove(bank)


def shared_bank():
    """The bank that is shared at present, or None."""
    return _SHARED[-1] if _SHARED else None


def keeping(memory, function):
    """Wrap `function(image, *arguments)` so that each result is computed once.

    Parameters
    ----------
    memory : joblib.Memory
        Where results are kept; one without a folder keeps them in the shared bank, if there is one.
    function : callable
        As `cached_call` takes.
    """
    shared = shared_bank()
    if memory.location is None and shared is not None:
        return shared.kept_call(function)
    return cached_call(memory, function)


def _write(path, name, array, grid, note, seconds):
    about = {"shape": array.shape, "grid_shape": grid.shape, "grid_rows": grid.rows, "note": note}
    about["seconds"], about["name"] = seconds, name
    text = json.dumps(about).encode()
    values = np.ascontiguousarray(array, dtype="<f4")
    checksum = zlib.crc32(values, zlib.crc32(text))
    with open(path, "wb") as file:
        file.write(_HEAD.pack(_MAGIC, checksum, len(text)) + text)
        file.write(values)


def _opened(content, name):
    """Description and values of a file's bytes; ValueError if they are not as written.

    Nor may they stand under another name: that would be the image of somebody else.
    """
    if len(content) < _HEAD.size:
        raise ValueError("too short")
    magic, checksum, length = _HEAD.unpack_from(content)
    body = memoryview(content)[_HEAD.size :]
    if magic != _MAGIC or zlib.crc32(body) != checksum:
        raise ValueError("not as it was written")
    about = json.loads(bytes(body[:length]))
    if about.get("name") != name:
        raise ValueError("written under another name")
    values = np.frombuffer(body[length:], "<f4").reshape(about["shape"])
    return about, values


def _found(path):
    """Entry and array of a file, or None where there is none that is whole."""
    try:
        about, values = _opened(path.read_bytes(), path.name)
        rows = about["grid_rows"]
        grid = Grid(tuple(about["grid_shape"]), rows and tuple(map(tuple, rows)))
        entry = BankEntry(path, tuple(about["shape"]), grid, about["note"], about["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return entry, values
