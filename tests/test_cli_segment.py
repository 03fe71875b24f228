"""``prognosis segment``: masks on the scans' own voxels, a table, pictures, clear refusals."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from prognosis.cli import main


@pytest.fixture(scope="module")
def model(segmenter, tmp_path_factory):
    return str(
        segmenter.save(tmp_path_factory.mktemp("model") / "tiny.safetensors", scores={"dice": 0.5})
    )


@pytest.fixture
def scans(tmp_path, affine):
    rng = np.random.default_rng(0)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    paths = []
    for name in ("a.nii.gz", "b.nii"):
        shape = tuple((60 / edges).astype(int))
        data = rng.normal(100, 10, shape).astype(np.float32)
        path = tmp_path / name
        nib.save(nib.Nifti1Image(data, affine), path)
        paths.append(str(path))
    return paths


def test_masks_table_and_pictures(model, scans, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["segment", *scans, "--out", str(out), "--model", model, "--threshold", "0.15"]
    assert main([*arguments, "--flips"]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "a_lesion.nii.gz",
        "a_lesion.png",
        "b_lesion.nii.gz",
        "b_lesion.png",
        "volumes.csv",
    ]
    table = pd.read_csv(out / "volumes.csv")
    assert table["scan"].tolist() == scans
    for row in table.itertuples():
        mask, scan = nib.load(out / row.mask), nib.load(row.scan)
        assert mask.shape == scan.shape
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
        voxel = abs(np.linalg.det(scan.affine[:3, :3])) / 1000
        assert row.lesion_ml == pytest.approx(
            np.count_nonzero(mask.dataobj) * voxel, abs=2e-3, rel=1e-5
        )
    from PIL import Image

    with Image.open(out / "a_lesion.png") as picture:
        assert picture.width > 600 and np.asarray(picture).std() > 5
    captured = capsys.readouterr()
    assert "lesion_ml" in captured.out and "2 of 2" in captured.err
    assert "this model's own scores: dice 0.50" in captured.err


def test_wrong_input_is_refused_before_the_work(model, scans, tmp_path, capsys):
    out = tmp_path / "out"
    for extra, words in (
        (["nowhere.nii.gz"], "no file at 'nowhere.nii.gz'"),
        ([str(tmp_path / "sub" / "a.nii.gz")], "two scans are called 'a'"),
    ):
        assert main(["segment", *scans, *extra, "--out", str(out), "--model", model]) == 3
        assert words in capsys.readouterr().err
        assert not out.exists()
    assert main(["segment", *scans, "--out", str(out), "--model", "huge"]) == 3
    assert "no pretrained model 'huge'" in capsys.readouterr().err
    assert main(["segment", *scans, "--out", str(out), "--threshold", "2"]) == 2
    assert not out.exists()


def test_a_scan_that_cannot_be_segmented_is_named(model, scans, tmp_path, capsys):
    empty = tmp_path / "empty.nii"
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.float32), np.eye(4)), empty)
    out = tmp_path / "out"
    code = main(["segment", scans[0], str(empty), "--out", str(out), "--model", model, "--quiet"])
    assert code == 3
    captured = capsys.readouterr()
    assert "empty.nii" in captured.err and "zero everywhere" in captured.err
    assert captured.out == "" and "Traceback" not in captured.err
    assert sorted(p.name for p in out.iterdir()) == [
        "a_lesion.nii.gz",
        "a_lesion.png",
        "volumes.csv",
    ]


def test_a_folder_that_cannot_be_written(model, scans, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code = main(["segment", scans[0], "--out", str(tmp_path / "file" / "x"), "--model", model])
    assert code == 5 and "cannot be written" in capsys.readouterr().err
