"""Pretrained encoders inside other networks: beside a decoder, or before an outcome.

What such an encoder sees there is what it saw when it was pretrained: one scan, standardised. Masks
and other channels go beside it.
"""

import torch
from torch.nn import functional

from .encoders import Encoder
from .freezing import Freezable

__all__ = ["BesideFeatures", "PretrainedEncoder", "standardised"]

_POOL = {2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}
_CELLS = {2: 8, 3: 4}  # along every axis, of what goes beside the vector of a pretrained encoder
_HOT, _HIGHEST = 0.999, 0.995  # as in `imaging.voxelwise.scaling.standardise`
_LEAST = 1e-6


class PretrainedEncoder(Encoder):
    """A pretrained encoder of one channel as that of a network on images of one or several.

    The first channel is a scan: it is standardised and filled up to the lengths that the encoder
    takes. Further channels, a lesion mask for instance, are shrunk to the last feature maps and go
    beside them, so that what is learnt from both knows how much lesion lies where.

    Parameters
    ----------
    encoder : Encoder
        Of images of one channel.
    shape : tuple of int
        Spatial shape of the images.
    in_channels : int, default=1
    of_whole_heads : bool, default=True
        The images are heads, as in pretraining, and the encoder's own vector is their summary; else
        they are pictures put together of sections, and the means of cells of the last maps are.

    Examples
    --------
    >>> from imaging.nets.pretraining import build_pretraining_encoder
    >>> small = build_pretraining_encoder("small", (16, 16, 16), channels=(4, 8))
    >>> encoder = PretrainedEncoder(small, (18, 22, 18), in_channels=2)
    >>> encoder.n_features, encoder(torch.rand(3, 2, 18, 22, 18)).shape
    (128, torch.Size([3, 128]))
    """

    def __init__(self, encoder, shape, in_channels=1, *, of_whole_heads=True):
        super().__init__()
        self.inside = encoder
        self.beside = in_channels - 1
        self.of_whole_heads = of_whole_heads
        self.channels = (*encoder.channels[:-1], encoder.channels[-1] + self.beside)
        divisor = getattr(encoder, "divisor", 1)
        fixed = getattr(encoder, "shape", None)
        self.padded = tuple(fixed or [max(2, -(-n // divisor)) * divisor for n in shape])
        self.dims = len(shape)

    @property
    def n_maps(self):
        """Channels of the maps that are summed up."""
        return self.inside.n_maps + self.beside

    @property
    def n_features(self):
        """Length of the summary vector."""
        cells = _CELLS[self.dims] ** self.dims
        own = self.inside.n_features if self.of_whole_heads else self.inside.n_maps * cells
        return own + self.beside * cells

    def levels(self, image):
        *finer, last = self.inside.levels(self._seen(image))
        return [*finer, self._joined(image, last)]

    def feature_maps(self, image):
        return self._joined(image, self.inside.feature_maps(self._seen(image)))

    def summarise(self, maps):
        """The encoder's own vector, and the means of cells of what goes beside it."""
        scan, others = maps[:, : self.inside.n_maps], maps[:, self.inside.n_maps :]
        cells = _CELLS[self.dims]
        if self.of_whole_heads:
            own = self.inside.summarise(scan)
        else:
            own = _POOL[self.dims](scan, cells).flatten(1)
        if not self.beside:
            return own
        return torch.cat([own, _POOL[self.dims](others, cells).flatten(1)], dim=1)

    def _seen(self, image):
        scan = standardised(image[:, :1])
        return _framed(scan, self.padded, scan.flatten(1).amin(1))

    def _joined(self, image, maps):
        if not self.beside:
            return maps
        others = _framed(image[:, 1:], self.padded, image.new_zeros(len(image)))
        return torch.cat([maps, _POOL[self.dims](others, maps.shape[2:])], dim=1)


class BesideFeatures(Freezable):
    """A network that sees an image and, beside it, what a frozen encoder makes of it.

    In training, one of both is dropped now and then, the image or the features, so that the network
    leans on neither alone.

    Parameters
    ----------
    encoder : Encoder
        Of one channel. Its finest maps are taken, with unit length at every voxel.
    body : torch.nn.Module
        Takes ``1 + encoder.channels[0]`` channels.
    spatial_dims : {2, 3}
    drop : float, default=0.25
        Chance that an image goes without its features, and the other way round.

    References
    ----------
    arXiv 2604.02564, for frozen features beside intensities and dropping inputs.
    """

    def __init__(self, encoder, body, spatial_dims, drop=0.25):
        super().__init__()
        self.features = encoder
        self.body = body
        self.mode = _LINEAR[spatial_dims]
        self.drop = drop
        self.freeze("features")

    def forward(self, image):
        with torch.no_grad():
            maps = functional.normalize(self.features.levels(image)[0], dim=1)
            maps = functional.interpolate(maps, image.shape[2:], mode=self.mode)
        if self.training:
            drawn = torch.rand(len(image), *(1,) * (image.dim() - 1), device=image.device)
            maps = maps * (drawn >= self.drop)
            image = image * (drawn < 1 - self.drop)
        return self.body(torch.cat([image, maps.to(image.dtype)], dim=1))


def standardised(image):
    """Each scan of a batch with zero mean and unit deviation over its foreground.

    As `imaging.voxelwise.scaling.standardise`, which encoders are pretrained on.

    Parameters
    ----------
    image : Tensor of shape (batch, 1, *spatial)

    Examples
    --------
    >>> scan = torch.zeros(1, 1, 10, 10)
    >>> scan[..., 2:5, 2:5] = torch.tensor([90.0, 100.0, 110.0])
    >>> [round(float(value), 2) for value in standardised(scan)[0, 0, 3, 2:5]]
    [-1.22, 0.0, 1.22]
    """
    return torch.stack([_standardised(one) for one in image])


def _standardised(scan):
    with torch.no_grad():  # gradients are of voxels, not of the whole scan's statistics
        middle, deviation, highest = _statistics(scan)
    return (scan.clamp(max=highest) - middle) / deviation


def _statistics(scan):
    hot = _percentile(scan.flatten(), _HOT)
    usual = scan.clamp(max=hot) if hot > scan.min() else scan
    foreground = usual[usual > usual.mean()]
    if foreground.numel() == 0:
        return scan.mean(), torch.ones_like(hot), scan.max()
    highest = _percentile(foreground, _HIGHEST)
    foreground = foreground.clamp(max=highest)
    deviation, span = foreground.std(correction=0), highest - scan.min()
    deviation = torch.where(deviation <= _LEAST * span, span, deviation)
    return foreground.mean(), deviation, highest


def _percentile(values, share):
    rank = round((values.numel() - 1) * share)
    return values.kthvalue(rank + 1).values


def _framed(images, shape, fill):
    """Images cut or filled up evenly at both ends to a shape."""
    for axis, wanted in enumerate(shape, start=2):
        surplus = images.shape[axis] - wanted
        if surplus > 0:
            images = images.narrow(axis, surplus // 2, wanted)
        elif surplus < 0:
            missing = [-surplus // 2, -surplus - -surplus // 2]
            sides = [list(images.shape), list(images.shape)]
            for side, count in zip(sides, missing, strict=True):
                side[axis] = count
            level = fill.view(-1, *(1,) * (images.dim() - 1))
            images = torch.cat([level.expand(sides[0]), images, level.expand(sides[1])], dim=axis)
    return images
