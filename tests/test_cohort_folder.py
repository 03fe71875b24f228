"""Cohorts from a folder: scans matched by patient id, everything amiss reported together."""

import gzip
import shutil
import warnings

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from prognosis import CohortError, LesionSize, load_cohort

T1W = {"t1w": "sub-*/anat/*_T1w.nii.gz"}


def _scan(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    nib.save(nib.Nifti1Image(rng.integers(0, 9, (12, 12, 12), np.int16), np.eye(4)), path)
    return path


@pytest.fixture
def study(tmp_path):
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsex\twab_aq\n"
        "sub-01\t60\tF\t50.5\nsub-1\t70\tn/a\t93.0\nsub-011\tn/a\tM\t12.5\nsub-4\t55\tM\tn/a\n"
    )
    for patient in ("sub-01", "sub-1", "sub-011", "sub-4"):
        _scan(tmp_path / patient / "anat" / f"{patient}_T1w.nii.gz")
    return tmp_path


def _load(study, images=T1W, target="wab_aq", **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="1 of 4 patients are left out because 'wab_aq'")
        return load_cohort(study / "participants.tsv", images, target=target, **options)


def test_scans_are_matched_by_whole_ids(study):
    X, y = _load(study)
    assert X.columns.tolist() == ["t1w", "age", "sex"]
    assert X.index.tolist() == ["sub-01", "sub-1", "sub-011"] and X.index.name == "patient"
    for patient, path in X["t1w"].items():
        assert path == str(study / patient / "anat" / f"{patient}_T1w.nii.gz")
    assert y.tolist() == [50.5, 93.0, 12.5] and y.name == "wab_aq" and y.index.equals(X.index)
    assert np.isnan(X.loc["sub-011", "age"]) and X["sex"].isna().tolist() == [False, True, False]
    about = X.attrs["cohort"]
    assert about["image_columns"] == ["t1w"] and about["simulated"] is False


def test_rows_without_target_are_left_out_with_a_warning(study):
    with pytest.warns(
        UserWarning, match="1 of 4 patients are left out because 'wab_aq' is missing"
    ):
        load_cohort(study / "participants.tsv", T1W, target="wab_aq")


def test_ids_without_prefix_sessions_and_several_images(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tbad\n01\t1\n02\t0\n")
    for patient in ("01", "02"):
        _scan(tmp_path / f"sub-{patient}/ses_02/anat/sub-{patient}_ses_02_T1w.nii.gz")
        _scan(tmp_path / f"masks/{patient}_lesion.nii.gz")
    images = {"t1w": "sub-*/ses*/anat/*_T1w.nii.gz", "lesion": "masks/*_lesion.nii.gz"}
    X, y = load_cohort(tmp_path / "participants.tsv", images, target="bad")
    assert X.index.tolist() == ["01", "02"] and y.dtype == np.int64
    assert X.loc["01", "t1w"].endswith("sub-01_ses_02_T1w.nii.gz")
    assert X.loc["02", "lesion"].endswith("masks/02_lesion.nii.gz")
    sizes = LesionSize(labels=[1, 2]).fit_transform(X)["lesion_ml"]  # of scans, as masks go
    assert sizes.gt(0).all()


def test_everything_amiss_is_reported_together(study):
    _scan(study / "sub-01/anat/sub-01_run-2_T1w.nii.gz")
    (study / "sub-1/anat/sub-1_T1w.nii.gz").unlink()
    whole = study / "sub-011/anat/sub-011_T1w.nii.gz"
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(CohortError) as caught:
        _load(study)
    message = str(caught.value)
    assert message.startswith("3 of 3 patients lack a usable scan: ")
    assert "sub-01, 't1w': 2 files match" in message and "sub-01_run-2_T1w.nii.gz" in message
    assert "sub-1, 't1w': no file matches 'sub-*/anat/*_T1w.nii.gz'" in message
    assert "sub-011, 't1w': " in message and "corrupt" in message
    assert "require='usable'" in message
    with (
        pytest.raises(CohortError, match=r"no patient .* has all of t1w"),
        pytest.warns(UserWarning, match="3 of 3 patients"),
    ):
        _load(study, require="usable")


def test_usable_patients_can_be_kept(study):
    (study / "sub-1/anat/sub-1_T1w.nii.gz").write_bytes(b"not an image")
    with pytest.warns(UserWarning, match="1 of 3 patients are left out .*sub-1, 't1w': .*read"):
        X, y = _load(study, require="usable")
    assert X.index.tolist() == ["sub-01", "sub-011"] == y.index.tolist()


def test_whole_files_of_any_kind_are_accepted(study):
    path = study / "sub-1/anat/sub-1_T1w.nii.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:3000]) + gzip.compress(content[3000:]))
    assert len(_load(study)[0]) == 3
    for patient in ("sub-01", "sub-1", "sub-011"):
        Image.fromarray(np.full((9, 9), 7, np.uint8)).save(study / patient / f"{patient}.png")
    X, _ = _load(study, {"picture": "sub-*/*.png"})
    assert X["picture"].str.endswith(".png").all()
    (study / "sub-1/sub-1.png").write_bytes(b"no picture")
    with pytest.raises(CohortError, match=r"sub-1, 'picture': .* cannot be read as a picture"):
        _load(study, {"picture": "sub-*/*.png"})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id\tage\n1\t2\n", "no column 'participant_id' .found id, age."),
        ("participant_id\tage\nsub-1\t2\nsub-1\t3\n", "lists sub-1 more than once"),
        ("participant_id\tage\nsub-1\t2\n\t3\n", "no participant_id in line 3"),
        ("participant_id\tage\nsub-1\t2\n", "column 'wab_aq' not found in .*it has age"),
        ("participant_id\twab_aq\nsub-1\tn/a\n", "column 'wab_aq' is empty for every patient"),
        ("participant_id\tt1w\twab_aq\nsub-1\t2\t3\n", "image column 't1w' is also a column"),
        ("", "cannot be read as a tab-separated table"),
    ],
)
def test_unfit_tables_are_refused(tmp_path, table, message):
    (tmp_path / "participants.tsv").write_text(table)
    with pytest.raises(CohortError, match=message):
        load_cohort(tmp_path / "participants.tsv", T1W, target="wab_aq")


def test_unfit_arguments_are_refused(study):
    with pytest.raises(CohortError, match="no file at"):
        load_cohort(study / "absent.tsv", T1W, target="age")
    with pytest.raises(CohortError, match="require must be 'all' or 'usable', got 'some'"):
        _load(study, require="some")


@pytest.mark.data
def test_aphasia_recovery_cohort(data_home, tmp_path):
    arc = data_home / "arc"
    if not (arc / "participants.tsv").is_file():
        pytest.skip(f"no arc in {data_home}")
    shutil.copy(arc / "participants.tsv", tmp_path)
    for scan in arc.glob("sub-*_T2w.nii.gz"):
        shutil.copy(scan, tmp_path)
    with pytest.warns(UserWarning, match="left out for lack of a usable scan"):
        X, y = load_cohort(
            tmp_path / "participants.tsv",
            {"t2w": "*_T2w.nii.gz"},
            target="wab_aq",
            require="usable",
        )
    assert X.index.tolist() == ["sub-M2265"] and 0 <= y.item() <= 100
    assert {"sex", "age_at_stroke", "wab_days"} <= set(X.columns)
