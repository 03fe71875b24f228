"""Disk caches for what is made from images, keyed by the file, not by its voxels.

A cached result belongs to a path, its size and its modification time, or, for an image in memory,
to its voxels and affine; so a changed file is read again and an unchanged one never is.
"""

import os
from importlib import metadata
from pathlib import Path

import joblib
import numpy as np

from .errors import ImageError
from .volumes import open_image

__all__ = ["Identified", "as_memory", "cached_call", "fingerprint"]


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
    """A `joblib.Memory` from what scikit-learn accepts as `memory`.

    Parameters
    ----------
    memory : None, str, os.PathLike or joblib.Memory
        None means no cache.
    """
    if memory is None or isinstance(memory, (str, os.PathLike)):
        location = None if memory is None else Path(memory).expanduser()
        return joblib.Memory(location, verbose=0)
    return memory


def fingerprint(source):
    """What identifies an image: a short tuple that changes when the image does.

    Parameters
    ----------
    source : str, os.PathLike or nibabel spatial image

    Raises
    ------
    ImageError
        If there is no such file.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser().absolute()
        try:
            status = path.stat()
        except OSError as error:
            raise ImageError(
                f"no file at {str(source)!r}; correct the path or drop the row"
            ) from error
        return (str(path), status.st_size, status.st_mtime_ns)
    image = open_image(source)
    voxels = np.asanyarray(image.dataobj)
    return ("in memory", joblib.hash((voxels, image.affine)))


def cached_call(memory, function):
    """Wrap `function(source, *args)` so that its result is kept in `memory`.

    Parameters
    ----------
    memory : joblib.Memory
    function : callable
        A module-level function whose first argument is an image or its path.

    Returns
    -------
    callable
        Same arguments, same result; without a cache location it is `function` itself.
    """
    if memory.location is None:
        return function
    keyed = memory.cache(_call, ignore=["source"])
    version = metadata.version("prognosis-mri")

    def call(source, *args):
        return keyed(fingerprint(source), version, function, args, source=source)

    return call


def _call(key, version, function, args, source):
    return function(source, *args)
