"""Image features and tabular values side by side, then an output layer.

Whatever follows the protocol of `imaging.nets.encoders` can be the encoder.
"""

import torch
from torch import nn

from .freezing import Freezable
from .pretrained import PretrainedEncoder

__all__ = ["ImageTabularNet"]

# Channels last in memory: convolution, normalisation and pooling on processors are faster so.
MEMORY_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _channels_last(module):
    for weight in module.parameters():
        if weight.ndim in MEMORY_FORMATS:
            weight.data = weight.data.contiguous(memory_format=MEMORY_FORMATS[weight.ndim])


class ImageTabularNet(Freezable):
    """Image features and tabular values side by side, then an output layer.

    Parameters
    ----------
    encoder : Encoder or None
        None for a network on tabular values alone.
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

    @torch.no_grad()
    def adopt(self, other):
        """Take over what another network of the same layers has learnt, but for its output layer.

        Parameters
        ----------
        other : ImageTabularNet
            Its mean image is taken over, too.
        """
        for name in ("encoder", "reduce"):
            getattr(self, name).load_state_dict(getattr(other, name).state_dict())
        self.image_mean, self.image_scale = other.image_mean.clone(), other.image_scale.clone()

    def standardise(self, image):
        """The image as its difference from the training set's mean."""
        if not isinstance(self.encoder, PretrainedEncoder):  # which scales scans as it is used to
            image = (image - self.image_mean) / self.image_scale
        return image.contiguous(memory_format=MEMORY_FORMATS[image.ndim])

    def embed(self, image=None, tabular=None):
        """The features of the hidden layer, shape (batch, n_hidden)."""
        if self.encoder is None:
            return self.reduce(tabular)
        return self.reduce(self.encoder(self.standardise(image)))

    def forward(self, image=None, tabular=None):
        return self.conclude(self.embed(image, tabular), tabular)

    def conclude(self, features, tabular=None):
        """The outputs, shape (batch, n_outputs), from the features of the hidden layer."""
        features = self.dropout(features)
        if self.encoder is not None and tabular is not None:
            features = torch.cat([features, tabular], dim=1)
        return self.output(features)
