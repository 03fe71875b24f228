"""Image estimators say what they cannot do, and what a picture is too small for."""

import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.pipeline import make_pipeline

from imaging.learning import engine
from prognosis import (
    CohortError,
    LesionSize,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
)

N = 24


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    affine = np.array([[6.0, 0, 0, -90], [0, 6, 0, -125], [0, 0, 6, -70], [0, 0, 0, 1]])
    index = [f"s{number}" for number in range(N)]
    scans = [nib.Nifti1Image(rng.random((31, 37, 31)).astype(np.float32), affine) for _ in index]
    X = pd.DataFrame({"scan": scans, "age": rng.normal(60, 9, N)}, index)
    X["person"] = [f"p{number // 3}" for number in range(N)]
    X["lesion"] = [nib.Nifti1Image(np.uint8(scan.get_fdata() > 0.9), affine) for scan in scans]
    y = pd.Series([0, 0, 0, 1, 1, 1] * (N // 6), index)
    return X, y


def cnn(kind=StitchedSliceClassifier, **settings):
    settings = {"mosaic_size": 30, "epochs": 1, "device": "cpu", "random_state": 0, **settings}
    return kind("scan", **settings)


@pytest.mark.parametrize("kind", [StitchedSliceClassifier, StitchedSliceRegressor])
def test_the_outcome_of_other_patients_is_refused(cohort, kind):
    X, y = cohort
    with pytest.raises(CohortError, match=r"y has a row 'x0' that X has not"):
        cnn(kind).fit(X, y.set_axis([f"x{number}" for number in range(N)]))
    with pytest.raises(CohortError, match=r"another order than X; sort it: y = y.loc\[X.index\]"):
        cnn(kind).fit(X, y[::-1])
    table = kind(epochs=1)
    with pytest.raises(CohortError, match="y has a row"):
        table.fit(X[["age"]], y.reset_index(drop=True))


def test_a_validation_set_that_cannot_be_is_refused(cohort):
    X, y = cohort
    with pytest.raises(CohortError, match=r"validation_fraction=0.01 of 24 patients .* raise it"):
        cnn(validation_fraction=0.01).fit(X, y)
    with pytest.raises(ValueError, match=r"patience=3 needs .* leave patience out"):
        cnn(patience=3).fit(X, y)
    rare = y.where(y.index != "s0", 2)
    with pytest.raises(CohortError, match="or set it to 0 to train on everybody"):
        cnn(validation_fraction=0.3).fit(X, rare)


@pytest.fixture
def parts(monkeypatch):
    """Ages in training and in validation of each network, in place of its training."""
    found = []

    def record(make_network, samples, *, validation, **settings):
        found.append([part.inputs["tabular"][:, 0].tolist() for part in (samples, validation)])
        network = make_network()
        return network, []

    monkeypatch.setattr(engine, "train_network", record)
    return found


@pytest.mark.parametrize("way", ["groups", "patient", "routed"])
def test_early_stopping_divides_patients_not_scans(cohort, parts, way):
    X, y = cohort
    X = X.assign(age=np.arange(N, dtype=float))
    model = cnn(tabular=["age"], validation_fraction=0.3)
    if way == "patient":
        model.set_params(patient="person").fit(X, y)
    elif way == "groups":
        model.fit(X, y, groups=X["person"])
    else:
        with config_context(enable_metadata_routing=True):
            make_pipeline(LesionSize(), model).fit(X, y, groups=X["person"])
    (train, held_out), ages = parts[0], np.arange(N)
    ages = (ages - ages.mean()) / ages.std()
    patients = [
        {int(np.abs(ages - age).argmin()) // 3 for age in part} for part in (train, held_out)
    ]
    assert len(train) + len(held_out) == N and len(held_out) in (6, 9)
    assert patients[0].isdisjoint(patients[1])


def test_groups_that_do_not_fit_are_refused(cohort):
    X, y = cohort
    with pytest.raises(CohortError, match="groups has shape"):
        cnn(validation_fraction=0.3).fit(X, y, groups=[1, 2])


def test_every_symbol_and_region_can_change_the_network(cohort):
    """At 152 x 128, the default with one row of symbols, they used to be out of sight."""
    import torch

    X, y = cohort
    model = cnn(RoiSymbolClassifier, regions=4, symbols=["age"], mosaic_size=128).fit(X, y)
    picture = torch.from_numpy(model.prepared_images(X)).requires_grad_()
    model.networks_[0].embed(picture).square().sum().backward()
    moved = picture.grad.abs().sum((0, 1)).numpy() > 0
    for name, place in model.cells_.items():
        assert moved[place].mean() > 0.5, name


def test_symbols_are_as_large_as_a_cell_of_the_network_unless_asked(cohort):
    X, y = cohort
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = cnn(symbols=["age"], mosaic_size=128).fit(X, y)
        assert model.symbol_rows_ == 32
        assert cnn(symbols=["age"], mosaic_size=30).fit(X, y).symbol_rows_ == 24
    X = X.assign(nihss=X["age"])
    with pytest.warns(UserWarning, match=r"^'age', 'nihss': smaller than one cell .* symbol_size"):
        small = cnn(symbols=["age", "nihss"], mosaic_size=128, symbol_size=8).fit(X, y)
    assert small.symbol_rows_ == 8


def test_small_regions_are_named(cohort):
    X, y = cohort
    regions = ["Insula_L", "Heschl_L", "Putamen_L", "Pallidum_L", "Thalamus_L", "Caudate_L"]
    with pytest.warns(UserWarning, match=r"\(16 x 16 pixels\).* show fewer regions") as said:
        model = cnn(RoiSymbolClassifier, regions=regions, mosaic_size=64, space="native").fit(X, y)
    text = str(said[0].message)
    sizes = {
        name: np.prod([side.stop - side.start for side in place])
        for name, place in model.cells_.items()
    }
    assert min(sizes.values()) < 16**2 < max(sizes.values())
    for name, size in sizes.items():
        assert (repr(name) in text) == (size < 16**2)
