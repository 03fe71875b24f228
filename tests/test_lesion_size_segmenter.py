"""Lesion size from scans, by way of a segmenter."""

import joblib
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline

from imaging.segmentation import LesionSegmenter
from prognosis import LesionSize, RoiSymbolClassifier
from prognosis.errors import CohortError


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """Count segmentations, in a file, since folds may run in other threads."""
    calls = []
    original = LesionSegmenter.predict

    def predict(self, X):
        calls.extend(X)
        return original(self, X)

    monkeypatch.setattr(LesionSegmenter, "predict", predict)
    return calls


@pytest.fixture
def cohort(tmp_path):
    from nilearn.datasets import load_mni152_brain_mask

    brain = load_mni152_brain_mask(resolution=8)
    rng = np.random.default_rng(0)
    paths = []
    for number in range(8):
        data = brain.get_fdata() * (1 + 0.2 * rng.random(brain.shape))
        path = tmp_path / f"sub-{number}_T1w.nii.gz"
        nib.save(nib.Nifti1Image(data.astype(np.float32), brain.affine), path)
        paths.append(str(path))
    X = pd.DataFrame({"t1w": paths, "age": rng.uniform(40, 80, 8)})
    return X, np.array([0, 1] * 4)


def test_millilitres_are_those_of_the_predicted_masks(segmenter, cohort):
    X, _ = cohort
    size = LesionSize(image="t1w", segmenter=segmenter)
    table = size.fit_transform(X)
    for path, ml in zip(X["t1w"], table["lesion_ml"], strict=True):
        (mask,) = segmenter.predict([path])
        voxel = abs(np.linalg.det(nib.load(path).affine[:3, :3])) / 1000
        assert ml == pytest.approx(np.count_nonzero(mask.dataobj) * voxel)
    assert list(table.columns) == ["t1w", "age", "lesion_ml"]


def test_no_patient_is_segmented_twice_in_cross_validation(segmenter, cohort, counted, tmp_path):
    X, y = cohort
    pipeline = make_pipeline(
        LesionSize(
            image="t1w", segmenter=FrozenEstimator(segmenter), memory=str(tmp_path / "cache")
        ),
        RoiSymbolClassifier(
            image="t1w",
            symbols=["lesion_ml"],
            regions=2,
            mosaic_size=32,
            symbol_size=8,
            epochs=1,
            random_state=0,
        ),
    )
    scores = cross_validate(pipeline, X, y, cv=2, error_score="raise")
    assert len(scores["test_score"]) == 2
    assert sorted(counted) == sorted(X["t1w"])


def test_another_segmenter_or_threshold_is_not_served_from_the_cache(
    segmenter, cohort, counted, tmp_path
):
    X, _ = cohort
    cache = str(tmp_path / "cache")
    LesionSize(image="t1w", segmenter=segmenter, memory=cache).fit_transform(X[:2])
    LesionSize(image="t1w", segmenter=segmenter, memory=cache).fit_transform(X[:2])
    assert len(counted) == 2
    stricter = LesionSegmenter.load(segmenter.save(tmp_path / "m.safetensors"), threshold=0.9)
    table = LesionSize(image="t1w", segmenter=stricter, memory=cache).fit_transform(X[:2])
    assert len(counted) == 4
    assert (table["lesion_ml"] >= 0).all()


def test_files_name_a_segmenter_and_survive_clone_and_pickle(segmenter, cohort, tmp_path):
    X, _ = cohort
    path = segmenter.save(tmp_path / "model.safetensors")
    direct = LesionSize(image="t1w", segmenter=segmenter).fit_transform(X[:2])
    cloned = clone(LesionSize(image="t1w", segmenter=str(path)))
    assert cloned.fit_transform(X[:2])["lesion_ml"].equals(direct["lesion_ml"])
    joblib.dump(cloned, tmp_path / "size.joblib")
    again = joblib.load(tmp_path / "size.joblib").transform(X[:2])
    assert again["lesion_ml"].equals(direct["lesion_ml"])


def test_a_bare_segmenter_does_not_pass_unnoticed_through_clone(segmenter, cohort):
    X, y = cohort
    size = LesionSize(image="t1w", segmenter=segmenter)
    with pytest.raises(CohortError, match="FrozenEstimator"):
        clone(size).fit(X)
    with pytest.raises(CohortError, match="not fitted"):
        LesionSize(image="t1w", segmenter=LesionSegmenter()).fit(X)
    numbers = make_pipeline(size, _OnlyNumbers(), LogisticRegression())
    assert numbers.fit(X, y).predict(X).shape == (8,)


def test_errors_name_row_and_column(segmenter, cohort):
    X, _ = cohort
    broken = X.assign(t1w=["nowhere.nii.gz", *X["t1w"][1:]])
    with pytest.raises(CohortError, match=r"row 0, column 't1w': .*nowhere"):
        LesionSize(image="t1w", segmenter=segmenter).fit_transform(broken)


class _OnlyNumbers:
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[["age", "lesion_ml"]]
