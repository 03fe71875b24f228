"""What more workers, a kept cache and files instead of memory are worth. SIMULATED patients.

workers   a comparison on a Dask cluster of two worker processes against one, one thread each, and
          what two bare processes gain: two processors that share caches are not twice one
second    the same models on other folds, with `memory=`: what images cost in a second session
beyond    a network trained on ten times as many prepared images as `memory_limit_mb` allows

Each run is a process of its own. Times by the clock mean little on a machine that does other work:
the load is printed, and `workers` wants two idle cores.

    python benchmarks/scale_out.py [--part workers second beyond]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from imaging import CacheFolder
from prognosis import (
    LesionSize,
    StitchedSliceClassifier,
    compare,
    logistic_ladder,
    make_stroke_cohort,
)

LEAST_SPEED_UP = 1.6
LEAST_IMAGE_RATIO = 10
MOST_SHARE = 0.25  # of the prepared images, beyond the memory limit


def read(folder):
    return pd.read_pickle(folder / "cohort.pkl")


def write(folder, n_patients, spacing_mm):
    X, y = make_stroke_cohort(
        n_patients, spacing_mm=spacing_mm, folder=folder / "scans", random_state=0
    )
    pd.to_pickle((X, y), folder / "cohort.pkl")


# ---------------------------------------------------------------- runs, each in its own process


def run_workers(folder, n_workers):
    """Seconds of a comparison on so many workers, and its predictions."""
    from distributed import Client, LocalCluster

    X, y = read(folder)
    models = logistic_ladder([["severity"]])
    for width in (96, 128):
        models[f"CNN, {width} pixels"] = StitchedSliceClassifier(
            "t1w", mosaic_size=width, epochs=20, random_state=0
        )
    options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        # Libraries are loaded before the clock starts.
        client.run(load_engine)
        start = time.perf_counter()
        with joblib.parallel_config("dask"):
            result = compare(models, X, y, cv="4x2", random_state=0)
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "predictions": result.predictions.to_csv()}


def run_bare(folder, n_fits):
    """Seconds of so many fits in a process of its own, which no other one is told of."""
    X, y = read(folder)
    model = StitchedSliceClassifier("t1w", mosaic_size=96, epochs=20, random_state=0)
    model.fit(X[:8], y[:8])  # libraries are loaded before the clock starts
    start = time.perf_counter()
    for _ in range(n_fits):
        model.fit(X, y)
    return {"seconds": time.perf_counter() - start}


def load_engine():
    import imaging.learning.engine
    import imaging.nets.classifiers  # noqa: F401


def run_second(folder, seed):
    """What images cost in a comparison that has a cache folder."""
    X, _ = read(folder)
    y = pd.Series(np.arange(len(X)) % 2, X.index)  # nobody looks at scores
    memory = folder / "cache"
    models = logistic_ladder([["severity"]])
    models["CNN"] = StitchedSliceClassifier(
        "t1w", mosaic_size=128, epochs=1, memory=memory, random_state=0
    )
    X = LesionSize("lesion", memory=memory).fit_transform(X)
    result = compare(models, X, y, cv=5, random_state=seed)
    kept = CacheFolder(memory).look()["prepared images"]
    names = ["images_prepared", "images_reused", "prepare_seconds", "read_seconds"]
    return result.folds[names].sum().to_dict() | {"kept": kept["entries"]}


def tiny_encoder(shape, in_channels):
    """A network whose own memory is small beside that of the images."""
    import torch

    from imaging.nets.encoders import Encoder

    class Tiny(Encoder):
        channels = (4,)

        def __init__(self):
            super().__init__()
            self.only = torch.nn.Conv2d(in_channels, 4, 8, stride=8)

        def levels(self, image):
            return [self.only(image).relu()]

    return Tiny()


def run_beyond(folder, limit_mb, n_patients):
    """Fit and predict; the highest memory in bytes, and the predictions."""
    X = read(folder)[0][:n_patients]
    y = pd.Series(np.arange(len(X)) % 2, X.index)
    model = StitchedSliceClassifier(
        "t1w",
        mosaic_size=256,
        architecture=tiny_encoder,
        epochs=2,
        batch_size=16,
        memory=folder / "cache",
        memory_limit_mb=limit_mb,
        random_state=0,
    )
    model.set_params(device="cpu", augment=False)
    start = time.perf_counter()
    probabilities = model.fit(X, y).predict_proba(X)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "size": 4 * int(np.prod(model.image_shape_)),
        "seconds": time.perf_counter() - start,
        "predictions": probabilities.tolist(),
    }


RUNS = {"workers": run_workers, "bare": run_bare, "second": run_second, "beyond": run_beyond}


def in_child(part, folder, *arguments):
    command = [sys.executable, "-W", "ignore", __file__, "--child", part, "--folder", str(folder)]
    command += ["--arguments", *map(str, arguments)]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if run.returncode:
        raise RuntimeError(f"{part} {arguments}: {run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


# ---------------------------------------------------------------- the parts


def workers(folder, options):
    write(folder, options.patients or 100, 4)
    runs = {n: [in_child("workers", folder, n) for _ in range(options.repeats)] for n in (1, 2)}
    seconds = {n: min(run["seconds"] for run in found) for n, found in runs.items()}
    ratio = seconds[1] / seconds[2]
    print(
        f"one worker {seconds[1]:.1f} s, two {seconds[2]:.1f} s (the best of {options.repeats}): "
        f"{ratio:.2f} x"
    )
    same = {run["predictions"] for found in runs.values() for run in found}
    with ThreadPoolExecutor(2) as pool:
        alone = in_child("bare", folder, 8)["seconds"]
        shared = list(pool.map(lambda _: in_child("bare", folder, 4)["seconds"], range(2)))
    bare = alone / max(shared)
    print(
        f"two bare processes that know nothing of each other: {bare:.2f} x, what this machine can"
    )
    return {
        f"two workers are {LEAST_SPEED_UP} x as fast as one": ratio >= LEAST_SPEED_UP,
        "they lose no tenth of what two bare processes gain": ratio >= 0.9 * bare,
        "their predictions are the same bit for bit": len(same) == 1,
    }


def second(folder, options):
    write(folder, options.patients or 12, 1)
    first, again = in_child("second", folder, 0), in_child("second", folder, 1)
    cost = []
    for name, run in (("first", first), ("second", again)):
        cost.append(run["prepare_seconds"] + run["read_seconds"])
        print(
            f"{name} session: {run['images_prepared']:.0f} scans read and prepared in "
            f"{run['prepare_seconds']:.2f} s, {run['images_reused']:.0f} taken from the cache in "
            f"{run['read_seconds']:.2f} s"
        )
    ratio = cost[0] / cost[1]
    print(f"images cost {ratio:.1f} x less in the second session")
    return {
        "the second session reads no scan": again["images_prepared"] == 0,
        f"its images cost {LEAST_IMAGE_RATIO} x less time": ratio >= LEAST_IMAGE_RATIO,
    }


def beyond(folder, options):
    n = options.patients or 400
    write(folder, n, 8)
    in_child("beyond", folder, 1e5, n)  # the cache is filled
    n_few = min(n // 2, 80)  # more than one batch of a prediction
    few = in_child("beyond", folder, 1e5, n_few)
    whole = in_child("beyond", folder, 1e5, n)
    prepared, added = n * whole["size"], (n - n_few) * whole["size"]
    limit = prepared / 10 / 1e6
    files = in_child("beyond", folder, limit, n)
    above = {name: run["peak"] - few["peak"] for name, run in (("m", whole), ("f", files))}
    print(
        f"{n} prepared images are {prepared / 1e6:.0f} MB, the limit {limit:.1f} MB. {n_few} "
        f"patients have {added / 1e6:.0f} MB less; the peak is {above['m'] / 1e6:.0f} MB above "
        f"theirs in memory, {above['f'] / 1e6:.0f} MB from files"
    )
    print(f"{whole['seconds']:.1f} s in memory, {files['seconds']:.1f} s from files")
    return {
        "results are the same bit for bit": whole["predictions"] == files["predictions"],
        f"from files the peak grows by less than {MOST_SHARE} of the added images": above["f"]
        < MOST_SHARE * added,
    }


PARTS = {"workers": workers, "second": second, "beyond": beyond}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--patients", type=int, help="instead of what each part takes")
    parser.add_argument("--repeats", type=int, default=2, help="of workers; the best counts")
    for hidden in ("--child", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--arguments", nargs="+", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        given = [int(one) if one == int(one) else one for one in options.arguments]
        print(json.dumps(RUNS[options.child](Path(options.folder), *given)))
        return 0
    print(f"SIMULATED patients; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    bars = {}
    for part in options.part:
        with tempfile.TemporaryDirectory() as folder:
            bars |= PARTS[part](Path(folder), options)
    for name, held in bars.items():
        print(f"{'held  ' if held else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
