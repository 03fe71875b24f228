"""Networks of image estimators, 2-D and 3-D: encoders, and the fusion with a table."""

import pytest
import torch
from torch import nn

from imaging.learning.device import private_torch_state
from imaging.nets import ARCHITECTURES
from imaging.nets.classifiers import ImageTabularNet
from imaging.nets.encoders import LightweightEncoder, build_encoder
from imaging.nets.fusion import DaftNet, EarlyFusionNet


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


@pytest.mark.parametrize("architecture", ["lightweight", "resnet10", "resnet18"])
@pytest.mark.parametrize("shape", [(96, 64), (32, 32, 32)])
def test_encoders_say_how_many_features_they_give(architecture, shape):
    encoder = build_encoder(architecture, shape, in_channels=2).eval()
    with torch.no_grad():
        assert encoder(torch.zeros(2, 2, *shape)).shape == (2, encoder.n_features)
    with pytest.raises(ValueError, match="architecture must be among"):
        build_encoder("vgg", shape)
    assert architecture in ARCHITECTURES


def test_the_lightweight_network_is_the_published_one_where_that_loses_nothing():
    encoder = LightweightEncoder((254, 254))
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [16, 32, 64, 128, 256, 512]
    assert encoder.n_features == 2048


def unseen(architecture, shape):
    """How many pixels of an image can change no feature: without gradient in six random images."""
    with private_torch_state(0):
        encoder = build_encoder(architecture, shape).eval()
        images = torch.randn(6, 1, *shape, requires_grad=True)
    encoder(images).square().sum().backward()
    return int((images.grad == 0).all(dim=0).sum())


# A network's strides multiply to at most 64, so all that can happen at an edge happens among so
# many sizes; the others are checked along one axis each.
@pytest.mark.parametrize("size", range(24, 301, 4))
def test_the_lightweight_network_sees_every_pixel(size):
    for rows in range(size, size + 4):
        assert unseen("lightweight", (rows, 24)) == 0
        assert unseen("lightweight", (26, rows)) == 0


@pytest.mark.parametrize("shape", [(96, 120), (152, 128), (240, 192), (256, 256), (300, 297)])
def test_the_lightweight_network_sees_large_pictures_whole(shape):
    assert unseen("lightweight", shape) == 0


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if "resnet" in name])
def test_residual_networks_see_every_pixel(architecture):
    sizes = range(24, 57) if architecture == "resnet10" else (33,)
    for size in sizes:
        assert unseen(architecture, (size, 24 + size % 8)) == 0


@pytest.mark.parametrize("architecture", ["lightweight", "resnet10"])
def test_volumes_are_seen_whole(architecture):
    for size in range(24, 32):
        assert unseen(architecture, (size, 55 - size, 24 + size % 3)) == 0


def test_the_reference_image_is_taken_off_inside_the_network():
    mean = torch.rand(1, 16, 16)
    encoder = build_encoder("lightweight", (16, 16))
    net = ImageTabularNet(encoder, 0, 1, reference=(mean, 0.5)).eval()
    with torch.no_grad():
        shifted = net.embed(mean[None] + 0.5)
        plain = net.reduce(encoder(torch.ones(1, 1, 16, 16)))
    torch.testing.assert_close(shifted, plain)
