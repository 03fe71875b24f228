"""What the place, the number and the size of lesions add to the table on real patients.

Poor outcome (mRS above 2) in the development part of the Stroke Outcome Optimization Project, five
stratified folds with seeds 0 to 3; AUC is the mean over the four repeats of the pooled out-of-fold
AUC, and DeLong's test compares the probabilities averaged over the repeats with those of the
ladder (size, NIHSS, age) in the same run. Everything is learnt inside the fold. "Permuted place"
gives each patient the loads of another of like lesion size: what is left is no place.

    python benchmarks/place.py [--data-home ../shared/datasets] [--memory FOLDER] [--rows WORD ...]
"""

import argparse
import os
import sys
import time

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from prognosis import BlockEncoder, LesionCount, LesionKernel, RegionLoad, load_soop
from prognosis.evaluation.statistics.auc import delong_test
from prognosis.studies.place import PENALTIES, SMALLEST_REGION_VOXELS

REPEATS, FOLDS, CUT = 4, 5, 2
ATLASES = ["natbrainlab", "jhu", "jhu189", "jhu-white-matter", "aal", "desikan_killiany"]
PENALTY = {"natbrainlab": 10.0, "jhu": 5.0, "jhu189": 5.0, "jhu-white-matter": 10.0, "aal": 30.0}
LADDER, FAIR = "T0 ladder: ml, NIHSS, age", "T1 fair ladder: ml, log NIHSS, age"
SEVERITY = ["lesion_ml", "nihss", "age"]
COUNTED = ["lesion_ml", "nihss", "age", "log_lesion_count"]
BARS = {"place": 0.840, "gain": 0.040, "nested": 0.832, "no NIHSS": 0.825}


def measured(X, memory):
    """The table with everything that is measured of the masks; seconds for each measurement."""
    steps = {"count": LesionCount(log=True, volume="lesion_ml", memory=memory)}
    atlases = {**{name: name for name in ATLASES}, "territories": X.attrs["cohort"]["atlas"]}
    for name, atlas in atlases.items():
        steps[name] = RegionLoad(
            atlas=atlas, prefix=f"{name}:", least_voxels=SMALLEST_REGION_VOXELS, memory=memory
        )
    table, seconds = X, {}
    for name, step in steps.items():
        start = time.perf_counter()
        table = step.fit_transform(table)
        seconds[name] = time.perf_counter() - start
    # The kernel learns from patients: it stays a step of its model, and this only fills the cache.
    start = time.perf_counter()
    LesionKernel(memory=memory).fit(X)
    seconds["kernel"] = time.perf_counter() - start
    return table, seconds


def permuted(X, atlas, seed=0):
    """The loads of each patient exchanged within groups of ten of like lesion size."""
    rng = np.random.default_rng(seed)
    columns = [name for name in X.columns if name.startswith(f"{atlas}:")]
    order = X["lesion_ml"].to_numpy().argsort(kind="stable")
    source = np.empty(len(X), int)
    for group in np.array_split(order, len(X) // 10):
        source[group] = rng.permutation(group)
    exchanged = X[columns].iloc[source].set_axis(X.index)
    return exchanged.rename(columns=lambda name: f"permuted {name}")


def learner(ordinal):
    """Logistic regression, or proportional odds where this version has it."""
    if not ordinal:
        return LogisticRegression(C=1.0, max_iter=2000)
    from prognosis.estimators.ordinal.classifier import OrdinalClassifier

    return OrdinalClassifier(alpha=1.0)


def model(tabular, atlas=None, *, log=("nihss",), penalty=None, ordinal=False, nested=False):
    """One row of the table: tabular columns, and a block of places with its penalty."""
    blocks = {} if atlas is None else {"place": f"{atlas}:*"}
    encode = BlockEncoder(
        tabular,
        blocks=blocks,
        penalties={"place": penalty or PENALTY.get(atlas, 10.0)} if blocks else None,
        log=[name for name in log if name in tabular],
    )
    steps = Pipeline([("encode", encode), ("model", learner(ordinal))])
    if not nested:
        return steps
    grid = [
        {
            "encode__tabular": [table],
            "encode__blocks": [{"place": f"{name}:*"}],
            "encode__penalties": [{"place": penalty} for penalty in PENALTIES],
        }
        for table in (SEVERITY, COUNTED)
        for name in ("natbrainlab", "jhu", "jhu-white-matter", "aal", "territories")
    ]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return GridSearchCV(steps, grid, scoring=_negative_log_loss, cv=folds)


def kernel_model(memory, ordinal):
    """Whole masks instead of regions."""
    encode = BlockEncoder(
        COUNTED,
        blocks={"kernel": "kernel_*"},
        penalties={"kernel": 50.0},
        log=["nihss"],
        root=None,
    )
    return Pipeline(
        [("kernel", LesionKernel(memory=memory)), ("encode", encode), ("model", learner(ordinal))]
    )


def rows(memory, ordinal):
    """The models by name."""
    kind = "PO" if ordinal else "LR"
    o = {"ordinal": ordinal}
    found = {
        LADDER: model(SEVERITY, log=()),
        FAIR: model(SEVERITY),
        f"TN: T1 + log count, {kind}": model(COUNTED, **o),
    }
    if ordinal:
        found[f"T0, {kind}"] = model(SEVERITY, log=(), **o)
        found[f"T1, {kind}"] = model(SEVERITY, **o)
        found["TN + natbrainlab, LR"] = model(COUNTED, "natbrainlab")
    found["T0 + count + natbrainlab, LR"] = model(COUNTED, "natbrainlab", log=())
    for name in [*ATLASES, "territories"]:
        found[f"TN + {name}, {kind}"] = model(COUNTED, name, **o)
    found[f"T1 + natbrainlab, {kind}"] = model(SEVERITY, "natbrainlab", **o)
    found[f"TN + permuted natbrainlab, {kind}"] = model(
        COUNTED, "permuted natbrainlab", penalty=10.0, **o
    )
    found[f"TN + kernel 4 mm, {kind}"] = kernel_model(memory, ordinal)
    found[f"no NIHSS: ml, age, count + natbrainlab, {kind}"] = model(
        ["lesion_ml", "age", "log_lesion_count"], "natbrainlab", **o
    )
    found[f"nested choice of table, atlas, penalty, {kind}"] = model(
        COUNTED, "natbrainlab", nested=True, **o
    )
    return found


def poor_chance(fitted, X):
    """Probability of a poor outcome."""
    fitted = getattr(fitted, "best_estimator_", fitted)
    if hasattr(fitted[-1], "predict_exceeding"):
        return fitted[-1].predict_exceeding(fitted[:-1].transform(X), CUT)
    return fitted.predict_proba(X)[:, 1]


def _negative_log_loss(fitted, X, y):
    chance = np.clip(poor_chance(fitted, X), 1e-6, 1 - 1e-6)
    poor = np.asarray(y) > (CUT if hasattr(fitted[-1], "predict_exceeding") else 0.5)
    return np.mean(np.where(poor, np.log(chance), np.log(1 - chance)))


def cross_validated(estimator, X, mrs, ordinal):
    """Out-of-fold probabilities, one row for each repeat."""
    poor = (mrs > CUT).astype(int)
    y = mrs if ordinal else poor
    found = np.full((REPEATS, len(X)), np.nan)
    for seed in range(REPEATS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for train, test in folds.split(X, poor):
            fitted = clone(estimator).fit(X.iloc[train], y.iloc[train])
            found[seed, test] = poor_chance(fitted, X.iloc[test])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", default=os.environ.get("PROGNOSIS_DATA"))
    parser.add_argument("--memory", default=None, help="folder for what is measured of the masks")
    parser.add_argument("--rows", nargs="*", default=[], help="only models whose name holds a word")
    options = parser.parse_args()
    X, mrs = load_soop(options.data_home, target="mrs")
    X, seconds = measured(X, options.memory)
    print("seconds to measure:", {name: round(value, 1) for name, value in seconds.items()})
    X = pd.concat([X, permuted(X, "natbrainlab")], axis=1)
    poor = (mrs > CUT).to_numpy()
    try:
        learner(True)
        ordinal = True
    except ImportError:
        ordinal = False
        print("no proportional odds in this version: logistic regression throughout")
    print(f"{len(X)} patients, {poor.sum()} with a poor outcome; {REPEATS} x {FOLDS} folds\n")
    base, results = None, {}
    for name, estimator in rows(options.memory, ordinal).items():
        if name != LADDER and options.rows and not any(word in name for word in options.rows):
            continue
        start = time.perf_counter()
        chances = cross_validated(estimator, X, mrs, name.endswith("PO"))
        auc = np.mean([roc_auc_score(poor, one) for one in chances])
        mean = chances.mean(axis=0)
        if base is None:
            base, base_auc, p = mean, auc, np.nan
        else:
            p = delong_test(poor, mean, base).p_value
        results[name] = auc
        print(
            f"{name:55} AUC {auc:.3f}  {auc - base_auc:+.3f}  p {p:7.4f}  "
            f"accuracy {np.mean((chances > 0.5) == poor):.3f}  "
            f"Brier {np.mean((chances - poor) ** 2):.4f}  {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return judged(results, "PO" if ordinal else "LR")


def judged(results, kind):
    """Print whether the bars hold; the exit status."""
    place = results.get(f"TN + natbrainlab, {kind}")
    if place is None or len(results) < 10:
        return 0
    without = results[f"no NIHSS: ml, age, count + natbrainlab, {kind}"]
    bars = {
        f"place at least {BARS['place']:.3f}": place >= BARS["place"],
        f"place at least {BARS['gain']:.3f} over the ladder": place
        >= results[LADDER] + BARS["gain"],
        "permuted place at most T1 + .005, or TN": results[f"TN + permuted natbrainlab, {kind}"]
        <= max(results[FAIR] + 0.005, results[f"TN: T1 + log count, {kind}"]),
        f"nested choice at least {BARS['nested']:.3f}": results[
            f"nested choice of table, atlas, penalty, {kind}"
        ]
        >= BARS["nested"],
        f"without NIHSS at least {BARS['no NIHSS']:.3f}": without >= BARS["no NIHSS"],
    }
    for name, held in bars.items():
        print(f"{'held  ' if held else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
