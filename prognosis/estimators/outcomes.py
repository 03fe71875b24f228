"""Image estimators by outcome: class probabilities, or a number.

Both train the same networks and average what these say.
"""

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from imaging.learning.refitting import refitting
from imaging.parameters import StrOptions, parameter, parameters

from ..errors import CohortError
from .base import ImageEstimator
from .ordinal.classifier import OrdinalClassifier
from .ordinal.scale import above, ordered_classes

__all__ = ["ImageClassifier", "ImageRegressor"]

MOST_CLASSES = 10  # in more than half as many patients: more are numbers


@parameters
class ImageClassifier(ClassifierMixin, ImageEstimator):
    """Classification of patients: class probabilities are averaged over the networks."""

    class_weight: object = parameter(
        None,
        dict,
        StrOptions({"balanced"}),
        None,
        kind='dict, "balanced" or None',
        doc="""
        Weights of the classes in the loss. "balanced" helps the rarer class; probabilities are
        then no longer those of the cohort. A `start` has its own.
        """,
    )

    ordinal: bool = parameter(
        False,
        "boolean",
        doc="""
        The classes are ordered, as the modified Rankin Scale is: the network gives one score and
        learns thresholds of it (proportional odds), and `predict_exceeding` is there. Classes are
        numbers, or an ordered pandas categorical.
        """,
    )

    def fit(self, X, y, sample_weight=None, groups=None):
        """Train on a cohort.

        Parameters
        ----------
        X : DataFrame of shape (n_patients, n_columns), or array-like when no column is declared
            One row per patient, with the declared columns; others are ignored. Never changed.
        y : array-like of shape (n_patients,)
            Class labels, numbers or strings; with `ordinal` numbers or an ordered categorical.
        sample_weight : array-like of shape (n_patients,), default=None
            Zero leaves a patient out.
        groups : array-like of shape (n_patients,), default=None
            The patient of each row, where a patient has several; takes the place of the column
            `patient`. scikit-learn's metadata routing hands it on by default.

        Returns
        -------
        self

        Raises
        ------
        CohortError
            If a row or column of X cannot be used; the message names it and the remedy.
        ValueError
            If a parameter is out of range or y holds one class only.
        """
        with refitting(self):
            return self._fit_classes(X, y, sample_weight, groups)

    def _fit_classes(self, X, y, sample_weight, groups):
        from imaging.learning.losses import cross_entropy, cumulative_logit

        given, dtype = y, getattr(y, "dtype", None)
        ordered = isinstance(dtype, pd.CategoricalDtype) and dtype.ordered
        X, y = self._check_X_y(X, y, numeric=False)
        if self.ordinal:
            classes, codes = ordered_classes(y, dtype.categories if ordered else None)
        else:
            check_classification_targets(y)
            encoder = LabelEncoder().fit(y)
            classes, codes = encoder.classes_, encoder.transform(y)
        if len(classes) < 2:
            raise ValueError(
                f"y holds only one class, {classes.tolist()[0]!r}; a classifier needs at least two "
                "(use stratified folds)"
            )
        if len(classes) > max(MOST_CLASSES, len(codes) / 2) and not self.ordinal:
            raise CohortError(
                f"y holds {len(classes)} different values in {len(codes)} patients, as a number "
                "does and no class; use a regressor, or cut it into classes: y = pd.cut(y, 2)"
            )
        self.classes_ = classes
        self.outcome_name_ = getattr(given, "name", None)
        loss = cumulative_logit if self.ordinal else cross_entropy
        return self._fit(X, codes, given, sample_weight, groups, loss, len(classes))

    def predict_proba(self, X):
        """Class probabilities, shape (n_patients, n_classes), in the order of `classes_`."""
        from scipy.special import softmax

        return softmax(self._apply(X).astype(np.float64), axis=2).mean(axis=0)

    def predict(self, X):
        """The most probable class of every patient, shape (n_patients,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    @available_if(lambda estimator: estimator.ordinal)
    def predict_exceeding(self, X, cut):
        """Probability that the outcome lies above a cut; of `ordinal` classifiers only.

        Parameters
        ----------
        X : DataFrame of shape (n_patients, n_columns)
        cut : object
            Any number where the classes are numbers; else one of the classes.

        Returns
        -------
        ndarray of shape (n_patients,)

        Raises
        ------
        ValueError
            If the cut is not on the scale, or does not leave a class on both of its sides.
        """
        probabilities = self.predict_proba(X)
        return probabilities[:, above(self.classes_, cut)].sum(axis=1)

    def _patient_weights(self, X, y, sample_weight):
        given = super()._patient_weights(X, y, sample_weight)
        weights = self.class_weight
        if weights is None:
            return given
        if isinstance(weights, dict):
            index = {label: n for n, label in enumerate(self.classes_.tolist())}
            unknown = [label for label in weights if label not in index]
            if unknown:
                raise ValueError(f"class_weight names {unknown}; the classes are {list(index)}")
            weights = {index[label]: weight for label, weight in weights.items()}
        return given * compute_sample_weight(weights, y)

    def _stratified(self):
        return True

    def _linear_start(self, tabular, y, weights):
        """Regression on the tabular values, logistic or ordinal: where the output starts from."""
        import torch
        from sklearn.linear_model import LogisticRegression

        if self.ordinal:
            model = OrdinalClassifier().fit(tabular, y, sample_weight=weights)
            return torch.from_numpy(model.coef_[None]), torch.zeros(1, dtype=torch.float64)
        model = LogisticRegression(max_iter=1000).fit(tabular, y, sample_weight=weights)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(coefficients) == 1:
            # One logit against zero, written as two outputs.
            coefficients = np.vstack([-coefficients, coefficients]) / 2
            intercepts = np.r_[-intercepts, intercepts] / 2
        return torch.from_numpy(coefficients), torch.from_numpy(intercepts)

    def _new_network(self, inputs, y, weights, n_outputs, reference):
        if not self.ordinal:
            return super()._new_network(inputs, y, weights, n_outputs, reference)
        import torch

        from imaging.nets.ordinal import CumulativeLogit

        network = super()._new_network(inputs, y, weights, 1, reference)
        if "offset" in inputs:
            return network  # whose offsets know the thresholds
        head = CumulativeLogit(self._threshold_start(inputs, y, weights, n_outputs))
        network.output = torch.nn.Sequential(network.output, head.to(network.output.weight.dtype))
        return network

    def _threshold_start(self, inputs, y, weights, n_classes):
        """Thresholds of the regression that the output starts from, else of the class shares."""
        both = "image" in inputs and "tabular" in inputs
        if both and self._linear_start(inputs["tabular"], y, weights) is not None:
            model = OrdinalClassifier().fit(inputs["tabular"], y, sample_weight=weights)
            if len(model.classes_) == n_classes:
                return model.thresholds_
        # A class may be missing where patients were set aside.
        shares = np.bincount(y, weights, minlength=n_classes) / weights.sum() + 1e-3
        return logit(np.cumsum(shares)[:-1] / shares.sum())


def _as_numbers(X, y):
    try:
        return np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        rows = X.index if isinstance(X, pd.DataFrame) else range(len(y))
        row, cell = next((r, c) for r, c in zip(rows, y, strict=True) if isinstance(c, str))
        raise CohortError(
            f"row {row!r}, y: found {cell!r} where a regressor needs a number; make the outcome "
            'numbers: y = pd.to_numeric(y, "coerce").dropna(), or use a classifier'
        ) from error


@parameters
class ImageRegressor(RegressorMixin, ImageEstimator):
    """Regression of a numeric outcome: predictions are averaged over the networks."""

    def fit(self, X, y, sample_weight=None, groups=None):
        """Train on a cohort; parameters and errors as in the classifier, `y` numeric."""
        with refitting(self):
            return self._fit_numbers(X, y, sample_weight, groups)

    def _fit_numbers(self, X, y, sample_weight, groups):
        from imaging.learning.losses import squared_error

        given = y
        X, y = self._check_X_y(X, y, numeric=True)
        y = _as_numbers(X, y)
        if not np.isfinite(y).all():
            raise ValueError("y holds infinite values; correct or drop these patients")
        self.outcome_name_ = getattr(given, "name", None)
        weights = self._patient_weights(X, y, sample_weight)
        self.target_mean_ = float(np.average(y, weights=weights))
        spread = np.sqrt(np.average((y - self.target_mean_) ** 2, weights=weights))
        self.target_scale_ = float(spread) or 1.0
        scaled = (y - self.target_mean_) / self.target_scale_
        return self._fit(X, scaled, given, sample_weight, groups, squared_error, 1)

    def predict(self, X):
        """The predicted outcome of every patient, shape (n_patients,)."""
        outputs = self._apply(X)[:, :, 0].astype(np.float64)
        return outputs.mean(axis=0) * self.target_scale_ + self.target_mean_

    def _stratified(self):
        return False

    def _linear_start(self, tabular, y, weights):
        """Ridge regression on the tabular values: where the output layer starts from."""
        import torch
        from sklearn.linear_model import Ridge

        model = Ridge().fit(tabular, y, sample_weight=weights)
        return torch.from_numpy(model.coef_[None]), torch.tensor([model.intercept_])
