"""Networks that give every voxel some numbers, 2-D and 3-D: by name, or on an encoder.

One shell around all of them checks the image's shape, gives outputs at full resolution and, where
asked, also at the coarser stages of the decoder while training.
"""

from contextlib import ExitStack

from torch import nn

from ..errors import ImageError
from . import ON_PRETRAINED, VOXELWISE
from .decoders import OnEncoder
from .freezing import Freezable
from .mdunet import build_mdunet
from .pretrained import BesideFeatures
from .pretraining import build_pretraining_encoder
from .unet import build_denoising, build_dynunet, build_folded, build_swinunetr, build_unet

__all__ = ["VoxelwiseNet", "build_voxelwise"]

_PUBLISHED = (32, 64, 128, 256, 320, 320)
_SMALL = (12, 24, 48, 96)
_BUILDERS = {
    "unet": (build_unet, {}, _PUBLISHED),
    "mde": (build_mdunet, {}, _PUBLISHED),
    "mded": (build_mdunet, {"attention_decoder": True}, _PUBLISHED),
    "dynunet": (build_dynunet, {}, _PUBLISHED),
    "swinunetr": (build_swinunetr, {}, (48, 96, 192, 384, 768)),
    "folded": (build_folded, {}, _PUBLISHED[:-1]),
    "denoising": (build_denoising, {}, (64, 128, 256, 512)),
    "unet-small": (build_unet, {}, _SMALL),
    "mde-small": (build_mdunet, {}, _SMALL),
    "mded-small": (build_mdunet, {"attention_decoder": True}, _SMALL),
    "dynunet-small": (build_dynunet, {}, _SMALL),
    "swinunetr-small": (build_swinunetr, {}, (12, 24, 48, 96, 192)),
    "folded-small": (build_folded, {}, (16, 32, 64, 128)),
    "denoising-small": (build_denoising, {}, (32, 64, 128)),
}


class VoxelwiseNet(Freezable):
    """Numbers at every voxel: the logits of classes, or values.

    Parameters
    ----------
    body : torch.nn.Module
        Maps (batch, in_channels, *shape) to (batch, n_outputs, *shape).
    stages : list of (str, int)
        Submodules of `body` whose output deep supervision reads, coarse to fine, and how many
        channels they have.
    divisor : int
        By what every side of an image must be divisible.
    n_outputs, in_channels, spatial_dims : int
    deep_supervision : bool, default=False

    Attributes
    ----------
    divisor : int
        The one place that says by what every side of an image must be divisible. The coarsest
        map must have more than one voxel, too, or its standard deviation is not defined: at
        least one side must be twice the divisor.

    Examples
    --------
    >>> import torch
    >>> network = build_voxelwise("unet-small", 2, spatial_dims=2, deep_supervision=True)
    >>> [tuple(outputs.shape) for outputs in network(torch.zeros(1, 1, 32, 16))]
    [(1, 2, 8, 4), (1, 2, 16, 8), (1, 2, 32, 16)]
    >>> network.eval()(torch.zeros(1, 1, 32, 16)).shape
    torch.Size([1, 2, 32, 16])
    """

    def __init__(
        self, body, stages, divisor, n_outputs, in_channels, spatial_dims, deep_supervision=False
    ):
        super().__init__()
        self.body = body
        self.divisor = divisor
        self.n_outputs = n_outputs
        self.in_channels = in_channels
        self.spatial_dims = spatial_dims
        self.stages = [name for name, _ in stages] if deep_supervision else []
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
        widths = [width for _, width in stages] if deep_supervision else []
        self.heads = nn.ModuleList(convolution(width, n_outputs, 1) for width in widths)

    def forward(self, image):
        """Outputs at every voxel.

        Parameters
        ----------
        image : Tensor of shape (batch, in_channels, *shape)

        Returns
        -------
        Tensor of shape (batch, n_outputs, *shape), or list of Tensor
            With deep supervision and while training: a list, coarse to fine, each twice
            as fine as the one before, the last at full resolution.

        Raises
        ------
        ImageError
            If the image has another number of channels or axes, or sides that do not fit.
        """
        self._check(image)
        if not (self.training and self.heads):
            return self.body(image)
        features = []
        with ExitStack() as listening:
            for name in self.stages:
                hook = self.body.get_submodule(name).register_forward_hook(
                    lambda module, inputs, output: features.append(output)
                )
                listening.callback(hook.remove)
            outputs = self.body(image)
        return [head(maps) for head, maps in zip(self.heads, features)] + [outputs]

    @property
    def encoder_part(self):
        """Name of the submodule that is the encoder, to be frozen.

        Raises
        ------
        ValueError
            If this network has none that stands by itself.
        """
        parts = {name for name, _ in self.named_modules()}
        for name in ("body.encoder", "body.body.encoder", "body.body.body.encoder"):
            if name in parts:
                return name
        raise ValueError(
            f"{type(self.body).__name__} has no encoder that stands by itself, to be frozen; take "
            "another architecture, such as dynunet, or freeze=False"
        )

    def _check(self, image):
        shape = tuple(image.shape[2:])
        if image.ndim != 2 + self.spatial_dims or image.shape[1] != self.in_channels:
            raise ImageError(
                f"this network takes images of shape (batch, {self.in_channels}, "
                f"{self.spatial_dims} axes), got {tuple(image.shape)}"
            )
        n_bottom = 1
        for side in shape:
            n_bottom *= side // self.divisor
        if any(side % self.divisor for side in shape) or n_bottom < 2:
            raise ImageError(
                f"an image of {shape} voxels does not fit this network: pad it so that every side "
                f"is a multiple of {self.divisor} and one of them at least {2 * self.divisor}"
            )


def build_voxelwise(
    architecture,
    n_outputs,
    in_channels=1,
    spatial_dims=3,
    channels=None,
    deep_supervision=False,
    dropout=0.0,
    shape=None,
):
    """Build a network from voxels to voxels.

    Parameters
    ----------
    architecture : str or callable
        "unet": MONAI's U-Net as in SynthStroke (18.6 M parameters); "mde": attention with a
        kernel of 23 voxels in the encoder (28.50 M); "mded": in the decoder, too (24.29 M);
        "dynunet": as in nnU-Net (31.19 M); "swinunetr": shifted-window transformer (62.19 M);
        "folded": a DynUNet at half the resolution, with 2 x 2 x 2 voxels as channels at its ends;
        "denoising": the same idea without normalisation, for the noise of images.
        With "-small" appended: the same at a size that trains on two CPU cores. A callable takes
        the spatial shape and the number of channels of an image and returns an encoder (see
        `imaging.nets.encoders`), on which a plain decoder is put. "encoder-" and the name of an
        encoder for pretraining: the same on that one; "features-": a small DynUNet that sees its
        frozen features beside the image.
    n_outputs : int
        Classes with the background, or values.
    in_channels : int, default=1
    spatial_dims : {2, 3}, default=3
    channels : tuple of int, default=None
        Channels of every level instead of the named network's; fewer levels make a smaller
        `divisor`. Swin-UNETR takes five that double.
    deep_supervision : bool, default=False
        While training, also return outputs of the decoder's coarser stages.
    dropout : float, default=0.0
        Probability of dropping a feature, never an output.
    shape : tuple of int, default=None
        Spatial shape of the images, for an `architecture` that is callable or on an encoder for
        pretraining.

    Returns
    -------
    VoxelwiseNet
        Its weights are drawn from torch's global random state: seed that, or fork it, around the
        call.

    Raises
    ------
    ValueError
        If the name is unknown or the channels do not suit it.
    ImportError
        If a Swin-UNETR is asked for and einops is not installed.

    References
    ----------
    See `imaging.nets.unet` and `imaging.nets.mdunet`.

    Examples
    --------
    >>> network = build_voxelwise("unet-small", n_outputs=2)
    >>> sum(p.numel() for p in network.parameters()), network.divisor
    (337585, 8)
    """
    known = (n_outputs, in_channels, spatial_dims)
    if callable(architecture):
        encoder = architecture(tuple(shape), in_channels)
        body = OnEncoder(encoder, *known, dropout)
        divisor = getattr(encoder, "divisor", 2 ** len(encoder.channels))
        return VoxelwiseNet(body, body.stages, divisor, *known, deep_supervision)
    if architecture not in (*_BUILDERS, *ON_PRETRAINED):
        raise ValueError(f"architecture must be among {VOXELWISE}, got {architecture!r}")
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}")
    if architecture in ON_PRETRAINED:
        body, stages, divisor = _build_on_pretrained(architecture, *known, channels, dropout, shape)
        return VoxelwiseNet(body, stages, divisor, *known, deep_supervision)
    builder, options, widths = _BUILDERS[architecture]
    widths = tuple(widths if channels is None else channels)
    body, stages, divisor = builder(*known, widths, dropout, **options)
    return VoxelwiseNet(body, stages, divisor, *known, deep_supervision)


def _build_on_pretrained(
    architecture, n_outputs, in_channels, spatial_dims, channels, dropout, shape
):
    """A decoder on an encoder for pretraining, or a small network that sees its features."""
    way, _, name = architecture.partition("-")
    if in_channels != 1 or shape is None:
        raise ValueError(
            f"{architecture} takes images of one channel and a known shape, got {in_channels} and "
            f"{shape}"
        )
    encoder = build_pretraining_encoder(name, tuple(shape), channels=channels, dropout=dropout)
    if way == "encoder":
        body = OnEncoder(encoder, n_outputs, 1, spatial_dims, dropout)
        return body, body.stages, encoder.divisor
    inner = 1 + encoder.channels[0]
    body, stages, divisor = build_dynunet(n_outputs, inner, spatial_dims, _SMALL, dropout)
    stages = [(f"body.{part}", width) for part, width in stages]
    divisor = max(divisor, encoder.divisor)  # both are powers of two
    return BesideFeatures(encoder, body, spatial_dims), stages, divisor
