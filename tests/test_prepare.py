"""``prognosis prepare`` and the page of registrations, on coarse simulated heads."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from registration_heads import Head, Knows

from imaging import write_image
from prognosis import CohortError, LesionSize, ToTemplate, check_registrations, load_cohort
from prognosis.cli import main
from prognosis.commands.prepare import _of_table


@pytest.fixture(scope="module")
def heads():
    return [Head("t1w", 1, lesion_mm=24, warp_mm=3), Head("flair", 2, lesion_mm=18, warp_mm=3)]


@pytest.fixture
def raw(heads, tmp_path, monkeypatch):
    """A BIDS folder of two patients, and a third whose scan is noise."""
    folder = tmp_path / "raw"
    for number, head in enumerate(heads):
        anat = folder / f"sub-0{number}" / "anat"
        write_image(head.scan, anat / f"sub-0{number}_T1w.nii.gz")
        write_image(head.mask, anat / f"sub-0{number}_lesion.nii.gz")
    noise = np.random.default_rng(0).random((30, 30, 30), np.float32)
    anat = folder / "sub-02" / "anat"
    write_image(nib.Nifti1Image(noise, np.diag([6, 6, 6, 1])), anat / "sub-02_T1w.nii.gz")
    write_image(heads[0].mask, anat / "sub-02_lesion.nii.gz")
    table = "participant_id\tage\tmrs\nsub-00\t60\t1\nsub-01\t70\t3\nsub-02\t80\t4\n"
    (folder / "participants.tsv").write_text(table)

    class Sees(Knows):
        def predict(self, scan):
            said = super().predict(scan)
            if scan.shape == (30, 30, 30):
                said.affine = nib.affines.from_matvec(np.eye(3), [0, 90, 60]) @ said.affine
            return said

    model = Sees(*heads)
    monkeypatch.setattr("imaging.registration.registering.opened_model", lambda given: model)
    return folder


IMAGES = [
    "--images",
    "t1w=sub-*/anat/*_T1w.nii.gz",
    "--images",
    "lesion=sub-*/anat/*_lesion.nii.gz",
]
QUICK = ["--affine", "--spacing-mm", "6", "--quiet"]


def test_from_a_folder_to_a_cohort(raw, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["prepare", str(raw), "--out", str(out), *IMAGES, *QUICK]) == 3
    said = capsys.readouterr()
    assert said.out.startswith("2 ok, 1 wrong")
    assert "sub-02: " in said.err and "1 of 3 patients failed" in said.err
    quality = pd.read_csv(out / "quality.tsv", sep="\t")
    assert quality["participant_id"].iloc[0] == "sub-02"  # worst first
    about = json.loads((out / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative" and about["Versions"]["dipy"]
    assert about["Settings"]["nonlinear"] is False
    images = {
        "t1w": "sub-*/anat/*_space-MNI152_t1w.nii.gz",
        "lesion": "sub-*/anat/*_space-MNI152_label-lesion_mask.nii.gz",
    }
    X, y = load_cohort(out / "participants.tsv", images, target="mrs")
    assert y.tolist() == [1, 3] and X["age"].tolist() == [60, 70]
    assert (LesionSize().fit_transform(X)["lesion_ml"] > 10).all()
    page = (out / "index.html").read_text()
    assert page.index("sub-02") < page.index("sub-01")
    assert "outline of its white matter" in page and "score of failure" in page
    assert page.count("data:image/png;base64") == 3


def test_from_a_table_of_paths(raw, tmp_path, capsys):
    table = pd.DataFrame(
        {
            "participant_id": ["a", "b"],
            "scan": [f"sub-0{n}/anat/sub-0{n}_T1w.nii.gz" for n in (0, 1)],
            "mask": [f"sub-0{n}/anat/sub-0{n}_lesion.nii.gz" for n in (0, 1)],
        }
    )
    table.to_csv(raw / "paths.csv", index=False)
    out = tmp_path / "out"
    start = ["prepare", str(raw / "paths.csv"), "--out", str(out), *QUICK]
    assert main(start) == 2
    assert "name the columns of paths" in capsys.readouterr().err
    assert main([*start, "--column", "scan", "--column", "mask", "--lesion", "mask"]) == 0
    assert (out / "b" / "anat" / "b_space-MNI152_label-mask_mask.nii.gz").is_file()
    assert main([*start, "--column", "scn"]) == 2


def test_a_quotation_mark_in_a_table_of_paths_swallows_no_patient(tmp_path):
    table = tmp_path / "paths.tsv"
    lines = ["participant_id\tnote\tscan", 'a\t"fell\ta.nii', "b\tn/a\tb.nii", 'c\twell"\tc.nii']
    table.write_text("\n".join(lines))
    with pytest.warns(UserWarning, match="quotation marks"):
        _, found = _of_table(table, SimpleNamespace(column=["scan"]))
    assert found["scan"].tolist() == [str(tmp_path / f"{name}.nii") for name in "abc"]
    assert found.index.tolist() == ["a", "b", "c"] and found.loc["a", "note"] == '"fell'


def test_a_folder_without_a_table_is_its_subjects(raw, tmp_path):
    (raw / "participants.tsv").unlink()
    out = tmp_path / "out"
    assert main(["prepare", str(raw), "--out", str(out), *QUICK]) == 3
    kept = pd.read_csv(out / "participants.tsv", sep="\t")
    assert kept["participant_id"].tolist() == ["sub-00", "sub-01"]
    assert sorted(one.name for one in raw.parent.iterdir()) == ["out", "raw"]


def test_dicom_is_refused_with_a_pointer(tmp_path, capsys):
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "IM0001").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 20)
    assert main(["prepare", str(folder), "--out", str(tmp_path / "out")]) == 3
    assert "convert them with dcm2niix" in capsys.readouterr().err
    assert main(["prepare", str(folder / "IM0001"), "--out", str(tmp_path / "out")]) == 3
    assert "dcm2niix" in capsys.readouterr().err
    assert main(["prepare", str(tmp_path / "no"), "--out", str(tmp_path / "out")]) == 3
    assert "no folder or table at" in capsys.readouterr().err


def test_nothing_to_do_is_said(tmp_path, capsys):
    folder = tmp_path / "raw"
    folder.mkdir()
    assert main(["prepare", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert "name the images" in capsys.readouterr().err
    start = ["prepare", str(folder), "--out", str(tmp_path / "out"), *IMAGES]
    assert main(start) == 3
    assert "neither participants.tsv nor folders sub-*" in capsys.readouterr().err


def test_the_table_of_registrations(heads, tmp_path):
    X = pd.DataFrame({"t1w": [head.scan for head in heads]}, index=["one", "two"])
    prepare = ToTemplate(model=Knows(*heads), nonlinear=False, spacing_mm=6.0).fit(X)
    table = check_registrations(prepare, X, sheet=tmp_path / "page.html")
    assert sorted(table.index) == ["one", "two"] and set(table["verdict"]) <= {"ok", "doubtful"}
    assert table["failure"].is_monotonic_decreasing
    assert (tmp_path / "page.html").is_file()
    with pytest.raises(CohortError, match="takes a fitted ToTemplate, found LesionSize"):
        check_registrations(LesionSize(), X)
