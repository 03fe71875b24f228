"""What turns images into features: one protocol, by which every network here takes its encoder.

An encoder gives feature maps at several levels and one vector that sums them up. Classifiers and
fusion need the vector, networks from voxels to voxels the maps; an encoder that was trained for
one of them can go into any other.
"""

import torch
from torch import nn

from ..errors import ImageError
from . import ARCHITECTURES

__all__ = [
    "Encoder",
    "LevelsOf",
    "LightweightEncoder",
    "build_encoder",
    "cell_pixels",
    "encoder_of",
]

LIGHTWEIGHT_CHANNELS = (16, 32, 64, 128, 256, 512)
_STEP = 4  # modules of a step: convolution, normalisation, pooling, rectifier


class Encoder(nn.Module):
    """The protocol, and what follows from it; any module that has these is an encoder.

    A subclass sets `channels` and defines `levels`; where there is a shorter way to the last maps
    it may define `feature_maps`, and another summary than the mean by `summarise` and `n_features`.

    Attributes
    ----------
    channels : tuple of int
        Of the feature maps, from fine to coarse.
    n_maps : int
        Of the last ones.
    n_features : int
        Length of the summary vector.

    Examples
    --------
    >>> class Halves(Encoder):
    ...     channels = (4, 8)
    ...
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.one = nn.Conv2d(1, 4, 3, padding=1)
    ...         self.two = nn.Conv2d(4, 8, 3, stride=2, padding=1)
    ...
    ...     def levels(self, image):
    ...         fine = self.one(image).relu()
    ...         return [fine, self.two(fine).relu()]
    >>> encoder = Halves()
    >>> encoder(torch.zeros(3, 1, 10, 8)).shape, encoder.n_features
    (torch.Size([3, 8]), 8)
    """

    channels = ()

    @property
    def n_maps(self):
        """Channels of the last feature maps."""
        return self.channels[-1]

    @property
    def n_features(self):
        """Length of the summary vector."""
        return self.channels[-1]

    def levels(self, image):
        """Feature maps from fine to coarse: a list of tensors (batch, channels[i], *spatial_i).

        Parameters
        ----------
        image : Tensor of shape (batch, in_channels, *spatial)
        """
        raise NotImplementedError

    def feature_maps(self, image):
        """The last of the levels."""
        return self.levels(image)[-1]

    def summarise(self, maps):
        """The last maps as one vector for each sample, shape (batch, n_features)."""
        return maps.flatten(2).mean(2)

    def forward(self, image):
        """The summary vectors of images, shape (batch, n_features)."""
        return self.summarise(self.feature_maps(image))


class LevelsOf(Encoder):
    """An encoder of stages that follow each other, each of which gives one level.

    Parameters
    ----------
    stages : sequence of torch.nn.Module
    channels : sequence of int
        That leave each of them.
    before : torch.nn.Module, default=None
        What images go through first.
    """

    def __init__(self, stages, channels, before=None):
        super().__init__()
        self.before = nn.Identity() if before is None else before
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(channels)

    def levels(self, image):
        found, maps = [], self.before(image)
        for stage in self.stages:
            maps = stage(maps)
            found.append(maps)
        return found


class LightweightEncoder(Encoder):
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
        self.channels = tuple(channels[: len(steps) // _STEP])
        self.n_cells = int(torch.tensor(shape).prod())
        for step in steps:
            if isinstance(step, convolution):
                nn.init.kaiming_normal_(step.weight, nonlinearity="relu")
                nn.init.zeros_(step.bias)

    @property
    def n_features(self):
        """Length of the summary vector: of every cell of the last maps, all channels."""
        return self.channels[-1] * self.n_cells

    def levels(self, image):
        found = []
        for number, step in enumerate(self.steps, start=1):
            image = step(image)
            if number % _STEP == 0:
                found.append(image)
        return found

    def feature_maps(self, image):
        return self.steps(image)

    def summarise(self, maps):
        return maps.flatten(1)


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


class _PooledResNet(Encoder):
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
        wider = 4 if block == "bottleneck" else 1
        self.channels = (64, *(wider * width for width in (64, 128, 256, 512)))

    def levels(self, image):
        body = self.body
        found = [body.act(body.bn1(body.conv1(image)))]
        maps = body.maxpool(found[0])
        for layer in (body.layer1, body.layer2, body.layer3, body.layer4):
            maps = layer(maps)
            found.append(maps)
        return found

    def summarise(self, maps):
        return self.body.avgpool(maps).flatten(1)


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
    Encoder
        Its weights are drawn from torch's global random state.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> encoder = build_encoder("resnet10", (32, 32))
    >>> encoder.channels, encoder.eval()(torch.zeros(1, 1, 32, 32)).shape
    ((64, 64, 128, 256, 512), torch.Size([1, 512]))
    """
    if architecture == "lightweight":
        return LightweightEncoder(shape, in_channels)
    if architecture in ARCHITECTURES:
        return _PooledResNet(int(architecture.removeprefix("resnet")), len(shape), in_channels)
    raise ValueError(f"architecture must be among {ARCHITECTURES}, got {architecture!r}")


def encoder_of(network):
    """The encoder inside a network from voxels to voxels, to be used in another one.

    Parameters
    ----------
    network : imaging.nets.voxelwise.VoxelwiseNet
        Whose body has stages down and up (all but MONAI's U-Net and Swin-UNETR), or an encoder.

    Returns
    -------
    Encoder
        Of the same weights: copy it (`copy.deepcopy`) where both go on.

    Raises
    ------
    ValueError
        If this network has no encoder that stands by itself.

    Examples
    --------
    >>> from imaging.nets.voxelwise import build_voxelwise
    >>> encoder = encoder_of(build_voxelwise("dynunet-small", n_outputs=2))
    >>> encoder.channels
    (12, 24, 48, 96)
    """
    inside = getattr(network, "body", network)
    if isinstance(getattr(inside, "encoder", None), Encoder):
        return inside.encoder
    before = None
    if hasattr(inside, "fold"):
        before, inside = inside.fold, inside.body
    if not hasattr(inside, "encoder"):
        raise ValueError(
            f"{type(inside).__name__} has no encoder that stands by itself; take a network of "
            "another architecture, such as dynunet or mde"
        )
    return LevelsOf(inside.encoder, inside.channels, before)
