"""Finished fits are kept: an interruption costs nothing, and a change is never overlooked."""

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
    """Writes a line for each fit, and fails while a file says so."""

    def __init__(self, log, shift=0.0):
        self.log = log
        self.shift = shift

    def fit(self, X, y):
        if Path(self.log).with_suffix(".fail").exists() and "p000" not in X.index:
            raise RuntimeError("power cut")
        with open(self.log, "a") as log:
            log.write("fit\n")
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
    path = tmp_path / name
    return len(path.read_text().splitlines()) if path.exists() else 0


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


def test_effective_degrees_of_freedom_are_more_cautious(cohort, tmp_path):
    X, y = cohort
    rng = np.random.default_rng(1)
    X = X.assign(noise=rng.normal(size=60))
    models = logistic_ladder([["noise"], ["age"]])
    usual, cautious = (
        compare(models, X, y, cv="5x2", random_state=0, df=df) for df in ("folds", "effective")
    )
    assert usual.table.loc["age", "accuracy_p"] < cautious.table.loc["age", "accuracy_p"]
    rows = cautious.differences.query("test == 'corrected t'")
    assert np.allclose(rows["df"], 10 / (1 + 9 * 0.2) - 1)
    text = (cautious.save(tmp_path / "report") / "index.html").read_text()
    assert "effective degrees of freedom" in text
    with pytest.raises(ValueError, match='df must be "folds" or "effective"'):
        compare(models, X, y, df="many")
