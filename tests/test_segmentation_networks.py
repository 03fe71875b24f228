"""Segmentation networks: published sizes, shapes, receptive fields, what they share."""

import pickle

import pytest
import torch

from imaging import ImageError
from imaging.nets import VOXELWISE
from imaging.nets.mdunet import LARGE_KERNEL, AttentionStage, LargeKernelAttention
from imaging.nets.unet import Folded
from imaging.nets.voxelwise import build_voxelwise

TINY = {"unet": (4, 6, 8), "mde": (4, 6, 8), "mded": (4, 6, 8), "dynunet": (4, 6, 8)}


def n_parameters(network):
    return sum(p.numel() for p in network.parameters())


def tiny(architecture, spatial_dims=2, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_voxelwise(
            architecture, 3, spatial_dims=spatial_dims, channels=TINY[architecture], **options
        )


@pytest.mark.parametrize(
    ("architecture", "n_classes", "published"),
    [
        ("unet", 2, 18_615_295),
        ("unet", 6, 18_623_079),
        ("mde", 2, 28.50),
        ("mded", 2, 24.29),
        ("dynunet", 2, 31.19),
    ],
)
def test_published_sizes(architecture, n_classes, published):
    with torch.device("meta"):
        network = build_voxelwise(architecture, n_classes)
    found = n_parameters(network)
    assert found == published or round(found / 1e6, 2) == published
    assert network.divisor == 32


def test_published_size_of_swin_unetr():
    pytest.importorskip("einops")
    # It cannot be built without storage.
    assert round(n_parameters(build_voxelwise("swinunetr", 2)) / 1e6, 2) == 62.19


@pytest.mark.parametrize("architecture", [a for a in VOXELWISE if a.endswith("-small")])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_small_ones_are_small_and_work(architecture, spatial_dims):
    if "swin" in architecture:
        pytest.importorskip("einops")
    network = build_voxelwise(architecture, 2, spatial_dims=spatial_dims).eval()
    assert n_parameters(network) < (5e6 if "swin" in architecture else 1.5e6)
    shape = (2 * network.divisor, *(network.divisor,) * (spatial_dims - 1))
    with torch.no_grad():
        assert network(torch.zeros(1, 1, *shape)).shape == (1, 2, *shape)


@pytest.mark.parametrize("architecture", TINY)
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_deep_supervision(architecture, spatial_dims):
    network = tiny(architecture, spatial_dims, deep_supervision=True, in_channels=2)
    shape = (16, 8, 12)[:spatial_dims]
    image = torch.randn(2, 2, *shape)
    stages = network(image)
    assert [s.shape[2] for s in stages] == [8, 16]
    assert all(s.shape[:2] == (2, 3) for s in stages) and stages[-1].shape[2:] == shape
    sum(s.square().mean() for s in stages).backward()
    assert all(p.grad is not None for p in network.parameters())
    network.eval()
    torch.testing.assert_close(network(image), network.body(image))
    assert not any(m._forward_hooks for m in network.modules())
    plain = tiny(architecture, spatial_dims, in_channels=2)
    assert isinstance(plain(image), torch.Tensor)
    assert n_parameters(plain) < n_parameters(network)


@pytest.mark.parametrize("architecture", TINY)
def test_weights_follow_the_seed_and_no_parameter_is_shared(architecture):
    state = torch.get_rng_state()
    first, again, other = (tiny(architecture, seed=s).state_dict() for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)
    places = [v.data_ptr() for v in first.values() if v.numel()]
    assert len(places) == len(set(places))
    network = tiny(architecture).eval()
    image = torch.randn(1, 1, 16, 16)
    copied = pickle.loads(pickle.dumps(network))
    torch.testing.assert_close(copied(image), network(image))


@pytest.mark.parametrize("architecture", TINY)
def test_dropout_drops_features_never_logits(architecture):
    network = tiny(architecture, dropout=0.5)
    image = torch.randn(1, 1, 16, 16)
    torch.manual_seed(0)
    first, second = network(image), network(image)
    assert not torch.allclose(first, second) and (first != 0).all()
    network.eval()
    torch.testing.assert_close(network(image), network(image))


def seen(function, image):
    """Extent, along every axis, of the voxels that the middle of the output depends on."""
    image.requires_grad_()
    output = function(image)
    middle = tuple(n // 2 for n in output.shape[2:])
    (gradient,) = torch.autograd.grad(output[(0, 0, *middle)], image)
    places = gradient[0].abs().sum(0).nonzero()
    return (places.max(0).values - places.min(0).values + 1).tolist()


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_large_kernel_sees_23_voxels(spatial_dims):
    attention = LargeKernelAttention(2, spatial_dims)
    image = torch.randn(1, 2, *(32,) * spatial_dims)
    assert seen(attention.gate, image) == [LARGE_KERNEL] * spatial_dims == [23] * spatial_dims
    # Every voxel inside counts, none is skipped by the dilation.
    (gradient,) = torch.autograd.grad(attention.gate(image)[(0, 0, *(16,) * spatial_dims)], image)
    assert (gradient[0].abs().sum(0) > 0).sum() == 23**spatial_dims


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_folding_loses_no_voxel_and_moves_none(spatial_dims):
    image = torch.randn(2, 3, *(4, 6, 2)[:spatial_dims])
    assert torch.equal(Folded(torch.nn.Identity(), spatial_dims)(image), image)
    first = Folded(lambda folded: folded[:, : 2**spatial_dims], spatial_dims)
    assert torch.equal(first(image), image[:, :1])  # the channels of one class lie together


def test_folded_network_is_supervised_below_full_resolution():
    network = build_voxelwise("folded", 3, channels=(4, 6, 8), deep_supervision=True)
    stages = network(torch.randn(1, 1, 16, 8, 8))
    assert [(s.shape[1], s.shape[2]) for s in stages] == [(3, 4), (3, 8), (3, 16)]
    sum(s.square().mean() for s in stages).backward()
    assert all(p.grad is not None for p in network.parameters())
    assert network.divisor == 8


def test_stage_sees_what_its_convolutions_add_up_to():
    """Attention (23) and perceptron (3) on the halved image, then the step's 3 voxels."""
    stage = AttentionStage(1, 4, 1, 2, 0.0).eval()
    assert seen(stage, torch.randn(1, 1, 96, 96)) == [(23 + 3 - 1 - 1) * 2 + 3] * 2


@pytest.mark.parametrize("shape", [(7, 12, 31), (4, 5), (16, 16)])
def test_convolution_by_phases_is_the_dilated_one(shape):
    from imaging.nets.mdunet import _by_phases

    attention = LargeKernelAttention(3, len(shape)).double()
    image = torch.randn(2, 3, *shape, dtype=torch.double, requires_grad=True)
    ours, theirs = _by_phases(attention.far, image), attention.far(image)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(theirs)
    parameters = [image, *attention.far.parameters()]
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), parameters),
        torch.autograd.grad((theirs * weight).sum(), parameters),
    ):
        torch.testing.assert_close(one, other)


def test_start_of_the_attention_network():
    network = tiny("mded", 3)
    scales = [p for name, p in network.named_parameters() if name.endswith(".scale")]
    assert len(scales) == 2 * (2 + 1 + 1 + 2)
    assert all((p == 1e-2).all() for p in scales)
    biases = [
        m.bias for m in network.body.modules() if hasattr(m, "dilation") and m.bias is not None
    ]
    assert biases and all((b == 0).all() for b in biases)
    wide = LargeKernelAttention(64, 3)
    from imaging.nets.mdunet import _start

    wide.apply(_start)
    assert wide.mix.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.1)
    # The skip is concatenated after the block, so it reaches the output layer untouched.
    assert network.body.output.conv.conv.in_channels == 2 * TINY["mded"][0]


def test_wrong_input_is_refused():
    network = tiny("unet")
    with pytest.raises(ImageError, match=r"\(16, 18\) voxels .* multiple of 4"):
        network(torch.zeros(1, 1, 16, 18))
    with pytest.raises(ImageError, match="one of them at least 8"):
        network(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ImageError, match=r"\(batch, 1, 2 axes\), got \(1, 3, 16, 16\)"):
        network(torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"architecture must be among .* got 'vnet'"):
        build_voxelwise("vnet", 2)
    with pytest.raises(ValueError, match="spatial_dims must be 2 or 3, got 4"):
        build_voxelwise("unet", 2, spatial_dims=4)
    for architecture in ("unet", "mde", "dynunet"):
        with pytest.raises(ValueError, match="three channels or more"):
            build_voxelwise(architecture, 2, channels=(8, 16))
    pytest.importorskip("einops")
    with pytest.raises(ValueError, match="five channels that double"):
        build_voxelwise("swinunetr", 2, channels=(12, 24, 48))
