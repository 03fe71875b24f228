"""The same numbers from a cluster as from one process, also when a worker dies in the middle.

Any backend of joblib does; here it is Dask with two worker processes on this machine.
"""

import ast
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import cloudpickle
import joblib
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from prognosis import (
    LesionSize,
    OptunaSearch,
    StitchedSliceClassifier,
    TabularEncoder,
    compare,
    explain,
    logistic_ladder,
    make_stroke_cohort,
)

distributed = pytest.importorskip(
    "distributed", reason="install the extra distributed: Dask, Ray and accelerate"
)
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as local, distributed.Client(local):
        yield local


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Images travel as paths."""
    folder = tmp_path_factory.mktemp("cohort")
    return make_stroke_cohort(24, spacing_mm=8, random_state=0, folder=folder)


def test_a_comparison_and_what_it_measures_are_those_of_one_process(cluster, cohort):
    X, y = cohort
    models = logistic_ladder([["severity"]])
    models["network"] = make_pipeline(
        LesionSize("lesion"),
        StitchedSliceClassifier(
            "t1w", tabular=["lesion_ml"], mosaic_size=48, epochs=1, n_seeds=2, random_state=0
        ),
    )
    here = compare(models, X, y, cv=2, random_state=0)
    sizes = LesionSize("lesion").fit_transform(X)["lesion_ml"]
    with joblib.parallel_config("dask"):
        there = compare(models, X, y, cv=2, random_state=0)
        sizes_there = LesionSize("lesion").fit_transform(X)["lesion_ml"]
    pd.testing.assert_frame_equal(there.predictions, here.predictions, check_exact=True)
    pd.testing.assert_series_equal(sizes_there, sizes, check_exact=True)


def test_an_explanation_is_that_of_one_process(cluster, cohort):
    X, y = cohort
    network = StitchedSliceClassifier("t1w", mosaic_size=48, epochs=1, random_state=0).fit(X, y)
    here = explain(network, X[:4], method="gradient", random_state=0)
    with joblib.parallel_config("dask"):
        there = explain(network, X[:4], method="gradient", random_state=0)
    pd.testing.assert_frame_equal(there.by_region(), here.by_region(), check_exact=True)


def test_a_search_is_that_of_one_process(cluster, cohort):
    X, y = cohort
    model = make_pipeline(LesionSize("lesion"), TabularEncoder(["lesion_ml"]), LogisticRegression())
    space = {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]}
    search = OptunaSearch(model, space, cv=3, n_trials=4, n_jobs=2, random_state=0)
    here = clone(search).fit(X, y).cv_results_
    with joblib.parallel_config("dask"):
        there = clone(search).fit(X, y).cv_results_
    assert here["params"] == there["params"]
    for fold in range(3):
        name = f"split{fold}_test_score"
        assert here[name].tolist() == there[name].tolist()


def burn(table, fuse):
    """Kill the process that comes here first while there is a fuse."""
    with suppress(FileNotFoundError):  # of two that come at once, one takes it away
        fuse.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return table


def test_a_killed_worker_loses_nothing(cluster, cohort, tmp_path):
    X, y = cohort
    fuse = tmp_path / "fuse"
    models = logistic_ladder([["severity"], ["severity", "recovery_years"]])
    models = {
        name: make_pipeline(FunctionTransformer(burn, kw_args={"fuse": fuse}), model)
        for name, model in models.items()
    }
    here = compare(models, X, y, cv="4x2", random_state=0)
    fuse.touch()
    kept = {"cv": "4x2", "random_state": 0, "resume": tmp_path / "finished"}
    with joblib.parallel_config("dask"):
        try:
            there = compare(models, X, y, **kept)
        except (distributed.KilledWorker, distributed.client.FutureCancelledError):
            there = compare(models, X, y, **kept)  # as the user would, and goes on
    assert not fuse.exists()
    pd.testing.assert_frame_equal(there.predictions, here.predictions, check_exact=True)


def test_the_page_shows_code_that_could_run():
    """Every piece is Python, and imports from this package what there is."""
    import prognosis

    page = (Path(__file__).parents[1] / "docs" / "scale_out.md").read_text(encoding="utf-8")
    pieces = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(pieces) >= 4
    for node in (node for piece in pieces for node in ast.walk(ast.parse(piece))):
        if isinstance(node, ast.ImportFrom) and node.module == "prognosis":
            assert all(hasattr(prognosis, alias.name) for alias in node.names)
