"""A segmenter that was saved and loaded is the same: parameters, identity, masks."""

import inspect
import json

import nibabel as nib
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from imaging import ModelFileError
from imaging.parameters import marked
from imaging.segmentation import LesionSegmenter, TissueSegmenter
from imaging.synthesis import LabelMapSource
from imaging.voxelwise import estimator, sequences, windows
from imaging.voxelwise.card import plain_parameters, stored_fields

UNUSUAL = {
    "architecture": "dynunet-small",
    "channels": (4, 8, 8),
    "spacing_mm": 7.5,
    "patch_size": (16, 20, 16),
    "mirror": (0.25, 0.0, 0.5),
    "deep_supervision": True,
    "dropout": 0.125,
    "ct": True,
    "overlap": 0.625,
    "test_time_mirroring": (0, 2),
    "threshold": 0.1875,
    "learn_tissues": False,
    "spatial_dims": 3,
}
STORED = {name for part in stored_fields(LesionSegmenter) for name in part}
TRAINING = {"epochs": 1, "steps_per_epoch": 1, "validation_samples": 0, "random_state": 0}


@pytest.fixture(scope="module")
def unusual(scan):
    source = LabelMapSource(spacing_mm=8)
    segmenter = LesionSegmenter(**UNUSUAL, **TRAINING, source=source).fit()
    # So that half of the voxels of that scan are above it.
    (probability,) = segmenter.predict_proba([scan])
    return segmenter.set_params(threshold=float(np.median(probability.dataobj)))


@pytest.fixture(scope="module")
def scan():
    voxels = np.random.default_rng(0).uniform(-20, 100, (24, 26, 22)).astype(np.float32)
    return nib.Nifti1Image(voxels, np.diag([-8, 8, 8, 1.0]))


def _changed(parameters):
    """One other value of each."""
    other = {
        "architecture": "unet-small",
        "channels": (4, 8, 16),
        "spacing_mm": 8,
        "patch_size_": (16, 16, 16),
        "mirror": (0.5, 0.0, 0.5),
        "deep_supervision": False,
        "dropout": 0.25,
        "ct": False,
        "overlap": 0.25,
        "test_time_mirroring": True,
        "threshold": 0.5,
        "learn_tissues": True,
        "spatial_dims": 2,
    }
    return other if parameters is None else {name: other[name] for name in parameters}


def test_masks_parameters_and_identity_come_back(unusual, scan, tmp_path):
    loaded = LesionSegmenter.load(unusual.save(tmp_path / "model.safetensors"))
    expected = {**UNUSUAL, "threshold": unusual.threshold}
    assert {name: getattr(loaded, name) for name in UNUSUAL} == expected
    assert loaded.identity() == unusual.identity()
    (one,), (other,) = unusual.predict([scan]), loaded.predict([scan])
    np.testing.assert_array_equal(one.dataobj, other.dataobj)
    assert 0.3 < np.asarray(one.dataobj).mean() < 0.7
    again = LesionSegmenter.load(loaded.save(tmp_path / "again.safetensors"))
    assert again.identity() == unusual.identity()


@pytest.mark.parametrize("flips", [True, False, (), (1,)])
def test_every_kind_of_flips_and_mirror_comes_back(segmenter, tmp_path, flips):
    model = LesionSegmenter.load(segmenter.save(tmp_path / "model.safetensors"))
    model.set_params(test_time_mirroring=flips, mirror=0.5)
    loaded = LesionSegmenter.load(model.save(tmp_path / "flips.safetensors"))
    assert loaded.test_time_mirroring == flips and type(loaded.test_time_mirroring) is type(flips)
    assert loaded.mirror == (0.5, 0.5, 0.5) and loaded.identity() == model.identity()


def test_what_is_given_counts_more_than_the_card(unusual, scan, tmp_path):
    path = unusual.save(tmp_path / "model.safetensors")
    loaded = LesionSegmenter.load(path, threshold=0.0, test_time_mirroring=False)
    assert (
        loaded.threshold == 0.0 and loaded.test_time_mirroring is False and loaded.overlap == 0.625
    )
    assert loaded.identity() != unusual.identity()


def test_identity_knows_every_parameter_that_masks_depend_on(segmenter, tmp_path):
    model = LesionSegmenter.load(segmenter.save(tmp_path / "model.safetensors"))
    before = model.identity()
    for name, value in _changed(None).items():
        kept = getattr(model, name)
        if np.ndim(value):
            value = tuple(2 * n for n in value) if value == kept else value
        elif value == kept:
            value = UNUSUAL[name]
        dims = {"mirror": 0.5} if name == "spatial_dims" else {}
        held = {other: getattr(model, other) for other in dims}
        for other, one in {name: value, **dims}.items():
            setattr(model, other, one)
        assert model.identity() != before, name
        for other, one in {name: kept, **held}.items():
            setattr(model, other, one)
    assert model.identity() == before
    assert set(_changed(None)) == {name.replace("patch_size", "patch_size_") for name in STORED}


def test_whatever_predicting_reads_is_stored():
    """Parameters that the code between a scan and its mask takes from a model, or its task has."""
    sources = [inspect.getsource(module) for module in (sequences, windows)]
    shell = estimator.BaseVoxelwise
    sources += [inspect.getsource(getattr(shell, n)) for n in ("predict", "_through", "_one")]
    text = "\n".join(sources)
    names = set(LesionSegmenter().get_params(deep=False))
    read = {n for n in names if f"model.{n}" in text or f"self.{n}" in text}
    read |= set(marked(LesionSegmenter(), "task"))
    assert read > {"spacing_mm", "threshold", "overlap", "test_time_mirroring", "ct", "mirror"}
    # Where it is computed changes no mask, nor does the loss of the training.
    loss = {"lesion_weight", "tversky", "warm_start_steps"}
    assert read - STORED == {"device", "n_threads"} | loss


def test_cards_of_format_1_are_read_and_lack_what_came_later(unusual, tmp_path):
    path = unusual.save(tmp_path / "model.safetensors")
    with safe_open(path, "pt") as file:
        card = json.loads(file.metadata()["model_card"])
    task = card.pop("task")
    card.pop("checksum")
    old = {**card, "format": 1, "task": "LesionSegmenter", "classes": card.pop("outputs")}
    old |= {"ct": task["ct"]}
    for name in ("outputs", "overlap", "test_time_mirroring", "trained_on"):
        old.pop(name, None)
    save_file(load_file(path), path, metadata={"model_card": json.dumps(old)})
    loaded, defaults = LesionSegmenter.load(path), LesionSegmenter()
    for name in ("overlap", "test_time_mirroring", "threshold", "learn_tissues"):
        assert getattr(loaded, name) == getattr(defaults, name)
    assert loaded.ct and loaded.classes_ == unusual.classes_ and loaded.card_["format"] == 2
    whole = {**old, "threshold": 0.25, "test_time_flips": [0, 2], "overlap": 0.625}
    save_file(load_file(path), path, metadata={"model_card": json.dumps(whole)})
    loaded = LesionSegmenter.load(path)
    assert loaded.threshold == 0.25 and loaded.test_time_mirroring == (0, 2)
    assert loaded.save(tmp_path / "new.safetensors") and loaded.overlap == 0.625
    assert LesionSegmenter.load(tmp_path / "new.safetensors").identity() == loaded.identity()
    shipped = LesionSegmenter.from_pretrained("synthetic-small")
    assert (shipped.threshold, shipped.overlap, shipped.learn_tissues) == (0.5, 0.5, True)


def test_tissues_take_what_is_theirs(segmenter, tmp_path):
    path = segmenter.save(tmp_path / "model.safetensors")
    tissues = TissueSegmenter.load(path)
    assert not hasattr(tissues, "threshold")
    assert plain_parameters(tissues)[1] == {"ct": False}
    back = LesionSegmenter.load(tissues.save(tmp_path / "tissues.safetensors"))
    assert back.threshold == 0.5


def test_a_card_of_another_network_is_not_written(segmenter, tmp_path):
    model = LesionSegmenter.load(segmenter.save(tmp_path / "model.safetensors"))
    with pytest.raises(ModelFileError, match="of shape"):
        model.set_params(channels=(4, 8, 16)).save(tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()
