"""Whom a model was trained on, as its file says it, and where new patients leave that."""

import json

import numpy as np
import pytest

import prognosis
from imaging.storage.models import ModelFileError
from prognosis import CohortError, make_stroke_cohort, place_model
from prognosis.saving.archive import read_card


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    about = dict(X.attrs)
    X = X.assign(scanner=np.where(np.arange(len(X)) < 18, "A", "B"))
    X["name"] = [f"name {n}" for n in range(len(X))]
    X["reads"] = np.where(np.arange(len(X)) % 4, 2.0, np.nan)
    X.attrs = about
    model = place_model("lesion", tabular=["severity"], atlas="aal").fit(X, y)
    path = prognosis.save(model, tmp_path_factory.mktemp("m") / "m.prognosis", X, y)
    return X, model, prognosis.training_cohort(path), path


def test_what_it_says(trained):
    X, _, found, _ = trained
    assert (found.n_patients, found.simulated) == (20, True)
    assert found.columns.loc["age", "highest"] == X["age"].max()
    assert found.columns.loc["reads", "missing"] == 5
    assert found.columns.loc["scanner", "categories"] == "A: 18, B: 2"
    assert {"lesion_ml", "log_lesion_count"} <= set(found.columns.index)
    assert found.columns["used"].to_dict()["severity"]
    assert not found.columns["used"].to_dict()["scanner"]


def test_nobody_is_listed(trained):
    X, _, found, path = trained
    text = json.dumps(read_card(path))
    assert "name" not in found.columns.index
    assert "name 3" not in text
    assert not [row for row in X.index if row in text]


def test_a_patient_of_the_training_is_known_again(trained):
    X, model, found, _ = trained
    remarks = found.remarks(X.head(2), model)
    assert all("was a training patient" in each[0] for each in remarks)


def test_a_patient_within_it_gives_no_remark(trained):
    X, _, found, _ = trained
    middle = X[X["age"].between(*X["age"].quantile([0.2, 0.8]))].head(3)
    middle = middle.rename(index="new {}".format).assign(scanner="A", reads=2.0)
    middle = middle.assign(severity=X["severity"].median(), recovery_years=2.0)
    assert [len(each) for each in found.remarks(middle)] == [0, 0, 0]
    unknown = middle.assign(scanner=None)  # which the model does not read
    assert [len(each) for each in found.remarks(unknown)] == [0, 0, 0]


def test_who_leaves_it_is_told(trained):
    X, _, found, _ = trained
    new = X.head(1).rename(index={X.index[0]: "new"})
    new = new.assign(age=120.0, severity=np.nan, scanner="C", name="x", reads=2.0)
    remarks = " | ".join(found.remarks(new)["new"])
    assert "age 120 is above that of all 20 training patients" in remarks
    assert "severity is missing, as in none of the 20" in remarks
    assert "scanner is 'C', which no training patient had (A: 18, B: 2); the model" in remarks


def test_images_of_other_voxels_and_larger_lesions_are_told(trained):
    _, model, found, _ = trained
    new, _ = make_stroke_cohort(1, spacing_mm=6, random_state=9)
    data = np.zeros(new["lesion"].iloc[0].shape, np.uint8)
    data[8:-8, 8:-8, 8:-8] = 1
    image = type(new["lesion"].iloc[0])(data, new["lesion"].iloc[0].affine)
    new = new.assign(lesion=[image]).rename(index="new {}".format)
    remarks = " | ".join(found.remarks(new, model).iloc[0])
    assert "lesion has voxels of 6 x 6 x 6 mm, as no training patient had (most: 8" in remarks
    assert "lesion_ml" in remarks and "is above that of all" in remarks
    assert "where no training patient had one" in remarks


def test_ranks_lie_between_the_quantiles(trained):
    X, model, found, _ = trained
    ranks = found.ranks(X, model)
    assert ranks.min().min() <= 0.025 and ranks.max().max() == 1
    order = X["severity"].argsort()
    assert ranks["severity"].iloc[order].is_monotonic_increasing


def test_a_file_without_patients_says_so(trained, tmp_path):
    path = prognosis.save(trained[1], tmp_path / "bare.prognosis")
    with pytest.raises(ModelFileError, match="says nothing of its training patients"):
        prognosis.training_cohort(path)


def test_a_broken_description_is_refused():
    with pytest.raises(CohortError, match="is not whole"):
        prognosis.TrainingCohort({"n_patients": 3})
