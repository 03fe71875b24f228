"""The command line: exit codes, what goes to which stream, nothing half-written."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from prognosis.cli import main
from prognosis.commands import study


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    n = 60
    nihss = rng.integers(0, 25, n)
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02d}" for i in range(n)],
            "age": rng.normal(70, 8, n).round(),
            "nihss": nihss,
            "outcome": np.where(nihss + rng.normal(0, 4, n) > 12, "poor", "good"),
            "mrs": (nihss / 5 + rng.normal(0, 1, n)).round(2),
        }
    )
    table.to_csv(folder / "participants.tsv", sep="\t", index=False)
    return folder


@pytest.fixture
def run(study_folder, tmp_path, capsys):
    """Run `prognosis compare` on the table; give exit code, stdout, stderr."""

    def call(*options, cohort=study_folder, out=tmp_path / "report"):
        arguments = ["compare", "--cohort", str(cohort), "--out", str(out), "--n-jobs", "1"]
        code = main([*arguments, "--memory", str(tmp_path / "memory"), *options])
        return code, *capsys.readouterr()

    return call


TABULAR = ["--target", "outcome", "--tabular", "age", "nihss", "--cv", "3"]


def is_refused(found, code, words, out):
    assert found[0] == code
    assert found[1] == ""
    assert words in found[2]
    assert "Traceback" not in found[2]
    assert not out.exists()


class TestDone:
    def test_report_table_and_progress(self, run, tmp_path):
        code, out, err = run(*TABULAR, "--positive", "poor")
        assert code == 0
        assert "baseline: age + NIHSS" in out
        assert "fitting 2 models: age, age + NIHSS" in err
        assert "6/6" in err
        assert "fit/s" not in out
        assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
            "characteristics.csv",
            "differences.csv",
            "folds.csv",
            "index.html",
            "metadata.json",
            "predictions.csv",
            "table.csv",
        ]

    def test_quiet(self, run):
        code, out, err = run(*TABULAR, "--quiet")
        assert (code, err) == (0, "")
        assert out

    def test_table_given_as_file_and_numeric_outcome(self, run, study_folder):
        code, out, _ = run(
            "--target", "mrs", "--tabular", "nihss", cohort=study_folder / "participants.tsv"
        )
        assert code == 0
        assert "mean absolute error" in out

    def test_an_ordinal_outcome(self, run, study_folder, tmp_path):
        table = pd.read_csv(study_folder / "participants.tsv", sep="\t")
        table["mrs"] = table["mrs"].round().clip(0, 5).astype(int)
        (tmp_path / "cohort").mkdir()
        table.to_csv(tmp_path / "cohort" / "participants.tsv", sep="\t", index=False)
        options = ["--target", "mrs", "--cut", "2", "--tabular", "age", "nihss", "--cv", "3"]
        code, out, err = run(*options, cohort=tmp_path / "cohort")
        assert code == 0, err
        assert "mrs > 2" in out and "c-index" in out
        assert "fitting 3 models: age, age + NIHSS, age + NIHSS, ordinal" in err
        options[3], out = "9", tmp_path / "other"
        found = run(*options, cohort=tmp_path / "cohort", out=out)
        is_refused(found, 2, "all classes are at or below cut=9", out)

    def test_further_scores(self, run, study_folder, tmp_path):
        table = pd.read_csv(study_folder / "participants.tsv", sep="\t")
        table["hospital"] = np.where(np.arange(len(table)) % 2, "north", "south")
        (tmp_path / "cohort").mkdir()
        table.to_csv(tmp_path / "cohort" / "participants.tsv", sep="\t", index=False)
        options = ["--scoring", "f1_macro", "--threshold", "0.4", "--by", "hospital"]
        code, out, err = run(*TABULAR, *options, cohort=tmp_path / "cohort")
        assert code == 0, err
        assert all(name in out for name in ("f1 macro", "sensitivity", "specificity"))
        assert (tmp_path / "report" / "by_group.csv").exists()

    def test_a_second_run_gives_the_same_numbers(self, run, tmp_path):
        run(*TABULAR, out=tmp_path / "one")
        run(*TABULAR, out=tmp_path / "two")
        one, two = ((tmp_path / name / "table.csv").read_text() for name in ("one", "two"))
        assert one == two

    def test_version_and_help(self, capsys):
        assert main(["--version"]) == 0
        assert main(["compare", "--help"]) == 0
        assert "exit codes" in capsys.readouterr().out


class TestWrongCommand:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--nonsense"], "unrecognized arguments"),
            (["--cv", "five"], "not understood"),
            (["--cv", "1"], "at least two folds"),
            (["--images", "t1w"], "'t1w' is not NAME=GLOB"),
            (["--n-patients", "0"], "not a positive number"),
            (["--imaging-effect", "-1"], "below 0"),
            ([], "--target is needed"),
            (["--target", "outcome"], "name columns with --tabular"),
            (["--target", "outcome", "--tabular", "bmi"], "--tabular bmi: the table has age"),
            ([*TABULAR, "--positive", "dead"], "--positive dead: the outcomes are"),
            (["--cut", "two"], "'two' is not a number"),
            ([*TABULAR, "--scoring", "nonsense"], "nonsense"),
            ([*TABULAR, "--threshold", "2"], "threshold must be a probability"),
            ([*TABULAR, "--cut", "2"], "--cut 2: the outcome outcome is text"),
            ([*TABULAR, "--image", "flair"], "--image flair: the images are none"),
        ],
    )
    def test_exit_code_two(self, run, tmp_path, options, words):
        is_refused(run(*options), 2, words, tmp_path / "report")

    def test_required_options(self, capsys):
        assert main([]) == 2
        assert main(["compare"]) == 2
        assert "--cohort" in capsys.readouterr().err

    def test_target_of_the_simulated_cohort(self, run, tmp_path):
        found = run("--target", "mrs", cohort="simulated")
        is_refused(found, 2, "the simulated outcome is aphasia", tmp_path / "report")


class TestBadData:
    def test_no_table(self, run, tmp_path):
        found = run(*TABULAR, cohort=tmp_path / "nowhere")
        is_refused(found, 3, "nowhere", tmp_path / "report")

    def test_no_such_outcome(self, run, tmp_path):
        found = run("--target", "wab", "--tabular", "age")
        is_refused(found, 3, "'wab' not found", tmp_path / "report")

    def test_missing_images(self, run, tmp_path):
        found = run(*TABULAR, "--images", "t1w=sub-*/anat/*_T1w.nii.gz")
        is_refused(found, 3, "sub-00", tmp_path / "report")

    def test_no_soop(self, run, tmp_path):
        found = run("--data-home", str(tmp_path), cohort="soop")
        is_refused(found, 3, "download", tmp_path / "report")

    def test_too_few_patients_for_the_folds(self, run, tmp_path):
        found = run(*TABULAR[:-1], "50")
        is_refused(found, 3, "fewer than the 50 folds", tmp_path / "report")


class Failing(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        raise MemoryError("no room")


def test_an_unusable_atlas(run, tmp_path):
    found = run("--quick", "--n-patients", "4", "--atlas", "nowhere", cohort="simulated")
    is_refused(found, 3, "nowhere", tmp_path / "report")


class TestFailures:
    def test_a_model_that_fails(self, run, tmp_path, monkeypatch):
        from prognosis.studies import published

        def make_ladder(rungs, names, random_state):
            return {name: Failing() for name in names}

        monkeypatch.setattr(published, "logistic_ladder", make_ladder)
        found = run(*TABULAR)
        is_refused(
            found, 4, "model 'age', repeat 1, fold 1: MemoryError: no room", tmp_path / "report"
        )

    def test_interrupted(self, run, tmp_path, monkeypatch):
        def interrupted(_):
            raise KeyboardInterrupt

        monkeypatch.setattr(study, "load_named_cohort", interrupted)
        is_refused(run(*TABULAR), 130, "nothing was written", tmp_path / "report")

    def test_no_place_for_the_report_is_found_before_the_work(self, run, tmp_path, monkeypatch):
        def worked(_):
            raise AssertionError("started to work")

        monkeypatch.setattr(study, "load_named_cohort", worked)
        (tmp_path / "file").write_text("keep")
        for out in (tmp_path / "file", tmp_path / "file" / "report"):
            code, _, err = run(*TABULAR, out=out)
            assert code == 5
            assert "cannot be written to" in err
        assert (tmp_path / "file").read_text() == "keep"

    def test_a_full_disk_leaves_the_old_report(self, run, tmp_path, monkeypatch):
        run(*TABULAR)
        before = {p.name: p.read_bytes() for p in (tmp_path / "report").iterdir()}

        def full(*_):
            raise OSError("disk full")

        monkeypatch.setattr(os, "replace", full)
        code, out, err = run(*TABULAR, "--random-state", "1")
        assert (code, out) == (5, "")
        assert "disk full" in err
        assert {p.name: p.read_bytes() for p in (tmp_path / "report").iterdir()} == before


def test_simulated_cohort_from_the_shell(tmp_path):
    command = [sys.executable, "-m", "prognosis.cli", "compare", "--cohort", "simulated", "--quick"]
    command += ["--n-patients", "24", "--epochs", "1", "--cv", "2", "--n-jobs", "1"]
    command += ["--out", str(tmp_path / "report"), "--memory", str(tmp_path / "memory")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    assert "stitched T1w + tabular" in done.stdout
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "SIMULATED PATIENTS" in page


def test_help_needs_no_heavy_import():
    code = (
        "import sys; from prognosis.cli import main; main(['compare', '--help']); "
        "print([m for m in ('torch', 'sklearn', 'pandas', 'nibabel') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n")
