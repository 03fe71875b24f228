"""Check what a comparison is given: models of one kind, an outcome for every patient."""

import warnings
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from ...cells import check_outcome_values
from ...columns import check_cohort, check_outcome_index, check_training
from ...errors import CohortError
from ...grouping import check_groups, declared_patient

__all__ = [
    "check_kind",
    "check_models",
    "check_outcome",
    "find_classes",
    "find_model_groups",
    "find_report_groups",
    "warn_of_torn_folds",
]


MOST_GROUPS, FEWEST_ROWS = 12, 5  # that are reported one by one, and rows of one on average


def check_models(models):
    """The models as a dict, from whatever form `compare` takes; names must differ."""
    if hasattr(models, "fit"):
        raise ValueError(
            f"models is one {type(models).__name__}; name it, and what it is to be compared with: "
            "{'my model': model, ...}"
        )
    pairs = list(models.items() if hasattr(models, "items") else models)
    if not pairs:
        raise ValueError("models is empty; give at least one: {'name': estimator}")
    for pair in pairs:
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError(f"models must be (name, estimator) pairs, found {pair!r}")
    names = [name for name, _ in pairs]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise ValueError(f"the model name {doubled[0]!r} occurs more than once")
    return dict(pairs)


def check_kind(models, cut=None):
    """Whether all models are classifiers (True) or all are regressors; refuses anything else."""
    for name, model in models.items():
        if isinstance(model, type) or not hasattr(model, "fit") or not hasattr(model, "get_params"):
            called = f"; write {model.__name__}()" if isinstance(model, type) else ""
            raise ValueError(
                f"model {name!r} is {model!r}, not a scikit-learn estimator instance{called}"
            )
    classifiers = [name for name, model in models.items() if is_classifier(model)]
    regressors = [name for name, model in models.items() if is_regressor(model)]
    others = [name for name in models if name not in classifiers + regressors]
    if others:
        raise ValueError(f"model {others[0]!r} is neither a classifier nor a regressor")
    if cut is not None and regressors:
        raise ValueError(
            f"{regressors[0]!r} is a regressor, which gives no probability of exceeding cut={cut!r}"
            "; put it into OrdinalFromRegressor(...), or leave cut out"
        )
    if classifiers and regressors:
        raise ValueError(
            f"{classifiers[0]!r} is a classifier and {regressors[0]!r} a regressor; compare models "
            "of one kind"
        )
    return bool(classifiers)


def check_outcome(X, y, classification):
    """The outcome as a Series with the index of `X`; refuses missing values and wrong kinds."""
    if isinstance(y, pd.DataFrame):
        raise CohortError("y is a table; give one column of it: y['outcome']")
    if isinstance(y, str):
        check_training(X, y)
    if len(y) != len(X):
        raise CohortError(f"y has {len(y)} values and X has {len(X)} rows; they must be the same")
    if isinstance(y, pd.Series):
        check_outcome_index(X, y)
    else:
        y = pd.Series(np.asarray(y), index=X.index, name="outcome")
    missing = y.isna()
    if missing.any():
        row = y.index[missing].tolist()[0]
        raise CohortError(
            f"row {row!r}: the outcome is missing ({int(missing.sum())} in all); "
            "drop such rows: keep = y.notna(); X, y = X[keep], y[keep]"
        )
    if classification:
        if y.nunique() < 2:
            only = y.tolist()[0]
            raise CohortError(f"every outcome is {only!r}; classification needs two classes")
    elif not pd.api.types.is_numeric_dtype(y.dtype) or not np.isfinite(y.astype(float)).all():
        raise CohortError(f"the outcome of a regression must be finite numbers, found {y.dtype}")
    check_outcome_values(X, y)
    return y


def find_classes(y, positive_label):
    """Sorted classes, the positive one last."""
    classes = np.unique(y.to_numpy()).tolist()
    if positive_label is None:
        return classes
    if len(classes) != 2 or positive_label not in classes:
        raise ValueError(f"positive_label={positive_label!r} is not one of two classes: {classes}")
    return sorted(classes, key=lambda label: label == positive_label)


def find_model_groups(models, X, groups):
    """The group of every row: as given, by name or by value, else from what the models declare."""
    if groups is None:
        declared = {declared_patient(model): name for name, model in models.items()}
        declared.pop(None, None)
        if len(declared) > 1:
            (one, name), (other, other_name), *_ = declared.items()
            raise ValueError(
                f"model {name!r} declares patient={one!r} and {other_name!r} {other!r}; say which "
                f"rows belong together: groups={one!r}"
            )
        groups = next(iter(declared), None)
    if isinstance(groups, str):
        groups = check_cohort(X, [groups])[groups]
    return check_groups(groups, X)


def find_report_groups(X, by, given, groups):
    """The groups that scores are given for, as a Series, or None.

    Parameters
    ----------
    X : DataFrame
    by : str, array-like of shape (n_rows,) or None
        As `compare` takes it.
    given : str, array-like or None
        The `groups` that `compare` was given.
    groups : ndarray of shape (n_rows,) or None
        What they are; reported where they are few and large.

    Raises
    ------
    CohortError
        If a row has no group, there is one only, or there are more than `MOST_GROUPS`.
    """
    if by is None:
        if given is None or groups is None:
            return None  # what models declare are patients, not hospitals
        count = len(set(groups))
        if not 2 <= count <= MOST_GROUPS or len(X) < FEWEST_ROWS * count:
            return None
        name = given if isinstance(given, str) else getattr(given, "name", None)
        return pd.Series(np.asarray(groups), X.index, name=name or "group")
    name = by if isinstance(by, str) else getattr(by, "name", None) or "group"
    if isinstance(by, str):
        by = check_cohort(X, [by])[by]
    found = pd.Series(check_groups(by, X), X.index, name=name)
    if not 2 <= found.nunique() <= MOST_GROUPS:
        raise CohortError(
            f"by={name!r} has {found.nunique()} different values in {len(X)} rows; scores are "
            f"given for 2 to {MOST_GROUPS} groups, so name a column such as hospital or scanner"
        )
    return found


def warn_of_torn_folds(models):
    """Warn of inner folds that groups do not reach, such as ``GridSearchCV(..., cv=5)``."""
    for name, model in models.items():
        held = {"": model} | model.get_params(deep=True)
        for key, cv in model.get_params(deep=True).items():
            owner = held[key.rpartition("__")[0]]
            if key.split("__")[-1] != "cv" or has_fit_parameter(owner, "groups"):
                continue  # what takes groups itself keeps them together, or refuses
            if cv is None or isinstance(cv, Integral) or _ignores_groups(cv):
                warnings.warn(
                    f"model {name!r}: the folds of {type(owner).__name__}(cv={cv!r}) do not know "
                    "which rows belong together, so what it learns from them may be too good; "
                    "give it cv=PatientFolds(patient='...'), or do without",
                    UserWarning,
                    stacklevel=3,
                )


def _ignores_groups(cv):
    return hasattr(cv, "split") and not get_routing_for_object(cv).consumes("split", ["groups"])
