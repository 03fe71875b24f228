"""The columns of a cohort: which exist, whose outcome is given, what their images hold.

Everything that meets a patient table goes through here, so that one wording names the row, the
column, what was found and what to do. What tabular cells mean is in `cells`.
"""

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.utils.validation import (
    _check_feature_names_in,
    _num_samples,
    check_is_fitted,
    validate_data,
)

from imaging.errors import ImageError
from imaging.parameters import Each, parameter, parameters

from .cells import (
    NUMBER,
    TEXT,
    as_numbers,
    as_text,
    check_outcome_values,
    column_kind,
    is_missing,
    listing,
    nearest,
    refuse_new_numbers,
    warn_of_unseen,
)
from .errors import CohortError
from .oddities import refuse_oddities, warn_of_oddities
from .scaling import RareSafeScaler

__all__ = [
    "TabularEncoder",
    "TakesTables",
    "check_cohort",
    "check_outcome_index",
    "check_training",
    "declared_table",
    "map_images",
    "tabular_encoder",
]


def check_cohort(X, columns=()):
    """Check that `X` is a usable patient table that holds `columns`.

    Parameters
    ----------
    X : DataFrame
        One row per patient; the index holds patient ids.
    columns : iterable of str
        Columns that must exist.

    Returns
    -------
    DataFrame
        `X` itself, never changed.

    Raises
    ------
    CohortError
        If `X` is no DataFrame, a column is missing or doubled, or a patient id occurs twice.
    """
    if not isinstance(X, pd.DataFrame):
        raise CohortError(
            f"found {type(X).__name__} where a DataFrame with one row per patient was expected; "
            "wrap it: pd.DataFrame(X, columns=[...], index=patient_ids)"
        )
    missing = [name for name in columns if name not in X.columns]
    if missing:
        meant = nearest(missing[0], X.columns) or "."
        raise CohortError(
            f"column {listing(missing)} not found; the table has {listing(X.columns)}{meant} "
            "Rename it with X.rename(columns={...}) or change the estimator's parameter"
        )
    doubled = [name for name in dict.fromkeys(columns) if (X.columns == name).sum() > 1]
    if doubled:
        raise CohortError(
            f"column {listing(doubled)} occurs more than once; "
            "keep one: X = X.loc[:, ~X.columns.duplicated()]"
        )
    if not X.index.is_unique:
        row = X.index[X.index.duplicated()].tolist()[0]
        raise CohortError(
            f"row {row!r} occurs {int((X.index == row).sum())} times in the index; patient ids "
            "must be unique: X = X[~X.index.duplicated()], or X.reset_index(drop=True)"
        )
    return X


def check_training(X, y=None):
    """Check that there are patients to learn from, and that an outcome, if given, is theirs.

    Parameters
    ----------
    X : DataFrame or array-like
    y : array-like of shape (n_patients,) or None

    Raises
    ------
    CohortError
        If there is no patient; if `y` has another length or index, is a table or a text, or lacks
        an outcome.
    """
    if isinstance(X, pd.DataFrame) and not len(X):
        raise CohortError(
            "the table has no rows, so there is nobody to learn from; look at what selected them"
        )
    if y is None:
        return
    if isinstance(y, str):
        raise CohortError(
            f"found the text {y!r} where the outcome of every patient was expected; give the "
            f"column itself: y = X[{y!r}]"
        )
    if isinstance(y, pd.DataFrame) and y.shape[1] != 1:
        raise CohortError(
            f"y is a table of {y.shape[1]} columns ({listing(y.columns)}) where one outcome was "
            f"expected; give one column: y = y[{y.columns[0]!r}]"
        )
    if isinstance(X, pd.DataFrame) and len(X) != _num_samples(y):
        raise CohortError(f"X has {len(X)} rows and y {_num_samples(y)}; select y.loc[X.index]")
    check_outcome_index(X, y)
    missing = pd.isna(y)
    if np.ndim(missing) and np.any(missing) and isinstance(X, pd.DataFrame):
        row = X.index[np.flatnonzero(missing)].tolist()[0]
        raise CohortError(
            f"row {row!r}, y: the outcome is missing in {int(np.sum(missing))} rows; "
            "drop them first: X, y = X[y.notna()], y.dropna()"
        )
    check_outcome_values(X, y)


def check_outcome_index(X, y):
    """Check that an outcome belongs to the patients of a table, in their order.

    Parameters
    ----------
    X : DataFrame or array-like
    y : Series or array-like
        Without an index on both sides there is nothing to compare.

    Raises
    ------
    CohortError
        If `y` holds the patients of `X` in another order, or other patients.
    """
    if not isinstance(y, (pd.Series, pd.DataFrame)) or not isinstance(X, pd.DataFrame):
        return
    if y.index.equals(X.index):
        return
    strays = y.index[~y.index.isin(X.index)]
    if len(strays):
        raise CohortError(
            f"y has a row {strays.tolist()[0]!r} that X has not; use the same patient ids"
        )
    lacking = X.index[~X.index.isin(y.index)]
    if len(lacking):
        raise CohortError(
            f"X has a row {lacking.tolist()[0]!r} that y has not; use the same patient ids"
        )
    raise CohortError("y is in another order than X; sort it: y = y.loc[X.index]")


def declared_table(transformer, X, columns, *, reset):
    """The table that a transformer of tabular columns sees.

    Parameters
    ----------
    transformer : estimator
        Gets ``n_features_in_`` and, for a table, ``feature_names_in_`` with `reset`.
    X : DataFrame; or array-like of shape (n_patients, n_features) where no columns are declared
    columns : sequence of str or None
        Columns that it declares; None stands for all.
    reset : bool
        Whether this is `fit`.

    Returns
    -------
    DataFrame
        The columns ``x0``, ``x1``, ... if `X` is an array.
    """
    if columns is not None:
        check_cohort(X, columns)
        if reset:
            transformer.feature_names_in_ = np.asarray(columns, dtype=object)
            transformer.n_features_in_ = len(columns)
        return X
    if isinstance(X, pd.DataFrame):
        check_cohort(X, X.columns)
        validate_data(transformer, X, reset=reset, skip_check_array=True)
        return X
    X = validate_data(transformer, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
    return pd.DataFrame(X, columns=[f"x{number}" for number in range(X.shape[1])])


def map_images(read, X, column, *, n_jobs=None, numbered=False):
    """Apply `read` to every image of a column, in row order.

    Parameters
    ----------
    read : callable
        Takes what the cell holds (a path or a nibabel image).
    X : DataFrame
    column : str
    n_jobs : int, default=None
        Threads that read in parallel (decompression releases the interpreter lock), or what
        ``joblib.parallel_config`` names: with Dask or Ray, images are read all over the cluster.
    numbered : bool, default=False
        Hand `read` the number of the row, too, from 0. It is then taken to put what it reads into
        its place in memory, and is called by threads of this process only.

    Returns
    -------
    list

    Raises
    ------
    CohortError
        Whatever is wrong with an image, with its row and column in front; also for a missing cell.
    """

    def one(number, row, cell):
        if is_missing(cell):
            raise CohortError(
                f"row {row!r}, column {column!r}: no image; "
                f"drop such rows first: X = X.dropna(subset=[{column!r}])"
            )
        try:
            return read(cell, number) if numbered else read(cell)
        except ImageError as error:
            raise CohortError(f"row {row!r}, column {column!r}: {error}") from error

    cells = X[column]
    return Parallel(n_jobs=n_jobs, prefer="threads", require="sharedmem" if numbered else None)(
        delayed(one)(number, row, cell)
        for number, (row, cell) in enumerate(zip(cells.index, cells, strict=True))
    )


def tabular_encoder(X, columns):
    """Make the unfitted transformer that turns tabular columns into numbers.

    Numeric and boolean columns: missing values become the median, with an indicator column where
    values were missing during fit, then zero mean and unit variance, but for columns that are
    mostly one value, see `prognosis.scaling.RareSafeScaler`. Every other column: missing is a
    category of its own, then one-hot. A category that was not seen during fit is encoded as all
    zeros, with a warning. What a column holds counts, not how pandas stores it: objects, nullable
    and Arrow types are numbers where all values are numbers or truth values, and a categorical
    column holds text, whose category 1 is "1".

    Parameters
    ----------
    X : DataFrame
        Only the types of its columns are looked at.
    columns : sequence of str

    Returns
    -------
    sklearn.compose.ColumnTransformer
        Fit it inside the fold.

    Raises
    ------
    CohortError
        If a column is missing, holds images, arrays, dates or durations, or infinite values, holds
        numbers but for a few texts ("89+"), or text that is different in every row, as identifiers
        are; when it transforms, also if a column of numbers now holds text, or one of text numbers.

    Warns
    -----
    UserWarning
        If a value looks like a code for a missing one (-1, 999, "unk"), or values are larger than
        the unit of the column allows.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"age": [60.0, 70.0, None], "sex": ["F", "M", "F"]})
    >>> encoder = tabular_encoder(X, ["age", "sex"]).fit(X)
    >>> encoder.transform(X).shape, list(encoder.get_feature_names_out())
    ((3, 4), ['age', 'missingindicator_age', 'sex_F', 'sex_M'])
    """
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = list(columns)
    check_cohort(X, columns)
    numeric = [name for name in columns if column_kind(X[name]) == NUMBER]
    categorical = [name for name in columns if name not in numeric]
    for name in numeric:
        as_numbers(X[name])  # refuses infinite values before anything is fitted
    for name in categorical:
        refuse_oddities(X[name])
    warn_of_oddities(X, columns, stacklevel=3)
    scale = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        RareSafeScaler(),
    )
    encode = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing", keep_empty_features=True),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    return _TypedColumns(
        [("numeric", scale, numeric), ("categorical", encode, categorical)],
        verbose_feature_names_out=False,
    )


class _TypedColumns(ColumnTransformer):
    """Bring columns into one type for each kind, as learnt in fit, before they are encoded."""

    def fit_transform(self, X, y=None, **params):
        check_cohort(X, self._names("numeric") + self._names("categorical"))
        self._kinds = {name: column_kind(X[name]) for name in self._names("categorical")}
        return super().fit_transform(self._typed(X, fitting=True), y, **params)

    def transform(self, X, **params):
        check_is_fitted(self)
        check_cohort(X, self._names("numeric") + self._names("categorical"))
        return super().transform(self._typed(X, fitting=False), **params)

    def _names(self, part):
        return next(list(names) for name, _, names in self.transformers if name == part)

    def _typed(self, X, fitting):
        typed = X.copy(deep=False)
        for name in self._names("numeric"):
            column = X[name]
            column_kind(column)  # names pictures and times for what they are
            numbers = as_numbers(column)
            if numbers is not column:
                typed[name] = numbers
        for place, name in enumerate(self._names("categorical")):
            column, text = X[name], as_text(X[name])
            if not fitting:
                known = self.named_transformers_["categorical"][-1].categories_[place]
                if self._kinds[name] == TEXT:
                    refuse_new_numbers(column, text, known)
                warn_of_unseen(text, known, "it counts as none of them")
            typed[name] = text
        return typed


class TakesTables:
    """Mixin of transformers: a table may hold text, categories and missing values."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


@parameters
class TabularEncoder(TakesTables, TransformerMixin, BaseEstimator):
    """Select tabular columns and turn them into numbers: impute, encode, scale.

    `tabular_encoder` as a transformer that looks at the types of the columns when it is fitted, so
    that it can stand in a Pipeline and be learnt inside every fold. Columns of numbers get mean 0
    and variance 1, but for those that are mostly one value: region loads and other shares, most of
    them 0, are only centred, and what hardly anybody has is not blown up, see
    `prognosis.scaling.RareSafeScaler`.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    encoder_ : sklearn.compose.ColumnTransformer
    feature_names_in_ : ndarray of shape (n_columns,)
        The columns that are used; not there after an array.
    n_features_in_ : int

    Raises
    ------
    CohortError
        In `fit` and `transform`, as `check_cohort` and `tabular_encoder`; also if there is no
        column.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"age": [60.0, 70.0, None], "sex": ["F", "M", "F"], "site": [1, 2, 3]})
    >>> encoder = TabularEncoder(["age", "sex"]).fit(X)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'missingindicator_age', 'sex_F', 'sex_M']
    >>> encoder.transform(X)[0].round(2).tolist()
    [-1.22, -0.71, 1.0, 0.0]
    """

    columns: object = parameter(
        None,
        Each(least=0),
        None,
        first=True,
        kind="sequence of str or None",
        doc="""
        Columns to encode; others may be present and are ignored. None encodes all; `X` may then
        be a plain array, whose columns are called ``x0``, ``x1``, ... .
        """,
    )

    def fit(self, X, y=None):
        """Learn medians, categories and scales from the training patients."""
        self._validate_params()
        columns = None if self.columns is None else list(self.columns)
        table = declared_table(self, X, columns, reset=True)
        columns = table.columns.tolist() if columns is None else columns
        if not columns:
            raise CohortError("columns is empty; name at least one tabular column")
        check_training(table, y)
        self.encoder_ = tabular_encoder(table, columns).fit(table[columns])
        self._columns = columns
        return self

    def transform(self, X):
        """Encode patients; ndarray of shape (n_patients, n_features)."""
        check_is_fitted(self, "encoder_")
        table = declared_table(
            self, X, None if self.columns is None else self._columns, reset=False
        )
        if self.columns is None:  # as many as in fit; an array has no names
            table = table.set_axis(self._columns, axis=1)
        return self.encoder_.transform(table[self._columns])

    def get_feature_names_out(self, input_features=None):
        """Names of the encoded features; with declared columns `input_features` is ignored."""
        check_is_fitted(self, "encoder_")
        if self.columns is None:
            _check_feature_names_in(self, input_features)
        return self.encoder_.get_feature_names_out()
