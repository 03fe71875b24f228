"""Convolutional and transformer U-Nets, all of them made of MONAI's parts.

Every builder returns the network, its decoder stages below full resolution (name and channels,
coarse to fine), where deep supervision listens, and what every side of an image must divide by.
"""

import importlib.util

import torch
from torch import nn
from torch.nn import functional

__all__ = [
    "Folded",
    "Ladder",
    "OfNoise",
    "build_denoising",
    "build_dynunet",
    "build_folded",
    "build_swinunetr",
    "build_unet",
]


_MOST = 4.0  # standard deviations of noise; what differs more is an edge


class Ladder(nn.Module):
    """Encoder down, decoder up, one skip connection per level, and an output layer.

    Parameters
    ----------
    encoder : list of torch.nn.Module
        From full resolution downwards; the last is the bottom.
    decoder : list of torch.nn.Module
        From the coarsest upwards, one fewer than `encoder`; each is called with what comes from
        below and what the encoder left at its level.
    output : torch.nn.Module
    channels : sequence of int
        That leave each stage of the encoder.
    """

    def __init__(self, encoder, decoder, output, channels):
        super().__init__()
        self.channels = tuple(channels)
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.output = output

    def forward(self, image):
        skips = []
        for stage in self.encoder:
            image = stage(image)
            skips.append(image)
        skips.pop()
        for stage in self.decoder:
            image = stage(image, skips.pop())
        return self.output(image)


class _Fold(nn.Module):
    """Blocks of 2 x 2 (x 2) voxels become channels of one voxel."""

    def __init__(self, spatial_dims):
        super().__init__()
        self.spatial_dims = spatial_dims

    def forward(self, image):
        from monai.networks.utils import pixelunshuffle

        return pixelunshuffle(image, self.spatial_dims, 2)


class Folded(nn.Module):
    """A network at half the resolution, between whole images and whole outputs.

    Each block of 2 x 2 (x 2) voxels becomes channels of one voxel, so that nothing is lost, and the
    network's output channels become the voxels of a block again.

    Parameters
    ----------
    body : torch.nn.Module
        From ``2**spatial_dims`` times the channels of an image to as many times the outputs.
    spatial_dims : int

    References
    ----------
    Shi et al. 2016, Efficient sub-pixel convolutional neural network, CVPR, arXiv 1609.05158.
    """

    def __init__(self, body, spatial_dims):
        super().__init__()
        self.fold = _Fold(spatial_dims)
        self.body = body
        self.spatial_dims = spatial_dims

    def forward(self, image):
        from monai.networks.utils import pixelshuffle

        return pixelshuffle(self.body(self.fold(image)), self.spatial_dims, 2)


def build_unet(n_outputs, in_channels, spatial_dims, channels, dropout):
    """MONAI's U-Net as in SynthStroke: one residual unit, PReLU, instance norm.

    Its first convolution halves the image already, and the bottom takes no step: six widths make
    five steps.

    References
    ----------
    Chalcroft et al. 2025, Synthetic Data for Robust Stroke Segmentation, MELBA 2025:014.
    """
    from monai.networks.nets import UNet

    if len(channels) < 3:
        raise ValueError(f"a U-Net needs three channels or more, got {tuple(channels)}")
    body = UNet(
        spatial_dims,
        in_channels,
        n_outputs,
        channels,
        (2,) * (len(channels) - 1),
        num_res_units=1,
        act="PRELU",
        norm="INSTANCE",
        dropout=dropout,
    )
    # A level is (down, skip connection around the next level, up); the bottom is a single block.
    stages, name = [], "model"
    for width in channels[:-2]:
        name += ".1.submodule"
        stages.insert(0, (f"{name}.2", width))
    return body, stages, 2 ** (len(channels) - 1)


def build_dynunet(n_outputs, in_channels, spatial_dims, channels, dropout):
    """MONAI's DynUNet, the network of nnU-Net: plain convolutions, instance norm.

    References
    ----------
    Isensee et al. 2021, nnU-Net, Nature Methods 18:203-211.
    """
    from monai.networks.blocks.dynunet_block import UnetOutBlock
    from monai.networks.nets import DynUNet

    if len(channels) < 3:
        raise ValueError(f"a DynUNet needs three channels or more, got {tuple(channels)}")
    n_steps = len(channels) - 1
    whole = DynUNet(
        spatial_dims,
        in_channels,
        n_outputs,
        kernel_size=[3] * (n_steps + 1),
        strides=[1] + [2] * n_steps,
        upsample_kernel_size=[2] * n_steps,
        filters=list(channels),
        dropout=dropout or None,
    )
    output = whole.output_block
    if dropout:  # MONAI's would drop logits, too.
        output = UnetOutBlock(spatial_dims, channels[0], n_outputs)
        output.apply(whole.initialize_weights)
    # MONAI's module lists every parameter twice, which safetensors refuses.
    body = Ladder(
        [whole.input_block, *whole.downsamples, whole.bottleneck],
        whole.upsamples,
        output,
        channels,
    )
    stages = [(f"decoder.{i}", channels[-2 - i]) for i in range(n_steps - 1)]
    return body, stages, 2**n_steps


def build_folded(n_outputs, in_channels, spatial_dims, channels, dropout):
    """A DynUNet at half the resolution, between sub-pixel layers (`Folded`).

    On a processor about half of the time of a small U-Net goes into its few channels at full
    resolution; here there are none.
    """
    block = 2**spatial_dims
    body, stages, divisor = build_dynunet(
        block * n_outputs, block * in_channels, spatial_dims, channels, dropout
    )
    stages = [(f"body.{name}", width) for name, width in stages]
    stages.append((f"body.decoder.{len(channels) - 2}", channels[0]))
    return Folded(body, spatial_dims), stages, 2 * divisor


class _PlainUp(nn.Module):
    """Doubles the resolution, joins what the encoder left there, and goes through convolutions."""

    def __init__(self, spatial_dims, below, width, dropout):
        super().__init__()
        larger = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[spatial_dims]
        self.larger = larger(below, width, 2, stride=2)
        self.convolutions = _plain(spatial_dims, 2 * width, width, dropout)

    def forward(self, image, skip):
        return self.convolutions(torch.cat([self.larger(image), skip], dim=1))


def _plain(spatial_dims, before, width, dropout, strides=1):
    """Two convolutions with rectifiers, nothing normalised."""
    from monai.networks.blocks import Convolution

    steps = []
    for number in range(2):
        steps.append(
            Convolution(
                spatial_dims,
                before if number == 0 else width,
                width,
                strides=strides if number == 0 else 1,
                act="relu",
                norm=None,
                dropout=dropout or None,
            )
        )
    return nn.Sequential(*steps)


class OfNoise(nn.Module):
    """What lies around a network without normalisation that gives the noise of an image.

    The image comes in units of the noise's standard deviation. Its difference from the mean of the
    voxels around is mostly noise, so that is what the network begins with and adds to; it sees it
    beside the image itself, standardised.

    Parameters
    ----------
    body : torch.nn.Module
        Takes twice the channels of the image.
    spatial_dims : {2, 3}
    """

    def __init__(self, body, spatial_dims):
        super().__init__()
        self.body = body
        self.mean = {2: nn.AvgPool2d, 3: nn.AvgPool3d}[spatial_dims](3, 1)
        self.around = (1,) * (2 * spatial_dims)

    def forward(self, image):
        flat = image.flatten(2)
        middle, spread = flat.mean(2), flat.std(2).clamp(min=1e-6)
        own = (...,) + (None,) * (image.dim() - 2)
        seen = (image - middle[own]) / spread[own]
        around = self.mean(functional.pad(image, self.around, mode="replicate"))
        rough = (image - around).clamp(-_MOST, _MOST)
        return rough[:, :1] + self.body(torch.cat([seen, rough], dim=1))


def build_denoising(n_outputs, in_channels, spatial_dims, channels, dropout):
    """A U-Net without normalisation at half the resolution, for noise: `Folded`, `OfNoise`.

    Normalisation forgets how large values are, which noise is all about.

    References
    ----------
    Zhang et al. 2018, FFDNet, IEEE Trans Image Process 27:4608, doi 10.1109/TIP.2018.2839891, for
    denoising at half the resolution.
    """
    if len(channels) < 2:
        raise ValueError(f"a denoising U-Net needs two channels or more, got {tuple(channels)}")
    block, flat = 2**spatial_dims, {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
    encoder, before = [], 2 * block * in_channels
    for number, width in enumerate(channels):
        encoder.append(_plain(spatial_dims, before, width, dropout, 1 + (number > 0)))
        before = width
    decoder = [
        _PlainUp(spatial_dims, below, width, dropout)
        for below, width in zip(channels[:0:-1], channels[-2::-1], strict=True)
    ]
    output = flat(channels[0], block * n_outputs, 3, padding=1)
    ladder = Ladder(encoder, decoder, output, channels)
    # Where nothing is normalised, only this keeps signals as strong from layer to layer.
    for module in ladder.modules():
        if isinstance(module, (flat, type(decoder[0].larger))):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    nn.init.zeros_(output.weight)
    inner = Folded(ladder, spatial_dims)
    stages = [(f"body.body.decoder.{i}", channels[-2 - i]) for i in range(len(channels) - 1)]
    return OfNoise(inner, spatial_dims), stages, 2 ** len(channels)


def build_swinunetr(n_outputs, in_channels, spatial_dims, channels, dropout):
    """MONAI's Swin-UNETR: shifted-window transformer as encoder, convolutions as decoder.

    References
    ----------
    Hatamizadeh et al. 2022, Swin UNETR, BrainLes, LNCS 12962:272-284.
    """
    from monai.networks.nets import SwinUNETR

    if importlib.util.find_spec("einops") is None:
        raise ImportError("swinunetr needs the package einops: pip install einops")
    width = channels[0]
    if width % 12 or tuple(channels) != tuple(width * 2**i for i in range(5)):
        raise ValueError(
            "swinunetr needs five channels that double, the first a multiple of 12 such as "
            f"(24, 48, 96, 192, 384), got {tuple(channels)}"
        )
    body = SwinUNETR(
        in_channels=in_channels,
        out_channels=n_outputs,
        feature_size=width,
        drop_rate=dropout,
        spatial_dims=spatial_dims,
    )
    stages = [(f"decoder{5 - i}", channels[3 - i]) for i in range(4)]
    return body, stages, 32
