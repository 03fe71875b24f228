"""Whether a brain that looks older than it is tells the outcome: the gap on real patients.

Age is predicted from three sections of FLAIR with the infarct masked, in the development part of
the Stroke Outcome Optimization Project; then the cross-fitted gap goes into the model of size,
number, severity and place of `benchmarks/place.py`, by that protocol (five stratified folds with
seeds 0 to 3, proportional odds, penalty 10 on 32 tracts), everything learnt inside the fold, and
DeLong's test compares the probabilities averaged over the repeats with those without the gap. A gap
dealt out at random among patients is the control.

    python benchmarks/brain_age.py [--data-home ../shared/datasets] [--memory FOLDER]
"""

import argparse
import os
import tempfile
import time

import numpy as np
import place
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline

from prognosis import BrainAgeGap, LesionCount, RegionLoad, load_soop
from prognosis.evaluation.statistics.auc import delong_test

ATLAS = "natbrainlab"


def age_model(memory, **parameters):
    """The transformer as it is measured."""
    return BrainAgeGap("flair", lesion="lesion", memory=memory, random_state=0, **parameters)


def tell_age(X, memory):
    """Print how well sections tell age, and what that takes; cold, then with all sections kept."""
    for state in ("cold", "kept"):
        start = time.perf_counter()
        model = age_model(memory, predicted="brain_age")
        table = model.fit_transform(X)
        seconds = time.perf_counter() - start
        if state == "cold":
            correlation = np.corrcoef(table["brain_age"], table["age"])[0, 1]
            gap = np.corrcoef(table["brain_age_gap"], table["age"])[0, 1]
            print(
                f"{len(X)} patients: predicted age with age r {correlation:.3f}, mean absolute "
                f"error {model.mean_absolute_error_:.1f} years, SD of the gap "
                f"{table['brain_age_gap'].std():.1f} years, gap with age r {gap:+.3f}"
            )
        print(f"  {seconds:.1f} s {state}")


def tell_age_of_new(X, memory, repeats=10):
    """Print the same for patients that the model has not learnt from, over random halves."""
    found = []
    for seed in range(repeats):
        order = np.random.default_rng(seed).permutation(len(X))
        halves = X.iloc[order[::2]], X.iloc[order[1::2]]
        for train, test in (halves, halves[::-1]):
            new = age_model(memory, predicted="brain_age").fit(train).transform(test)
            found.append([new[c].corr(new["age"]) for c in ("brain_age", "brain_age_gap")])
    (r, gap), sd = np.mean(found, axis=0), np.std(found, axis=0)[1]
    print(
        f"  half from the other half, {len(found)} times: r {r:.3f}, gap with age r {gap:+.3f} "
        f"(SD {sd:.3f})"
    )


def place_and(*further, severity=True, first=()):
    """Proportional odds on size, number, age and tracts, with NIHSS or without, and `further`.

    `first` are steps that make further columns.
    """
    columns = [name for name in place.COUNTED if severity or name != "nihss"]
    steps = place.model([*columns, *further], ATLAS, penalty=10.0, ordinal=True).steps
    return Pipeline([*first, *steps])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", default=os.environ.get("PROGNOSIS_DATA"))
    parser.add_argument("--memory", default=None, help="folder for what is measured of the images")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as fresh:
        everybody, _ = load_soop(options.data_home, target="nihss")
        tell_age(everybody, fresh)
        tell_age_of_new(everybody, fresh)
        X, mrs = load_soop(options.data_home, target="mrs")
        X = LesionCount(log=True, volume="lesion_ml", memory=options.memory).fit_transform(X)
        X = RegionLoad(
            atlas=ATLAS,
            prefix=f"{ATLAS}:",
            least_voxels=place.SMALLEST_REGION_VOXELS,
            memory=options.memory,
        ).fit_transform(X)
        gaps = age_model(fresh).fit_transform(X)["brain_age_gap"].to_numpy()
        dealt = X.assign(brain_age_gap=np.random.default_rng(0).permutation(gaps))
        first = [("gap", age_model(fresh))]
        rows = {
            "TN + tracts": (X, place_and()),
            "TN + tracts + gap": (X, place_and("brain_age_gap", first=first)),
            "TN + tracts + gap of another patient": (dealt, place_and("brain_age_gap")),
            "no NIHSS: ml, age, count + tracts": (X, place_and(severity=False)),
            "no NIHSS: the same + gap": (
                X,
                place_and("brain_age_gap", first=first, severity=False),
            ),
        }
        poor, against = (mrs > place.CUT).to_numpy(), None
        print(f"\n{len(X)} patients, {poor.sum()} with a poor outcome")
        for name, (table, model) in rows.items():
            start = time.perf_counter()
            chances = place.cross_validated(model, table, mrs)
            auc = np.mean([roc_auc_score(poor, one) for one in chances])
            mean, told = chances.mean(axis=0), ""
            if "gap" in name:
                p = delong_test(poor, mean, against[0]).p_value
                told = f"  {auc - against[1]:+.3f}  p {p:.3f}"
            else:
                against = mean, auc
            print(f"{name:40} AUC {auc:.3f}{told}  {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
