"""Parts of a network that stay as they are while others learn: weights, statistics, and dropout."""

from torch import nn

__all__ = ["Freezable", "frozen_epochs"]


class Freezable(nn.Module):
    """A network of which parts can be frozen.

    A frozen part is in training what it is in evaluation: nothing in it learns, statistics of
    normalisation are those that it came with and stay, and nothing is dropped.

    Examples
    --------
    >>> import torch
    >>> class Two(Freezable):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.learnt = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    ...         self.new = nn.Linear(2, 1)
    >>> network = Two()
    >>> network.freeze("learnt", epochs=3)
    >>> [network.train().learnt[1].training, network.new.training]
    [False, True]
    >>> network.at_epoch(3)
    >>> network.train().learnt[1].training
    True
    """

    _frozen = ()
    _thaws = None

    def freeze(self, *parts, epochs=None):
        """Freeze parts, in place of those that were frozen.

        Parameters
        ----------
        *parts : str
            Names of submodules, as `torch.nn.Module.get_submodule` takes them; none at all thaws.
        epochs : int, default=None
            Of a training, after which they thaw; None freezes them for good.
        """
        self._learn(True)
        self._frozen, self._thaws = tuple(parts), epochs
        self._learn(False)
        self.train(self.training)

    def at_epoch(self, epoch):
        """Thaw, or freeze again, as the epoch of a training says; the first one is 0."""
        if self._thaws is not None:
            self._learn(epoch >= self._thaws)

    def train(self, mode=True):
        """Switch to training (or evaluation) whatever is not frozen."""
        super().train(mode)
        for part in map(self.get_submodule, self._frozen):
            if not any(weights.requires_grad for weights in part.parameters()):
                part.eval()
        return self

    def _learn(self, on):
        for part in map(self.get_submodule, self._frozen):
            part.requires_grad_(on)


def frozen_epochs(freeze):
    """What the parameter `freeze` of an estimator says: whether, and for how many epochs.

    Examples
    --------
    >>> frozen_epochs(True), frozen_epochs(3), frozen_epochs(False)
    ((True, None), (True, 3), (False, None))
    """
    if isinstance(freeze, bool) or freeze is None:
        return bool(freeze), None
    return True, int(freeze)
