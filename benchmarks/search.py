"""Is a searched model better than the default on patients outside, and what does stopping save?

SIMULATED patients. In every seed a fresh cohort, of which a part is searched on and the rest is
never seen. The same space and number of trials for everybody: `OptunaSearch` with and without
stopping and with `choose="one_se"` (which goes on with the study of the first), scikit-learn's
`RandomizedSearchCV` and, where it is installed, `OptunaSearchCV` of optuna-integration. Finished
runs are kept in a file; the same command goes on. Part `soop`: searches inside a comparison on
real patients.

    python benchmarks/search.py [--part table network] [--method default ours] [--seeds 10]
"""

import argparse
import importlib.util
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from optuna.distributions import FloatDistribution, IntDistribution
from scipy.stats import loguniform, randint, ttest_1samp, uniform
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prognosis import (
    LesionSize,
    OptunaSearch,
    RegionLoad,
    StitchedSliceClassifier,
    TabularEncoder,
    compare,
    load_soop,
    logistic_ladder,
    make_stroke_cohort,
    place_model,
    search_space,
)

SCORING = "neg_log_loss"
METHODS = (
    "default",
    "ours",
    "ours, one SE",
    "ours, all folds",
    "RandomizedSearchCV",
    "OptunaSearchCV",
)


def table_cohort(seed, n_train, n_test=2000, n_regions=60):
    """A table: severity, and region loads of which eight matter; SIMULATED."""
    rng = np.random.default_rng(seed)
    n = n_train + n_test
    loads = rng.gamma(0.3, 1.0, (n, n_regions)) * (rng.random((n, n_regions)) < 0.3)
    severity = rng.normal(size=n)
    logit = severity + np.sqrt(loads[:, :8]).sum(axis=1) * 0.8
    y = (logit - np.median(logit) + rng.logistic(size=n) > 0).astype(int)
    X = np.c_[severity, np.sqrt(loads)]
    return X[:n_train], y[:n_train], X[n_train:], y[n_train:]


def network_cohort(seed, n_train, n_test=200):
    """Paths of no scan: images in memory, 8 mm, and two columns; SIMULATED."""
    X, y = make_stroke_cohort(n_train + n_test, spacing_mm=8, random_state=seed)
    return X.iloc[:n_train], y.iloc[:n_train], X.iloc[n_train:], y.iloc[n_train:]


def tasks(options):
    """By name: cohort, model, space, folds and number of trials."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    boosting = HistGradientBoostingClassifier(random_state=0)
    network = StitchedSliceClassifier(
        "t1w",
        tabular=["severity", "recovery_years"],
        mosaic_size=48,
        epochs=options.epochs,
        validation_fraction=0.2,
        random_state=0,
    )
    rates = {
        name: search_space(network)[name] for name in ("learning_rate", "weight_decay", "dropout")
    }
    three = StratifiedKFold(3, shuffle=True, random_state=0)
    found = {}
    if "table" in options.part:
        found["logistic"] = (table_cohort, 120, logistic, search_space(logistic), folds, 30)
        found["boosting"] = (table_cohort, 200, boosting, search_space(boosting), folds, 30)
    if "network" in options.part:
        found["network"] = (network_cohort, 120, network, rates, three, 12)
    return found


def as_scipy(space):
    """The same space for `RandomizedSearchCV`."""
    found = {}
    for name, values in space.items():
        if isinstance(values, IntDistribution):
            # whole numbers on a logarithmic scale there are none of: rounded below
            found[name] = _WholeLog(values) if values.log else randint(values.low, values.high + 1)
        elif isinstance(values, FloatDistribution):
            low, high = values.low, values.high
            found[name] = loguniform(low, high) if values.log else uniform(low, high - low)
        else:
            found[name] = list(values)
    return found


class _WholeLog:
    def __init__(self, distribution):
        self.draw = loguniform(distribution.low, distribution.high + 1)

    def rvs(self, random_state=None):
        return int(self.draw.rvs(random_state=random_state))


def search_by(method, model, space, folds, n_trials, seed, storage):
    """An unfitted search."""
    options = {"cv": folds, "scoring": SCORING, "random_state": seed}
    if method == "RandomizedSearchCV":
        return RandomizedSearchCV(model, as_scipy(space), n_iter=n_trials, **options)
    if method == "OptunaSearchCV":
        import optuna
        from optuna_integration import OptunaSearchCV

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return OptunaSearchCV(model, space, n_trials=n_trials, **options)
    if method == "ours, all folds":
        return OptunaSearch(model, space, n_trials=n_trials, pruner=None, **options)
    choose = "one_se" if method == "ours, one SE" else "best"
    return OptunaSearch(model, space, n_trials=n_trials, choose=choose, storage=storage, **options)


def run(task, method, seed, storage):
    """Scores outside, seconds, folds and epochs of one method on one fresh cohort."""
    cohort, n_train, model, space, folds, n_trials = task
    X, y, X_test, y_test = cohort(1000 + seed, n_train)
    fitted = clone(model)
    if method != "default":
        fitted = search_by(method, model, space, folds, n_trials, seed, storage)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.fit(X, y)
    seconds = time.perf_counter() - start
    probabilities = fitted.predict_proba(X_test)
    pruning = getattr(fitted, "pruning_", {})
    return {
        "neg_log_loss": -log_loss(y_test, probabilities),
        "auc": roc_auc_score(y_test, probabilities[:, 1]),
        "inner": float(getattr(fitted, "best_score_", np.nan)),
        "seconds": seconds,
        "folds": pruning.get("folds_run", np.nan),
        "epochs": pruning.get("epochs_run", np.nan),
    }


def kept_runs(options):
    """Run what is not kept yet; a row per task, method and seed."""
    path, rows = Path(options.keep), []
    if path.exists():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    done = {(row["task"], row["method"], row["seed"]) for row in rows}
    methods = [m for m in options.method if m != "OptunaSearchCV" or _is_installed()]
    for seed in range(options.seeds):
        for name, task in tasks(options).items():
            for method in methods:
                if (name, method, seed) in done:
                    continue
                row = {"task": name, "method": method, "seed": seed} | run(
                    task, method, seed, f"{path}.{name}{seed}.journal"
                )
                rows.append(row)
                with open(path, "a") as file:
                    file.write(json.dumps(row) + "\n")
                print(
                    f"{name}, seed {seed}, {method}: {row['neg_log_loss']:.4f}, "
                    f"{row['seconds']:.0f} s",
                    flush=True,
                )
    table = pd.DataFrame(rows)
    return table[table["task"].isin(tasks(options)) & (table["seed"] < options.seeds)]


def _is_installed():
    return importlib.util.find_spec("optuna_integration") is not None


def report(table):
    """Print means, paired differences and what was saved; whether the bars hold."""
    bars = {}
    for name, rows in table.groupby("task", sort=False):
        wide = rows.pivot(index="seed", columns="method")
        print(f"\n{name}, {len(wide)} SIMULATED cohorts")
        for method in rows["method"].unique():
            gain = (wide["neg_log_loss", method] - wide["neg_log_loss", "default"]).dropna()
            p = ttest_1samp(gain, 0).pvalue if method != "default" and len(gain) > 1 else np.nan
            optimism = (wide["inner", method] - wide["neg_log_loss", method]).mean()
            print(
                f"  {method:<19} -log loss {wide['neg_log_loss', method].mean():.4f} "
                f"({gain.mean():+.4f}, p = {p:.3f})  AUC {wide['auc', method].mean():.4f}  "
                f"optimism {optimism:+.4f}  {wide['seconds', method].mean():.1f} s"
            )
            if method == "ours":
                bars[f"{name}: the search beats the default (p < .05)"] = (
                    gain.mean() > 0 and p < 0.05
                )
            if method in ("RandomizedSearchCV", "OptunaSearchCV"):
                ahead = (wide["neg_log_loss", "ours"] - wide["neg_log_loss", method]).mean()
                bars[f"{name}: not below {method} ({ahead:+.4f})"] = ahead > -0.002
        if "ours, all folds" not in set(rows["method"]):
            continue
        both = wide.dropna(subset=[("neg_log_loss", "ours"), ("neg_log_loss", "ours, all folds")])
        saved = {
            unit: 1 - both[unit, "ours"].sum() / both[unit, "ours, all folds"].sum()
            for unit in ("folds", "epochs", "seconds")
            if both[unit, "ours, all folds"].sum() > 0
        }
        print("  stopping saves " + ", ".join(f"{100 * v:.0f} % of {k}" for k, v in saved.items()))
        lost = (both["neg_log_loss", "ours, all folds"] - both["neg_log_loss", "ours"]).mean()
        bars[f"{name}: stopping costs nothing ({-lost:+.4f})"] = lost < 0.005
        if name == "network":
            bars["network: half of the epochs are saved"] = saved.get("epochs", 0) >= 0.5
            bars["network: half of the time is saved"] = saved["seconds"] >= 0.5
        else:
            bars[f"{name}: two thirds of the time are saved"] = saved["seconds"] >= 2 / 3
    return bars


def soop(options):
    """Searches inside the folds of a comparison, on real patients; prints what each one chose."""
    X, y = load_soop(target="poor_outcome")
    ladder = ["lesion_ml", "nihss", "age"]
    X = LesionSize("lesion").fit_transform(X)
    loads = RegionLoad("lesion", atlas="natbrainlab", output="added").fit_transform(X)
    X = X.join(loads)
    place = place_model(
        tabular=ladder, lesion="lesion", outcome="binary", memory=f"{options.keep}.images"
    )
    columns = TabularEncoder([*ladder, *loads.columns])
    boosting = make_pipeline(columns, HistGradientBoostingClassifier(random_state=0))
    models = logistic_ladder([ladder], names=["ladder"])
    for name, model in (("place", place), ("boosting", boosting)):
        models[name] = model
        models[f"{name}, searched"] = OptunaSearch(
            model,
            search_space(model),
            cv=StratifiedKFold(5, shuffle=True, random_state=0),
            n_trials=20,
            scoring=SCORING,
            random_state=0,
        )
    result = compare(models, X, y, cv="5x2", baseline="ladder", resume=f"{options.keep}.soop")
    print(f"\n{len(X)} real patients, 5 folds twice, every search inside its fold\n{result}")
    print(result.searches.to_string())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--part", nargs="+", choices=["table", "network", "soop"], default=["table", "network"]
    )
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12, help="of the network")
    parser.add_argument("--keep", default="search.jsonl", help="file of finished runs")
    options = parser.parse_args()
    if "soop" in options.part:
        soop(options)
    if options.part == ["soop"]:
        return 0
    bars = report(kept_runs(options))
    print()
    for name, held in bars.items():
        print(f"{'held  ' if held else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
