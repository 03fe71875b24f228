"""joblib's folder of results, with a checksum in each that is compared before it is opened.

Opening an entry means unpickling it: after a flipped bit that gives other numbers, or worse.
"""

import hashlib
import io
import os
import warnings
from contextlib import suppress
from pathlib import Path

import joblib
from joblib._store_backends import CacheWarning, FileSystemStoreBackend

from .files import replacing
from .hashing import new_hash
from .upkeep.entries import SEAL, SEAL_LENGTH
from .upkeep.limits import written

__all__ = ["CHECKED"]

CHECKED = "checked"  # joblib's name for this kind of store


class CheckedStore(FileSystemStoreBackend):
    """A folder whose entries count only while they are what was written.

    An entry that is damaged, or has no checksum because something else wrote it, is not there: it
    is computed again and replaced. This protects from faults of disks and copies, not from people:
    whoever can write to the folder can write a checksum.
    """

    def contains_item(self, call_id):
        return self._pickle(call_id, complain=True) is not None

    def load_item(self, call_id, verbose=1, timestamp=None, metadata=None):
        with suppress(OSError):
            os.utime(self._path(call_id))  # the time of its last use, see `upkeep`
        content = self._pickle(call_id)
        if content is None:
            raise KeyError(f"{self._path(call_id)} is missing or damaged")
        if self.mmap_mode is not None:
            return joblib.load(self._path(call_id), mmap_mode=self.mmap_mode)
        return joblib.load(io.BytesIO(content))

    def dump_item(self, call_id, item, verbose=1):
        path = self._path(call_id)
        try:
            try:
                self._write(path, item)
            except FileNotFoundError:  # the empty folder was removed meanwhile
                self._write(path, item)
            written(self._cache(), path.stat().st_size)
        except Exception as error:
            warnings.warn(
                f"a result could not be kept in {str(path.parent)!r} ({error}); it will be "
                "computed again",
                CacheWarning,
                stacklevel=2,
            )

    def _write(self, path, item):
        self.create_location(path.parent)
        with replacing(path) as temporary:
            with open(temporary, "wb") as file:
                joblib.dump(item, file, compress=self.compress)
            _seal(temporary, path)

    def _cache(self):
        """The folder that was given as `memory`: of text, joblib takes a folder within."""
        location = Path(self.location)
        return location.parent if location.name == "joblib" else location

    def store_cached_func_code(self, call_id, func_code=None):
        folder = Path(self.location, *call_id)
        self.create_location(folder)
        if func_code is not None:
            with replacing(folder / "func_code.py") as temporary:
                temporary.write_bytes(func_code.encode())
                _seal(temporary, folder / "func_code.py")

    def store_metadata(self, call_id, metadata):
        """Nothing: joblib's note of arguments and duration is not used here."""

    def get_cached_func_code(self, call_id):
        path = Path(self.location, *call_id, "func_code.py")
        content = _unsealed(path.read_bytes(), path)
        if content is None:  # joblib writes it again; other code would make it empty the folder
            raise OSError(f"{path} is damaged")
        return content.decode()

    def _path(self, call_id):
        return Path(self.location, *call_id, "output.pkl")

    def _pickle(self, call_id, complain=False):
        """The bytes of an entry without the checksum, or None."""
        path = self._path(call_id)
        try:
            found = path.read_bytes()
        except OSError:
            return None
        content = _unsealed(found, path)
        if content is None and complain and SEAL in found[-SEAL_LENGTH:]:
            warnings.warn(
                f"the kept result {os.fspath(path)!r} is damaged and is computed again; check the "
                "disk",
                stacklevel=2,
            )
        return content


def _seal(temporary, path):
    """Write the checksum of a file and of the folder that it is for; elsewhere it is worthless."""
    with open(temporary, "r+b") as file:
        whole = hashlib.file_digest(file, new_hash)
        whole.update(path.parent.name.encode())
        file.seek(0, os.SEEK_END)
        file.write(SEAL + whole.hexdigest().encode() + b"\n")


def _unsealed(found, path):
    content = memoryview(found)[:-SEAL_LENGTH]
    whole = new_hash()
    whole.update(content)
    whole.update(path.parent.name.encode())
    fits = found[-SEAL_LENGTH:] == SEAL + whole.hexdigest().encode() + b"\n"
    return bytes(content) if fits else None


joblib.register_store_backend(CHECKED, CheckedStore)
