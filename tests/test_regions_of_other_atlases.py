"""Default regions of an atlas that has not the published ones: chosen by training lesions, said."""

import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from imaging import load_atlas
from imaging.atlases import Atlas
from prognosis import (
    CohortError,
    FusionClassifier,
    RegionSelector,
    RoiSymbolClassifier,
    RoiSymbols,
)

AFFINE = np.diag([8.0, 8.0, 8.0, 1])
LABELS = np.repeat(np.arange(1, 11, dtype=np.int16), 200).reshape(20, 10, 10)
LABELS[LABELS == 10] = 9  # so one region is the largest
ATLAS = Atlas(nib.Nifti1Image(LABELS, AFFINE), {k: f"r{k}" for k in range(1, 10)}, "ten")
OFTEN = {3: range(12), 7: range(10), 1: range(6), 8: range(9, 12)}


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    index = [f"s{number:02}" for number in range(12)]
    masks = []
    for number in range(12):
        data = np.zeros(LABELS.shape, np.uint8)
        for label, patients in OFTEN.items():
            if number in patients:
                data[np.equal(LABELS, label)] = rng.random(200) < 0.5
        masks.append(nib.Nifti1Image(data, AFFINE))
    scans = [nib.Nifti1Image(rng.random(LABELS.shape).astype(np.float32), AFFINE) for _ in index]
    X = pd.DataFrame({"lesion": masks, "t1w": scans, "age": rng.normal(60, 9, 12)}, index)
    return X, pd.Series([0, 1] * 6, index)


def cnn(image="lesion", **changes):
    settings = {"atlas": ATLAS, "regions": 2, "mosaic_size": 48, "epochs": 1, "random_state": 0}
    return RoiSymbolClassifier(image, **{**settings, "allow_empty": image == "lesion", **changes})


def fitted(model, X, y):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(X, y)
    return model, [str(one.message) for one in found if "published" in str(one.message)]


def test_the_most_often_lesioned_regions_are_shown_and_said(cohort):
    X, y = cohort
    model, (said,) = fitted(cnn(), X, y)
    assert model.regions_ == list(model.mosaic_.regions) == ["r3", "r7"]
    assert said.startswith("atlas 'ten' has not the published regions, so regions=2 shows those")
    assert "12 training patients: 'r3', 'r7'; to choose them yourself: regions=[...]" in said
    named = cnn(regions=["r3", "r7"]).fit(X, y)
    np.testing.assert_array_equal(named.predict_proba(X), model.predict_proba(X))


def test_training_patients_alone_choose(cohort):
    X, y = cohort
    rows = X.index[8:]  # of whom r1 is spared
    model, _ = fitted(cnn(regions=3), X.loc[rows], y[rows])
    assert model.regions_ == ["r3", "r8", "r7"]
    again, _ = fitted(model, X, y)
    assert again.regions_ == ["r3", "r7", "r1"]


def test_scans_are_chosen_for_by_a_declared_column_of_masks(cohort):
    X, y = cohort
    model, (said,) = fitted(cnn("t1w", lesion="lesion"), X, y)
    assert model.regions_ == ["r3", "r7"] and "most often lesioned" in said
    model.predict(X.drop(columns="lesion"))
    with pytest.raises(CohortError, match="column 'mask' not found"):
        cnn("t1w", lesion="mask").fit(X, y)
    largest, (said,) = fitted(cnn("t1w"), X, y)
    assert largest.regions_[0] == "r9" and "no column of lesion masks is declared" in said


def test_more_regions_than_there_are(cohort):
    X, y = cohort
    model, _ = fitted(cnn(regions=12), X, y)
    assert len(model.regions_) == 9


def test_the_published_regions_stay(cohort):
    X, _ = cohort
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view = RoiSymbols(regions=3)
        names = ["Temporal_Sup_L", "Temporal_Mid_L", "Frontal_Inf_Tri_L"]
        assert list(view.mosaic().regions) == names
        assert view.candidates(X, ["lesion"]) == names
    assert load_atlas("aal").name == view.mosaic().atlas.name


def test_before_fit_and_in_what_holds_it(cohort):
    X, y = cohort
    with pytest.raises(CohortError, match=r"regions=2 of atlas 'ten', .* fit first, or name"):
        cnn().make_view().mosaic()
    selector, (said, *_) = fitted(RegionSelector(cnn(), k=1, n_patients=4, random_state=0), X, y)
    assert set(selector.regions_) < {"r3", "r7"} and "'r3', 'r7'" in said
    view = RoiSymbols(atlas=ATLAS, regions=2, mosaic_size=48, allow_empty=True)
    fusion = FusionClassifier("lesion", tabular=["age"], view=view, epochs=1, random_state=0)
    model, _ = fitted(clone(fusion), X, y)
    assert model.view_.regions_ == ["r3", "r7"]
