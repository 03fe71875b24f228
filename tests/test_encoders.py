"""One protocol for encoders: whatever follows it goes into every network."""

import copy

import nibabel as nib
import numpy as np
import pytest
import torch

from imaging.nets.classifiers import ImageTabularNet
from imaging.nets.encoders import Encoder, build_encoder, encoder_of
from imaging.nets.fusion import DaftNet, EarlyFusionNet
from imaging.nets.voxelwise import build_voxelwise
from imaging.segmentation import LesionSegmenter
from imaging.storage.models import ModelFileError
from imaging.synthesis import LabelMapSource


class Thirds(Encoder):
    """Steps by 3, which no image of the tests is a multiple of."""

    channels = (3, 5)

    def __init__(self, shape, in_channels):
        super().__init__()
        convolution = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[len(shape)]
        self.one = convolution(in_channels, 3, 3, padding=1)
        self.two = convolution(3, 5, 3, stride=3, padding=1)

    def levels(self, image):
        fine = self.one(image).relu()
        return [fine, self.two(fine).relu()]


def named(name):
    return lambda shape, in_channels: build_encoder(name, shape, in_channels)


ENCODERS = {"own": Thirds, "lightweight": named("lightweight"), "resnet10": named("resnet10")}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("shape", [(64, 64), (64, 32, 32)])
def test_an_encoder_goes_into_every_network(name, shape):
    image, table = torch.randn(2, 2, *shape), torch.randn(2, 3)
    encoder = ENCODERS[name](shape, 2).eval()
    levels = encoder.levels(image)
    assert [maps.shape[1] for maps in levels] == list(encoder.channels)
    assert torch.equal(levels[-1], encoder.feature_maps(image))
    assert encoder(image).shape == (2, encoder.n_features)
    for network in (ImageTabularNet, EarlyFusionNet, DaftNet):
        assert network(ENCODERS[name](shape, 2), 3, 2).eval()(image, table).shape == (2, 2)
    whole = build_voxelwise(
        ENCODERS[name], 4, 2, spatial_dims=len(shape), deep_supervision=True, shape=shape
    )
    *coarse, full = whole(image)
    assert full.shape == (2, 4, *shape) and len(coarse) == len(encoder.channels) - 1
    full.sum().backward()
    assert all(p.grad is not None for p in whole.body.parameters())


@pytest.mark.parametrize("architecture", ["dynunet-small", "mde-small", "folded-small"])
def test_the_encoder_of_a_trained_network_gives_what_its_decoder_got(architecture):
    network = build_voxelwise(architecture, 2, spatial_dims=2).eval()
    image, seen = torch.randn(1, 1, 64, 64), []
    inside = network.body.body if architecture.startswith("folded") else network.body
    for stage in inside.encoder:
        stage.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network(image)
    encoder = encoder_of(network)
    for maps, other, width in zip(encoder.levels(image), seen[:4], encoder.channels, strict=True):
        assert torch.equal(maps, other) and maps.shape[1] == width
    classifier = ImageTabularNet(copy.deepcopy(encoder), 0, 2).eval()
    assert classifier(image).shape == (1, 2)
    own = build_voxelwise(Thirds, 2, spatial_dims=2, shape=(64, 64))
    assert encoder_of(own) is own.body.encoder
    with pytest.raises(ValueError, match="no encoder that stands by itself"):
        encoder_of(build_voxelwise("unet-small", 2, spatial_dims=2))


def test_a_segmenter_on_an_encoder_of_ones_own(tmp_path):
    settings = {"spacing_mm": 8, "patch_size": 16, "epochs": 1, "steps_per_epoch": 2}
    settings |= {"source": LabelMapSource(spacing_mm=8), "validation_samples": 1}
    model = LesionSegmenter(Thirds, **settings, random_state=0, checkpoint=tmp_path).fit()
    assert isinstance(model.network_.body.encoder, Thirds)
    scan = nib.Nifti1Image(np.random.default_rng(0).random((18, 20, 17)), np.diag([8, 8, 8, 1]))
    assert model.predict([scan])[0].shape == scan.shape
    with pytest.raises(ModelFileError, match="architecture that is a function"):
        model.save(tmp_path / "own.safetensors")
    model.fit()  # the same function is known again in the checkpoint
