"""Arrays that are lent read-only become tensors without a warning, and are not written to."""

import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from imaging.storage.tensors import as_tensor
from imaging.voxelwise.samples import RealScans
from prognosis import StitchedSliceClassifier
from prognosis.estimators import base


def lent(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not writable")
        yield


def test_what_is_lent_is_copied_and_what_is_ours_is_not():
    ours, theirs = np.zeros(3, np.float32), lent(np.zeros(3, np.float32))
    for array in (ours, theirs):
        as_tensor(array)[0] = 1
    assert ours[0] == 1 and theirs[0] == 0


def test_networks_learn_from_what_workers_are_lent(monkeypatch):
    """joblib hands large arrays to its workers as read-only maps of a file."""
    rng = np.random.default_rng(0)
    scans = [nib.Nifti1Image(lent(rng.random((8, 9, 8), np.float32)), np.eye(4)) for _ in range(8)]
    X, y = pd.DataFrame({"scan": scans, "age": np.arange(8.0)}), [0, 1] * 4
    train = base.train_one

    def borrowing(estimator, inputs, y, weights, train_rows, validation, reference, *rest, **more):
        inputs["tabular"], reference = lent(inputs["tabular"]), (lent(reference[0]), reference[1])
        y, weights = lent(y), lent(weights)
        return train(
            estimator, inputs, y, weights, train_rows, validation, reference, *rest, **more
        )

    monkeypatch.setattr(base, "train_one", borrowing)
    model = StitchedSliceClassifier("scan", tabular=["age"], mosaic_size=32, epochs=1)
    assert model.fit(X, y).predict(X).shape == (8,)


class Doubling:
    """A chain of one step that writes into what it is given, as steps may."""

    def sample(self, scene, seed):
        scene["image"].mul_(2)
        return scene, None


def test_scans_of_read_only_files_are_drawn():
    image, target = lent(np.ones((4, 4, 4), np.float32)), lent(np.zeros((4, 4, 4), np.uint8))

    class Plain:
        def from_zero(self, image):
            return image, False

        def finished(self, image):
            return image

    source = RealScans([image], [target], Plain(), Doubling())
    for _ in range(2):
        drawn, labels = source.draw(0)
        assert (drawn == 2).all() and labels.shape == (4, 4, 4)
    assert (image == 1).all()
