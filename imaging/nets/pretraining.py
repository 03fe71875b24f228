"""Encoders that are pretrained without any outcome, and the heads that pretraining puts on them."""

import torch
from torch import nn
from torch.nn import functional

from . import PRETRAINING
from .encoders import Encoder
from .shapes import SHAPE_CHANNELS, ShapeEncoder

__all__ = [
    "ContractingEncoder",
    "DenseHead",
    "PretrainingNet",
    "Projector",
    "ReconstructionHead",
    "TokenEncoder",
    "build_pretraining_encoder",
]

PUBLISHED_CHANNELS = (64, 128, 256, 512, 768)
SMALL_CHANNELS = (16, 32, 64, 64)


class ContractingEncoder(Encoder):
    """The way down of a U-Net: two convolutions at every level, halved by max-pooling in between.

    Parameters
    ----------
    spatial_dims : {3, 2}
    in_channels : int, default=1
    channels : tuple of int
        Of every level, from fine to coarse.
    dropout : float, default=0.0
    fold : bool, default=False
        Take the image at half its resolution, its 2 x 2 x 2 voxels as channels, which is about
        eight times as fast.
    cells : int, default=1
        The summary keeps means of so many cells along every axis; 1 is the global mean.

    References
    ----------
    Chalcroft et al. 2025, arXiv 2501.12057: channels 64 to 768, dropout .2, global mean.

    Examples
    --------
    >>> encoder = ContractingEncoder(3, channels=PUBLISHED_CHANNELS, dropout=0.2)
    >>> sum(weights.numel() for weights in encoder.parameters())
    40592448
    """

    def __init__(self, spatial_dims, in_channels=1, *, channels, dropout=0.0, fold=False, cells=1):
        from monai.networks.blocks import Convolution
        from monai.networks.layers.factories import Pool

        super().__init__()
        self.spatial_dims = spatial_dims
        self.channels = tuple(channels)
        self.fold, self.cells = fold, cells
        self.divisor = 2 ** (len(self.channels) - 1 + fold)
        # Instance normalisation leaves every channel of a scan the same mean, so a summary by
        # means needs another one at the last level; the published network has none.
        last = ("group", {"num_groups": 4, "affine": False}) if cells > 1 else None
        before = in_channels * (2**spatial_dims if fold else 1)
        self.stages = nn.ModuleList()
        for number, width in enumerate(self.channels):
            final = number == len(self.channels) - 1
            norm = last if final and last else ("instance", {"affine": False})
            plain = {"act": "gelu", "norm": norm, "dropout": dropout or None}
            steps = [Pool["max", spatial_dims](2)] if number else []
            for _ in range(2):
                steps.append(Convolution(spatial_dims, before, width, adn_ordering="NDA", **plain))
                before = width
            self.stages.append(nn.Sequential(*steps))

    @property
    def n_features(self):
        """Length of the summary vector."""
        return self.channels[-1] * self.cells**self.spatial_dims

    def levels(self, image):
        found, maps = [], _folded(image) if self.fold else image
        for stage in self.stages:
            maps = stage(maps)
            found.append(maps)
        return found

    def summarise(self, maps):
        if self.cells == 1:
            return super().summarise(maps)
        pool = {2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}
        return pool[self.spatial_dims](maps, self.cells).flatten(1)


class TokenEncoder(Encoder):
    """A vision transformer (MONAI's), whose tokens are taken as one level of maps.

    Parameters
    ----------
    shape : tuple of int
        Of the images; every length a multiple of 16.
    in_channels : int, default=1
    dropout : float, default=0.0

    References
    ----------
    Chalcroft et al. 2025, arXiv 2501.12057: patches of 16, 12 layers, 12 heads, width 768.
    """

    channels = (768,)
    divisor = 16

    def __init__(self, shape, in_channels=1, *, dropout=0.0):
        from monai.networks.nets import ViT

        super().__init__()
        self.shape = tuple(shape)
        self.cells = tuple(n // self.divisor for n in shape)
        self.body = ViT(
            in_channels,
            tuple(shape),
            self.divisor,
            spatial_dims=len(shape),
            dropout_rate=dropout,
        )

    def levels(self, image):
        tokens, _ = self.body(image)
        return [tokens.transpose(1, 2).unflatten(2, self.cells)]


class Projector(nn.Sequential):
    """From a summary to the space in which views are compared.

    Examples
    --------
    >>> sum(weights.numel() for weights in Projector(768).parameters())
    459392
    """

    def __init__(self, n_features, hidden=512, n_outputs=128):
        super().__init__(nn.Linear(n_features, hidden), nn.GELU(), nn.Linear(hidden, n_outputs))


class ReconstructionHead(nn.Sequential):
    """From the last maps of an encoder back to the image, doubling the resolution at every step.

    Parameters
    ----------
    spatial_dims : {3, 2}
    n_maps : int
        Halved at every step.
    steps : int
        Of doubling.

    Examples
    --------
    >>> sum(weights.numel() for weights in ReconstructionHead(3, 768, 4).parameters())
    3134209
    """

    def __init__(self, spatial_dims, n_maps, steps):
        larger = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[spatial_dims]
        flat = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
        layers = []
        for _ in range(steps):
            fewer = max(1, n_maps // 2)
            layers += [larger(n_maps, fewer, 2, stride=2), nn.GELU()]
            n_maps = fewer
        super().__init__(*layers, flat(n_maps, 1, 1))


class DenseHead(nn.Module):
    """Features of unit length at every voxel of every level.

    Parameters
    ----------
    spatial_dims : {3, 2}
    channels : sequence of int
        Of the encoder's levels.
    width : int, default=16
    """

    def __init__(self, spatial_dims, channels, width=16):
        super().__init__()
        flat = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
        self.levels = nn.ModuleList([flat(count, width, 1) for count in channels])

    def forward(self, levels):
        """Maps (batch, width, *spatial), one for each level."""
        return [
            functional.normalize(head(maps), dim=1)
            for head, maps in zip(self.levels, levels, strict=True)
        ]


class PretrainingNet(nn.Module):
    """An encoder with those heads that an objective needs.

    Parameters
    ----------
    encoder : Encoder
    projector, reconstruction, dense : torch.nn.Module, default=None
    spread : Spread, default=None
        Of a `ShapeEncoder`, whose maps are then the only outputs: tissues and places, (batch,
        views, 6 + D, *spatial). While training, it is told what is measured of the views.
    """

    def __init__(self, encoder, projector=None, reconstruction=None, dense=None, spread=None):
        super().__init__()
        self.encoder = encoder
        self.projector = projector
        self.reconstruction = reconstruction
        self.dense = dense
        self.spread = spread

    def forward(self, image):
        """Outputs of the heads for views, in the order projector, reconstruction, dense.

        Parameters
        ----------
        image : Tensor of shape (batch, views, *spatial)

        Returns
        -------
        list of Tensor
            Projections (batch, views, 128); images (batch, views, *spatial); for each level
            (batch, views, width, *spatial).
        """
        pair = image.shape[:2]
        levels = self.encoder.levels(image.flatten(0, 1)[:, None])
        outputs = []
        if self.spread is not None:
            found = self.encoder.maps(levels)
            if self.training:
                measured = self.encoder.measures(*(maps.detach() for maps in found))
                self.spread.update(measured.unflatten(0, pair))
            outputs.append(torch.cat(found, dim=1))
        if self.projector is not None:
            outputs.append(self.projector(self.encoder.summarise(levels[-1])))
        if self.reconstruction is not None:
            outputs.append(self.reconstruction(levels[-1])[:, 0])
        if self.dense is not None:
            outputs += self.dense(levels)
        return [output.unflatten(0, pair) for output in outputs]


def build_pretraining_encoder(name, shape, *, channels=None, dropout=None):
    """Build an encoder for pretraining by name.

    Parameters
    ----------
    name : {"small", "shape", "cnn", "vit"}
        "small" sees the image folded and trains on a processor, and so does "shape", see
        `imaging.nets.shapes`; "cnn" and "vit" are as published.
    shape : tuple of int
        Spatial shape of the images.
    channels : tuple of int, default=None
        Of all but "vit", from fine to coarse.
    dropout : float, default=None
        None takes .2 for "cnn" and none for the others.

    Returns
    -------
    Encoder
        With a `divisor` that every length of an image must be a multiple of. Its weights are drawn
        from torch's global random state.

    Raises
    ------
    ValueError
        If the name is unknown, or the shape or the channels do not suit.

    Examples
    --------
    >>> import torch
    >>> encoder = build_pretraining_encoder("small", (48, 64, 48))
    >>> encoder.n_features, encoder(torch.zeros(2, 1, 48, 64, 48)).shape
    (512, torch.Size([2, 512]))
    """
    if name not in PRETRAINING:
        raise ValueError(f"encoder must be among {PRETRAINING}, got {name!r}")
    if name == "vit":
        if channels is not None:
            raise ValueError('encoder="vit" has no levels; leave channels=None')
        _check_shape(shape, TokenEncoder.divisor, 1)
        return TokenEncoder(shape, dropout=dropout or 0.0)
    if name == "shape":
        channels = channels or SHAPE_CHANNELS
        options = {"channels": channels, "dropout": dropout or 0.0, "fold": True}
        down = ContractingEncoder(len(shape), **options)
        encoder = ShapeEncoder(down, dropout=dropout or 0.0)
        _check_shape(shape, encoder.divisor, 2)
        return encoder
    if name == "small":
        channels = channels or SMALL_CHANNELS
        if channels[-1] % 4:
            raise ValueError(f"found channels={channels}; the last must be a multiple of 4")
        options = {"dropout": dropout or 0.0, "fold": True, "cells": 2}
    else:
        channels = channels or PUBLISHED_CHANNELS
        options = {"dropout": 0.2 if dropout is None else dropout}
    encoder = ContractingEncoder(len(shape), channels=channels, **options)
    _check_shape(shape, encoder.divisor, 2)
    return encoder


def _check_shape(shape, divisor, least):
    if any(n % divisor or n < least * divisor for n in shape):
        raise ValueError(
            f"patch_size {tuple(shape)} does not suit this encoder: every length must be a "
            f"multiple of {divisor} and at least {least * divisor}"
        )


def _folded(image):
    """Blocks of 2 x 2 (x 2) voxels as channels."""
    for axis in range(2, image.dim()):
        count = image.shape[axis] // 2
        image = image.unflatten(axis, (count, 2)).movedim(axis + 1, 2).flatten(1, 2)
    return image
