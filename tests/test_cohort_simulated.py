"""The simulated cohort: reproducible, realistic, with planted effects where they are stated."""

import json
import os
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from imaging import load_atlas, read_volume
from prognosis import CohortError, LesionSize, RegionLoad, make_stroke_cohort
from prognosis.cohorts import simulated
from prognosis.cohorts.simulated_heads import PLANTED_REGIONS, VOLUMES_ML

LADDER = ["lesion_ml", "severity", "recovery_years"]


def _features(X):
    return RegionLoad().fit_transform(LesionSize().fit_transform(X)).drop(columns=["t1w", "lesion"])


@pytest.fixture(scope="module")
def cohort():
    return make_stroke_cohort(400, spacing_mm=6, random_state=1)


@pytest.fixture(scope="module")
def features(cohort):
    return _features(cohort[0])


def _accuracy(features, y, columns):
    model = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression())
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=4, random_state=0)
    return cross_val_score(model, features[columns], y, cv=folds).mean()


def _same(first, second):
    (X, y), (X_again, y_again) = first, second
    pd.testing.assert_series_equal(y, y_again)
    tabular = ["severity", "recovery_years", "age"]
    pd.testing.assert_frame_equal(X[tabular], X_again[tabular])
    for column in ("t1w", "lesion"):
        for one, other in zip(X[column], X_again[column], strict=True):
            one, other = (nib.load(i) if isinstance(i, str) else i for i in (one, other))
            assert np.array_equal(one.dataobj, other.dataobj)
            assert np.array_equal(one.affine, other.affine)


def test_table(cohort):
    X, y = cohort
    assert X.columns.tolist() == ["t1w", "lesion", "severity", "recovery_years", "age"]
    assert X.index.name == "patient" and X.index[0] == "sub-0001" and X.index.equals(y.index)
    assert set(X["severity"].dropna()) == {1, 2, 3, 4, 5, 6, 7}
    assert 0.03 < X["severity"].isna().mean() < 0.14
    assert X["recovery_years"].between(0.1, 20).all() and X["age"].between(22, 92).all()
    assert y.name == "aphasia" and set(y) == {0, 1} and 0.4 < y.mean() < 0.6


def test_attrs_are_plain_and_say_that_it_is_simulated(cohort):
    about = cohort[0].attrs["cohort"]
    assert json.loads(json.dumps(about)) == about
    assert about["simulated"] is True and "not real" in about["description"]
    assert about["planted_regions"] == list(PLANTED_REGIONS)
    assert 0.84 < about["best_accuracy"] < 0.9
    assert about["outcome_model"].count("Temporal_Sup_L") == 1


def test_images_are_a_head_with_a_dark_lesion_on_the_left(cohort):
    X, _ = cohort
    for head, lesion in zip(X["t1w"].iloc[:20], X["lesion"].iloc[:20], strict=True):
        assert head.get_data_dtype() == np.int16 and lesion.get_data_dtype() == np.uint8
        assert head.shape == lesion.shape and np.array_equal(head.affine, lesion.affine)
        t1w = read_volume(head).get_fdata()
        mask = np.asarray(lesion.dataobj) > 0
        assert set(np.unique(mask)) == {False, True}
        world = nib.affines.apply_affine(lesion.affine, np.argwhere(mask))
        assert (world[:, 0] < 6).all()
        mirrored = mask[::-1]
        if mask.sum() > 50:
            assert t1w[mask].mean() < 0.8 * t1w[mirrored & ~mask].mean()


def test_lesion_volumes_have_the_quantiles_of_real_masks(features):
    """Quartiles of 360 masks in left middle cerebral artery territory: 1.9, 13.9, 52.7 ml."""
    measured = features["lesion_ml"].quantile([0.25, 0.5, 0.75, 0.9])
    assert np.all(
        np.abs(np.log(measured / [1.86, 13.9, 52.7, 152.0])) < np.log([1.9, 1.6, 1.4, 1.3])
    )
    assert features["lesion_ml"].max() <= max(VOLUMES_ML) + 0.3


def test_lesions_lie_in_middle_cerebral_artery_territory(cohort):
    aal = load_atlas("aal")
    spared = [r for r in aal.regions if r.startswith(("Cerebelum", "Lingual", "Cingulate"))]
    loads = RegionLoad(regions=spared).fit_transform(cohort[0])[spared]
    assert loads.to_numpy().mean() < 0.01


def test_ladder_rises_and_planted_regions_add_to_it(cohort, features):
    _, y = cohort
    rungs = [_accuracy(features, y, LADDER[:n]) for n in (1, 2, 3)]
    assert rungs[0] < rungs[1] < rungs[2]
    with_regions = _accuracy(features, y, LADDER + list(PLANTED_REGIONS))
    best = cohort[0].attrs["cohort"]["best_accuracy"]
    assert rungs[2] + 0.04 < with_regions < best + 0.04


def test_without_imaging_effect_regions_add_nothing(cohort, features):
    X, y = make_stroke_cohort(400, spacing_mm=6, random_state=1, imaging_effect=0)
    assert 0.4 < y.mean() < 0.6
    about = X.attrs["cohort"]
    assert abs(about["best_accuracy"] - cohort[0].attrs["cohort"]["best_accuracy"]) < 0.03
    tabular = _accuracy(features, y, LADDER)
    assert _accuracy(features, y, LADDER + list(PLANTED_REGIONS)) < tabular + 0.015
    assert tabular > about["best_accuracy"] - 0.05
    for one, other in zip(X["t1w"].iloc[:5], cohort[0]["t1w"].iloc[:5], strict=True):
        assert np.array_equal(one.dataobj, other.dataobj)


def test_stated_model_applied_to_the_masks_reaches_the_best_accuracy(cohort, features):
    known = features[features["severity"].notna()]
    logit = simulated._logit(
        known["lesion_ml"],
        known[list(PLANTED_REGIONS)].mean(axis=1),
        known["recovery_years"],
        1.0,
        known["severity"],
    )
    accuracy = ((logit > 0) == cohort[1][known.index]).mean()
    assert abs(accuracy - cohort[0].attrs["cohort"]["best_accuracy"]) < 0.04


def test_severity_is_drawn_as_the_best_accuracy_assumes():
    drawn = [simulated._history(0, number, 14.0)["true_severity"] for number in range(4000)]
    shares = np.bincount(drawn, minlength=8)[1:] / 4000
    expected = simulated._severity_probabilities([14.0])[0]
    assert expected.sum() == pytest.approx(1)
    assert np.allclose(shares, expected, atol=0.03)


def test_same_seed_same_cohort_whatever_the_number_and_the_processes(cohort):
    few = make_stroke_cohort(6, spacing_mm=6, random_state=1, n_jobs=2)
    X, y = cohort
    _same(few, (X.iloc[:6], y.iloc[:6]))
    other = make_stroke_cohort(6, spacing_mm=6, random_state=2)[0]
    assert not np.array_equal(other["t1w"].iloc[0].dataobj, X["t1w"].iloc[0].dataobj)


def test_global_random_state_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_stroke_cohort(1, spacing_mm=8)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("kind", [np.random.RandomState, np.random.default_rng])
def test_generators_as_random_state(kind):
    first, second = (make_stroke_cohort(1, spacing_mm=8, random_state=kind(3)) for _ in range(2))
    _same(first, second)


def test_folder_holds_the_same_images_and_is_used_again(tmp_path, cohort):
    arguments = {"spacing_mm": 6, "folder": tmp_path, "random_state": 1}
    X, y = make_stroke_cohort(2, **arguments)
    assert X["t1w"].map(type).eq(str).all()
    reference = cohort[0].iloc[:4], cohort[1].iloc[:4]
    _same((X, y), (reference[0].iloc[:2], reference[1].iloc[:2]))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nii.gz")}
    assert len(written) == 4
    (broken := next(path for path in tmp_path.rglob("sub-0002.json"))).unlink()
    _same(make_stroke_cohort(4, **arguments), reference)
    kept = [path for path, time in written.items() if path.stat().st_mtime_ns == time]
    assert len(kept) == 2 and broken.is_file()
    assert not list(tmp_path.rglob(".writing-*"))


def test_damaged_and_exchanged_images_are_made_again(tmp_path, cohort, monkeypatch):
    arguments = {"spacing_mm": 6, "folder": tmp_path, "random_state": 1}
    make_stroke_cohort(2, **arguments)
    reference = cohort[0].iloc[:2], cohort[1].iloc[:2]
    one, two = sorted(tmp_path.rglob("*_T1w.nii.gz"))
    status = one.stat()
    content = bytearray(one.read_bytes())
    content[len(content) // 2] ^= 1
    one.write_bytes(content)
    os.utime(one, ns=(status.st_atime_ns, status.st_mtime_ns))
    _same(make_stroke_cohort(2, **arguments), reference)
    shutil.copy2(one, two)
    _same(make_stroke_cohort(2, **arguments), reference)
    record = one.with_name("sub-0001.json")
    volume = json.loads(record.read_text())["values"]["volume_ml"]
    record.write_text(record.read_text().replace(str(volume), str(volume + 100)))
    _same(make_stroke_cohort(2, **arguments), reference)
    # Of other code, or of a version that kept no checksums.
    written = one.stat().st_ino
    record.write_text(json.dumps({"volume_ml": 100.0, "damage": 1.0}))
    _same(make_stroke_cohort(2, **arguments), reference)
    assert one.stat().st_ino != written
    written = one.stat().st_ino
    monkeypatch.setattr(simulated, "_simulation_code", lambda: ["other"])
    _same(make_stroke_cohort(2, **arguments), reference)
    assert one.stat().st_ino != written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_patients": 0}, "n_patients must be a number from 1"),
        ({"imaging_effect": -1}, "imaging_effect must be a number from 0"),
        ({"spacing_mm": 0.5}, "spacing_mm must be a number from 1 to 8, got 0.5"),
        ({"random_state": "seed"}, "random_state must be"),
    ],
)
def test_parameters_out_of_range(arguments, message):
    with pytest.raises(CohortError, match=message):
        make_stroke_cohort(**{"n_patients": 1, "spacing_mm": 8, **arguments})
