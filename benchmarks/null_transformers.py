"""Does anything that learns from the outcome find one that does not exist?

SIMULATED scans with outcomes drawn by lot, networks that memorise their training patients. Whatever
sees the outcome in training is asked about patients whose outcome was drawn afterwards, so that its
expected AUC is exactly .5 whatever it learnt; and what `ImageEmbedding` says of its own training
patients, each by the network that did not see him or her, has to be .5, too. 95 % limits of the
mean have to hold .5. That the networks memorise is shown by their AUC in those they trained on.

    python benchmarks/null_transformers.py [--seeds 40] [--first 0] [--only RegionSelector]
"""

import argparse
import sys
import tempfile
import time
import warnings

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from prognosis import (
    ImageEmbedding,
    RegionSelector,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    TabularEncoder,
    TemperatureScaled,
    make_stroke_cohort,
)
from prognosis.evaluation.statistics.auc import auc

N_POOL, N_TRAINING, N_NEW, FEWEST = 150, 24, 60, 6
MEMORISING = {"mosaic_size": 32, "epochs": 25, "learning_rate": 5e-3, "weight_decay": 0.0}
REGIONS = RoiSymbolClassifier("t1w", regions=4, **MEMORISING)
SLICES = StitchedSliceClassifier("t1w", **MEMORISING)


def models(seed):
    """What learns from the outcome, by name."""
    regions, slices = (clone(one).set_params(random_state=seed) for one in (REGIONS, SLICES))
    select = {"k": 2, "n_patients": 8, "random_state": seed}
    # Folds that know no outcome, so that the outcomes of two folds have nothing to do with each
    # other: stratified ones, of which each lacks what the others have, would push AUCs below .5.
    rows = np.arange(N_TRAINING)
    folds = [(np.flatnonzero(rows % 2 != k), np.flatnonzero(rows % 2 == k)) for k in range(2)]

    def embedded(n):
        columns = ["cnn_output", *(f"cnn_{k + 1}" for k in range(n))]
        embedding = ImageEmbedding(slices, cv=folds, n_components=n)
        return make_pipeline(embedding, TabularEncoder(columns), LogisticRegression())

    return {
        "network alone, regions": regions,
        "network alone, slices": slices,
        "RegionSelector, counterfactual": RegionSelector(regions, **select),
        "RegionSelector, saliency": RegionSelector(regions, by="saliency", **select),
        "RegionSelector, cv=2": RegionSelector(regions, cv=2, **select),
        "ImageEmbedding, output": embedded(0),
        "ImageEmbedding, 4 features": embedded(4),
        "TemperatureScaled": TemperatureScaled(slices, cv=2),
    }


def one_seed(seed, X, only):
    """AUC of every model in new patients, in training patients, and of cross-fitted features."""
    rng = np.random.default_rng([7, seed])
    chosen = rng.permutation(len(X))[: N_TRAINING + N_NEW]
    train, new = X.iloc[chosen[:N_TRAINING]], X.iloc[chosen[N_TRAINING:]]
    y = by_lot(rng, train.index)
    y_new = by_lot(rng, new.index)
    found = []
    for name, model in models(seed).items():
        if only and only not in name:
            continue
        model.fit(train, y)
        row = {"model": name, "seed": seed, "new": auc(y_new, model.predict_proba(new)[:, 1])}
        row["training"] = auc(y, model.predict_proba(train)[:, 1])
        if name.startswith("ImageEmbedding"):
            embedding = clone(model[0])
            output = embedding.fit_transform(train, y)["cnn_output"]
            row["cross-fitted"] = np.mean(
                [auc(y.iloc[test], output.iloc[test]) for _, test in embedding.cv]
            )
        found.append(row)
    return found


def by_lot(rng, index):
    """Outcomes drawn by lot; again where a half lacks one of them."""
    while True:
        y = rng.integers(0, 2, len(index))
        if all(min(np.bincount(y[k::2], minlength=2)) >= FEWEST // 2 for k in range(2)):
            return pd.Series(y, index)


def limits(values):
    """Mean and its 95 % limits."""
    values = np.asarray(values)
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="seed to begin with")
    parser.add_argument("--only", help="models whose names hold this")
    parser.add_argument("--rows", help="CSV file for every AUC, written after each seed")
    options = parser.parse_args()
    start, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        X, _ = make_stroke_cohort(N_POOL, spacing_mm=8, folder=folder, random_state=0)
        for seed in range(options.first, options.first + options.seeds):
            rows += one_seed(seed, X, options.only)
            spent = f"{time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of processor"
            print(f"seed {seed} ({spent})", file=sys.stderr)
            if options.rows:
                pd.DataFrame(rows).to_csv(options.rows, index=False)
    table, missed = pd.DataFrame(rows), []
    print(
        f"SIMULATED scans, outcomes by lot: {options.seeds} seeds from {options.first}, "
        f"{N_TRAINING} training and {N_NEW} new patients; mean AUC and its 95 % limits"
    )
    columns = [name for name in ("new", "cross-fitted") if name in table]
    for name, part in table.groupby("model", sort=False):
        for column in columns:
            values = part[column].dropna()
            if len(values):
                mean, low, high = limits(values)
                held = low <= 0.5 <= high
                missed += [] if held else [f"{name}, {column}"]
                print(
                    f"{'held  ' if held else 'MISSED'} {name:32} {column:13} "
                    f"{mean:.3f} ({low:.3f} to {high:.3f}); "
                    f"in those it trained on {part['training'].mean():.3f}"
                )
    print(f"{time.perf_counter() - start:.0f} s in all; missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
