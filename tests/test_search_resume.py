"""A search that is killed goes on, and ends as if nothing had happened; several share one study."""

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from sklearn.base import BaseEstimator, RegressorMixin, clone

from prognosis import OptunaSearch
from prognosis.search.ownership import Pulse, by_place, claim, owner, take_up
from prognosis.search.studies import open_storage

# Both this file and the processes that it starts and kills make the very same search.
MODULE = '''
import os, signal, sys, time
from pathlib import Path
import numpy as np
from optuna.distributions import FloatDistribution
from sklearn.base import BaseEstimator, RegressorMixin
from prognosis import OptunaSearch


class Mortal(RegressorMixin, BaseEstimator):
    """Ends its process at a certain fit, counted by the lines of a file."""

    def __init__(self, a=0.2, b=1.0):
        self.a = a
        self.b = b

    def fit(self, X, y):
        log = Path(os.environ["MORTAL_LOG"])
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\\n")
        if len(log.read_text().splitlines()) == int(os.environ.get("MORTAL_AT", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(os.environ.get("MORTAL_SLEEP", 0)))
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def score(self, X, y):
        return -((self.a - 0.7) ** 2) - 0.1 * np.log(self.b) ** 2 + 0.1 * np.mean(X)


def search(storage, n_trials=14):
    space = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0.1, 10, log=True)}
    return OptunaSearch(
        Mortal(), space, cv=3, n_trials=n_trials, storage=storage, random_state=0
    )


X, Y = np.random.default_rng(0).normal(size=(30, 2)), np.zeros(30)

if __name__ == "__main__":
    storage = None if sys.argv[1] == "none" else sys.argv[1]
    found = search(storage, int(sys.argv[2])).fit(X, Y)
    print(repr(found.best_params_["a"]), len(found.cv_results_["params"]))
'''


@pytest.fixture
def mortal(tmp_path, monkeypatch):
    (tmp_path / "mortal_model.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MORTAL_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import mortal_model

    yield mortal_model
    del sys.modules["mortal_model"]


def run_elsewhere(tmp_path, storage, n_trials=14, *, at=-1, sleep=0.0):
    environment = os.environ | {"MORTAL_AT": str(at), "MORTAL_SLEEP": str(sleep)}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    script = f"import sys; from mortal_model import *; found = search({str(storage)!r}, {n_trials})"
    script += ".fit(X, Y); print(repr(found.best_params_['a']), len(found.cv_results_['params']))"
    return subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
    )


def same(one, two):
    for name, values in one.cv_results_.items():
        if "time" not in name and name not in ("seconds", "trial", "params"):
            left, right = (np.ma.filled(v) for v in (values, two.cv_results_[name]))
            assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f"), name
    assert one.best_params_ == two.best_params_


def test_a_killed_search_ends_like_an_undisturbed_one(mortal, tmp_path):
    whole = mortal.search(None).fit(mortal.X, mortal.Y)
    fits = len((tmp_path / "log").read_text().splitlines())
    (tmp_path / "log").unlink()
    storage = tmp_path / "study.journal"
    process = run_elsewhere(tmp_path, storage, at=fits - 8)
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    left = optuna.load_study(study_name=None, storage=open_storage(storage)).trials
    assert [trial.state for trial in left].count(TrialState.RUNNING) == 1
    again = mortal.search(storage).fit(mortal.X, mortal.Y)
    same(whole, again)
    # all that was done again is the trial that was cut off
    done = len((tmp_path / "log").read_text().splitlines())
    assert fits < done <= fits + 3
    states = [trial.state for trial in again.study_.trials]
    assert states.count(TrialState.FAIL) == 1 and len(states) == 15


@pytest.mark.parametrize("kind", ["journal", "sqlite", "object"])
def test_an_interrupted_search_goes_on(mortal, tmp_path, monkeypatch, kind):
    storage = tmp_path / "study.journal"
    if kind == "sqlite":
        storage = f"sqlite:///{tmp_path}/study.db"
    if kind == "object":
        storage = open_storage(storage)
    n_trials = 4 if kind == "sqlite" else 12
    whole = mortal.search(None, n_trials).fit(mortal.X, mortal.Y)
    fit, count = mortal.Mortal.fit, iter(range(1000))

    def interrupted(self, X, y):
        if next(count) in (1, 5):
            raise KeyboardInterrupt
        return fit(self, X, y)

    search = mortal.search(storage, n_trials)
    with monkeypatch.context() as patch:
        patch.setattr(mortal.Mortal, "fit", interrupted)
        # the code that is interrupted is other code
        patch.setattr("prognosis.search.studies.fingerprints", lambda parts: dict.fromkeys(parts))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                clone(search).fit(mortal.X, mortal.Y)
        again = clone(search).fit(mortal.X, mortal.Y)
    same(whole, again)


def test_two_processes_share_the_trials(mortal, tmp_path, monkeypatch):
    storage = tmp_path / "study.journal"
    monkeypatch.setenv("MORTAL_SLEEP", "0.05")
    other = run_elsewhere(tmp_path, storage, 16, sleep=0.05)
    while not (tmp_path / "log").exists() and other.poll() is None:
        time.sleep(0.01)
    found = mortal.search(storage, 16).fit(mortal.X, mortal.Y)
    output, _ = other.communicate(timeout=100)
    assert other.returncode == 0
    best, n_trials = output.split()
    assert int(n_trials) == len(found.cv_results_["params"]) == 16
    assert float(best) == found.best_params_["a"]
    workers = {trial.user_attrs["owner"]["pid"] for trial in found.study_.trials}
    assert workers == {os.getpid(), other.pid}
    places = [trial.user_attrs["place"] for trial in found.study_.trials if trial.values]
    assert sorted(set(places)) == list(range(16))


# ------------------------------------------------------------------------ who still lives


@pytest.fixture
def study():
    return optuna.create_study(direction="maximize")


def begun(study, **attributes):
    trial = study.ask()
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    return trial


def test_trials_of_the_dead_are_taken_up_and_those_of_the_living_are_not(study):
    begun(study, owner=owner() | {"at": time.time()})
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    begun(study, owner=owner() | {"pid": dead.pid})
    begun(study, owner=owner() | {"began": 1})  # its number has a new owner
    begun(study, owner={"host": "elsewhere", "pid": 1, "began": 1, "at": time.time()})
    begun(study)  # a moment ago
    begun(study, owner={"host": "elsewhere", "pid": 1, "began": 1, "at": 0}, beat=time.time() - 100)
    begun(study, owner={"host": "elsewhere", "pid": 1, "began": 1, "at": 0}, beat=time.time() - 900)
    taken, running = take_up(study, 10)
    assert (taken, running) == (4, 4)
    states = [trial.state for trial in study.trials]
    assert [n for n, state in enumerate(states) if state is TrialState.FAIL] == [1, 2, 6]
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [trial.user_attrs["place"] for trial in waiting] == [1, 2, 6]
    assert take_up(study, 10) == (4, 4) and len(study.trials) == 10  # once is enough
    assert len(study.get_trials(states=(TrialState.WAITING,))) == 3


def test_places_count_what_is_searched_and_not_what_was_tried(study):
    for number in range(5):
        trial = study.ask()
        if number in (1, 3):
            study.tell(trial, state=TrialState.FAIL)
            take_up(study, 10)
        else:
            study.tell(trial, 0.0)
    while study.get_trials(states=(TrialState.WAITING,)):
        study.tell(study.ask(), 0.0)
    study.tell(study.ask(), 0.0)
    found = by_place(study)
    assert list(found) == list(range(len(found)))
    assert all(
        any(trial.state is TrialState.COMPLETE for trial in trials) for trials in found.values()
    )


def test_who_works_at_a_trial_says_so_again_and_again(tmp_path):
    storage = open_storage(tmp_path / "study.journal")
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    claim(storage, trial)
    with Pulse(storage, every_s=0.01) as pulse, pulse.working_at(trial):
        deadline = time.monotonic() + 10
        while "beat" not in study.trials[0].user_attrs and time.monotonic() < deadline:
            time.sleep(0.01)
    assert study.trials[0].user_attrs["owner"]["pid"] == os.getpid()
    assert "beat" in study.trials[0].user_attrs


def test_a_worker_that_was_taken_for_dead_goes_on_with_another_trial(mortal, monkeypatch):
    search, lost = mortal.search(None, 5), []
    fit = mortal.Mortal.fit

    def slow(self, X, y):
        # somebody else comes by, who hears nothing of us
        if len(lost) == 0:
            for study, trial in running:
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                lost.append(trial)
        return fit(self, X, y)

    running = []
    begin = Pulse.working_at

    def noted(self, trial):
        running.append((trial.study, trial))
        return begin(self, trial)

    monkeypatch.setattr(mortal.Mortal, "fit", slow)
    monkeypatch.setattr(Pulse, "working_at", noted)
    search.fit(mortal.X, mortal.Y)
    assert len(lost) == 1 and len(search.cv_results_["params"]) == 5


def test_half_a_line_at_the_end_of_a_journal_is_cut_off(mortal, tmp_path):
    storage = tmp_path / "study.journal"
    mortal.search(storage, 4).fit(mortal.X, mortal.Y)
    whole = storage.read_bytes()
    storage.write_bytes(whole + whole[: len(whole.splitlines()[0]) // 2])
    again = mortal.search(storage, 6).fit(mortal.X, mortal.Y)
    same(mortal.search(None, 6).fit(mortal.X, mortal.Y), again)


def test_a_storage_survives_clone_and_pickle(mortal, tmp_path):
    search = mortal.search(open_storage(tmp_path / "journal"), 3)
    pickle.loads(pickle.dumps(clone(search))).fit(mortal.X, mortal.Y)
    assert len(optuna.load_study(study_name=None, storage=search.storage).trials) == 3


class Plain(RegressorMixin, BaseEstimator):
    def __init__(self, a=0.5):
        self.a = a

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.full(len(X), self.a)


def test_without_a_seed_a_kept_search_still_goes_on(tmp_path):
    search = OptunaSearch(
        Plain(), {"a": FloatDistribution(0, 1)}, cv=2, n_trials=3, storage=tmp_path / "journal"
    )
    X, y = np.zeros((20, 1)), np.linspace(0, 1, 20)
    one, two = (clone(search).fit(X, y) for _ in range(2))
    assert one.study_.study_name == two.study_.study_name
    assert np.array_equal(one.cv_results_["param_a"], two.cv_results_["param_a"])
