"""``prognosis search``: what is written, what goes to which stream, and what is refused."""

import joblib
import numpy as np
import pandas as pd
import pytest

from prognosis.cli import main
from prognosis.commands import search


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    nihss = rng.integers(0, 25, 60)
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{i // 2:02d}-{i % 2}" for i in range(60)],
            "subject": [f"s{i // 2}" for i in range(60)],
            "age": rng.normal(70, 8, 60).round(),
            "nihss": nihss,
            "outcome": np.where(nihss + rng.normal(0, 4, 60) > 12, "poor", "good"),
            "mrs": (nihss / 5 + rng.normal(0, 1, 60)).round(2),
        }
    )
    table.to_csv(folder / "participants.tsv", sep="\t", index=False)
    return folder


@pytest.fixture
def run(study_folder, tmp_path, capsys):
    def call(*options, target="outcome"):
        arguments = ["search", "--cohort", str(study_folder), "--out", str(tmp_path / "report")]
        arguments += ["--target", target, "--tabular", "age", "nihss", "--n-jobs", "1", "--quick"]
        code = main([*arguments, "--memory", str(tmp_path / "memory"), *options])
        return code, *capsys.readouterr()

    return call


def test_report_trials_and_model(run, tmp_path, study_folder):
    code, out, err = run("--n-trials", "4", "--cv", "3")
    assert code == 0, err
    assert out.startswith("age + NIHSS, 60 patients") and "the best of these and so too good" in out
    assert "4 trials (" in out and "chosen: " in out
    assert "searching age + NIHSS: 4 trials, 3 folds" in err and "best=" in err
    folder = tmp_path / "report"
    names = ["index.html", "model.joblib", "trials.csv"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert len(pd.read_csv(folder / "trials.csv")) == 4
    table = pd.read_csv(study_folder / "participants.tsv", sep="\t", index_col=0)
    assert joblib.load(folder / "model.joblib").predict_proba(table).shape == (60, 2)


def test_what_the_search_is_worth_outside(run, tmp_path):
    code, out, err = run("--outer", "2", "--quiet")
    assert (code, err) == (0, "")
    assert "age + NIHSS, searched" in out and "optimism" in out
    found = pd.read_csv(tmp_path / "report" / "outer" / "searches.csv")
    assert list(found["fold"]) == [1, 2] and (found["trials"] == 3).all()


def test_the_same_command_goes_on(run, tmp_path):
    storage = tmp_path / "study.journal"
    _, first, _ = run("--storage", str(storage))
    size = storage.stat().st_size
    code, second, _ = run("--storage", str(storage))
    assert (code, second) == (0, first)
    assert storage.stat().st_size - size < size / 3  # no trial was run again


def test_numbers_and_patients_with_several_rows(run):
    code, out, _ = run("--patient", "subject", "--choose", "one_se", target="mrs")
    assert code == 0 and "\nr2 " in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "forest"], "--model forest: the models are age, age + NIHSS"),
        (["--cv", "0"], "not a positive number"),
        (["--outer", "1"], "at least two folds"),
        (["--scoring", "luck"], "luck"),
        (["--choose", "worst"], "invalid choice"),
        (["--cv", "50"], "n_splits=50"),
    ],
)
def test_wrong_commands(run, tmp_path, options, words):
    code, out, err = run(*options)
    assert (code, out) == (2, "") and words in err and "Traceback" not in err
    assert not (tmp_path / "report").exists()


def test_a_model_that_fails(run, tmp_path, monkeypatch):
    from prognosis import OptunaSearch

    def failing(self, X, y):
        raise MemoryError("no room")

    monkeypatch.setattr(OptunaSearch, "fit", failing)
    code, out, err = run()
    assert (code, out) == (4, "") and "model 'age + NIHSS': MemoryError: no room" in err


def test_an_interrupt_says_where_trials_are(run, tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "load_study", interrupted)
    code, _, err = run()
    assert code == 130 and "--storage" in err
    assert not (tmp_path / "report").exists()
