"""Encoders of shape: measures that hang on no pose, directions that tell people apart."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from imaging import SequenceInvariantEncoder
from imaging.learning.checkpoints import CheckpointError
from imaging.nets.shapes import Spread, discriminant, shape_measures
from imaging.pretraining.objectives import matched
from imaging.pretraining.people import KeptPeople, LabelledPeople, brain_places, pose_geometry
from imaging.pretraining.views import Views
from imaging.synthesis import LabelMapSource
from imaging.synthesis.resampling import resample_scene
from imaging.synthesis.steps import Step

STILL = {"rotation_deg": 0.0, "shift_voxels": 0.0, "seed": 0}


class Bricks(Step):
    """Heads that differ much: a brick of white matter of any size in a ball of grey matter."""

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


TINY = {
    "objective": "shape",
    "encoder": "shape",
    "channels": (8, 16),
    "source": Bricks(),
    "contrast": "physics",
    "spacing_mm": 8,
    "patch_size": 16,
    "mirror": 0,
    "rotation_deg": 15,
    "shift_mm": 8,
    "batch_size": 16,
    "steps_per_epoch": 5,
    "n_people": 64,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def encoder():
    """Trained for a few seconds; not to be changed."""
    return SequenceInvariantEncoder(**TINY, epochs=5, learning_rate=1e-2).fit()


def brain(semi_axes, rotation_deg, shift, size=40):
    """Exact shares and places of an ellipsoid of grey matter with a smaller one of white in it."""
    pose = pose_geometry(
        (size,) * 3, (size,) * 3, rotation_deg=rotation_deg, shift_voxels=shift, seed=5
    )
    grid = np.stack(np.meshgrid(*[np.arange(size) - (size - 1) / 2.0] * 3, indexing="ij"))
    matrix, centre = np.array(pose["matrix"]), np.array(pose["centre"]) - (size - 1) / 2
    places = np.tensordot(matrix, grid, 1) + centre.reshape(3, 1, 1, 1)
    places = places / np.reshape(semi_axes, (3, 1, 1, 1))
    # A soft edge, so that voxels at the surface count in part.
    radius = np.sqrt((places**2).sum(0))
    inside = 1 / (1 + np.exp((radius - 1) * 15))
    white = 1 / (1 + np.exp((radius - 0.5) * 15))
    none = np.zeros_like(inside)
    shares = np.stack([1 - inside, inside - white, none, white, none, none])
    shares, places = (torch.from_numpy(a).float()[None] for a in (shares, places * 5**0.5))
    return shares, places


def test_measures_hang_on_the_brain_and_not_on_how_it_is_held():
    upright = shape_measures(*brain((10, 14, 8), 0, 0))[0]
    turned = shape_measures(*brain((10, 14, 8), 15, 3))[0]
    assert float((turned - upright).abs().max()) < 0.03
    larger = shape_measures(*brain((11, 14, 8), 15, 3))[0]
    # From the fit, and of the brain and its white matter: wider along the first axis, by a tenth.
    wide = [0, 3 + 4, 3 + 4 + 6]
    assert (larger - turned)[wide].numpy() == pytest.approx(np.log(1.1), abs=0.02)
    assert (larger - turned)[[1, 2, 8, 9]].abs().max() < 0.02
    assert float((larger - turned)[3]) == pytest.approx(np.log(1.1), abs=0.02)  # volume


def test_a_few_wrong_places_do_not_turn_the_brain():
    shares, places = brain((10, 14, 8), 15, 3)
    noise = torch.randn(places.shape, generator=torch.Generator().manual_seed(0))
    right, wrong = shape_measures(shares, places)[0], shape_measures(shares, places + 0.5 * noise)
    assert float((wrong[0, :20] - right[:20]).abs().max()) < 0.05


def test_nothing_but_air_has_measures():
    air = torch.zeros(1, 6, 8, 8, 8)
    air[:, 0] = 1
    assert torch.isfinite(shape_measures(air, torch.zeros(1, 3, 8, 8, 8))).all()


def people_and_scans(rng, people, mixing):
    """Two scans each of people who differ along five of ten directions; scans do so by the rest."""
    person = np.concatenate([rng.normal(0, 2, (people, 5)), np.zeros((people, 5))], 1)
    scans = person[:, None] + rng.normal(0, [0.3] * 5 + [4.0] * 5, (people, 2, 10))
    return torch.from_numpy(scans @ mixing).float()


def test_directions_in_which_people_differ_are_found_and_none_where_they_do_not():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(10, 10))
    right, wrong, plain = Spread(10), Spread(10), people_and_scans(rng, 100, mixing)
    for _ in range(60):
        batch = people_and_scans(rng, 64, mixing)
        right.update(batch)
        wrong.update(torch.stack([batch[:, 0], batch[:, 1].roll(1, 0)], 1))  # of other people

    def found_again(spread):
        return matched(*((plain - spread.mean) @ spread.directions(5)).unbind(1))

    assert found_again(right) > 0.6 > 0.2 > matched(*plain.unbind(1))
    assert found_again(wrong) < 0.3
    one, other = ((plain - right.mean) @ right.directions(5)).unbind(1)
    assert float((one - other).var(0).max()) / 2 < 1.5  # between scans: 1, or less by shrinkage
    assert discriminant(right.total, right.within, 12)[:, 10:].abs().max() == 0


def test_places_move_with_the_head():
    source = LabelMapSource(spacing_mm=8)
    head = LabelledPeople(source, (24, 28, 24), 8.0, contrast="physics").person(3)
    still = brain_places(head["labels"], pose_geometry((24, 28, 24), (24, 28, 24), **STILL))
    inside = (head["labels"][0] >= 1) & (head["labels"][0] < 6)
    assert still[:, inside].mean(1) == pytest.approx([0, 0, 0], abs=1e-5)
    assert still[:, inside].std(1) == pytest.approx([1, 1, 1], abs=1e-4)
    pose = pose_geometry((24, 28, 24), (24, 28, 24), rotation_deg=15, shift_voxels=2, seed=1)
    moved = resample_scene({"image": torch.from_numpy(still), "labels": head["labels"]}, pose)
    inside = (moved["labels"][0] >= 1) & (moved["labels"][0] < 6)
    there = brain_places(head["labels"], pose)[:, inside]
    np.testing.assert_allclose(there, moved["image"][:, inside].numpy(), atol=1e-4)


def test_it_learns_to_know_a_head_whatever_its_contrast_and_pose(encoder):
    untrained = SequenceInvariantEncoder(**TINY, epochs=1, learning_rate=1e-9).fit()
    assert encoder.history_[-1]["tissues"] < encoder.history_[0]["tissues"] * 0.7
    people = LabelledPeople(Bricks(), (16, 16, 16), 8.0, contrast="physics", mirror=0)
    views = Views(people, contrast="physics", rotation_deg=15, shift_mm=8)
    pairs = np.stack([views.draw(10**6 + number)[0] for number in range(32)])  # never seen

    def found_again(model):
        with torch.inference_mode():
            vectors = model.network_.encoder(torch.from_numpy(pairs).flatten(0, 1)[:, None])
            vectors = vectors[:, :8]  # the strongest, after so short a training
        return matched(*vectors.unflatten(0, (-1, 2)).unbind(1))

    assert found_again(encoder) > max(0.25, found_again(untrained) + 0.15)  # by chance .03


def test_a_training_that_was_killed_goes_on_to_the_same_vectors(tmp_path, monkeypatch):
    from imaging.pretraining.views import ViewStream

    made, settings = ViewStream.at_epoch, {**TINY, "batch_size": 4, "steps_per_epoch": 2}

    def killed(self, epoch):
        if epoch == 1:
            raise KeyboardInterrupt
        made(self, epoch)

    whole = SequenceInvariantEncoder(**settings, epochs=2).fit()
    model = SequenceInvariantEncoder(**settings, epochs=2, checkpoint=tmp_path)
    monkeypatch.setattr(ViewStream, "at_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        model.fit()
    monkeypatch.undo()
    early = clone(model).take_checkpoint().network_.encoder
    assert float(early.directions.abs().max()) > 0
    model.fit()
    for name, tensor in whole.network_.state_dict().items():
        assert torch.equal(tensor, model.network_.state_dict()[name])
    with pytest.raises(CheckpointError, match="contrast"):
        clone(model).set_params(contrast="both").fit()


def test_a_file_gives_the_same_vectors_in_three_and_two_dimensions(encoder, tmp_path):
    import nibabel as nib

    rng = np.random.default_rng(0)
    scans = [nib.Nifti1Image(rng.random((14, 18, 16), np.float32), np.diag([8, 8, 8, 1]))]
    loaded = SequenceInvariantEncoder.load(encoder.save(tmp_path / "shape.safetensors"))
    assert loaded.transform(scans).shape == (1, 32)
    np.testing.assert_array_equal(loaded.transform(scans), encoder.transform(scans))
    assert loaded.identity() == encoder.identity()
    assert loaded.transform_map(scans)[0].shape == (14, 18, 16, 16)
    flat = {**TINY, "source": LabelMapSource(spacing_mm=8), "spatial_dims": 2, "epochs": 1}
    model = SequenceInvariantEncoder(**flat).fit()
    assert model.transform(rng.random((3, 20, 30)).astype(np.float32)).shape == (3, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"encoder": "small"}, "go with each other"), ({"objective": "seq_inv"}, "go with each")],
)
def test_encoder_and_objective_go_together(changes, message):
    with pytest.raises(ValueError, match=message):
        SequenceInvariantEncoder(**{**TINY, **changes}).fit()


def test_scans_without_labels_are_refused():
    import nibabel as nib

    scan = nib.Nifti1Image(np.ones((8, 8, 8), np.float32), np.diag([8, 8, 8, 1]))
    with pytest.raises(ValueError, match='objective="shape" needs label maps'):
        SequenceInvariantEncoder(**TINY).fit([scan])


def test_people_who_are_kept_are_scanned_anew():
    made = LabelledPeople(LabelMapSource(spacing_mm=8), (16, 16, 16), 16.0, contrast="physics")
    people = KeptPeople(made, 3)
    heads = [people.person(seed) for seed in range(12)]
    assert 1 < len({head["labels"].numpy().tobytes() for head in heads}) <= 3
    same = [head for head in heads if torch.equal(head["labels"], heads[0]["labels"])]
    assert torch.equal(same[0]["tissues"], same[1]["tissues"])
    assert not torch.equal(same[0]["maps"], same[1]["maps"])
    # Kept as whole numbers, they are what they were; another process would make the same.
    assert torch.equal(heads[0]["tissues"].sum(0), torch.ones(16, 16, 16))
    again = KeptPeople(made, 3).person(0)
    assert all(torch.equal(again[name], tensor) for name, tensor in heads[0].items())
