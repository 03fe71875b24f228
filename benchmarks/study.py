"""The published study's whole series of models on one cohort: one table, one report.

Logistic regressions, gradient boosting, CNNs on stitched slices, on 3, 5, 8 and 12 regions, with
tabular values as symbols (hybrid), inside the network (early fusion, DAFT), in 3-D, and network
features in conventional learners. Finished fits are kept, so an interrupted run goes on.

    python benchmarks/study.py --cohort simulated --out study/simulated
    python benchmarks/study.py --cohort soop --out study/soop [--open-lock-box]
"""

import argparse
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from prognosis import (
    FusionClassifier,
    ImageEmbedding,
    MatchedGroups,
    RoiSymbolClassifier,
    RoiSymbols,
    StitchedSliceClassifier,
    TabularEncoder,
    VolumeClassifier,
    Volumes,
    compare,
    load_soop,
    logistic_ladder,
    make_stroke_cohort,
)
from prognosis.studies.published import build_study

COMPARED = "5x2"
COUNTS = (3, 5, 8, 12)
HYBRID_REGIONS = 8
MARGIN = 0.04  # the hybrid over the best rung, in accuracy, on the simulated cohort


@dataclass
class Cohort:
    """One cohort, and what its series of models needs to know."""

    X: object
    y: object
    raw: str  # column of raw scans
    tabular: list  # in the order of the ladder, after lesion size
    atlas: object
    regions: list  # most important first, chosen without the outcome
    planted: tuple = ()
    roi_size: int = 64
    groups: object = None


def simulated_cohort(options):
    """SIMULATED patients; the regions are the published ones, the planted among them."""
    from imaging import LANGUAGE_REGIONS

    X, y = make_stroke_cohort(
        options.patients,
        imaging_effect=0 if options.cohort == "null" else 1,
        random_state=options.seed,
        n_jobs=options.n_jobs,
        folder=options.out / "cohort",
    )
    return Cohort(
        X,
        y,
        raw="t1w",
        tabular=["severity", "recovery_years"],
        atlas="aal",
        regions=list(LANGUAGE_REGIONS),
        planted=tuple(X.attrs["cohort"]["planted_regions"]),
    )


def soop_cohort(options):
    """Real patients; the regions are the arterial territories, most often lesioned first."""
    from prognosis import RegionLoad

    X, y = load_soop(n_jobs=options.n_jobs)
    atlas = X.attrs["cohort"]["atlas"]
    load = RegionLoad("lesion", atlas=atlas, memory=options.memory, n_jobs=options.n_jobs)
    often = load.fit_transform(X)[list(load.columns_)].mean().sort_values(ascending=False)
    places = [load.columns_.index(name) for name in often.index]
    return Cohort(
        X,
        y,
        raw="flair",
        tabular=["nihss", "age"],
        atlas=atlas,
        regions=[load.atlas_.regions[place] for place in places],
        groups=MatchedGroups(
            5, match=["lesion_ml", "nihss", "age"], record=options.out / "lock-box.json"
        ),
    )


def series(cohort, options):
    """The models by name, and the cohort with the columns that they need."""
    shared = {
        "memory": options.memory,
        "random_state": 0,
        "n_seeds": options.seeds,
        "epochs": options.epochs,
    }
    study = conventional(cohort.X, cohort, options, cohort.atlas)
    models, ladder = dict(study.models), ["lesion_ml", *cohort.tabular]
    models["boosting, tabular"] = boosting(ladder)
    if cohort.atlas != "aal":
        models |= other_tables(cohort, options, study, models)

    whole = {"mosaic_size": 128, "extent": "volume"}  # as published; pictures have no slices
    raw = StitchedSliceClassifier(cohort.raw, **whole, **shared)
    mask = {"allow_empty": True, **shared}
    lesion = {"mosaic_size": cohort.roi_size, "atlas": cohort.atlas, **mask}
    first = cohort.regions[:HYBRID_REGIONS]
    roi = RoiSymbolClassifier("lesion", regions=first, **lesion)
    hybrid = clone(roi).set_params(symbols=ladder)

    models["stitched raw"] = raw
    models["stitched raw + symbols"] = clone(raw).set_params(symbols=ladder)
    models["stitched raw + tabular branch"] = clone(raw).set_params(tabular=ladder)
    for count in COUNTS:
        models[f"{count} regions"] = clone(roi).set_params(regions=cohort.regions[:count])
    models["hybrid: 8 regions + symbols"] = hybrid
    beside = clone(roi).set_params(tabular=ladder)
    models["8 regions + tabular branch"] = beside
    models["the same, strongly regularised"] = clone(beside).set_params(
        dropout=0.8, weight_decay=0.3
    )
    if cohort.planted:
        others = [name for name in cohort.regions if name not in cohort.planted]
        models["hybrid without the planted regions"] = clone(hybrid).set_params(
            regions=others[:HYBRID_REGIONS]
        )
        models["hybrid of raw T1w"] = clone(hybrid).set_params(image="t1w", allow_empty=False)
    packed = RoiSymbols(
        regions=first, mosaic_size=cohort.roi_size, atlas=cohort.atlas, allow_empty=True
    )
    fused = FusionClassifier("lesion", tabular=ladder, view=packed, **shared)
    models["early fusion, 8 regions"] = fused
    models["DAFT, 8 regions"] = clone(fused).set_params(fusion="daft")
    channels = ["lesion"] if cohort.raw == "flair" else ["t1w", "lesion"]
    models["3-D"] = VolumeClassifier(channels, spacing_mm=options.spacing_mm, **mask)
    models["3-D, early fusion"] = FusionClassifier(
        channels,
        tabular=ladder,
        view=Volumes(spacing_mm=options.spacing_mm, allow_empty=True),
        **shared,
    )
    embedding = ImageEmbedding(
        clone(hybrid).set_params(n_seeds=1), cv=3, n_components=4, random_state=0
    )
    seen = [*ladder, "cnn_output", "cnn_1", "cnn_2", "cnn_3", "cnn_4"]
    models["hybrid features, logistic regression"] = make_pipeline(
        embedding, TabularEncoder(seen), LogisticRegression(C=0.1, max_iter=1000)
    )
    models["hybrid features, boosting"] = make_pipeline(embedding, boosting(seen))
    averaged = ["boosting, tabular", "stitched raw + tabular branch", "8 regions + tabular branch"]
    models["ladder, boosting and two CNNs averaged"] = VotingClassifier(
        [(name, models[name]) for name in (study.baseline, *averaged)], voting="soft"
    )
    if options.models:
        models = {
            name: model
            for name, model in models.items()
            if name == study.baseline or re.search(options.models, name)
        }
    return models, study


def conventional(X, cohort, options, atlas):
    """Regressions on the table and on region loads of an atlas."""
    return build_study(
        X,
        cohort.y,
        lesion="lesion",
        tabular=cohort.tabular,
        atlas=atlas,
        memory=options.memory,
        n_jobs=options.n_jobs,
        random_state=0,
    )


def other_tables(cohort, options, study, models):
    """What else the table can give a conventional learner; adds its columns to the study's X."""
    anatomy = conventional(study.X, cohort, options, "aal")
    study.X = anatomy.X.assign(log_lesion_ml=np.log1p(anatomy.X["lesion_ml"]))
    rung = ["log_lesion_ml", *cohort.tabular]
    averaged = (study.baseline, "regions + tabular", "boosting, tabular")
    return {
        "AAL regions + tabular": anatomy.models["regions + tabular"],
        **logistic_ladder([rung], names=["log size and the rest"], random_state=0),
        "ladder, regions and boosting averaged": VotingClassifier(
            [(name, models[name]) for name in averaged], voting="soft"
        ),
    }


def boosting(columns):
    """Shallow boosted trees, the conventional learner that finds interactions by itself."""
    columns = ColumnTransformer([("tabular", SimpleImputer(strategy="median"), list(columns))])
    trees = GradientBoostingClassifier(
        n_estimators=100, max_depth=2, learning_rate=0.05, subsample=0.5, random_state=0
    )
    return make_pipeline(columns, trees)


def run(models, study, options, cv, out):
    """Compare on these folds, write the report, and print the table."""
    start = time.perf_counter()
    result = compare(
        models,
        study.X,
        study.y,
        cv=cv,
        baseline=study.baseline,
        n_jobs=options.n_jobs,
        random_state=0,
        verbose=1,
        resume=options.out / "finished",
    )
    result.save(out)
    columns = ["accuracy", "auc", "brier", "accuracy_difference", "accuracy_p_adjusted"]
    columns += ["auc_difference", "auc_p_adjusted"]
    print(result.table[columns].round(3).to_string())
    seconds = result.folds.groupby("model", sort=False)["fit_seconds"].sum()
    print(f"fits took {seconds.sum() / 60:.0f} min of processor time in all; this run", end=" ")
    print(f"{(time.perf_counter() - start) / 60:.0f} min; report: {out / 'index.html'}\n")
    return result


def check_simulated(result, models, study, options):
    """The bars of the simulated cohort: over the best rung, and over itself without the regions."""
    name, without = "hybrid: 8 regions + symbols", "hybrid without the planted regions"
    rungs = [rung for rung in result.models if rung == "size" or rung.startswith("size + ")]
    best = max(rungs, key=lambda rung: result.table.loc[rung, "accuracy"])
    held = True
    for other, least in ((best, MARGIN), (without, 0.0)):
        pair = compare(
            {key: models[key] for key in (other, name)},
            study.X,
            study.y,
            cv=COMPARED,
            baseline=other,
            n_jobs=options.n_jobs,
            random_state=0,
            resume=options.out / "finished",
        )
        row = pair.differences.query("score == 'accuracy' and test == 'corrected t'").iloc[0]
        good = row["difference"] >= least and row["difference"] > 0 and row["p"] < 0.05
        held &= bool(good)
        print(
            f"{'held  ' if good else 'MISSED'} accuracy of the hybrid over {other!r}: "
            f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}), corrected "
            f"p = {row['p']:.4f}; aim at least {least:+.2f} with p < .05"
        )
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", choices=["simulated", "null", "soop"], default="simulated")
    parser.add_argument("--out", type=Path, required=True, help="report, and what is finished")
    parser.add_argument("--patients", type=int, default=400, help="simulated ones")
    parser.add_argument("--seed", type=int, default=2, help="of the simulated cohort")
    parser.add_argument("--seeds", type=int, default=2, help="networks averaged inside a fold")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--spacing-mm", type=float, default=8.0, help="of 3-D networks")
    parser.add_argument("--models", help="regular expression: only these, and the baseline")
    parser.add_argument("--open-lock-box", action="store_true", help="test on the last group, once")
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.memory = str(options.out / "images")
    load = soop_cohort if options.cohort == "soop" else simulated_cohort
    cohort = load(options)
    models, study = series(cohort, options)
    if cohort.groups is None:
        result = run(models, study, options, COMPARED, options.out)
        if options.cohort == "simulated" and not options.models:
            return 0 if check_simulated(result, models, study, options) else 1
        return 0
    # Everything is tried on the other groups; the lock-box is not looked at before the end.
    numbers = cohort.groups.assign(study.X, study.y)
    print(cohort.groups.balance_table(study.X, study.y).round(2).to_string(), flush=True)
    if options.open_lock_box:
        split = cohort.groups.open_lock_box(study.X, study.y)
        run(models, study, options, [split], options.out / "lock-box")
        return 0
    rows = np.flatnonzero(numbers < cohort.groups.n_groups)
    study.X, study.y = study.X.iloc[rows], study.y.iloc[rows]
    run(models, study, options, COMPARED, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
