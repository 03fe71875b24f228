"""Choosing regions by explanation, inside the fold: rank, keep the first few, train again.

After White et al. 2024, where three regions chosen in this way did nearly as well as all of them.
"""

import warnings
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

from imaging.parameters import COUNT, StrOptions, parameter, parameters

from ..columns import check_cohort, check_outcome_index
from ..grouping import find_groups, fit_held
from ..splits import inner_folds
from .attribution.explaining import explain
from .counterfactuals.contrasts import NoContrastError
from .counterfactuals.counterfactual import counterfactuals
from .counterfactuals.tables import region_importance

__all__ = ["RegionSelector"]


def _estimator_has(name):
    def has(self):
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return has


@parameters
class RegionSelector(MetaEstimatorMixin, BaseEstimator):
    """Keep the regions of interest that matter most, as chosen inside the training set.

    `fit` trains the estimator with all its regions, ranks these by explaining the training
    patients, and trains it again with the first `k`. Whatever cross-validates this estimator
    therefore chooses regions anew in every fold, and no test patient has a say.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    ranking_ : DataFrame, one row per region, the most important first
        "importance", "low", "high" (95 % bootstrap limits over patients), "share", "rank", "kept",
        and with counterfactuals "support" and "in_counterfactuals".
    regions_ : list of str
        Those kept, the most important first.
    estimator_ : the estimator, trained with these
    classes_ : ndarray, for classifiers
    n_features_in_, feature_names_in_

    Notes
    -----
    `search_space` has the network's space and `k` ready for `OptunaSearch`.

    Examples
    --------
    >>> from prognosis import RegionSelector, RoiSymbolClassifier, make_stroke_cohort
    >>> X, y = make_stroke_cohort(24, spacing_mm=8, random_state=0)
    >>> cnn = RoiSymbolClassifier(
    ...     "t1w", regions=3, mosaic_size=32, epochs=4, learning_rate=3e-3, random_state=0
    ... )
    >>> selector = RegionSelector(cnn, k=1, n_patients=6, random_state=0).fit(X, y)
    >>> selector.regions_ == selector.ranking_.index[:1].tolist()
    True
    >>> selector.predict_proba(X).shape
    (24, 2)
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    estimator: object = parameter(
        first=True,
        kind="RoiSymbolClassifier, RoiSymbolRegressor, or a fusion that holds RoiSymbols",
        doc="Its `regions` are the candidates.",
    )
    k: int = parameter(4, COUNT, doc="Regions to keep.")
    by: str = parameter(
        "counterfactual",
        StrOptions({"counterfactual", "saliency"}),
        kind='{"counterfactual", "saliency"}',
        doc="""
        "counterfactual" ranks by the mean absolute coefficient of `counterfactuals`, "saliency" by
        the share of integrated gradients in the region (see `explain`). Where the network puts
        everybody on one side there is no counterfactual; then, with a warning, saliency stands in.
        """,
    )
    cv: object = parameter(
        None,
        kind="int, scikit-learn splitter or None",
        doc="""
        Folds of the training patients such that each is explained by a network that did not train
        on him or her; costs so many trainings more. A number keeps rows of one patient together
        where `fit` is given `groups` or the estimator declares its `patient`. None: one network
        explains those it was trained on.
        """,
    )
    n_patients: int | None = parameter(
        60,
        COUNT,
        None,
        kind="int or None",
        doc="Patients to explain, drawn at random; None explains all.",
    )
    max_regions: int = parameter(2, COUNT, doc="Largest swap that is tried.")
    random_state: object = parameter(
        None,
        "random_state",
        kind="int, RandomState instance or None",
        doc="""
        Draws the patients to explain and shuffles nothing else; networks have the estimator's own.
        """,
    )

    def fit(self, X, y, sample_weight=None, *, groups=None):
        """Rank the regions on these patients, keep the first `k`, and train with them.

        Parameters
        ----------
        X : DataFrame of shape (n_patients, n_columns)
        y : array-like of shape (n_patients,)
        sample_weight : array-like of shape (n_patients,), default=None
            Zero leaves a patient out of everything.
        groups : array-like of shape (n_patients,), default=None
            Rows of one group (patient) stay together in every fold; also handed to the estimator
            if it takes them. By default the column that the estimator declares as `patient`.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the estimator shows no regions.
        ValueError
            If `k` or another parameter is out of range.
        CohortError
            As the estimator; also if `y` has the index of other patients, or `cv` tears a group
            apart.
        """
        name = _regions_parameter(self.estimator)
        self._validate_params()
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        check_cohort(X)
        check_outcome_index(X, y)
        groups = find_groups(self.estimator, X, groups)
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            kept = np.flatnonzero(weights > 0)
            X, y, sample_weight = (_safe_indexing(each, kept) for each in (X, y, weights))
            groups = None if groups is None else groups[kept]
        y = y if isinstance(y, pd.Series) else pd.Series(column_or_1d(y, warn=True), index=X.index)
        everyone = clone(self.estimator)
        view = everyone.make_view()
        if hasattr(view, "candidates"):  # those of another atlas are chosen by these patients
            regions = view.candidates(X, everyone._image_columns())
        else:
            regions = list(view.mosaic().regions)
        everyone.set_params(**{name: regions})
        if self.k > len(regions):
            raise ValueError(
                f"k must be 1 to {len(regions)}, the regions of the estimator; got {self.k!r}"
            )
        ranking = self._rank(everyone, X, y, sample_weight, groups)
        ranking["rank"] = np.arange(1, len(ranking) + 1)
        ranking["kept"] = ranking["rank"] <= self.k
        self.ranking_ = ranking
        self.regions_ = ranking.index[: self.k].tolist()
        chosen = clone(self.estimator).set_params(**{name: self.regions_})
        self.estimator_ = fit_held(chosen, X, y, groups, sample_weight=sample_weight)
        return self

    def predict(self, X):
        """What the estimator with the kept regions predicts."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.predict(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Class probabilities, in the order of `classes_`."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.predict_proba(X)

    def embed(self, X):
        """Penultimate features of the first network."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.embed(X)

    def score(self, X, y, sample_weight=None):
        """Accuracy of a classifier, R² of a regressor."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.score(X, y, sample_weight=sample_weight)

    @property
    def classes_(self):
        return self.estimator_.classes_

    @property
    def n_features_in_(self):
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self):
        return self.estimator_.feature_names_in_

    @property
    def patient(self):
        """The estimator's column that names the patient, when a patient has several rows."""
        return self.estimator.patient

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self):
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags, tags.regressor_tags = inner.classifier_tags, inner.regressor_tags
        tags.target_tags, tags.input_tags = inner.target_tags, inner.input_tags
        return tags

    def _rank(self, estimator, X, y, sample_weight, groups):
        """Importance of every region, by networks that see all of them."""
        chosen = check_random_state(self.random_state).permutation(len(X))[: self.n_patients]
        models = []
        for train, test in self._folds(X, y, groups):
            explained = np.intersect1d(test, chosen)
            if len(explained):
                weights = None if sample_weight is None else _safe_indexing(sample_weight, train)
                inside = None if groups is None else groups[train]
                known = X.iloc[train], y.iloc[train]
                model = fit_held(clone(estimator), *known, inside, sample_weight=weights)
                models.append((model, X.iloc[explained], *known))
        if self.by == "counterfactual":
            try:
                found = [self._counterfactuals(*each) for each in models]
            except NoContrastError as error:
                # A network that has learnt nothing may put everybody on one side.
                warnings.warn(
                    f"regions are ranked by saliency, since there is no counterfactual: {error}",
                    UserWarning,
                    stacklevel=3,
                )
            else:
                coefficients, swaps = (
                    pd.concat([getattr(one, name) for one in found])
                    for name in ("coefficients", "swaps")
                )
                return region_importance(coefficients, swaps)
        return region_importance(pd.concat([_region_shares(model, X) for model, X, *_ in models]))

    def _counterfactuals(self, model, X, X_reference, y_reference):
        return counterfactuals(
            model,
            X,
            X_reference=X_reference,
            y_reference=y_reference,
            max_regions=self.max_regions,
        )

    def _folds(self, X, y, groups):
        if self.cv is None:
            return [(np.arange(len(X)), np.arange(len(X)))]
        return inner_folds(self.cv, X, y, groups, classifier=is_classifier(self.estimator))


def _regions_parameter(estimator):
    """The name of the parameter that says which regions an estimator, or its view, shows."""
    if hasattr(estimator, "make_view"):
        for name in ("regions", "view__regions"):
            if name in estimator.get_params():
                return name
    raise TypeError(
        f"{type(estimator).__name__} has no regions to choose from; give a RoiSymbolClassifier or "
        "RoiSymbolRegressor, or a fusion that holds RoiSymbols"
    )


def _region_shares(model, X):
    """Absolute attribution of each region, by integrated gradients, as shares: patients x regions.

    Attributions are summed over a region first, so that what cancels inside it does not count.
    """
    classes = getattr(model, "classes_", ())
    targets = [None] if len(classes) <= 2 else classes
    mosaic = model.view_.mosaic_
    sums = [explain(model, X, target=target).region_sums(mosaic.atlas).abs() for target in targets]
    strength = sum(sums)[list(mosaic.regions)]
    return strength.div(strength.sum(axis=1).clip(lower=1e-12), axis=0)
