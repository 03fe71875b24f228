"""Spatial deformation: identity, inverse, degrees, and what moves together stays together."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from imaging.synthesis import Deformation
from imaging.synthesis.geometry import affine_matrix

STILL = {"rotation_deg": 0.0, "shear": 0.0, "zoom": 0.0, "elastic": 0.0}


def scene(shape=(20, 24, 22), seed=0):
    generator = torch.Generator().manual_seed(seed)
    soft = torch.rand((3, *shape), generator=generator)
    return {
        "image": torch.rand((1, *shape), generator=generator),
        "labels": torch.randint(0, 9, (1, *shape), generator=generator, dtype=torch.uint8),
        "tissues": soft / soft.sum(0),
    }


def geometry(shape, matrix, elastic=None, centre=None):
    centre = [(n - 1) / 2 for n in shape] if centre is None else centre
    return {"shape": list(shape), "matrix": matrix, "centre": centre, "elastic": elastic}


@pytest.mark.parametrize("shape", [(20, 24, 22), (21, 33)])
def test_no_deformation_is_the_identity(shape):
    before = scene(shape)
    after, _ = Deformation(**STILL).sample(before, 1)
    assert torch.equal(after["labels"], before["labels"])
    torch.testing.assert_close(after["image"], before["image"], atol=2e-5, rtol=0)
    torch.testing.assert_close(after["tissues"], before["tissues"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("axis, planes", [(0, (1, 2)), (1, (2, 0)), (2, (0, 1))])
def test_rotation_is_in_degrees_about_each_axis(axis, planes):
    before = scene((21, 21, 21))
    angles = [0.0, 0.0, 0.0]
    angles[axis] = 90.0
    matrix = affine_matrix(angles, [0, 0, 0], [1, 1, 1]).tolist()
    after = Deformation().apply(before, geometry((21, 21, 21), matrix))
    expected = torch.rot90(before["labels"], k=-1, dims=[p + 1 for p in planes])
    assert torch.equal(after["labels"], expected)


def test_angles_are_drawn_about_all_axes():
    step = Deformation(**{**STILL, "rotation_deg": 15.0})
    matrices = torch.tensor(
        [step.sample(scene(), i)[1][0]["parameters"]["matrix"] for i in range(200)]
    )
    angles = torch.rad2deg(torch.stack([m[[2, 0, 1], [1, 2, 0]] for m in matrices]).asin()).abs()
    assert ((angles.amax(0) > 12) & (angles.amax(0) < 20)).all()


@pytest.mark.parametrize("shape", [(40, 36, 44), (60, 50)])
def test_positions_are_undone(shape):
    step = Deformation(rotation_deg=30, shear=0.05, zoom=0.2, elastic=0.1, mirror=0.5)
    _, history = step.sample(scene(shape), 4)
    parameters = history[0]["parameters"]
    generator = np.random.default_rng(0)
    points = generator.uniform(0, np.array(shape) - 1, (200, len(shape)))
    there = step.input_positions(parameters, points)
    back = step.output_positions(parameters, there)
    assert np.abs(back.numpy() - points).max() < 1e-6
    assert np.abs(there.numpy() - points).max() > 2


@pytest.mark.parametrize("shape", [(30, 26, 28), (40, 50)])
def test_blocks_equal_the_simple_formulation(shape):
    step = Deformation(rotation_deg=25, zoom=0.2, elastic=0.08, patch_size=[n - 6 for n in shape])
    before = scene(shape)
    after, history = step.sample(before, 7)
    parameters = history[0]["parameters"]
    grid = np.stack(np.meshgrid(*map(np.arange, parameters["shape"]), indexing="ij"), -1)
    where = step.input_positions(parameters, grid.reshape(-1, len(shape))).numpy().T
    labels = map_coordinates(
        before["labels"][0].numpy(), np.rint(where), order=0, mode="constant", cval=0
    )
    agreement = labels == after["labels"][0].numpy().ravel()
    # A position that lies within rounding of the middle between voxels may fall to either.
    assert agreement.mean() > 0.9999
    linear = map_coordinates(before["image"][0].numpy().astype(float), where, order=1)
    inside = np.all((where > 1) & (where < np.array(shape)[:, None] - 2), 0)
    difference = after["image"][0].numpy().ravel() - linear
    assert np.abs(difference[inside]).max() < 1e-4


def test_soft_labels_stay_normalised_and_hard_labels_hard():
    before = scene()
    for seed in range(5):
        after, _ = Deformation(zoom=0.5, elastic=0.1).sample(before, seed)
        total = after["tissues"].sum(0)
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-5, rtol=0)
        assert after["tissues"].min() >= 0
        assert after["labels"].dtype == torch.uint8
        assert set(after["labels"].unique().tolist()) <= set(before["labels"].unique().tolist())


def test_outside_is_background():
    away = geometry((8, 8, 8), torch.eye(3).tolist(), centre=[200.0, 200.0, 200.0])
    after = Deformation().apply(scene(), away)
    assert after["labels"].max() == 0 and after["image"].abs().max() == 0
    assert torch.all(after["tissues"][0] == 1)


def test_image_and_target_move_together():
    image = torch.zeros(1, 40, 40, 40)
    image[:, 12:25, 15:22, 18:30] = 1
    before = {"image": image, "target": image.to(torch.uint8)}
    after, _ = Deformation(rotation_deg=30, elastic=0.1, mirror=0.5).sample(before, 2)
    seen, target = after["image"] > 0.5, after["target"] > 0
    assert 2 * (seen & target).sum() / (seen.sum() + target.sum()) > 0.97
    with pytest.raises(ValueError, match="only move together on one grid"):
        Deformation().sample({"image": image, "target": image[:, :8]}, 2)


def test_laterality_is_kept_unless_asked():
    for seed in range(30):
        matrix = Deformation().sample(scene(), seed)[1][0]["parameters"]["matrix"]
        assert np.linalg.det(matrix) > 0
    signs = [
        np.sign(
            Deformation(mirror=[0.5, 0, 0]).sample(scene(), seed)[1][0]["parameters"]["matrix"][0][
                0
            ]
        )
        for seed in range(40)
    ]
    assert 5 < signs.count(-1) < 35


def test_a_patch_is_found_around_the_lesion():
    lesion = torch.zeros(1, 60, 60, 60, dtype=torch.uint8)
    lesion[0, 50:53, 8:10, 30] = 1
    step = Deformation(patch_size=24, centre_on="lesion")
    for seed in range(20):
        assert step.sample({"lesion": lesion}, seed)[0]["lesion"].any()


def test_a_field_never_folds():
    step = Deformation(**{**STILL, "elastic": 0.5})
    _, history = step.sample(scene((40, 40, 40)), 1)
    grid = torch.stack(torch.meshgrid(*[torch.arange(40.0)] * 3, indexing="ij"), -1)
    moved = step.input_positions(history[0]["parameters"], grid.reshape(-1, 3)).reshape(
        40, 40, 40, 3
    )
    slopes = [moved.diff(dim=d)[:39, :39, :39] for d in range(3)]
    assert torch.linalg.det(torch.stack(slopes, -1)).min() > 0


def test_bad_input_is_told():
    with pytest.raises(ValueError, match="'zoom' parameter of Deformation"):
        Deformation(zoom=1.5)
    with pytest.raises(ValueError, match="centre_on"):
        Deformation(centre_on="left")
    with pytest.raises(ValueError, match="has 2 axes for a scene of 3"):
        Deformation(patch_size=(8, 8)).sample(scene(), 0)
