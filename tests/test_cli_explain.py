"""`prognosis explain`: what it writes, all or none, and how it refuses."""

import json
import os
import pickle
import stat

import joblib
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from prognosis import StitchedSliceClassifier, StitchedSliceRegressor, make_stroke_cohort
from prognosis.cli import main

FILES = [
    "attribution_mean.nii.gz",
    "checks.json",
    "figure.png",
    "patients.csv",
    "regions.csv",
    "tabular.csv",
]
SMALL = {"epochs": 1, "mosaic_size": 48, "rows": 2, "columns": 2, "random_state": 0}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with a simulated cohort's images, a table of them, and fitted models."""
    folder = tmp_path_factory.mktemp("study")
    X, y = make_stroke_cohort(10, spacing_mm=8, folder=folder / "simulated", random_state=0)
    joblib.dump(
        StitchedSliceClassifier("t1w", tabular=["severity"], **SMALL).fit(X, y), folder / "m.joblib"
    )
    joblib.dump(StitchedSliceRegressor("t1w", **SMALL).fit(X, X["age"]), folder / "age.joblib")
    with open(folder / "cohort.pkl", "wb") as file:
        pickle.dump({"not": "a model"}, file)
    table = X[["severity", "age"]].assign(aphasia=y, participant_id=X.index)
    scans = folder / "scans"
    scans.mkdir()
    for patient, path in X["t1w"].items():
        os.symlink(path, scans / f"{patient}_T1w.nii.gz")
    table.to_csv(scans / "participants.tsv", sep="\t", index=False)
    return folder


@pytest.fixture
def run(study, tmp_path, capsys):
    def call(*options, model="m.joblib", cohort="simulated", out=tmp_path / "out"):
        arguments = ["explain", str(study / model), str(cohort), "--out", str(out)]
        if cohort == "simulated":
            arguments += ["--n-patients", "10", "--spacing-mm", "8", "--n-jobs", "1"]
        code = main([*arguments, "--memory", str(study), *options])
        return code, *capsys.readouterr()

    return call


def test_everything_is_written(run, tmp_path):
    code, out, err = run()
    folder = tmp_path / "out"
    assert code == 0, err
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert "10 SIMULATED patients" in out
    assert "explaining 10 patients" in err
    warning = "runs whatever code it holds; open only files that you trust"
    assert warning in err and err.index(warning) < err.index("loading the cohort")
    about = json.loads((folder / "checks.json").read_text())
    assert about["explanation"]["cohort"]["simulated"] is True
    assert about["checks"]["randomisation_correlation"] <= 1
    regions = pd.read_csv(folder / "regions.csv", index_col="region")
    image = nib.load(folder / "attribution_mean.nii.gz")
    assert regions["strength"].is_monotonic_decreasing
    tabular = pd.read_csv(folder / "tabular.csv", index_col="patient")
    assert tabular.shape == (10, 1)
    patients = pd.read_csv(folder / "patients.csv", index_col="patient")
    expected = (patients["output"] - patients["reference"] - tabular["severity"]).mean()
    assert image.get_fdata().sum() == pytest.approx(expected, abs=0.02)


def test_a_folder_of_ones_own(run, study, tmp_path):
    code, out, err = run(
        *("--target", "aphasia", "--images", "t1w=*_T1w.nii.gz", "--class", "0", "--quiet"),
        *("--method", "gradient"),
        cohort=study / "scans",
    )
    assert (code, "SIMULATED" in out) == (0, False), err
    assert "gradient" in (tmp_path / "out" / "checks.json").read_text()
    assert "log odds of 0" in out


@pytest.mark.parametrize("mask", [0o077, 0o002], ids=oct)
def test_the_umask_decides_who_may_read(run, tmp_path, mask):
    before = os.umask(mask)
    try:
        code, _, err = run("--quiet", "--method", "gradient")
    finally:
        os.umask(before)
    assert code == 0 and "open only files that you trust" in err
    for path in (tmp_path / "out").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_number_is_explained(run):
    code, out, _ = run("--quiet", model="age.joblib")
    assert code == 0
    assert "the predicted age" in out


@pytest.mark.parametrize(
    ("options", "given", "code", "words"),
    [
        (["--method", "magic"], {}, 2, "invalid choice"),
        ([], {"model": "nowhere"}, 2, "no model file"),
        ([], {"model": "simulated"}, 2, "no model file"),
        ([], {"model": "cohort.pkl"}, 2, "holds no 'estimator'"),
        (["--class", "9"], {}, 2, "--class 9: the classes are 0, 1"),
        (["--class", "9"], {"model": "age.joblib"}, 2, "has no classes"),
        (["--atlas", "nowhere"], {}, 3, "nowhere"),
        (["--target", "x"], {"cohort": "/nowhere"}, 3, "nowhere"),
    ],
)
def test_refusals(run, tmp_path, options, given, code, words):
    found = run(*options, **given)
    assert found[0] == code
    assert found[1] == ""
    assert words in found[2]
    assert "Traceback" not in found[2]
    assert not (tmp_path / "out").exists()


def test_no_place_for_the_results(run, tmp_path):
    (tmp_path / "file").write_text("keep")
    code, _, err = run(out=tmp_path / "file")
    assert code == 5
    assert "cannot be written to" in err


def test_a_full_disk_leaves_what_was_there(run, tmp_path, monkeypatch):
    run()
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    code, out, err = run("--method", "gradient")
    assert (code, out) == (5, "")
    assert "disk full" in err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_help_warns_of_pickles_and_needs_no_heavy_import(capsys):
    import subprocess
    import sys

    code = (
        "import sys; from prognosis.cli import main; main(['explain', '--help']); "
        "print([m for m in ('torch', 'sklearn', 'pandas', 'nibabel') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n")
    assert "only files that you trust" in " ".join(done.stdout.split())


def test_a_model_kept_as_a_cross_validation(run, study):
    X, y = make_stroke_cohort(10, spacing_mm=8, folder=study / "simulated", random_state=0)
    halves = [np.arange(5), np.arange(5, 10)]
    model = StitchedSliceClassifier("t1w", **SMALL)
    folds = {
        "estimator": [StitchedSliceClassifier("t1w", **SMALL).fit(X, y), model.fit(X, y)],
        "indices": {"test": halves},
    }
    joblib.dump(folds, study / "folds.joblib")
    code, out, err = run("--quiet", model="folds.joblib")
    assert code == 0, err
    assert "10 SIMULATED patients" in out
