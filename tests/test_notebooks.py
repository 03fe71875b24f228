"""Every notebook runs from top to bottom, is small, and says first what its data are."""

import json
import re
from pathlib import Path

import pytest

from prognosis import CohortError, load_soop

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LONGEST_S = 600
LARGEST_BYTES = 1_000_000

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def test_there_are_notebooks():
    names = {path.stem[:2] for path in NOTEBOOKS}
    assert names >= {"01", "02", "03", "04", "05", "06", "09", "11"}


@every_notebook
def test_it_runs(path, tmp_path, request, monkeypatch):
    """In an empty folder, so that it can neither rest on files beside it nor leave any behind."""
    if "load_soop(" in path.read_text():
        try:
            load_soop()
        except CohortError as error:
            pytest.skip(f"needs real patients: {error}")
    if "PROGNOSIS_DATA" in path.read_text():
        home = request.getfixturevalue("data_home")
        if not (home / "lgg").is_dir():
            pytest.skip(f"needs real patients: no folder lgg in {home}")
        monkeypatch.setenv("PROGNOSIS_DATA", str(home))
    nbformat = pytest.importorskip("nbformat", reason="install the extra test: nbclient, ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="install the extra test: nbclient, ipykernel")
    pytest.importorskip("ipykernel", reason="install the extra test: nbclient, ipykernel")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=LONGEST_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert list(tmp_path.iterdir()) == []


@every_notebook
def test_it_is_committed_with_its_outputs_and_small(path):
    code = cells(path, "code")
    outputs = [output for cell in code for output in cell["outputs"]]
    assert all(cell["execution_count"] for cell in code)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert outputs and not [one for one in outputs if one["output_type"] == "error"]
    assert not [one for one in outputs if one.get("name") == "stderr"]
    assert path.stat().st_size < LARGEST_BYTES


@every_notebook
def test_it_says_first_what_its_data_are(path):
    first = "".join(cells(path, "markdown")[0]["source"])
    assert re.search(r"simulated", first, re.IGNORECASE)
    # nothing of the machine on which it was made
    assert not re.search(r"/(tmp|home|root|work|Users)/", path.read_text())


@every_notebook
def test_it_silences_no_warning(path):
    """What is warned of is shown or does not happen."""
    code = "".join("".join(cell["source"]) for cell in cells(path, "code"))
    assert not re.search(r"(filterwarnings|simplefilter)\(\s*[\"']ignore", code)
