"""Does imaging help where it should, and is it not called helpful where it carries nothing?

SIMULATED patients. First one cohort with planted regions: the ladder has to rise, and the CNN
combined with it has to come within six points of the best possible accuracy. Then null cohorts
whose image carries nothing beyond lesion size: how often is imaging called significant?

    python benchmarks/simulated_cohort.py [--patients 300] [--null-cohorts 30] [--out F]

With --out, what was fitted lies there, and a run that was stopped goes on.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

from sklearn.base import clone

from prognosis import (
    LesionSize,
    StitchedSliceClassifier,
    compare,
    logistic_ladder,
    make_stroke_cohort,
)
from prognosis.studies.published import build_study

TABULAR = ["severity", "recovery_years"]
SEEDS = 5  # networks averaged in the last model
MARGIN = 0.06
MOST_FALSE_ALARMS = 4  # of 30; 5 % would be 1.5
TESTS = [("accuracy", "corrected t"), ("accuracy", "t over patients"), ("auc", "DeLong")]


def planted(n_patients, n_jobs, memory, finished=None):
    """The study's models on one cohort with an imaging effect; whether the bars hold."""
    X, y = make_stroke_cohort(n_patients, random_state=0, n_jobs=n_jobs)
    study = build_study(
        X, y, image="t1w", tabular=TABULAR, lesion="lesion", memory=memory, random_state=0
    )
    network = study.models["stitched T1w + tabular"]
    averaged = {f"stitched T1w + tabular, {SEEDS} seeds": clone(network).set_params(n_seeds=SEEDS)}
    result = compare(
        {**study.models, **averaged},
        study.X,
        study.y,
        cv="5x2",
        baseline=study.baseline,
        n_jobs=n_jobs,
        random_state=0,
        resume=finished,
        verbose=1,
    )
    print(result, flush=True)
    accuracy = result.table["accuracy"]
    rungs = [accuracy[name] for name in ("size", "size + severity", study.baseline)]
    best = X.attrs["cohort"]["best_accuracy"]
    combined = {name: accuracy[name] for name in accuracy.index if "stitched T1w + " in name}
    print(f"\nladder: {' -> '.join(f'{value:.3f}' for value in rungs)}")
    for name, value in combined.items():
        print(f"{name}: {value:.3f}, {100 * (best - value):.1f} points below the best ({best:.3f})")
    rises = all(low < high for low, high in itertools.pairwise(rungs))
    return rises, max(combined.values()) >= best - MARGIN


def null(n_cohorts, n_patients, n_jobs, finished=None):
    """By test, in how many null cohorts imaging is called significantly better."""
    ladder = logistic_ladder([["lesion_ml", *TABULAR]], names=["ladder"])
    cnn = StitchedSliceClassifier(
        "t1w",
        tabular=["lesion_ml", *TABULAR],
        mosaic_size=64,
        extent="volume",
        epochs=8,
        random_state=0,
    )
    alarms = dict.fromkeys(TESTS, 0)
    for seed in range(n_cohorts):
        X, y = make_stroke_cohort(
            n_patients, imaging_effect=0, spacing_mm=8, random_state=1000 + seed
        )
        X = LesionSize().fit_transform(X)
        result = compare(
            {**ladder, "with image": cnn},
            X,
            y,
            cv="5x2",
            baseline="ladder",
            n_jobs=n_jobs,
            random_state=seed,
            resume=finished,
        )
        found = result.differences.query("model == 'with image'").set_index(["score", "test"])
        told = []
        for score, test in TESTS:
            row = found.loc[(score, test)]
            alarms[score, test] += int(row["difference"] > 0 and row["p"] < 0.05)
            told.append(f"{score} {row['difference']:+.3f} ({test}: p = {row['p']:.3f})")
        print(f"null cohort {seed}: {', '.join(told)}", flush=True)
    return alarms


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--null-cohorts", type=int, default=30)
    parser.add_argument("--null-patients", type=int, default=120)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--memory", default=None, help="folder for prepared images")
    parser.add_argument("--out", default=None, help="folder for what was fitted")
    options = parser.parse_args()
    finished = options.out and Path(options.out) / "finished"
    start = time.perf_counter()
    bars = {}
    if options.patients:
        rises, close = planted(options.patients, options.n_jobs, options.memory, finished)
        bars["the ladder rises step by step"] = rises
        bars["the combination is within 6 points of the best possible"] = close
        print(f"{time.perf_counter() - start:.0f} s\n")
    if options.null_cohorts:
        start = time.perf_counter()
        alarms = null(options.null_cohorts, options.null_patients, options.n_jobs, finished)
        print(f"{time.perf_counter() - start:.0f} s")
        for (score, test), count in alarms.items():
            bars[
                f"imaging called significantly better in {score} by {test} in {count} of "
                f"{options.null_cohorts} null cohorts (at most {MOST_FALSE_ALARMS})"
            ] = count <= MOST_FALSE_ALARMS
    for name, held in bars.items():
        print(f"{'held  ' if held else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
