"""Standardising columns of which some hardly ever vary, without making these loud.

Divided by its standard deviation, a region that three patients have lesioned becomes their name
tag, and a new patient with more of it than they had stands thousands of deviations away.
"""

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

__all__ = ["RareSafeScaler"]

LEAST_SHARE = 0.02  # a column in which fewer patients differ is scaled as if so many did


class RareSafeScaler(StandardScaler):
    """scikit-learn's `StandardScaler`, bit for bit, but for columns that are mostly one value.

    - *Shares*: all training values lie within 0 and 1, half of them or more are exactly 0, and
      some lie between (the lesioned fractions of regions). They have a scale, which is the same for
      all of them, and are centred only.
    - *Rare*: fewer than 2 % of the training patients differ from the commonest value. Scaled as if
      2 % did, so that none of these is further than about seven deviations from the others.
    - Where half of the training patients or more have the same value, values of new patients beyond
      those of training count as the outermost of these (beyond 0 and 1, where they are shares).

    Attributes
    ----------
    lowest_, highest_ : ndarray of shape (n_features,)
        Ends of what is told apart, as standardised; infinite for ordinary columns.

    Examples
    --------
    >>> loads = np.zeros((100, 1))
    >>> loads[0] = 0.001
    >>> StandardScaler().fit(loads).transform([[0.5]]).round().item()
    5025.0
    >>> RareSafeScaler().fit(loads).transform([[0.5]]).round(3).item()
    0.5
    """

    def fit(self, X, y=None, sample_weight=None):
        """Learn means and scales from the training patients."""
        super().fit(X, y, sample_weight)
        values = np.asarray(X, dtype=float)
        self.lowest_ = np.full(values.shape[1], -np.inf)
        self.highest_ = np.full(values.shape[1], np.inf)
        for place, column in enumerate(values.T):
            self._learn(place, column)
        return self

    def transform(self, X, copy=None):
        """Standardise patients."""
        scaled = super().transform(X, copy=copy)
        if np.isinf(self.highest_).all():
            return scaled
        within = np.clip(np.asarray(scaled), self.lowest_, self.highest_)
        if isinstance(scaled, pd.DataFrame):
            return pd.DataFrame(within, index=scaled.index, columns=scaled.columns)
        return within

    def _learn(self, place, column):
        found, counts = np.unique(column, return_counts=True)
        differing = 1 - counts.max() / len(column)
        if differing > 0.5:
            return
        ends = found[[0, -1]]
        most_are_none = found[0] == 0 and counts[0] == counts.max()
        if most_are_none and found[-1] <= 1 and (found % 1 > 0).any():
            self.scale_[place], ends = 1.0, np.array([0.0, 1.0])
        elif 0 < differing < LEAST_SHARE:
            self.scale_[place] *= np.sqrt(LEAST_SHARE / differing)
        self.var_[place] = self.scale_[place] ** 2
        self.lowest_[place], self.highest_[place] = (ends - self.mean_[place]) / self.scale_[place]
