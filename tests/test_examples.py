"""Every public class and function shows by an example how it is used; pytest runs the examples."""

import importlib
import types
from pathlib import Path

import pytest

import imaging
import prognosis

# What a package offers is listed in its stub.
PACKAGES = [
    ".".join(stub.parent.relative_to(Path(top.__file__).parent.parent).parts)
    for top in (imaging, prognosis)
    for stub in sorted(Path(top.__file__).parent.rglob("__init__.pyi"))
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_an_example(package):
    module = importlib.import_module(package)
    public = {name: getattr(module, name) for name in module.__all__}
    shown = {
        name: value
        for name, value in public.items()
        if isinstance(value, (type, types.FunctionType))
        and not (isinstance(value, type) and issubclass(value, Exception))
    }
    assert shown, package
    lacking = sorted(name for name, value in shown.items() if ">>>" not in (value.__doc__ or ""))
    assert lacking == []
