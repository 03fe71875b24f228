"""Networks that learn to read drawn canvases first: what is drawn, what is read, what it is for."""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

import imaging.learning.reading
from imaging.grids import Grid
from imaging.learning.drawn import DrawnCanvases
from imaging.roi_mosaics import RoiMosaic
from imaging.symbols import Symbol, draw_symbols
from prognosis import RoiSymbolClassifier, RoiSymbolRegressor, TabularEncoder, compare

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than one cell")

GRID = Grid((20, 22, 18), ((8, 0, 0, -76), (0, 8, 0, -108), (0, 0, 8, -64), (0, 0, 0, 1)))
REGIONS = ["Frontal_Mid_2_L", "Frontal_Mid_2_R"]


def canvases(**changed):
    settings = {
        "mosaic": RoiMosaic("aal", REGIONS, size=48),
        "grid": GRID,
        "symbols": [Symbol("age"), Symbol("level", "wedges", 5), Symbol("kind", "glyph", 3)],
        "symbol_rows": 16,
        "n_canvases": 64,
    }
    return DrawnCanvases(**{**settings, **changed})


class TestCanvases:
    def test_targets_are_what_is_drawn(self):
        drawn = canvases()
        assert drawn.names == ["age", "level", "kind 1", "kind 2", "kind 3", *REGIONS]
        assert drawn.n_symbol_targets == 5
        samples = drawn.take(torch.arange(64))
        image, targets = samples.inputs["image"].numpy(), samples.targets.numpy()
        kind = np.where(targets[:, 2:5].any(axis=1), targets[:, 2:5].argmax(axis=1) / 2, np.nan)
        values = np.c_[targets[:, :2], kind]
        # a missing number is 0.5 as a target, and a cross as a picture
        strips = [draw_symbols(one, drawn.symbols, (16, 48)) for one in values]
        same = [np.allclose(a, b) for a, b in zip(image[:, 0, 48:], strips, strict=True)]
        assert np.mean(same) > 0.8
        # the left half of the packed brain is the left region
        cells = drawn.mosaic.cells(GRID)
        for number, (down, across) in enumerate(cells.values()):
            seen = image[:, 0, :48][:, down, across].sum(axis=(1, 2))
            assert np.corrcoef(seen, targets[:, 5 + number] ** 2)[0, 1] > 0.9
            assert np.all((seen == 0) == (targets[:, 5 + number] == 0))

    def test_loads_are_shares_and_span_the_scale(self):
        loads = canvases().take(torch.arange(256)).targets[:, 5:].numpy() ** 2
        assert loads.min() == 0 and 0.8 < loads.max() < 1 + 1e-5
        assert 0.02 < (loads == 0).mean() < 0.8

    def test_the_same_seed_and_epoch_draw_the_same(self):
        one, two = canvases(), canvases()
        first = one.take(torch.arange(8)).inputs["image"]
        assert torch.equal(first, two.take(torch.arange(8)).inputs["image"])
        assert not torch.equal(first, one.take(torch.arange(8, 16)).inputs["image"])
        two.at_epoch(1)
        assert not torch.equal(first, two.take(torch.arange(8)).inputs["image"])
        assert not torch.equal(first, canvases(seed=1).take(torch.arange(8)).inputs["image"])

    def test_channels_and_brains_alone(self):
        drawn = canvases(n_channels=2, symbols=[], symbol_rows=0)
        samples = drawn.take(torch.arange(4))
        assert samples.inputs["image"].shape == (4, 2, 48, 48)
        assert samples.targets.shape == (4, 4) and drawn.names[0] == "Frontal_Mid_2_L 1"


def lesion(rng):
    """A ball in one of both regions."""
    at = np.array([[5.0, 17, 11], [14.0, 17, 11]])[rng.integers(2)] + rng.normal(0, 1, 3)
    where = np.stack(np.indices(GRID.shape), axis=-1)
    inside = np.linalg.norm(where - at, axis=-1) < rng.uniform(1, 4)
    return nib.Nifti1Image(inside.astype(np.uint8), GRID.affine)


@pytest.fixture(scope="module")
def cohort():
    """Age and what is lesioned of the left region decide; there is a blank brain, too."""
    from imaging import load_atlas
    from imaging.atlases import region_load

    rng = np.random.default_rng(0)
    n = 240
    masks = [lesion(rng) for _ in range(n)]
    atlas = load_atlas("aal")
    load = np.sqrt([region_load(mask, atlas)[REGIONS[0]] for mask in masks])
    blank = nib.Nifti1Image(np.zeros(GRID.shape, np.uint8), GRID.affine)
    X = pd.DataFrame(
        {"lesion": masks, "blank": [blank] * n, "age": rng.normal(size=n), "load": load},
        index=[f"p{k:03d}" for k in range(n)],
    )
    score = 2 * X["age"] + 8 * (load - load.mean()) + rng.logistic(size=n)
    return X, (score > 0).astype(int).rename("poor")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("memory")


def network(folder, image="lesion", **changed):
    settings = {
        "regions": REGIONS,
        "symbols": ["age"],
        "mosaic_size": 48,
        "allow_empty": True,
        "pretrain": "drawn",
        "pretrain_steps": 40,
        "epochs": 6,
        "memory": folder,
        "random_state": 0,
    }
    return RoiSymbolClassifier(image, **{**settings, **changed})


@pytest.fixture(scope="module")
def fitted(cohort, folder):
    X, y = cohort
    return network(folder).fit(X[:160], y[:160])


def auc(model, X, y):
    return roc_auc_score(y, model.predict_proba(X)[:, 1])


def regression(columns):
    return make_pipeline(TabularEncoder(columns), LogisticRegression())


def test_it_reads(fitted):
    reader = fitted.reader_
    assert reader.names == ["age", *REGIONS] and reader.n_symbols == 1
    assert reader.explained.min() > 0.7 and reader.explained[0] > 0.95


@pytest.mark.parametrize("size", [48, 72])
def test_a_hybrid_without_a_brain_is_as_good_as_regression(folder, size):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(600, 2))
    X = pd.DataFrame(values, columns=["age", "nihss"])
    X["blank"] = [nib.Nifti1Image(np.zeros(GRID.shape, np.uint8), GRID.affine)] * 600
    y = (values @ [1.5, 1.0] + rng.logistic(size=600) > 0).astype(int)
    train, test = slice(0, 300), slice(300, 600)
    alone = regression(["age", "nihss"]).fit(X[train], y[train])
    model = network(folder, "blank", mosaic_size=size, symbols=["age", "nihss"], epochs=3)
    model.fit(X[train], y[train])
    assert abs(auc(model, X[test], y[test]) - auc(alone, X[test], y[test])) < 0.01


def test_the_brain_is_read_too(cohort, fitted):
    X, y = cohort
    age, both = (regression(c).fit(X[:160], y[:160]) for c in (["age"], ["age", "load"]))
    found = auc(fitted, X[160:], y[160:])
    assert found > auc(age, X[160:], y[160:]) + 0.04
    assert found > auc(both, X[160:], y[160:]) - 0.03


def test_frozen_layers_stay_as_they_were(cohort, folder, fitted):
    X, y = cohort

    def weights(network):
        state = {**network.encoder.state_dict(), **network.reduce.state_dict()}
        return torch.cat([values.flatten().double() for values in state.values()])

    read = weights(fitted.reader_.network)
    inner = fitted.networks_[0].network
    assert torch.equal(weights(inner), read) and inner.output.weight.abs().max() > 0
    free = network(folder, freeze=False, epochs=1).fit(X, y)
    assert not torch.equal(weights(free.networks_[0].network), read)


def test_one_pretraining_serves_all_folds(cohort, tmp_path, monkeypatch):
    X, y = cohort
    calls = []
    learn = imaging.learning.reading.learn_to_read

    def counted(*args, **kwargs):
        calls.append(kwargs["seed"])
        return learn(*args, **kwargs)

    monkeypatch.setattr(imaging.learning.reading, "learn_to_read", counted)
    quick = network(None, epochs=1, pretrain_steps=1, ordinal=True)
    compare({"one": quick, "two": regression(["age"])}, X, y, cv=2, random_state=0)
    assert calls == [0]
    kept = clone(quick).set_params(memory=tmp_path)
    first = kept.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(kept.fit(X, y).predict_proba(X), first)
    assert calls == [0, 0]
    np.testing.assert_array_equal(quick.fit(X, y).predict_proba(X), first)
    clone(kept).set_params(random_state=1).fit(X, y)
    assert calls == [0, 0, 0, 1]


def test_with_a_table_a_start_a_number_and_a_pickle(cohort, folder):
    X, y = cohort
    started = network(folder, start=regression(["age"]), symbols=None, pretrain_steps=20)
    assert auc(started.fit(X[:160], y[:160]), X[160:], y[160:]) > 0.6
    model = network(folder, tabular=["age"], symbols=None, pretrain_steps=20, epochs=1)
    model.fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    known = {**network(folder).get_params(), "epochs": 1}
    known = {name: known[name] for name in RoiSymbolRegressor().get_params()}
    found = RoiSymbolRegressor(**known).fit(X, 60 + 5 * X["age"]).predict(X)
    assert np.corrcoef(found, X["age"])[0, 1] > 0.9 and abs(found.mean() - 60) < 1


def test_scans_are_refused(cohort, folder):
    X, y = cohort
    with pytest.raises(ValueError, match="is for columns of lesion masks; set allow_empty=True"):
        network(folder, allow_empty=False).fit(X, y)
