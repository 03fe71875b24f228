"""Disk caches for what is made from images, keyed by what the image file holds.

A result belongs to the content of the file or the voxels in memory, to the function and what it was
given, and to the code of this package; so a changed file is read again and an unchanged one never.
"""

import functools
import os
import time
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path

import joblib

from ..grids import open_image
from .checked_store import CHECKED
from .code_identity import code_version
from .contents import image_content
from .identity import identity
from .upkeep.savings import note_made, note_reused

__all__ = ["Identified", "as_memory", "cached_call", "image_identity"]

# What reads and resamples images, besides the code of this package.
_LIBRARIES = ("nibabel", "nilearn", "numpy", "pillow", "scipy")


class Identified:
    """A large argument of a cached call that its identity stands for, so that it is hashed once.

    Parameters
    ----------
    value : object
        What the called function uses.
    identity : str
        Equal exactly when values are equal, for example a hash.

    Examples
    --------
    >>> import joblib
    >>> joblib.hash(Identified([1, 2], "ours")) == joblib.hash(Identified([3], "ours"))
    True
    """

    def __init__(self, value, identity):
        self.value = value
        self.identity = identity

    def __getstate__(self):
        return self.identity


def as_memory(memory):
    """A `joblib.Memory` whose entries are checked, from what scikit-learn accepts as `memory`.

    Parameters
    ----------
    memory : None, str, os.PathLike or joblib.Memory
        Folder for the results; None means no cache. It holds pickles, and opening one runs whatever
        code it holds: name only folders that nobody else can write to. Of a joblib.Memory with a
        folder the same folder is used.

    Returns
    -------
    joblib.Memory
        A damaged entry in its folder, or one without checksum, is computed again.
    """
    if memory is None:
        return joblib.Memory(None, verbose=0)
    if isinstance(memory, (str, os.PathLike)):
        return joblib.Memory(Path(os.path.expanduser(memory)), backend=CHECKED, verbose=0)
    if (
        isinstance(memory, joblib.Memory)
        and memory.backend == "local"
        and memory.location is not None
    ):
        return joblib.Memory(
            memory.location,
            backend=CHECKED,
            mmap_mode=memory.mmap_mode,
            compress=memory.compress,
            verbose=memory._verbose,
            backend_options=memory.backend_options,
        )
    return memory


def image_identity(image):
    """What identifies an image: a short tuple that changes when the image does.

    Parameters
    ----------
    image : str, os.PathLike or nibabel spatial image
        Of a file all bytes count, and those of the other half of an .img/.hdr pair, but not its
        place, name or times.

    Raises
    ------
    ImageError
        If there is no such file.
    """
    if isinstance(image, (str, os.PathLike)):
        return ("file", *image_content(image))
    return ("in memory", identity(open_image(image)))


def cached_call(memory, function, recognise=image_identity, locked=None, counted=True):
    """Wrap `function(image, *args)` so that its result is kept in `memory`.

    Parameters
    ----------
    memory : joblib.Memory
        As `as_memory` makes it.
    function : callable
        A module-level function whose first argument is an image or its path.
    recognise : callable, default=image_identity
        What tells one image from another.
    locked : callable, default=None
        Takes the key of a result and returns a context in which it is looked for and made.
    counted : bool, default=True
        Whether this is what a scan costs, see `upkeep.savings`.

    Returns
    -------
    callable
        Same arguments, same result; without a cache location it is `function` itself.
    """
    if memory.location is None:
        return function
    keyed = memory.cache(_call, ignore=["function", "args", "image", "made"])
    maker = identity((function, code_version("imaging"), _library_versions()))

    def call(image, *args):
        start, made = time.perf_counter(), []
        key = identity((maker, recognise(image), args))
        with nullcontext() if locked is None else locked(key):
            result, seconds = keyed(key, function, args, image=image, made=made)
        spent = time.perf_counter() - start
        if made and counted:
            note_made(spent)
        elif counted:
            note_reused(seconds, reading=spent)
        return result

    return call


def _call(key, function, args, image, made):
    """The result, and how many seconds it took; `made` tells this call from one that was kept."""
    start = time.perf_counter()
    result = function(image, *args)
    made.append(key)
    return result, time.perf_counter() - start


@functools.cache
def _library_versions():
    return tuple(metadata.version(name) for name in _LIBRARIES)
