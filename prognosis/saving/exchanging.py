"""Copies of fitted models in which parts that no plain file holds are exchanged for others.

What is inside a model is found as pickling finds it, and copied as `copy.deepcopy` copies it, so
nothing has to be known of the classes in between; nothing is ever unpickled.
"""

import copy
import io
import pickle

__all__ = ["exchanged", "parts_of"]


def exchanged(model, kinds, exchange):
    """A deep copy of a model, with some of its parts exchanged.

    Parameters
    ----------
    model : object
        Left as it is.
    kinds : tuple of type
        What is exchanged; nothing inside of such a part is looked at.
    exchange : callable
        Takes a part, returns what the copy holds in its place. Called once for each.

    Returns
    -------
    object

    Examples
    --------
    >>> from pathlib import PurePosixPath
    >>> exchanged({"a": [PurePosixPath("x/y"), 3]}, (PurePosixPath,), str)
    {'a': ['x/y', 3]}
    """
    parts = parts_of(model, kinds)
    memo = {id(part): exchange(part) for part in parts}
    if id(model) in memo:
        return memo[id(model)]
    # The parts stay alive in `parts`, so their numbers are theirs alone.
    return copy.deepcopy(model, memo)


def parts_of(model, kinds, *, within=False):
    """All parts of some kinds inside of a model, each once, in the order in which they are met.

    Parameters
    ----------
    model : object
    kinds : tuple of type
    within : bool, default=False
        Whether to look inside of the parts that were found, too.

    Returns
    -------
    list
    """
    finder = _Finder(kinds, within)
    finder.dump(model)
    return list(finder.found.values())


class _Nowhere(io.RawIOBase):
    def writable(self):
        return True

    def write(self, data):
        return len(data)


class _Finder(pickle.Pickler):
    """Walks through an object as if to pickle it; what it writes goes nowhere."""

    def __init__(self, kinds, within):
        super().__init__(_Nowhere(), protocol=5, buffer_callback=lambda buffer: None)
        self.kinds, self.within = kinds, within
        self.found = {}

    def persistent_id(self, part):
        if not isinstance(part, self.kinds):
            return None
        self.found[id(part)] = part
        return None if self.within else ""
