"""Ctrl-C comes out as it is, and nothing of what it cut short is kept."""

import os
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from imaging.learning import batches
from prognosis import StitchedSliceClassifier, compare
from prognosis.cli import main


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    y = np.arange(20) % 2
    scans = [
        nib.Nifti1Image(
            (rng.random((10, 12, 8)) + label * np.linspace(0, 1, 8)).astype(np.float32),
            np.diag([8, 8, 8, 1]),
        )
        for label in y
    ]
    index = [f"p{number}" for number in range(20)]
    return pd.DataFrame({"scan": scans}, index), pd.Series(y, index)


@pytest.fixture
def interrupt(monkeypatch):
    """Ctrl-C when the so-manieth batch is made; lifted by calling it without a number."""
    take = batches.Samples.take

    def after(count=None):
        left = [count]

        def interrupted(self, rows):
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return take(self, rows)

        monkeypatch.setattr(batches.Samples, "take", take if count is None else interrupted)

    return after


def cnn(**settings):
    return StitchedSliceClassifier(
        "scan", mosaic_size=30, epochs=4, device="cpu", random_state=0, **settings
    )


@pytest.mark.parametrize("settings", [{}, {"validation_fraction": 0.3, "patience": 2}])
def test_a_fit_that_is_interrupted_is_no_fit(cohort, interrupt, settings):
    X, y = cohort
    model = cnn(**settings).fit(X, y)
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize("batch", [2, 4, 8])
def test_a_fold_that_was_cut_short_is_computed_again(cohort, interrupt, tmp_path, batch):
    undisturbed = compare({"cnn": cnn()}, *cohort, cv=2, random_state=0)
    interrupt(batch)
    with pytest.raises(KeyboardInterrupt):
        compare({"cnn": cnn()}, *cohort, cv=2, random_state=0, resume=tmp_path)
    interrupt()
    resumed = compare({"cnn": cnn()}, *cohort, cv=2, random_state=0, resume=tmp_path)
    pd.testing.assert_frame_equal(resumed.predictions, undisturbed.predictions)


def test_the_command_line_says_so_and_writes_nothing(interrupt, tmp_path, capsys):
    interrupt(5)
    out = tmp_path / "report"
    arguments = ["compare", "--cohort", "simulated", "--quick", "--n-jobs", "1", "--out", str(out)]
    assert main([*arguments, "--memory", str(tmp_path / "memory")]) == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert not out.exists()


SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have switched it off
import sys, numpy as np, pandas as pd, nibabel as nib
from pathlib import Path
from prognosis import StitchedSliceClassifier, compare
from imaging.learning import batches

take = batches.Samples.take
def slowly(self, rows):
    Path(sys.argv[1], "training").touch()
    import time; time.sleep(0.05)
    return take(self, rows)
batches.Samples.take = slowly
rng = np.random.default_rng(0)
scans = [nib.Nifti1Image(rng.random((10, 12, 8)).astype("f4"), np.eye(4)) for _ in range(8)]
X, y = pd.DataFrame({"scan": scans}), pd.Series([0, 1] * 4)
model = StitchedSliceClassifier("scan", mosaic_size=30, epochs=200, device="cpu", random_state=0)
compare({"cnn": model}, X, y, cv=2, random_state=0, resume=sys.argv[1] + "/kept")
Path(sys.argv[1], "finished").touch()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_a_real_signal_ends_a_process_and_keeps_nothing(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "training").exists() and time.monotonic() < deadline:
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode != 0 and "KeyboardInterrupt" in errors
    assert not (tmp_path / "finished").exists()
    assert not list((tmp_path / "kept").rglob("output.pkl"))
