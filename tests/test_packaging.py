"""What is installed: light to import, every public name there, one version."""

import subprocess
import sys
from importlib import metadata

import pytest

import imaging
import prognosis

HEAVY = ("torch", "monai", "nilearn", "captum", "optuna", "sklearn", "pandas")


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, prognosis, imaging; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", [imaging, prognosis], ids=lambda p: p.__name__)
def test_every_public_name_exists_and_says_what_it_is(package):
    assert len(package.__all__) > 10
    for name in package.__all__:
        assert (getattr(package, name).__doc__ or "").strip(), name


def test_the_version_is_one():
    assert prognosis.__version__ == metadata.version("prognosis-mri")
