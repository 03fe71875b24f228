"""Encoders learnt without an outcome: what they learn, and that training and files keep to it."""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from imaging import (
    ImageError,
    LesionSegmenter,
    ModelFileError,
    QuantitativeMaps,
    SequenceInvariantEncoder,
)
from imaging.learning.checkpoints import CheckpointError
from imaging.nets.pretraining import (
    PUBLISHED_CHANNELS,
    ContractingEncoder,
    Projector,
    ReconstructionHead,
    TokenEncoder,
)
from imaging.pretraining.objectives import ContrastLoss, DenseLoss, MaskedLoss, matched
from imaging.pretraining.people import LabelledPeople
from imaging.pretraining.views import Views
from imaging.storage.models import read_model, write_model
from imaging.synthesis import LabelMapSource
from imaging.synthesis.steps import Step

TINY = {
    "channels": (4, 4, 8),
    "source": LabelMapSource(spacing_mm=8),
    "spacing_mm": 8,
    "patch_size": 24,
    "batch_size": 4,
    "steps_per_epoch": 2,
    "epochs": 2,
    "random_state": 0,
}


def scan(seed=0, shape=(20, 24, 18), voxel=8):
    values = np.random.default_rng(seed).random(shape)
    return nib.Nifti1Image(values.astype(np.float32), np.diag([voxel, voxel, voxel, 1]))


@pytest.fixture(scope="module")
def encoder():
    """Trained for four steps; not to be changed."""
    return SequenceInvariantEncoder(**TINY).fit()


def weights(model):
    return model.network_.state_dict()


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_published_networks_have_the_published_numbers_of_parameters():
    def count(module):
        return sum(tensor.numel() for tensor in module.parameters())

    with torch.device("meta"):
        cnn = ContractingEncoder(3, channels=PUBLISHED_CHANNELS, dropout=0.2)
        vit = TokenEncoder((96, 96, 96))
        assert count(cnn) == 40_592_448
        assert 85e6 < count(vit) < 90e6
        assert count(Projector(cnn.n_features)) == 459_392
        assert count(ReconstructionHead(3, cnn.n_maps, 4)) == 3_134_209
        assert tuple(cnn.feature_maps(torch.zeros(1, 1, 96, 96, 96)).shape) == (1, 768, 6, 6, 6)


class Blocks(Step):
    """Heads that differ much: a block of white matter of any size in a ball of grey matter."""

    spacing_mm = 8
    probability = 1.0

    def draw(self, draws, scene):
        return {"half": [draws.integer(1, 6) for _ in range(3)]}

    def apply(self, scene, parameters):
        place = torch.arange(16.0) - 7.5
        x, y, z = torch.meshgrid(place, place, place, indexing="ij")
        labels = (x**2 + y**2 + z**2 < 56).to(torch.uint8)
        a, b, c = parameters["half"]
        labels[(x.abs() < a) & (y.abs() < b) & (z.abs() < c)] = 3
        return {"labels": labels[None], "lesion": torch.zeros_like(labels)[None]}


def test_it_learns_to_know_a_head_whatever_its_contrast():
    settings = {**TINY, "source": Blocks(), "patch_size": 16, "batch_size": 16, "mirror": 0}
    settings |= {"rotation_deg": 0, "shift_mm": 0, "reconstruction_weight": 0, "temperature": 0.2}
    settings |= {"channels": (8, 16), "contrast": "physics", "steps_per_epoch": 5}
    untrained = SequenceInvariantEncoder(**{**settings, "epochs": 1, "learning_rate": 1e-9}).fit()
    trained = SequenceInvariantEncoder(**{**settings, "epochs": 5, "learning_rate": 3e-3}).fit()
    people = LabelledPeople(Blocks(), (16, 16, 16), 8.0, contrast="physics", mirror=0)
    views = Views(people, contrast="physics", rotation_deg=0, shift_mm=0)
    pairs = np.stack([views.draw(10**6 + number)[0] for number in range(32)])  # never seen

    def found_again(model):
        with torch.inference_mode():
            (projected,) = model.network_(torch.from_numpy(pairs))
        return matched(*projected.unbind(1))

    assert trained.history_[-1]["contrast"] < trained.history_[0]["contrast"] - 0.3
    assert found_again(trained) > found_again(untrained) + 0.15


def test_views_of_an_objective():
    people = LabelledPeople(LabelMapSource(spacing_mm=8), (24, 24, 24), 8.0)
    plain = {"rotation_deg": 0, "shift_mm": 0}
    _, own, labels = Views(people, **plain).draw(3)
    _, shared, _ = Views(people, contrasts="shared", poses="shared", **plain).draw(3)
    # One head, whatever its contrast, and whether it is stripped or not.
    assert np.array_equal(*(np.where(one < 6, one, 0) for one in labels)) and 3 in labels
    assert abs(np.corrcoef(own[0].ravel(), own[1].ravel())[0, 1]) < 0.99
    inside = (shared[0] > shared[0].min()) & (shared[1] > shared[1].min())  # stripped or not
    assert np.corrcoef(shared[0][inside], shared[1][inside])[0, 1] > 0.99
    first, again = Views(people).draw(3), Views(people).draw(3)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[2][0], first[2][1])  # each in a pose of its own


@pytest.mark.parametrize("objective", ["base", "seq_aug", "dense", "masked"])
def test_every_objective_trains_and_transforms(objective):
    settings = {**TINY, "objective": objective, "epochs": 1, "steps_per_epoch": 1}
    model = SequenceInvariantEncoder(**settings).fit()
    assert np.isfinite(model.history_[0]["train_loss"])
    assert model.transform([scan()]).shape == (1, 64)
    (features,) = model.transform_map([scan()])
    length = np.linalg.norm(features.get_fdata(), axis=-1)
    np.testing.assert_allclose(length, 1, atol=1e-5)
    assert features.shape[-1] == (48 if objective == "dense" else 4)


def test_a_published_network_drops_nothing_once_it_is_trained(tmp_path):
    settings = {**TINY, "encoder": "cnn", "channels": (4, 8), "epochs": 1, "steps_per_epoch": 1}
    model = SequenceInvariantEncoder(**settings).fit()
    assert any(isinstance(m, torch.nn.Dropout) and m.p == 0.2 for m in model.network_.modules())
    loaded = SequenceInvariantEncoder.load(model.save(tmp_path / "cnn.safetensors"))
    found = [one.transform([scan()]) for one in (model, model, loaded, clone(loaded).fit())]
    assert found[0].shape == (1, 8)
    assert all(np.array_equal(found[0], other) for other in found[1:])
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.transform([scan()]), found[0])


def test_two_dimensions():
    settings = {**TINY, "spatial_dims": 2, "loss": "barlow-twins", "epochs": 1}
    model = SequenceInvariantEncoder(**settings).fit()
    pictures = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    assert model.transform(pictures).shape == (3, 32)
    assert model.transform_map(pictures)[0].shape == (20, 30, 4)


def test_losses_prefer_what_they_are_for():
    eye = torch.eye(6)[:, None].expand(6, 2, 6)
    mixed = torch.stack([torch.eye(6), torch.eye(6).roll(1, 0)], 1)
    for kind in ("nt-xent", "barlow-twins"):
        loss = ContrastLoss(kind)
        assert loss([eye], None) < loss([mixed], None)
    assert loss.mean_parts()["matched"] == pytest.approx(0.5)  # 1 and 0
    assert loss.mean_parts() == {}
    labels = torch.randint(0, 3, (2, 2, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(labels, 3).movedim(-1, 2).float()
    assert DenseLoss()([right], labels) < DenseLoss()([right.roll(1, -1)], labels)
    clean, mask = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    found = torch.where(mask > 0, 1.0, 9.0)  # wrong only where nothing was hidden
    assert float(MaskedLoss()([found], torch.cat([clean, mask], 1))) == 0


def test_a_training_that_was_killed_goes_on_to_the_same_result(tmp_path, encoder, monkeypatch):
    from imaging.pretraining.views import ViewStream

    made = ViewStream.at_epoch

    def killed(self, epoch):
        if epoch == 1:
            raise KeyboardInterrupt
        made(self, epoch)

    model = SequenceInvariantEncoder(**TINY, checkpoint=tmp_path)
    monkeypatch.setattr(ViewStream, "at_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        model.fit()
    monkeypatch.undo()
    assert not hasattr(model, "network_")
    assert len(clone(model).take_checkpoint().history_) == 1
    model.fit()
    assert_same(weights(model), weights(encoder))
    assert model.history_ == encoder.history_
    with pytest.raises(CheckpointError, match="temperature"):
        clone(model).set_params(temperature=0.1).fit()


def test_a_file_gives_the_same_encoder(tmp_path, encoder):
    path = encoder.save(tmp_path / "one.safetensors", training_data="synthetic scans only: four")
    loaded = SequenceInvariantEncoder.load(path)
    np.testing.assert_array_equal(loaded.transform([scan()]), encoder.transform([scan()]))
    maps = [model.transform_map([scan()])[0].get_fdata() for model in (loaded, encoder)]
    np.testing.assert_array_equal(*maps)
    assert loaded.identity() == encoder.identity()
    assert loaded.card_["objective"] == "seq_inv" and loaded.card_["epochs_trained"] == 2
    assert_same(weights(clone(loaded).fit([scan()])), weights(loaded))  # frozen
    further = {**TINY, "frozen": False, "learning_rate": 1e-9, "epochs": 1}
    further = clone(loaded).set_params(**further).fit()
    for name, tensor in weights(loaded).items():
        assert torch.allclose(weights(further)[name], tensor, atol=1e-6)
    other = SequenceInvariantEncoder(**{**TINY, "channels": (4, 8, 8)}, initial_weights=str(path))
    with pytest.raises(ModelFileError, match="channels"):
        other.fit()


def test_files_of_other_models_are_refused(tmp_path, encoder, segmenter):
    path = segmenter.save(tmp_path / "segmenter.safetensors")
    with pytest.raises(ModelFileError, match="holds no SequenceInvariantEncoder"):
        SequenceInvariantEncoder.load(path)
    path = encoder.save(tmp_path / "encoder.safetensors")
    with pytest.raises(ModelFileError):
        LesionSegmenter.load(path)
    with pytest.raises(ValueError, match="initial_weights"):
        SequenceInvariantEncoder(frozen=True).fit()
    kept, card = read_model(path, lambda card, shapes: card)
    for change, message in (
        ({"objective": "other"}, "cannot be.*objective"),
        ({"channels": [4, 8, 8]}, "of shape"),
        ({"scores": None}, "scores=None"),
        ({"format": 9}, "format 9"),
    ):
        write_model(path, kept, card | change)
        with pytest.raises(ModelFileError, match=message):
            SequenceInvariantEncoder.load(path)


def test_a_vector_does_not_hang_on_orientation_batch_or_field_of_view(encoder):
    one, other = scan(0), scan(1)
    together = encoder.transform([one, other])
    np.testing.assert_array_equal(together[1], encoder.transform([other])[0])
    axes = nib.orientations.axcodes2ornt(("P", "S", "L"))
    turned = one.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(one.affine), axes)
    )
    assert nib.aff2axcodes(turned.affine) == ("P", "S", "L")
    np.testing.assert_array_equal(encoder.transform([turned])[0], together[0])
    (upright,), (back,) = encoder.transform_map([one]), encoder.transform_map([turned])
    assert back.shape[:3] == turned.shape
    again = back.as_reoriented(
        nib.orientations.ornt_transform(axes, nib.io_orientation(one.affine))
    )
    np.testing.assert_allclose(again.get_fdata(), upright.get_fdata(), atol=1e-6)
    head = np.zeros((24, 24, 24), np.float32)
    head[4:20, 4:20, 4:20] = 1 + np.random.default_rng(2).random((16, 16, 16))
    wide = np.pad(head, ((0, 9), (5, 0), (3, 3)))
    pair = [nib.Nifti1Image(array, np.diag([8, 8, 8, 1])) for array in (head, wide)]
    near, far = encoder.transform(pair)
    np.testing.assert_allclose(near, far, atol=1e-3)
    several = encoder.transform([[one, other]])
    np.testing.assert_allclose(several[0], together.mean(0), atol=1e-6)


def test_it_is_a_transformer_of_scikit_learn(encoder):
    scans = [scan(seed) for seed in range(6)]
    y = np.array([0, 1] * 3)
    copy = clone(encoder)
    assert repr(copy) == repr(encoder) and not hasattr(copy, "network_")
    probe = make_pipeline(FrozenEstimator(encoder), LogisticRegression()).fit(scans, y)
    assert probe.predict(scans).shape == (6,)
    column = pd.DataFrame({"t1w": scans}, index=list("abcdef"))
    table = clone(encoder).set_params(epochs=1, steps_per_epoch=1).set_output(transform="pandas")
    table = table.fit_transform(column[["t1w"]].iloc[:4])
    assert table.shape == (4, 64) and table.columns[1] == "sequenceinvariantencoder1"
    values = encoder.transform(column["t1w"])
    np.testing.assert_array_equal(values, encoder.transform(column[["t1w"]]))
    with pytest.raises(ImageError, match="one column"):
        encoder.transform(column.assign(t2w=scans))


def test_it_learns_from_scans_label_maps_and_maps():
    short = {**TINY, "epochs": 1, "steps_per_epoch": 1}
    from_scans = SequenceInvariantEncoder(**short).fit([scan(0), [scan(1), scan(2)]])
    assert len(from_scans.seen_scans_.fingerprints) == 3
    labels = np.zeros((20, 24, 18), np.int16)
    labels[4:16, 4:20, 4:14] = 3
    labels[7:13, 8:16, 6:12] = 2
    head = nib.Nifti1Image(labels, np.diag([8, 8, 8, 1]))
    model = SequenceInvariantEncoder(**short, content="label maps").fit([head])
    assert model.seen_scans_.fingerprints == ()
    brain = labels > 0
    values = [nib.Nifti1Image((brain * v).astype(np.float32), head.affine) for v in (70, 1, 20)]
    maps = QuantitativeMaps(*values)
    assert hasattr(SequenceInvariantEncoder(**short).fit([maps]), "network_")
    with pytest.raises(ImageError, match="scan 1 is no QuantitativeMaps"):
        SequenceInvariantEncoder(**short).fit([maps, scan()])
    with pytest.raises(ValueError, match="label maps"):
        SequenceInvariantEncoder(**{**short, "objective": "dense"}).fit([scan()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "simclr"}, "objective"),
        ({"patch_size": 20}, "multiple of 8"),
        ({"batch_size": 1}, "no other head"),
        ({"map_level": 3}, "numbered from 0"),
        ({"channels": (4, 4, 6)}, "multiple of 4"),
        ({"encoder": "vit", "channels": (4,)}, "no levels"),
    ],
)
def test_wrong_parameters_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SequenceInvariantEncoder(**{**TINY, **changes}).fit()


def test_wrong_scans_are_refused(encoder, tmp_path):
    with pytest.raises(ImageError, match=r"scan 1: no file at .*gone"):
        encoder.transform([scan(), tmp_path / "gone.nii"])
    with pytest.raises(ImageError, match="where a list of scans was expected"):
        encoder.transform(scan())
    with pytest.raises(ImageError, match="scan 0: found a patient without"):
        encoder.transform([[]])
    with pytest.raises(ValueError, match="no scan to learn from"):
        clone(encoder).fit([])
    with pytest.raises(ValueError, match="one channel"):
        encoder.new_encoder((24, 24, 24), in_channels=2)


def test_it_goes_into_a_segmenter(encoder):
    segmenter = LesionSegmenter(
        architecture=encoder.new_encoder,
        source=LabelMapSource(spacing_mm=8),
        spacing_mm=8,
        patch_size=16,
        epochs=1,
        steps_per_epoch=1,
        validation_samples=0,
        random_state=0,
        learning_rate=1e-9,
        weight_decay=0,
    ).fit()
    inside = segmenter.network_.body.encoder.state_dict()
    for name, tensor in encoder.network_.encoder.state_dict().items():
        assert torch.allclose(inside[name], tensor, atol=1e-6)
