"""What a tabular column holds that its owner hardly meant: texts among numbers, ids, codes, units.

What would silently make a model worse is refused, with the line of pandas that mends it; what only
looks wrong is pointed out in a warning, once for a comparison.
"""

import contextlib
import contextvars
import math
import re
import warnings

import numpy as np
import pandas as pd

from imaging.volumes import PICTURE_SUFFIXES

from .cells import EMPTY, NUMBER, as_numbers, cell_text, column_kind, days_of, listing
from .errors import CohortError

__all__ = [
    "numeric_column",
    "oddities_told",
    "refuse_oddities",
    "texts_among_numbers",
    "warn_of_oddities",
]

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".mgz", ".mgh", ".img", ".hdr", *PICTURE_SUFFIXES)
FEWEST = 10  # rows from which a column can be judged by all its values
MISSING_TEXTS = (
    "", "-", "--", ".", "?", "n/a", "na", "nan", "null", "missing", "unk", "unknown", "not known",
    "not available", "n.a.",
)  # fmt: skip
MISSING_CODES = (-1, -9, -77, -88, -99, -999, -9999, 99, 777, 888, 999, 7777, 8888, 9999, 99999)
LARGEST = {  # by name of the column: what no value can exceed, its unit, and what it may be in
    "age": (120, "years", "days or months"),
    "age_years": (120, "years", "days or months"),
    "age_at_stroke": (120, "years", "days or months"),
    "nihss": (42, "points of the NIHSS", "another scale"),
    "mrs": (6, "points of the modified Rankin Scale", "another scale"),
    "bmi": (150, "kg/m²", "another unit"),
    "lesion_ml": (2000, "ml", "mm³ (divide by 1000)"),
}
IDENTIFIERS = {"id", "subject", "participant", "patient", "mrn", "case", "record"}

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_CENSORED = re.compile(r"(?:[<>≤≥]=?\s*)?([+-]?\d+(?:[.,]\d+)?)\s*\+?")
_DATE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})([ T].*)?")

_told = contextvars.ContextVar("oddities_told", default=False)


def numeric_column(column, *, censored=(), missing=()):
    """A column of numbers out of one in which a few texts stand among them.

    Numbers stored as text become numbers, and what commonly stands for a missing value ("n/a",
    "unk", "?", an empty cell, ...) becomes one. Any other text is refused unless it is named here.

    Parameters
    ----------
    column : Series
    censored : str or sequence of str, default=()
        Texts such as "89+", ">200" or "<5" that stand for their number: it is the nearest that is
        known, and a model that learns from it takes it for exact.
    missing : scalar or sequence, default=()
        Further values, texts or numbers, that stand for a missing one: ``missing=[-1, 999]``.

    Returns
    -------
    Series of float64
        With the index and the name of `column`, which is not changed.

    Raises
    ------
    CohortError
        If a text is neither, or a censored one holds no number; the message names its row.

    Examples
    --------
    >>> ages = pd.Series(["61", "89+", "n/a", 999], name="age")
    >>> numeric_column(ages, censored="89+", missing=999).tolist()
    [61.0, 89.0, nan, nan]
    """
    censored = {censored} if isinstance(censored, str) else set(censored)
    for text in censored:
        if _censored_number(text) is None:
            raise CohortError(
                f"censored names {text!r}, in which there is no number; give texts such as '89+', "
                "or name it in missing"
            )
    given = [missing] if isinstance(missing, str) or not hasattr(missing, "__iter__") else missing
    missing = {cell_text(value) for value in given}
    values = np.full(len(column), np.nan)
    for place, (row, cell) in enumerate(column.astype(object).items()):
        text = "" if pd.isna(cell) else cell_text(cell).strip()
        if text in censored:
            values[place] = _censored_number(text)
        elif text in missing or text.lower() in MISSING_TEXTS:
            continue
        elif _NUMBER.fullmatch(text):
            values[place] = float(text)
        elif text in ("True", "False"):
            values[place] = text == "True"
        else:
            raise CohortError(
                f"row {row!r}, column {column.name!r}: found {text!r} where a number was expected; "
                f"name it in missing, or in censored if it stands for its number: "
                f"numeric_column(X[{column.name!r}], missing=[{text!r}])"
            )
    return pd.Series(values, index=column.index, name=column.name)


@contextlib.contextmanager
def oddities_told():
    """Within it nothing is pointed out: it was, of the whole table."""
    token = _told.set(True)
    try:
        yield
    finally:
        _told.reset(token)


def refuse_oddities(column):
    """Refuse a column of text that is one of numbers, dates, images or identifiers.

    Parameters
    ----------
    column : Series
        A categorical one is taken at its word, but for identifiers.

    Raises
    ------
    CohortError
        With the line of pandas that mends it.

    Examples
    --------
    >>> refuse_oddities(pd.Series(["61", "72", "58", "66", "89+"], name="age"))
    Traceback (most recent call last):
        ...
    prognosis.errors.CohortError: row 4, column 'age': found '89+' in 1 of 5 rows of a column whose
    other values are numbers; say what it stands for: X['age'] =
    pd.to_numeric(X['age'].astype(object).replace({'89+': 89})), or, if all are categories, X['age']
    = X['age'].astype('category')
    """
    if column_kind(column) in (NUMBER, EMPTY):
        return
    known = column[column.notna().to_numpy()]
    texts = known.map(cell_text).astype(object)
    paths = texts[texts.str.lower().str.endswith(IMAGE_SUFFIXES)]
    if 2 * len(paths) > len(texts):
        row = paths.index.tolist()[0]
        raise CohortError(
            f"row {row!r}, column {column.name!r}: found {paths.iloc[0]!r}, an image, as in "
            f"{len(paths)} of {len(texts)} rows; declare the column as image={column.name!r}, not "
            "as tabular"
        )
    if not isinstance(column.dtype, pd.CategoricalDtype):
        _refuse_numbers(column.name, texts.str.strip(), all(isinstance(c, str) for c in known))
        _refuse_dates(column, texts.str.strip())
    if len(texts) >= FEWEST and texts.nunique() == len(texts):
        row = texts.index.tolist()[0]
        raise CohortError(
            f"column {column.name!r}: all {len(texts)} values differ (row {row!r}: "
            f"{texts.iloc[0]!r}), as those of an identifier do, and tell nothing of new patients; "
            "leave it out of the columns that are learnt from"
        )


def texts_among_numbers(column):
    """The first row of an outcome whose text stands among numbers; None where there is none.

    Parameters
    ----------
    column : Series
        Without missing values.

    Examples
    --------
    >>> texts_among_numbers(pd.Series(["0", "3", "1", "2", "6", "dead"]))
    5
    >>> texts_among_numbers(pd.Series(["0", "1", "unknown"]))
    """
    texts = column.map(cell_text).astype(object).str.strip()
    try:
        _refuse_numbers(column.name, texts, True)
    except CohortError:
        odd = texts[~texts.str.fullmatch(_NUMBER)]
        return texts.index[0] if odd.empty else odd.index[0]
    return None


def warn_of_oddities(X, columns, *, stacklevel=2):
    """Point out codes for missing values, values that no unit allows, and numbers that are ids.

    Parameters
    ----------
    X : DataFrame
    columns : sequence of str
        Tabular ones.
    stacklevel : int
        Of the warnings, one for each column.
    """
    if _told.get():
        return
    for name in columns:
        said = list(_odd(X[name]))
        if said:
            warnings.warn(
                f"column {name!r}: {'; '.join(said)}", UserWarning, stacklevel=stacklevel + 1
            )


def _odd(column):
    known = column[column.notna().to_numpy()]
    kind = column_kind(column)
    if kind != NUMBER:
        texts = pd.Series(
            [] if kind == EMPTY else [cell_text(cell) for cell in known], dtype=object
        )
        counts = texts[texts.str.strip().str.lower().isin(MISSING_TEXTS)].value_counts()
        for text, count in counts.items():
            yield (
                f"{text!r} in {count} of {len(column)} rows reads like a missing value, and counts "
                f"as a category of its own; if it is missing: X[{column.name!r}] = "
                f"X[{column.name!r}].replace({{{text!r}: None}})"
            )
        return
    if len(known) < FEWEST or pd.api.types.is_bool_dtype(column.dtype):
        return
    values = as_numbers(known).to_numpy(dtype=float)
    codes = _codes(values)
    for code in codes:
        others = values[~np.isin(values, codes)]
        yield (
            f"{code} in {np.count_nonzero(values == code)} of {len(column)} rows lies apart from "
            f"all others ({others.min():.4g} to {others.max():.4g}), as a code for a missing value "
            f"does; if it is one: X[{column.name!r}] = X[{column.name!r}].replace({code}, "
            "float('nan'))"
        )
    yield from _units(str(column.name), values[~np.isin(values, codes)], len(column))
    words = set(re.split(r"[\W_]+", str(column.name).lower()))
    whole = np.array_equal(values, np.round(values))
    if words & IDENTIFIERS and whole and len(np.unique(values)) == len(values):
        yield (
            f"its {len(values)} whole numbers all differ, and it is called an identifier, which "
            "tells nothing of new patients; leave it out"
        )


def _codes(values):
    """Codes for missing values that occur, and lie apart from all other values."""
    others = values[~np.isin(values, MISSING_CODES)]
    if len(np.unique(others)) < 5 or others.min() < 0:
        return []
    present = [code for code in MISSING_CODES if (values == code).any()]
    low = [code for code in present if code < 0]
    high = [code for code in present if code > 2 * max(others.max(), 1)]
    return low + high


def _units(name, values, count):
    most, unit, other = LARGEST.get(name.lower(), (math.inf, "", ""))
    above = np.count_nonzero(values > most)
    if above:
        yield (
            f"{above} of {count} values are above {most} (the largest is {values.max():,.5g}), "
            f"more than {unit} can be; correct them, or the unit if they are in {other}"
        )


def _refuse_numbers(name, texts, all_text):
    """Refuse text of which most is numbers; codes, a few different ones, may be categories."""
    comma = texts.str.fullmatch(_COMMA)
    plain = texts.str.fullmatch(_NUMBER)
    numbers = texts[plain | comma]
    different = numbers.nunique()
    several = different > FEWEST or (different >= 4 and different > len(numbers) / 2)
    if not several or 2 * len(numbers) < len(texts):
        return
    odd, cell = texts[~(plain | comma)], f"X[{name!r}]"
    point = '.str.replace(",", ".")' if comma.any() else ""
    if odd.empty:
        if not all_text:
            return
        how = "with a decimal comma" if comma.any() else "as text"
        row = (numbers[comma] if comma.any() else numbers).index.tolist()[0]
        raise CohortError(
            f"row {row!r}, column {name!r}: found {numbers[row]!r}, a number stored {how}, as are "
            f"{len(numbers)} of {len(texts)}; make them numbers: {cell} = pd.to_numeric({cell}"
            f"{point}), or, if they are categories, {cell} = {cell}.astype('category')"
        )
    stand_for = {}
    for text in odd.unique()[:20]:
        number = _censored_number(text)
        stand_for[text] = "None" if number is None else f"{number:.12g}"
    pairs = ", ".join(f"{text!r}: {number}" for text, number in stand_for.items())
    further = listing(list(stand_for)[1:])
    also = f" (also {further})" if further else ""
    row = odd.index.tolist()[0]
    raise CohortError(
        f"row {row!r}, column {name!r}: found {odd.iloc[0]!r}{also} in {len(odd)} of "
        f"{len(texts)} rows of a column whose other values are numbers; say what it stands for: "
        f"{cell} = pd.to_numeric({cell}.astype(object){point}.replace({{{pairs}}})), or, if all "
        f"are categories, {cell} = {cell}.astype('category')"
    )


def _refuse_dates(column, texts):
    dates = texts[texts.str.fullmatch(_DATE)]
    if len(dates) > len(texts) / 2:
        row = dates.index.tolist()[0]
        raise CohortError(
            f"row {row!r}, column {column.name!r}: found {dates.iloc[0]!r}, a date "
            "stored as text, and times are neither numbers nor categories; count days: "
            f"{days_of(column.name)}"
        )


def _censored_number(text):
    """The number in "89+", ">200" or "<5"; None where there is none."""
    found = _CENSORED.fullmatch(text.strip())
    return None if found is None else float(found[1].replace(",", "."))
