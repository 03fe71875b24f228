"""Networks that start from what is known of a patient already, and learn what to add to it.

A network that has learnt nothing adds nothing, so it says what the other model says.
"""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["OUTCOMES", "StartedNet"]

OUTCOMES = ("classes", "ordinal", "number")


class StartedNet(nn.Module):
    """What another model says of each patient, and beside it the shift that a network adds.

    The network's last layer starts from zero. After training, `centre_on` takes off the mean shift
    of the training patients: what is the same for everybody is not the image's to say.

    Parameters
    ----------
    network : torch.nn.Module
        Takes "image" and perhaps "tabular", and has `embed` and a last linear layer `output`, such
        as `ImageTabularNet`. It has one output; for "classes" as many as there are classes.
    outcome : {"classes", "ordinal", "number"}
        What a patient's offset is: logarithms of the class probabilities, shape (n_classes,); log
        odds of exceeding each class but the last, falling, shape (n_classes - 1,); the predicted
        number, shape (1,).
    base : Tensor of shape (n_offsets,)
        The offset of patients of whom none is given.
    first : torch.nn.Linear, default=None
        Gives the offset of patients of whom none is given instead, from the hidden features and
        the tabular values. It does not learn.

    Examples
    --------
    >>> from imaging.nets.classifiers import ImageTabularNet
    >>> inner = ImageTabularNet(None, n_tabular=3, n_outputs=1)
    >>> network = StartedNet(inner, "ordinal", torch.zeros(2)).eval()
    >>> odds = torch.tensor([[2.0, -1.0]])
    >>> network(tabular=torch.ones(1, 3), offset=odds).exp().detach().numpy().round(2)
    array([[0.12, 0.61, 0.27]], dtype=float32)
    """

    def __init__(self, network, outcome, base, first=None):
        super().__init__()
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome must be among {OUTCOMES}, got {outcome!r}")
        self.network = network
        self.outcome = outcome
        nn.init.zeros_(network.output.weight)
        nn.init.zeros_(network.output.bias)
        self.first = None if first is None else first.requires_grad_(False)
        self.register_buffer("base", torch.as_tensor(base, dtype=torch.float32))
        self.register_buffer("centre", torch.zeros(network.output.out_features))

    @property
    def encoder(self):
        """Of the network inside."""
        return self.network.encoder

    @property
    def image_mean(self):
        """Mean image of the training patients, as the network inside knows it."""
        return self.network.image_mean

    def embed(self, image=None, tabular=None, offset=None):
        """The features of the hidden layer, shape (batch, n_hidden)."""
        return self.network.embed(image, tabular)

    def shift(self, image=None, tabular=None, offset=None):
        """What the network adds, shape (batch, n_outputs)."""
        return self._both(image, tabular, None)[1]

    @torch.no_grad()
    def centre_on(self, shift):
        """Take a shift, shape (n_outputs,), off that of all patients."""
        self.centre += torch.as_tensor(shift, dtype=self.centre.dtype)

    def forward(self, image=None, tabular=None, offset=None):
        """Outputs as those of a network without a start; in training a pair, with the shift."""
        offset, shift = self._both(image, tabular, offset)
        outputs = self._moved(offset, shift)
        return (outputs, shift) if self.training else outputs

    def _both(self, image, tabular, offset):
        """The offset, where it is not given, and the shift."""
        if self.first is None:
            offset = self.base[None] if offset is None else offset
            return offset, self.network(image, tabular) - self.centre
        features = self.network.embed(image, tabular)
        if offset is None:
            seen = features if tabular is None else torch.cat([features, tabular], dim=1)
            offset = self.first(seen)
        return offset, self.network.conclude(features, tabular) - self.centre

    def _moved(self, offset, shift):
        if self.outcome != "ordinal":
            return offset + shift
        with torch.autocast(shift.device.type, enabled=False):
            # P(y > k) = sigmoid(-distance_k); see `imaging.nets.ordinal.CumulativeLogit`
            distance = -offset - shift.to(offset.dtype)
            logs = functional.pad(functional.logsigmoid(distance), (0, 1))
            logs = logs + functional.pad(functional.logsigmoid(-distance), (1, 0))
            inner = torch.log(-torch.expm1(offset.diff(dim=1)))
            return logs + functional.pad(inner, (1, 1))
