"""Who is trained on and who is tested on, fold by fold.

Folds are drawn over patients once and given to every model; ``"5x2"`` means five folds, drawn
twice. `PatientFolds` draws those that a model makes inside its training patients.
"""

import re
import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.model_selection import (
    BaseCrossValidator,
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils import check_random_state

from imaging.parameters import Interval, Parametrised, parameter, parameters

from .cells import listing
from .columns import check_cohort, check_outcome_index
from .errors import CohortError
from .grouping import check_apart, check_groups

__all__ = ["PatientFolds", "Split", "inner_folds", "make_splits", "parse_cv"]

MOST_FITS = 10_000  # of one model: a day of those that take ten seconds
MOST_CLASSES = 10  # whole numbers with more values than this are no classes


@dataclass(frozen=True)
class Split:
    """One fold: row numbers of its training and its test patients; counting starts at 1.

    `groups` are those of the training rows, for what a model divides further; None without groups.
    """

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray
    groups: np.ndarray | None = None

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
        If it is neither, there are fewer than two folds, or no repeat, or more than 10,000 in all.

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
    if max(len(digits or "") for digits in match.groups()) > 6:
        raise ValueError(f"cv={str(cv)[:60]!r}: {MOST_FITS:,} folds in all are the most")
    n_folds, n_repeats = int(match[1]), int(match[2] or 1)
    if n_folds * n_repeats > MOST_FITS:
        raise ValueError(f"cv={cv!r}: {MOST_FITS:,} folds in all are the most")
    if n_folds < 2 or n_repeats < 1:
        raise ValueError(f"cv={cv!r}: at least two folds and one repeat are needed")
    return n_folds, n_repeats


def make_splits(cv, X, y, *, classification, groups=None, random_state=None, needed=None):
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
    needed : Series of shape (n_patients,), default=None
        Classes that must stand on both sides of every fold, where these are not all of `y`: of an
        ordinal outcome, what exceeds the cut.

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
    groups = check_groups(groups, X)
    if isinstance(cv, (int, str)):
        pairs = _drawn(*parse_cv(cv), X, y, classification, groups, random_state, needed)
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
    splits = _numbered(pairs, groups)
    for split in splits:
        _check_split(split, y if needed is None else needed, classification, groups)
    return splits


@parameters
class PatientFolds(BaseCrossValidator, Parametrised):
    """Folds that keep all rows of a patient together, told by a column of the table itself.

    A scikit-learn splitter for tables with several scans of a patient. As it reads the patient from
    `X`, it works wherever scikit-learn takes ``cv=`` and `groups` do not reach: in
    `StackingClassifier`, `GridSearchCV`, `CalibratedClassifierCV`, `cross_validate`, and `compare`.

    Parameters
    ----------
    {parameters}

    Raises
    ------
    ValueError
        If a parameter has a wrong type or value.
    CohortError
        In `split`: if neither a column nor `groups` names the patient, a row has none, or there
        are fewer patients than folds.

    Notes
    -----
    Folds are stratified where the outcome has classes: text, truth values, or at most ten different
    whole numbers.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from prognosis import PatientFolds, TabularEncoder
    >>> X = pd.DataFrame({"subject": np.repeat(np.arange(20), 3), "nihss": np.arange(60) % 25})
    >>> y = np.repeat([0, 1] * 10, 3)
    >>> folds = PatientFolds(5, random_state=0)
    >>> [set(X["subject"][train]) & set(X["subject"][test]) for train, test in folds.split(X, y)]
    [set(), set(), set(), set(), set()]
    >>> logistic = make_pipeline(TabularEncoder(["nihss"]), LogisticRegression())
    >>> search = GridSearchCV(logistic, {"logisticregression__C": [0.1, 1]}, cv=folds).fit(X, y)
    """

    __metadata_request__split: ClassVar = {"groups": True}

    n_splits: int = parameter(
        5, Interval(Integral, 2, None, closed="left"), first=True, doc="Number of folds."
    )
    patient: object = parameter(
        "subject",
        str,
        None,
        kind="str or None",
        doc="""
        Column of `X` that names the patient. Where `X` has no such column, or with None, `groups`
        names the patient.
        """,
    )
    shuffle: bool = parameter(True, "boolean", doc="Draw the folds at random.")
    random_state: object = parameter(
        None,
        "random_state",
        kind="int, RandomState instance or None",
        doc="Seed of the folds.",
    )

    def get_n_splits(self, X=None, y=None, groups=None):
        """Number of folds."""
        return self.n_splits

    def split(self, X, y=None, groups=None):
        """Draw the folds.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_columns); or array-like, with `groups`
        y : array-like of shape (n_rows,), default=None
        groups : array-like of shape (n_rows,), default=None
            Only looked at where `X` has no column `patient`.

        Yields
        ------
        train, test : ndarray of int
            Row numbers.
        """
        patients = self._patients(X, groups)
        check_outcome_index(X, y)
        found = np.unique(patients)
        if len(found) < self.n_splits:
            raise CohortError(
                f"{self.n_splits} folds need at least {self.n_splits} patients, found "
                f"{len(found)}; lower n_splits"
            )
        classes = _classes(y, self.n_splits)
        if classes is not None:
            seed = self.random_state if self.shuffle else False
            yield from _stratified_groups(self.n_splits, classes, patients, seed)
        else:
            # a seed without shuffling is refused by scikit-learn
            seed = self.random_state if self.shuffle else None
            folds = GroupKFold(self.n_splits, shuffle=self.shuffle, random_state=seed)
            yield from folds.split(np.zeros(len(patients)), groups=patients)

    def _patients(self, X, groups):
        if self.patient is not None and isinstance(X, pd.DataFrame) and self.patient in X.columns:
            return check_groups(check_cohort(X, [self.patient])[self.patient], X)
        if groups is not None:
            return check_groups(groups, X)
        if isinstance(X, pd.DataFrame):
            found = f"the table has {listing(X.columns)}"
        else:
            found = f"X is {type(X).__name__}, which has no columns"
        raise CohortError(
            f"PatientFolds does not know the patient of each row: it looks for column "
            f"{self.patient!r}, and {found}; give patient='...' a column of X, or groups"
        )


def inner_folds(cv, X, y, groups=None, *, classifier):
    """Folds that a meta-estimator makes of its training rows, no group on both sides of one.

    Parameters
    ----------
    cv : int, scikit-learn splitter, iterable or None
        Numbers as in scikit-learn: stratified for classifiers, never shuffled.
    X, y : training rows
    groups : ndarray of shape (n_rows,) or None
    classifier : bool

    Returns
    -------
    list of (train, test)

    Raises
    ------
    CohortError
        If a splitter tears a group apart.
    """
    if groups is not None and (cv is None or isinstance(cv, Integral)):
        cv = PatientFolds(5 if cv is None else cv, patient=None, shuffle=False)
    folds = list(check_cv(cv, y, classifier=classifier).split(X, y, groups))
    for number, (train, test) in enumerate(folds, start=1):
        check_apart(groups, train, test, f"inner fold {number}")
    return folds


def _drawn(n_folds, n_repeats, X, y, classification, groups, random_state, needed):
    units = len(X) if groups is None else len(np.unique(groups))
    if units < n_folds:
        raise CohortError(
            f"{n_folds} folds need at least {n_folds} {'patients' if groups is None else 'groups'},"
            f" found {units}; lower cv"
        )
    if classification:
        counts = (y if needed is None else needed).value_counts()
        if counts.min() < n_folds and groups is None:
            rarest = counts.index.tolist()[counts.argmin()]
            raise CohortError(
                f"class {rarest!r} has {counts.min()} patients, fewer than the {n_folds} "
                "folds; lower cv, or merge rare classes"
            )
        splitter = StratifiedKFold
    else:
        splitter = KFold if groups is None else GroupKFold
    pairs = []
    with warnings.catch_warnings():
        if needed is not None:  # a rare class of the others may be missing from a fold
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for seed in np.random.SeedSequence(random_state).generate_state(n_repeats):
            if classification and groups is not None:
                pairs += _stratified_groups(n_folds, y, groups, int(seed))
            else:
                folds = splitter(n_folds, shuffle=True, random_state=int(seed))
                pairs += folds.split(X, y, groups)
    return pairs


def _stratified_groups(n_splits, classes, groups, seed):
    """As StratifiedGroupKFold shuffled by a seed; False does not shuffle.

    The groups are numbered anew, in an order drawn at random, as scikit-learn does since its own
    shuffling is stratified; in version 1.6 it is not.
    """
    found, groups = np.unique(groups, return_inverse=True)
    if seed is not False:
        order = check_random_state(seed).permutation(len(found))
        groups = np.argsort(order)[groups]
    return StratifiedGroupKFold(n_splits).split(np.zeros(len(groups)), classes, groups)


def _classes(y, n_splits):
    """Number of the class of every row; None where the outcome has no classes to stratify by."""
    if y is None or np.ndim(y) != 1:
        return None
    counts = pd.Series(np.asarray(y)).value_counts()
    if not len(counts) or counts.max() < n_splits:
        return None
    values = counts.index
    numbers = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if numbers and (len(values) > MOST_CLASSES or (values != np.round(values)).any()):
        return None
    return pd.factorize(np.asarray(y))[0]


def _numbered(pairs, groups):
    splits, repeat, fold, tested = [], 1, 0, set()
    for train, test in pairs:
        if tested.intersection(test.tolist()):
            repeat, fold, tested = repeat + 1, 0, set()
        fold += 1
        tested.update(test.tolist())
        inside = None if groups is None else groups[train]
        splits.append(Split(repeat, fold, train, test, inside))
    if not splits:
        raise CohortError("cv gives no folds")
    return splits


def _check_split(split, y, classification, groups):
    if not len(split.train) or not len(split.test):
        raise CohortError(f"{split} has no {'test' if len(split.train) else 'training'} patients")
    both = np.intersect1d(split.train, split.test)
    if both.size:
        raise CohortError(
            f"row {y.index[both].tolist()[0]!r} is in training and in test of {split}"
        )
    check_apart(groups, split.train, split.test, split)
    if classification:
        for side, rows in (("training", split.train), ("test", split.test)):
            absent = np.setdiff1d(y.unique(), y.iloc[rows].unique())
            if absent.size:
                raise CohortError(
                    f"{split}: none of its {len(rows)} {side} patients is of class "
                    f"{absent.tolist()[0]!r}; use fewer folds, stratified ones, or more patients"
                )
