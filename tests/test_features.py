"""Lesion size and region load: transformers that add columns."""

import pickle

import joblib
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from imaging import AtlasError, load_atlas
from prognosis import CohortError, LesionSize, RegionLoad


def _mask(n_voxels, affine=None):
    data = np.zeros((10, 10, 10), np.uint8)
    data.ravel()[:n_voxels] = 1
    return nib.Nifti1Image(data, np.diag([2, 2, 2, 1]) if affine is None else affine)


@pytest.fixture
def table():
    aal = load_atlas("aal")
    masks = [aal.region_mask("Insula_L"), aal.region_mask(["Insula_L", "Caudate_R"])]
    X = pd.DataFrame(
        {
            "lesion": pd.Series(masks, dtype=object),
            "sex": pd.Categorical(["F", "M"]),
            "age": np.array([60, 70], np.int16),
        }
    )
    X.index = pd.Index(["sub-2", "sub-1"], name="patient")
    X.attrs["cohort"] = {"name": "two"}
    return X


def test_volume_follows_the_affine():
    turn = np.array([[0.0, -3, 0], [1, 0, 0.2], [0, 0, 2]])
    X = pd.DataFrame(
        {
            "lesion": pd.Series(
                [_mask(125), _mask(0), _mask(500, nib.affines.from_matvec(turn, [5, 6, 7]))],
                dtype=object,
            )
        }
    )
    assert np.allclose(LesionSize().fit_transform(X)["lesion_ml"], [1.0, 0.0, 3.0])


def test_only_columns_are_added(table):
    before = table.copy()
    for transformer in (LesionSize(), RegionLoad(regions=["Insula_L", "Caudate_R"])):
        out = transformer.fit_transform(table)
        pd.testing.assert_frame_equal(table, before)
        assert out.index.equals(table.index) and out.index.name == "patient"
        assert out.attrs == table.attrs
        assert out["sex"].dtype == table["sex"].dtype and out["age"].dtype == np.int16
        assert out["lesion"].iloc[0] is table["lesion"].iloc[0]
        assert transformer.get_feature_names_out().tolist() == out.columns.tolist()
        assert transformer.feature_names_in_.tolist() == ["lesion", "sex", "age"]


def test_loads_have_golden_values(table):
    out = RegionLoad().fit_transform(table)
    assert out.shape == (2, 3 + 120)
    assert out.loc["sub-2", "Insula_L"] == 1 and out.loc["sub-2", "Caudate_R"] == 0
    assert out.loc["sub-1", "Caudate_R"] == 1
    assert out.drop(columns=table.columns).to_numpy().sum() == 3


def test_regions_are_checked_during_fit(table):
    with pytest.raises(AtlasError, match="did you mean 'Insula_L'"):
        RegionLoad(regions=["insula l"]).fit(table)


def test_pipeline_clone_pickle_and_set_output(table):
    pipeline = make_pipeline(LesionSize(n_jobs=2), RegionLoad(regions=["Insula_L"]))
    out = pipeline.fit_transform(table)
    assert out.columns.tolist() == ["lesion", "sex", "age", "lesion_ml", "Insula_L"]
    assert pipeline.get_feature_names_out().tolist() == out.columns.tolist()
    again = pickle.loads(pickle.dumps(pipeline)).transform(table)
    pd.testing.assert_frame_equal(again.drop(columns="lesion"), out.drop(columns="lesion"))
    fresh = clone(pipeline).set_output(transform="pandas")
    pd.testing.assert_frame_equal(fresh.fit_transform(table), out)
    with pytest.raises(NotFittedError):
        clone(pipeline).transform(table)
    with pytest.raises(NotFittedError):
        LesionSize().get_feature_names_out()


def test_wrong_tables_are_refused(table):
    with pytest.raises(CohortError, match=r"column 'mask' not found; the table has 'lesion'"):
        LesionSize("mask").fit(table)
    with pytest.raises(CohortError, match=r"column 'lesion_ml' exists already.*X.drop"):
        LesionSize().fit(table.assign(lesion_ml=1.0))
    with pytest.raises(CohortError, match="DataFrame"):
        LesionSize().fit(np.zeros((3, 2)))
    fitted = LesionSize().fit(table)
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(table.rename(columns={"age": "years"}))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (None, "no image"),
        (np.nan, "no image"),
        ("nowhere.nii.gz", "no file at 'nowhere.nii.gz'"),
        (7, "found 7"),
        (nib.Nifti1Image(np.ones((3, 3, 3, 2)), np.eye(4)), "4-D"),
        (nib.Nifti1Image(np.full((3, 3, 3), np.nan), np.eye(4)), "27 NaN"),
        (nib.Nifti1Image(np.full((3, 3, 3), -1.0), np.eye(4)), "negative"),
    ],
)
def test_bad_images_name_row_and_column(cell, message):
    X = pd.DataFrame({"lesion": pd.Series([_mask(3), cell], dtype=object)})
    X.index = ["sub-1", "sub-2"]
    with pytest.raises(CohortError, match=f"row 'sub-2', column 'lesion': .*{message}"):
        LesionSize().fit_transform(X)


def test_truncated_file_names_row_and_column(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "lesion.nii.gz"
    nib.save(nib.Nifti1Image(rng.integers(0, 2, (40, 40, 40), np.uint8), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:4000])
    X = pd.DataFrame({"lesion": [str(path)]}, index=["sub-9"])
    with pytest.raises(CohortError, match=r"row 'sub-9', column 'lesion': .*corrupt"):
        LesionSize().fit_transform(X)


@pytest.mark.parametrize("as_memory", [str, lambda folder: joblib.Memory(folder, verbose=0)])
def test_cache_serves_until_the_file_changes(tmp_path, monkeypatch, as_memory):
    from prognosis.features import lesion_size

    path = tmp_path / "lesion.nii.gz"
    nib.save(_mask(125), path)
    X = pd.DataFrame({"lesion": [str(path)]}, index=["sub-1"])
    transformer = LesionSize(memory=as_memory(tmp_path / "cache")).fit(X)
    assert transformer.transform(X)["lesion_ml"].item() == 1.0

    def read(source):
        raise AssertionError("read again")

    monkeypatch.setattr(lesion_size, "read_mask", read)
    assert transformer.transform(X)["lesion_ml"].item() == 1.0
    monkeypatch.undo()
    nib.save(_mask(250), path)
    assert transformer.transform(X)["lesion_ml"].item() == 2.0


def test_cache_tells_atlases_and_images_in_memory_apart(tmp_path, table):
    other = tmp_path / "other.nii.gz"
    aal = load_atlas("aal")
    nib.save(aal.region_mask(["Insula_L", "Insula_R"]), other)
    (tmp_path / "other.csv").write_text("1,both insulae\n")
    cache = str(tmp_path / "cache")
    for _ in range(2):
        left = RegionLoad(regions=["Insula_L"], memory=cache).fit_transform(table)
        both = RegionLoad(atlas=other, memory=cache).fit_transform(table)
        assert left["Insula_L"].tolist() == [1, 1]
        assert both["both insulae"].between(0.4, 0.6).all()
    turned = table.assign(lesion=table["lesion"].to_numpy()[::-1])
    loads = RegionLoad(regions=["Caudate_R"], memory=cache)
    assert loads.fit_transform(table)["Caudate_R"].tolist() == [0, 1]
    assert loads.fit_transform(turned)["Caudate_R"].tolist() == [1, 0]
