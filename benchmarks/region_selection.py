"""Does a network need all its regions, and are explanations of it faithful?

SIMULATED patients, whose aphasia depends on three known regions. In every fold the regions are
ranked by counterfactual explanations of training patients and the better half is kept; the smaller
model has to keep 95 % of the accuracy, and the three regions have to be among those kept.

    python benchmarks/region_selection.py [--image lesion] [--folds 5] [--folder images/]
"""

import argparse
import sys
import time

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from prognosis import RegionSelector, RoiSymbolClassifier, counterfactuals, make_stroke_cohort

N_REGIONS = 8
KEEP = 0.95
TABULAR = ["severity", "recovery_years"]


def network(image, memory):
    """The published hybrid on a small canvas; the same settings for every model compared."""
    return RoiSymbolClassifier(
        image,
        regions=N_REGIONS,
        symbols=TABULAR,
        mosaic_size=64,
        epochs=12,
        allow_empty=image == "lesion",
        memory=memory,
        random_state=0,
    )


def one_fold(X, y, train, test, options):
    """Probabilities of the test patients by each model, the ranking, and explanations."""
    full = network(options.image, options.memory)
    selector = RegionSelector(full, k=N_REGIONS // 2, by=options.by, random_state=0)
    selector.fit(X.iloc[train], y.iloc[train])
    full.fit(X.iloc[train], y.iloc[train])
    dropped = selector.ranking_.index[selector.k :].tolist()
    rest = clone(full).set_params(regions=dropped).fit(X.iloc[train], y.iloc[train])
    models = {"all regions": full, "better half": selector, "worse half": rest}
    said = {name: model.predict_proba(X.iloc[test])[:, 1] for name, model in models.items()}
    found = counterfactuals(
        full, X.iloc[test], X_reference=X.iloc[train], y_reference=y.iloc[train], max_regions=3
    )
    return said, selector.ranking_, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--image", default="lesion", choices=["lesion", "t1w"])
    parser.add_argument("--by", default="counterfactual", choices=["counterfactual", "saliency"])
    parser.add_argument("--random-state", type=int, default=1)
    parser.add_argument("--folder", default=None, help="where simulated images are kept")
    parser.add_argument("--memory", default=None, help="folder for prepared images")
    options = parser.parse_args()
    X, y = make_stroke_cohort(
        options.patients,
        spacing_mm=4,
        folder=options.folder,
        random_state=options.random_state,
    )
    planted = X.attrs["cohort"]["planted_regions"]
    print(f"SIMULATED: {len(X)} patients, {options.image}, planted: {', '.join(planted)}")
    said, ranks, explanations, start = {}, [], [], time.perf_counter()
    splits = StratifiedKFold(options.folds, shuffle=True, random_state=0).split(X, y)
    for number, (train, test) in enumerate(splits, start=1):
        answers, ranking, found = one_fold(X, y, train, test, options)
        for name, values in answers.items():
            said.setdefault(name, pd.Series(np.nan, X.index)).iloc[test] = values
        ranks.append(ranking["rank"])
        explanations.append(found)
        print(
            f"fold {number}: kept {', '.join(ranking.index[ranking['kept']])} "
            f"({time.perf_counter() - start:.0f} s)",
            flush=True,
        )
    scores = pd.DataFrame(
        {
            name: {
                "accuracy": float(((values > 0.5) == y).mean()),
                "AUC": float(roc_auc_score(y, values)),
            }
            for name, values in said.items()
        }
    ).T
    print(f"\n{scores.round(3).to_string()}")
    ranks = pd.concat(ranks, axis=1)
    table = pd.DataFrame({"mean rank": ranks.mean(axis=1), "worst rank": ranks.max(axis=1)})
    print(f"\n{table.sort_values('mean rank').round(1).to_string()}")
    swaps = pd.concat([found.swaps for found in explanations])
    fidelity = pd.concat([found.fidelity for found in explanations])
    smallest = swaps.groupby("patient")["n_regions"].min().value_counts().sort_index()
    error = swaps["fidelity_error"]
    print(
        f"\n{len(fidelity)} test patients explained; prediction changed by swapping "
        + ", ".join(f"{size} region(s): {count}" for size, count in smallest.items())
        + f"\nfidelity error mean {error.mean():.3f}, median {error.median():.3f} at {len(swaps)} "
        f"counterfactuals; agreement {fidelity['agreement'].mean():.3f}; "
        f"median R² {fidelity['r2'].median():.3f}"
    )
    kept = scores.loc["better half", "accuracy"] / scores.loc["all regions", "accuracy"]
    always = bool((table.loc[planted, "worst rank"] <= N_REGIONS // 2).all())
    bars = {
        f"half of the regions keep {kept:.1%} of the accuracy (at least {KEEP:.0%})": kept >= KEEP,
        "the planted regions are kept in every fold": always,
    }
    for name, held in bars.items():
        print(f"{'held  ' if held else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
