"""What a value is, by content: the key of whatever is kept on disk for it.

Equal content has equal keys, whichever objects hold it; files that are named anywhere inside count
by what is in them, functions and classes by their code.
"""

import copyreg
import functools
import os
import pickle
import sys
import types

import joblib
import nibabel as nib
import numpy as np

from .code_identity import code_of_class, code_of_function, is_users, version_of
from .contents import named_content
from .hashing import combined

__all__ = ["identity"]

_NAMELESS = (type(None), type(...), type(NotImplemented))
_CONTAINERS = (list, tuple, dict, set, frozenset, np.ndarray, functools.partial)
_PLAIN = (*_NAMELESS, bool, int, float, complex, bytes, bytearray)
_FOLLOWED = (*_PLAIN, *_CONTAINERS, str, os.PathLike, np.generic)


def identity(value):
    """A hash of what a value is.

    Parameters
    ----------
    value : object
        Of anything that can be pickled:

        - text and paths that name a file: its name and content (and of an image its other halves
          and label tables), with ``~`` for the home folder;
        - arrays, tensors, tables, and nibabel images by their values;
        - estimators and other objects by class and state, without cache folders (`memory`) and
          attributes that their class lists in ``_kept_elsewhere``;
        - functions and classes by name and code: of a user's module by the module's file and by the
          code in memory, of an installed distribution by its version.

    Returns
    -------
    str
        Hexadecimal, 64 digits.

    Raises
    ------
    pickle.PicklingError, TypeError
        If something inside cannot be recognised again, such as a lambda or an open file.

    Examples
    --------
    >>> identity({"spacing_mm": [2, 2, 2]}) == identity({"spacing_mm": [2, 2, 2]})
    True
    >>> identity([1, 2]) == identity([2, 1])
    False
    """
    return _Identities().of(value).hex()


class _Identities:
    def __init__(self):
        self._done = {}  # id: (value, hash); the value is held so that its id stays its own
        self._codes = {}
        self._open = []  # ids of what is being looked at, outermost first

    def of(self, value):
        if type(value) in _PLAIN:
            return combined(type(value).__name__, repr(value))
        if isinstance(value, (str, os.PathLike)):
            return _text(os.fspath(value))
        if id(value) in self._done:
            return self._done[id(value)][1]
        if id(value) in self._open:
            return combined("cycle", str(len(self._open) - self._open.index(id(value))))
        self._open.append(id(value))
        try:
            found = self._look_at(value)
        finally:
            self._open.pop()
        self._done[id(value)] = (value, found)
        return found

    def code_of(self, value):
        """Of something that code of the user refers to: nothing, where it is not part of a model.

        Functions and classes count without a name of their own, as the methods of a class do.
        """
        if isinstance(value, (types.FunctionType, type)):
            if not is_users(value) or id(value) in self._open:
                return b""
            if id(value) not in self._codes:
                self._open.append(id(value))
                try:
                    self._codes[id(value)] = self._code(value)
                finally:
                    self._open.pop()
            return self._codes[id(value)]
        if isinstance(value, types.ModuleType):
            return version_of(value) if is_users(value) else b""
        if isinstance(value, _FOLLOWED) or hasattr(value, "get_params"):
            try:
                return self.of(value)
            except (pickle.PicklingError, TypeError, AttributeError):
                return b""
        return b""

    def _look_at(self, value):
        kind = type(value)
        if kind in (list, tuple):
            return combined(kind.__name__, *map(self.of, value))
        if kind in (set, frozenset):
            return combined(kind.__name__, *sorted(map(self.of, value)))
        if kind is dict:  # its order can decide, as that of symbols in a picture
            return combined("dict", *(self.of(part) for pair in value.items() for part in pair))
        if isinstance(value, np.generic) or kind in (np.ndarray, np.memmap):
            return self._array(np.asarray(value))
        if isinstance(value, nib.spatialimages.SpatialImage):
            return combined("image", self.of(np.asanyarray(value.dataobj)), self.of(value.affine))
        if isinstance(value, joblib.Memory):
            return combined("memory")
        if isinstance(value, (type, types.FunctionType)):
            return self._named(value)
        if isinstance(value, types.MethodType):
            return combined("method", value.__name__, self.of(value.__self__))
        if isinstance(value, types.BuiltinFunctionType):
            owner = getattr(value, "__self__", None)
            owner = b"" if isinstance(owner, types.ModuleType) else self.of(owner)
            return combined("builtin", str(value.__module__), value.__qualname__, owner)
        if isinstance(value, types.ModuleType):
            return combined("module", value.__name__, version_of(value))
        found = self._of_a_library(value)
        return self._object(value) if found is None else found

    def _array(self, value):
        if value.dtype.hasobject:
            return combined("array", repr(value.shape), *map(self.of, value.ravel().tolist()))
        flat = np.ascontiguousarray(value).reshape(-1)
        data = flat.view(np.uint8) if flat.nbytes else b""
        # Equal types can have unequal names: '<u2' and 'uint16'.
        kind = repr(value.dtype.descr) if value.dtype.names else value.dtype.str
        return combined("array", kind, repr(value.shape), data)

    def _of_a_library(self, value):
        """Values of libraries that need not be loaded, which pickle by layout and not by value."""
        torch, pandas = sys.modules.get("torch"), sys.modules.get("pandas")
        if torch is not None and isinstance(value, torch.Tensor) and not value.is_sparse:
            plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            return combined("tensor", str(value.dtype), repr(tuple(value.shape)), plain)
        if pandas is None:
            return None
        if isinstance(value, pandas.DataFrame):
            columns = [value.iloc[:, number] for number in range(value.shape[1])]
            return combined("table", self.of(value.index), *map(self.of, columns))
        if isinstance(value, pandas.Series):
            categorical = isinstance(value.dtype, pandas.CategoricalDtype)
            dtype = value.dtype if categorical else str(value.dtype)
            name, index, dtype = map(self.of, (value.name, value.index, dtype))
            return combined("column", name, index, dtype, *map(self.of, value.tolist()))
        if isinstance(value, pandas.Index):
            names = self.of(list(value.names))
            return combined("index", names, str(value.dtype), *map(self.of, value.tolist()))
        if isinstance(value, pandas.CategoricalDtype):
            levels = None if value.categories is None else value.categories.tolist()
            return combined("levels", self.of(levels), str(value.ordered))
        return None

    def _named(self, value):
        """A function or class that can be found again under its name."""
        if value in _NAMELESS:
            return combined("named", value.__name__)
        found = sys.modules.get(value.__module__)
        for part in value.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is not value:
            raise pickle.PicklingError(
                f"{value.__qualname__} of {value.__module__} has no name to find it by"
            )
        return combined("named", value.__module__, value.__qualname__, self._code(value))

    def _code(self, value):
        if isinstance(value, types.FunctionType):
            code = code_of_function(value, self.code_of) if is_users(value) else b""
            return combined("function", version_of(value), code)
        parts = []
        for one in value.__mro__[:-1]:  # all but object
            parts += [version_of(one), code_of_class(one, self.code_of) if is_users(one) else b""]
        return combined("class", *parts)

    def _object(self, value):
        reduce = copyreg.dispatch_table.get(type(value))
        reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        if isinstance(reduced, str):
            module = sys.modules.get(getattr(value, "__module__", None) or "")
            version = b"" if module is None else version_of(module)
            return combined("global", str(type(value)), reduced, version)
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        parts = [self.of(make), *map(self.of, arguments), b"state", *self._state(value, state)]
        parts += [b"items", *map(self.of, items or ())]
        parts += [b"pairs", *(self.of(part) for pair in pairs or () for part in pair)]
        return combined("object", *parts)

    def _state(self, value, state):
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
            return [part for half in state for part in self._state(value, half)]  # __slots__
        if not isinstance(state, dict):
            return [self.of(state)]
        # The order in which attributes were set is nobody's business, nor what is kept for later.
        return [
            part
            for name in sorted(state, key=str)
            if not (name == "memory" and hasattr(value, "get_params") and _is_cache(state[name]))
            and name not in getattr(type(value), "_kept_elsewhere", ())
            and not isinstance(getattr(type(value), str(name), None), functools.cached_property)
            for part in (self.of(name), self.of(state[name]))
        ]


def _text(text):
    if isinstance(text, bytes):
        return combined("bytes", text)
    # A word can be the name of a column and of a file: both count.
    content = named_content(text) if len(text) < 4096 else None
    if content is None:
        return combined("text", str(text))
    return combined("file", os.path.basename(text), *content)


def _is_cache(memory):
    return memory is None or isinstance(memory, (str, os.PathLike, joblib.Memory))
