"""Does a run that is killed, at whatever moment, end as if nothing had happened?

Runs are killed at random moments and started again until they are done: `compare(resume=)` of a
SIMULATED cohort in one process and in two, and the training of a small segmenter with
`checkpoint=`. By turns the first process dies; all processes die between writing a file and giving
it its name; and Ctrl-C is pressed. The results have to equal those of undisturbed runs bit for bit,
and nothing of the killed ones may be left.

    python benchmarks/kills.py [--kills 20] [--seed 0]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from prognosis import StitchedSliceClassifier, compare, logistic_ladder, make_stroke_cohort

N_PATIENTS = 40
# What is run, and in how many processes.
CAMPAIGNS = {
    "compare, 1 process": ("compare", 1),
    "segmenter": ("segmenter", 1),
    "compare, 2 processes": ("compare", 2),
}
MOST_FILES = 12  # that a run writes before it dies in writing
LONGEST_S = 300  # a run that takes longer hangs
PATIENCE_S = 30  # until a process that should end is called deaf
ORPHAN_S = 5  # until a worker whose first process was killed is called an orphan

STOPPED = threading.Event()
RUNNING = set()  # process groups, so that none survives this script


# ---------------------------------------------------------------- in the process that is killed


class NotedCNN(StitchedSliceClassifier):
    """Writes a line whenever a fit begins."""

    def fit(self, X, y, sample_weight=None):
        _note()
        return super().fit(X, y, sample_weight)


def _note():
    with open(os.environ["KILLS_LOG"], "a") as log:
        log.write("begun\n")


def _die_in_writing():
    """End all processes when this one is about to name its so-manieth file, if it is to."""
    left = int(os.environ["KILLS_AT"])

    def count(event, arguments):
        nonlocal left
        if event == "os.rename":
            left -= 1
            if left == 0:
                os.killpg(0, signal.SIGKILL)

    if left:
        sys.addaudithook(count)


def _load_engine():
    import imaging.learning.engine
    import imaging.nets.classifiers  # noqa: F401

    _die_in_writing()
    time.sleep(0.2)  # so that no worker takes the part of another


def prepare_compare(n_jobs):
    """Workers load their libraries before the clock starts: kills are to hit the work."""
    if n_jobs == 1:
        _load_engine()
    else:
        joblib.Parallel(n_jobs, batch_size=1)(joblib.delayed(_load_engine)() for _ in range(n_jobs))


def run_compare(folder, n_jobs):
    X, y = pd.read_pickle(folder.parents[1] / "cohort.pkl")
    models = logistic_ladder([["severity"], ["severity", "recovery_years"]])
    models["cnn"] = NotedCNN(
        "t1w", mosaic_size=64, epochs=2, memory=folder / "images", random_state=0
    )
    result = compare(
        models, X, y, cv="3x2", n_jobs=n_jobs, random_state=0, resume=folder / "finished"
    )
    # Floats are written so that they are read back exactly.
    return (result.predictions.to_csv() + result.table.to_csv()).encode()


def prepare_segmenter(n_jobs):
    import imaging.voxelwise.fitting  # noqa: F401
    from imaging.voxelwise.samples import PatchStream

    _die_in_writing()
    go_to_epoch = PatchStream.at_epoch

    def noted(stream, epoch):
        _note()
        go_to_epoch(stream, epoch)

    PatchStream.at_epoch = noted


def run_segmenter(folder, n_jobs):
    from imaging.segmentation import LesionSegmenter
    from imaging.synthesis import LabelMapSource

    segmenter = LesionSegmenter(
        channels=(4, 8, 8),
        source=LabelMapSource(spacing_mm=8),
        spacing_mm=8,
        patch_size=16,
        epochs=20,
        steps_per_epoch=1,
        validation_samples=1,
        dropout=0.2,
        checkpoint=folder / "checkpoint",
        random_state=0,
    ).fit()
    weights = segmenter.network_.state_dict()
    history = json.dumps(segmenter.history_).encode()
    return b"".join(tensor.numpy().tobytes() for tensor in weights.values()) + history


def child(job, folder, n_jobs):
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare = {"compare": prepare_compare, "segmenter": prepare_segmenter}[job]
    run = {"compare": run_compare, "segmenter": run_segmenter}[job]
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


def campaign(name, n_kills, seed, work):
    """Kill runs of one kind until there were enough kills; one row of the table."""
    start = time.perf_counter()
    job, n_jobs = CAMPAIGNS[name]
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
            enough, turn = row["kills"] == n_kills, row["kills"] % 3
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
        row["orphans"] += orphans(groups)
        row["runs"] += 1
        row["equal"] += _result(folder) == expected
        again = _count(notes) - needed
        row["begun again"] += again
        # A kill costs what was in progress: one thing in each process.
        row["of finished"] += max(0, again - n_jobs * (row["kills"] - kills_before))
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
    """Finished fits that are kept, and what would change if one were done again."""
    stamps = {}
    for path in (folder / "finished").rglob("output.pkl"):
        status = path.stat()
        stamps[path] = (status.st_ino, status.st_mtime_ns)
    return stamps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="in each campaign")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--campaign", choices=list(CAMPAIGNS), help="only this one")
    for hidden in ("--child", "--folder", "--n-jobs"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, Path(options.folder), int(options.n_jobs))

    start = time.perf_counter()
    chosen = list(CAMPAIGNS) if options.campaign is None else [options.campaign]
    single = [name for name in chosen if CAMPAIGNS[name][1] == 1]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        cohort = make_stroke_cohort(
            N_PATIENTS, spacing_mm=8, folder=work / "cohort", random_state=0
        )
        pd.to_pickle(cohort, work / "cohort.pkl")

        def one(name):
            return campaign(name, options.kills, options.seed, work)

        try:
            # Side by side where each needs one core, then those that need two.
            with ThreadPoolExecutor(2) as pool:
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
    print(f"SIMULATED: {N_PATIENTS} patients, synthetic heads")
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
