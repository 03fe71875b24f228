"""Models in files: the same predictions after a way through a file, and what is not opened."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from hashlib import sha256

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import prognosis
from imaging.storage.models import ModelFileError
from prognosis import (
    FusionClassifier,
    LesionSize,
    OptunaSearch,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    TabularEncoder,
    TemperatureScaled,
    VolumeRegressor,
    linear_ladder,
    logistic_ladder,
    make_stroke_cohort,
    place_model,
    search_space,
)
from prognosis.saving.archive import read_card
from prognosis.saving.parts import apart, together

CNN = {"mosaic_size": 48, "epochs": 1, "random_state": 0}


def ladder():
    return logistic_ladder([["severity"]])["severity"]


def place(**parameters):
    return place_model("lesion", tabular=["severity"], atlas="aal", **parameters)


MODELS = {
    "ladder": ladder,
    "place": place,
    "place, chosen": lambda: place(representation="auto", outcome="ordinal"),
    "calibrated": lambda: TemperatureScaled(ladder(), cv=3),
    "searched": lambda: OptunaSearch(
        ladder(), search_space(ladder()), n_trials=2, cv=2, random_state=0
    ),
    "regions, symbols": lambda: RoiSymbolClassifier("t1w", regions=2, symbols=["age"], **CNN),
    "slices, started": lambda: StitchedSliceClassifier("t1w", start=ladder(), **CNN),
    "slices, ordinal": lambda: StitchedSliceClassifier(
        "t1w", tabular=["severity"], ordinal=True, **CNN
    ),
    "volumes": lambda: VolumeRegressor("t1w", epochs=1, random_state=0),
    "fusion": lambda: FusionClassifier("t1w", tabular=["age"], epochs=1, random_state=0),
    "stack": lambda: StackingClassifier(
        [("table", ladder()), ("image", StitchedSliceClassifier("t1w", **CNN))], cv=2
    ),
    "ladder of numbers": lambda: linear_ladder([["severity"]])["severity"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("saving")


@pytest.fixture(scope="module")
def cohort(folder):
    X, y = make_stroke_cohort(20, spacing_mm=8, folder=folder / "cohort", random_state=0)
    return X, y


@pytest.fixture(scope="module")
def saved(folder, cohort):
    """A ladder and its file."""
    X, y = cohort
    model = ladder().fit(X, y)
    return model, prognosis.save(model, folder / "ladder.prognosis", X, y)


def said(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_loaded_model_predicts_the_same_to_the_last_bit(name, cohort, tmp_path, monkeypatch):
    X, y = cohort
    model = MODELS[name]().fit(X, X["age"] if name in ("volumes", "ladder of numbers") else y)
    path = prognosis.save(model, tmp_path / "model.prognosis")

    def never(*args, **kwargs):
        raise AssertionError("something is unpickled")

    for module, function in ((pickle, "load"), (pickle, "loads"), (joblib, "load")):
        monkeypatch.setattr(module, function, never)
    loaded = prognosis.load(path)
    assert np.array_equal(said(loaded, X), said(model, X))
    assert [f.name for f in tmp_path.iterdir()] == ["model.prognosis"]


def test_it_does_in_a_fresh_process_too(folder, cohort, tmp_path):
    X, y = cohort
    model = StitchedSliceClassifier("t1w", tabular=["severity"], **CNN).fit(X, y)
    path = prognosis.save(model, tmp_path / "cnn.prognosis")
    X.to_json(tmp_path / "X.json")
    code = (
        "import sys, pandas as pd, numpy as np, prognosis\n"
        "X = pd.read_json(sys.argv[2], convert_axes=False)\n"
        "np.save(sys.argv[3], prognosis.load(sys.argv[1]).predict_proba(X))\n"
    )
    out = tmp_path / "p.npy"
    subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "X.json"), str(out)], check=True
    )
    assert np.array_equal(np.load(out), model.predict_proba(X))


def test_caches_stay_where_they_are(cohort, tmp_path):
    X, y = cohort
    model = make_pipeline(LesionSize(memory=tmp_path / "cache"), TabularEncoder(["lesion_ml"]))
    model = make_pipeline(*(step for _, step in model.steps), LogisticRegression()).fit(X, y)
    loaded = prognosis.load(prognosis.save(model, tmp_path / "m.prognosis"))
    assert loaded[0].memory is None
    assert model[0].memory == tmp_path / "cache"
    assert str(tmp_path) not in str(read_card(tmp_path / "m.prognosis"))


def test_tables_paths_and_types_come_back():
    index = pd.Index(["a", "b", None], name="patient")
    table = pd.DataFrame(
        {
            "age": [1.5, np.nan, 3],
            "sex": pd.Categorical(["F", None, "M"], ["M", "F"], ordered=True),
            "n": pd.array([1, None, 2], "Int64"),
            "text": ["x", None, "z"],
        },
        index=index,
    )
    from prognosis.saving.exchanging import exchanged

    kinds, exchange, tensors = apart()
    model = {"table": table, "column": table["sex"], "none": table.iloc[:, :0]}
    back = exchanged(exchanged(model, kinds, exchange), *together(tensors))
    pd.testing.assert_frame_equal(back["table"], table)
    pd.testing.assert_series_equal(back["column"], table["sex"])
    assert back["none"].shape == (3, 0)


class TestRefusals:
    """One sentence each; nothing is opened, nothing is left behind."""

    def refused(self, path, words, **options):
        with pytest.raises(ModelFileError) as caught:
            prognosis.load(path, **options)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_pickle(self, saved, tmp_path):
        joblib.dump(saved[0], tmp_path / "model.joblib")
        self.refused(tmp_path / "model.joblib", "is no model that prognosis.save wrote")

    def test_half_a_file(self, saved, tmp_path):
        whole = saved[1].read_bytes()
        (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
        self.refused(tmp_path / "half", "damaged")

    def test_another_zip(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
            file.writestr("a", "b")
        self.refused(tmp_path / "other.zip", "it has no card")

    def test_a_changed_part(self, saved, tmp_path):
        path = self.rewritten(saved[1], tmp_path, model=b"changed", sign=False)
        self.refused(path, "was changed since it was written (model.skops)")

    def test_a_part_too_many(self, saved, tmp_path):
        path = self.rewritten(saved[1], tmp_path, sign=False, more={"extra": b"x"})
        self.refused(path, "it holds 'extra'")

    def test_another_format(self, saved, tmp_path):
        self.refused(self.rewritten(saved[1], tmp_path, card={"format": 99}), "has format 99")

    def test_nonsense_that_is_signed(self, saved, tmp_path):
        self.refused(self.rewritten(saved[1], tmp_path, model=b"x"), "cannot be read as a model")

    def test_a_signed_file_that_names_a_stranger(self, saved, tmp_path):
        import skops.io

        harm = skops.io.dumps(FunctionTransformer(os.system))
        path = self.rewritten(saved[1], tmp_path, model=harm)
        self.refused(path, f"names {os.system.__module__}.system, which is not on the list")

    @pytest.mark.parametrize("function", ["prognosis.cli.main", "imaging.volumes.write_image"])
    def test_functions_of_this_package_are_strangers_too(self, saved, tmp_path, function):
        import skops.io

        module, _, name = function.rpartition(".")
        found = getattr(__import__(module, fromlist=[name]), name)
        harm = skops.io.dumps(FunctionTransformer(found))
        self.refused(self.rewritten(saved[1], tmp_path, model=harm), function)

    def rewritten(self, path, folder, *, model=None, card=(), more=(), sign=True):
        """A copy of a file with other parts; `sign`: with the checksums that they have."""
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        about = json.loads(parts.pop("card.json")) | dict(card)
        parts |= dict(more)
        if model is not None:
            parts["model.skops"] = model
        if sign:
            about["checksums"] = {n: sha256(part).hexdigest() for n, part in parts.items()}
        with zipfile.ZipFile(folder / "rewritten", "w") as file:
            file.writestr("card.json", json.dumps(about))
            for name, part in parts.items():
                file.writestr(name, part)
        return folder / "rewritten"

    def test_what_cannot_be_saved_is_named(self, cohort, tmp_path):
        X, y = cohort
        table = X[["severity"]]
        for model, words in (
            (ladder(), "Pipeline is not fitted"),
            (
                make_pipeline(FunctionTransformer(lambda X: X), LogisticRegression()).fit(table, y),
                "lambda",
            ),
            (RandomForestClassifier(2).fit(table, y), "holds sklearn.tree._tree.Tree"),
        ):
            with pytest.raises(ModelFileError, match=words):
                prognosis.save(model, tmp_path / "m.prognosis")
        assert list(tmp_path.iterdir()) == []

    def test_a_stranger_may_be_trusted_on_both_ways(self, cohort, tmp_path):
        X, y = cohort
        table, trees = X[["severity"]], ["sklearn.tree._tree.Tree"]
        model = RandomForestClassifier(2, random_state=0).fit(table, y)
        path = prognosis.save(model, tmp_path / "trees.prognosis", trusted=trees)
        self.refused(path, "names sklearn.tree._tree.Tree")
        loaded = prognosis.load(path, trusted=trees)
        assert np.array_equal(loaded.predict_proba(table), model.predict_proba(table))

    def test_other_versions_are_warned_of(self, saved, tmp_path):
        old = {"versions": {**read_card(saved[1])["versions"], "scikit-learn": "1.2.0"}}
        with pytest.warns(UserWarning, match=r"scikit-learn 1\.2\.0 \(now"):
            prognosis.load(self.rewritten(saved[1], tmp_path, card=old))
