"""Finished fits are kept: an interruption costs nothing, and a change is never overlooked."""

import importlib
import os
import shutil
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from prognosis import ModelError, compare, logistic_ladder


class Counted(ClassifierMixin, BaseEstimator):
    """Leaves a file in a folder for each fit, and fails while a file says so."""

    def __init__(self, log, shift=0.0, reads=None):
        self.log = log
        self.shift = shift
        self.reads = reads

    def fit(self, X, y):
        if Path(self.log).with_suffix(".fail").exists() and "p000" not in X.index:
            raise RuntimeError("power cut")
        Path(self.log).mkdir(exist_ok=True)
        (Path(self.log) / uuid.uuid4().hex).touch()
        self.classes_ = np.unique(y)
        self.mean_ = X["age"].mean()
        return self

    def predict_proba(self, X):
        positive = 1 / (1 + np.exp(-(X["age"] - self.mean_) / 10 - self.shift))
        return np.c_[1 - positive, positive]

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]


@pytest.fixture
def cohort(tmp_path):
    rng = np.random.default_rng(0)
    ages = rng.normal(65, 12, 60)
    path = tmp_path / "scan.nii.gz"
    _write(path, 1.0)
    index = [f"p{number:03d}" for number in range(60)]
    X = pd.DataFrame({"age": ages, "scan": str(path)}, index)
    X.loc["p003", "age"] = np.nan
    X["age"] = X["age"].fillna(65.0)
    X["sex"] = pd.Series(rng.choice(["F", None], 60), index, dtype=object)
    y = pd.Series((ages + rng.normal(0, 8, 60) > 65).astype(int), index)
    return X, y


def _write(path, value):
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), value, np.float32), np.eye(4)), path)


def _run(cohort, tmp_path, resume="kept", **models):
    models = models or {"counted": Counted(str(tmp_path / "log"))}
    folder = None if resume is None else tmp_path / resume
    return compare(models, *cohort, cv=5, random_state=0, resume=folder)


def _fits(tmp_path, name="log"):
    return len(list((tmp_path / name).glob("*")))


def test_finished_folds_survive_an_interruption(cohort, tmp_path):
    whole = _run(cohort, tmp_path, resume=None, counted=Counted(str(tmp_path / "other")))
    flag = tmp_path / "log.fail"
    flag.touch()
    with pytest.raises(ModelError, match="power cut"):
        _run(cohort, tmp_path)
    flag.unlink()
    before = _fits(tmp_path)
    assert before < 5
    result = _run(cohort, tmp_path)
    assert _fits(tmp_path) == 5
    pd.testing.assert_frame_equal(result.predictions, whole.predictions)
    again = _run(cohort, tmp_path)
    assert _fits(tmp_path) == 5
    pd.testing.assert_frame_equal(again.folds, result.folds)


def test_one_more_model_costs_its_own_fits_only(cohort, tmp_path):
    _run(cohort, tmp_path)
    first = {"counted": Counted(str(tmp_path / "log"))}
    result = _run(cohort, tmp_path, **first, **logistic_ladder([["age"]]))
    assert _fits(tmp_path) == 5
    assert result.models == ["counted", "age"]


@pytest.mark.parametrize("change", ["parameter", "value", "outcome", "image", "folds"])
def test_what_changes_is_computed_again(cohort, tmp_path, change):
    X, y = cohort
    _run(cohort, tmp_path)
    models, seed = {"counted": Counted(str(tmp_path / "log"))}, 0
    if change == "parameter":
        models["counted"].shift = 0.5
    elif change == "value":
        X = X.assign(age=X["age"] + np.r_[1e-9, np.zeros(59)])
    elif change == "outcome":
        y = y.where(y.index != "p007", 1 - y)
    elif change == "image":
        _write(X["scan"].iloc[0], np.pi)
    else:
        seed = 1
    compare(models, X, y, cv=5, random_state=seed, resume=tmp_path / "kept")
    assert _fits(tmp_path) == 10


def test_an_equal_model_is_recognised_though_its_parameters_are_other_objects(cohort, tmp_path):
    shared = ["age"]
    columns = ["age"]
    for names in ((shared, shared), (columns, list(columns))):
        models = logistic_ladder([names[0]])
        models["counted"] = Counted(str(tmp_path / "log"))
        models["counted"].shift = 0.25
        _run(cohort, tmp_path, **models)
    assert _fits(tmp_path) == 5


def test_a_model_that_cannot_be_recognised_is_refused(cohort, tmp_path):
    odd = make_pipeline(FunctionTransformer(lambda X: X), Counted(str(tmp_path / "log")))
    with pytest.raises(ValueError, match=r"model 'odd' cannot be recognised .* leave resume out"):
        _run(cohort, tmp_path, odd=odd)
    assert _fits(tmp_path) == 0


@dataclass
class Settings:
    """Something that holds the name of a file, as a parameter may."""

    template: str


def _replace_unnoticed(path, text):
    """Other content under the same size and time, as `cp -p` and `rsync -t` may leave it."""
    status = os.stat(path)
    assert len(text.encode()) == status.st_size
    Path(path).write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "hold",
    [str, Path, lambda p: [1, [str(p)]], lambda p: {"a": (p,)}, lambda p: Settings(str(p))],
    ids=["str", "path", "list", "dict", "dataclass"],
)
def test_the_content_of_every_file_that_a_parameter_names_counts(cohort, tmp_path, hold):
    path = tmp_path / "regions.txt"
    path.write_text("1 left")
    model = make_pipeline(Counted(str(tmp_path / "log"), reads=hold(path)))
    for _ in range(2):
        _run(cohort, tmp_path, counted=model)
        assert _fits(tmp_path) == 5
    _replace_unnoticed(path, "2 left")
    _run(cohort, tmp_path, counted=model)
    assert _fits(tmp_path) == 10


@pytest.mark.parametrize("part", ["atlas.nii.gz", "atlas.txt"])
def test_an_atlas_counts_with_its_table_and_the_home_folder_is_known(
    cohort, tmp_path, monkeypatch, part
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    _write(tmp_path / "atlas.nii.gz", 1.0)
    (tmp_path / "atlas.txt").write_text("1 left")
    models = {"counted": Counted(str(tmp_path / "log"), reads="~/atlas.nii.gz")}
    _run(cohort, tmp_path, **models)
    with open(tmp_path / part, "ab") as file:
        file.write(b"\n2 right")
    _run(cohort, tmp_path, **models)
    assert _fits(tmp_path) == 10


@pytest.mark.parametrize("name", ["{}/scan.nii.gz", "~/scan.nii.gz"])
def test_a_scan_that_was_exchanged_under_the_same_size_and_time_counts(
    cohort, tmp_path, monkeypatch, name
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    X, y = cohort
    X["scan"] = name.format(tmp_path)
    _run((X, y), tmp_path)
    path = tmp_path / "scan.nii.gz"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    _run((X, y), tmp_path)
    assert _fits(tmp_path) == 10


def test_free_text_in_a_cell_is_no_file(cohort, tmp_path):
    X, y = cohort
    X["note"] = ["~5 mm left of the insula" + 5000 * "."] * 60
    _run((X, y), tmp_path)
    assert _fits(tmp_path) == 5


def test_the_same_files_elsewhere_are_the_same(cohort, tmp_path):
    X, y = cohort
    _run(cohort, tmp_path)
    (tmp_path / "moved").mkdir()
    moved = shutil.move(X["scan"].iloc[0], tmp_path / "moved")
    _run((X.assign(scan=str(moved)), y), tmp_path)
    assert _fits(tmp_path) == 5


MODULE = """
from sklearn.linear_model import LogisticRegression
from users_helpers import shrink

class Model(LogisticRegression):
    def fit(self, X, y):
        self.C = shrink(1.0)
        return super().fit(X[["age"]], y)

    def predict(self, X):
        return super().predict(X[["age"]])

    def predict_proba(self, X):
        return super().predict_proba(X[["age"]])
"""


@pytest.mark.parametrize("edited", ["users_model.py", "users_helpers.py"])
def test_an_edited_model_of_the_user_counts(cohort, tmp_path, monkeypatch, edited):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "users_model.py").write_text(MODULE)
    (tmp_path / "users_helpers.py").write_text("def shrink(C):\n    return C\n")

    def probabilities(resume):
        for name in ("users_model", "users_helpers"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        model = importlib.import_module("users_model").Model()
        found = _run(cohort, tmp_path, resume=resume, model=model)
        return found.predictions["probability"].to_numpy()

    before = probabilities("kept")
    text = (tmp_path / edited).read_text()
    (tmp_path / edited).write_text(
        text.replace("1.0", "0.01").replace("return C", "return C / 100")
    )
    after = probabilities("kept")
    assert np.array_equal(after, probabilities(None))
    assert not np.array_equal(after, before)


def test_a_damaged_fit_is_computed_again(cohort, tmp_path):
    whole = _run(cohort, tmp_path)
    entries = sorted((tmp_path / "kept").rglob("output.pkl"))
    assert len(entries) == 5
    content = bytearray(entries[0].read_bytes())
    content[len(content) // 2] ^= 4
    entries[0].write_bytes(content)
    entries[1].write_bytes(entries[1].read_bytes()[:100])
    with pytest.warns(UserWarning, match="is damaged and is computed again"):
        again = _run(cohort, tmp_path)
    assert _fits(tmp_path) == 7
    pd.testing.assert_frame_equal(again.predictions, whole.predictions)


def test_effective_degrees_of_freedom_are_more_cautious(cohort, tmp_path):
    X, y = cohort
    rng = np.random.default_rng(1)
    X = X.assign(noise=rng.normal(size=60))
    models = logistic_ladder([["noise"], ["age"]])
    usual, cautious = (
        compare(models, X, y, cv="5x2", random_state=0, df=df) for df in ("folds", "effective")
    )
    over_folds = "test == 'corrected t' and score == 'accuracy'"
    usual_p, cautious_p = (
        one.differences.query(over_folds)["p"].item() for one in (usual, cautious)
    )
    assert usual_p < cautious_p
    pd.testing.assert_frame_equal(usual.table, cautious.table)  # decided over patients
    rows = cautious.differences.query("test == 'corrected t'")
    assert np.allclose(rows["df"], 10 / (1 + 9 * 0.2) - 1)
    text = (cautious.save(tmp_path / "report") / "index.html").read_text()
    assert "effective degrees of freedom" in text
    with pytest.raises(ValueError, match='df must be "folds" or "effective"'):
        compare(models, X, y, df="many")
