"""Vectors of a pretrained encoder beside the table."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from imaging import LabelMapSource, ModelFileError, SequenceInvariantEncoder
from prognosis import CohortError, ScanEmbedding, TabularEncoder


@pytest.fixture(scope="module")
def encoder():
    return SequenceInvariantEncoder(
        channels=(4, 4),
        source=LabelMapSource(spacing_mm=8),
        spacing_mm=8,
        patch_size=16,
        batch_size=2,
        steps_per_epoch=1,
        epochs=1,
        random_state=0,
    ).fit()


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    scans = [
        nib.Nifti1Image(rng.random((16, 18, 14)).astype(np.float32), np.diag([8, 8, 8, 1]))
        for _ in range(12)
    ]
    return pd.DataFrame(
        {"flair": scans, "age": rng.uniform(40, 80, 12)}, index=list("abcdefghijkl")
    )


def test_columns_are_what_the_encoder_gives(encoder, table):
    added = ScanEmbedding("flair", encoder=encoder).fit_transform(table)
    assert added.columns[:2].tolist() == ["flair", "age"] and added.index.equals(table.index)
    np.testing.assert_allclose(added.iloc[:, 2:].astype(float), encoder.transform(table["flair"]))


def test_components_are_those_of_the_training_patients(encoder, table):
    step = ScanEmbedding("flair", encoder=FrozenEstimator(encoder), n_components=2)
    vectors = encoder.transform(table["flair"]).astype(float)
    step.fit(table.iloc[:8])
    found = step.transform(table.iloc[8:]).iloc[:, 2:].to_numpy(float)
    np.testing.assert_allclose(found, step.pca_.transform(vectors[8:]))
    np.testing.assert_allclose(step.pca_.mean_, vectors[:8].mean(0))
    with pytest.raises(CohortError, match="give 8 or less"):
        clone(step).set_params(n_components=9).fit(table.iloc[:8])


def test_a_saved_encoder_in_cross_validation(encoder, table, tmp_path):
    path = encoder.save(tmp_path / "encoder.safetensors")
    step = ScanEmbedding("flair", encoder=path, n_components=2, memory=str(tmp_path / "memory"))
    model = make_pipeline(step, TabularEncoder(["age", "scan_0", "scan_1"]), LogisticRegression())
    assert np.isfinite(cross_val_score(model, table, [0, 1] * 6, cv=2, error_score="raise")).all()


def test_refusals(encoder, table):
    with pytest.raises(CohortError, match="not fitted, or was cloned"):
        clone(ScanEmbedding("flair", encoder=encoder)).fit(table)
    with pytest.raises(ModelFileError, match="no pretrained model"):
        ScanEmbedding("flair", encoder="nothing").fit(table)
    with pytest.raises(ValueError, match="'encoder' parameter"):
        ScanEmbedding("flair", encoder=3).fit(table)
    broken = table.assign(flair=[*table["flair"][:-1], "gone.nii"])
    with pytest.raises(CohortError, match=r"row 'l', column 'flair': no file at 'gone\.nii'"):
        ScanEmbedding("flair", encoder=encoder).fit(table).transform(broken)
