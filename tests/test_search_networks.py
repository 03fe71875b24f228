"""Searches over networks: scans are prepared once, and trainings that are behind stop early."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from imaging.learning.batches import Samples
from prognosis import CohortError, LesionSize, OptunaSearch, StitchedSliceClassifier, compare
from prognosis.search.epochs import EpochWatch, StoppedTraining, find_network, loss_kind

N = 24
RATES = {"learning_rate": FloatDistribution(1e-4, 1e-2, log=True)}
SETTINGS = {"epochs": 2, "device": "cpu", "random_state": 0}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    paths = [str(folder / f"scan-{number:02d}.nii.gz") for number in range(N)]
    for number, path in enumerate(paths):
        image = rng.random((12, 14, 12), np.float32) + number % 2
        nib.save(nib.Nifti1Image(image, np.diag([8, 8, 8, 1])), path)
    index = [f"p{number}" for number in range(N)]
    X = pd.DataFrame({"scan": paths, "age": rng.normal(60, 9, N)}, index)
    return X, pd.Series([0, 1] * (N // 2), index)


def once(cohort):
    return sorted(Path(path).name for path in cohort[0]["scan"])


def test_a_search_reads_each_scan_once(cohort, reads):
    cnn = StitchedSliceClassifier("scan", mosaic_size=30, **SETTINGS)
    search = OptunaSearch(cnn, RATES, cv=2, n_trials=3, pruner=None, random_state=0).fit(*cohort)
    assert sorted(reads()) == once(cohort)
    assert (search.cv_results_["n_epochs_run"] == 4).all()
    assert len(set(search.cv_results_["param_learning_rate"])) == 3


def test_searches_inside_of_compare_share_what_is_prepared(cohort, reads):
    cnn = StitchedSliceClassifier("scan", mosaic_size=30, **SETTINGS)
    models = {"as is": cnn, "searched": OptunaSearch(cnn, RATES, cv=2, n_trials=2, random_state=0)}
    compare(models, *cohort, cv=2, random_state=0)
    assert sorted(reads()) == once(cohort)


def test_measurements_are_shared_too(cohort, reads, tmp_path):
    import nibabel as nib
    from sklearn.linear_model import LogisticRegression

    from prognosis import TabularEncoder

    masks = []
    for name, path in cohort[0]["scan"].items():
        scan = nib.load(path)
        bright = (np.asanyarray(scan.dataobj) > np.median(scan.dataobj)).astype(np.uint8)
        masks.append(str(tmp_path / f"{name}.nii"))
        nib.save(nib.Nifti1Image(bright, scan.affine), masks[-1])
    X, before = cohort[0].assign(lesion=masks), len(reads())
    model = make_pipeline(LesionSize(), TabularEncoder(["lesion_ml"]), LogisticRegression())
    space = {"logisticregression__C": FloatDistribution(0.01, 10, log=True)}
    OptunaSearch(model, space, cv=2, n_trials=3, random_state=0).fit(X, cohort[1])
    assert before == len(masks)
    assert sorted(name for name in reads() if name[0] == "p") == sorted(
        Path(path).name for path in masks
    )


def test_a_scan_that_is_missing_is_said_at_once(cohort):
    X = cohort[0].assign(scan=cohort[0]["scan"].where(cohort[0].index != "p3", "nowhere.nii"))
    cnn = StitchedSliceClassifier("scan", mosaic_size=30, **SETTINGS | {"epochs": 1})
    with pytest.raises(CohortError, match=r"row 'p3', column 'scan': no file"):
        OptunaSearch(cnn, RATES, cv=2, n_trials=3).fit(X, cohort[1])


def test_what_was_found_can_be_explained(cohort):
    from prognosis import explain

    cnn = StitchedSliceClassifier("scan", mosaic_size=30, **SETTINGS | {"epochs": 1})
    search = OptunaSearch(cnn, RATES, cv=2, n_trials=1).fit(*cohort)
    ours, plain = (explain(m, cohort[0][:2]) for m in (search, search.best_estimator_))
    assert np.array_equal(ours.pictures, plain.pictures)


# ------------------------------------------------------------------------------- epochs


def test_the_engine_reports_every_epoch_and_ends_where_the_report_raises():
    import torch

    from imaging.learning.engine import train_network

    inputs, targets = torch.randn(20, 3), torch.zeros(20)
    samples = Samples({"x": inputs}, targets, torch.ones(20))

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, x):
            return self.layer(x)[:, 0]

    def squared(outputs, targets):
        return (outputs - targets) ** 2

    told = []
    options = {"loss": squared, "validation": samples, "device": "cpu", "epochs": 4}
    _, history = train_network(
        Net, samples, on_epoch=lambda number, row: told.append((number, row)), **options
    )
    assert told == list(enumerate(history, start=1)) and set(history[0]) >= {"valid_loss"}

    def enough(number, row):
        told.append(number)
        if number == 2:
            raise StoppedTraining

    told.clear()
    with pytest.raises(StoppedTraining):
        train_network(Net, samples, on_epoch=enough, **options)
    assert told == [1, 2]


CURVES = [[0.7, 0.6, 0.5, 0.4, 0.45, 0.4, 0.4, 0.4], [0.8, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]]


def stops_at(losses, kind="same", n_epochs=None, curves=CURVES):
    watch = EpochWatch("same", curves)
    watch.begin(kind, n_epochs or len(losses))
    for epoch, loss in enumerate(losses, start=1):
        try:
            watch(epoch, {"train_loss": 0.0} | ({} if loss is None else {"valid_loss": loss}))
        except StoppedTraining:
            return epoch
    return None


def test_only_hopeless_trainings_are_stopped():
    # the worst fold at half of the way: .8, .7, .6, .6; a standard deviation: .07, .07, .07, .14
    assert stops_at([0.9] * 8) == 2
    assert stops_at([0.86] * 8) == 4
    assert stops_at([0.75] * 8) == 6
    assert stops_at([0.66] * 8) is None
    assert stops_at([0.75, *[0.9] * 7]) == 6  # what it has reached counts
    assert stops_at([0.86] * 16) == 8  # ways are shares of all epochs
    assert stops_at([0.75] * 8, curves=CURVES[1:]) == 4  # one fold, no deviation
    for curve in CURVES:
        assert stops_at(curve) is None  # the best trial itself
    slow = [1.0, *np.repeat(CURVES[1], 2)[:15]]
    assert stops_at(slow, n_epochs=8) is None  # half as fast


def test_what_cannot_be_compared_is_never_stopped():
    assert stops_at([9.0] * 8, kind="other") is None
    assert stops_at([9.0] * 8, kind=None) is None
    assert stops_at([9.0] * 8, curves=[]) is None
    assert stops_at([None] * 8) is None


def test_losses_of_one_kind():
    cnn = StitchedSliceClassifier("scan", validation_fraction=0.3)
    assert loss_kind(cnn) == loss_kind(StitchedSliceClassifier("age", validation_fraction=0.3))
    for other in ({"validation_fraction": 0.2}, {"class_weight": "balanced"}, {"ordinal": True}):
        changed = StitchedSliceClassifier("scan", **{"validation_fraction": 0.3} | other)
        assert loss_kind(cnn) != loss_kind(changed)
    assert loss_kind(StitchedSliceClassifier("scan")) is None
    assert find_network(make_pipeline(LesionSize(), cnn)) is cnn
    assert find_network(LesionSize()) is None


@pytest.fixture(scope="module")
def searched():
    """A search among networks on a table, where rates that are far too high are hopeless."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4))
    y = (X[:, 0] + 0.3 * rng.normal(size=120) > 0).astype(int)
    network = StitchedSliceClassifier(
        epochs=8, validation_fraction=0.3, learning_rate=0.03, random_state=0, dropout=0.0
    )
    space = {
        "learning_rate": FloatDistribution(1e-6, 3.0, log=True),
        "n_seeds": IntDistribution(1, 2),
    }
    options = {"cv": 3, "n_trials": 10, "scoring": "neg_log_loss", "random_state": 0}
    return (
        OptunaSearch(network, space, **options).fit(X, y),
        OptunaSearch(network, space, pruner=None, **options).fit(X, y),
    )


def test_epochs_run_and_saved_are_counted(searched):
    pruned, whole = searched
    rows, all_rows = pruned.cv_results_, whole.cv_results_
    seeds = rows["param_n_seeds"].astype(int)
    assert np.array_equal(rows["n_epochs_run"] + rows["epochs_saved"], 3 * 8 * seeds)
    assert np.array_equal(all_rows["n_epochs_run"], 3 * 8 * all_rows["param_n_seeds"].astype(int))
    within = (rows["n_epochs_run"] > rows["n_folds_run"] * 8 * seeds) & (rows["state"] == "pruned")
    assert within.any()  # some trainings were cut off
    assert not rows["epochs_saved"][rows["state"] == "complete"].any()
    assert pruned.pruning_["epochs_saved"] == rows["epochs_saved"].sum() > 24
    assert pruned.pruning_["epochs_run"] == rows["n_epochs_run"].sum()
    assert whole.pruning_["pruned"] == whole.pruning_["epochs_saved"] == 0


def test_folds_that_run_at_once_are_stopped_as_those_that_do_not(searched):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(90, 4))
    y = (X[:, 0] + rng.normal(size=90) > 0).astype(int)
    network = StitchedSliceClassifier(epochs=4, validation_fraction=0.3, random_state=0)
    space = {"learning_rate": FloatDistribution(1e-5, 1.0, log=True)}
    search = OptunaSearch(network, space, cv=4, n_trials=14, scoring="neg_log_loss", random_state=0)
    one = clone(search).fit(X, y)
    with parallel_config("threading"):
        three = clone(search).set_params(n_jobs=3).fit(X, y)
    assert (one.cv_results_["state"] == "pruned").any()
    for name in ("state", "n_folds_run", "n_epochs_run", "mean_test_score"):
        left, right = one.cv_results_[name], three.cv_results_[name]
        assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f"), name


def test_stopping_costs_no_score(searched):
    pruned, whole = searched
    assert pruned.best_score_ > whole.best_score_ - 0.03
    assert pruned.cv_results_["mean_test_score"][0] == whole.cv_results_["mean_test_score"][0]


def test_a_model_remembers_nobody_who_watched(searched):
    assert searched[0].best_estimator_._on_epoch is None
    assert "_on_epoch" not in vars(searched[0].best_estimator_)
