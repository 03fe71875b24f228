"""The fuzz suite: its modules find each other, and each test file has one child for its doors."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    """Run a strategy against a door, in a child process with limits; see `fuzz_runner`."""
    from fuzz_runner import Child, fuzzed

    with Child(tmp_path_factory.mktemp("fuzz")) as child:
        yield lambda *args, **options: fuzzed(child, *args, **options)
