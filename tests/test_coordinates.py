"""Where in the template voxels lie: what is learnt from, what comes out, and its way to a file."""

import nibabel as nib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from imaging import CoordinateModel, ImageError, LesionSegmenter, ModelFileError
from imaging.metrics import dice
from imaging.registration import (
    CoordinateTarget,
    CoordinateTask,
    Located,
    fit_affine,
    head_measures,
)
from imaging.registration.places.located import brain_of
from imaging.registration.places.model import HeadCoordinates
from imaging.registration.places.shape import _bends
from imaging.synthesis import LabelMapSource, synthetic_chain
from imaging.synthesis.steps import Keep
from imaging.voxelwise.geometry import prepare

TURN = np.array([[0.9, -0.3, 0.1, 5], [0.2, 1.1, -0.1, -9], [0.0, 0.2, 0.8, 3], [0, 0, 0, 1.0]])
RIGID = np.eye(4)
RIGID[:3, :3] = np.linalg.qr(TURN[:3, :3])[0] @ np.diag([-1, -1, 1])
RIGID[:3, 3] = 4, -17, 12
HEAD = {"spacing_mm": 8, "lesion_probability": 0}


def template():
    """Maps of the embedded head, and from voxels to its millimetres."""
    scene, _ = Located(LabelMapSource(**HEAD)).sample({}, 0)
    maps = CoordinateTarget().sample(scene, 0)[0]["target"].numpy()
    to_mm = np.diag([8.0, 8, 8, 1])
    to_mm[:3, 3] = maps[7:, 0, 0, 0]
    return maps, to_mm


@pytest.fixture(scope="module")
def head():
    return template()


@pytest.fixture(scope="module")
def model():
    """Trained for a few seconds; not to be changed."""
    return CoordinateModel(
        channels=(8, 16, 16),
        source=Located(LabelMapSource(**HEAD)),
        spacing_mm=8,
        patch_size=32,
        epochs=3,
        steps_per_epoch=5,
        learning_rate=1e-2,
        validation_samples=1,
        random_state=0,
    ).fit()


def whole(maps):
    """The box of everything."""
    return tuple(slice(0, n) for n in maps.shape[1:])


def as_scan(maps, affine):
    """A scan of a head in which white matter is bright, as a nibabel image."""
    values = 3 * maps[3] + 2 * maps[1] + 2.5 * maps[2] + maps[4] + 0.5
    return nib.Nifti1Image(values.astype(np.float32), affine)


def test_a_fifth_of_wrong_pairs_does_no_harm():
    rng = np.random.default_rng(0)
    points = rng.uniform(-80, 80, (500, 3))
    targets = points @ TURN[:3, :3].T + TURN[:3, 3] + rng.normal(size=(500, 3))
    targets[:100] += rng.normal(60, 30, (100, 3))
    found, residual = fit_affine(points, targets)
    moved = points @ found[:3, :3].T + found[:3, 3]
    away = np.linalg.norm(moved - points @ TURN[:3, :3].T - TURN[:3, 3], axis=1)
    assert away.mean() < 0.3
    assert 1 < residual < 3


def test_pairs_that_weigh_nothing_are_not_looked_at():
    points = np.random.default_rng(0).normal(size=(20, 3))
    targets, weights = points + 1, np.ones(20)
    targets[:8], weights[:8] = 0, 0
    affine, _ = fit_affine(points, targets, weights)
    assert np.allclose(affine[:3, 3], 1, atol=1e-4)


@pytest.mark.parametrize("points", [np.eye(3), np.random.default_rng(0).random((9, 3)) * [1, 1, 0]])
def test_points_that_fix_no_affine_are_refused(points):
    with pytest.raises(ValueError, match="do not fix an affine"):
        fit_affine(points, points)


def label_map():
    codes = np.zeros((20, 24, 22), np.int16)
    codes[3:17, 3:21, 3:19] = 24
    codes[4:16, 4:20, 4:18] = 3
    codes[6:14, 6:18, 6:16] = 2
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = -40, -50, -44
    return nib.Nifti1Image(codes, affine)


def test_fields_are_looked_up_by_millimetres():
    # The field lies on a coarser grid that begins elsewhere.
    affine = np.diag([6.0, 6, 6, 1])
    affine[:3, 3] = -52, -61, -55
    voxels = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"), -1)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    field = world @ TURN[:3, :3].T + TURN[:3, 3]
    source = LabelMapSource([label_map()], lesion_probability=0)
    fields = [nib.Nifti1Image(field.astype(np.float32), affine)]
    scene, _ = Located(source, fields).sample({}, 0)
    first = np.argwhere(scene["labels"][0].numpy() > 0)[0]  # voxel (3, 3, 3) of the label map
    expected = TURN @ [-28, -38, -32, 1]
    assert np.allclose(scene["located"][(slice(0, 3), *first)], expected[:3], atol=1e-3)


def test_fields_that_do_not_fit_are_refused():
    source = LabelMapSource([label_map()], lesion_probability=0)
    with pytest.raises(ValueError, match="1 label maps and 0 fields"):
        Located(source)
    flat = nib.Nifti1Image(np.zeros((5, 5, 5), np.float32), np.eye(4))
    with pytest.raises(ImageError, match=r"field 0 has the shape \(5, 5, 5\)"):
        Located(source, [flat]).sample({}, 0)


def test_the_brain_has_its_ventricles_but_no_fluid_around_it():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[4:36, 4:36, 4:36], labels[12:28, 12:28, 12:28] = 4, 1
    labels[18:22, 18:22, 18:22] = 4
    brain = brain_of(labels, np.eye(4))
    assert brain[20, 20, 20] == 1
    assert brain[8, 20, 20] == 0
    assert brain_of(np.zeros((4, 4, 4), np.uint8), np.eye(4)).sum() == 0


def test_shares_sum_to_one_and_lesions_cover():
    scene, _ = Located(LabelMapSource(**HEAD)).sample({}, 0)
    scene["lesion"] = (scene["labels"] == 3).to(torch.uint8)
    maps = CoordinateTarget().apply(scene, {})["target"].numpy()
    assert np.allclose(maps[:6].sum(0), 1)
    assert maps[5].sum() > 0
    assert maps[1:5][:, maps[5] == 1].sum() == 0


def test_the_mirror_image_of_a_head_has_its_right_where_the_right_is():
    scene, _ = Located(LabelMapSource(**HEAD)).sample({}, 0)
    mirrored = {name: tensor.flip(1) for name, tensor in scene.items()}
    plain, turned = (CoordinateTarget().apply(one, {})["target"] for one in (scene, mirrored))
    assert torch.equal(turned[7], -plain[7].flip(0))
    assert torch.equal(turned[8:], plain[8:].flip(1))


def test_what_the_loss_wants(head):
    loss = CoordinateTask().loss()
    target = torch.from_numpy(head[0])[None]
    right = torch.cat([20 * target[:, :6], 40 * target[:, 6:7] - 20, target[:, 7:] / 50], 1)
    assert float(loss(right, target)) < 0.01
    for channel in (1, 6, 8):
        wrong = right.clone()
        wrong[:, channel] += 30
        assert float(loss(wrong, target)) > float(loss(right, target)) + 0.1
    outside = right.clone()
    outside[:, 7:] += 3 * target[:, :1]  # 150 mm, where there is no head
    assert torch.isclose(loss(outside, target), loss(right, target), atol=1e-5)
    half = torch.nn.functional.avg_pool3d(right[..., :-1], 2)  # of another shape, coarser
    assert torch.isfinite(loss([half, right], target)).all()


def test_scores_are_millimetres(head):
    target = head[0]
    outputs = torch.from_numpy(
        np.concatenate([target[:7], np.add(target[7:], [[[[3]]], [[[4]]], [[[0]]]]) / 50])
    )
    assert CoordinateTask().score(outputs, target) == pytest.approx([5.0], abs=1e-3)


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_the_affine_is_from_the_scan_to_the_template(head, flips):
    maps, to_mm = head
    # A scanner that knows nothing of the template, and stores voxels in any direction.
    moved = np.linalg.inv(RIGID) @ to_mm
    axes = [axis + 1 for axis, sign in enumerate(flips) if sign < 0]
    flip = np.diag([*flips, 1.0])
    flip[:3, 3] = [n - 1 if s < 0 else 0 for n, s in zip(maps.shape[1:], flips, strict=True)]
    scan = as_scan(np.flip(maps, axes), moved @ flip)
    prepared = prepare(scan, 8)
    assert prepared.array.shape == maps.shape[1:]
    found = HeadCoordinates(prepared, maps, whole(maps))
    assert np.allclose(found.affine, RIGID, atol=0.02)
    assert found.residual_mm < 0.1
    assert found.coordinates.shape == (*scan.shape, 3)
    assert np.allclose(found.brain.affine, scan.affine)
    here = np.argwhere(np.flip(maps, axes)[6] > 0)[7]
    expected = np.flip(maps, axes)[(slice(7, None), *here)]
    assert np.allclose(found.coordinates.get_fdata()[tuple(here)], expected, atol=0.01)
    grey, white, fluid = (found.tissues.get_fdata()[..., k].sum() for k in range(3))
    assert np.isclose(grey + white + fluid, 1 * maps[1:5].sum(), rtol=1e-3)
    assert found.brain_ml == pytest.approx(maps[6].sum() * abs(np.linalg.det(moved[:3, :3])) / 1000)


def test_beyond_the_box_coordinates_go_on(head):
    maps, to_mm = head
    box = tuple(slice(2, n - 2) for n in maps.shape[1:])
    inner = maps[(slice(None), *box)]
    found = HeadCoordinates(prepare(as_scan(maps, to_mm), 8), inner, box)
    assert np.allclose(found.coordinates.get_fdata()[0, 0, 0], maps[7:, 0, 0, 0], atol=0.1)
    assert found.brain.get_fdata()[0].sum() == 0


def test_a_scan_without_brain_is_refused(head):
    maps, to_mm = head
    maps = maps.copy()
    maps[6] = 0
    with pytest.raises(ImageError, match="0 ml of brain"):
        HeadCoordinates(prepare(as_scan(maps, to_mm), 8), maps, whole(maps))


def test_training_lowers_the_error(model):
    first, *_, last = (row["train_loss"] for row in model.history_)
    assert last < 0.9 * first


def test_scans_of_any_orientation_are_seen_alike(model, head):
    scan = as_scan(*head)
    turned = nib.as_closest_canonical(scan).as_reoriented([[0, -1], [2, 1], [1, -1]])
    first, second = model.predict([scan, turned])
    assert np.allclose(first.affine, second.affine, atol=1e-3)
    assert second.brain.shape == turned.shape


def test_a_model_comes_back_from_its_file(model, head, tmp_path):
    path = model.save(tmp_path / "model.safetensors")
    again = CoordinateModel.load(path)
    scan = as_scan(*head)
    assert np.array_equal(again.maps(scan), model.maps(scan))
    assert again.identity() == model.identity()


def test_a_file_of_another_task_is_refused(tmp_path):
    other = LesionSegmenter(
        channels=(4, 8, 8),
        source=LabelMapSource(**HEAD),
        spacing_mm=8,
        patch_size=16,
        epochs=1,
        steps_per_epoch=1,
        validation_samples=0,
        random_state=0,
    ).fit()
    path = other.save(tmp_path / "lesion.safetensors")
    with pytest.raises(ModelFileError, match="CoordinateModel needs"):
        CoordinateModel.load(path)


def test_orientations_are_told_by_how_well_an_affine_fits(model, head, monkeypatch):
    scan, seen = as_scan(*head), []

    class Seen:
        def __init__(self, image):
            # Right where the scan is as it was: told by its own voxels.
            seen.append(image)
            same = image.shape == scan.shape and np.allclose(image.get_fdata(), scan.get_fdata())
            self.residual_mm = 1.0 if same else 9.0

    monkeypatch.setattr(CoordinateModel, "_head", lambda self, image: Seen(image))
    assert model.orientation(scan)[0] == "RAS"
    assert len(seen) == len(model.orientation(scan)[1]) == 24
    # Stored with its axes in another order, which the header does not say.
    wrong = nib.Nifti1Image(
        np.transpose(scan.get_fdata()[::-1], (2, 0, 1)), np.diag([8.0, 8, 8, 1])
    )
    wrong = nib.Nifti1Image(wrong.get_fdata()[:, :, ::-1], wrong.affine)
    assert model.orientation(wrong)[0] == "SLP"


def test_parameters_and_inputs(model, head):
    assert clone(model).get_params()["coordinate_weight"] == 1.0
    with pytest.raises(ValueError, match="coordinate_weight"):
        CoordinateModel(coordinate_weight=-1).fit()
    with pytest.raises(ValueError, match="simulated heads only"):
        CoordinateModel().fit([as_scan(*head)], [as_scan(*head)])
    with pytest.raises(ImageError, match="scan 1"):
        model.predict([as_scan(*head), "nowhere.nii.gz"])


def test_measures_do_not_hang_on_where_the_head_was(head):
    maps, to_mm = head
    plain = head_measures(maps, to_mm)
    assert np.allclose(head_measures(maps, RIGID @ to_mm), plain, atol=1e-3)


def test_measures_know_size(head):
    maps, to_mm = head
    larger = np.diag([1.1, 1.1, 1.1, 1]) @ to_mm
    found = head_measures(maps, larger) - head_measures(maps, to_mm)
    assert np.allclose(found[[0, 3, 5]], -np.log(1.1), atol=1e-3)
    assert np.allclose(found[[1, 2, 4]], 0, atol=1e-3)
    assert np.allclose(found[54:58], 3 * np.log(1.1), atol=1e-2)


def test_measures_know_bends(head):
    maps, to_mm = head
    bent = maps.copy()
    at = (np.moveaxis(maps[7:], 0, -1).reshape(-1, 3) - [0, -18, 8]) / [70, 88, 70]
    bent[7] += 5 * _bends(at)[:, 1].reshape(maps.shape[1:])  # x moves with the square of y
    found = (head_measures(bent, to_mm) - head_measures(maps, to_mm))[6:54].reshape(16, 3)
    assert 2 < found[1, 0] < 6
    assert np.abs(found[:, 1:]).max() < 1


def test_nothing_is_measured_without_brain(head):
    with pytest.raises(ValueError, match="too little brain"):
        head_measures(np.zeros_like(head[0]), head[1])


@pytest.fixture(scope="module")
def shipped():
    return CoordinateModel.from_pretrained("coordinates")


def simulated(seed):
    """A scan of the embedded head at 4 mm, which is not among the label maps trained on."""
    chain = synthetic_chain(
        Located(LabelMapSource(spacing_mm=2, lesion_probability=0)),
        spacing_mm=4,
        patch_size=(48, 60, 48),
        noise_device="cpu",
        ending=(CoordinateTarget(), Keep("image", "target")),
    )
    scene, _ = chain.sample({}, seed)
    return nib.Nifti1Image(scene["image"][0].numpy(), np.diag([4.0, 4, 4, 1])), scene["target"]


@pytest.mark.parametrize("seed", [0, 3])
def test_the_shipped_model_places_simulated_heads(shipped, seed):
    scan, target = simulated(seed)
    found = shipped.predict(scan)
    inside = target[6].numpy() > 0.5
    assert dice(found.brain.get_fdata() > 0.5, inside) > 0.85
    points = np.argwhere(inside) * 4.0
    away = points @ found.affine[:3, :3].T + found.affine[:3, 3] - target[7:].numpy()[:, inside].T
    assert np.linalg.norm(away, axis=1).mean() < 12
    assert found.residual_mm < 6


def test_the_shipped_model_on_a_real_scan(shipped, data_home):
    path = data_home / "scans" / "T1w2mm.nii.gz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    found = shipped.predict(path)
    assert 1000 < found.brain_ml < 1800
    assert found.residual_mm < 5
    axes, residuals = shipped.orientation(path)
    assert axes == "RAS"
    assert sorted(residuals.values())[1] > 1.3 * residuals["RAS"]
