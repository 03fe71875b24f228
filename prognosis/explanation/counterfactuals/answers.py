"""What a fitted image estimator answers to images that were altered, in batches.

Explanations change the prepared image, never the scan, so they ask the networks directly.
"""

import numpy as np
from scipy.special import logsumexp
from sklearn.base import is_classifier

from ...estimators.outputs import apply_networks

__all__ = ["Sides", "answers"]


def answers(estimator, images, tabular=None):
    """What the networks together say of prepared images.

    Parameters
    ----------
    estimator : fitted image estimator
    images : ndarray of shape (n, n_channels, ...), float32
    tabular : ndarray of shape (n, n_values) or (n_values,), default=None
        Encoded tabular values; one row serves all images.

    Returns
    -------
    ndarray
        Log probabilities of shape (n, n_classes) for a classifier, averaged over the networks as
        `predict_proba` does; predicted outcomes of shape (n, 1) for a regressor.
    """
    inputs = {"image": np.ascontiguousarray(images, dtype=np.float32)}
    if tabular is not None:
        rows = np.broadcast_to(tabular, (len(images), np.shape(tabular)[-1]))
        inputs["tabular"] = rows.copy()
    outputs = apply_networks(estimator, inputs).astype(np.float64)
    if is_classifier(estimator):
        logs = outputs - logsumexp(outputs, axis=2, keepdims=True)
        return logsumexp(logs, axis=0) - np.log(len(logs))
    return outputs.mean(axis=0) * estimator.target_scale_ + estimator.target_mean_


class Sides:
    """On which side of the decision an answer lies, and how far from it.

    A classifier's sides are its classes, and the distance between two of them is in log odds. A
    regressor has two sides, below and above a threshold, and the distance is in the outcome's unit.

    Parameters
    ----------
    estimator : fitted image estimator
    threshold : float, default=None
        For regressors.
    """

    def __init__(self, estimator, threshold=None):
        self.classification = is_classifier(estimator)
        self.threshold = threshold
        self.names = estimator.classes_ if self.classification else np.array(["low", "high"])

    def of(self, answer):
        """Index into `names` for each answer."""
        if self.classification:
            return answer.argmax(axis=1)
        return (answer[:, 0] >= self.threshold).astype(int)

    def of_outcome(self, y):
        """The same for true outcomes."""
        if self.classification:
            return np.searchsorted(self.names, np.asarray(y))
        return (np.asarray(y, dtype=float) >= self.threshold).astype(int)

    def margin(self, answer, own, other):
        """How far answers are on the side `own`, away from `other`; negative beyond it."""
        if self.classification:
            return answer[:, own] - answer[:, other]
        return (answer[:, 0] - self.threshold) * (1 if own == 1 else -1)

    def readable(self, margin, own):
        """Margins as what users know: probability of `own` against `other`, or the outcome."""
        if self.classification:
            return 1 / (1 + np.exp(-np.clip(margin, -500, 500)))
        return self.threshold + np.asarray(margin) * (1 if own == 1 else -1)
