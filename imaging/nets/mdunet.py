"""A U-Net whose stages are convolutional transformer blocks with large-kernel attention.

Two depth-wise convolutions, 5 voxels wide and then 7 wide with dilation 3, see 23 voxels along
every axis at the price of a few weights per channel.
"""

import torch
from torch import nn
from torch.nn import functional

from .unet import Ladder

__all__ = ["LARGE_KERNEL", "LargeKernelAttention", "build_mdunet"]

LARGE_KERNEL = 5 + (7 - 1) * 3
"""Voxels that `LargeKernelAttention` sees along every axis."""

LAYER_SCALE_START = 1e-2
MLP_RATIO = 4

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_BATCH_NORMS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class LargeKernelAttention(nn.Module):
    """Multiply features by a gate that has seen 23 voxels along every axis.

    On maps of fewer than 23 voxels the gate sees mostly padding: in a network of six levels on
    patches of 128 voxels, that is every level from the fourth (16 voxels) downwards.

    Parameters
    ----------
    channels : int
    spatial_dims : {2, 3}, default=3

    References
    ----------
    Guo et al. 2023, Visual attention network, Computational Visual Media 9:733-752.

    Examples
    --------
    >>> LargeKernelAttention(4, 2)(torch.ones(1, 4, 16, 16)).shape
    torch.Size([1, 4, 16, 16])
    """

    def __init__(self, channels, spatial_dims=3):
        super().__init__()
        convolution = _CONVOLUTIONS[spatial_dims]
        self.near = convolution(channels, channels, 5, padding=2, groups=channels)
        self.far = convolution(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.mix = convolution(channels, channels, 1)

    def forward(self, features):
        return features * self.gate(features)

    def gate(self, features):
        """What the features are multiplied by, of their own shape."""
        near = self.near(features)
        # Processors have no fast dilated convolution, so they convolve each of the interleaved
        # grids of every third voxel by itself: the same sums, ten times as fast.
        far = _by_phases(self.far, near) if features.device.type == "cpu" else self.far(near)
        return self.mix(far)


def _by_phases(convolution, features):
    """Apply a dilated depth-wise convolution to every grid of `dilation` voxels in turn."""
    step, weight, bias = convolution.dilation[0], convolution.weight, convolution.bias
    batch, channels, *shape = features.shape
    n_axes = len(shape)
    excess = [-n % step for n in shape]
    padded = functional.pad(features, [n for more in reversed(excess) for n in (0, more)])
    sides = [(n + more) // step for n, more in zip(shape, excess)]
    split = padded.reshape(batch, channels, *[n for side in sides for n in (side, step)])
    phases, places = range(3, 3 + 2 * n_axes, 2), range(2, 2 + 2 * n_axes, 2)
    grids = split.permute(*phases, 0, 1, *places).reshape(-1, channels, *sides)
    convolve = {2: functional.conv2d, 3: functional.conv3d}[n_axes]
    reach = convolution.kernel_size[0] // 2
    grids = convolve(grids, weight, bias, padding=reach, groups=channels)
    grids = grids.reshape(*(step,) * n_axes, batch, channels, *sides)
    # Back to batch, channels, then place and phase of every axis side by side.
    order = [n for axis in range(n_axes) for n in (n_axes + 2 + axis, axis)]
    whole = grids.permute(n_axes, n_axes + 1, *order).reshape(padded.shape)
    return whole[(..., *(slice(n) for n in shape))]


class _Attention(nn.Module):
    """Large-kernel attention between two mixing layers, with a residual of its own."""

    def __init__(self, channels, spatial_dims):
        super().__init__()
        convolution = _CONVOLUTIONS[spatial_dims]
        self.steps = nn.Sequential(
            convolution(channels, channels, 1),
            nn.GELU(),
            LargeKernelAttention(channels, spatial_dims),
            convolution(channels, channels, 1),
        )

    def forward(self, features):
        return features + self.steps(features)


def _mlp(channels, spatial_dims, dropout):
    convolution, wide = _CONVOLUTIONS[spatial_dims], MLP_RATIO * channels
    return nn.Sequential(
        convolution(channels, wide, 1),
        convolution(wide, wide, 3, padding=1, groups=wide),
        nn.GELU(),
        nn.Dropout(dropout),
        convolution(wide, channels, 1),
        nn.Dropout(dropout),
    )


class _Scaled(nn.Module):
    """Residual branch after batch norm, scaled per channel by a factor that starts near zero."""

    def __init__(self, branch, channels, spatial_dims):
        super().__init__()
        self.norm = _BATCH_NORMS[spatial_dims](channels)
        self.branch = branch
        self.scale = nn.Parameter(torch.full((channels, *(1,) * spatial_dims), LAYER_SCALE_START))

    def forward(self, features):
        return features + self.scale * self.branch(self.norm(features))


class _ChannelNorm(nn.Module):
    """Layer norm over the channels of every voxel."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, features):
        return self.norm(features.movedim(1, -1)).movedim(-1, 1).contiguous()


class AttentionStage(nn.Module):
    """Halve (or double) the image, then transformer blocks; a skip is concatenated after them.

    Parameters
    ----------
    n_in, n_out : int
        Channels before and after.
    depth : int
        Number of blocks, each of attention and a small convolutional perceptron.
    spatial_dims : {2, 3}
    dropout : float
        In the perceptrons.
    up : bool, default=False
        Double the image by a transposed convolution instead of halving it.
    """

    def __init__(self, n_in, n_out, depth, spatial_dims, dropout, up=False):
        super().__init__()
        if up:
            step = _TRANSPOSED[spatial_dims](n_in, n_out, 3, 2, padding=1, output_padding=1)
        else:
            step = _CONVOLUTIONS[spatial_dims](n_in, n_out, 3, 2, padding=1)
        self.embed = nn.Sequential(step, _BATCH_NORMS[spatial_dims](n_out))
        self.blocks = nn.Sequential()
        for _ in range(depth):
            for branch in (
                _Attention(n_out, spatial_dims),
                _mlp(n_out, spatial_dims, dropout),
            ):
                self.blocks.append(_Scaled(branch, n_out, spatial_dims))
        self.norm = _ChannelNorm(n_out)

    def forward(self, features, skip=None):
        features = self.norm(self.blocks(self.embed(features)))
        return features if skip is None else torch.cat([features, skip], dim=1)


def build_mdunet(n_outputs, in_channels, spatial_dims, channels, dropout, attention_decoder=False):
    """Large-kernel attention U-Net: MDE, or MDED where the decoder has attention, too.

    Full resolution has plain convolutions in the encoder; the level above the bottom has two
    blocks, every other level one. With six levels and the published widths: 28.50 M parameters,
    with attention in the decoder 24.29 M.

    Returns
    -------
    body : torch.nn.Module
    stages : list of (str, int)
        Decoder stages below full resolution, coarse to fine, with their channels.
    divisor : int

    References
    ----------
    Chalcroft et al. 2023, Large-kernel Attention for Efficient and Robust Brain Lesion
    Segmentation, arXiv 2308.07251.
    """
    from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetOutBlock, UnetUpBlock

    n_steps = len(channels) - 1
    if n_steps < 2:
        raise ValueError(f"an MDUNet needs three channels or more, got {tuple(channels)}")
    depths = [1] * (n_steps + 1)
    depths[-2] = 2
    plain = {"norm_name": ("INSTANCE", {"affine": True}), "dropout": dropout or None}
    encoder = [UnetBasicBlock(spatial_dims, in_channels, channels[0], 3, 1, **plain)]
    for level in range(1, n_steps + 1):
        encoder.append(
            AttentionStage(
                channels[level - 1], channels[level], depths[level], spatial_dims, dropout
            )
        )
    decoder, widths = [], []
    below = channels[-1]
    for level in reversed(range(n_steps)):
        width = channels[level]
        if attention_decoder:
            # As deep as the encoder's step between the same two levels.
            stage = AttentionStage(below, width, depths[level + 1], spatial_dims, dropout, up=True)
            below = 2 * width
        else:
            stage = UnetUpBlock(
                spatial_dims, below, width, 3, 1, upsample_kernel_size=2, trans_bias=True, **plain
            )
            below = width
        decoder.append(stage)
        widths.append(below)
    body = Ladder(encoder, decoder, UnetOutBlock(spatial_dims, below, n_outputs), channels)
    body.apply(_start)
    stages = [(f"decoder.{i}", width) for i, width in enumerate(widths[:-1])]
    return body, stages, 2**n_steps


def _start(module):
    """Weights of convolutions drawn as Kaiming's for a leaky rectifier, bias zero."""
    if isinstance(module, (*_CONVOLUTIONS.values(), *_TRANSPOSED.values())):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
