"""Tabular columns scaled for drawing: which symbol suits a column, and where a value lies on it.

What is learnt comes from training patients only; `imaging.draw_symbols` does the drawing.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from imaging.parameters import Each, parameter, parameters
from imaging.symbols import LOOKS, Symbol

from .cells import (
    EMPTY,
    NUMBER,
    TEXT,
    as_numbers,
    as_text,
    column_kind,
    refuse_new_numbers,
    warn_of_unseen,
)
from .columns import TakesTables, declared_table
from .errors import CohortError
from .oddities import refuse_oddities

__all__ = ["SymbolScaler"]

MOST_LEVELS = 12  # whole numbers with more values than this are drawn as continuous
QUANTILES = (0.01, 0.99)


@parameters
class SymbolScaler(TakesTables, TransformerMixin, BaseEstimator):
    """Scale tabular columns to [0, 1] for symbols; missing stays missing.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    symbols_ : list of imaging.Symbol
    scales_ : dict of str to (low, high) or to ndarray of levels
    feature_names_in_ : ndarray of str
        Not there after an array.
    n_features_in_ : int

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"lesion_ml": [1.5, 20.5, 80.0, None], "sex": ["F", "M", "F", "F"]})
    >>> scaler = SymbolScaler(["lesion_ml", "sex"], limits={"lesion_ml": (0, 50)}).fit(X)
    >>> [symbol.look for symbol in scaler.symbols_]
    ['radius', 'fill']
    >>> scaler.transform(X).round(2).tolist()
    [[0.03, 0.0], [0.41, 1.0], [1.0, 0.0], [nan, 0.0]]
    """

    columns: object = parameter(
        None,
        Each(least=0),
        Mapping,
        None,
        first=True,
        kind="sequence of str, dict of str to str, or None",
        doc="""
        Columns to draw, in this order. A dict gives the look of each: "radius", "angle" or "grey"
        for numbers, "wedges" for ordered levels, "fill" for two values, "glyph" for categories,
        "auto" to choose. A sequence chooses for all: two values are a "fill"; whole numbers of at
        most 12 values and ordered categories "wedges"; other numbers take turns in being "radius"
        and "angle"; everything else is a "glyph". None draws all columns; `X` may then be a plain
        array, whose columns are called ``x0``, ``x1``, ... .
        """,
    )
    limits: object = parameter(
        None,
        Mapping,
        None,
        kind="dict of str to (low, high)",
        doc="""
        Where a continuous column ends, in its own units; by default at the first and the
        ninety-ninth percentile of the training patients. Values beyond are clipped.
        """,
    )

    def fit(self, X, y=None):
        """Learn kinds, levels and ranges from the training patients.

        Raises
        ------
        CohortError
            If a column is missing, holds images or infinite values, or cannot have its look.
        ValueError
            If a look is unknown or limits are not in ascending order.
        """
        self._validate_params()
        declared = None if self.columns is None else list(self.columns)
        X = declared_table(self, X, declared, reset=True)
        columns = X.columns.tolist() if declared is None else declared
        if not columns:
            raise CohortError("columns is empty; name at least one column to draw")
        looks = dict(self.columns) if isinstance(self.columns, Mapping) else {}
        self.symbols_, self.scales_, self._kinds, turns = [], {}, {}, 0
        for name in columns:
            look = looks.get(name, "auto")
            kind = self._kinds[name] = column_kind(X[name])
            refuse_oddities(X[name])
            if look == "auto":
                look = _choose(X[name], kind)
                if look == "radius":
                    look, turns = ("radius", "angle")[turns % 2], turns + 1
            if look not in LOOKS:
                raise ValueError(f"column {name!r}: look must be among {list(LOOKS)}, got {look!r}")
            scale, levels = self._scale(X[name], kind, look), 2
            if isinstance(scale, np.ndarray):
                levels = max(2, len(scale))
            self.scales_[name] = scale
            self.symbols_.append(Symbol(name, look, levels))
        return self

    def transform(self, X):
        """Positions of patients on the scales, ndarray of shape (n_patients, n_columns).

        A category that was not seen in fit becomes missing, with a warning.
        """
        check_is_fitted(self, "scales_")
        declared = None if self.columns is None else list(self.columns)
        X = declared_table(self, X, declared, reset=False)
        if self.columns is None:  # as many as in fit; an array has no names
            X = X.set_axis(list(self.scales_), axis=1)
        return np.stack([self._positions(X[name], name) for name in self.scales_], axis=1)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns; where they are declared `input_features` is ignored."""
        check_is_fitted(self, "scales_")
        if self.columns is None:
            return _check_feature_names_in(self, input_features)
        return self.feature_names_in_

    def _scale(self, column, kind, look):
        if LOOKS[look] == "continuous":
            if kind not in (NUMBER, EMPTY):
                raise CohortError(
                    f"column {column.name!r} holds {column.dtype} values, which cannot be drawn as "
                    f'{look!r}; use "glyph", or make it numeric with pd.to_numeric'
                )
            values = _numbers(column)
            given = (self.limits or {}).get(column.name)
            if given is not None:
                low, high = given
                if not low < high:
                    raise ValueError(f"column {column.name!r}: limits must ascend, got {given!r}")
                return float(low), float(high)
            values = values[~np.isnan(values)]
            return tuple(np.quantile(values, QUANTILES).tolist()) if len(values) else (0.0, 1.0)
        levels = _levels(column, kind)
        if look == "fill" and len(levels) > 2:
            raise CohortError(
                f'column {column.name!r} has {len(levels)} values where "fill" needs two; '
                'use "wedges" or "glyph"'
            )
        return levels

    def _positions(self, column, name):
        scale = self.scales_[name]
        if isinstance(scale, tuple):
            low, high = scale
            values = _numbers(column)
            if high == low:
                return np.where(np.isnan(values), np.nan, 0.5 + 0.5 * np.sign(values - low))
            return np.clip((values - low) / (high - low), 0, 1)
        places = np.arange(len(scale)) / max(1, len(scale) - 1)
        if scale.dtype.kind == "f":
            values = _numbers(column)
            return np.interp(values, scale, places) if len(scale) else np.full(len(column), np.nan)
        text = as_text(column)
        if self._kinds[name] == TEXT:
            refuse_new_numbers(column, text, scale)
        warn_of_unseen(text, scale, "it is drawn as missing")
        return text.map(dict(zip(scale.tolist(), places, strict=True))).to_numpy(dtype=float)


def _choose(column, kind):
    levels = _levels(column, kind)
    if len(levels) <= 2:
        return "fill"
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "wedges" if column.cat.ordered else "glyph"
    if kind != NUMBER:
        return "glyph"
    whole = np.array_equal(levels, np.round(levels))
    return "wedges" if whole and len(levels) <= MOST_LEVELS else "radius"


def _levels(column, kind):
    """Sorted values: float64 for numbers, text for categories (ordered ones in their order)."""
    if kind == NUMBER:
        values = _numbers(column)
        return np.unique(values[~np.isnan(values)])
    if isinstance(column.dtype, pd.CategoricalDtype):
        return as_text(pd.Series(column.cat.categories, name=column.name)).unique()
    return np.array(sorted(as_text(column).dropna().unique()), dtype=object)


def _numbers(column):
    column_kind(column)  # names pictures and times for what they are
    return as_numbers(column).to_numpy(dtype=float, na_value=np.nan)
