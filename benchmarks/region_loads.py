"""Loads of all 120 regions in linear regression: standardised, as they come, regularised.

    python benchmarks/region_loads.py

On patients of the Stroke Outcome Optimization Project (where the data is) and on SIMULATED ones: R²
of five folds, drawn once, for the first 131 of a random order, the first 300, and all. Models:

- standardised: `StandardScaler` and ridge regression of penalty 1, what `linear_ladder` did before;
- linear_ladder: the same penalty, loads centred and not scaled (`prognosis.scaling`);
- ridge: ridge regression of penalty 1 on loads as they come;
- region_model's: square roots, the penalty chosen inside the fold.

Nothing was tuned here; 3 minutes, of which most are reading masks. SOOP's outcomes are the NIHSS at
admission and the logarithm of lesion size, simulated patients' the severity and the same logarithm.
"""

import argparse
import warnings

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prognosis import (
    CohortError,
    LesionSize,
    RegionLoad,
    linear_ladder,
    load_soop,
    make_stroke_cohort,
)
from prognosis.studies.regions import regularised


def measured(X, memory):
    """Loads, and the logarithm of lesion size."""
    size = LesionSize("lesion", output="added", memory=memory).fit_transform(X)["lesion_ml"]
    loads = RegionLoad("lesion", output="added", memory=memory).fit_transform(X)
    return loads, np.log1p(size)


def models(columns):
    (ladder,) = linear_ladder([columns]).values()
    return {
        "standardised": make_pipeline(StandardScaler(), Ridge()),
        "linear_ladder": ladder,
        "ridge": Ridge(),
        "region_model's": regularised(columns, [], False),
    }


def report(name, loads, outcomes, sizes, seed):
    order = np.random.default_rng(seed).permutation(len(loads))
    lesioned = (loads > 0).mean()
    print(
        f"\n{name}: {len(loads)} patients, {loads.shape[1]} regions, each lesioned in "
        f"{lesioned.median():.1%} of them (median; {lesioned.min():.1%} to {lesioned.max():.1%})"
    )
    print(f"{'outcome':12} {'patients':>8} " + "".join(f"{m:>16}" for m in models(list(loads))))
    for outcome, y in outcomes.items():
        for size in sizes:
            rows = order[y.notna().to_numpy()[order]][:size]
            folds = KFold(5, shuffle=True, random_state=seed)
            found = [
                cross_val_score(m, loads.iloc[rows], y.iloc[rows], cv=folds, scoring="r2").mean()
                for m in models(list(loads)).values()
            ]
            print(f"{outcome:12} {len(rows):8d} " + "".join(f"{r2:16.2f}" for r2 in found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", default=None, help="folder that keeps what was measured")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    try:
        X, nihss = load_soop(target="nihss")
    except CohortError as error:
        print(f"SOOP is left out: {error}")
    else:
        loads, size = measured(X, options.memory)
        report("SOOP", loads, {"NIHSS": nihss, "log size": size}, (131, 300, 708), options.seed)
    X, _ = make_stroke_cohort(300, spacing_mm=4, random_state=options.seed)
    loads, size = measured(X, options.memory)
    report(
        "SIMULATED", loads, {"severity": X["severity"], "log size": size}, (131, 300), options.seed
    )


if __name__ == "__main__":
    main()
