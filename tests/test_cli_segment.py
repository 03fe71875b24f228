"""``prognosis segment``: masks on the scans' own voxels, a table, overlay, clear refusals."""

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


@pytest.fixture
def two(tmp_path):
    """Two scans that are as they should be."""
    rng = np.random.default_rng(1)
    paths = [str(tmp_path / name) for name in ("a.nii", "b.nii")]
    for path in paths:
        data = rng.normal(100, 10, (16, 16, 16)).astype(np.float32)
        nib.save(nib.Nifti1Image(data, np.diag([4, 4, 4, 1.0])), path)
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


def test_bad_scans_do_not_stop_the_others(model, two, tmp_path, capsys):
    empty, broken, flat = (tmp_path / name for name in ("empty.nii", "broken.nii.gz", "flat.nii"))
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.float32), np.eye(4)), empty)
    nib.save(nib.Nifti1Image(np.ones((8, 8), np.float32), np.eye(4)), flat)
    broken.write_bytes(b"no image")
    out = tmp_path / "out"
    given = [str(empty), two[0], str(broken), str(flat), two[1]]
    code = main(["segment", *given, "--out", str(out), "--model", model, "--quiet"])
    assert code == 3
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert "empty.nii: " in lines[0] and "zero everywhere" in lines[0]
    assert "broken.nii.gz: " in lines[1] and "cannot be read as an image" in lines[1]
    assert "flat.nii: " in lines[2] and "a 3-D image was expected" in lines[2]
    assert lines[3] == "prognosis: 3 of 5 scans failed, see above; volumes.csv holds 2"
    assert len(lines) == 4 and "scan 0" not in captured.err
    assert "lesion_ml" in captured.out
    assert pd.read_csv(out / "volumes.csv")["scan"].tolist() == two
    assert len(list(out.iterdir())) == 5


def test_where_every_scan_fails_the_table_is_empty(model, tmp_path, capsys):
    empty = tmp_path / "empty.nii"
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.float32), np.eye(4)), empty)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "volumes.csv").write_text("scan,mask,lesion_ml\nold.nii,old,3\n")
    arguments = ["segment", str(empty), "--out", str(tmp_path / "out"), "--model", model]
    assert main(arguments) == 3
    assert (tmp_path / "out" / "volumes.csv").read_text() == "scan,mask,lesion_ml\n"
    assert capsys.readouterr().out == ""


def test_a_picture_that_fails_leaves_its_mask(model, two, tmp_path, capsys, monkeypatch):
    from imaging import overlay

    draw = overlay.save_overlay

    def fails(scan, *arguments, **more):
        if scan == two[0]:
            raise RuntimeError("no picture today")
        return draw(scan, *arguments, **more)

    monkeypatch.setattr(overlay, "save_overlay", fails)
    out = tmp_path / "out"
    assert main(["segment", *two, "--out", str(out), "--model", model, "--quiet"]) == 3
    error = capsys.readouterr().err
    assert "a.nii: its mask was written, but no picture (no picture today)" in error
    names = {p.name for p in out.iterdir()}
    assert names == {"a_lesion.nii.gz", "b_lesion.nii.gz", "b_lesion.png", "volumes.csv"}
    assert pd.read_csv(out / "volumes.csv")["scan"].tolist() == two


def test_odd_names_and_constant_scans_are_drawn_too(model, tmp_path, capsys):
    rng = np.random.default_rng(0)
    odd, constant, thin = (tmp_path / f"{n}.nii" for n in (r"p$_{\1 $x^", "constant", "thin"))
    nib.save(nib.Nifti1Image(rng.random((12, 12, 12), np.float32), np.diag([5, 5, 5, 1.0])), odd)
    nib.save(nib.Nifti1Image(np.full((12, 12, 12), 7.0), np.diag([5, 5, 5, 1.0])), constant)
    nib.save(nib.Nifti1Image(rng.random((1, 20, 20)), np.diag([5, 5, 5, 1.0])), thin)
    given = [str(odd), str(constant), str(thin)]
    out = tmp_path / "out"
    # Everything a lesion, so that outlines of whole slices are drawn, too.
    code = main(["segment", *given, "--out", str(out), "--model", model, "--threshold", "0.001"])
    assert code == 0, capsys.readouterr().err
    assert len(list(out.glob("*.png"))) == 3
    assert pd.read_csv(out / "volumes.csv")["scan"].tolist() == given


def test_the_model_keeps_what_no_option_changes(segmenter, two, tmp_path):
    from imaging.segmentation import LesionSegmenter

    path = segmenter.save(tmp_path / "model.safetensors")
    own = LesionSegmenter.load(path, threshold=0.16, test_time_mirroring=True)
    own.save(tmp_path / "own.safetensors")
    arguments = ["segment", two[0], "--out", str(tmp_path / "out")]
    assert main([*arguments, "--model", str(tmp_path / "own.safetensors")]) == 0
    (expected,) = own.predict(two[:1])
    found = nib.load(tmp_path / "out" / "a_lesion.nii.gz")
    np.testing.assert_array_equal(found.dataobj, expected.dataobj)
    assert 0 < np.asarray(found.dataobj).mean() < 1


def test_a_device_that_is_not_there_is_told_once(model, two, tmp_path, capsys):
    arguments = ["segment", *two, "--out", str(tmp_path / "out"), "--model", model]
    assert main([*arguments, "--device", "abacus"]) == 2
    assert capsys.readouterr().err.count("abacus") == 1
    assert main([*arguments, "--device", "cuda:99"]) == 2
    assert "not present" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(model, scans, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code = main(["segment", scans[0], "--out", str(tmp_path / "file" / "x"), "--model", model])
    assert code == 5 and "cannot be written" in capsys.readouterr().err
