"""Which rows belong to one patient, and how every fit inside a fit learns it.

scikit-learn's metadata routing hands `groups` on; where none are given, the column that an
estimator declares as `patient` says it.
"""

import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import _num_samples, has_fit_parameter

from .columns import check_cohort
from .errors import CohortError

__all__ = [
    "check_apart",
    "check_groups",
    "declared_patient",
    "find_groups",
    "fit_held",
    "fit_with_groups",
    "requests_groups",
]


def check_groups(groups, X):
    """One group for every row of `X`, as an array; None stays None.

    Raises
    ------
    CohortError
        If there are too few or too many, one is missing, they have another index than `X`, or they
        mix numbers and text.
    """
    if groups is None:
        return None
    rows = X.index if isinstance(X, pd.DataFrame) else np.arange(_num_samples(X))
    indexed = isinstance(groups, pd.Series) and isinstance(X, pd.DataFrame)
    if indexed and not groups.index.equals(X.index):
        raise CohortError(
            "groups has another index than X; bring it into X's order: groups = groups.loc[X.index]"
        )
    groups = np.asarray(groups)
    if groups.shape != (len(rows),):
        raise CohortError(f"groups has shape {groups.shape} where ({len(rows)},) was expected")
    missing = pd.isna(groups)
    if missing.any():
        raise CohortError(f"row {rows[missing][0]!r}: no group; give every row its subject")
    try:
        np.unique(groups)
    except TypeError:
        kinds = sorted({type(group).__name__ for group in groups})
        raise CohortError(
            f"groups mix {' and '.join(kinds)}; make them one: groups = groups.astype(str)"
        ) from None
    return groups


def check_apart(groups, train, test, place):
    """Refuse folds that have rows of one group on both sides; `place` names the fold."""
    if groups is None:
        return
    both = np.intersect1d(groups[train], groups[test])
    if both.size:
        raise CohortError(
            f"group {both[0]!r} is in training and in test of {place}; use a splitter that "
            "keeps groups together, such as PatientFolds or StratifiedGroupKFold"
        )


def declared_patient(estimator):
    """The column that an estimator, or whatever it holds, declares as `patient`; None without.

    Raises
    ------
    ValueError
        If two columns are declared.
    """
    found = {}
    for key, value in sorted(estimator.get_params(deep=True).items()):
        patient = value if key.split("__")[-1] == "patient" else None
        if hasattr(value, "split") and hasattr(value, "patient"):  # PatientFolds
            patient = value.patient
        if patient is not None:
            found[patient] = key
    if len(found) > 1:
        (one, key), (other, other_key), *_ = found.items()
        raise ValueError(f"{key}={one!r} and {other_key}={other!r} differ; name one patient column")
    return next(iter(found), None)


def find_groups(estimator, X, groups=None):
    """The group of every row: as given, else from the column that `estimator` declares.

    Parameters
    ----------
    estimator : estimator
    X : DataFrame or array-like of shape (n_rows, n_columns)
    groups : array-like of shape (n_rows,), default=None

    Returns
    -------
    ndarray of shape (n_rows,) or None
    """
    if groups is None:
        patient = declared_patient(estimator)
        if patient is not None:
            groups = check_cohort(X, [patient])[patient]
    return check_groups(groups, X)


def requests_groups(model):
    """Whether a model, or anything it holds, asks for `groups` in fit."""
    return bool(get_routing_for_object(model).consumes("fit", ["groups"]))


def fit_with_groups(model, X, y, groups=None, **further):
    """Fit a model; it learns the groups if it asks for them, and is fitted as ever if not.

    scikit-learn's stacking hands whatever it is given to its final estimator, too, so it is given
    nothing: its members have to declare the patient themselves.
    """
    if groups is None or not requests_groups(model) or _stacks_declared(model):
        return model.fit(X, y, **further)
    with config_context(enable_metadata_routing=True):
        return model.fit(X, y, groups=groups, **further)


def fit_held(model, X, y, groups=None, **further):
    """Fit what a meta-estimator holds: groups also go where `fit` merely has a place for them."""
    if groups is not None and not requests_groups(model) and has_fit_parameter(model, "groups"):
        return model.fit(X, y, groups=groups, **further)
    return fit_with_groups(model, X, y, groups, **further)


def _stacks_declared(model):
    """Whether there is stacking in a model; raises if one of its members would need groups."""
    from sklearn.ensemble import StackingClassifier, StackingRegressor

    held = [model, *model.get_params(deep=True).values()]
    stacks = [each for each in held if isinstance(each, (StackingClassifier, StackingRegressor))]
    for stack in stacks:
        for name, member in stack.estimators:
            if member != "drop" and requests_groups(member) and declared_patient(member) is None:
                raise CohortError(
                    f"{type(stack).__name__} cannot hand groups to its member {name!r}; let that "
                    "read the patient from the table: set its parameter patient to the column, "
                    "or its cv to PatientFolds(patient='...')"
                )
    return bool(stacks)
