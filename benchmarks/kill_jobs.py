"""What `kills.py` kills: one function for each kind of work, that returns its result as bytes.

Each notes when a piece of work begins, so that what is begun again after a kill can be counted.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import joblib
import pandas as pd

from prognosis import (
    OptunaSearch,
    StitchedSliceClassifier,
    compare,
    logistic_ladder,
    make_stroke_cohort,
)

N_PATIENTS = 40  # of the cohort that models learn from
N_WRITTEN = 60  # of the cohort that is written


class NotedCNN(StitchedSliceClassifier):
    """Writes a line whenever a fit begins."""

    def fit(self, X, y, sample_weight=None):
        note()
        return super().fit(X, y, sample_weight)


def note():
    with open(os.environ["KILLS_LOG"], "a") as log:
        log.write("begun\n")


def die_in_writing():
    """End all processes when this one is about to name its so-manieth file, if it is to."""
    left = int(os.environ["KILLS_AT"])

    def count(event, arguments):
        nonlocal left
        if event == "os.rename":
            left -= 1
            if left == 0:
                os.killpg(0, signal.SIGKILL)

    if left:
        sys.addaudithook(count)


def load_engine():
    import imaging.learning.engine
    import imaging.nets.classifiers  # noqa: F401

    die_in_writing()
    time.sleep(0.2)  # so that no worker takes the part of another


def prepare_networks(n_jobs):
    """Workers load their libraries before the clock starts: kills are to hit the work."""
    if n_jobs == 1:
        load_engine()
    else:
        joblib.Parallel(n_jobs, batch_size=1)(joblib.delayed(load_engine)() for _ in range(n_jobs))


def network(folder):
    return NotedCNN("t1w", mosaic_size=64, epochs=2, memory=folder / "images", random_state=0)


def run_compare(folder, n_jobs):
    X, y = pd.read_pickle(folder.parents[1] / "cohort.pkl")
    models = logistic_ladder([["severity"], ["severity", "recovery_years"]])
    models["cnn"] = network(folder)
    result = compare(
        models, X, y, cv="3x2", n_jobs=n_jobs, random_state=0, resume=folder / "finished"
    )
    # Floats are written so that they are read back exactly.
    return (result.predictions.to_csv() + result.table.to_csv()).encode()


def prepare_search(n_jobs):
    import optuna.pruners
    import optuna.samplers  # noqa: F401

    prepare_networks(n_jobs)


def run_search(folder, n_jobs):
    """Trials, their scores and states, and what the model that was chosen predicts."""
    from optuna.distributions import FloatDistribution

    X, y = pd.read_pickle(folder.parents[1] / "cohort.pkl")
    space = {
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "weight_decay": FloatDistribution(1e-4, 1e-1, log=True),
    }
    search = OptunaSearch(
        network(folder),
        space,
        cv=3,
        n_trials=5,
        scoring="neg_log_loss",
        storage=folder / "trials.journal",
        n_jobs=n_jobs,
        random_state=0,
    ).fit(X, y)
    found = pd.DataFrame(search.cv_results_)
    taken = ["params", "state", "n_folds_run", "n_epochs_run"]
    taken += [name for name in found if "test_score" in name]
    predicted = pd.DataFrame(search.predict_proba(X)).to_csv()
    return (found[taken].to_csv() + json.dumps(search.best_params_) + predicted).encode()


def prepare_segmenter(n_jobs):
    import imaging.voxelwise.fitting  # noqa: F401
    from imaging.voxelwise.samples import PatchStream

    die_in_writing()
    go_to_epoch = PatchStream.at_epoch

    def noted(stream, epoch):
        note()
        go_to_epoch(stream, epoch)

    PatchStream.at_epoch = noted


def run_segmenter(folder, n_jobs):
    from imaging.segmentation import LesionSegmenter
    from imaging.synthesis import LabelMapSource

    segmenter = LesionSegmenter(
        channels=(4, 8, 8),
        source=LabelMapSource(spacing_mm=8),
        spacing_mm=8,
        patch_size=16,
        epochs=20,
        steps_per_epoch=1,
        validation_samples=1,
        dropout=0.2,
        checkpoint=folder / "checkpoint",
        random_state=0,
    ).fit()
    weights = segmenter.network_.state_dict()
    history = json.dumps(segmenter.history_).encode()
    return b"".join(tensor.numpy().tobytes() for tensor in weights.values()) + history


def prepare_cohort(n_jobs):
    from prognosis.cohorts import simulated

    make_stroke_cohort(1, spacing_mm=8, random_state=0)  # atlases are read
    die_in_writing()
    simulate = simulated.simulate_head

    def noted(*arguments):
        note()
        return simulate(*arguments)

    simulated.simulate_head = noted


def run_cohort(folder, n_jobs):
    """The bytes of every scan and mask that was written, and the table."""
    X, y = make_stroke_cohort(
        N_WRITTEN, spacing_mm=4, folder=folder / "scans", n_jobs=n_jobs, random_state=0
    )
    images = b"".join(Path(path).read_bytes() for name in ("t1w", "lesion") for path in X[name])
    return images + X.drop(columns=["t1w", "lesion"]).assign(y=y).to_csv().encode()


# How to prepare, and what to run.
JOBS = {
    "compare": (prepare_networks, run_compare),
    "search": (prepare_search, run_search),
    "segmenter": (prepare_segmenter, run_segmenter),
    "cohort": (prepare_cohort, run_cohort),
}
