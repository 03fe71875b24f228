"""Training of segmenters: samples by number, interruption, the best epoch, 2-D, real scans."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from imaging.learning.checkpoints import CheckpointError
from imaging.learning.engine import TrainingError
from imaging.segmentation import (
    LESION_CLASSES,
    TISSUE_CLASSES,
    LesionSegmenter,
    LesionTask,
    TissueSegmenter,
    TissueTask,
)
from imaging.synthesis import Keep, LabelMapSource, TakePlane, Target, synthetic_chain
from imaging.voxelwise.samples import PatchStream, RealScans, SyntheticHeads
from imaging.voxelwise.scaling import Standardised
from imaging.voxelwise.training import FixedScans

TINY = {
    "channels": (4, 8, 8),
    "spacing_mm": 8,
    "patch_size": 16,
    "epochs": 3,
    "steps_per_epoch": 2,
    "validation_samples": 2,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def source():
    return LabelMapSource(spacing_mm=8)


def _weights(segmenter):
    return {name: t.clone() for name, t in segmenter.network_.state_dict().items()}


def _equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", [1, 3, 5])
def test_killed_at_any_moment_it_ends_as_if_nothing_had_happened(
    source, tmp_path, monkeypatch, step
):
    settings = {**TINY, "source": source, "dropout": 0.2, "warm_start_steps": 3}
    whole = LesionSegmenter(**settings).fit()
    take, calls = PatchStream.take, []

    def dies(self, rows):
        calls.append(rows)
        if len(calls) == step + 1:
            raise Killed
        return take(self, rows)

    broken = LesionSegmenter(**settings, checkpoint=tmp_path)
    monkeypatch.setattr(PatchStream, "take", dies)
    with pytest.raises(Killed):
        broken.fit()
    monkeypatch.undo()
    done = step // 2
    calls.clear()
    monkeypatch.setattr(PatchStream, "take", lambda s, rows: calls.append(1) or take(s, rows))
    broken.fit()
    assert len(calls) == 2 * (3 - done)  # epochs that were whole are not repeated
    assert _equal(_weights(broken), _weights(whole))
    assert broken.history_ == whole.history_


def test_a_fit_that_fails_leaves_nothing_of_itself_or_an_earlier_one(source, monkeypatch):
    model = LesionSegmenter(**TINY, source=source).fit()

    def interrupted(self, rows):
        raise KeyboardInterrupt

    monkeypatch.setattr(PatchStream, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(learn_tissues=False).fit()
    assert not [name for name in vars(model) if name.endswith("_")]


def test_a_finished_training_is_taken_from_its_checkpoint(source, tmp_path, monkeypatch):
    first = LesionSegmenter(**TINY, source=source, checkpoint=tmp_path).fit()
    monkeypatch.setattr(PatchStream, "take", None)
    again = LesionSegmenter(**TINY, source=source, checkpoint=tmp_path).fit()
    assert _equal(_weights(first), _weights(again))
    taken = LesionSegmenter(**TINY, checkpoint=tmp_path).take_checkpoint()
    assert _equal(_weights(first), _weights(taken))
    assert [row["score"] for row in taken.history_] == [row["score"] for row in first.history_]


def test_checkpoints_of_another_training_are_refused(source, tmp_path):
    LesionSegmenter(**TINY, source=source, checkpoint=tmp_path).fit()
    changed = {
        "epochs": {"epochs": 4},
        "learning_rate": {"learning_rate": 0.5},
        "data": {"source": LabelMapSource(spacing_mm=8, most_lesions=1)},
        "tversky": {"tversky": 1.0},
        "validation": {"validation_samples": 1},
    }
    for name, change in changed.items():
        with pytest.raises(CheckpointError, match=name):
            LesionSegmenter(**{**TINY, "source": source, "checkpoint": tmp_path, **change}).fit()
    path = tmp_path / "training.pt"
    state = torch.load(path, weights_only=True)
    older = {n: v for n, v in json.loads(state["settings"]).items() if n != "format"}
    torch.save({**state, "settings": json.dumps(older)}, path)
    with pytest.raises(CheckpointError, match="another version"):
        LesionSegmenter(**TINY, source=source, checkpoint=tmp_path).fit()
    taken = LesionSegmenter(**TINY, checkpoint=tmp_path).take_checkpoint()
    assert len(taken.history_) == TINY["epochs"]
    path.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="delete it"):
        LesionSegmenter(**TINY, source=source, checkpoint=tmp_path).fit()
    with pytest.raises(CheckpointError, match="no training"):
        LesionSegmenter(**TINY, checkpoint=tmp_path / "nowhere").take_checkpoint()


def test_checkpoints_of_real_scans_know_how_these_are_varied(tmp_path):
    drawn = np.random.default_rng(0).random((18, 20, 16))
    scan, mask = (nib.Nifti1Image(v, np.diag([8, 8, 8, 1])) for v in (drawn, 1.0 * (drawn > 0.9)))
    LesionSegmenter(**TINY, checkpoint=tmp_path).fit([scan], [mask])
    for change in ({"mirror": 0.0}, {"augment": False}, {"ct": True}):
        with pytest.raises(CheckpointError, match=r"data|ct="):
            LesionSegmenter(**TINY, checkpoint=tmp_path, **change).fit([scan], [mask])


def test_samples_depend_on_seed_epoch_and_place_only(source):
    heads = SyntheticHeads(
        synthetic_chain(
            source,
            spacing_mm=1.0,
            patch_size=20,
            noise_device="cpu",
            ending=(Target(), Keep("image", "target")),
        ),
        Standardised(),
    )
    task = TissueTask(TISSUE_CLASSES)
    make = {"length": 4, "batch_size": 2, "patch_size": (16, 16, 16), "task": task}
    stream, other = (PatchStream([(heads, 1.0)], **make, seed=5) for _ in range(2))
    together = stream.take(torch.tensor([0, 3]))
    other.take(torch.tensor([2]))
    alone = other.take(torch.tensor([3]))
    assert torch.equal(together.inputs["image"][1:], alone.inputs["image"])
    assert torch.equal(together.targets[1:], alone.targets)
    other.at_epoch(1)
    assert not torch.equal(other.take(torch.tensor([3])).targets, alone.targets)
    assert stream.step == 0


def test_first_patch_holds_the_lesion_and_shares_are_kept():
    image = np.random.default_rng(0).random((40, 40, 40)).astype(np.float32)
    target = np.zeros((1, 40, 40, 40), np.uint8)
    target[0, 2:5, 30:33, 20:23] = 1
    far = RealScans([image], [target], Standardised())
    empty = RealScans([image], [np.zeros_like(target)], Standardised())
    stream = PatchStream(
        [(far, 0.25), (empty, 0.75)],
        length=200,
        batch_size=1,
        patch_size=(16, 16, 16),
        task=LesionTask(),
        patches=2,
        seed=0,
    )
    samples = stream.take(torch.arange(200))
    first = samples.targets[::2].flatten(1).any(1).float()
    assert len(samples) == 400 and 0.15 < first.mean() < 0.35


def test_the_best_epoch_is_kept(source, monkeypatch):
    scores = iter([0.1, 0.7, 0.3])
    states = []

    def score(self, network):
        states.append({n: t.clone() for n, t in network.network.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(FixedScans, "__call__", score)
    segmenter = LesionSegmenter(**TINY, source=source).fit()
    assert _equal(_weights(segmenter), states[1])
    assert [row["score"] for row in segmenter.history_] == [0.1, 0.7, 0.3]


def test_validation_dice_of_a_network_that_is_right_or_wrong():
    image = np.zeros((1, 16, 16, 16), np.float32)
    target = np.zeros((1, 16, 16, 16), np.uint8)
    target[0, 4:9] = 1
    image[:] = target

    class Oracle(torch.nn.Module):
        def __init__(self, sign):
            super().__init__()
            self.sign = torch.nn.Parameter(torch.tensor(float(sign)))

        def forward(self, x):
            return torch.cat([0.5 - x, x - 0.5], 1) * self.sign

    healthy = (np.zeros_like(image), np.zeros_like(target))
    scans = FixedScans([(image, target), healthy], LesionTask(), (16, 16, 16))
    with torch.inference_mode():
        assert scans(Oracle(1)) == 1.0 and scans(Oracle(-1)) == 0.0
        blind = FixedScans([healthy, healthy], LesionTask(), (16, 16, 16))
        # Also where no scan has a lesion, false alarms are told from silence, ...
        assert blind(Oracle(1)) == 1.0 and blind(Oracle(-1)) == 0.0
        # ... each on its scan, ...
        bright = (np.ones_like(image), np.zeros_like(target))
        assert FixedScans([healthy, bright], LesionTask(), (16, 16, 16))(Oracle(1)) == 0.5
        # ... and class by class.
        assert (
            FixedScans([healthy, bright], TissueTask(("air", "one", "two")), (16, 16, 16))(
                Oracle(1)
            )
            == 0.75
        )
        with pytest.raises(TrainingError, match="NaN or infinite values on validation scan 0"):
            scans(Oracle(np.nan))
    with pytest.raises(ValueError, match="no validation scan"):
        FixedScans([], LesionTask(), (16, 16, 16))


def test_classes_follow_from_what_there_is_to_learn(source):
    assert LesionSegmenter(**TINY, source=source).fit().classes_ == TISSUE_CLASSES
    assert TissueSegmenter(**TINY, source=source).fit().classes_ == TISSUE_CLASSES
    plain = LesionSegmenter(**TINY, source=source, learn_tissues=False).fit()
    assert plain.classes_ == LESION_CLASSES
    scans = [nib.Nifti1Image(np.random.default_rng(0).random((18, 20, 16)), np.diag([8, 8, 8, 1]))]
    masks = [nib.Nifti1Image((scans[0].get_fdata() > 0.9).astype(np.uint8), scans[0].affine)]
    mixed = LesionSegmenter(**TINY, source=source, real_share=0.5).fit(scans, masks)
    assert mixed.classes_ == LESION_CLASSES
    real = LesionSegmenter(**{**TINY, "validation_samples": 0}).fit(scans, masks)
    assert "score" not in real.history_[0]
    assert not _equal(_weights(real), _weights(mixed))


def _discs(n, seed):
    """Pictures of noise in which a bright disc is the lesion."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:32, :32]
    pictures, masks = [], []
    for _ in range(n):
        row, column = rng.uniform(8, 24, 2)
        mask = (rows - row) ** 2 + (columns - column) ** 2 < rng.uniform(4, 6) ** 2
        pictures.append((rng.normal(100, 5, (32, 32)) + 40 * mask).astype(np.float32))
        masks.append(mask.astype(np.uint8))
    return pictures, masks


def test_a_2d_network_learns_from_pictures_what_is_there_to_be_learnt():
    segmenter = LesionSegmenter(
        "dynunet-small",
        channels=(8, 8, 16),
        spatial_dims=2,
        patch_size=32,
        epochs=6,
        steps_per_epoch=20,
        batch_size=4,
        learning_rate=1e-2,
        augment=False,
        deep_supervision=True,
        random_state=0,
    ).fit(*_discs(12, 0))
    assert segmenter.score(*_discs(6, 1)) > 0.85
    pictures, masks = _discs(2, 2)
    shuffled = segmenter.score(pictures, masks[::-1])
    assert shuffled < 0.6
    slices = [nib.Nifti1Image(p.T[:, ::-1, None], np.diag([1, 1, 5, 1.0])) for p in pictures]
    found = segmenter.predict(slices)
    for picture, image in zip(segmenter.predict(pictures), found, strict=True):
        assert image.shape == (32, 32, 1)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj)[:, ::-1, 0].T, picture)


def test_planes_of_heads_train_a_2d_network(source):
    segmenter = LesionSegmenter(
        **{**TINY, "spatial_dims": 2, "patch_size": 16, "source": source}
    ).fit()
    (mask,) = segmenter.predict([np.random.default_rng(0).random((30, 25))])
    assert mask.shape == (30, 25) and mask.dtype == np.uint8
    scene, _ = source.sample({}, 3)
    plane, _ = TakePlane(axes=[2]).sample(scene, 1)
    assert plane["labels"].shape == (1, scene["labels"].shape[2], scene["labels"].shape[1])
    if scene["lesion"].any():
        assert plane["lesion"].any()


def test_wrong_data_is_refused_in_words():
    scan = nib.Nifti1Image(np.ones((16, 16, 16), np.float32), np.eye(4))
    with pytest.raises(ValueError, match="one mask"):
        LesionSegmenter(**TINY).fit([scan], [])
    with pytest.raises(ValueError, match="scan 1: no file at"):
        LesionSegmenter(**TINY).fit([scan, "nowhere.nii"], [scan, scan])
    with pytest.raises(ValueError, match="list of scans"):
        LesionSegmenter(**TINY).fit(scan, scan)
