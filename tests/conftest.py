"""What several test files share: real data where it is, awkward affines, a table, a segmenter,
and a count of what is read."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from imaging.storage.recently_used import RecentlyUsed


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


def _oblique(angle_deg=20, spacing=(1.0, 2.0, 3.0), flips=(1, 1, 1)):
    """An affine that is rotated, anisotropic and possibly flipped."""
    a = np.deg2rad(angle_deg)
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(np.multiply(spacing, flips))
    affine[:3, 3] = [3, -7, 11]
    return affine


AFFINES = {
    "plain": np.diag([2, 2, 2, 1]),
    "flipped": np.diag([-1, 2, 1, 1]),
    "axes swapped": np.eye(4)[[2, 0, 1, 3]],
    "oblique": _oblique(),
    "oblique flipped": _oblique(flips=(-1, 1, -1)),
}


@pytest.fixture(params=AFFINES.values(), ids=AFFINES)
def affine(request):
    """An affine of each kind that scanners and converters write."""
    return request.param


@pytest.fixture(scope="session")
def segmenter():
    """A lesion segmenter of a few weights, trained for two steps; not to be changed."""
    from imaging.segmentation import LesionSegmenter
    from imaging.synthesis import LabelMapSource

    return LesionSegmenter(
        channels=(4, 8, 8),
        source=LabelMapSource(spacing_mm=8),
        spacing_mm=8,
        patch_size=16,
        mirror=(0.5, 0.0, 0.0),
        epochs=1,
        steps_per_epoch=2,
        validation_samples=0,
        random_state=0,
    ).fit()


@pytest.fixture(scope="session")
def tabular_cohort():
    """A table of 120 patients without images, and a numeric outcome; not to be changed."""
    rng = np.random.default_rng(0)
    n = 120
    X = pd.DataFrame(
        {
            "lesion_ml": rng.gamma(2, 20, n),
            "nihss": rng.integers(0, 25, n).astype(float),
            "sex": rng.choice(["F", "M"], n),
        },
        index=[f"p{i}" for i in range(n)],
    )
    X.loc["p3", "nihss"] = np.nan
    severity = X["nihss"].fillna(10) / 5 + X["lesion_ml"] / 30
    mrs = (severity + rng.normal(0, 1, n)).rename("mrs")
    X.attrs["cohort"] = {"name": "stand-in", "simulated": True, "best_accuracy": 0.9}
    return X, mrs


@pytest.fixture(scope="session")
def poor_outcome(tabular_cohort):
    """The outcome of `tabular_cohort` in two classes."""
    _, mrs = tabular_cohort
    return (mrs > mrs.median()).map({True: "poor", False: "good"}).rename("outcome")


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Names of the scans that are read, in whichever process: one line each."""
    # Masks that earlier tests have read are read again.
    monkeypatch.setattr("imaging.volumes._MASKS", RecentlyUsed(100_000_000))
    log = tmp_path / "reads.log"
    opened = nib.load

    def load(path, *args, **kwargs):
        with open(log, "a") as file:
            file.write(f"{Path(path).name}\n")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(nib, "load", load)
    return lambda: log.read_text().split() if log.exists() else []
