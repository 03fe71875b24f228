"""Images are prepared once, kept whole or not at all, and the same in memory and in files."""

import gc
import multiprocessing
import os
import pickle
import random
import time
import weakref
from pathlib import Path
from typing import ClassVar

import joblib
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from imaging.errors import ImageError
from imaging.grids import Grid
from imaging.learning.rows import ImageRows
from imaging.storage.bank import ImageBank, Recipe, shared_bank, sharing
from imaging.storage.files import ScratchFolder
from imaging.volumes import read_volume
from prognosis import (
    CohortError,
    FusionClassifier,
    LesionSize,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    StitchedSlices,
    TabularEncoder,
    VolumeClassifier,
    Volumes,
    compare,
    logistic_ladder,
)

N = 12
SETTINGS = {"epochs": 1, "device": "cpu", "random_state": 0}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(N):
        path = folder / f"p{number}.nii.gz"
        image = nib.Nifti1Image(rng.random((12, 14, 10)).astype(np.float32), np.diag([8, 8, 8, 1]))
        nib.save(image, path)
        paths.append(str(path))
    index = [f"p{number}" for number in range(N)]
    X = pd.DataFrame({"scan": paths, "age": rng.normal(60, 9, N)}, index)
    return X, pd.Series([0, 1] * (N // 2), index)


def models():
    cnn = StitchedSliceClassifier("scan", mosaic_size=30, **SETTINGS)
    stacked = StackingClassifier(
        [("clinical", logistic_ladder([["age"]])["age"]), ("cnn", cnn)],
        final_estimator=LogisticRegression(),
        cv=2,
    )
    return {
        **logistic_ladder([["age"]]),
        "cnn": cnn,
        "cnn + age": StitchedSliceClassifier("scan", tabular=["age"], mosaic_size=30, **SETTINGS),
        "stacked": stacked,
        "searched": GridSearchCV(cnn, {"learning_rate": [1e-3, 1e-2]}, cv=2),
    }


def test_a_comparison_reads_each_scan_once(cohort, reads):
    compare(models(), *cohort, cv="3x2", random_state=0)
    assert sorted(reads()) == sorted(Path(path).name for path in cohort[0]["scan"])


def test_a_comparison_reads_each_scan_once_for_each_kind_of_picture(cohort, reads):
    small = StitchedSliceClassifier("scan", mosaic_size=30, **SETTINGS)
    volume = VolumeClassifier("scan", spacing_mm=8, architecture="resnet10", **SETTINGS)
    compare({"pictures": small, "volumes": volume}, *cohort, cv=2, random_state=0)
    assert sorted(reads()) == sorted(2 * [Path(path).name for path in cohort[0]["scan"]])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_measurements_inside_pipelines_are_shared(cohort, reads, n_jobs):
    X = cohort[0].assign(lesion=cohort[0]["scan"])
    measured = make_pipeline(LesionSize(), TabularEncoder(["lesion_ml"]), LogisticRegression())
    other = make_pipeline(LesionSize(), TabularEncoder(["lesion_ml", "age"]), LogisticRegression())
    with joblib.parallel_config("threading"):
        compare({"a": measured, "b": other}, X, cohort[1], cv=3, n_jobs=n_jobs, random_state=0)
    assert sorted(reads()) == sorted(Path(path).name for path in X["scan"])


def test_sharing_changes_no_result(cohort, monkeypatch):
    shared = compare(models(), *cohort, cv=3, random_state=0)
    monkeypatch.setattr("prognosis.views.collecting.shared_bank", lambda: None)
    alone = compare(models(), *cohort, cv=3, random_state=0)
    pd.testing.assert_frame_equal(shared.predictions, alone.predictions)


def test_predictions_and_probabilities_come_from_one_forward_pass(cohort, monkeypatch):
    from imaging.learning import engine

    calls, apply = [], engine.apply_network

    def counted(network, inputs, **options):
        calls.append(len(next(iter(inputs.values()))))
        return apply(network, inputs, **options)

    monkeypatch.setattr(engine, "apply_network", counted)
    cnn = StitchedSliceClassifier("scan", mosaic_size=30, **SETTINGS)
    compare({"cnn": cnn, "piped": make_pipeline(cnn)}, *cohort, cv=3, random_state=0)
    assert calls == [4] * 6
    fitted = cnn.fit(*cohort)  # elsewhere a changed table is looked at again
    X = cohort[0].copy()
    first = fitted.predict_proba(X)
    X["scan"] = X["scan"].to_numpy()[::-1]
    assert not np.array_equal(first, fitted.predict_proba(X))


def test_nothing_of_a_comparison_is_left_on_disk(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    compare({"cnn": models()["cnn"]}, *cohort, cv=2, random_state=0)
    with pytest.raises(CohortError):
        compare({"cnn": models()["cnn"]}, cohort[0].assign(scan="nowhere.nii"), cohort[1], cv=2)
    assert not list(tmp_path.glob(".writing-*"))


ESTIMATORS = {
    "stitched": StitchedSliceClassifier("scan", tabular=["age"], mosaic_size=30, **SETTINGS),
    "validation": StitchedSliceClassifier(
        ["scan", "scan"], mosaic_size=30, validation_fraction=0.3, n_seeds=2, **SETTINGS
    ),
    "symbols": StitchedSliceClassifier("scan", symbols=["age"], mosaic_size=30, **SETTINGS),
    "volume": VolumeClassifier("scan", spacing_mm=8, architecture="resnet10", **SETTINGS),
    "fusion": FusionClassifier("scan", tabular=["age"], view=Volumes(spacing_mm=16), **SETTINGS),
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("memory", [False, True])
def test_images_in_files_give_the_results_of_images_in_memory(cohort, tmp_path, name, memory):
    estimator = ESTIMATORS[name]
    expected = estimator.fit(*cohort).predict_proba(cohort[0])
    options = {"memory": tmp_path / "kept" if memory else None, "memory_limit_mb": 0}
    in_files = clone(estimator).set_params(**options).fit(*cohort)
    np.testing.assert_array_equal(in_files.predict_proba(cohort[0]), expected)
    np.testing.assert_array_equal(
        in_files.prepared_images(cohort[0]), estimator.prepared_images(cohort[0])
    )
    again = pickle.loads(pickle.dumps(in_files))
    np.testing.assert_array_equal(again.predict_proba(cohort[0]), expected)


def test_kept_images_are_not_read_again_and_changed_ones_are(cohort, reads, tmp_path):
    X, y = cohort
    X = X.assign(scan=[str(tmp_path / Path(path).name) for path in X["scan"]])
    for new, old in zip(X["scan"], cohort[0]["scan"]):
        Path(new).write_bytes(Path(old).read_bytes())
    cnn = StitchedSliceClassifier("scan", mosaic_size=30, memory=tmp_path / "kept", **SETTINGS)
    before = cnn.fit(X, y).predict_proba(X)
    assert len(reads()) == N
    np.testing.assert_array_equal(cnn.fit(X, y).predict_proba(X), before)
    assert len(reads()) == N
    path, other = Path(X["scan"].iloc[0]), Path(X["scan"].iloc[1])
    times = path.stat()
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = cnn.predict_proba(X)
    np.testing.assert_array_equal(changed[0], changed[1])
    assert len(reads()) == N  # its content is that of another one, which is kept already


def _cut(source):
    volume = read_volume(source)
    return np.asanyarray(volume.dataobj)[:4], Grid.of(volume)


CUT = Recipe(_cut, (), "cut")


def test_a_damaged_file_is_made_again_and_never_believed(cohort, tmp_path):
    bank, source = ImageBank(tmp_path), cohort[0]["scan"].iloc[0]
    entry, array = bank.fetch(CUT, source)
    whole = entry.path.read_bytes()
    rng = random.Random(0)
    places = [*range(60), *(rng.randrange(len(whole)) for _ in range(60))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        entry.path.write_bytes(damaged)
        found, again = bank.fetch(CUT, source)
        np.testing.assert_array_equal(again, array)
        np.testing.assert_array_equal(found.read(), array)
    for length in (0, 3, 12, 40, len(whole) - 1):
        entry.path.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"damaged or removed .* run this again"):
            entry.read()
        assert not entry.path.exists()
    np.testing.assert_array_equal(bank.fetch(CUT, source)[1], array)


def test_a_bank_of_one_run_reads_no_file_to_recognise_it_but_sees_a_change(
    cohort, tmp_path, monkeypatch
):
    source, other = (tmp_path / name for name in ("a.nii.gz", "b.nii.gz"))
    for path, old in zip((source, other), cohort[0]["scan"]):
        path.write_bytes(Path(old).read_bytes())
    bank = ImageBank(tmp_path / "bank", brief=True)
    monkeypatch.setattr("imaging.storage.caching.image_content", None)  # would read it
    first = bank.fetch(CUT, source)[1]
    assert bank.fetch(CUT, str(source))[0].path == bank.fetch(CUT, source)[0].path
    times = source.stat()
    time.sleep(0.02)  # clocks of file systems tick
    source.write_bytes(other.read_bytes())
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not np.array_equal(bank.fetch(CUT, source)[1], first)


def test_another_recipe_or_argument_has_files_of_its_own(cohort, tmp_path):
    bank, source = ImageBank(tmp_path), cohort[0]["scan"].iloc[0]
    entries = {bank.fetch(recipe, source)[0].path for recipe in (CUT, Recipe(_cut, (), "other"))}
    assert len(entries) == 2


def _fetch(folder, sources, log):
    def counted(source):
        with open(log, "a") as file:
            file.write("made\n")
        return _cut(source)

    counted.__qualname__, counted.__module__ = _cut.__qualname__, _cut.__module__
    recipe = Recipe(counted, (), "cut")
    return [float(ImageBank(folder).fetch(recipe, s)[1].sum()) for s in sources]


@pytest.mark.parametrize("prefer", ["threads", "processes"])
def test_several_workers_prepare_no_scan_twice(cohort, tmp_path, prefer):
    sources, log = cohort[0]["scan"].tolist(), str(tmp_path / "log")
    sums = Parallel(n_jobs=3, prefer=prefer)(
        delayed(_fetch)(str(tmp_path / "bank"), sources, log) for _ in range(3)
    )
    assert sums[0] == sums[1] == sums[2]
    assert len(Path(log).read_text().split()) == N


def test_a_disk_that_is_full_costs_time_and_no_result(cohort, tmp_path, monkeypatch):
    expected = ESTIMATORS["stitched"].fit(*cohort).predict_proba(cohort[0])
    blocked = tmp_path / "blocked"
    blocked.write_text("no folder")
    estimator = ESTIMATORS["stitched"].set_params(memory=blocked)
    try:
        np.testing.assert_array_equal(estimator.fit(*cohort).predict_proba(cohort[0]), expected)
        monkeypatch.setattr("tempfile.tempdir", str(blocked))
        with pytest.raises(CohortError, match=r"row 'p0', column 'scan': .* TMPDIR"):
            estimator.set_params(memory_limit_mb=0).fit(*cohort)
    finally:
        estimator.set_params(memory=None, memory_limit_mb=4096)


def test_a_bank_is_shared_within_a_block_only(tmp_path):
    bank = ImageBank(tmp_path)
    with sharing(bank), sharing(None):
        assert shared_bank() is bank
    assert shared_bank() is None


def test_a_scratch_folder_outlives_no_process(tmp_path):
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_leave_behind, args=(tmp_path,))
    child.start()
    child.join()
    assert len(list(tmp_path.iterdir())) == 1
    kept = ScratchFolder(tmp_path)
    assert list(tmp_path.iterdir()) == [kept.path]
    copy = pickle.loads(pickle.dumps(kept))
    del copy
    assert kept.path.is_dir()
    path = kept.path
    del kept
    assert not path.exists()


def _leave_behind(folder):
    scratch = ScratchFolder(folder)
    (scratch.path / "file").touch()
    os._exit(1)


def test_rows_are_views_and_sums_need_one_image_at_a_time():
    images = np.random.default_rng(0).random((7, 2, 3, 4)).astype(np.float32)
    rows = ImageRows(images).at([6, 1, 3]).at([2, 0])
    assert len(rows) == 2 and rows.shape == (2, 3, 4)
    np.testing.assert_array_equal(rows.array(), images[[3, 6]])
    np.testing.assert_array_equal(rows[torch.tensor([1])].numpy(), images[[6]])
    some = images[[0, 2, 5, 6]]
    part = ImageRows(images).at([0, 2, 5, 6])
    np.testing.assert_array_equal(part.mean(), some.mean(axis=0))
    mean = part.mean()
    assert part.spread(mean) == float(np.sqrt(np.mean([(one - mean).var() for one in some])))
    assert ImageRows(images).array() is images
    before = images.copy()
    part[torch.tensor([0])].zero_()
    part.mean()
    np.testing.assert_array_equal(images, before)


class TestWhatIsLearntOfTheGeometry:
    """Parameters that are changed after `fit` change the next fit, not the fitted model."""

    CHANGES: ClassVar = {
        "stitched": {"mosaic_size": 64, "rows": 2, "plane": "sagittal", "image": "age"},
        "symbols": {"mosaic_size": 62, "symbols": None, "symbol_size": 12},
        "volume": {"spacing_mm": 32.0, "allow_empty": True},
        "fusion": {"view": StitchedSlices(), "fusion": "daft"},
    }

    @pytest.mark.parametrize("name", CHANGES)
    def test_predictions_stay(self, cohort, name):
        X, y = cohort
        model = joblib.load(_dumped(ESTIMATORS[name].fit(X, y)))
        expected = model.predict_proba(X)
        seen = model.prepared_images(X)
        model.set_params(**self.CHANGES[name])
        np.testing.assert_array_equal(model.predict_proba(X), expected)
        np.testing.assert_array_equal(model.prepared_images(X), seen)

    def test_regions_stay(self, cohort):
        X, y = cohort
        scan = nib.Nifti1Image(
            np.random.default_rng(0).random((45, 54, 45)).astype(np.float32),
            np.array([[4, 0, 0, -88], [0, 4, 0, -124], [0, 0, 4, -70], [0, 0, 0, 1.0]]),
        )
        X = X.assign(scan=[scan] * N)
        roi = RoiSymbolClassifier("scan", regions=2, mosaic_size=30, **SETTINGS).fit(X, y)
        expected, cells = roi.predict_proba(X), roi.cells_
        roi.set_params(regions=3, mosaic_size=60)
        np.testing.assert_array_equal(roi.predict_proba(X), expected)
        assert roi.cells_ == cells

    def test_a_refit_starts_anew(self, cohort):
        X, y = cohort
        model = StitchedSliceClassifier("scan", symbols=["age"], mosaic_size=30, **SETTINGS)
        model.fit(X, y).set_params(symbols=None)
        model.fit(X, y)
        assert model.symbol_rows_ == 0 and not hasattr(model, "scaler_")
        assert model.image_shape_ == (1, 30, 30)
        view = StitchedSlices(symbols=["age"], mosaic_size=30)
        fusion = FusionClassifier("scan", tabular=["age"], view=view, **SETTINGS)
        fusion.fit(X, y).set_params(view=Volumes(spacing_mm=16))
        assert len(fusion.fit(X, y).image_shape_) == 4

    def test_a_fit_that_fails_leaves_nothing_of_itself_or_an_earlier_one(self, cohort):
        X, y = cohort
        model = StitchedSliceClassifier("scan", tabular=["age"], mosaic_size=30, **SETTINGS).fit(
            X, y
        )
        with pytest.raises(CohortError):
            model.fit(X.assign(age=np.inf), y)
        assert not [name for name in vars(model) if name.endswith("_")]

    def test_new_patients_need_no_patient_column(self, cohort):
        X, y = cohort
        X = X.assign(person=[f"s{number // 2}" for number in range(N)])
        model = StitchedSliceClassifier("scan", patient="person", mosaic_size=30, **SETTINGS)
        assert model.fit(X, y).predict(X.drop(columns="person")).shape == (N,)


def _dumped(model):
    import io

    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return buffer


def test_features_before_a_network_share_its_table(cohort):
    model = make_pipeline(TabularEncoder(["age"]), LogisticRegression())
    result = compare({"table": model, "cnn": models()["cnn"]}, *cohort, cv=2, random_state=0)
    assert result.models == ["table", "cnn"]


def test_a_fit_and_a_prediction_let_go_of_their_images_at_once(cohort, monkeypatch):
    from prognosis.views.collecting import Collector

    collect, arrays = Collector.collect, []

    def noted(self, *given):
        rows = collect(self, *given)
        arrays.append(weakref.ref(self.array))
        return rows

    monkeypatch.setattr(Collector, "collect", noted)
    gc.disable()
    try:
        model = ESTIMATORS["validation"].fit(*cohort)
        model.predict_proba(cohort[0])
        assert [array() for array in arrays] == [None, None]
    finally:
        gc.enable()
