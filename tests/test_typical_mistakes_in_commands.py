"""Typical mistakes on the command line: one line says what is wrong, and nothing is written."""

import pandas as pd
import pytest

from prognosis.cli import main


@pytest.fixture
def folder(tmp_path):
    names = [f"sub-{number:02}" for number in range(24)]
    people = pd.DataFrame({"participant_id": names, "age": 60, "mrs": [0, 4] * 12})
    people.to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    return tmp_path


COMMANDS = {
    "no table": (["--cohort", "none.tsv", "--target", "mrs"], 3, "no file at"),
    "target misspelt": (["--cohort", "participants.tsv", "--target", "MRS"], 3, "mean 'mrs'?"),
    "no target": (["--cohort", "participants.tsv"], 2, "--target is needed"),
    "column misspelt": (
        ["--cohort", "participants.tsv", "--target", "mrs", "--tabular", "Age"],
        2,
        "--tabular Age: the table has age; did you mean 'age'?",
    ),
}


@pytest.mark.parametrize(("options", "code", "words"), COMMANDS.values(), ids=COMMANDS)
def test_a_mistake_in_a_command_gets_one_line(options, code, words, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["compare", *options, "--quiet", "--out", "report"]) == code
    said = capsys.readouterr().err
    assert words in said and said.startswith("prognosis: ") and said.count("\n") == 1
    assert not (folder / "report").exists()


def test_a_folder_cannot_be_segmented(folder, capsys):
    assert main(["segment", str(folder), "--out", str(folder / "masks")]) == 3
    assert "it is a folder: name the scans in it" in capsys.readouterr().err
