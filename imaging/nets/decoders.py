"""A decoder for any encoder: from its feature maps back to every voxel of the image."""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["OnEncoder"]

_LINEAR = {2: "bilinear", 3: "trilinear"}


class OnEncoder(nn.Module):
    """An encoder, and a plain convolutional decoder with a skip connection at every level.

    Maps are enlarged to whatever size the level above has, so that encoders whose levels do not
    halve exactly fit, too; the image itself is the last skip connection.

    Parameters
    ----------
    encoder : imaging.nets.encoders.Encoder
    n_outputs, in_channels : int
    spatial_dims : {2, 3}
    dropout : float

    Attributes
    ----------
    stages : list of (str, int)
        Stages of the decoder below full resolution, coarse to fine, and their channels.

    Examples
    --------
    >>> from imaging.nets.encoders import build_encoder
    >>> network = OnEncoder(build_encoder("lightweight", (32, 32)), 3, 1, 2, dropout=0.0)
    >>> network(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, encoder, n_outputs, in_channels, spatial_dims, dropout):
        from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetOutBlock

        super().__init__()
        self.encoder = encoder
        self.mode = _LINEAR[spatial_dims]
        plain = {"norm_name": ("INSTANCE", {"affine": True}), "dropout": dropout or None}
        *others, below = encoder.channels
        decoder, self.stages = [], []
        for width in reversed(others):
            self.stages.append((f"decoder.{len(decoder)}", width))
            decoder.append(UnetBasicBlock(spatial_dims, below + width, width, 3, 1, **plain))
            below = width
        self.decoder = nn.ModuleList(decoder)
        self.finest = UnetBasicBlock(spatial_dims, below + in_channels, below, 3, 1, **plain)
        self.output = UnetOutBlock(spatial_dims, below, n_outputs)

    def forward(self, image):
        *skips, maps = self.encoder.levels(image)
        for stage in self.decoder:
            maps = stage(self._joined(maps, skips.pop()))
        return self.output(self.finest(self._joined(maps, image)))

    def _joined(self, maps, skip):
        if maps.shape[2:] != skip.shape[2:]:
            maps = functional.interpolate(maps, skip.shape[2:], mode=self.mode)
        return torch.cat([maps, skip], dim=1)
