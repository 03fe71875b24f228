"""Networks of image estimators, 2-D and 3-D: encoders in two steps, and the fusion with a table."""

import pytest
import torch

from imaging.nets.classifiers import ImageTabularNet, build_encoder
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
