"""What the place, the number and the size of lesions add to the table on real patients.

Poor outcome (mRS above 2) in the development part of the Stroke Outcome Optimization Project, five
stratified folds with seeds 0 to 3; AUC is the mean over the four repeats of the pooled out-of-fold
AUC. Two tests against the ladder (size, NIHSS, age) of the same run: DeLong's on the probabilities
averaged over the repeats, and the corrected resampled t-test on the AUC of the 20 folds. Everything
is learnt inside the fold. "Permuted place" gives each patient the loads of another of like lesion
size: what is left is no place. Further: a learning curve; how probabilities calibrate; NIHSS from
lesion and age; a cohort of SIMULATED chronic lesions; seconds to measure masks and to fit.

    python benchmarks/place.py [--data-home ../shared/datasets] [--parts timings models ...]
"""

import argparse
import os
import sys
import tempfile
import time

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVR

from prognosis import (
    BlockEncoder,
    LesionCount,
    LesionKernel,
    OrdinalClassifier,
    RegionLoad,
    load_soop,
    make_stroke_cohort,
    place_model,
    predict_exceeding,
)
from prognosis.evaluation.statistics.auc import delong_test
from prognosis.evaluation.statistics.significance import corrected_resampled_ttest
from prognosis.studies.place import PENALTIES, SMALLEST_REGION_VOXELS, OrdinalLogScore

REPEATS, FOLDS, CUT = 4, 5, 2
ATLASES = ["natbrainlab", "jhu", "jhu-white-matter", "aal", "desikan_killiany", "territories"]
PENALTY = {"natbrainlab": 10.0, "jhu": 5.0, "jhu-white-matter": 10.0, "aal": 30.0}
LADDER, FAIR = "T0: ml, NIHSS, age; LR (the ladder)", "T1: ml, log NIHSS, age; LR (fair ladder)"
COUNT = "TN: T1 + log count; PO"
PLACE = "TN + natbrainlab, PO: place_model()"
PERMUTED = "TN + permuted natbrainlab, PO"
FAIR_PERMUTED = "T1 + permuted natbrainlab, PO"
NESTED = "table, atlas, penalty chosen inside the fold by AUC; PO"
NESTED_LOG = "table, atlas, penalty chosen inside by log loss; PO"
WITHOUT = "no NIHSS: ml, age, log count + natbrainlab; PO"
WITHOUT_GAP = "no NIHSS, brain-age gap; PO"
SEVERITY = ["lesion_ml", "nihss", "age"]
COUNTED = ["lesion_ml", "nihss", "age", "log_lesion_count"]
PARTS = ["timings", "models", "curve", "nihss", "simulated"]


def measured(X, memory):
    """The table with everything that is measured of the masks and needs no training patients."""
    steps = [LesionCount(log=True, volume="lesion_ml", memory=memory, n_jobs=2)]
    for name in ATLASES:
        atlas = X.attrs["cohort"]["atlas"] if name == "territories" else name
        steps.append(
            RegionLoad(
                atlas=atlas,
                prefix=f"{name}:",
                least_voxels=SMALLEST_REGION_VOXELS,
                memory=memory,
                n_jobs=2,
            )
        )
    return make_pipeline(*steps).fit_transform(X)


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


def model(tabular, atlas=None, *, log=("nihss",), penalty=None, ordinal=True):
    """One row of the table: tabular columns, and a block of places with its penalty."""
    encode = BlockEncoder(
        tabular,
        blocks={} if atlas is None else {"place": f"{atlas}:*"},
        penalties=None if atlas is None else {"place": penalty or PENALTY.get(atlas, 10.0)},
        log=[name for name in log if name in tabular],
    )
    learner = OrdinalClassifier(slopes="each") if ordinal else LogisticRegression(max_iter=2000)
    return Pipeline([("encode", encode), ("model", learner)])


def nested(scoring):
    """Table, atlas and penalty chosen inside the fold, 50 candidates."""
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
    return GridSearchCV(model(COUNTED, "natbrainlab"), grid, scoring=scoring, cv=folds)


def _auc_score(fitted, X, y):
    return roc_auc_score(np.asarray(y) > CUT, predict_exceeding(fitted, X, CUT))


def ready(memory, **options):
    """`place_model` as it comes, but that the table has its measured columns already."""
    found = place_model(memory=memory, n_jobs=2, **options)
    return Pipeline([step for step in found.steps if step[0] != "size"])


def rows(memory):
    """The models by name."""
    found = {
        LADDER: model(SEVERITY, log=(), ordinal=False),
        FAIR: model(SEVERITY, ordinal=False),
        "T0, PO": model(SEVERITY, log=()),
        "T0, PO, one slope for all steps": model(SEVERITY, log=()).set_params(model__slopes="one"),
        "T1, PO": model(SEVERITY),
        COUNT: model(COUNTED),
        "T0 + count + natbrainlab, LR": model(COUNTED, "natbrainlab", log=(), ordinal=False),
        "TN + natbrainlab, LR": model(COUNTED, "natbrainlab", ordinal=False),
        "T1 + natbrainlab, PO": model(SEVERITY, "natbrainlab"),
        PLACE: ready(memory),
        "the same, one slope for all steps": ready(memory).set_params(model__slopes="one"),
    }
    for name in ATLASES[1:]:
        found[f"TN + {name}, PO"] = model(COUNTED, name)
    found[PERMUTED] = model(COUNTED, "permuted natbrainlab")
    found[FAIR_PERMUTED] = model(SEVERITY, "permuted natbrainlab")
    found["TN + whole masks, PO"] = ready(memory, representation="kernel", penalty=50.0)
    found["TN + tracts or masks, penalty chosen inside the fold, PO"] = ready(
        memory, representation="auto", penalty="auto", cut=CUT
    )
    found[WITHOUT] = ready(memory, tabular=["age"])
    found[WITHOUT_GAP] = ready(memory, tabular=["age"], brain_age="flair")
    found["TN + natbrainlab + brain-age gap, PO"] = ready(memory, brain_age="flair")
    found[NESTED] = nested(_auc_score)
    found[NESTED_LOG] = nested(OrdinalLogScore(CUT))
    return found


def folds_of(poor):
    """Training and test rows of the 20 folds, with the number of the repeat."""
    for seed in range(REPEATS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for train, test in folds.split(poor, poor):
            yield seed, train, test


def cross_validated(estimator, X, mrs):
    """Out-of-fold probabilities of a poor outcome, one row for each repeat."""
    poor = (mrs > CUT).astype(int)
    binary = isinstance(getattr(estimator, "steps", [(0, 0)])[-1][1], LogisticRegression)
    found = np.full((REPEATS, len(X)), np.nan)
    for seed, train, test in folds_of(poor):
        fitted = clone(estimator).fit(X.iloc[train], (poor if binary else mrs).iloc[train])
        cut = 0 if binary else CUT
        found[seed, test] = predict_exceeding(fitted, X.iloc[test], cut)
    return found


def by_fold(poor, chances):
    """AUC of every fold."""
    return np.array(
        [roc_auc_score(poor[test], chances[seed, test]) for seed, _, test in folds_of(poor)]
    )


def calibration_slope(poor, chances):
    """Slope of the outcome on the logit of the prediction: 1 is right, above 1 too timid."""
    slopes = []
    for one in np.clip(chances, 1e-6, 1 - 1e-6):
        logit = np.log(one / (1 - one))[:, None]
        slopes.append(LogisticRegression(C=np.inf).fit(logit, poor).coef_[0, 0])
    return float(np.mean(slopes))


def models(X, mrs, memory):
    """The table of models, and its bars."""
    poor = (mrs > CUT).to_numpy().astype(int)
    print(f"{len(X)} patients, {poor.sum()} with a poor outcome; {REPEATS} x {FOLDS} folds\n")
    print(f"{'model':58} AUC   gain   p DeLong  p corrected t  accuracy  Brier  slope    s")
    base, auc, gain, p_of = None, {}, {}, {}
    for name, estimator in rows(memory).items():
        start = time.perf_counter()
        chances = cross_validated(estimator, X, mrs)
        auc[name] = np.mean([roc_auc_score(poor, one) for one in chances])
        if base is None:
            base = chances
            p = corrected = np.nan
        else:
            p = delong_test(poor, chances.mean(axis=0), base.mean(axis=0)).p_value
            corrected = corrected_resampled_ttest(
                by_fold(poor, chances) - by_fold(poor, base), 1 / (FOLDS - 1)
            ).p_value
        gain[name], p_of[name] = auc[name] - auc[LADDER], (p, corrected)
        slope = calibration_slope(poor, chances)
        print(
            f"{name:58} {auc[name]:.3f} {gain[name]:+.3f}  {p:8.4f}  {corrected:13.4f}  "
            f"{np.mean((chances > 0.5) == poor):8.3f}  {np.mean((chances - poor) ** 2):.4f} "
            f"{slope:5.2f} {time.perf_counter() - start:5.0f}",
            flush=True,
        )
        if name == PLACE:
            place_slope = slope
    return [
        bar("place_model: AUC", auc[PLACE], ">=", 0.840),
        bar("place_model: gain over the ladder", gain[PLACE], ">=", 0.040),
        bar("place_model: p by DeLong", p_of[PLACE][0], "<", 0.01),
        bar("place_model: p by the corrected t-test", p_of[PLACE][1], "<", 0.01),
        bar("place_model: calibration slope", place_slope, "<=", 1.1),
        bar("permuted place: AUC less the same table without", auc[PERMUTED] - auc[COUNT], "<=", 0),
        bar("permuted place, no count: AUC", auc[FAIR_PERMUTED], "<=", auc[FAIR]),
        bar("nested choice: AUC", auc[NESTED], ">=", 0.832),
        bar("the same by log loss: AUC", auc[NESTED_LOG], ">=", 0.832),
        bar("without NIHSS: AUC", auc[WITHOUT], ">=", 0.825),
        bar("without NIHSS, with the gap: AUC", auc[WITHOUT_GAP], ">=", 0.825),
    ]


def curve(X, mrs):
    """AUC by the number of training patients."""
    poor = (mrs > CUT).to_numpy().astype(int)
    shown = {LADDER: model(SEVERITY, log=(), ordinal=False), PLACE: model(COUNTED, "natbrainlab")}
    print(
        "\ntraining patients    " + "  ".join(f"{share:5.0%}" for share in (0.2, 0.4, 0.6, 0.8, 1))
    )
    for name, estimator in shown.items():
        line = []
        for share in (0.2, 0.4, 0.6, 0.8, 1):
            chances = np.full((REPEATS, len(X)), np.nan)
            for seed, train, test in folds_of(poor):
                train = np.random.default_rng(seed).permutation(train)[: round(share * len(train))]
                y = (mrs > CUT).astype(int) if name == LADDER else mrs
                fitted = clone(estimator).fit(X.iloc[train], y.iloc[train])
                cut = 0 if name == LADDER else CUT
                chances[seed, test] = predict_exceeding(fitted, X.iloc[test], cut)
            line.append(np.mean([roc_auc_score(poor, one) for one in chances]))
        print(f"{name[:20]:20} " + "  ".join(f"{value:5.3f}" for value in line))
    return []


def nihss(data_home, memory):
    """Severity from lesion and age: r of the pooled predictions, ten folds drawn twice."""
    X, y = load_soop(data_home, target="nihss")
    X = measured(X, memory)
    X["cube root of ml"] = np.cbrt(X["lesion_ml"])
    X["log ml"] = np.log(X["lesion_ml"] + 0.1)
    tabular = ["lesion_ml", "cube root of ml", "log ml", "age", "log_lesion_count"]
    blocks = {name: f"{name}:*" for name in ("natbrainlab", "jhu", "territories")}
    # Weights .35, .35 · .6 and .35 beside .5 for the table: a block is divided by √penalty.
    weight = {"natbrainlab": 0.7, "jhu": 0.42, "territories": 0.7}
    penalties = {name: 1 / value**2 for name, value in weight.items()}
    encode = BlockEncoder(tabular, blocks=blocks, penalties=penalties)
    half = FunctionTransformer(_halved)
    table = BlockEncoder(["lesion_ml", "age"])
    alphas = np.logspace(-1, 4, 11)
    shown = {
        "ml and age, ridge": make_pipeline(table, RidgeCV(alphas)),
        "ml and age, SVR": make_pipeline(table, SVR(C=10, gamma=0.05, epsilon=1)),
        "place, ridge": make_pipeline(encode, RidgeCV(alphas)),
        "place, SVR": make_pipeline(encode, half, SVR(C=10, gamma=0.05, epsilon=1)),
        "place_model(outcome='continuous')": place_model(
            tabular=["age"], outcome="continuous", memory=memory, n_jobs=2
        ),
    }
    print(f"\nNIHSS of {len(X)} patients, r (published .550)")
    found = {}
    for name, estimator in shown.items():
        used = X[["lesion", "age"]] if name.startswith("place_model") else X
        repeats = [
            np.corrcoef(y, cross_val_predict(estimator, used, y, cv=KFold(10, **drawn)))[0, 1]
            for drawn in ({"shuffle": True, "random_state": seed} for seed in range(2))
        ]
        found[name] = np.mean(repeats)
        print(f"{name:58} {found[name]:.3f}", flush=True)
    return [bar("NIHSS from lesion and age: r", found["place, SVR"], ">=", 0.66)]


def _halved(X):
    return X / 2


def simulated(memory):
    """SIMULATED chronic lesions, of whose outcome three planted regions decide."""
    X, y = make_stroke_cohort(300, random_state=11, n_jobs=2)
    tabular = ["severity", "recovery_years"]
    ready = {"tabular": tabular, "penalty": "auto", "memory": memory, "n_jobs": 2}
    loads = make_pipeline(
        LesionCount(volume="lesion_ml", memory=memory),
        RegionLoad(atlas="aal", prefix="aal:", memory=memory),
    )
    ladder = BlockEncoder(["lesion_ml", *tabular])
    regions = BlockEncoder(["lesion_ml", *tabular], blocks={"aal": "aal:*"}, root=None)
    by_region = GridSearchCV(
        Pipeline([("encode", regions), ("model", LogisticRegression(max_iter=2000))]),
        {"encode__penalties": [{"aal": penalty} for penalty in (0.1, 0.3, *PENALTIES)]},
        scoring="neg_log_loss",
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0),
    )
    shown = {
        "size, severity, years; LR": make_pipeline(loads, ladder, LogisticRegression()),
        "AAL loads + these, LR, penalty chosen": make_pipeline(loads, by_region),
        "place_model(): tracts": place_model(tabular=tabular, memory=memory, n_jobs=2),
        "place_model(atlas='aal', penalty='auto')": place_model(atlas="aal", **ready),
        "place_model(representation='kernel', penalty='auto')": place_model(
            representation="kernel", **ready
        ),
        "place_model(representation='auto', penalty='auto')": place_model(
            representation="auto", **ready
        ),
    }
    print("\n300 SIMULATED patients with chronic lesions (seed 11), AUC, 4 x 5 folds")
    found = {}
    for name, estimator in shown.items():
        start = time.perf_counter()
        repeats = []
        for seed in range(REPEATS):
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
            chance = cross_val_predict(estimator, X, y, cv=folds, method="predict_proba")[:, 1]
            repeats.append(roc_auc_score(y, chance))
        found[name] = np.mean(repeats)
        print(f"{name:58} {found[name]:.3f}  {time.perf_counter() - start:.0f} s", flush=True)
    loads, _, place, kernel, _ = list(found)[1:]
    return [
        bar("simulated: place_model less AAL loads", found[place] - found[loads], ">=", -0.02),
        bar("simulated: LesionKernel less AAL loads", found[kernel] - found[loads], ">=", -0.02),
    ]


def timings(X, mrs):
    """Seconds to measure masks on two cores, cold and kept, and to fit one ordinal model."""
    seconds = []
    with tempfile.TemporaryDirectory() as memory:
        reading = {"memory": memory, "n_jobs": 2}
        for _ in range(2):
            start = time.perf_counter()
            table = LesionCount(log=True, volume="lesion_ml", **reading).fit_transform(X)
            table = RegionLoad(atlas="natbrainlab", prefix="natbrainlab:", **reading).fit_transform(
                table
            )
            LesionKernel(**reading).fit(X)
            seconds.append(time.perf_counter() - start)
    features = model(COUNTED, "natbrainlab").fit(table, mrs)[:-1].transform(table)
    features = np.hstack([VarianceThreshold().fit_transform(features), np.ones((len(X), 1))])
    each = []
    for _ in range(20):
        start = time.perf_counter()
        OrdinalClassifier().fit(features, mrs)
        each.append(time.perf_counter() - start)
    print(f"\n{len(X)} patients: counts, tracts, masks {seconds[0]:.1f} s, then {seconds[1]:.2f} s")
    print(f"proportional odds on {features.shape}: {1000 * np.median(each):.0f} ms")
    return [
        bar("seconds, cold", seconds[0], "<=", 15),
        bar("seconds, kept in memory=", seconds[1], "<=", 1),
        bar("ms of one ordinal fit", 1000 * np.median(each), "<=", 50),
    ]


def bar(name, value, sign, limit):
    """A bar, judged: its line, and whether it holds."""
    held = {">=": value >= limit, "<=": value <= limit, "<": value < limit}[sign]
    return f"{'held  ' if held else 'MISSED'} {name}: {value:.4g} {sign} {limit:.4g}", held


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", default=os.environ.get("PROGNOSIS_DATA"))
    parser.add_argument("--memory", default=None, help="folder for what is measured of the masks")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    options = parser.parse_args()
    start = time.perf_counter()
    bars = []
    with tempfile.TemporaryDirectory() as fresh:
        memory = options.memory or fresh
        X, mrs = load_soop(options.data_home, target="mrs")
        if "timings" in options.parts:
            bars += timings(X, mrs)
        if {"models", "curve"} & set(options.parts):
            table = measured(X, memory)
            table = pd.concat([table, permuted(table, "natbrainlab")], axis=1)
            table.attrs = {}  # the atlas, which every slice would copy
        if "models" in options.parts:
            bars += models(table, mrs, memory)
        if "curve" in options.parts:
            bars += curve(table, mrs)
        if "nihss" in options.parts:
            bars += nihss(options.data_home, memory)
        if "simulated" in options.parts:
            bars += simulated(memory)
    print()
    for line, _ in bars:
        print(line)
    print(f"{(time.perf_counter() - start) / 60:.0f} minutes")
    return 0 if all(held for _, held in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
