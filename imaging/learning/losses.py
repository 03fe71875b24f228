"""Losses that keep one value per sample, so that the engine can weight patients."""

from torch.nn import functional

__all__ = ["cross_entropy", "cumulative_logit", "squared_error"]


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
