"""What a value is, by content: equal whatever holds it, different whatever was changed."""

import functools
import os
import pickle
import subprocess
import sys
import threading
import types
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from imaging import load_atlas
from imaging.storage.identity import identity
from prognosis import LesionSize, RegionLoad, StitchedSliceClassifier


@dataclass
class Holder:
    inside: object
    more: list = field(default_factory=list)

    @functools.cached_property
    def kept(self):
        return 1


def _values():
    frame = pd.DataFrame(
        {"a": [1, None], "b": pd.Categorical(["x", "y"]), "c": pd.to_datetime(["2020", None])}
    )
    return {
        "numbers": [1, 1.0, True, 1j, np.float32(1), np.int64(1), float("nan"), None, ...],
        "containers": {"b": (1, [2]), "a": {3, "x"}, ("t",): frozenset({4})},
        "arrays": [np.arange(3), np.array(["a", None], object), np.array(2.0), np.zeros((0, 3))],
        "dates": np.array(["2020-01-01"], "datetime64[D]"),
        "frame": frame,
        "index": pd.Index(["s1", "s2"], name="patient"),
        "image": nib.Nifti1Image(np.ones((2, 2, 2)), np.eye(4)),
        "tensors": [torch.arange(3), torch.ones(2, dtype=torch.bfloat16), torch.tensor(1.5)],
        "network": torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.ReLU()),
        "random": [np.random.RandomState(0), np.random.default_rng(0)],
        "functions": [len, np.mean, np.add, os.path.join, functools.partial(pow, 2), str.lower],
        "methods": [{}.get, StandardScaler().fit, Path.cwd],
        "objects": [Holder([1]), types.SimpleNamespace(a=1), range(3), slice(1, 2), Path("no/way")],
        "classes": [Holder, StandardScaler, int, type(None), torch.nn.Linear],
        "models": [make_pipeline(StandardScaler(), LogisticRegression(C=2)), RegionLoad()],
    }


@pytest.mark.parametrize("name", _values())
def test_equal_values_in_other_objects_are_the_same(name):
    assert identity(_values()[name]) == identity(_values()[name])


def test_other_processes_agree():
    code = (
        "from imaging.storage.identity import identity\n"
        "from prognosis import RegionLoad\n"
        "print(identity([{'a', 'b', 'c'}, RegionLoad(regions=['x']), 1.5]))"
    )
    expected = identity([{"a", "b", "c"}, RegionLoad(regions=["x"]), 1.5])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == expected, done.stderr


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ("1", 1),
        (["ab", "c"], ["a", "bc"]),
        ([1, [2]], [[1], 2]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),  # order can decide
        (np.zeros(2), np.zeros((2, 1))),
        (np.zeros(2, np.int32), np.zeros(2, np.float32)),
        (Holder([1]), Holder([2])),
        (StandardScaler(), LogisticRegression()),
        (np.mean, np.median),
        (pd.Series([1.0], name="a"), pd.Series([1.0], name="b")),
        (pd.Categorical(["a"], ["a", "b"]), pd.Categorical(["a"], ["b", "a"])),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
    ],
)
def test_what_differs_differs(one, other):
    assert identity(one) != identity(other)


def test_sharing_and_cycles_do_not_matter():
    shared = [1, 2]
    assert identity([shared, shared]) == identity([[1, 2], [1, 2]])
    cycles = []
    for _ in range(2):
        cycle = [1]
        cycle.append(cycle)
        cycles.append(identity(cycle))
    assert cycles[0] == cycles[1] != identity([1, [1]])


def test_cache_folders_do_not_count_and_other_memories_do(tmp_path):
    def model(memory):
        return make_pipeline(LesionSize(memory=memory), StandardScaler(), memory=memory)

    same = [None, "cache", tmp_path, joblib.Memory(tmp_path, verbose=0)]
    assert len({identity([model(memory)]) for memory in same}) == 1
    assert identity(Recalling(3)) != identity(Recalling(4))


class Recalling(StandardScaler):
    """Its `memory` is no folder."""

    def __init__(self, memory=3):
        self.memory = memory


def test_what_is_computed_on_the_way_does_not_count():
    holder, fresh = Holder([1]), Holder([1])
    assert holder.kept == 1
    assert identity(holder) == identity(fresh)
    aal = load_atlas("aal")
    copy = pickle.loads(pickle.dumps(aal))
    copy.labels_on(nib.Nifti1Image(np.zeros((20, 20, 20), np.uint8), np.diag([4, 4, 4, 1])))
    assert copy.identity and identity(aal) == identity(copy)


def test_learnt_attributes_count_where_a_clone_keeps_them():
    X = np.random.default_rng(0).normal(size=(20, 2))
    fits = [FrozenEstimator(StandardScaler().fit(X + n)) for n in (0, 0, 1)]
    first, same, other = (identity(clone(fit)) for fit in fits)
    assert first == same != other


@pytest.mark.parametrize("value", [lambda: 1, threading.Lock(), sys.stdout], ids=type)
def test_what_cannot_be_found_again_is_refused(value):
    with pytest.raises((pickle.PicklingError, TypeError)):
        identity([FunctionTransformer(value)])


def test_a_word_is_itself_though_files_are_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("t1w", "flair"):
        Path(name).touch()
    assert identity("t1w") != identity("flair")
    before = identity(StitchedSliceClassifier("t1w"))
    assert before != identity(StitchedSliceClassifier("flair"))
    Path("t1w").write_text("changed")
    assert identity(StitchedSliceClassifier("t1w")) != before


# ----------------------------------------------------------------- code that was edited

NOTEBOOK = """
import functools
from sklearn.base import BaseEstimator

DEPTH = 3

def shrink(x):
    return 0.5 * x

class Base(BaseEstimator):
    rate = 0.1

class Model(Base):
    def fit(self, X, y):
        self.depth_ = DEPTH
        return [shrink(x) for x in X]
"""


def _in_a_notebook(text, monkeypatch):
    """Model as a cell of a notebook makes it: there is no file, nothing to look its source up."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(text, "<cell>", "exec"), vars(module))
    return identity([module.Model()])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DEPTH = 3", "DEPTH = 4"),
        ("0.5 * x", "0.4 * x"),
        ("rate = 0.1", "rate = 0.2"),
        ("for x in X]", "for x in X[1:]]"),
        ("self.depth_ = DEPTH", "self.depth = DEPTH"),
    ],
)
def test_a_model_of_a_notebook_counts_with_all_that_it_refers_to(monkeypatch, old, new):
    before = _in_a_notebook(NOTEBOOK, monkeypatch)
    moved = "print\n\n" + NOTEBOOK.replace("import functools\n", "import functools, math\n")
    assert _in_a_notebook(moved, monkeypatch) == before
    assert _in_a_notebook(NOTEBOOK.replace(old, new), monkeypatch) != before


def test_an_edited_file_that_was_not_loaded_again_is_neither_old_nor_new(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "module_of_a_user.py"
    seen = []
    for text, load in (("1", True), ("22", False), ("22", True)):
        path.write_text(f"def rate(x):\n    return {text} * x\n")
        if load:
            sys.modules.pop("module_of_a_user", None)
        import module_of_a_user

        seen.append(identity(module_of_a_user.rate))
    assert len(set(seen)) == 3


def test_an_installed_class_counts_by_its_version(monkeypatch):
    import sklearn

    from imaging.storage import code_identity

    before = identity(StandardScaler)
    monkeypatch.setattr(sklearn, "__version__", "99")
    code_identity._installed_version.cache_clear()
    after = identity(StandardScaler)
    monkeypatch.undo()
    code_identity._installed_version.cache_clear()
    assert after != before == identity(StandardScaler)
