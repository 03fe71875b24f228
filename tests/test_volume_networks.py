"""What 3-D estimators rest on: shrinking, augmentation in millimetres, encoders and fusion."""

import nibabel as nib
import numpy as np
import pytest
import torch

from imaging import restore_grid, shrink_volume
from imaging.learning.volume_augmentation import VolumeAugmentation
from imaging.nets.classifiers import ImageTabularNet
from imaging.nets.encoders import build_encoder
from imaging.nets.fusion import DaftNet, EarlyFusionNet

STILL = {"rotation_deg": 0, "shift": 0, "zoom": 0, "gain": 0, "noise_sd": 0}


def generator():
    return torch.Generator().manual_seed(0)


def test_shrinking_averages_and_comes_back(affine):
    grid = np.indices((12, 10, 8)).sum(0) / 30
    image = nib.Nifti1Image(grid.astype(np.float32), affine)
    small = shrink_volume(image, 4)
    assert small.shape[0] < 12 and np.asanyarray(small.dataobj).mean() == pytest.approx(
        grid.mean(), rel=1e-4
    )
    centre = nib.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2)
    small_centre = nib.affines.apply_affine(small.affine, (np.array(small.shape) - 1) / 2)
    np.testing.assert_allclose(centre, small_centre, atol=1e-6)
    back = restore_grid(small, image)
    inside = (slice(3, -3),) * 2 + (slice(2, -2),)
    np.testing.assert_allclose(back.get_fdata()[inside], grid[inside], atol=0.06)
    coarse = shrink_volume(image, 0.1)
    np.testing.assert_array_equal(coarse.get_fdata(), image.get_fdata())
    with pytest.raises(ValueError, match="spacing_mm must be positive"):
        shrink_volume(image, 0)


def test_augmentation_keeps_sides_unless_asked():
    images = torch.zeros(40, 1, 10, 8, 6)
    images[:, :, 1:3, 3:5, 2:4] = 1
    moved = VolumeAugmentation()(images, generator())
    left = moved[:, 0, :5].sum((1, 2, 3))
    assert (left > moved[:, 0, 5:].sum((1, 2, 3))).all() and not torch.equal(moved, images)
    np.testing.assert_allclose(VolumeAugmentation(**STILL)(images, generator()), images, atol=1e-5)
    flipped = VolumeAugmentation(**STILL, flip_left_right=True)(images, generator())
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


@pytest.mark.parametrize("architecture", ["lightweight", "resnet10"])
@pytest.mark.parametrize("shape", [(40, 40), (24, 20, 18)])
def test_encoders_work_in_two_steps(architecture, shape):
    encoder = build_encoder(architecture, shape, 2).eval()
    images = torch.rand(3, 2, *shape)
    maps = encoder.feature_maps(images)
    assert maps.shape[:2] == (3, encoder.n_maps)
    assert encoder(images).shape == (3, encoder.n_features)
    if architecture == "resnet10":
        torch.testing.assert_close(encoder(images), encoder.body(images))


@pytest.mark.parametrize("shape", [(40, 40), (24, 20, 18)])
def test_daft_starts_as_the_image_network_and_both_heed_tabular_values(shape):
    torch.manual_seed(0)
    encoder = build_encoder("lightweight", shape)
    images, tabular = torch.rand(4, 1, *shape), torch.rand(4, 3)
    daft = DaftNet(encoder, 3, 2).eval()
    plain = ImageTabularNet(encoder, 0, 2).eval()
    plain.reduce, plain.output = daft.reduce, daft.output
    torch.testing.assert_close(daft(images, tabular), plain(images))
    torch.nn.init.normal_(daft.condition[-1].weight)
    assert not torch.allclose(daft(images, tabular), daft(images, tabular + 1))
    early = EarlyFusionNet(encoder, 3, 2).eval()
    assert not torch.allclose(early(images, tabular), early(images, tabular + 1))
    assert early.embed(images, tabular).shape == (4, 256)
