"""Who works at a trial, and whether he still lives; what a dead process left is taken up again.

On one machine a process is dead when the system no longer knows it. Of another machine one only
hears: its trials tell every minute that somebody works at them.
"""

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress

from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from .sampling import AGAIN, find_place

__all__ = ["FINISHED", "Pulse", "by_place", "claim", "is_alive", "owner", "take_up"]

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
BEAT_S = 60
NEW_S = 30
SILENT_S = 600  # without a word for so long, a process on another machine is dead


def owner():
    """The present process, so that others can tell it: machine, number, and when it began."""
    return {"host": _host(), "pid": os.getpid(), "began": _began(os.getpid())}


def is_alive(trial):
    """Whether somebody still works at a running trial."""
    who = trial.user_attrs.get("owner")
    now = time.time()
    if who is None:  # it was begun a moment ago, or whoever began it died there and then
        return now - trial.datetime_start.timestamp() < NEW_S
    if who["host"] != _host():
        return now - max(trial.user_attrs.get("beat", 0), who.get("at", 0)) < SILENT_S
    try:
        os.kill(who["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _began(who["pid"]) == who["began"]


def claim(storage, trial):
    """Say in a study that a trial is that of this process."""
    storage.set_trial_user_attr(trial._trial_id, "owner", owner() | {"at": time.time()})


class Pulse:
    """Says in a study, again and again, that this process is alive and works at a trial.

    Used as a context, in which a thread of its own does so; a study in memory hears nothing, since
    nobody else can.

    Parameters
    ----------
    storage : optuna.storages.BaseStorage
    every_s : float
    """

    def __init__(self, storage, *, every_s=BEAT_S):
        self.storage = storage
        self.every_s = every_s
        self.trial = None
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self):
        if not isinstance(self.storage, InMemoryStorage):
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        if self.thread.is_alive():
            self.thread.join()

    @contextmanager
    def working_at(self, trial):
        """This process works at a trial for as long as the block lasts."""
        self.trial = trial
        try:
            yield
        finally:
            self.trial = None

    def _beat(self):
        while not self.done.wait(self.every_s):
            trial = self.trial
            if trial is not None:
                with suppress(Exception):  # a beat that is missed is no reason to lose the trial
                    self.storage.set_trial_user_attr(trial._trial_id, "beat", time.time())
        with suppress(Exception):
            self.storage.remove_session()


def by_place(study):
    """The trials of every place, in order: a dict of int to list of FrozenTrial."""
    trials = study.get_trials(deepcopy=False)
    found = {}
    for trial in trials:
        found.setdefault(find_place(trial, trials), []).append(trial)
    return dict(sorted(found.items()))


def take_up(study, n_trials):
    """Put what dead processes left, and what was broken off, back into the queue.

    Parameters
    ----------
    study : optuna.study.Study
    n_trials : int
        Places beyond are nobody's concern.

    Returns
    -------
    taken : int
        Places that are finished or that somebody works at.
    running : int
        Those that somebody works at.
    """
    taken, running = 0, 0
    for place, trials in by_place(study).items():
        states = {trial.state for trial in trials}
        if states.intersection(FINISHED):
            taken += 1
            continue
        at_work = [trial for trial in trials if trial.state is TrialState.RUNNING]
        if any(map(is_alive, at_work)):
            taken, running = taken + 1, running + 1
            continue
        for trial in at_work:
            with suppress(RuntimeError):  # somebody else found it, too
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        if place < n_trials and TrialState.WAITING not in states:
            study.enqueue_trial({}, user_attrs={"place": place, AGAIN: True})
    return taken, running


def _host():
    """Name of the machine, and of the container: numbers of processes hold there."""
    name = socket.gethostname()
    with suppress(OSError):
        name += ":" + os.readlink("/proc/self/ns/pid")
    return name


def _began(pid):
    """When a process began, in the system's own ticks; None where the system does not say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
