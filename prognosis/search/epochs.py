"""When a training stops within a fold: where it is behind where the best trial was at half the way.

Only networks that set patients of their own aside know a validation loss; these patients are of
the training part of the fold, so that nothing is learnt of its test.
"""

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from ..estimators.base import ImageEstimator

__all__ = ["EpochWatch", "StoppedTraining", "find_network", "loss_kind"]


class StoppedTraining(BaseException):
    """Ends a training that is clearly behind.

    No `Exception`, so that nobody on the way takes it for a fit that failed.
    """


class EpochWatch:
    """Looks at a training after each epoch, and stops it where there is no hope.

    The rule is forgiving, as between folds: no stop before even the worst fold of the best trial,
    at half of the way that this training has gone, was better than this training has ever been,
    and by more than a standard deviation between folds. Ways are shares of `epochs`, since learning
    rates fall along them.

    Parameters
    ----------
    kind : list
        What the losses of the best trial are, see `loss_kind`; others are not compared with them.
    curves : list of list of float
        Validation losses of the best trial after each epoch, one list for each fold; empty: the
        training is only counted.

    Attributes
    ----------
    epochs : int
        Epochs that were run.

    Examples
    --------
    >>> watch = EpochWatch([True], [[0.69, 0.60, 0.5, 0.5], [0.70, 0.62, 0.6, 0.6]])
    >>> watch.begin([True], n_epochs=8)
    >>> for epoch, loss in enumerate([0.9, 0.8, 0.75], start=1):
    ...     watch(epoch, {"valid_loss": loss})
    >>> watch(4, {"valid_loss": 0.72})
    Traceback (most recent call last):
        ...
    prognosis.search.epochs.StoppedTraining: behind after 4 of 8 epochs
    """

    def __init__(self, kind=None, curves=()):
        self.kind = kind
        self.curves = [np.minimum.accumulate(curve) for curve in curves if len(curve)]
        self.begin(None, 1)

    def begin(self, kind, n_epochs):
        """A fold begins, whose losses are of this kind and which takes so many epochs."""
        self.is_comparable = kind is not None and kind == self.kind and bool(self.curves)
        self.n_epochs = n_epochs
        self.epochs, self.lowest = 0, np.inf

    def __call__(self, epoch, row):
        """Count an epoch; raises StoppedTraining where there is no hope."""
        self.epochs += 1
        if epoch == 1:
            self.lowest = np.inf
        loss = row.get("valid_loss")
        if loss is None:
            return
        self.lowest = min(self.lowest, loss)
        if not self.is_comparable or epoch == self.n_epochs:
            return
        if self.lowest > self.allowed(epoch / self.n_epochs / 2):
            raise StoppedTraining(f"behind after {epoch} of {self.n_epochs} epochs")

    def allowed(self, share):
        """The highest lowest loss that is not behind, after this share of the best trial's way."""
        losses = [_at(curve, share) for curve in self.curves]
        if not np.isfinite(losses).all():
            return np.inf
        return max(losses) + (np.std(losses, ddof=1) if len(losses) > 1 else 0.0)


def find_network(model):
    """The image estimator that a model is, or that a pipeline ends in; None of any other model.

    Where others copy it before they fit it, it cannot be watched.
    """
    while isinstance(model, Pipeline) and model.steps:
        model = model.steps[-1][1]
    return model if isinstance(model, ImageEstimator) else None


def loss_kind(network):
    """What the validation loss of an image estimator is: losses of one kind can be compared.

    None where it sets no patients aside.
    """
    if not network.validation_fraction:
        return None
    weights = getattr(network, "class_weight", None)
    ordinal = getattr(network, "ordinal", False)
    return [is_classifier(network), ordinal, repr(weights), network.validation_fraction]


def _at(curve, share):
    """A curve that begins after its first epoch, after a share of its length; infinite before."""
    n_epochs = int(share * len(curve))
    return curve[n_epochs - 1] if n_epochs else np.inf
