"""Progress where somebody looks, and workers that are not ended for what they have loaded."""

import io
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest

from prognosis import compare, logistic_ladder
from prognosis.workers import let_worker_grow, shows_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def run(tabular_cohort, poor_outcome, monkeypatch):
    def call(stream, **options):
        monkeypatch.setattr(sys, "stderr", stream)
        models = logistic_ladder([["lesion_ml"]])
        compare(models, tabular_cohort[0], poor_outcome, cv="3", random_state=0, **options)
        return stream.getvalue()

    return call


def test_a_terminal_shows_progress_unless_told_not_to(run):
    assert "3/3" in run(Terminal())
    assert run(Terminal(), verbose=0) == ""


def test_a_file_shows_none_unless_told_to(run):
    assert run(io.StringIO()) == ""
    assert "3/3" in run(io.StringIO(), verbose=1)


def test_no_stderr_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert not shows_progress(None)


def grow(number):
    """A first task that loads nothing, and others that keep 320 MB, as networks do."""
    let_worker_grow()
    if number:
        import time

        sys.modules[__name__].__dict__.setdefault("kept", np.ones(40_000_000))
        time.sleep(1.1)
    import os

    return os.getpid()


def test_workers_that_grow_stay_and_nobody_is_warned():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pids = joblib.Parallel(n_jobs=2)(joblib.delayed(grow)(number) for number in range(5))
    assert not [str(each.message) for each in caught if "worker stopped" in str(each.message)]
    assert len(set(pids)) <= 2


def test_nothing_is_changed_in_the_main_process():
    from joblib.externals.loky import process_executor

    before = process_executor._USE_PSUTIL
    let_worker_grow()
    assert before == process_executor._USE_PSUTIL


def test_searches_inside_of_comparisons_show_one_bar(tabular_cohort, poor_outcome, monkeypatch):
    from prognosis import OptunaSearch, search_space

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    model = logistic_ladder([["lesion_ml"]])["lesion_ml"]
    search = OptunaSearch(model, search_space(model), n_trials=2, cv=2, random_state=0)
    X, y = tabular_cohort[0], pd.Series(poor_outcome)
    compare({"search": search}, X, y, cv="2", random_state=0)
    assert "trial" not in stream.getvalue() and "2/2" in stream.getvalue()
    search.fit(X, y)
    assert "trial" in stream.getvalue()
