"""The FLAIR sections of the benchmarks: parts that share no patient, contrasts that are others."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "soop_flair.py"


@pytest.fixture(scope="module")
def soop_flair():
    spec = spec_from_file_location("soop_flair_benchmark", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def head():
    """A disc of 100 on black, fluid of 20 and a lesion of 200 in it."""
    rows, columns = np.ogrid[:60, :50]
    image = 100.0 * ((rows - 30) ** 2 + (columns - 25) ** 2 < 20**2)
    image[28:32, 20:24] = 20
    image[28:32, 28:34] = 200
    return image.astype(np.float32)


def test_parts_share_no_patient_and_lose_none(soop_flair):
    blank = np.zeros((2, 2))
    sections = [
        soop_flair.Section(f"sub-{number}", plane, blank, blank > 0)
        for number in range(50)
        for plane in soop_flair.PLANES
    ]
    parts = soop_flair.split_patients(sections)
    patients = {name: {s.patient for s in part} for name, part in parts.items()}
    assert {name: len(found) for name, found in patients.items()} == {
        "train": 35,
        "validation": 5,
        "test": 10,
    }
    assert len(set.union(*patients.values())) == 50
    assert sum(len(part) for part in parts.values()) == len(sections)
    again = soop_flair.split_patients(sections[::-1])
    assert {s.patient for s in again["test"]} == patients["test"]
    other = soop_flair.split_patients(sections, seed=1)
    assert {s.patient for s in other["test"]} != patients["test"]


def test_contrasts_turn_the_lesion_dark_and_leave_the_background(soop_flair, head):
    for name, change in soop_flair.CONTRASTS.items():
        image = change(head)
        fluid, lesion, tissue = image[29, 21], image[29, 30], image[45, 25]
        assert image.shape == head.shape
        assert image[0, 0] == 0
        if name == "flair":
            np.testing.assert_array_equal(image, head)
        elif name == "inverted":
            assert lesion < tissue < fluid
        else:
            assert fluid < lesion < tissue
