"""Does a run that is killed, at whatever moment, end as if nothing had happened?

Runs are killed at random moments and started again until they are done: `compare(resume=)` of a
SIMULATED cohort in one process and in two, `OptunaSearch(storage=)` on it, the training of a small
segmenter with `checkpoint=`, and a SIMULATED cohort that is written to a folder. By turns the first
process is killed; all processes are, between writing a file and giving it its name; and, with
--ctrl-c, Ctrl-C is pressed. The results have to equal those of undisturbed runs bit for bit, and
nothing of the killed ones may be left.

    python benchmarks/kills.py [--kills 20] [--seed 0] [--campaign search] [--ctrl-c]
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from kill_jobs import JOBS, N_PATIENTS, N_WRITTEN

from prognosis import make_stroke_cohort

# What is run, in how many processes, and how much of it one kill may cost in each of these: a fit,
# an epoch, a trial of three folds, a patient.
CAMPAIGNS = {
    "compare, 1 process": ("compare", 1, 1),
    "segmenter": ("segmenter", 1, 1),
    "compare, 2 processes": ("compare", 2, 1),
    "search": ("search", 1, 3),
    "cohort": ("cohort", 1, 1),
}
MOST_FILES = 12  # that a run writes before it dies in writing
LONGEST_S = 300  # a run that takes longer hangs
PATIENCE_S = 30  # until a process that should end is called deaf
ORPHAN_S = 5  # until a worker whose first process was killed is called an orphan

STOPPED = threading.Event()
RUNNING = set()  # process groups, so that none survives this script


def child(job, folder, n_jobs):
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare, run = JOBS[job]
    prepare(n_jobs)
    Path(os.environ["KILLS_LOG"]).with_name("ready").touch()
    (folder / "result").write_bytes(run(folder, n_jobs))


def _end_with_parent():
    os.read(0, 1)  # returns when the other end of the pipe is closed
    os.killpg(0, signal.SIGTERM)  # joblib's trackers of temporary files outlive it and tidy up


# ------------------------------------------------------------------------ in the one that kills


class Run:
    """One process at work on a folder, with a process group of its own as in a terminal."""

    def __init__(self, job, n_jobs, folder, notes, dies_at=0):
        self.ready = notes / "ready"
        self.ready.unlink(missing_ok=True)
        self.errors = notes / "stderr"
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        temporary = str(folder / "tmp")
        surroundings = {"KILLS_LOG": str(notes / "log"), "OMP_NUM_THREADS": "1"}
        surroundings |= {"TMPDIR": temporary, "JOBLIB_TEMP_FOLDER": temporary}
        surroundings["KILLS_AT"] = str(dies_at)
        command = [sys.executable, __file__, "--child", job, "--folder", str(folder)]
        if STOPPED.is_set():
            raise RuntimeError("stopped")
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen(
                [*command, "--n-jobs", str(n_jobs)],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                env=os.environ | surroundings,
            )
        RUNNING.add(self.process.pid)

    def wait_until_ready(self):
        while not self.ready.exists():
            self.check()
            time.sleep(0.01)

    def ends_within(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self.check()
        return True

    def dies(self):
        """Whether it kills itself before it is done."""
        self.process.wait(LONGEST_S)
        if self.process.returncode == -signal.SIGKILL:
            return True
        self.check()
        return False

    def check(self):
        if self.process.poll():
            raise RuntimeError(f"a run failed:\n{self.errors.read_text()}")

    def interrupt(self):
        """Ctrl-C; whether it was obeyed."""
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            send(signal.SIGKILL, self.process.pid)
            return False
        return True

    def kill(self):
        """Without warning, and the first process only: its workers have to notice."""
        self.process.kill()
        self.process.wait()


def send(number, group):
    """A signal to a process group; whether there is one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def orphans(groups):
    """How many of the process groups still live after a while; they are ended."""
    alive = _wait_for(groups, ORPHAN_S)
    for group in alive:
        send(signal.SIGTERM, group)  # trackers of temporary files outlive it and tidy up
    for group in _wait_for(alive, PATIENCE_S):
        send(signal.SIGKILL, group)
    for group in groups:
        # What a tracker that was killed too could not remove.
        for semaphore in Path("/dev/shm").glob(f"sem.loky-{group}-*"):
            semaphore.unlink(missing_ok=True)
    RUNNING.difference_update(groups)
    return len(alive)


def _wait_for(groups, seconds):
    """Those that still live after so long."""
    end = time.monotonic() + seconds
    while (alive := [group for group in groups if send(0, group)]) and time.monotonic() < end:
        time.sleep(0.1)
    return alive


def campaign(name, n_kills, seed, work, *, n_kinds):
    """Kill runs of one kind until there were enough kills; one row of the table."""
    start = time.perf_counter()
    job, n_jobs, piece = CAMPAIGNS[name]
    rng = np.random.default_rng([seed, list(CAMPAIGNS).index(name)])
    place = work / name.replace(", ", "-").replace(" ", "-")
    whole, notes = _folders(place, "undisturbed")
    run = Run(job, n_jobs, whole, notes)
    run.wait_until_ready()
    begin = time.perf_counter()
    if not run.ends_within(LONGEST_S):
        raise RuntimeError(f"{name}: an undisturbed run took more than {LONGEST_S} s")
    seconds = time.perf_counter() - begin
    orphans([run.process.pid])
    expected, files, needed = _result(whole), _names(whole), _count(notes)

    row = {"kills": 0, "in writing": 0, "Ctrl-C": 0, "deaf to it": 0, "runs": 0, "equal": 0}
    row |= {"begun again": 0, "of finished": 0, "debris": 0, "orphans": 0}
    debris = set()
    while row["kills"] < n_kills:
        folder, notes = _folders(place, f"run-{row['runs']}")
        groups, finished, kills_before = [], {}, row["kills"]
        while True:
            finished = _finished(folder) | finished
            enough, turn = row["kills"] == n_kills, row["kills"] % n_kinds
            in_writing = turn == 1 and not enough
            dies_at = int(rng.integers(1, MOST_FILES + 1)) if in_writing else 0
            run = Run(job, n_jobs, folder, notes, dies_at)
            groups.append(run.process.pid)
            if in_writing:
                if not run.dies():
                    break
                row["in writing"] += 1
            else:
                run.wait_until_ready()
                if run.ends_within(LONGEST_S if enough else rng.uniform(0, seconds)):
                    break
                if enough:
                    raise RuntimeError(f"{name}: a continued run took more than {LONGEST_S} s")
                if turn == 0:
                    run.kill()
                else:
                    row["Ctrl-C"] += 1
                    row["deaf to it"] += not run.interrupt()
            row["kills"] += 1
            print(f"{name}: {row['kills']} of {n_kills} kills", file=sys.stderr)
        row["orphans"] += orphans(groups)
        row["runs"] += 1
        row["equal"] += _result(folder) == expected
        again = _count(notes) - needed
        row["begun again"] += again
        # A kill costs what was in progress, in each process.
        row["of finished"] += max(0, again - piece * n_jobs * (row["kills"] - kills_before))
        now = _finished(folder)
        row["of finished"] += sum(now.get(path) != stamp for path, stamp in finished.items())
        found = _names(folder) - files
        row["debris"] += len(found)
        debris |= {Path(path).name for path in found}
    row["one run (s)"] = round(seconds, 1)
    row["all (s)"] = round(time.perf_counter() - start)
    return row, sorted(debris)


def _folders(place, name):
    notes = place / f"{name}-notes"
    notes.mkdir(parents=True)
    return place / name, notes


def _result(folder):
    return (folder / "result").read_bytes()


def _names(folder):
    """Every file and folder, by its path."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _count(notes):
    log = notes / "log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def _finished(folder):
    """Finished fits and patients that are kept, and what would change if one were done again."""
    # What a killed run was writing has a name that begins with a dot.
    kept = [*(folder / "finished").rglob("output.pkl"), *(folder / "scans").rglob("sub-*.json")]
    return {path: path.stat().st_ino for path in kept}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="in each campaign")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--campaign", nargs="+", choices=list(CAMPAIGNS), help="only these")
    parser.add_argument("--ctrl-c", action="store_true", help="every third kill is Ctrl-C")
    parser.add_argument("--at-once", type=int, default=1, help="campaigns of one process")
    for hidden in ("--child", "--folder", "--n-jobs"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, Path(options.folder), int(options.n_jobs))

    start = time.perf_counter()
    chosen = list(CAMPAIGNS) if options.campaign is None else options.campaign
    single = [name for name in chosen if CAMPAIGNS[name][1] == 1]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        cohort = make_stroke_cohort(
            N_PATIENTS, spacing_mm=8, folder=work / "cohort", random_state=0
        )
        pd.to_pickle(cohort, work / "cohort.pkl")

        def one(name):
            n_kinds = 3 if options.ctrl_c else 2
            return campaign(name, options.kills, options.seed, work, n_kinds=n_kinds)

        try:
            # Perhaps side by side where each needs one core, then those that need two.
            with ThreadPoolExecutor(options.at_once) as pool:
                futures = [pool.submit(one, name) for name in single]
                rows = [future.result() for future in futures]
            rows += [one(name) for name in chosen if name not in single]
        except BaseException:
            STOPPED.set()
            raise
        finally:
            for group in list(RUNNING):
                send(signal.SIGKILL, group)

    table = pd.DataFrame([row for row, _ in rows], index=[*single, *chosen[len(single) :]])
    print(f"SIMULATED: {N_PATIENTS} patients, {N_WRITTEN} that are written, synthetic heads")
    print(table.T.to_string())
    for name, (_, debris) in zip(table.index, rows, strict=True):
        if debris:
            print(f"{name}: left behind {', '.join(debris[:8])}{' ...' * (len(debris) > 8)}")
    print(f"orphans: killed runs whose workers lived {ORPHAN_S} s longer (joblib: up to 300 s)")
    print(f"{time.perf_counter() - start:.0f} s in all")
    bars = {
        "every result equals that of the undisturbed run bit for bit": table["equal"].equals(
            table["runs"]
        ),
        "nothing that was finished is done again": not table["of finished"].any(),
        "no file of a killed run is left": not table["debris"].any(),
        "Ctrl-C ends a run": not table["deaf to it"].any(),
    }
    for name, held in bars.items():
        print(f"{'held  ' if held else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
