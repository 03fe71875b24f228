"""Networks in which tabular values meet the image before the last layer.

Early fusion puts both side by side; DAFT lets the tabular values scale and shift the feature maps.
"""

import torch
from torch import nn

from .classifiers import ImageTabularNet

__all__ = ["DaftNet", "EarlyFusionNet"]


class EarlyFusionNet(ImageTabularNet):
    """Image features beside a linear layer of the tabular values, then a joint hidden layer.

    Parameters
    ----------
    encoder : Encoder
    n_tabular : int
        Number d of tabular values; they pass through a d x d linear layer.
    n_outputs : int
    n_hidden : int, default=256
    dropout : float, default=0.5
        Applied to the image features and to the hidden layer.
    reference : (Tensor, float), default=None
        As in `ImageTabularNet`.
    start : None
        Ignored: the tabular values do not reach the output layer directly.

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638.

    Examples
    --------
    >>> from imaging.nets.encoders import LightweightEncoder
    >>> network = EarlyFusionNet(LightweightEncoder((32, 32)), n_tabular=3, n_outputs=2)
    >>> network(torch.zeros(4, 1, 32, 32), torch.zeros(4, 3)).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        encoder,
        n_tabular,
        n_outputs,
        n_hidden=256,
        dropout=0.5,
        reference=None,
        start=None,
    ):
        super().__init__(encoder, 0, n_outputs, n_hidden, dropout, reference)
        self.drop_image = nn.Dropout(dropout)
        self.tabular = nn.Linear(n_tabular, n_tabular)
        self.reduce = nn.Sequential(nn.Linear(encoder.n_features + n_tabular, n_hidden), nn.ReLU())

    def embed(self, image, tabular):
        """The joint hidden layer, shape (batch, n_hidden)."""
        features = self.drop_image(self.encoder(self.standardise(image)))
        return self.reduce(torch.cat([features, self.tabular(tabular)], dim=1))

    def forward(self, image, tabular):
        return self.output(self.dropout(self.embed(image, tabular)))


class DaftNet(ImageTabularNet):
    """Tabular values scale and shift the encoder's last feature maps (dynamic affine transform).

    A small network sees the mean of every feature map and the tabular values, and returns one scale
    and one shift per map; it starts from scale one and shift zero. Other than in the publication,
    the maps that are changed are those that leave the last block, whatever the encoder.

    Parameters
    ----------
    encoder : Encoder
    n_tabular, n_outputs : int
    n_hidden : int, default=128
    dropout : float, default=0.5
    reference : (Tensor, float), default=None
        As in `ImageTabularNet`.
    start : None
        Ignored, as in `EarlyFusionNet`.

    References
    ----------
    Pölsterl et al. 2021, Combining 3D image and tabular data via the dynamic affine feature map
    transform, MICCAI, 688-698.

    Examples
    --------
    >>> from imaging.nets.encoders import LightweightEncoder
    >>> network = DaftNet(LightweightEncoder((32, 32)), n_tabular=3, n_outputs=2)
    >>> network(torch.zeros(4, 1, 32, 32), torch.zeros(4, 3)).shape
    torch.Size([4, 2])
    """

    bottleneck = 7

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
        super().__init__(encoder, 0, n_outputs, n_hidden, dropout, reference)
        n_inputs = encoder.n_maps + n_tabular
        self.condition = nn.Sequential(
            nn.Linear(n_inputs, max(4, n_inputs // self.bottleneck), bias=False),
            nn.ReLU(),
            nn.Linear(max(4, n_inputs // self.bottleneck), 2 * encoder.n_maps, bias=False),
        )
        nn.init.zeros_(self.condition[-1].weight)

    def embed(self, image, tabular):
        """The hidden layer, shape (batch, n_hidden)."""
        maps = self.encoder.feature_maps(self.standardise(image))
        means = maps.flatten(2).mean(dim=2)
        scale, shift = self.condition(torch.cat([means, tabular], dim=1)).chunk(2, dim=1)
        per_map = (..., *(None,) * (maps.ndim - 2))
        return self.reduce(self.encoder.summarise(maps * (1 + scale[per_map]) + shift[per_map]))

    def forward(self, image, tabular):
        return self.output(self.dropout(self.embed(image, tabular)))
