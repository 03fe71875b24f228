"""The encoder of head shapes: which directions it keeps, and that it stays what it is."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from imaging import CoordinateModel, HeadShapeEncoder, ImageError, ModelFileError
from imaging.nets.voxelwise import build_voxelwise
from imaging.pretraining.head_shape import _solved
from imaging.registration.places.tasks import COORDINATE_OUTPUTS
from imaging.storage.models import read_model, write_model
from imaging.synthesis import LabelMapSource

SOURCE = LabelMapSource(spacing_mm=8, lesion_probability=0)
SIZE = (24, 32, 24)


def measured(self, array, to_mm):
    """Instead of 202 measures of the head: how large it is, and noise that hangs on the scan."""
    if not np.ptp(array):
        raise ImageError("it shows next to no brain")
    noise = np.random.default_rng(int(1e6 * abs(float(array.std()))))
    found = noise.normal(size=202)
    found[0] = 3 * np.log((array > array.mean()).sum() * abs(np.linalg.det(to_mm)))
    return found.astype(np.float32)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A file with a coordinate model, whose measures are known."""
    model = CoordinateModel(channels=(4, 4, 4), spacing_mm=8, patch_size=SIZE)
    model.outputs_, model.patch_size_ = COORDINATE_OUTPUTS, SIZE
    model.network_ = build_voxelwise("folded-small", 10, channels=(4, 4, 4)).eval()
    monkeypatch.setattr(CoordinateModel, "_measured", measured)
    return model.save(tmp_path / "coordinates.safetensors")


def fitted(path, **changes):
    settings = {"source": SOURCE, "n_people": 4, "n_features": 2, "random_state": 0}
    return HeadShapeEncoder(str(path), **{**settings, **changes}).fit()


def scans(count=6):
    """Boxes of different sizes."""
    found = []
    for number in range(count):
        values = np.zeros((24, 28, 26), np.float32)
        values[4 : 14 + number, 5:20, 6:20] = 1
        noise = np.random.default_rng(number).random(values.shape)
        found.append(
            nib.Nifti1Image(values + 0.1 * noise.astype(np.float32), np.diag([8] * 3 + [1]))
        )
    return found


def test_what_tells_people_apart_is_kept_and_noise_is_not():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(200, 2, 10))
    pairs[:, :, 3] = 2 * rng.normal(size=(200, 1)) + 0.2 * rng.normal(size=(200, 2))
    pairs[:, :, 4] *= 30  # varies most, and says nothing
    centre, directions = _solved(pairs.astype(np.float32), 2, 0.1)
    vectors = (pairs - centre) @ directions
    assert abs(np.corrcoef(vectors[:, 0, 0], pairs[:, 1, 3])[0, 1]) > 0.95
    assert 0.7 < (vectors[:, 0] - vectors[:, 1])[:, 0].std() / np.sqrt(2) < 1.4


def test_nothing_is_learnt_of_the_scans(path):
    first, second = (
        fitted(path),
        HeadShapeEncoder(**fitted(path).get_params()).fit(scans(), [1] * 6),
    )
    assert np.array_equal(first.directions_, second.directions_)
    assert not np.array_equal(first.directions_, fitted(path, random_state=1).directions_)


def test_vectors_have_names_and_scans_may_be_a_column(path):
    encoder = fitted(path).set_output(transform="pandas")
    found = encoder.transform(pd.DataFrame({"t1w": scans(2)}))
    assert list(found.columns) == ["headshapeencoder0", "headshapeencoder1"]
    both = encoder.transform([scans(2)])  # two sequences of one patient
    assert np.allclose(both.to_numpy(), found.to_numpy().mean(0), atol=1e-5)


def test_a_file_brings_the_encoder_back_frozen(path, tmp_path):
    encoder = fitted(path)
    file = encoder.save(tmp_path / "shape.safetensors", scores={"top-1": 0.5})
    again = HeadShapeEncoder.load(file)
    assert np.array_equal(again.transform(scans()), encoder.transform(scans()))
    assert again.identity() == encoder.identity()
    assert again.card_["scores"] == {"top-1": 0.5}
    pipeline = make_pipeline(again, LogisticRegression()).fit(scans(), [0, 0, 0, 1, 1, 1])
    assert np.array_equal(pipeline[0].directions_, encoder.directions_)


def test_another_coordinate_model_is_refused(path, tmp_path):
    file = fitted(path).save(tmp_path / "shape.safetensors")
    weights, card = read_model(path, lambda card, shapes: card)
    name = next(iter(weights))
    other = write_model(tmp_path / "other.safetensors", {**weights, name: weights[name] + 1}, card)
    with pytest.raises(ModelFileError, match="another coordinate model"):
        HeadShapeEncoder.load(file, coordinates=str(other))
    with pytest.raises(ModelFileError, match="holds no HeadShapeEncoder"):
        HeadShapeEncoder.load(path)


def test_an_unsaved_model_cannot_be_named(path, tmp_path):
    encoder = fitted(path)
    loose = HeadShapeEncoder(
        encoder.model_, source=SOURCE, n_people=3, n_features=1, random_state=0
    )
    with pytest.raises(ModelFileError, match="save that first"):
        loose.fit().save(tmp_path / "shape.safetensors")


def test_wrong_parameters_and_scans(path):
    with pytest.raises(ValueError, match="n_features"):
        fitted(path, n_features=0)
    with pytest.raises(ValueError, match="contrast"):
        fitted(path, contrast="none")
    encoder = fitted(path)
    assert clone(encoder).get_params()["n_people"] == 4
    with pytest.raises(ImageError, match="scan 1"):
        encoder.transform([scans(1)[0], "nowhere.nii.gz"])
    with pytest.raises(ImageError, match="give \\[scan\\]"):
        encoder.transform(scans(1)[0])


def test_features_of_voxels_say_how_near_they_are(path):
    encoder = fitted(path)

    class Placed:
        """Every voxel is in the template where it is in the scan."""

        def predict(self, scan):
            grid = np.stack(
                np.meshgrid(*[8.0 * np.arange(n) for n in scan.shape], indexing="ij"), -1
            )
            self.coordinates = nib.Nifti1Image(grid.astype(np.float32), scan.affine)
            return self

    encoder.model_ = Placed()
    features = encoder.transform_map(scans(1))[0].get_fdata()
    assert np.allclose(np.linalg.norm(features, axis=-1), 1, atol=1e-5)
    alike = features @ features[10, 10, 10]
    assert np.unravel_index(alike.argmax(), alike.shape) == (10, 10, 10)
    assert alike[10, 10, 11] > alike[10, 10, 13] > alike[10, 10, 18]
