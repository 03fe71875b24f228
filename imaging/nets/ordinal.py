"""The last step of a network for an ordered outcome: from one score to class probabilities.

All classes share the score; what tells them apart are thresholds, learnt with the network.
"""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional

__all__ = ["CumulativeLogit"]

LIMITS = (-30.0, 6.0)  # of the logarithm of a step; beyond, no probability changes


class CumulativeLogit(nn.Module):
    """Proportional odds, P(y > k) = sigmoid(score - t_k), with thresholds that stay in order.

    Parameters
    ----------
    thresholds : sequence of float
        Rising, one fewer than classes; where training starts from.

    References
    ----------
    McCullagh 1980, Journal of the Royal Statistical Society B 42:109-142.

    Examples
    --------
    >>> head = CumulativeLogit([-1.0, 1.0])
    >>> head(torch.tensor([[0.0], [5.0]])).exp().detach().numpy().round(2)
    array([[0.27, 0.46, 0.27],
           [0.  , 0.02, 0.98]], dtype=float32)
    """

    def __init__(self, thresholds):
        super().__init__()
        values = [float(value) for value in thresholds]
        steps = [math.log(high - low) for low, high in itertools.pairwise(values)]
        self.first = nn.Parameter(torch.tensor(values[:1]))
        self.steps = nn.Parameter(torch.tensor(steps))

    def thresholds(self):
        """The thresholds t_k, shape (n_classes - 1,)."""
        gaps = self.steps.clamp(*LIMITS).exp()
        return torch.cumsum(torch.cat([self.first, gaps]), dim=0)

    def forward(self, score):
        """Logarithms of the class probabilities, (batch, n_classes), of scores (batch, 1)."""
        with torch.autocast(score.device.type, enabled=False):
            distance = self.thresholds()[None] - score.to(self.first.dtype)
            # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)): no cancellation
            logs = functional.pad(functional.logsigmoid(distance), (0, 1))
            logs = logs + functional.pad(functional.logsigmoid(-distance), (1, 0))
            inner = torch.log(-torch.expm1(-self.steps.clamp(*LIMITS).exp()))
            return logs + functional.pad(inner, (1, 1))[None]
