"""Models as files: what is written comes back, what does not fit is refused, no pickles."""

import json
import pickle
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone

from imaging import HeadShapeEncoder, ModelFileError
from imaging.learning.checkpoints import CheckpointError
from imaging.segmentation import LesionSegmenter, TissueSegmenter
from imaging.storage.models import WEIGHTS
from imaging.synthesis import Keep, LabelMapSource, Target, synthetic_chain
from imaging.voxelwise.storage import read_network


@pytest.fixture
def path(segmenter, tmp_path):
    return segmenter.save(
        tmp_path / "model.safetensors", training_data="made here", scores={"dice": 0.5}
    )


@pytest.fixture
def scan():
    rng = np.random.default_rng(0)
    return nib.Nifti1Image(rng.random((20, 24, 20), np.float32), np.diag([-8, 8, 8, 1.0]))


def _rewritten(path, change, tensors=None):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        card = json.loads(file.metadata()["model_card"])
    card.update(change)
    card.pop("checksum", None)  # as of a file that was never signed
    save_file(tensors or load_file(path), path, metadata={"model_card": json.dumps(card)})
    return path


def test_a_loaded_model_gives_the_same_probabilities(segmenter, path, scan):
    loaded = LesionSegmenter.load(path)
    expected = segmenter.predict_proba([scan])[0].get_fdata()
    np.testing.assert_array_equal(loaded.predict_proba([scan])[0].get_fdata(), expected)
    assert loaded.identity() == segmenter.identity()
    assert loaded.get_params()["spacing_mm"] == 8 and loaded.mirror == (0.5, 0.0, 0.0)
    half = segmenter.save(path.with_name("half.safetensors"), half=True)
    assert half.stat().st_size < 0.7 * path.stat().st_size
    near = LesionSegmenter.load(half).predict_proba([scan])[0].get_fdata()
    np.testing.assert_allclose(near, expected, atol=5e-3)


def test_the_card_says_what_it_is(segmenter, path):
    card = LesionSegmenter.load(path, threshold=0.3).card_
    assert card["outputs"] == list(segmenter.classes_)
    assert card["training_data"] == "made here" and card["scores"] == {"dice": 0.5}
    assert card["spacing_mm"] == 8 and len(card["date"]) == 10 and card["version"]


def test_tissues_load_where_the_classes_are_theirs(path, scan):
    tissues = TissueSegmenter.load(path).predict([scan])[0]
    assert set(np.unique(tissues.dataobj)) <= set(range(6))
    _rewritten(path, {"outputs": ["background", "grey matter", "lesion", "csf", "fat", "air"]})
    with pytest.raises(ModelFileError, match="has the classes background, grey matter, lesion"):
        TissueSegmenter.load(path)
    with pytest.raises(ModelFileError, match="LesionSegmenter needs"):
        LesionSegmenter.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"outputs": ["background", "lesion"]}, "of shape"),
        ({"channels": [4, 8, 16]}, "of shape"),
        ({"outputs": []}, "outputs"),
        ({"task": "lesions"}, "task='lesions'; it is missing or of the wrong type"),
        ({"channels": [4]}, "cannot be built"),
        ({"architecture": "oracle"}, "cannot be built"),
        ({"spacing_mm": -1}, "spacing_mm=-1"),
        ({"spacing_mm": "wide"}, "spacing_mm='wide'"),
        ({"patch_size": [16, 16]}, "for 3 axes"),
        ({"scores": None}, "missing or of the wrong type"),
    ],
)
def test_cards_that_do_not_fit_are_refused(path, change, message):
    with pytest.raises(ModelFileError, match=message):
        LesionSegmenter.load(_rewritten(path, change))


def test_a_card_that_lacks_a_parameter_is_refused(path):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        card = json.loads(file.metadata()["model_card"])
    del card["spacing_mm"]  # which may be None, but has to be said
    save_file(load_file(path), path, metadata={"model_card": json.dumps(card)})
    with pytest.raises(ModelFileError, match="spacing_mm=None; it is missing"):
        LesionSegmenter.load(path)


def test_weights_that_do_not_fit_are_refused(path):
    tensors = load_file(path)
    name = next(iter(tensors))
    _rewritten(path, {}, {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(ModelFileError, match=f"holds '{name}' of shape None"):
        LesionSegmenter.load(path)
    _rewritten(path, {}, {**tensors, name: torch.full_like(tensors[name], torch.nan)})
    with pytest.raises(ModelFileError, match="not finite"):
        LesionSegmenter.load(path)


def test_other_files_are_refused_and_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for name, content in (
        ("pickle.safetensors", pickle.dumps(Trap())),
        ("empty.safetensors", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match="no safetensors file"):
            LesionSegmenter.load(tmp_path / name)
    torch.save({"a": Trap()}, tmp_path / "torch.safetensors")
    with pytest.raises(ModelFileError):
        LesionSegmenter.load(tmp_path / "torch.safetensors")
    assert not (tmp_path / "sprung").exists()
    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(ModelFileError, match="no model card"):
        LesionSegmenter.load(tmp_path / "bare.safetensors")
    with pytest.raises(ModelFileError, match="no model at"):
        LesionSegmenter.load(tmp_path / "nowhere.safetensors")


def test_nothing_half_written_stays(segmenter, tmp_path, monkeypatch):
    import safetensors.torch

    def breaks(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(safetensors.torch, "save_file", breaks)
    with pytest.raises(OSError, match="disk full"):
        segmenter.save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ModelFileError, match=r"ends in \.safetensors"):
        segmenter.save(tmp_path / "model.pt")


def test_models_of_the_package_are_small_and_whole():
    files = sorted(WEIGHTS.glob("*.safetensors"))
    known = {"coordinates", "synthetic-small", "sequence-invariant-small"}
    assert {"coordinates", "synthetic-small"} <= {file.stem for file in files} <= known
    for file in files:
        assert file.stat().st_size <= 10e6
        if file.stem == "sequence-invariant-small":  # directions, no network
            assert HeadShapeEncoder.load(file).card_["training_data"]
            continue
        network, card = read_network(file)
        assert card["training_data"] and card["scores"] and not network.training
    with pytest.raises(ModelFileError, match="no pretrained model 'huge'"):
        LesionSegmenter.from_pretrained("huge")
    with pytest.raises(ModelFileError, match="no pretrained model"):
        LesionSegmenter.from_pretrained("../weights/synthetic")


def test_the_shipped_model_sees_a_planted_lesion_and_less_without_it():
    """Template heads, which are not in its training, with and without the same large lesion."""
    ball = np.indices((40, 40, 40)) - 19.5
    mask = ((ball**2).sum(0) < 15**2).astype(np.uint8)  # radius 30 mm
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = (-74, -54, -19)
    model = LesionSegmenter.from_pretrained("synthetic-small")
    inside = []
    for seed in range(4):
        found = []
        for probability in (1.0, 0.0):
            source = LabelMapSource(
                lesions=[nib.Nifti1Image(mask, affine)],
                lesion_probability=probability,
                most_lesions=1,
                spacing_mm=2,
            )
            chain = synthetic_chain(
                source,
                spacing_mm=2.0,
                patch_size=None,
                noise_device="cpu",
                ending=(Target("lesion"), Keep("image", "target")),
            )
            scene, _ = chain.sample({}, seed)
            if probability:
                target = scene["target"][0].numpy() > 0
            (one,) = model.predict_proba(
                [nib.Nifti1Image(scene["image"][0].numpy(), np.diag([2.0, 2, 2, 1]))]
            )
            found.append(np.asarray(one.dataobj)[target].mean())
        inside.append(found)
    with_lesion, without = np.mean(inside, 0)
    assert target.sum() > 3000
    assert with_lesion > 0.4 and with_lesion > without + 0.2


def test_training_goes_on_from_a_model_and_survives_cloning(segmenter, path):
    loaded = LesionSegmenter.load(path, epochs=1, steps_per_epoch=1, validation_samples=0)
    before = load_file(path)
    for model in (loaded, clone(loaded)):
        model.set_params(learning_rate=1e-9, weight_decay=0.0, random_state=3).fit()
        for name, tensor in model.network_.state_dict().items():
            torch.testing.assert_close(tensor, before[name].float(), atol=1e-6, rtol=0)
    anew = clone(loaded).set_params(initial_weights=None).fit()
    gap = [(anew.network_.state_dict()[n] - t).abs().max() for n, t in before.items() if t.ndim > 1]
    assert min(gap) > 1e-3


def test_other_classes_begin_anew_and_another_network_is_refused(path, scan):
    mask = nib.Nifti1Image((np.asanyarray(scan.dataobj) > 0.9).astype(np.uint8), scan.affine)
    settings = {"epochs": 1, "steps_per_epoch": 1, "learning_rate": 1e-9, "weight_decay": 0.0}
    model = LesionSegmenter.load(path, augment=False, **settings).fit([scan], [mask])
    known = load_file(path)
    found = model.network_.state_dict()
    same = {name for name, tensor in found.items() if tensor.shape == known[name].shape}
    assert len(model.classes_) == 2 and 0 < len(same) < len(found)
    for name in same:
        torch.testing.assert_close(found[name], known[name].float(), atol=1e-6, rtol=0)
    for change in ({"channels": (4, 8, 16)}, {"architecture": "dynunet-small"}):
        with pytest.raises(ModelFileError, match=next(iter(change))):
            LesionSegmenter.load(path, **change).fit()
    with pytest.raises(ModelFileError, match="no pretrained model 'huge'"):
        LesionSegmenter(initial_weights="huge", spacing_mm=8, patch_size=16).fit()


def test_a_checkpoint_knows_what_its_training_began_with(path, tmp_path):
    """By the weights, not by the name of the file; reading a model draws no random number."""
    settings = {"epochs": 1, "steps_per_epoch": 1, "validation_samples": 0, "random_state": 0}
    state = torch.get_rng_state()
    first = LesionSegmenter.load(path, checkpoint=tmp_path / "kept", **settings)
    assert torch.equal(state, torch.get_rng_state())
    changed = first.fit().save(tmp_path / "other" / path.name)
    other = LesionSegmenter.load(changed, checkpoint=tmp_path / "kept", **settings)
    with pytest.raises(CheckpointError, match="initial_weights"):
        other.fit()
    moved = shutil.copy(path, tmp_path / "moved.safetensors")
    LesionSegmenter.load(moved, checkpoint=tmp_path / "kept", **settings).fit()
