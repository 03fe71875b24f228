"""Image columns of a cohort brought to the template; what is known stands in for the network."""

import json
import pickle
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from registration_heads import Head, Knows
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from imaging import write_image
from imaging.registration import Transform
from prognosis import CohortError, LesionSize, ToTemplate, load_cohort

# What makes it quick: no warp but in one test, voxels of 6 mm.
QUICK = {"nonlinear": False, "spacing_mm": 6.0}


@pytest.fixture(scope="module")
def heads():
    return [Head("t1w", 1, lesion_mm=24, warp_mm=3), Head("t2w", 2, lesion_mm=18, warp_mm=3)]


@pytest.fixture(scope="module")
def model(heads):
    return Knows(*heads)


@pytest.fixture
def X(heads, tmp_path):
    rows = []
    for number, head in enumerate(heads):
        folder = tmp_path / "raw" / f"sub-{number}"
        scan = write_image(head.scan, folder / "scan.nii.gz")
        mask = write_image(head.mask, folder / "lesion.nii.gz")
        rows.append({"age": 60 + number, "scan": str(scan), "lesion": str(mask)})
    return pd.DataFrame(rows, index=["sub-0", "sub-1"])


def prepare(model, **changes):
    return ToTemplate("scan", **{"lesion": "lesion", "model": model, **QUICK, **changes})


def test_images_land_in_the_template(X, heads, model):
    before = X.copy()
    moved = prepare(model).fit_transform(X)
    pd.testing.assert_frame_equal(X, before)
    assert list(moved.columns) == list(X.columns) and moved["age"].tolist() == [60, 61]
    for head, image, mask in zip(heads, moved["scan"], moved["lesion"]):
        assert image.shape == mask.shape == (33, 39, 32)
        there = nib.affines.apply_affine(mask.affine, np.argwhere(np.asanyarray(mask.dataobj)))
        assert np.linalg.norm(there.mean(0) - head.truth[head.lesion].mean(0)) < 4
    sizes = LesionSize().fit_transform(moved)["lesion_ml"]
    assert (sizes > 10).all()


def test_it_is_a_step_of_a_pipeline(X, model):
    steps = make_pipeline(prepare(model), LesionSize())
    table = steps.fit_transform(X)
    assert list(steps.get_feature_names_out()) == list(table.columns)
    again = clone(prepare(model, spacing_mm=3))
    assert again.get_params()["spacing_mm"] == 3
    with pytest.raises(NotFittedError):
        again.transform(X)


def test_it_lives_as_scikit_learn_wants(X, model):
    moving = prepare(model)
    given = dict(moving.get_params(deep=False))
    assert moving.fit(X, [0, 1]) is moving
    assert all(moving.get_params(deep=False)[name] is value for name, value in given.items())
    assert moving.n_features_in_ == 3 and moving.columns_ == ["scan", "lesion"]
    state = dict(vars(moving))
    whole = moving.transform(X)
    assert vars(moving).keys() == state.keys()
    again = pickle.loads(pickle.dumps(moving))
    for row in X.index[::-1]:  # patients do not depend on each other
        one = again.transform(X.loc[[row]])["scan"].iloc[0]
        assert np.array_equal(one.get_fdata(), whole.loc[row, "scan"].get_fdata())
    with pytest.raises(ValueError, match="eature names"):
        moving.transform(X[["lesion", "scan", "age"]])
    with pytest.raises(CohortError, match="column"):
        moving.transform(X.drop(columns="lesion"))
    with pytest.raises(CohortError, match="DataFrame with one row per patient"):
        moving.fit(np.zeros((3, 2)))


def test_masks_come_back_to_the_scan(X, heads, model):
    moving = prepare(model, nonlinear=True).fit(X.iloc[:1])
    one = X.iloc[:1]
    mask = moving.transform(one)["lesion"].tolist()
    (back,) = moving.to_native(one, mask, interpolation="mask")
    wanted = nib.load(one["scan"].iloc[0])
    assert back.shape == wanted.shape and np.allclose(back.affine, wanted.affine)
    here, there = np.asanyarray(back.dataobj) > 0, heads[0].lesion
    assert 2 * (here & there).sum() / (here.sum() + there.sum()) > 0.7
    (transform,) = moving.transforms(one)
    assert transform.warp is not None and heads[0].errors(transform).mean() < 2.5
    with pytest.raises(CohortError, match="2 maps were given for 1 patients"):
        moving.to_native(one, mask * 2)
    with pytest.raises(CohortError, match="none of the image columns"):
        moving.to_native(one, mask, column="age")


def test_a_run_that_was_stopped_goes_on(X, model, tmp_path):
    out = tmp_path / "out"
    moving = prepare(model, folder=out).fit(X)
    before = model.asked
    first = moving.transform(X.iloc[:1])
    path = Path(first["scan"].iloc[0])
    assert path == out / "sub-0" / "anat" / "sub-0_space-MNI152_scan.nii.gz"
    assert Path(first["lesion"].iloc[0]).name == "sub-0_space-MNI152_label-lesion_mask.nii.gz"
    written = path.stat().st_mtime_ns
    both = moving.transform(X)
    assert model.asked == before + 2 and path.stat().st_mtime_ns == written
    transform = Transform.load(out / "sub-0" / "xfm" / "sub-0_from-scan_to-MNI152")
    assert np.allclose(transform.affine, moving.transforms(X)[0].affine)
    assert moving.quality(X)["failed"].tolist() == [False, False] and model.asked == before + 2
    # Another scan under the same name, or another wish, is another result.
    shutil.copy(X["scan"].iloc[1], X["scan"].iloc[0])
    shutil.copy(X["lesion"].iloc[1], X["lesion"].iloc[0])
    again = moving.transform(X)
    assert model.asked == before + 3
    one, other = (nib.load(path).get_fdata() for path in again["scan"])
    assert np.allclose(one, other) and again.equals(both)
    prepare(model, folder=out, spacing_mm=5.0).fit(X).transform(X.iloc[:1])
    assert model.asked == before + 4
    (out / "sub-1" / "anat" / "sub-1_space-MNI152_scan.nii.gz").unlink()
    Path(moving.transform(X)["scan"].iloc[1]).stat()  # moved again, not registered again
    assert model.asked == before + 5  # sub-0 was last written with the other wish
    text = (out / "sub-0" / "sub-0_registration.json").read_text()
    assert "NaN" not in text  # which other readers of JSON refuse
    record = json.loads(text)
    assert record["about"]["versions"]["dipy"]


def test_nothing_of_another_scan_stays_where_a_scan_failed(X, model, tmp_path):
    out = tmp_path / "out"
    moving = prepare(model, folder=out, failed="missing").fit(X)
    path = Path(moving.transform(X.iloc[:1])["scan"].iloc[0])
    noise = nib.Nifti1Image(np.random.default_rng(0).random((42, 48, 44)), np.diag([5, 5, 5, 1]))
    write_image(noise, X["scan"].iloc[0])
    with pytest.warns(UserWarning, match="1 of 1 patients could not"):
        moved = moving.transform(X.iloc[:1])
    assert moved["scan"].isna().all() and not path.exists()
    assert not (out / "sub-0" / "sub-0_registration.json").exists()
    twins = X.assign(**{"sc an": X["scan"]})
    with pytest.raises(CohortError, match="would have the same names"):
        ToTemplate(["scan", "sc an"], model=model, folder=out, **QUICK).fit_transform(twins)


def test_memory_keeps_what_was_found(X, model, tmp_path):
    moving = prepare(model, memory=str(tmp_path / "cache")).fit(X)
    before = model.asked
    moving.quality(X)
    moving.transform(X)
    moving.transform(X)
    assert model.asked == before + 2
    prepare(model, memory=str(tmp_path / "cache"), spacing_mm=7.0).fit_transform(X)
    assert model.asked == before + 4


def test_patients_that_fail_are_named_and_never_averaged_in(X, model):
    X = pd.concat([X, X.iloc[:1].rename(index={"sub-0": "sub-2"})])
    X.loc["sub-2", "scan"] = "nothing.nii.gz"
    X.loc["sub-1", "lesion"] = None
    moving = prepare(model)
    with pytest.raises(
        CohortError, match=r"2 of 3 patients .*'sub-1': no image in column 'lesion'"
    ):
        moving.fit_transform(X)
    with pytest.warns(UserWarning, match=r"'sub-2': no file at 'nothing.nii.gz'"):
        moved = clone(moving).set_params(failed="missing", model=model).fit_transform(X)
    assert moved["scan"].isna().tolist() == [False, True, True]
    quality = moving.quality(X)
    assert quality["failed"].tolist() == [False, True, True]
    assert quality.loc["sub-2", "failure"] == 1 and "no file" in quality.loc["sub-2", "reasons"]


def test_a_registration_that_went_wrong_is_refused(X, heads):
    class Lost(Knows):
        def predict(self, scan):
            said = super().predict(scan)
            said.affine = nib.affines.from_matvec(np.eye(3), [0, 90, 60]) @ said.affine
            return said

    with pytest.raises(CohortError, match="could not be brought to the template: 'sub-0': "):
        prepare(Lost(*heads)).fit_transform(X)


def test_sequences_of_a_patient_share_a_transform():
    head = Head("t1w", 1, warp_mm=3)
    step = nib.affines.from_matvec(np.eye(3), [0, 6, -4])  # the head moved between the scans
    second = Head("flair", 1, warp_mm=3)
    second.grid = step @ second.grid
    second.scan = nib.Nifti1Image(np.asanyarray(second.scan.dataobj), second.grid)
    X = pd.DataFrame({"t1w": [head.scan], "flair": [second.scan]}, index=["sub-0"])
    moving = ToTemplate(["t1w", "flair"], model=Knows(head, second), **QUICK)
    moved = moving.fit_transform(X)
    brain = second.tissues @ [0.7, 0.55, 0.1]
    wanted = moving.transforms(X)[0].to_template(head.image(brain), moved["flair"].iloc[0])
    there = np.asanyarray(wanted.dataobj) > 0.3
    one, other = (np.asanyarray(image.dataobj)[there] for image in (wanted, moved["flair"].iloc[0]))
    assert np.corrcoef(one, other)[0, 1] > 0.9
    with pytest.raises(CohortError, match="reference 't2w' is none of the image columns"):
        ToTemplate(["t1w", "flair"], reference="t2w", model=moving.model).fit(X)


def test_a_segmenter_may_find_the_lesion(X, heads, model):
    class Finds(BaseEstimator):
        network_ = True

        def fit(self):
            return self

        def identity(self):
            return "finds"

        def predict(self, scans):
            numbers = [0 if "sub-0" in str(scan) else 1 for scan in scans]
            asked.extend(numbers)
            return [heads[number].mask for number in numbers]

    asked, X = [], X.drop(columns="lesion")
    moving = prepare(model, lesion=Finds())
    moved = moving.fit_transform(X)
    assert sorted(asked) == [0, 1]  # once each, though nothing is kept
    assert list(moved.columns) == ["age", "scan", "lesion"] == list(moving.get_feature_names_out())
    assert (LesionSize().fit_transform(moved)["lesion_ml"] > 10).all()
    with pytest.raises(CohortError, match='a column "lesion" exists already'):
        moving.fit(moved)


def test_wrong_words_are_refused(X, model):
    with pytest.raises(ValueError, match="'template' parameter of ToTemplate"):
        prepare(model, template="colin").fit(X)
    with pytest.raises(CohortError, match="lesion='lesoin' is neither a column of the table nor a"):
        prepare(model, lesion="lesoin").fit(X)
    with pytest.raises(CohortError, match="'scn' not found"):
        ToTemplate("scn", model=model).fit(X)
    odd = X.rename(index={"sub-0": "a/b"})
    with pytest.raises(CohortError, match="files cannot be named after it"):
        prepare(model, folder="out").fit(odd).transform(odd)


def test_a_cohort_reads_what_was_written(X, model, tmp_path):
    out = tmp_path / "out"
    prepare(model, folder=out).fit_transform(X)
    table = X[["age"]].rename_axis("participant_id").reset_index()
    table.to_csv(out / "participants.tsv", sep="\t", index=False)
    images = {"scan": "sub-*/anat/*_space-MNI152_scan.nii.gz"}
    found, y = load_cohort(out / "participants.tsv", images, target="age")
    assert len(found) == 2 and y.tolist() == [60, 61]
