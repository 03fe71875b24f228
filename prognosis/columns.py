"""The columns of a cohort: which exist, what their images hold, how tabular values become numbers.

Everything that meets a patient table goes through here, so that one wording names the row, the
column, what was found and what to do.
"""

import warnings

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from imaging.errors import ImageError

from .errors import CohortError

__all__ = ["TabularEncoder", "check_cohort", "map_images", "tabular_encoder"]


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
        If `X` is no DataFrame or has no rows, a column is missing or doubled, or a patient id
        occurs twice.
    """
    if not isinstance(X, pd.DataFrame):
        raise CohortError(
            f"found {type(X).__name__} where a DataFrame with one row per patient was expected; "
            "wrap it: pd.DataFrame(X, columns=[...], index=patient_ids)"
        )
    missing = [name for name in columns if name not in X.columns]
    if missing:
        raise CohortError(
            f"column {_listing(missing)} not found; the table has {_listing(X.columns)}. "
            "Rename it with X.rename(columns={...}) or change the estimator's parameter"
        )
    doubled = [name for name in dict.fromkeys(columns) if (X.columns == name).sum() > 1]
    if doubled:
        raise CohortError(
            f"column {_listing(doubled)} occurs more than once; "
            "keep one: X = X.loc[:, ~X.columns.duplicated()]"
        )
    if not X.index.is_unique:
        row = X.index[X.index.duplicated()][0]
        raise CohortError(
            f"row {row!r} occurs {int((X.index == row).sum())} times in the index; patient ids "
            "must be unique: X = X[~X.index.duplicated()], or X.reset_index(drop=True)"
        )
    return X


def map_images(read, X, column, *, n_jobs=None):
    """Apply `read` to every image of a column, in row order.

    Parameters
    ----------
    read : callable
        Takes what the cell holds (a path or a nibabel image).
    X : DataFrame
    column : str
    n_jobs : int, default=None
        Threads that read in parallel (decompression releases the interpreter lock).

    Returns
    -------
    list

    Raises
    ------
    CohortError
        Whatever is wrong with an image, with its row and column in front; also for a missing cell.
    """

    def one(row, cell):
        if cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell)):
            raise CohortError(
                f"row {row!r}, column {column!r}: no image; "
                f"drop such rows first: X = X.dropna(subset=[{column!r}])"
            )
        try:
            return read(cell)
        except ImageError as error:
            raise CohortError(f"row {row!r}, column {column!r}: {error}") from error

    cells = X[column]
    return Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(one)(row, cell) for row, cell in zip(cells.index, cells, strict=True)
    )


def tabular_encoder(X, columns):
    """Make the unfitted transformer that turns tabular columns into numbers.

    Numeric and boolean columns: missing values become the median, with an indicator column where
    values were missing during fit, then zero mean and unit variance. Every other column: missing is
    a category of its own, then one-hot. A category that was not seen during fit is encoded as all
    zeros; `TabularEncoder` also warns of it.

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
        If a column is missing, holds images, or holds infinite values.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = list(columns)
    check_cohort(X, columns)
    _check_values(X, columns)
    numeric = [name for name in columns if _is_numeric(X[name])]
    categorical = [name for name in columns if name not in numeric]
    scale = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )
    encode = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    return ColumnTransformer(
        [("numeric", scale, numeric), ("categorical", encode, categorical)],
        verbose_feature_names_out=False,
    )


def _is_numeric(values):
    return pd.api.types.is_numeric_dtype(values.dtype)


def _check_values(X, columns):
    for name in columns:
        if _is_numeric(X[name]):
            values = X[name].to_numpy(dtype=float, na_value=np.nan)
            if np.isinf(values).any():
                row = X.index[np.isinf(values)][0]
                raise CohortError(
                    f"row {row!r}, column {name!r}: found an infinite value; correct it or make it "
                    "missing: X = X.replace([np.inf, -np.inf], np.nan)"
                )
        elif any(hasattr(cell, "affine") for cell in X[name].iloc[:20]):
            raise CohortError(
                f"column {name!r} holds images; declare it as image={name!r}, not as tabular"
            )


def _listing(names):
    names = [repr(name) for name in names]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


class TabularEncoder(TransformerMixin, BaseEstimator):
    """Select tabular columns and turn them into numbers: impute, encode, scale.

    `tabular_encoder` as a transformer that looks at the types of the columns when it is fitted, so
    that it can stand in a Pipeline and be learnt inside every fold.

    Parameters
    ----------
    columns : sequence of str
        Columns to encode; others may be present and are ignored.

    Attributes
    ----------
    encoder_ : sklearn.compose.ColumnTransformer
    feature_names_in_ : ndarray of shape (n_columns,)
        The columns that are used.
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

    def __init__(self, columns):
        self.columns = columns

    def fit(self, X, y=None):
        """Learn medians, categories and scales from the training patients."""
        columns = list(self.columns)
        if not columns:
            raise CohortError("columns is empty; name at least one tabular column")
        encoder = tabular_encoder(X, columns)
        self.encoder_ = encoder.fit(X[columns])
        self.feature_names_in_ = np.asarray(columns, dtype=object)
        self.n_features_in_ = len(columns)
        return self

    def transform(self, X):
        """Encode patients; ndarray of shape (n_patients, n_features)."""
        check_is_fitted(self)
        columns = self.feature_names_in_.tolist()
        check_cohort(X, columns)
        _check_values(X, columns)
        self._warn_of_unseen(X)
        return self.encoder_.transform(X[columns])

    def _warn_of_unseen(self, X):
        _, categorical, names = self.encoder_.transformers_[1]
        if not names:
            return
        for name, known in zip(names, categorical[-1].categories_, strict=True):
            unseen = X[name].notna() & ~X[name].isin(known)
            if unseen.any():
                warnings.warn(
                    f"row {X.index[unseen][0]!r}, column {name!r}: category "
                    f"{X.loc[unseen, name].iloc[0]!r} was not seen during fit (known: "
                    f"{_listing(known)}); it counts as none of them",
                    UserWarning,
                    stacklevel=3,
                )

    def get_feature_names_out(self, input_features=None):
        """Names of the encoded features; `input_features` is ignored."""
        check_is_fitted(self)
        return self.encoder_.get_feature_names_out()
