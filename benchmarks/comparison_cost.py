"""What a comparison costs: how often it reads each image, and its time against a plain loop.

A ladder, the CNN on stitched slices, the CNN with tabular values and the two stacked, on FLAIR of
the Stroke Outcome Optimization Project, without `memory`. Openings of the picture files are counted
by Python's audit events, in worker processes too, so that no way to read them is overlooked. The
loop fits and predicts the same clones in the same folds, and every one reads its own images; the
two are compared by processor time (one process, one thread), which other work does not disturb.
With more epochs training takes the greater part, and the ratio falls.

    PROGNOSIS_DATA=datasets python benchmarks/comparison_cost.py [--patients 200] [--epochs 1]
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone

from prognosis import LesionSize, compare, load_soop
from prognosis.commands.compare import DEFAULTS
from prognosis.splits import make_splits
from prognosis.studies.published import build_study

LEAST_RATIO = 1.3
N_THREADS = 2


def log_openings(path):
    """From now on this process adds to a file what pictures it opens."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(event, arguments):
        if event == "open" and str(arguments[0]).endswith(".png"):
            os.write(log, f"{arguments[0]}\n".encode())

    sys.addaudithook(write)  # such a hook stays; a later one writes elsewhere


def count_openings(run, X, n_jobs):
    """What `run(n_jobs)` returns, and how often it opens each picture of the cohort."""
    with tempfile.TemporaryDirectory() as folder:
        log = str(Path(folder) / "openings")
        log_openings(log)
        with joblib.parallel_config("loky", initializer=log_openings, initargs=(log,)):
            result = run(n_jobs)
        counts = Counter(Path(log).read_text().splitlines())
    return result, np.array([counts[path] for path in X["flair"]])


def plain_loop(models, X, y, cv, seed):
    """What `compare` does, without anything shared: the probabilities, as in `Comparison`."""
    rows = []
    splits = make_splits(cv, X, y, classification=True, groups=None, random_state=seed)
    for split in splits:
        for name, model in models.items():
            fitted = clone(model).fit(X.iloc[split.train], y.iloc[split.train])
            test = X.iloc[split.test]
            rows.append(
                pd.DataFrame(
                    {
                        "model": name,
                        "patient": test.index,
                        "prediction": fitted.predict(test),
                        "probability": fitted.predict_proba(test)[:, 1],
                    }
                )
            )
    return pd.concat(rows)


def timed(call, *arguments):
    """What a call returns, with its wall-clock and processor time in seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = call(*arguments)
    return result, np.array([time.perf_counter() - wall, time.process_time() - processor])


def describe(counts):
    total = f"{counts.sum()} for {len(counts)} pictures"
    return f"{total}, each {counts.min()} to {counts.max()} times"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--cv", default="3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loop-only", action="store_true", help="only time the plain loop")
    options = parser.parse_args()
    X, y = load_soop(n_jobs=N_THREADS)
    X, y = X.iloc[: options.patients], y.iloc[: options.patients]
    X = LesionSize("lesion", n_jobs=N_THREADS).fit_transform(X)
    models = build_study(
        X,
        y,
        image="flair",
        tabular=["lesion_ml", *DEFAULTS["soop"]["tabular"]],
        mosaic_size=DEFAULTS["soop"]["mosaic_size"],
        epochs=options.epochs,
        random_state=options.seed,
    ).models
    print(f"{len(X)} patients, {options.cv} folds, {options.epochs} epochs: {', '.join(models)}")
    # Libraries load and files come into the system's cache before the clock starts.
    warm_up = list(models)[-3]
    clone(models[warm_up]).set_params(epochs=1).fit(X, y).predict_proba(X)

    def comparison(n_jobs):
        return compare(models, X, y, cv=options.cv, n_jobs=n_jobs, random_state=options.seed)

    def loop():
        return plain_loop(models, X, y, options.cv, options.seed)

    if options.loop_only:
        _, (wall, processor) = timed(loop)
        print(f"plain loop: {wall:.1f} s, {processor:.1f} s of processor time")
        return 0
    (result, ours), counts = count_openings(lambda n: timed(comparison, n), X, 1)
    print(f"openings, one process: {describe(counts)}")
    by_hand, theirs = timed(loop)
    for name, (wall, processor) in {"compare": ours, "plain loop": theirs}.items():
        print(f"{name}: {wall:.1f} s, {processor:.1f} s of processor time")
    wall_ratio, ratio = theirs / ours
    print(f"plain loop / compare: {wall_ratio:.2f} by the clock, {ratio:.2f} by processor time")
    parallel, counts_parallel = count_openings(comparison, X, 2)
    print(f"openings, two processes: {describe(counts_parallel)}")

    keys = ["model", "patient"]
    columns = [*keys, "prediction", "probability"]
    ours, theirs, other = (
        table[columns].sort_values(keys, ignore_index=True)
        for table in (
            result.predictions,
            by_hand,
            parallel.predictions,
        )
    )
    bars = {
        "one process reads every image exactly once": (counts == 1).all(),
        "two processes read every image exactly once": (counts_parallel == 1).all(),
        f"compare takes {ratio:.2f} x less work than the plain loop (aim {LEAST_RATIO})": ratio
        >= LEAST_RATIO,
        "all three predict the same, bit for bit": ours.equals(theirs) and ours.equals(other),
    }
    for name, held in bars.items():
        print(f"{'held  ' if held else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
