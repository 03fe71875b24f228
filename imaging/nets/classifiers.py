"""Encoders that turn an image into a feature vector, and the head that adds tabular values.

Every encoder has `n_features`, so that heads and embeddings need not know which it is, and works in
two steps, `feature_maps` (of which there are `n_maps`) and `summarise`, between which others step.
"""

import torch
from torch import nn

from ..errors import ImageError
from . import ARCHITECTURES

__all__ = ["ImageTabularNet", "LightweightEncoder", "build_encoder", "cell_pixels"]

LIGHTWEIGHT_CHANNELS = (16, 32, 64, 128, 256, 512)

# Channels last in memory: convolution, normalisation and pooling on processors are faster so.
MEMORY_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class LightweightEncoder(nn.Module):
    """Up to six steps of (valid convolution of width 3, max-pooling by 2, ReLU), then flattened.

    Flattening keeps where things are, which global pooling would lose: in a mosaic, position is
    anatomy. Steps that the picture is too small for are left out, so a 256 x 256 picture has six
    and a 96 x 256 one five.

    Two things are other than in the published network. Pooling also takes the last row or column
    where their number is odd: without that a picture of 152 x 128 would be seen down to row 125
    only, and what stands in the rows below, symbols for instance, not at all. And batch
    normalisation follows each convolution: without it, training on a few hundred patients often
    does not start.

    Parameters
    ----------
    shape : tuple of int
        Height and width (and depth) of the images, in pixels.
    in_channels : int, default=1
    channels : tuple of int, default=(16, 32, 64, 128, 256, 512)

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638 ("Lightweight" network).

    Examples
    --------
    >>> LightweightEncoder((254, 254)).n_features, LightweightEncoder((256, 256)).n_features
    (2048, 4608)
    """

    def __init__(self, shape, in_channels=1, channels=LIGHTWEIGHT_CHANNELS):
        super().__init__()
        convolution, norm, pooling = {
            2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
            3: (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d),
        }[len(shape)]
        steps, shape = [], tuple(shape)
        for width in channels[: _depth(shape, len(channels))]:
            # Pooling first is the same (both keep order) and leaves ReLU a quarter of the work.
            pool = pooling(2, ceil_mode=True)
            steps += [convolution(in_channels, width, 3), norm(width), pool, nn.ReLU()]
            shape, in_channels = tuple((n - 1) // 2 for n in shape), width
        if not steps:
            raise ImageError(f"an image of {shape} pixels is too small for a convolutional network")
        self.steps = nn.Sequential(*steps)
        self.n_maps = in_channels
        self.n_features = in_channels * int(torch.tensor(shape).prod())
        for step in steps:
            if isinstance(step, convolution):
                nn.init.kaiming_normal_(step.weight, nonlinearity="relu")
                nn.init.zeros_(step.bias)

    def feature_maps(self, image):
        return self.steps(image)

    def summarise(self, maps):
        return maps.flatten(1)

    def forward(self, image):
        return self.summarise(self.feature_maps(image))


def _depth(shape, most):
    """How many steps an image is large enough for: cells that are whole count, as published."""
    steps, shortest = 0, min(shape)
    while steps < most and (shortest - 2) // 2 >= 1:
        steps, shortest = steps + 1, (shortest - 2) // 2
    return steps


def cell_pixels(architecture, shape):
    """Pixels along an axis that one cell of an encoder's last feature maps stands for.

    What is smaller shares its cell with what lies beside it.

    Parameters
    ----------
    architecture : str
        As in `build_encoder`.
    shape : tuple of int
        Spatial shape of the images.

    Returns
    -------
    int

    Examples
    --------
    >>> cell_pixels("lightweight", (128, 128)), cell_pixels("resnet18", (64, 64))
    (32, 32)
    """
    return 2 ** _depth(shape, len(LIGHTWEIGHT_CHANNELS)) if architecture == "lightweight" else 32


def _channels_last(module):
    for weight in module.parameters():
        if weight.ndim in MEMORY_FORMATS:
            weight.data = weight.data.contiguous(memory_format=MEMORY_FORMATS[weight.ndim])


class _PooledResNet(nn.Module):
    """A MONAI ResNet without its classification layer: globally pooled features."""

    def __init__(self, depth, spatial_dims, in_channels):
        super().__init__()
        from monai.networks.nets.resnet import ResNet

        block, layers = {
            10: ("basic", [1, 1, 1, 1]),
            18: ("basic", [2, 2, 2, 2]),
            34: ("basic", [3, 4, 6, 3]),
            50: ("bottleneck", [3, 4, 6, 3]),
            101: ("bottleneck", [3, 4, 23, 3]),
        }[depth]
        self.body = ResNet(
            block,
            layers,
            [64, 128, 256, 512],
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_size=7,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        self.n_maps = self.n_features = 512 * (4 if block == "bottleneck" else 1)

    def feature_maps(self, image):
        body = self.body
        maps = body.maxpool(body.act(body.bn1(body.conv1(image))))
        return body.layer4(body.layer3(body.layer2(body.layer1(maps))))

    def summarise(self, maps):
        return self.body.avgpool(maps).flatten(1)

    def forward(self, image):
        return self.summarise(self.feature_maps(image))


def build_encoder(architecture, shape, in_channels=1):
    """Build an image encoder by name.

    Parameters
    ----------
    architecture : {"lightweight", "resnet10", "resnet18", "resnet34", "resnet50", "resnet101"}
    shape : tuple of int
        Spatial shape of the images: 2-D or 3-D.
    in_channels : int, default=1

    Returns
    -------
    torch.nn.Module
        Maps (batch, in_channels, *shape) to (batch, n_features).
    """
    if architecture == "lightweight":
        return LightweightEncoder(shape, in_channels)
    if architecture in ARCHITECTURES:
        return _PooledResNet(int(architecture.removeprefix("resnet")), len(shape), in_channels)
    raise ValueError(f"architecture must be among {ARCHITECTURES}, got {architecture!r}")


class ImageTabularNet(nn.Module):
    """Image features and tabular values side by side, then an output layer.

    Parameters
    ----------
    encoder : torch.nn.Module or None
        With `n_features`; None for a network on tabular values alone.
    n_tabular : int
        Number of tabular values, 0 for none.
    n_outputs : int
    n_hidden : int, default=128
    dropout : float, default=0.5
        Applied to what the encoder gives and to the hidden layer, never to tabular values.
    reference : (Tensor, float), default=None
        Mean image and standard deviation of the training set, taken off every image first: what
        is left is how a patient differs from the others. The scaling is part of the network, so
        that gradients and augmentation refer to the image itself.
    start : (Tensor, Tensor), default=None
        Weights (n_outputs, n_tabular) and bias (n_outputs,) of a linear model on the tabular
        values, where the output layer starts from: the image has to add to what they say already.
    """

    def __init__(
        self,
        encoder,
        n_tabular,
        n_outputs,
        n_hidden=128,
        dropout=0.5,
        reference=None,
        start=None,
    ):
        super().__init__()
        self.encoder = encoder
        if encoder is not None:
            _channels_last(encoder)
        mean, scale = (0.0, 1.0) if reference is None else reference
        self.register_buffer("image_mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("image_scale", torch.as_tensor(scale, dtype=torch.float32))
        n_inputs = n_tabular if encoder is None else encoder.n_features
        before = () if encoder is None else (nn.Dropout(dropout),)
        self.reduce = nn.Sequential(*before, nn.Linear(n_inputs, n_hidden), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(n_hidden + (0 if encoder is None else n_tabular), n_outputs)
        if start is not None:
            weight, bias = start
            with torch.no_grad():
                self.output.weight[:, n_hidden:] = weight
                self.output.bias[:] = bias

    def standardise(self, image):
        """The image as its difference from the training set's mean."""
        image = (image - self.image_mean) / self.image_scale
        return image.contiguous(memory_format=MEMORY_FORMATS[image.ndim])

    def embed(self, image=None, tabular=None):
        """The features of the hidden layer, shape (batch, n_hidden)."""
        if self.encoder is None:
            return self.reduce(tabular)
        return self.reduce(self.encoder(self.standardise(image)))

    def forward(self, image=None, tabular=None):
        features = self.dropout(self.embed(image, tabular))
        if self.encoder is not None and tabular is not None:
            features = torch.cat([features, tabular], dim=1)
        return self.output(features)
