"""Losses that keep one value per sample, so that the engine can weight patients."""

import functools

from torch.nn import functional

__all__ = ["cross_entropy", "cumulative_logit", "shrinking", "squared_error"]


def cross_entropy(outputs, targets):
    """Cross-entropy of logits (batch, n_classes) against class indices, shape (batch,)."""
    return functional.cross_entropy(outputs, targets, reduction="none")


def cumulative_logit(outputs, targets):
    """Negative log likelihood of an ordered outcome, shape (batch,).

    Parameters
    ----------
    outputs : Tensor of shape (batch, n_classes)
        Logarithms of the class probabilities, from `imaging.nets.ordinal.CumulativeLogit`.
    targets : Tensor of int of shape (batch,)
        Place of the class, from 0 for the lowest.
    """
    return functional.nll_loss(outputs, targets, reduction="none")


def squared_error(outputs, targets):
    """Squared error of (batch, 1) against (batch,), shape (batch,)."""
    return (outputs[:, 0] - targets) ** 2


def shrinking(loss, penalty):
    """A loss for `imaging.nets.started.StartedNet` that holds back what the network adds.

    Half of the penalty times the squared shift is added; of classes, a shift counts by how far it
    is from the mean over them. Outside of training, where no shift is given, it is `loss` itself.

    Parameters
    ----------
    loss : callable
    penalty : float

    Examples
    --------
    >>> import torch
    >>> outputs, shift = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [2.0]])
    >>> shrinking(squared_error, 0.5)((outputs, shift), torch.tensor([0.0, 2.0])).tolist()
    [1.0, 1.0]
    """
    return functools.partial(_shrunk, loss=loss, penalty=penalty)


def _shrunk(outputs, targets, *, loss, penalty):
    if not isinstance(outputs, (list, tuple)):
        return loss(outputs, targets)
    outputs, shift = outputs
    if shift.shape[1] > 1:
        shift = shift - shift.mean(dim=1, keepdim=True)
    return loss(outputs, targets) + penalty / 2 * shift.square().sum(dim=1)
