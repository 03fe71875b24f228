"""How often does each test call a difference that does not exist?

SIMULATED cohorts in which two logistic regressions see two equally noisy copies of one predictor:
neither is better, so a test at the 5 % level should be significant in 5 % of the cohorts.

    python benchmarks/null_tests.py [--cohorts 2000] [--patients 120]
"""

import argparse
import sys
from functools import partial

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import StratifiedKFold

from prognosis.evaluation.statistics.auc import auc, delong_test
from prognosis.evaluation.statistics.significance import corrected_resampled_ttest
from prognosis.splits import parse_cv

LEVEL, TOLERANCE = 0.05, 0.02


def one_cohort(seed, n_patients, cv):
    """The p value of every test on one null cohort."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n_patients)
    y = truth + rng.normal(size=n_patients) > 0
    copies = [truth + rng.normal(size=n_patients) for _ in range(2)]
    n_folds, n_repeats = parse_cv(cv)
    scores, sums = [], np.zeros((2, n_patients))
    for _ in range(n_repeats):
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
        for train, test in folds.split(copies[0][:, None], y):
            row = []
            for number, copy in enumerate(copies):
                model = LogisticRegression().fit(copy[train, None], y[train])
                chance = model.predict_proba(copy[test, None])[:, 1]
                sums[number, test] += chance
                hits = np.mean((chance > 0.5) == y[test])
                row.append((hits, auc(y[test], chance), brier_score_loss(y[test], chance)))
            scores.append(np.subtract(*row))
    ratio = 1 / (n_folds - 1)
    found = {"AUC, DeLong": delong_test(y, *sums).p_value}
    for name, differences in zip(("accuracy", "AUC", "Brier"), np.transpose(scores), strict=True):
        for df in ("folds", "effective"):
            result = corrected_resampled_ttest(differences, ratio, df=df)
            found[f"{name}, corrected t, df={df}"] = result.p_value
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=2000)
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args()
    rates = {}
    for cv in ("5", "10", "5x2", "5x5"):
        run = partial(one_cohort, n_patients=options.patients, cv=cv)
        found = Parallel(n_jobs=options.n_jobs)(delayed(run)(k) for k in range(options.cohorts))
        rates[f"cv={cv}"] = (pd.DataFrame(found) < LEVEL).mean()
    table = pd.DataFrame(rates)
    error = np.sqrt(LEVEL * (1 - LEVEL) / options.cohorts)
    print(f"SIMULATED: {options.cohorts} null cohorts of {options.patients} patients; share with")
    print(f"p < {LEVEL:g}, to be {LEVEL:g} (standard error {error:.3f} if it is)\n")
    print(table.round(3).to_string())
    off = [
        (test, cv, rate)
        for cv, column in table.items()
        for test, rate in column.items()
        if abs(rate - LEVEL) > TOLERANCE
    ]
    for test, cv, rate in off:
        side = "cautious" if rate < LEVEL else "LIBERAL"
        print(f"MISSED {LEVEL:.0%} +- {TOLERANCE:.0%}: {test}, {cv}: {rate:.3f}, too {side}")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
