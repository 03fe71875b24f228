"""What the cells of a tabular column are: numbers, categories, missing, or of no use.

pandas stores the same values in many ways (NumPy, nullable, Arrow, categorical, plain objects);
what they mean is decided here, once for every transformer and splitter.
"""

import datetime
import difflib
import math
import re
import warnings
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real

import numpy as np
import pandas as pd

from .errors import CohortError

__all__ = [
    "EMPTY",
    "LARGEST_OUTCOME",
    "MIXED",
    "NUMBER",
    "TEXT",
    "as_numbers",
    "as_text",
    "cell_text",
    "check_outcome_values",
    "column_kind",
    "days_of",
    "is_missing",
    "listing",
    "nearest",
    "refuse_new_numbers",
    "warn_of_unseen",
]

NUMBER = "number"  # numbers and truth values only
TEXT = "text"
MIXED = "mixed"  # categories some of which are numbers: codes, or numbers among words
EMPTY = "empty"  # no value at all, and no type that would tell what is missing

LARGEST_OUTCOME = 1e15  # beyond it squares and their sums lose what they count
_LARGEST = 1e30  # its square is still a number
_DAYS = '{values} - pd.Timestamp("2000-01-01"{zone})) / pd.Timedelta(days=1)'


def is_missing(cell):
    """Whether a cell holds nothing, whatever stands for that; of images, too, which pandas cannot.

    Examples
    --------
    >>> is_missing(None), is_missing(float("nan")), is_missing("scan.nii.gz")
    (True, True, False)
    """
    return cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell))


def column_kind(column):
    """Decide what a column holds, after a look at every cell.

    Parameters
    ----------
    column : Series

    Returns
    -------
    str
        `NUMBER`, `TEXT`, `MIXED` or `EMPTY`; the last three are read by `as_text`.

    Raises
    ------
    CohortError
        If it holds images, arrays, dates, durations or complex numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> column_kind(pd.Series([True, None, False], dtype=object))
    'number'
    >>> column_kind(pd.Series([1, 2, 1], dtype="category"))
    'mixed'
    """
    if _plain_number(column.dtype):
        return NUMBER
    _refuse_typed_times(column)
    if pd.api.types.is_numeric_dtype(column.dtype) and not _complex(column.dtype):
        return NUMBER
    numbers = [_is_number(cell) for cell in _usable_cells(column)]
    if not numbers:
        return EMPTY
    if isinstance(column.dtype, pd.CategoricalDtype):
        return MIXED if any(numbers) else TEXT
    return NUMBER if all(numbers) else MIXED if any(numbers) else TEXT


def as_numbers(column):
    """The values as numbers, missing ones as NaN.

    Parameters
    ----------
    column : Series

    Returns
    -------
    Series
        Itself if it is a NumPy column already, else float64.

    Raises
    ------
    CohortError
        If a value is no number, or infinite.
    """
    numbers = column if _plain_number(column.dtype) else _converted(column)
    values = numbers.to_numpy(dtype=float)
    infinite = np.isinf(values)
    if infinite.any():
        row = column.index[infinite].tolist()[0]
        raise CohortError(
            f"row {row!r}, column {column.name!r}: found an infinite value; "
            "correct it or make it missing: X = X.replace([np.inf, -np.inf], np.nan)"
        )
    large = np.abs(values) > _LARGEST
    if large.any():
        row = column.index[large].tolist()[0]
        raise CohortError(
            f"row {row!r}, column {column.name!r}: found {values[large][0]:.4g}, larger than "
            "anything that is measured; correct it or make it missing"
        )
    return numbers


def check_outcome_values(X, y):
    """Refuse outcomes that are infinite, or too large to calculate with.

    Parameters
    ----------
    X : DataFrame or array-like
    y : array-like

    Raises
    ------
    CohortError
        With the row.
    """
    values = np.asarray(y.iloc[:, 0] if isinstance(y, pd.DataFrame) else y)
    if values.dtype.kind != "f" or not isinstance(X, pd.DataFrame):
        return
    bad = np.abs(values.reshape(len(values), -1)).max(axis=1, initial=0) > LARGEST_OUTCOME
    if bad.any():
        raise CohortError(
            f"row {X.index[bad].tolist()[0]!r}, y: the outcome is {values[bad].ravel()[0]:.4g}, "
            f"where {-LARGEST_OUTCOME:g} to {LARGEST_OUTCOME:g} can be predicted; correct it, or "
            "leave the patient out"
        )


def as_text(column):
    """The values as categories: text, however they are stored, missing ones as NaN.

    Parameters
    ----------
    column : Series

    Returns
    -------
    Series of object

    Examples
    --------
    >>> import pandas as pd
    >>> as_text(pd.Series([1.0, None, 2.0], dtype="category")).tolist()
    ['1', nan, '2']
    """
    missing = column.isna().to_numpy()
    # A category is looked at once, not once for every patient.
    text = {}
    cells = np.full(len(column), np.nan, dtype=object)
    _usable_cells(column)
    for place, cell in enumerate(column.astype(object)):
        if not missing[place]:
            key = (type(cell), cell)
            if key not in text:
                text[key] = cell_text(cell)
            cells[place] = text[key]
    return pd.Series(cells, index=column.index, name=column.name, dtype=object)


def cell_text(cell):
    """One category as text: 1, 1.0 and "1" are the same."""
    if isinstance(cell, str):
        return str(cell)
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if isinstance(cell, (bool, np.bool_)):
        return str(bool(cell))
    if isinstance(cell, Integral):
        return str(int(cell))
    if _is_number(cell) and np.isfinite(float(cell)) and float(cell).is_integer():
        return str(int(cell))
    return str(float(cell)) if isinstance(cell, (Decimal, Fraction)) else str(cell)


def days_of(name):
    """The line of pandas that makes days of dates.

    Examples
    --------
    >>> print(days_of("on"))
    X['on'] = (pd.to_datetime(X['on']) - pd.Timestamp("2000-01-01")) / pd.Timedelta(days=1)
    """
    return f"X[{name!r}] = {_DAYS.format(values=f'(pd.to_datetime(X[{name!r}])', zone='')}"


def refuse_new_numbers(column, text, known):
    """Refuse numbers in a column that held nothing but words when it was learnt.

    Numbers whose text is among `known` pass: codes may be stored either way.

    Parameters
    ----------
    column : Series
    text : Series
        What `as_text` makes of it.
    known : sequence of str
    """
    unknown = (text.notna() & ~text.isin(list(known))).to_numpy()
    for row, cell in column[unknown].items():
        if _is_number(cell):
            raise CohortError(
                f"row {row!r}, column {column.name!r}: found the number {cell_text(cell)} where "
                f"categories were learnt ({listing(known)}); code it as in training, or correct "
                "the column"
            )


def warn_of_unseen(text, known, consequence):
    """Warn of a category that was not seen in training, and say what becomes of it."""
    unseen = (text.notna() & ~text.isin(list(known))).to_numpy()
    if unseen.any():
        warnings.warn(
            f"row {text.index[unseen].tolist()[0]!r}, column {text.name!r}: category "
            f"{text[unseen].iloc[0]!r} was not seen during fit (known: {listing(known)}); "
            f"{consequence}",
            UserWarning,
            stacklevel=4,
        )


def nearest(name, known):
    """A question after the name that was perhaps meant, or nothing.

    Examples
    --------
    >>> nearest("NIHSS", ["age", "nihss"]), nearest("T1", ["age", "nihss"])
    ("; did you mean 'nihss'?", '')
    """
    plain = {re.sub(r"[\W_]+", " ", str(one)).lower(): one for one in known}
    wanted = re.sub(r"[\W_]+", " ", str(name)).lower()
    close = difflib.get_close_matches(wanted, plain, n=1, cutoff=0.6)
    return f"; did you mean {plain[close[0]]!r}?" if close else ""


def listing(names):
    """Names in quotes, the first twenty of them."""
    names = [repr(name) for name in names]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _plain_number(dtype):
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf"


def _complex(dtype):
    return isinstance(dtype, np.dtype) and dtype.kind == "c"


def _is_number(cell):
    return isinstance(cell, (Real, Decimal, np.bool_))


def _converted(column):
    if pd.api.types.is_numeric_dtype(column.dtype) and not _complex(column.dtype):
        values = column.to_numpy(dtype=float, na_value=np.nan)
    else:
        cells, missing = column.astype(object), column.isna().to_numpy()
        values = np.full(len(column), np.nan)
        for place, (row, cell) in enumerate(cells.items()):
            if not missing[place]:
                values[place] = _number(row, column.name, cell)
    return pd.Series(values, index=column.index, name=column.name)


def _number(row, name, cell):
    if not _is_number(cell):
        raise CohortError(
            f"row {row!r}, column {name!r}: found {_shown(cell)} where numbers were learnt; "
            f'correct it, or make it missing: X[{name!r}] = pd.to_numeric(X[{name!r}], "coerce")'
        )
    try:
        return float(cell)
    except OverflowError:  # an integer beyond all floats
        return np.inf


def _usable_cells(column):
    """Every value that is not missing, each category once; raises if one cannot be used."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.drop_duplicates()
    column = column[column.notna().to_numpy()]
    cells = column.astype(object)
    for row, cell in cells.items():
        if hasattr(cell, "affine"):
            raise CohortError(
                f"column {column.name!r} holds images; declare it as image={column.name!r}, "
                "not as tabular"
            )
        if _remedy(column, cell) is not None:
            _refuse_time(column, cell, f"row {row!r}, column {column.name!r}: found {_shown(cell)}")
        if isinstance(cell, (complex, np.complexfloating)) or not pd.api.types.is_scalar(cell):
            raise CohortError(
                f"row {row!r}, column {column.name!r}: found {_shown(cell)} where one number or "
                "one category was expected; make it such, or declare the column as "
                f"image={column.name!r} if it holds pictures"
            )
    return cells.tolist()


def _shown(cell):
    text = " ".join((repr(cell) if isinstance(cell, str) else str(cell)).split())
    return f"the {type(cell).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


def _refuse_typed_times(column):
    """Dates and durations by type, so that a column of missing ones is refused, too."""
    types = pd.api.types
    sample = None
    if types.is_datetime64_any_dtype(column.dtype):
        sample = pd.Timestamp(0, tz=getattr(column.dtype, "tz", None))
    elif types.is_timedelta64_dtype(column.dtype):
        sample = pd.Timedelta(0)
    elif isinstance(column.dtype, pd.PeriodDtype):
        sample = pd.Period("2000")
    if sample is not None and not column.notna().any():
        _refuse_time(column, sample, f"column {column.name!r} is of type {column.dtype}")


def _refuse_time(column, cell, found):
    raise CohortError(
        f"{found}, and times are neither numbers nor categories; count days or seconds: "
        f"{_remedy(column, cell)}"
    )


def _remedy(column, cell):
    """The line of pandas that makes numbers of times; None where there is no time."""
    name = f"X[{column.name!r}]"
    plain = f"{name}.astype(object)" if isinstance(column.dtype, pd.CategoricalDtype) else name
    if isinstance(cell, pd.Period):
        days = _DAYS.format(values=f"(pd.PeriodIndex({plain}).to_timestamp()", zone="")
        return f"{name} = {days}"
    if isinstance(cell, (datetime.timedelta, np.timedelta64)):
        return f"{name} = pd.to_timedelta({plain}).dt.total_seconds()"
    if isinstance(cell, datetime.time):
        return f'{name} = pd.to_timedelta({name}.astype(str), errors="coerce").dt.total_seconds()'
    if isinstance(cell, (datetime.date, np.datetime64)):
        aware = getattr(cell, "tzinfo", None) is not None
        utc, zone = (", utc=True", ', tz="UTC"') if aware else ("", "")
        days = _DAYS.format(values=f"(pd.to_datetime({plain}{utc})", zone=zone)
        return f"{name} = {days}"
    return None
