"""Sets of columns that count as one: the loads of the regions of an atlas, the scores of a kernel.

Standardised one by one, a region that three patients have lesioned becomes their name tag and
weighs as much as the internal capsule; scaled together, every region keeps the weight it has.
"""

import fnmatch

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import (
    FLOAT_DTYPES,
    _check_feature_names_in,
    check_is_fitted,
    validate_data,
)

from imaging.parameters import POSITIVE, Each, StrOptions, parameter, parameters

from ..cells import NUMBER, as_numbers, column_kind
from ..columns import (
    TabularEncoder,
    TakesTables,
    check_cohort,
    check_training,
    declared_table,
)
from ..errors import CohortError

__all__ = ["BlockEncoder", "BlockScaler"]

_ROOTS = {"square": np.sqrt, "cube": np.cbrt}


@parameters
class BlockScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Scale a set of columns as one block: root, centre each column, one scale for all.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Of the training patients' roots.
    scale_ : float
        What the centred rows are divided by: their root mean square length, over `length`. 1 where
        all training rows are alike.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    `search_space` has `length` ready for `OptunaSearch`.

    Columns are not standardised: a rarely lesioned region keeps its small variance, and ridge
    regression its doubt about it. Negative values take the root of their size.

    Examples
    --------
    >>> import numpy as np
    >>> loads = np.array([[0.0, 0.0], [0.25, 0.0], [1.0, 0.01], [0.25, 0.0]])
    >>> scaler = BlockScaler(length=1).fit(loads)
    >>> scaler.mean_.tolist(), scaler.transform(loads).var(axis=0).sum().round(6)
    ([0.5, 0.025], np.float64(1.0))
    """

    root: object = parameter(
        "square",
        StrOptions({"square", "cube"}),
        None,
        kind='{"square", "cube"} or None',
        doc="""
        Taken of every value first: it says apart no damage from little, and little from much.
        """,
    )
    length: float = parameter(
        float(np.sqrt(10)),
        POSITIVE,
        doc="""
        Root mean square length of the training rows afterwards. √10 weighs as much as ten
        standardised columns.
        """,
    )

    def fit(self, X, y=None):
        """Learn the centre and the scale from the training patients.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_features)
        y : None
            Ignored.

        Returns
        -------
        self
        """
        self._validate_params()
        X = validate_data(self, X, dtype=FLOAT_DTYPES)
        rooted = self._rooted(X)
        self.mean_ = rooted.mean(axis=0)
        length = np.sqrt(((rooted - self.mean_) ** 2).sum(axis=1).mean())
        # Where all rows are alike, what is left is rounding, and dividing by it would make noise.
        alike = length <= 1e-12 * max(1.0, np.abs(self.mean_).max())
        self.scale_ = 1.0 if alike else float(length / self.length)
        return self

    def transform(self, X):
        """Scale patients; ndarray of shape (n_patients, n_features)."""
        check_is_fitted(self, "scale_")
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        return (self._rooted(X) - self.mean_) / self.scale_

    def _rooted(self, X):
        if self.root is None:
            return X
        return np.sign(X) * _ROOTS[self.root](np.abs(X))


@parameters
class BlockEncoder(TakesTables, TransformerMixin, BaseEstimator):
    """Put standardised tabular columns beside blocks of columns, each with a penalty of its own.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    blocks_ : dict of str to list of str
        The columns of `X` in every block.
    encoder_ : TabularEncoder or None
    scalers_ : dict of str to BlockScaler
    block_of_features_ : ndarray of shape (n_features_out,), str
        To which block each feature belongs; "tabular" for those of tabular columns.
    penalty_of_features_ : ndarray of shape (n_features_out,), float
        1 for tabular features.
    feature_names_in_ : ndarray of str
    n_features_in_ : int

    Notes
    -----
    `search_space` has `penalties` ready for `OptunaSearch`.

    With `penalties`, the features of a block are divided by the square root of the block's penalty.
    A ridge penalty of one (``LogisticRegression(C=1)``, ``Ridge(alpha=1)``) then penalises the
    undivided features by exactly that number, whatever the learner. Learners that take penalties
    by feature get ``penalties=None`` here and find the blocks in the names of the features,
    ``<block>__<column>`` as `ColumnTransformer` writes them.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"age": [60.0, 70, 80], "place_a": [0, 0.25, 1], "place_b": [0, 0, 0.04]})
    >>> encoder = BlockEncoder(["age"], blocks={"place": "place_*"}, penalties={"place": 10.0})
    >>> encoder.fit(X).get_feature_names_out().tolist()
    ['tabular__age', 'place__place_a', 'place__place_b']
    >>> encoder.penalty_of_features_.tolist()
    [1.0, 10.0, 10.0]
    """

    tabular: object = parameter(
        None,
        Each(str, least=0),
        None,
        first=True,
        kind="sequence of str or None",
        doc="""
        Columns that `TabularEncoder` encodes: missing values imputed, standardised, one-hot. None:
        all that are in no block.
        """,
    )
    blocks: object = parameter(
        None,
        dict,
        None,
        kind="dict of str to (str or sequence of str), or None",
        doc="""
        Name of the block to its columns: their names, or a pattern with ``*`` that they match.
        """,
    )
    penalties: object = parameter(
        None,
        dict,
        None,
        kind="dict of str to float, or None",
        doc="Name of the block to its ridge penalty; 1 for those that are not named. See Notes.",
    )
    log: object = parameter(
        (),
        Each(str, least=0),
        kind="sequence of str",
        doc="""
        Tabular columns of which ``log(1 + value)`` is encoded, such as "nihss": from 2 to 4 points
        the outcome changes more than from 22 to 24. Values must not be negative.
        """,
    )
    root: object = parameter(
        "square",
        StrOptions({"square", "cube"}),
        dict,
        None,
        kind='{"square", "cube"}, None, or dict of str to these',
        doc="See `BlockScaler`; a dict says it block by block.",
    )
    length: float = parameter(float(np.sqrt(10)), POSITIVE, doc="See `BlockScaler`.")

    def fit(self, X, y=None):
        """Learn medians, categories, centres and scales from the training patients.

        Parameters
        ----------
        X : DataFrame with the columns; or array-like, where none are declared
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        CohortError
            If a column is missing, stands in two blocks, or holds what it must not; if a block
            has no column, or a penalty no block.
        ValueError
            If a parameter has a wrong type or value.
        """
        self._validate_params()
        given = self.blocks or {}
        declared = None if self.tabular is None and not given else self._declared(X, given)
        table = declared_table(self, X, declared, reset=True)
        check_training(table, y)
        self.blocks_ = {name: _members(table, name, members) for name, members in given.items()}
        self._check(table)
        inside = {column for columns in self.blocks_.values() for column in columns}
        columns = self.tabular
        if columns is None:
            columns = [name for name in table.columns if name not in inside]
        self._tabular = list(columns)
        if not self._tabular and not self.blocks_:
            raise CohortError("tabular is empty and there is no block; name at least one column")
        self.encoder_ = None
        if self._tabular:
            self.encoder_ = TabularEncoder(self._tabular).fit(self._logged(table))
        self.scalers_ = {
            name: BlockScaler(root=self._root(name), length=self.length).fit(
                self._block(table, columns)
            )
            for name, columns in self.blocks_.items()
        }
        encoded = [] if self.encoder_ is None else self.encoder_.get_feature_names_out().tolist()
        owners = ["tabular"] * len(encoded)
        self._features = [f"tabular__{name}" for name in encoded]
        for name, columns in self.blocks_.items():
            owners += [name] * len(columns)
            self._features += [f"{name}__{column}" for column in columns]
        penalties = {"tabular": 1.0, **(self.penalties or {})}
        self.block_of_features_ = np.array(owners, dtype=object)
        self.penalty_of_features_ = np.array([float(penalties.get(one, 1.0)) for one in owners])
        return self

    def transform(self, X):
        """Encode patients; ndarray of shape (n_patients, n_features)."""
        check_is_fitted(self, "scalers_")
        declared = None
        if self.tabular is not None or self.blocks:
            declared = [*self._tabular, *(c for columns in self.blocks_.values() for c in columns)]
        table = declared_table(self, X, declared, reset=False)
        if declared is None:  # as many as in fit; an array has no names
            table = table.set_axis(self._tabular, axis=1)
        parts = [] if self.encoder_ is None else [self.encoder_.transform(self._logged(table))]
        for name, columns in self.blocks_.items():
            parts.append(self.scalers_[name].transform(self._block(table, columns)))
        return np.hstack(parts) / np.sqrt(self.penalty_of_features_)

    def get_feature_names_out(self, input_features=None):
        """Names ``<block>__<column>``; with declared columns `input_features` is ignored."""
        check_is_fitted(self, "scalers_")
        if self.tabular is None and not self.blocks:
            _check_feature_names_in(self, input_features)
        return np.array(self._features, dtype=object)

    def _declared(self, X, given):
        """The columns that are used, in the order of the features."""
        check_cohort(X)
        members = [column for name in given for column in _members(X, name, given[name])]
        if self.tabular is not None:
            return [*self.tabular, *members]
        return [*(name for name in X.columns if name not in members), *members]

    def _check(self, table):
        seen = dict.fromkeys(self.tabular or (), "tabular")
        for name, columns in self.blocks_.items():
            if name == "tabular" or "__" in name:
                raise CohortError(
                    f"a block cannot be called {name!r}: 'tabular' is taken, and two underscores "
                    "part the block from its columns; choose another name"
                )
            for column in columns:
                if column in seen:
                    raise CohortError(
                        f"column {column!r} is in block {name!r} and in {seen[column]!r}; leave it "
                        "in one of them"
                    )
                seen[column] = name
        for name, penalty in (self.penalties or {}).items():
            if name not in self.blocks_:
                raise CohortError(
                    f"penalties name a block {name!r}; there is {', '.join(self.blocks_) or 'none'}"
                )
            if not isinstance(penalty, (int, float, np.number)) or not penalty > 0:
                raise ValueError(f"the penalty of block {name!r} must be above 0, got {penalty!r}")
        strays = [
            name for name in self.log if self.tabular is not None and name not in self.tabular
        ]
        if strays:
            raise CohortError(f"log names {strays[0]!r}, which is not among the tabular columns")

    def _root(self, name):
        return self.root.get(name) if isinstance(self.root, dict) else self.root

    def _logged(self, table):
        """The tabular columns, logarithms taken."""
        table = table[self._tabular].copy(deep=False)
        for name in self.log:
            if column_kind(table[name]) != NUMBER:
                raise CohortError(f"column {name!r} holds no numbers, so log cannot be taken of it")
            values = as_numbers(table[name]).astype(float)
            if (values < 0).any():
                row = values.index[values < 0].tolist()[0]
                raise CohortError(
                    f"row {row!r}, column {name!r}: found {values[row]:.4g}, of which no logarithm "
                    "is taken; take the column out of log, or correct the value"
                )
            table[name] = np.log1p(values)
        return table

    def _block(self, table, columns):
        block = table[columns]
        try:
            block = block.astype(float)
        except (TypeError, ValueError) as error:
            wrong = next(c for c in columns if not pd.api.types.is_numeric_dtype(table[c]))
            raise CohortError(f"column {wrong!r} of a block holds no numbers ({error})") from error
        missing = block.isna()
        if missing.to_numpy().any():
            column = block.columns[missing.any()][0]
            row = block.index[missing[column]].tolist()[0]
            raise CohortError(
                f"row {row!r}, column {column!r}: no value, and blocks "
                f"are not imputed; drop such rows first: X = X.dropna(subset=[{column!r}])"
            )
        return block


def _members(X, name, members):
    """Columns of a block; a pattern takes them in the order of the table."""
    if isinstance(members, str):
        found = [c for c in X.columns if isinstance(c, str) and fnmatch.fnmatchcase(c, members)]
        if not found:
            raise CohortError(
                f"no column matches {members!r}, the pattern of block {name!r}; the step that "
                "makes these columns comes before this one"
            )
        return found
    found = list(members)
    if not found:
        raise CohortError(f"block {name!r} has no columns; name some, or leave the block out")
    check_cohort(X, found)
    return found
