"""`prognosis fit` and `predict`: from a cohort to a file, from the file to new patients."""

import os

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_regressor

import prognosis
from prognosis import WithIntervals, make_stroke_cohort
from prognosis.cli import main
from prognosis.studies.named import MODELS, named_model


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder of 24 patients with their outcome, and one of 4 new ones who lack a column."""
    folder = tmp_path_factory.mktemp("study")
    X, y = make_stroke_cohort(28, spacing_mm=8, folder=folder / "made", random_state=0)
    X = X.assign(site=np.where(np.arange(28) % 2, "east", "west"), mrs=np.arange(28) % 4)
    X.loc[X.index[25], "severity"] = 40.0
    for name, rows in (("train", slice(0, 24)), ("new", slice(24, 28))):
        part = X.iloc[rows]
        (folder / name).mkdir()
        for column in ("t1w", "lesion"):
            for patient, path in part[column].items():
                os.symlink(path, folder / name / f"{patient}_{column}.nii.gz")
        table = part[["severity", "age"]].assign(participant_id=part.index)
        if name == "train":
            table = table.assign(site=part["site"], mrs=part["mrs"], aphasia=y.iloc[rows])
        table.to_csv(folder / name / "participants.tsv", sep="\t", index=False)
    return folder


IMAGES = ["--images", "t1w=*_t1w.nii.gz", "--images", "lesion=*_lesion.nii.gz"]


@pytest.fixture
def run(study, capsys):
    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def fit(run, study, tmp_path):
    def call(*options, target="aphasia", out="model.prognosis"):
        arguments = ["fit", "--cohort", study / "train", "--target", target, *IMAGES]
        arguments += ["--tabular", "severity", "--n-jobs", "1", "--memory", study / "memory"]
        return run(*arguments, "--out", tmp_path / out, *options)

    return call


@pytest.fixture
def predict(run, study, tmp_path):
    def call(*options, model="model.prognosis"):
        arguments = ["predict", tmp_path / model, study / "new", *IMAGES]
        return run(*arguments, "--out", tmp_path / "out", *options)

    return call


def test_from_a_cohort_to_pages_of_new_patients(fit, predict, tmp_path):
    code, out, err = fit("--model", "place", "--atlas", "aal", "--refits", "3")
    assert code == 0, err
    assert out.startswith("place: aphasia of 24 patients, in ")
    code, out, err = predict()
    assert code == 0, err
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[0] == "index.html" and names[-1] == "predictions.csv" and len(names) == 6
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", index_col=0)
    assert (
        (table["low"] < table["probability_1"]) & (table["probability_1"] < table["high"])
    ).all()
    assert "severity 40 is above that of all 24 training patients" in table["remarks"].iloc[1]
    page = (tmp_path / "out" / names[2]).read_text()
    for words in (
        "severity 40 is above",
        "Probability of aphasia: ",
        "3 refits of the model on random halves",
        "place of the lesion",
        "data:image/png;base64",
        "not a medical device",
    ):
        assert words in page
    assert "http" not in page.replace("http-equiv", "")


def test_predictions_are_those_of_the_loaded_model(fit, predict, study, tmp_path):
    assert fit("--model", "ladder", "--refits", "2")[0] == 0
    assert predict()[0] == 0
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", index_col=0)
    from prognosis.cohorts.folder import load_patients

    model = prognosis.load(tmp_path / "model.prognosis")
    assert isinstance(model, WithIntervals)
    X = load_patients(study / "new" / "participants.tsv", {"lesion": "*_lesion.nii.gz"})
    X = X.reindex(columns=model.feature_names_in_)
    np.testing.assert_allclose(table["probability_1"], model.predict_proba(X)[:, 1])


def test_a_network_has_maps_and_no_interval(fit, predict, tmp_path):
    small = ["--image", "t1w", "--epochs", "1", "--mosaic-size", "48"]
    assert fit("--model", "stitched", *small)[0] == 0
    code, _, err = predict()
    assert code == 0, err
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", index_col=0)
    assert table["low"].isna().all()
    page = next((tmp_path / "out").glob("patient-*27.html")).read_text()
    assert "fitted without refits" in page and "integrated gradients" in page


def test_numbers_and_ordered_outcomes(fit, predict, tmp_path):
    assert fit("--model", "ladder", "--refits", "5", target="age")[0] == 0
    assert predict("--coverage", "0.6")[0] == 0
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", index_col=0)
    assert (table["low"] < table["high"]).all() and table["prediction"].between(20, 100).all()
    ordered = ["--model", "ladder", "--refits", "2", "--ordinal"]
    assert fit(*ordered, target="mrs")[0] == 0
    assert predict("--cut", "1")[0] == 0
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", index_col=0)
    above = table["probability_2"] + table["probability_3"]
    np.testing.assert_allclose(table["probability_above_1"], above, atol=1e-9)


class TestRefusals:
    def test_more_classes_without_an_order(self, fit, tmp_path):
        code, _, err = fit("--model", "ladder", target="site")
        assert code == 0  # two
        code, _, err = fit("--model", "ladder", "--tabular", "nobody")
        assert code == 2 and "--tabular nobody: the table has" in err

    def test_a_column_that_the_model_uses_is_missing(self, fit, run, study, tmp_path):
        assert fit("--model", "ladder", "--refits", "0")[0] == 0
        bare = tmp_path / "bare"
        bare.mkdir()
        (bare / "participants.tsv").write_text("participant_id\tage\nsub-9\t60\n")
        found = run("predict", tmp_path / "model.prognosis", bare, "--out", tmp_path / "out")
        assert found[0] == 3 and "'severity'" in found[2] and "which the model uses" in found[2]
        assert not (tmp_path / "out").exists()

    def test_a_pickle(self, predict, tmp_path):
        import joblib

        joblib.dump({"a": 1}, tmp_path / "model.prognosis")
        code, out, err = predict()
        assert code == 3 and "is no model that prognosis.save wrote" in err and out == ""

    def test_a_folder_for_the_model(self, fit, tmp_path):
        (tmp_path / "taken").mkdir()
        code, _, err = fit("--model", "ladder", out="taken")
        assert code == 5 and "is a folder; name a file in it" in err

    def test_cut_of_a_number(self, fit, predict):
        assert fit("--model", "ladder", "--refits", "0", target="age")[0] == 0
        code, _, err = predict("--cut", "2")
        assert code == 2 and "the model predicts a number" in err


def test_a_saved_model_is_explained_without_a_warning_of_code(fit, run, study, tmp_path):
    small = ["--image", "t1w", "--epochs", "1", "--mosaic-size", "48"]
    assert fit("--model", "stitched", *small)[0] == 0
    model, out = tmp_path / "model.prognosis", tmp_path / "maps"
    code, _, err = run(
        "explain", model, study / "train", *IMAGES, "--target", "aphasia", "--out", out
    )
    assert code == 0, err
    assert "runs whatever code" not in err
    assert (out / "attribution_mean.nii.gz").is_file()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("outcome", ["binary", "ordinal", "continuous"])
def test_every_named_model_is_made(name, outcome):
    model = named_model(name, outcome, image="t1w", lesion="lesion", tabular=["age"])
    assert model.steps[0][0] == "size"
    last = model.steps[-1][1]
    last = getattr(last, "estimator", last)
    last = last[-1] if hasattr(last, "steps") else last
    assert is_regressor(last) == (outcome == "continuous")


def test_named_models_say_what_they_lack():
    with pytest.raises(ValueError, match="the models are ladder, place"):
        named_model("forest", "binary")
    for name, words in (("place", "lesion masks"), ("ladder", "tabular"), ("roi", "of images")):
        with pytest.raises(prognosis.CohortError, match=words):
            named_model(name, "binary")
