"""Groups of patients that are alike, of which the last stays locked away until the end.

The other groups are for training and validation; the lock-box is opened once, and that is noted.
"""

import json
import os
from datetime import UTC, datetime
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd

from imaging.parameters import FROM_ZERO, Each, Interval, Parametrised, parameter, parameters
from imaging.storage.files import replacing

from ..cells import NUMBER, as_numbers, as_text, column_kind
from ..columns import check_cohort, check_outcome_index
from ..errors import CohortError
from ..oddities import refuse_oddities

__all__ = ["LockBoxError", "MatchedGroups"]

PROPOSALS = 40  # exchanges tried, per patient


class LockBoxError(RuntimeError):
    """The lock-box was opened before: what is tried now is no longer a test on unseen patients."""


@parameters
class MatchedGroups(Parametrised):
    """Divide patients into groups of equal size that are alike in several columns.

    `split` is a scikit-learn splitter over all groups but the last: each is tested in turn on a
    model of the others. The last group, the lock-box, is in none of these folds.

    Groups start as blocks of similar patients dealt out at random; then patients are exchanged
    between groups as long as that brings their means, spreads and shares of categories closer.
    Missing values count as a category of their own.

    The lock-box is an honour system: it notes that it was opened, and nothing stops one from
    opening it again with a new object, or after deleting `record`. What is reported from it is a
    test only if that was not done.

    Parameters
    ----------
    {parameters}

    Raises
    ------
    ValueError
        If a parameter has a wrong type or value.

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638: five groups matched for severity, recovery
    time and lesion size, the fifth a lock-box.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"age": rng.normal(65, 12, 100), "sex": rng.choice(["F", "M"], 100)})
    >>> groups = MatchedGroups(5, match=["age", "sex"])
    >>> [len(test) for train, test in groups.split(X)]
    [20, 20, 20, 20]
    >>> table = groups.balance_table(X)
    >>> bool(table["largest_difference"].max() < 0.1)
    True
    >>> train, lock_box = groups.open_lock_box(X)
    Lock-box opened: 20 patients, matched with 80 for training. ...
    >>> groups.open_lock_box(X)
    Traceback (most recent call last):
        ...
    prognosis.studies.matched_groups.LockBoxError: the lock-box was opened on ...
    """

    n_groups: int = parameter(
        5,
        Interval(Integral, 3, None, closed="left"),
        first=True,
        doc="With the lock-box, so at least three.",
    )
    match: object = parameter(
        (),
        Each(least=0),
        kind="sequence of str",
        doc="""
        Numeric and categorical columns of `X`. The outcome, if it has at most 10 values, is matched
        too wherever it is given.
        """,
    )
    random_state: int = parameter(0, FROM_ZERO, None, doc="Seed of the groups.")
    record: object = parameter(
        None,
        str,
        os.PathLike,
        None,
        kind="str or os.PathLike",
        doc="""
        JSON file that notes when the lock-box was opened, so that a later run knows. None
        keeps the note in this object only.
        """,
    )

    def __post_init__(self):
        super().__post_init__()
        self._opened = None

    def split(self, X, y=None, groups=None):
        """Folds over all groups but the lock-box.

        Parameters
        ----------
        X : DataFrame of shape (n_patients, n_columns)
        y : array-like of shape (n_patients,), default=None
        groups : None
            Ignored; every row is taken for a patient.

        Yields
        ------
        train, test : ndarray of int
            Row numbers.
        """
        numbers = self.assign(X, y)
        for group in range(1, self.n_groups):
            inside = (numbers != group) & (numbers != self.n_groups)
            yield np.flatnonzero(inside), np.flatnonzero(numbers == group)

    def get_n_splits(self, X=None, y=None, groups=None):
        """Number of folds: one fewer than groups."""
        return self.n_groups - 1

    def assign(self, X, y=None):
        """The group of every patient, 1 ... n_groups; the last is the lock-box.

        Returns
        -------
        ndarray of shape (n_patients,), int

        Raises
        ------
        CohortError
            If a column is missing or unusable, or there are too few patients.
        ValueError
            If there is nothing to match.
        """
        values = self._values(X, y)
        if len(X) < 2 * self.n_groups:
            raise CohortError(
                f"{self.n_groups} groups need at least {2 * self.n_groups} patients, found "
                f"{len(X)}; lower n_groups"
            )
        rng = np.random.default_rng(self.random_state)
        numbers = _deal(values, self.n_groups, rng)
        _exchange(values, numbers, self.n_groups, rng)
        return numbers + 1

    def balance_table(self, X, y=None):
        """How alike the groups are.

        Returns
        -------
        DataFrame
            One row per numeric column (mean), per category (share) and per column with missing
            values (share); one column per group ("lock-box" is the last), and
            ``largest_difference``: between any group and all patients, in standard deviations.
        """
        numbers = self.assign(X, y)
        features = self._features(X, y)
        means = features.groupby(numbers).mean().T
        means.columns = [*(f"group {k}" for k in range(1, self.n_groups)), "lock-box"]
        apart = means.sub(features.mean(), axis=0).abs().max(axis=1)
        spread = features.std(ddof=0)
        means["largest_difference"] = (apart / spread.where(spread > 0, 1)).to_numpy()
        return means

    def open_lock_box(self, X, y=None):
        """The final split: train on all other groups, test on the lock-box. Once.

        Says so on standard output, and notes it in `record`.

        Parameters
        ----------
        X : DataFrame of shape (n_patients, n_columns)
            The same patients as in `split`.
        y : array-like of shape (n_patients,), default=None
            The same as in `split`.

        Returns
        -------
        train, test : ndarray of int
            Row numbers.

        Raises
        ------
        LockBoxError
            If it was opened before, by this object or according to `record`.
        """
        if self._opened is None and self.record is not None and Path(self.record).is_file():
            self._opened = json.loads(Path(self.record).read_text(encoding="utf-8"))["opened"]
        if self._opened is not None:
            raise LockBoxError(
                f"the lock-box was opened on {self._opened}; a model chosen after that must be "
                "tested on other patients"
            )
        numbers = self.assign(X, y)
        test = np.flatnonzero(numbers == self.n_groups)
        train = np.flatnonzero(numbers != self.n_groups)
        self._opened = datetime.now(UTC).isoformat(timespec="seconds")
        if self.record is not None:
            note = {"opened": self._opened, "patients": X.index[test].astype(str).tolist()}
            path = Path(self.record)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        print(
            f"Lock-box opened: {len(test)} patients, matched with {len(train)} for training. "
            "A model that is chosen after this must be tested on other patients."
        )
        return train, test

    def __repr__(self):
        return (
            f"MatchedGroups(n_groups={self.n_groups}, match={list(self.match)}, "
            f"random_state={self.random_state})"
        )

    def _features(self, X, y):
        """Columns as numbers: values, categories, missing; in their own units."""
        names = list(self.match)
        check_cohort(X, names)
        columns = {}
        for name in names:
            if column_kind(X[name]) == NUMBER:
                values = as_numbers(X[name]).astype(float)
                columns[name] = values.fillna(values.median()).fillna(0)
            else:
                refuse_oddities(X[name])
                _add_shares(columns, name, as_text(X[name]))
            if X[name].isna().any():
                columns[f"{name} missing"] = X[name].isna().astype(float)
        if y is not None:
            check_outcome_index(X, y)
            outcome = pd.Series(np.asarray(y), index=X.index)
            if outcome.nunique() <= 10:
                _add_shares(columns, "outcome", outcome)
        if not columns:
            raise ValueError("there is nothing to match; name columns, as in match=['nihss']")
        return pd.DataFrame(columns, index=X.index)

    def _values(self, X, y):
        """Standardised features and, for those with more than two values, their squares."""
        features = self._features(X, y)
        values = ((features - features.mean()) / features.std(ddof=0).replace(0, 1)).to_numpy()
        many = features.nunique().to_numpy() > 2
        squares = values[:, many] ** 2
        deviations = np.maximum(squares.std(axis=0), 1e-12)
        return np.hstack([values, (squares - squares.mean(axis=0)) / deviations])


def _add_shares(columns, name, values):
    for level in sorted(values.dropna().unique(), key=lambda level: (str(type(level)), level)):
        columns[f"{name} = {level}"] = (values == level).fillna(False).astype(float)


def _deal(values, n_groups, rng):
    """Blocks of neighbours along the main direction, each dealt out to the groups at random."""
    _, _, axes = np.linalg.svd(values, full_matrices=False)
    order = np.argsort(values @ axes[0] + 1e-9 * rng.random(len(values)), kind="stable")
    numbers = np.empty(len(values), int)
    for start in range(0, len(values), n_groups):
        block = order[start : start + n_groups]
        numbers[block] = rng.permutation(n_groups)[: len(block)]
    return numbers


def _exchange(values, numbers, n_groups, rng):
    """Swap pairs between groups, in place, whenever the groups' sums come closer to equal."""
    sizes = np.bincount(numbers, minlength=n_groups)[:, None]
    sums = np.stack([values[numbers == group].sum(axis=0) for group in range(n_groups)])
    pairs = rng.integers(len(values), size=(PROPOSALS * len(values), 2))
    for one, other in pairs:
        here, there = numbers[one], numbers[other]
        if here == there:
            continue
        step = values[other] - values[one]
        both = sums[[here, there]]
        weights = 1 / sizes[[here, there]] ** 2
        changed = both + np.stack([step, -step])
        if (weights * changed**2).sum() < (weights * both**2).sum() - 1e-12:
            sums[[here, there]] = changed
            numbers[one], numbers[other] = there, here
