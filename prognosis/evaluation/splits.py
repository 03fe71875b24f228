"""Who is trained on and who is tested on, fold by fold.

Folds are drawn over patients once and given to every model; ``"5x2"`` means five folds, drawn
twice.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import CohortError

__all__ = ["Split", "make_splits", "parse_cv"]


@dataclass(frozen=True)
class Split:
    """One fold: row numbers of its training and its test patients; counting starts at 1."""

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray

    def __str__(self):
        return f"repeat {self.repeat}, fold {self.fold}"


def parse_cv(cv):
    """Read the number of folds and of repeats.

    Parameters
    ----------
    cv : int or str
        ``5`` or ``"5"`` (five folds), ``"5x2"`` (five folds, drawn twice).

    Returns
    -------
    n_folds, n_repeats : int

    Raises
    ------
    ValueError
        If it is neither, there are fewer than two folds, or no repeat.

    Examples
    --------
    >>> parse_cv("5x2"), parse_cv(10)
    ((5, 2), (10, 1))
    """
    match = re.fullmatch(r"\s*(\d+)\s*(?:[x×*]\s*(\d+)\s*)?", str(cv))
    if not match or isinstance(cv, bool):
        raise ValueError(
            f"cv={cv!r} is not understood: give a number of folds (5), folds x repeats ('5x2'), "
            "or a scikit-learn splitter"
        )
    n_folds, n_repeats = int(match[1]), int(match[2] or 1)
    if n_folds < 2 or n_repeats < 1:
        raise ValueError(f"cv={cv!r}: at least two folds and one repeat are needed")
    return n_folds, n_repeats


def make_splits(cv, X, y, *, classification, groups=None, random_state=None):
    """Draw the folds.

    Numbers and strings become shuffled folds, stratified by class for classification; with
    `groups`, all rows of a group stay on one side.

    Parameters
    ----------
    cv : int, str, scikit-learn splitter, or iterable of (train, test) row numbers
        As `parse_cv`. A splitter is used as it is; its folds count as a new repeat whenever one
        tests a patient again.
    X : DataFrame of shape (n_patients, n_columns)
    y : Series of shape (n_patients,)
    classification : bool
    groups : array-like of shape (n_patients,), default=None
        For example the subject of each scan.
    random_state : int, default=None
        For numbers and strings only: a splitter carries its own.

    Returns
    -------
    list of Split

    Raises
    ------
    ValueError
        If `cv` is not understood.
    CohortError
        If there are too few patients or groups, a fold is empty, a patient or a group is on both
        sides of a fold, or (in classification) a class is missing from one side.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> X, y = pd.DataFrame({"age": np.arange(20)}), pd.Series([0, 1] * 10)
    >>> splits = make_splits("5x2", X, y, classification=True, random_state=0)
    >>> len(splits), str(splits[-1]), sorted((splits[-1].test % 2).tolist())
    (10, 'repeat 2, fold 5', [0, 0, 1, 1])
    """
    groups = _check_groups(groups, X)
    if isinstance(cv, (int, str)):
        pairs = _drawn(*parse_cv(cv), X, y, classification, groups, random_state)
    elif hasattr(cv, "split"):
        pairs = list(cv.split(X, y, groups))
    else:
        try:
            pairs = [(np.asarray(train), np.asarray(test)) for train, test in cv]
        except (TypeError, ValueError):
            raise ValueError(
                f"cv={cv!r} is not understood: give a number of folds (5), folds x repeats "
                "('5x2'), a scikit-learn splitter, or pairs of row numbers"
            ) from None
    splits = _numbered(pairs)
    for split in splits:
        _check_split(split, y, classification, groups)
    return splits


def _check_groups(groups, X):
    if groups is None:
        return None
    if isinstance(groups, pd.Series) and not groups.index.equals(X.index):
        raise CohortError(
            "groups has another index than X; bring it into X's order: groups = groups.loc[X.index]"
        )
    groups = np.asarray(groups)
    if groups.shape != (len(X),):
        raise CohortError(f"groups has shape {groups.shape} where ({len(X)},) was expected")
    missing = pd.isna(groups)
    if missing.any():
        raise CohortError(f"row {X.index[missing][0]!r}: no group; give every row its subject")
    return groups


def _drawn(n_folds, n_repeats, X, y, classification, groups, random_state):
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    units = len(X) if groups is None else len(np.unique(groups))
    if units < n_folds:
        raise CohortError(
            f"{n_folds} folds need at least {n_folds} {'patients' if groups is None else 'groups'},"
            f" found {units}; lower cv"
        )
    if classification:
        counts = y.value_counts()
        if counts.min() < n_folds and groups is None:
            raise CohortError(
                f"class {counts.idxmin()!r} has {counts.min()} patients, fewer than the {n_folds} "
                "folds; lower cv, or merge rare classes"
            )
        splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    else:
        splitter = KFold if groups is None else GroupKFold
    pairs = []
    for seed in np.random.SeedSequence(random_state).generate_state(n_repeats):
        folds = splitter(n_folds, shuffle=True, random_state=int(seed))
        pairs += folds.split(X, y, groups)
    return pairs


def _numbered(pairs):
    splits, repeat, fold, tested = [], 1, 0, set()
    for train, test in pairs:
        if tested.intersection(test.tolist()):
            repeat, fold, tested = repeat + 1, 0, set()
        fold += 1
        tested.update(test.tolist())
        splits.append(Split(repeat, fold, train, test))
    if not splits:
        raise CohortError("cv gives no folds")
    return splits


def _check_split(split, y, classification, groups):
    if not len(split.train) or not len(split.test):
        raise CohortError(f"{split} has no {'test' if len(split.train) else 'training'} patients")
    both = np.intersect1d(split.train, split.test)
    if both.size:
        raise CohortError(f"row {y.index[both[0]]!r} is in training and in test of {split}")
    if groups is not None:
        both = np.intersect1d(groups[split.train], groups[split.test])
        if both.size:
            raise CohortError(
                f"group {both[0]!r} is in training and in test of {split}; use a splitter that "
                "keeps groups together, such as StratifiedGroupKFold"
            )
    if classification:
        for side, rows in (("training", split.train), ("test", split.test)):
            absent = np.setdiff1d(y.unique(), y.iloc[rows].unique())
            if absent.size:
                raise CohortError(
                    f"{split}: none of its {len(rows)} {side} patients is of class "
                    f"{absent.tolist()[0]!r}; use fewer folds, stratified ones, or more patients"
                )
