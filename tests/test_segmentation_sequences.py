"""Validation never sees a patient of the training, however many scans a patient has."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from imaging.errors import ImageError
from imaging.segmentation import LesionSegmenter
from imaging.voxelwise import fitting
from imaging.voxelwise.fitting import RealData, _hold_out

AFFINE = np.diag([8.0, 8, 8, 1])
TINY = {
    "channels": (4, 8, 8),
    "spacing_mm": 8,
    "patch_size": 16,
    "epochs": 1,
    "steps_per_epoch": 1,
    "augment": False,
    "random_state": 0,
}


def _scan(patient, sequence=0):
    """Its mean says whose it is."""
    rng = np.random.default_rng((patient, sequence))
    data = 1000 * (patient + 1) + rng.random((12, 12, 12))
    return nib.Nifti1Image(data.astype(np.float32), AFFINE)


def _mask():
    return nib.Nifti1Image(np.zeros((12, 12, 12), np.uint8), AFFINE)


@pytest.fixture
def parts(monkeypatch):
    """Patients that training and validation got, as (train, validation)."""
    found = []

    def spy(*arguments):
        split = _hold_out(*arguments)
        found[:] = [[int(image.mean()) // 1000 - 1 for image in part.images] for part in split]
        return split

    monkeypatch.setattr(fitting, "_hold_out", spy)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_sequences_of_a_patient_stay_together(parts, seed):
    X = [[_scan(patient, sequence) for sequence in range(3)] for patient in range(6)]
    settings = {**TINY, "random_state": seed}
    LesionSegmenter(**settings, validation_fraction=0.34).fit(X, [_mask()] * 6)
    train, validation = parts
    assert not set(train) & set(validation)
    assert len(validation) == 6 and len(train) == 12 and len(set(validation)) == 2


@pytest.mark.parametrize(
    "labels", [list("abcabcabc"), pd.Series([3, 1, 2] * 3, index=range(9, 18))]
)
def test_entries_with_one_label_stay_together(parts, labels):
    X = [_scan(number % 3, number) for number in range(9)]
    segmenter = LesionSegmenter(**TINY, validation_fraction=0.34)
    segmenter.fit(X, [_mask()] * 9, groups=labels)
    train, validation = parts
    assert len(validation) == 3 and len(set(validation)) == 1
    assert len(train) == 6 and not set(train) & set(validation)


def test_patients_of_one_scan_are_split_as_ever(parts):
    """By the permutation of scans that it always was; labels of their own change nothing."""
    X, y = [_scan(patient) for patient in range(8)], [_mask()] * 8
    model = LesionSegmenter(**TINY, validation_fraction=0.25).fit(X, y)
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    order = np.random.default_rng(seed).permutation(8).tolist()
    assert parts == [order[2:], order[:2]]
    named = LesionSegmenter(**TINY, validation_fraction=0.25).fit(X, y, groups=list("hgfedcba"))
    assert parts == [order[2:], order[:2]]
    for one, other in zip(model.network_.parameters(), named.network_.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_cannot_be_split_is_refused():
    X, y = [_scan(patient) for patient in range(4)], [_mask()] * 4
    for fraction, words in ((0.1, "sets aside none of 4 patients; raise"), (0.9, "all of 4")):
        with pytest.raises(ValueError, match=words):
            LesionSegmenter(**TINY, validation_fraction=fraction).fit(X, y)
    with pytest.raises(ValueError, match="sets aside none of 1 patients"):
        LesionSegmenter(**TINY, validation_fraction=0.25).fit(X, y, groups=["a"] * 4)
    with pytest.raises(ValueError, match="4 scans and 3 groups"):
        LesionSegmenter(**TINY).fit(X, y, groups=[1, 2, 3])
    for missing in (None, np.nan):
        with pytest.raises(ValueError, match="no patient for scan 2"):
            LesionSegmenter(**TINY).fit(X, y, groups=["a", "b", missing, "c"])
    for X_, y_ in ((None, None), (None, y)):
        with pytest.raises(ValueError, match="found no scans"):
            LesionSegmenter(**TINY).fit(X_, y_, groups=["a"] * 4)


def test_no_scan_and_a_patient_without_one_are_refused():
    with pytest.raises(ValueError, match="found 0 scans and 0 masks"):
        LesionSegmenter(**TINY).fit([], [])
    for method in ("fit", "predict", "score"):
        model = LesionSegmenter(**TINY).fit([_scan(0)], [_mask()])
        given = ([_scan(0), []],) if method == "predict" else ([_scan(0), []], [_mask()] * 2)
        with pytest.raises(ImageError, match="scan 1: found a patient without any scan"):
            getattr(model, method)(*given)


def test_everything_trains_where_nothing_is_set_aside():
    real = RealData([1, 2, 3], [4, 5, 6], [0, 0, 1], ["a", "b", "c"])
    train, kept = _hold_out(real, 0.0, 0)
    assert sorted(train.images) == [1, 2, 3] and kept.images == []
