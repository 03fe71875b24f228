"""How sure a prediction is: intervals from refits on parts of the training patients.

Of a probability it is how much it depends on who was trained on; of a number it is the range in
which a new patient's outcome is to be expected. Both are kept in the fitted model.
"""

import numpy as np
from joblib import Parallel, delayed
from scipy.special import expit, logit
from scipy.stats import t as student
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _num_samples, check_is_fitted, column_or_1d

from imaging.parameters import COUNT, parameter, parameters
from imaging.storage.bank import ImageBank, shared_bank, sharing
from imaging.storage.files import ScratchFolder

from ..columns import check_outcome_index
from ..errors import CohortError
from ..estimators.ordinal.scale import above
from ..features.measurement import measuring_steps
from ..grouping import find_groups, fit_held
from ..workers import let_worker_grow

__all__ = ["WithIntervals"]

_LEAST = 1e-9  # probability whose log odds are still finite
_TRIES = 100  # halves drawn until each class is in both


def _classifies(model):
    return is_classifier(model.estimator)


@parameters
class WithIntervals(MetaEstimatorMixin, BaseEstimator):
    """A model that says beside each prediction how far it can be relied on.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    estimator_ : estimator
        Fitted on all training patients: its predictions are those of this model.
    refits_ : list of estimator
        Fitted on parts of them. Of a pipeline whose first steps only measure images, what follows
        these.
    classes_ : ndarray of shape (n_classes,)
        Of a classifier.
    residuals_ : ndarray of shape (n_patients,)
        Of a regressor: what each training patient's outcome was off, predicted by the refit that
        had not seen him.

    Notes
    -----
    *Probabilities*: every refit sees a random half of the training patients, without repetition, so
    that nothing is in two inner folds at once. The difference between what half of the patients
    and all of them teach varies as what all of them teach varies between samples [1]_; its root
    mean square, on the scale of log odds, times a t quantile, is the half-width. The penalty of a
    model counts for more in a half, so intervals of strongly penalised models are a little wide
    rather than narrow. The interval does not know of what all training patients have in common,
    their hospital or scanner, and no interval of a probability says which of both outcomes comes.

    *Numbers*: CV+ of Barber et al. [2]_. If new patients come from where the training patients
    came from, at least 1 - 2 (1 - coverage) of them lie in their interval, whatever the model, and
    close to `coverage` of them in practice.

    References
    ----------
    .. [1] Politis, Romano 1994, Annals of Statistics 22:2031, on subsamples; half-samples go back
       to McCarthy 1969, Review of the International Statistical Institute 37:239.
    .. [2] Barber, Candes, Ramdas, Tibshirani 2021, Annals of Statistics 49:486.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 2))
    >>> y = (X[:, 0] + rng.normal(size=80) > 0).astype(int)
    >>> model = WithIntervals(LogisticRegression(), random_state=0).fit(X, y)
    >>> low, high = model.predict_interval(X[:1])[0, 1]
    >>> bool(low < model.predict_proba(X[:1])[0, 1] < high)
    True
    """

    estimator: object = parameter(first=True, kind="estimator", doc="Unfitted.")
    n_refits: int = parameter(
        50,
        COUNT,
        doc="""
        Of a classifier: random halves of the patients; fewer make the interval wider. Of a
        regressor at most 10 are made: folds.
        """,
    )
    n_jobs: object = parameter(None, int, None, kind="int or None", doc="Refits at once.")
    random_state: object = parameter(
        None, "random_state", kind="int, RandomState or None", doc="Draws the parts."
    )

    def fit(self, X, y, groups=None):
        """Fit on all patients, then on parts of them.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_features)
        y : array-like of shape (n_patients,)
        groups : array-like of shape (n_patients,), default=None
            Rows of one group (patient) stay together. By default the column that the estimator
            declares as `patient`.

        Returns
        -------
        self

        Raises
        ------
        CohortError
            If `y` has the index of other patients, or there are too few for the parts.
        """
        self._validate_params()
        check_outcome_index(X, y)
        groups = find_groups(self.estimator, X, groups)
        y = y if hasattr(y, "iloc") else column_or_1d(y)
        measuring, rest = _divided(self.estimator)
        measuring = [(name, clone(step)) for name, step in measuring]
        for _, step in measuring:
            X = step.fit(X).transform(X)
        units = np.arange(_num_samples(X))
        if groups is not None:
            units = np.unique(groups, return_inverse=True)[1]
        random_state = check_random_state(self.random_state)
        if _classifies(self):
            parts = _halves(units, np.asarray(y), self.n_refits, random_state)
        else:
            parts = _all_but_folds(units, min(self.n_refits, 10), random_state)
        with ScratchFolder() as scratch:
            # Whatever else reads images reads each once, for all refits.
            bank = shared_bank() or ImageBank(scratch.path, brief=True)
            whole, *self.refits_ = Parallel(n_jobs=self.n_jobs)(
                delayed(_fitted)(rest, X, y, groups, part, bank)
                for part in (np.arange(len(units)), *parts)
            )
        self.estimator_ = _joined(measuring, whole)
        if _classifies(self):
            self.classes_ = self.estimator_.classes_
        else:
            self._learn_residuals(X, np.asarray(y, dtype=float), parts)
        return self

    @property
    def n_features_in_(self):
        """Columns of `X` in fit."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self):
        """Their names, where they have some."""
        return self.estimator_.feature_names_in_

    def predict(self, X):
        """As the fitted estimator."""
        check_is_fitted(self, "refits_")
        return self.estimator_.predict(X)

    @available_if(lambda model: hasattr(model.estimator, "predict_proba"))
    def predict_proba(self, X):
        """Class probabilities, shape (n_patients, n_classes), as the fitted estimator."""
        check_is_fitted(self, "refits_")
        return self.estimator_.predict_proba(X)

    def predict_interval(self, X, coverage=0.95):
        """Intervals of the predictions.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_features)
        coverage : float, default=0.95
            In (0, 1).

        Returns
        -------
        ndarray of shape (n_patients, n_classes, 2), or (n_patients, 2) of numbers
            Lower and upper ends: of each class probability, or of the outcome.

        Raises
        ------
        ValueError
            If `coverage` is out of range.
        """
        if not _classifies(self):
            return self._outcome_interval(X, _checked(coverage))
        said, again = self._said(X, lambda model, Z: self._in_order(model, model.predict_proba(Z)))
        return self._spread(said, again, coverage)

    @available_if(lambda model: _classifies(model))
    def exceeding_interval(self, X, cut, coverage=0.95):
        """Intervals of the probability that an ordered outcome lies above a cut.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_features)
        cut : object
            See `predict_exceeding`.
        coverage : float, default=0.95

        Returns
        -------
        ndarray of shape (n_patients, 2)
        """
        higher = above(self.classes_, cut)

        def exceeding(model, Z):
            return self._in_order(model, model.predict_proba(Z))[:, higher].sum(axis=1)

        return self._spread(*self._said(X, exceeding), coverage)

    @available_if(lambda model: _classifies(model))
    def predict_exceeding(self, X, cut):
        """Probability that an ordered outcome lies above a cut, shape (n_patients,)."""
        return self.predict_proba(X)[:, above(self.classes_, cut)].sum(axis=1)

    def _said(self, X, say):
        """What the model says, and what each refit says; images are measured once."""
        check_is_fitted(self, "refits_")
        measuring, rest = _divided(self.estimator_)
        for _, step in measuring:
            X = step.transform(X)
        return say(rest, X), np.stack([say(refit, X) for refit in self.refits_])

    def _in_order(self, model, probabilities):
        """Probabilities in the order of `classes_`; of a class that a part lacks, none."""
        whole = np.zeros((len(probabilities), len(self.classes_)))
        known = {label: number for number, label in enumerate(self.classes_.tolist())}
        whole[:, [known[label] for label in model.classes_.tolist()]] = probabilities
        return whole

    def _spread(self, said, again, coverage):
        middle = logit(np.clip(said, _LEAST, 1 - _LEAST))
        gaps = logit(np.clip(again, _LEAST, 1 - _LEAST)) - middle
        half = np.sqrt(np.mean(gaps**2, axis=0))
        half = half * student.ppf((1 + _checked(coverage)) / 2, len(again))
        return expit(np.stack([middle - half, middle + half], axis=-1))

    def _learn_residuals(self, X, y, parts):
        self.residuals_, self._refit_of = np.zeros(len(y)), np.zeros(len(y), int)
        for number, (refit, part) in enumerate(zip(self.refits_, parts, strict=True)):
            left = np.setdiff1d(np.arange(len(y)), part)
            self.residuals_[left] = np.abs(y[left] - refit.predict(_safe_indexing(X, left)))
            self._refit_of[left] = number

    def _outcome_interval(self, X, coverage):
        said, again = self._said(X, lambda model, Z: np.asarray(model.predict(Z), dtype=float))
        centres = again[self._refit_of]  # of each training patient, for each new one
        n = len(self.residuals_)
        low = np.sort(centres - self.residuals_[:, None], axis=0)
        high = np.sort(centres + self.residuals_[:, None], axis=0)
        rank = int(np.ceil(coverage * (n + 1)))
        if rank > n:
            return np.tile([-np.inf, np.inf], (len(said), 1))
        return np.stack([low[n - rank], high[rank - 1]], axis=1)

    def __sklearn_tags__(self):
        tags, held = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = held.estimator_type
        tags.classifier_tags, tags.regressor_tags = held.classifier_tags, held.regressor_tags
        tags.target_tags, tags.input_tags = held.target_tags, held.input_tags
        return tags


def _divided(estimator):
    """First steps of a pipeline that learn nothing from patients, and what follows them."""
    if not isinstance(estimator, Pipeline):
        return [], estimator
    count = measuring_steps(estimator, lambda step: step.only_measures)
    if not count:
        return [], estimator
    return estimator.steps[:count], Pipeline(estimator.steps[count:])


def _joined(measuring, fitted):
    return Pipeline([*measuring, *fitted.steps]) if measuring else fitted


def _fitted(model, X, y, groups, rows, bank):
    inside = None if groups is None else groups[rows]
    let_worker_grow()
    with sharing(bank if bank.folder.is_dir() else None):
        return fit_held(clone(model), _safe_indexing(X, rows), _safe_indexing(y, rows), inside)


def _halves(units, y, count, random_state):
    """Rows of random halves of the units, each of which holds every class that has two units."""
    names = np.unique(units)
    if len(names) < 4:
        raise CohortError(f"halves of {len(names)} patients cannot be fitted; give more")
    _, codes = np.unique(y, return_inverse=True)
    needed = {k for k in np.unique(codes) if len(np.unique(units[codes == k])) > 1}
    halves = []
    while len(halves) < count:
        for _ in range(_TRIES):
            chosen = random_state.permutation(names)[: len(names) // 2]
            rows = np.flatnonzero(np.isin(units, chosen))
            if needed <= set(codes[rows].tolist()):
                break
        halves.append(rows)
    return halves


def _all_but_folds(units, count, random_state):
    names = random_state.permutation(np.unique(units))
    if len(names) < count:
        raise CohortError(f"{count} folds need as many patients, found {len(names)}; give more")
    return [np.flatnonzero(~np.isin(units, names[k::count])) for k in range(count)]


def _checked(coverage):
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1, got {coverage!r}")
    return coverage
