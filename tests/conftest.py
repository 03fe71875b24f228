"""Where the tests find real data; fixtures live beside the tests that use them."""

import os
from pathlib import Path

import pytest


def _data_home():
    named = os.environ.get("PROGNOSIS_DATA")
    if named:
        return Path(named)
    return Path(__file__).resolve().parents[2] / "shared" / "datasets"


@pytest.fixture(scope="session")
def data_home():
    """The folder with the development data sets, or a skip that says what is missing."""
    folder = _data_home()
    if not folder.is_dir():
        pytest.skip(f"no development data at {folder}; set PROGNOSIS_DATA")
    return folder
