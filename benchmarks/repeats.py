"""What the number of repeats does to a verdict: tests over folds beside tests over patients.

SIMULATED cohorts, five folds drawn once, twice, five and ten times. Two linear models see equally
noisy copies of one predictor, or one of them a better copy (an effect); or two small random
networks, which differ by their seed alone, see the same table: learners as unstable as networks on
few patients are. Without an effect a test at the 5 % level should be significant in 5 % of the
cohorts, however often the folds are drawn; with one, its verdict should not hang on the repeats.

    python benchmarks/repeats.py [--cohorts 600] [--n-jobs 2]
"""

import argparse
import sys
from functools import partial

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from prognosis.evaluation.statistics.auc import delong_test
from prognosis.evaluation.statistics.significance import (
    DELONG,
    OVER_FOLDS,
    OVER_PATIENTS,
    corrected_resampled_ttest,
    paired_patient_ttest,
)

FOLDS, REPEATS, HIDDEN = 5, (1, 2, 5, 10), 8
LEVEL, MOST = 0.05, 0.08  # nominal, and the most that passes in a simulation of 600 cohorts
SETTINGS = {"networks, no effect": (True, 0.0), "linear, no effect": (False, 0.0)}
SETTINGS["linear, effect"] = (False, 0.5)


def predict(X, y, X_test, rng, network):
    """Least squares with a little ridge; of a network behind random tanh units."""
    if network:
        weights, bias = rng.normal(size=(X.shape[1], HIDDEN)), rng.normal(size=HIDDEN)
        X, X_test = np.tanh(X @ weights + bias), np.tanh(X_test @ weights + bias)
    X, X_test = (np.c_[np.ones(len(part)), part] for part in (X, X_test))
    return X_test @ np.linalg.solve(X.T @ X + np.eye(X.shape[1]), X.T @ y)


def one_cohort(seed, n_patients, network, effect, regression):
    """p values of every test of one cohort, by test and number of repeats."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n_patients)
    y = truth + rng.normal(size=n_patients)
    if not regression:
        y = (y > 0).astype(float)
    if network:
        table = np.c_[truth + rng.normal(size=n_patients), rng.normal(size=(n_patients, 3))]
        tables = [table, table]
    else:
        noise = rng.normal(size=(2, n_patients, 1)) * np.sqrt([1, 1 - effect]).reshape(2, 1, 1)
        tables = truth[:, None] + noise
    sums, right, of_folds, found = np.zeros((2, n_patients)), np.zeros((2, n_patients)), [], {}
    for repeat in range(1, REPEATS[-1] + 1):
        order = rng.permutation(n_patients)
        for test in np.array_split(order, FOLDS):
            train, scores = np.setdiff1d(order, test), []
            for number, X in enumerate(tables):
                guess = predict(X[train], y[train], X[test], rng, network)
                sums[number, test] += guess
                hits = np.abs(guess - y[test]) if regression else (guess > 0.5) == y[test]
                right[number, test] += hits
                scores.append(np.mean(hits))
            of_folds.append(scores[1] - scores[0])
        if repeat in REPEATS:
            mean = sums / repeat
            each = np.abs(mean - y) if regression else right / repeat
            found[OVER_FOLDS, repeat] = corrected_resampled_ttest(of_folds, 0.25).p_value
            found[OVER_PATIENTS, repeat] = paired_patient_ttest(each[1] - each[0]).p_value
            if not regression:
                found[DELONG, repeat] = delong_test(y, mean[1], mean[0]).p_value
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=600)
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args()
    rows, missed = [], []
    for regression in (False, True):
        score = "absolute error" if regression else "accuracy"
        for n_patients in (100, 300):
            for name, (network, effect) in SETTINGS.items():
                run = partial(
                    one_cohort,
                    n_patients=n_patients,
                    network=network,
                    effect=effect,
                    regression=regression,
                )
                runs = (delayed(run)(seed) for seed in range(options.cohorts))
                table = pd.DataFrame(Parallel(n_jobs=options.n_jobs)(runs)) < LEVEL
                table.columns = pd.MultiIndex.from_tuples(table.columns)
                for test in table.columns.unique(0):
                    shares = table[test].mean()
                    label = f"AUC, {test}" if test == DELONG else f"{score}, {test}"
                    turned = (~table[test][1] & table[test][REPEATS[-1]]).mean()
                    row = {"patients": n_patients, "models": name, "test": label}
                    row |= {f"5x{repeat}": shares[repeat] for repeat in REPEATS}
                    rows.append(row | {"turned significant": turned})
                    if not effect and shares.max() > MOST:
                        missed.append(f"{label}, {name}, {n_patients}: {shares.max():.3f}")
    print(f"SIMULATED: {options.cohorts} cohorts a row; share with p < {LEVEL:g}, by repeats of")
    print("five folds; turned: significant with ten repeats and not with one\n")
    print(pd.DataFrame(rows).round(3).to_string(index=False))
    for text in missed:
        print(f"MISSED: above {MOST:g} without an effect: {text}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
