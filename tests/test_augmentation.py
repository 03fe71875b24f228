"""Training images move a little, alike in all tiles and in millimetres; sides are kept."""

import numpy as np
import pytest
import torch

from imaging.learning.augmentation import TileAugmentation, VolumeAugmentation

STILL = {"rotation_deg": 0, "shift": 0, "zoom": 0, "gain": 0, "noise_sd": 0}


def generator():
    return torch.Generator().manual_seed(0)


def test_augmentation_moves_all_tiles_alike_and_never_mirrors_unless_asked():
    images = torch.zeros(8, 1, 33, 32)  # one row is left over
    images[:, :, 4:10, 2:6] = 1  # left part of the upper left tile
    images[:, :, 20:26, 18:22] = 1  # the same place in the lower right one
    still = TileAugmentation(tiles=(2, 2), gain=0, noise_sd=0)
    moved = still(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    torch.testing.assert_close(moved[:, :, :16, :16], moved[:, :, 16:32, 16:32], atol=2e-2, rtol=0)
    assert not torch.equal(moved, images)
    left, right = moved[:, :, :16, :8].sum((1, 2, 3)), moved[:, :, :16, 8:16].sum((1, 2, 3))
    assert (left > right).all()
    mirrored = TileAugmentation(tiles=(2, 2), gain=0, noise_sd=0, mirror=True)(
        images.repeat(4, 1, 1, 1), torch.Generator().manual_seed(0)
    )
    side = mirrored[:, :, :16, :8].sum((1, 2, 3)) > mirrored[:, :, :16, 8:16].sum((1, 2, 3))
    assert 4 < side.sum() < 28


def test_augmentation_with_nothing_to_draw_is_the_identity_and_seeds_repeat():
    images = torch.rand(3, 1, 24, 36, generator=torch.Generator().manual_seed(1))
    nothing = TileAugmentation(tiles=(2, 3), rotation_deg=0, shift=0, zoom=0, gain=0, noise_sd=0)
    torch.testing.assert_close(nothing(images, torch.Generator().manual_seed(0)), images)
    some = TileAugmentation(tiles=(2, 3))
    one, two = (some(images, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two)


def test_rotation_keeps_shapes_in_tiles_that_are_not_square():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    disc = (((y - 19.5) ** 2 + (x - 39.5) ** 2) < 100).float()[None, None]
    turn = TileAugmentation(rotation_deg=45, shift=0, zoom=0, gain=0, noise_sd=0)
    moved = turn(disc.repeat(6, 1, 1, 1), torch.Generator().manual_seed(3))
    assert (moved - disc).abs().mean() < 0.01  # a disc stays a disc, not an ellipse


@pytest.mark.parametrize("shape", [(1, 33, 32), (2, 8, 10, 9)])
def test_augmentation_makes_no_tensor_on_another_device(shape):
    # "meta" tensors have a device of their own, and operations refuse to mix it with the CPU.
    kind = TileAugmentation(tiles=(2, 2), mirror=True, fixed_rows=4)
    if len(shape) == 4:
        kind = VolumeAugmentation(mirror=True)
    moved = kind(torch.zeros(3, *shape, device="meta"), None)
    assert moved.device.type == "meta" and tuple(moved.shape) == (3, *shape)


def test_augmentation_keeps_sides_unless_asked():
    images = torch.zeros(40, 1, 10, 8, 6)
    images[:, :, 1:3, 3:5, 2:4] = 1
    moved = VolumeAugmentation()(images, generator())
    left = moved[:, 0, :5].sum((1, 2, 3))
    assert (left > moved[:, 0, 5:].sum((1, 2, 3))).all() and not torch.equal(moved, images)
    np.testing.assert_allclose(VolumeAugmentation(**STILL)(images, generator()), images, atol=1e-5)
    flipped = VolumeAugmentation(**STILL, mirror=True)(images, generator())
    mirrored = [
        torch.allclose(one, image.flip(1), atol=1e-5) for one, image in zip(flipped, images)
    ]
    untouched = [torch.allclose(one, image, atol=1e-5) for one, image in zip(flipped, images)]
    assert all(np.add(mirrored, untouched) == 1) and 8 < sum(mirrored) < 32


def test_rotations_are_in_millimetres():
    """A ball stays a ball on a grid of flat voxels."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (40, 20, 10)], indexing="ij")
    ball = torch.from_numpy((x**2 + y**2 + z**2 < 0.6).astype(np.float32))[None, None]
    turned = VolumeAugmentation(extent_mm=(1, 1, 1), **{**STILL, "rotation_deg": 40})(
        ball, generator()
    )
    assert (turned - ball).abs().mean() < 0.04


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation_deg": -1},
        {"shift": "far"},
        {"zoom": 1},
        {"gain": -0.1},
        {"noise_sd": None},
        {"mirror": 0.5},
    ],
)
@pytest.mark.parametrize("kind", [TileAugmentation, VolumeAugmentation])
def test_what_a_parameter_cannot_be_is_refused(kind, wrong):
    with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' parameter of {kind.__name__}"):
        kind(**wrong)


def test_each_augmentation_has_its_own_parameters():
    with pytest.raises(ValueError, match="'tiles'"):
        TileAugmentation(tiles=4)
    with pytest.raises(ValueError, match="'extent_mm'"):
        VolumeAugmentation(extent_mm=(1, 1))
    assert repr(TileAugmentation(tiles=(2, 2), mirror=True)) == (
        "TileAugmentation(mirror=True, tiles=(2, 2))"
    )
