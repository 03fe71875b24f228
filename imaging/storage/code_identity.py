"""What code is, for keys: an edited model is another model.

A user's code counts by the files of its modules and by the code in memory, which differ once a file
was edited and not loaded again; code of installed distributions counts by their versions.
"""

import functools
import importlib.util
import sys
import sysconfig
import types
from importlib import metadata
from pathlib import Path

from .contents import file_content
from .hashing import combined, new_hash

__all__ = ["code_of_class", "code_of_function", "code_version", "is_users", "version_of"]

_OWN = ("imaging", "prognosis")
_NOT_CODE = ("__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__")
_INSTALLED = ("site-packages", "dist-packages")


@functools.cache
def code_version(*packages):
    """Hash of everything that packages hold: sources, templates, weights. Once per process.

    Parameters
    ----------
    *packages : str
        Names of top-level packages. None is imported, and one that is not installed is passed over.

    Returns
    -------
    str
        Hexadecimal.
    """
    whole = new_hash()
    for package in packages:
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            files = [
                file
                for file in Path(folder).rglob("*")
                if file.is_file()
                and not any(
                    part.startswith(".") or part == "__pycache__"
                    for part in file.relative_to(folder).parts
                )
            ]
            for file in sorted(files):
                name = file.relative_to(folder).as_posix()
                whole.update(f"{package}/{name} {file_content(file)}\n".encode())
    return whole.hexdigest()


def is_users(value):
    """Whether a module, or that of a function or class, is the user's: no library, not ours.

    Parameters
    ----------
    value : module, function or class

    Examples
    --------
    >>> import json
    >>> is_users(json), is_users(code_version)
    (False, False)
    """
    name, file = _place(value)
    top = name.partition(".")[0]
    if top in _OWN:
        return False
    if file is None:  # a notebook, or a module made in memory
        return name == "__main__" or (name in sys.modules and top not in _built_in())
    return not (_is_installed(file) or (top in _built_in() and _is_standard(file)))


def version_of(value):
    """Hash of the version that a module, or that of a function or class, has.

    Of the user's: files of the module and of the user's modules whose names it uses. Of anything
    else: what is installed.

    Parameters
    ----------
    value : module, function or class

    Returns
    -------
    bytes of length 32

    Examples
    --------
    >>> import json
    >>> version_of(json) == version_of(json.dumps) != version_of(code_version)
    True
    """
    name, _ = _place(value)
    top = name.partition(".")[0]
    if top in _OWN:
        return combined(code_version(top))
    if is_users(value):
        files = {}
        _collect_files(value if isinstance(value, types.ModuleType) else sys.modules[name], files)
        return combined(*(text for name in sorted(files) for text in (name, files[name])))
    return combined(_installed_version(top))


def code_of_function(function, follow):
    """Hash of a function as it is in memory, and of what it refers to.

    Parameters
    ----------
    function : function
    follow : callable
        Gives the hash of a value that it refers to.

    Returns
    -------
    bytes of length 32

    Examples
    --------
    >>> def doubled(x):
    ...     return 2 * x
    >>> def also_doubled(x):
    ...     return 2 * x
    >>> code_of_function(doubled, repr) == code_of_function(also_doubled, repr)
    True
    """
    names = sorted(_names(function.__code__) & function.__globals__.keys())
    values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    values += [function.__globals__[name] for name in names]
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # empty
            continue
    return combined(_code(function.__code__), *names, *map(follow, values))


def code_of_class(cls, follow):
    """Hash of a class as it is in memory: its methods and plain attributes, not its bases.

    Parameters
    ----------
    cls : class
    follow : callable
        Gives the hash of a method or an attribute.

    Returns
    -------
    bytes of length 32
    """
    parts = []
    for name, value in sorted(vars(cls).items()):
        if name in _NOT_CODE:
            continue
        if isinstance(value, (classmethod, staticmethod)):
            value = value.__func__
        getters = (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value,)
        parts += [name, *map(follow, getters)]
    return combined(*parts)


def _place(value):
    """Name and file of a module, or of that which a function or class comes from."""
    if isinstance(value, types.ModuleType):
        module, name = value, None
    else:
        name = value.__module__ if isinstance(value.__module__, str) else "builtins"
        module = sys.modules.get(name)
    if module is None:
        return name, None
    # A lazy module loads when it is asked for anything in the usual way.
    known = types.ModuleType.__getattribute__(module, "__dict__")
    return name or known.get("__name__", "builtins"), known.get("__file__")


def _collect_files(module, files):
    """Into `files`: of a user's module, and of all such modules whose names occur in it."""
    name, file = _place(module)
    if name in files or not is_users(module):
        return
    if file is None:  # a notebook holds everything: what a function there refers to is followed
        files[name] = ""
        return
    try:
        files[name] = file_content(file)
    except OSError:
        files[name] = ""
    for value in list(vars(module).values()):
        if isinstance(value, (types.FunctionType, type)):
            other = sys.modules.get(_place(value)[0])
        else:
            other = value if isinstance(value, types.ModuleType) else None
        if other is not None:
            _collect_files(other, files)


def _code(code):
    """Hash of a code object; unlike its pickle it does not depend on the run or on line numbers."""
    constants = []
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            constants.append(_code(value))
        elif isinstance(value, frozenset):
            constants.append(repr(sorted(map(repr, value))))
        else:
            constants.append(repr(value))
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return combined(code.co_code, repr(names), *constants)


def _names(code):
    inner = (value for value in code.co_consts if isinstance(value, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


@functools.cache
def _built_in():
    return frozenset(sys.stdlib_module_names) | set(sys.builtin_module_names)


@functools.cache
def _is_installed(file):
    return any(part in _INSTALLED for part in Path(file).parts)


@functools.cache
def _is_standard(file):
    return Path(file).is_relative_to(sysconfig.get_path("stdlib"))


@functools.cache
def _installed_version(top):
    if top in _built_in():
        return f"python {sys.version_info[:2]}"
    version = vars(sys.modules[top]).get("__version__") if top in sys.modules else None
    if isinstance(version, str):
        return version
    names = metadata.packages_distributions().get(top, ())
    return repr(sorted((name, metadata.version(name)) for name in set(names)))
