"""Proportional odds: regression on an ordered outcome, with a ridge penalty for every block.

All steps of the scale share one set of coefficients, so that every patient says something about
each of them, also about the cut that one is interested in.
"""

import warnings

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from imaging.parameters import COUNT, NOT_NEGATIVE, POSITIVE, StrOptions, parameter, parameters

from ...columns import check_outcome_index
from .likelihood import class_probabilities, fit_proportional_odds
from .penalties import column_penalties
from .scale import ExceedingMixin, ordered_classes
from .slopes import exceedances, left_out_scores, step_slopes

__all__ = ["OrdinalClassifier"]


@parameters
class OrdinalClassifier(ExceedingMixin, ClassifierMixin, BaseEstimator):
    """Proportional odds regression with ridge penalties: P(y > k) = sigmoid(x·b - t_k).

    Minimises ``-sum(weight * log P(y)) + sum(penalty * b ** 2) / 2``. The thresholds t rise with k
    and are not penalised. With two classes this is logistic regression with ``C = 1 / alpha``.
    Standardise columns before, for a penalty to mean the same for each.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        From lowest to highest.
    coef_ : ndarray of shape (n_features,)
        Log odds of a higher class per unit of the column.
    thresholds_ : ndarray of shape (n_classes - 1,)
        On the scale of the log odds; rising with ``slopes="one"``.
    slopes_ : ndarray of shape (n_classes - 1,)
        Of every step: P(y > k) = sigmoid(slopes_[k] · x·b - thresholds_[k]). Ones with "one".
    penalties_ : ndarray of shape (n_features,)
        The penalty of every column.
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where `X` has column names.

    Notes
    -----
    `search_space` has `alpha` ready for `OptunaSearch`.

    References
    ----------
    McCullagh 1980, Regression models for ordinal data, Journal of the Royal Statistical Society B
    42:109-142; with slopes, Peterson and Harrell 1990, Partial proportional odds models for ordinal
    response variables, Applied Statistics 39:205-217.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(200, 3)), columns=["table__nihss", "roi__a", "roi__b"])
    >>> mrs = np.digitize(2 * X["table__nihss"] + rng.logistic(size=200), [-3, -2, -1, 0, 1, 2])
    >>> model = OrdinalClassifier(blocks={"roi": 10.0}).fit(X, mrs)
    >>> model.penalties_.tolist(), model.classes_.tolist()
    ([1.0, 10.0, 10.0], [0, 1, 2, 3, 4, 5, 6])
    >>> poor = model.predict_exceeding(X, 2)  # probability of 3 and more
    >>> bool(np.corrcoef(poor, X["table__nihss"])[0, 1] > 0.9)
    True
    """

    alpha: object = parameter(
        1.0,
        NOT_NEGATIVE,
        "array-like",
        callable,
        kind="float, array-like of shape (n_features,) or callable",
        doc="""
        Ridge penalty of the columns: one for all, one for each, or a function that takes the names
        of the columns and returns one for each. 0 does not penalise.
        """,
    )
    blocks: object = parameter(
        None,
        dict,
        None,
        kind="dict of str to float, or None",
        doc="""
        Penalties of columns that differ from `alpha`, by name of the column or of its block, which
        is what stands before two underscores: ``{"place": 10}`` for ``place__left``, ... as a
        `ColumnTransformer` names its columns. Needs a DataFrame: in a pipeline
        ``set_output(transform="pandas")``.
        """,
    )
    order: object = parameter(
        None,
        "array-like",
        None,
        kind="sequence or None",
        doc="""
        The classes from lowest to highest. None: numbers are ordered by themselves and an ordered
        pandas categorical says its order; text is refused.
        """,
    )
    slopes: str = parameter(
        "one",
        StrOptions({"one", "each"}),
        doc="""
        "one": proportional odds. "each": once b is found, every step of the scale gets a slope of
        its own on x·b, drawn to 1, so that probabilities are right at each cut and not only on
        average over all; the order of patients stays. Slopes are learnt from what a model without
        the patient says (approximate leave-one-out). With two classes there is nothing to do.
        """,
    )
    max_iter: int = parameter(1000, COUNT, doc="Most steps of L-BFGS.")
    tol: float = parameter(1e-8, POSITIVE, doc="Largest derivative at the end, per patient.")

    def fit(self, X, y, sample_weight=None):
        """Learn coefficients and thresholds.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_features)
            Numbers without gaps.
        y : array-like of shape (n_patients,)
            Ordered classes, two or more.
        sample_weight : array-like of shape (n_patients,), default=None
            Zero leaves a patient out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter has a wrong type or value, `X` or `y` cannot be used, there is one class
            only, or the order of the classes is not known.
        CohortError
            If `y` has the index of other patients.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` is too small, or without a penalty the classes are separated.
        """
        self._validate_params()
        check_outcome_index(X, y)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        labels, codes = ordered_classes(y, self.order)
        if len(codes) != len(X):
            raise ValueError(f"X has {len(X)} rows and y {len(codes)}; select y.loc[X.index]")
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        kept = weights > 0  # a patient of weight zero is no patient
        present, codes = np.unique(codes[kept], return_inverse=True)
        self.classes_ = labels[present]
        if len(present) < 2:
            raise ValueError(
                f"y holds only one class, {self.classes_.tolist()}; at least two are needed"
            )
        self.penalties_ = column_penalties(
            self.alpha, self.blocks, getattr(self, "feature_names_in_", None), X.shape[1]
        )
        self.coef_, self.thresholds_, self.n_iter_, converged = fit_proportional_odds(
            X[kept],
            codes,
            weights[kept],
            self.penalties_,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        self.slopes_ = np.ones(len(self.thresholds_))
        if self.slopes == "each" and len(present) > 2:
            seen = X[kept], codes, weights[kept], self.coef_, self.thresholds_, self.penalties_
            self.slopes_, self.thresholds_ = step_slopes(
                left_out_scores(*seen), codes, weights[kept], self.thresholds_
            )
        if not converged:
            warnings.warn(
                f"L-BFGS did not converge in {self.n_iter_} steps; standardise the columns, raise "
                "alpha, or raise max_iter",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def linear_predictor(self, X):
        """x·b: where every patient stands on the scale of `thresholds_`, shape (n_patients,)."""
        check_is_fitted(self, "coef_")
        return validate_data(self, X, reset=False, dtype=np.float64) @ self.coef_

    def predict_proba(self, X):
        """Class probabilities, shape (n_patients, n_classes), in the order of `classes_`."""
        scores = self.linear_predictor(X)
        if (self.slopes_ == 1).all():
            return class_probabilities(scores, self.thresholds_)
        above = exceedances(scores, self.slopes_, self.thresholds_)
        return -np.diff(above, axis=1, prepend=1.0, append=0.0)
