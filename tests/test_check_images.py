"""The check of a cohort's images: its table, its page, and the command."""

import re

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from prognosis import CohortError, check_images, make_stroke_cohort
from prognosis.cli import main
from prognosis.inspection.pairs import lesion_contrast, swapped_rows
from prognosis.inspection.pictures import draw_panes


@pytest.fixture(scope="module")
def cohort():
    X, _ = make_stroke_cohort(8, spacing_mm=8, random_state=0)
    return X


def elsewhere(image, affine):
    return nib.Nifti1Image(np.asanyarray(image.dataobj), affine)


@pytest.fixture(scope="module")
def bad(cohort):
    X = cohort.copy()
    X.attrs = dict(cohort.attrs)
    shift = nib.affines.from_matvec(np.eye(3), [0, 30, 0])
    X.at["sub-0002", "t1w"] = elsewhere(X.at["sub-0002", "t1w"], shift @ X["t1w"].iloc[1].affine)
    for name in ("t1w", "lesion"):
        image = X.at["sub-0007", name]
        X.at["sub-0007", name] = elsewhere(image, shift @ image.affine)
    X.at["sub-0003", "lesion"] = elsewhere(X.at["sub-0003", "lesion"], np.eye(4))
    X.at["sub-0004", "lesion"] = X.at["sub-0004", "t1w"]
    X.at["sub-0005", "t1w"] = None
    X.at["sub-0006", "t1w"] = "nothing.nii.gz"
    return X


def test_a_good_cohort(cohort):
    table = check_images(cohort)
    assert table.index.names == ["patient", "image"] and len(table) == 16
    assert (table["verdict"] == "ok").all() and (table["reasons"] == "").all()
    assert table.xs("lesion", level=1)["inside"].min() > 0.85
    assert table.xs("t1w", level=1)["front_mm"].abs().max() < 8


def test_what_is_found(bad, tmp_path):
    sheet = tmp_path / "sheet.html"
    table = check_images(bad, sheet=sheet)
    reasons = table["reasons"]
    assert "to the front" in reasons["sub-0002", "t1w"]
    assert "another affine" in reasons["sub-0002", "lesion"]
    assert "identity" in reasons["sub-0003", "lesion"]
    assert reasons["sub-0007", "lesion"] == "it lies on the grid of 't1w', which is wrong"
    assert "grey values" in reasons["sub-0004", "lesion"]
    assert reasons["sub-0005", "t1w"] == "there is no image"
    assert "no file at 'nothing.nii.gz'" in reasons["sub-0006", "t1w"]
    grades = table["verdict"].map(["ok", "unchecked", "doubtful", "wrong"].index)
    assert grades.is_monotonic_decreasing and (table["verdict"] == "wrong").sum() == 7
    page = sheet.read_text(encoding="utf-8")
    assert page.index('id="wrong"') < page.index('id="doubtful"') < page.index('id="ok"')
    assert page.count("<article") == 16 and "SIMULATED" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page) and "<script" not in page


def test_a_mask_whose_sides_were_swapped():
    X, _ = make_stroke_cohort(14, spacing_mm=8, random_state=0)
    assert (check_images(X)["verdict"] == "ok").all()
    large = max(X.index, key=lambda row: X.at[row, "lesion"].get_fdata().sum())
    mask = X.at[large, "lesion"]
    X.at[large, "lesion"] = nib.Nifti1Image(np.asanyarray(mask.dataobj)[::-1].copy(), mask.affine)
    table = check_images(X, ["t1w", "lesion"])
    assert "left and right may be swapped" in table["reasons"][large, "lesion"]
    assert (table["verdict"] == "doubtful").sum() == 1
    assert lesion_contrast(X.at[large, "t1w"], mask) < 0  # fluid is dark on T1


def test_few_or_unlike_contrasts_say_nothing():
    assert swapped_rows([2, 2, 2, -2], "flair") == {}
    assert swapped_rows([2, 2, -2, -2, 2, -2, np.nan], "flair") == {}
    assert list(swapped_rows([-1, -1.2, -0.9, -1, np.nan, 1.1], "t1w")) == [5]


def test_pictures_and_pixels_are_not_checked(tmp_path):
    from PIL import Image

    Image.fromarray(np.ones((9, 9), np.uint8)).save(tmp_path / "a.png")
    X = pd.DataFrame({"flair": [str(tmp_path / "a.png")]})
    assert check_images(X, "flair", sheet=tmp_path / "s.html")["verdict"].tolist() == ["unchecked"]


def test_refusals(cohort):
    with pytest.raises(CohortError, match="no image column is declared"):
        check_images(pd.DataFrame({"t1w": ["a.nii"]}))
    with pytest.raises(CohortError, match="lesion names 'mask', but the image columns are 't1w'"):
        check_images(cohort, "t1w", lesion="mask")
    with pytest.raises(CohortError, match="column 'flair' not found"):
        check_images(cohort, "flair")


def test_outlines_are_where_they_should_be(cohort):
    import io

    from PIL import Image

    scan, mask = cohort["t1w"].iloc[0], cohort["lesion"].iloc[0]
    plain, marked = (
        np.asarray(Image.open(io.BytesIO(draw_panes(scan, m))).convert("RGB")).astype(int)
        for m in (None, mask)
    )
    blue = (plain[..., 2] - plain[..., 0]) > 100
    red = (marked[..., 0] - marked[..., 2]) > 100
    axial = slice(0, 140)
    rows, columns = np.nonzero(blue[:, axial])
    assert 85 < np.ptp(columns) < 105 and 105 < np.ptp(rows) < 125  # 1.5 mm a pixel
    assert red[:, axial].any() and np.nonzero(red[:, axial])[1].mean() < 70  # left is left


def test_command(tmp_path, capsys, cohort):
    options = ["--n-patients", "2", "--spacing-mm", "8", "--n-jobs", "1", "--memory", str(tmp_path)]
    out = tmp_path / "out"
    assert main(["check", "simulated", "--out", str(out), *options]) == 0
    assert "4 ok" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["images.csv", "index.html"]
    assert len(pd.read_csv(out / "images.csv")) == 4


def test_command_on_a_bad_folder(tmp_path, capsys, cohort):
    for patient, image in cohort["t1w"][:3].items():
        nib.save(elsewhere(image, np.diag([8, 8, 8, 1])), tmp_path / f"{patient}_T1w.nii.gz")
    table = pd.DataFrame({"participant_id": cohort.index[:3], "outcome": [0, 1, 0]})
    table.to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    own = ["--target", "outcome", "--images", "t1w=*_T1w.nii.gz", "--quiet", "--n-jobs", "1"]
    call = ["check", str(tmp_path), "--out", str(tmp_path / "out"), *own]
    assert main(call) == 3
    out, err = capsys.readouterr()
    assert out.count("wrong: sub-000") == 3 and "3 of 3 images are wrong" in err
    assert main([*call, "--lesion", "mask"]) == 2
    assert "--lesion mask: the images are t1w" in capsys.readouterr().err
