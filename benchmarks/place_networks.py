"""Does a network add anything to `place_model` on real patients?

Poor outcome (mRS above 2) in 464 patients of the Stroke Outcome Optimization Project, folds as in
``benchmarks/place.py``: the networks get what the place model has (32 tracts of the lesion mask;
volume, log NIHSS, age and log count as symbols), or more (whole masks, FLAIR); alone, started from
the place model, or with an encoder that learnt to read drawn canvases first. Everything is learnt
inside the fold. AUC is the mean over repeats of the pooled out-of-fold AUC; p is DeLong's, of the
probabilities averaged over repeats, against `place_model`. Probabilities of finished folds are kept
in `--out`, under the name of the row: delete those whose settings changed.

    PROGNOSIS_DATA=datasets python benchmarks/place_networks.py --out FOLDER [--repeats 2]
        [--rows WORD ...] [--report]
"""

import argparse
import re
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from place import CUT, FOLDS, model
from sklearn.base import clone
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from imaging import load_atlas
from imaging.storage.files import replacing
from prognosis import (
    LesionCount,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    VolumeClassifier,
    load_soop,
    place_model,
    predict_exceeding,
)
from prognosis.cohorts.soop import recover_picture
from prognosis.evaluation.statistics.auc import delong_test

TABLE = ["ml", "log_nihss", "age", "log_count"]
LADDER, NUMBERS = "ladder: ml, NIHSS, age", "ml, log NIHSS, age, log count, PO"
PLACE = "place_model"
MEAN = " (mean with place_model)"


def cohort(out):
    """Patients with their numbers, and lesion masks as pictures beside the FLAIR."""
    from PIL import Image

    X, mrs = load_soop(target="mrs")
    count = LesionCount("lesion", log=True, column="log_count", volume="ml", memory=out / "memory")
    X = count.fit_transform(X)
    masks = []
    for patient, lesion in X["lesion"].items():
        path = out / "masks" / f"{patient}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            _, mask = recover_picture(Path(lesion).parents[1] / f"PNG/r{patient}_lesion.nii.png")
            with replacing(path) as temporary:
                # Some sections show no lesion; a picture that is zero everywhere is refused.
                Image.fromarray(mask.astype(np.uint8) * 254 + 1).save(temporary)
        masks.append(str(path))
    return X.assign(mask=masks, log_nihss=np.log1p(X["nihss"])), mrs


def rows(memory, n_seeds):
    """The models by name."""
    place = place_model("lesion", outcome="ordinal", memory=memory)
    shared = {
        "ordinal": True,
        "epochs": 15,
        "n_seeds": n_seeds,
        "random_state": 0,
        "memory": memory,
        "allow_empty": True,
    }
    tracts = {"atlas": "natbrainlab", "regions": list(load_atlas("natbrainlab").regions)}
    found = {
        LADDER: model(["ml", "nihss", "age"], log=()),
        NUMBERS: model(["ml", "nihss", "age", "log_count"], ordinal=True),
        PLACE: place,
    }
    single = {**shared, "n_seeds": 1}  # these take longer
    flair = StitchedSliceClassifier(["flair", "mask"], mosaic_size=(68, 180), **single)
    volume = VolumeClassifier("lesion", spacing_mm=8, **single)
    for size in (64, 96):
        roi = RoiSymbolClassifier("lesion", **tracts, mosaic_size=size, **shared)
        symbols = clone(roi).set_params(symbols=TABLE)
        drawn = clone(symbols).set_params(pretrain="drawn", n_seeds=1)
        alone = clone(drawn).set_params(symbols=None)
        found[f"{size} tracts + symbols"] = symbols
        found[f"{size} tracts + table branch"] = clone(roi).set_params(tabular=TABLE)
        found[f"{size} tracts + symbols, drawn first, still"] = clone(drawn).set_params(
            learning_rate=1e-12, epochs=1
        )
        found[f"{size} tracts + symbols, drawn first"] = drawn
        found[f"{size} tracts + symbols, drawn first, all learn"] = clone(drawn).set_params(
            freeze=False
        )
        for name, one in {
            "tracts": roi,
            "tracts + symbols": symbols,
            "tracts, drawn first": alone,
            "tracts + symbols, drawn first": drawn,
        }.items():
            found[f"{size} {name}, from place"] = clone(one).set_params(start=place)
    found["FLAIR + mask + table branch"] = clone(flair).set_params(tabular=TABLE)
    found["FLAIR + mask, from place"] = clone(flair).set_params(start=place)
    found["FLAIR, from place"] = clone(flair).set_params(start=place, image="flair")
    found["3-D mask + table branch"] = clone(volume).set_params(tabular=TABLE)
    found["3-D mask, from place"] = clone(volume).set_params(start=place)
    for name in list(found):
        if "from place" in name or "drawn first" in name:
            found[f"{name}, penalty .1"] = clone(found[name]).set_params(start_penalty=0.1)
    return found


def chances(name, estimator, X, mrs, out, repeats, quiet=False):
    """Out-of-fold probabilities of a poor outcome, one row for each repeat; None if not all there.

    `quiet` computes nothing.
    """
    poor = (mrs > CUT).astype(int)
    y = mrs if name != LADDER else poor
    found = np.full((repeats, len(X)), np.nan)
    for repeat in range(repeats):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=repeat)
        for number, (train, test) in enumerate(folds.split(X, poor)):
            slug = re.sub(r"[^a-z0-9.]+", "-", name.lower())
            path = out / f"{slug}_{repeat}-{number}.npy"
            if not path.is_file():
                if quiet:
                    return None
                start = time.perf_counter()
                fitted = clone(estimator).fit(X.iloc[train], y.iloc[train])
                cut = CUT if y is mrs else 0
                with replacing(path) as temporary, open(temporary, "wb") as file:
                    np.save(file, predict_exceeding(fitted, X.iloc[test], cut))
                seconds = time.perf_counter() - start
                print(f"    {name}, repeat {repeat} fold {number}: {seconds:.0f} s", flush=True)
            found[repeat, test] = np.load(path)
    return found


def summary(found, poor):
    """One line for each model, those that did not start from place also in the mean with it."""
    beside = {
        name + MEAN: (values + found[PLACE][: len(values)]) / 2
        for name, values in found.items()
        if "from place" not in name and ("branch" in name or "symbols" in name)
    }
    base = found[PLACE]
    print(f"{'':62} {'AUC':>5} {'':>6} {'p':>6} {'log loss':>8} {'accuracy':>8}")
    for name, values in {**found, **beside}.items():
        given = base[: len(values)]
        auc = [roc_auc_score(poor, one) for one in values]
        gain = np.mean(auc) - np.mean([roc_auc_score(poor, one) for one in given])
        p = np.nan
        if name != PLACE:
            p = delong_test(poor, values.mean(axis=0), given.mean(axis=0)).p_value
        loss = np.mean([log_loss(poor, one) for one in values])
        accuracy = np.mean((values > 0.5) == poor)
        print(
            f"{name:62} {np.mean(auc):.3f} {gain:+.3f} {p:6.3f} {loss:8.3f} {accuracy:8.3f}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of finished folds")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2, help="networks averaged in a fold")
    parser.add_argument(
        "--rows", nargs="*", default=[], help="only models whose name ends in a word"
    )
    parser.add_argument("--report", action="store_true", help="compute nothing: what is there")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*smaller than one cell")
    warnings.filterwarnings("ignore", message="The least populated class")
    X, mrs = cohort(options.out)
    poor = (mrs > CUT).to_numpy()
    found = {}
    for name, estimator in rows(options.out / "memory", options.seeds).items():
        if name != PLACE and options.rows and not any(name.endswith(word) for word in options.rows):
            continue
        values = chances(name, estimator, X, mrs, options.out, options.repeats, options.report)
        if values is not None:
            found[name] = values
            print(f"{name}: {np.mean([roc_auc_score(poor, v) for v in values]):.3f}", flush=True)
    print(
        f"\n{len(X)} patients, {poor.sum()} with a poor outcome; {options.repeats} x {FOLDS} folds"
    )
    summary(found, poor)


if __name__ == "__main__":
    sys.exit(main())
