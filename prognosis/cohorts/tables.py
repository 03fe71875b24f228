"""Tables of patients, tab-separated, read as they stand.

BIDS tables have no quoting, so nothing is hidden by a quotation mark; every line is looked at, and
whatever is odd is named by its number.
"""

import codecs
import re
import warnings

import numpy as np
import pandas as pd

from ..errors import CohortError

__all__ = ["check_numbers", "line_of", "read_participants"]

MISSING = ("n/a", "N/A", "NA", "nan", "NaN", "")
_MARKS = (  # the longer first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity)", re.IGNORECASE
)
_TRUTH = dict.fromkeys(("True", "TRUE", "true"), True)
_TRUTH |= dict.fromkeys(("False", "FALSE", "false"), False)
_LARGEST_WHOLE = 2**53  # beyond it, floats are not all whole numbers
_LISTED = 20
_LARGEST_BYTES = 500_000_000
_LINES = "lines of the table"
_ODD_ID = re.compile(r"[\x00-\x1f\x7f/\\]")


def read_participants(path, *, texts=()):
    """Read a tab-separated table with a column ``participant_id``, one row per patient.

    Parameters
    ----------
    path : pathlib.Path
        UTF-8, with or without a byte-order mark, or UTF-16 or UTF-32 with one.
    texts : sequence of str, default=()
        Columns whose cells stay text.

    Returns
    -------
    DataFrame
        Indexed by patient id; missing values ("n/a" and the like) are NaN. `line_of` tells in which
        line a patient stands.

    Raises
    ------
    CohortError
        If there is no such file, it is no such table, a line has more or fewer cells than there are
        columns, a column or a patient occurs twice, or an id is missing or not usable; the message
        names the line.

    Warns
    -----
    UserWarning
        If cells hold quotation marks, which are read as they stand.
    """
    lines = _lines(path)
    names, rows, numbers = _cells(path, lines)
    _refuse_doubled_columns(path, names)
    if "participant_id" not in names:
        quoted = any(name.strip().startswith('"') for name in names)
        hint = "save it without quotation marks; " if quoted else ""
        raise CohortError(
            f"{str(path)!r} has no column 'participant_id' (found {', '.join(names)}); {hint}"
            "rename the column of patient ids, and separate columns by tabs"
        )
    _look_at_quotes(path, names, rows, numbers)
    columns = dict(zip(names, zip(*rows, strict=True))) if rows else dict.fromkeys(names, ())
    ids = pd.Series(columns.pop("participant_id"), dtype=object).str.strip()
    table = pd.DataFrame(
        {name: _typed(cells, name in texts) for name, cells in columns.items()},
        index=range(len(rows)),
    )
    nameless = np.flatnonzero(ids.isin(MISSING).to_numpy())
    if nameless.size:
        raise CohortError(
            f"{str(path)!r} has no participant_id in line {numbers[nameless[0]]}; fill it in or "
            "delete the line"
        )
    _refuse_ids(path, ids, numbers)
    table.index = pd.Index(ids, name="patient")
    table.attrs[_LINES] = dict(zip(ids, numbers, strict=True))
    return table


def _typed(cells, as_text):
    """A column: numbers or truth values where all cells are such, else text; missing is NaN."""
    missing = np.array([cell.strip() in MISSING for cell in cells], dtype=bool)
    known = [cell.strip() for cell, absent in zip(cells, missing, strict=True) if not absent]
    if not known:
        return pd.Series(np.full(len(cells), np.nan), dtype="str" if as_text else float)
    values = None
    if not as_text and all(map(_INTEGER.fullmatch, known)):
        whole = [int(cell) for cell in known]
        fits = max(map(abs, whole)) <= _LARGEST_WHOLE
        values = np.array(whole, np.int64 if fits else np.float64)
    elif not as_text and all(map(_NUMBER.fullmatch, known)):
        values = np.array([float(cell) for cell in known])
    elif not as_text and all(cell in _TRUTH for cell in known):
        values = np.array([_TRUTH[cell] for cell in known])
    if values is not None and not missing.any():
        return values
    if values is not None and values.dtype != bool:
        column = np.full(len(cells), np.nan)
        column[~missing] = values
        return column
    column = np.array(cells, dtype=object)
    column[missing] = np.nan
    if values is not None:
        column[~missing] = values.tolist()
    return pd.Series(column, dtype=object if values is not None else "str")


def line_of(table, patient):
    """In which line of its file a patient stands, in words: "line 4"."""
    return f"line {table.attrs[_LINES][patient]}"


def check_numbers(table, name, path, *, low=-np.inf, high=np.inf, whole=False):
    """Refuse numbers of a column that cannot be, naming the line.

    Parameters
    ----------
    table : DataFrame
        As `read_participants` gives it.
    name : str
        Its column of numbers.
    path : pathlib.Path
    low, high : float
        The lowest and the highest value that can be.
    whole : bool, default=False
        Whether only whole numbers can be.

    Raises
    ------
    CohortError
    """
    values = pd.to_numeric(table[name], errors="coerce")
    given = table[name].notna().to_numpy()
    bad = given & ~np.isfinite(values.to_numpy(dtype=float))
    with np.errstate(invalid="ignore"):
        bad |= given & ((values < low) | (values > high)).to_numpy()
        if whole:
            bad |= given & (values != values.round()).to_numpy()
    if bad.any():
        patient = table.index[bad][0]
        wanted = "a whole number" if whole else "a finite number"
        if np.isfinite(low) or np.isfinite(high):
            wanted += f" from {low:g} to {high:g}"
        raise CohortError(
            f"{str(path)!r}, {line_of(table, patient)}, row {patient!r}, column {name!r}: found "
            f"{str(table[name][patient])!r} where {wanted} was expected; correct it, or write n/a"
        )


def _lines(path):
    """The lines of a table, each with its number, counted from 1; empty ones are left out."""
    try:
        if path.is_dir():
            raise CohortError(f"{str(path)!r} is a folder; give the path of its participants.tsv")
        if not path.is_file():
            raise CohortError(f"no file at {str(path)!r}; give the path of participants.tsv")
        size = path.stat().st_size
        content = path.read_bytes() if size <= _LARGEST_BYTES else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CohortError(
            f"{str(path)[:300]!r} cannot be read ({reason}); correct the path, or mend its "
            "permissions"
        ) from error
    if content is None:
        raise CohortError(
            f"{str(path)!r} has {size:,} bytes, more than a table of patients; give another"
        )
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CohortError(
            f"{str(path)!r} cannot be read as a tab-separated table: byte {error.start + 1}, in "
            f"line {line}, is no {encoding.upper()}; save it as UTF-8"
        ) from error
    # Not str.splitlines, which also ends lines where no table does.
    lines = list(enumerate(re.split(r"\r\n|\r|\n", text), start=1))
    for number, line in lines:
        if "\0" in line:
            raise CohortError(
                f"{str(path)!r} cannot be read as a tab-separated table: line {number} holds a "
                "zero byte; save it as UTF-8"
            )
    lines = [(number, line) for number, line in lines if line.strip(" ")]
    if not lines:
        raise CohortError(
            f"{str(path)!r} cannot be read as a tab-separated table (it is empty); save it as such"
        )
    return lines


def _cells(path, lines):
    """Names of the columns, cells of every row, and the number of its line."""
    names = [name.strip() for name in lines[0][1].split("\t")]
    rows = [line.split("\t") for _, line in lines[1:]]
    numbers = [number for number, _ in lines[1:]]
    for cells, number in zip(rows, numbers, strict=True):
        if len(cells) != len(names):
            raise CohortError(
                f"{str(path)!r} cannot be read as a tab-separated table: line {number} has "
                f"{len(cells)} cells for {len(names)} columns; correct it"
            )
    # Spreadsheets end lines with tabs.
    while len(names) > 1 and not names[-1] and not any(cells[-1].strip() for cells in rows):
        names, rows = names[:-1], [cells[:-1] for cells in rows]
    return names, rows, numbers


def _refuse_doubled_columns(path, names):
    if "" in names:
        raise CohortError(f"{str(path)!r}: column {names.index('') + 1} has no name; give it one")
    doubled = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if doubled:
        raise CohortError(
            f"{str(path)!r} has more than one column {doubled[0]!r}; keep one of them, or rename "
            "the others"
        )


def _look_at_quotes(path, names, rows, numbers):
    """Refuse columns that were quoted on export; say which other cells hold quotation marks."""
    for place, name in enumerate(names):
        held = [
            (cells[place], number)
            for cells, number in zip(rows, numbers, strict=True)
            if '"' in cells[place]
        ]
        if not held:
            continue
        cell, line = held[0]
        found = f"{str(path)!r}, line {line}, column {name!r}: found {cell[:60]!r}"
        quoted = sum(len(text) > 1 and text[0] == text[-1] == '"' for text, _ in held)
        if 2 * quoted > sum(cells[place] not in MISSING for cells in rows):
            raise CohortError(
                f"{found}, in quotation marks, as are {quoted} of {len(rows)} cells; tables of "
                "BIDS have none: save it without"
            )
        warnings.warn(
            f"{found}; quotation marks are read as they stand, as BIDS says "
            f"({len(held)} cells in all)",
            UserWarning,
            stacklevel=5,
        )


def _refuse_ids(path, ids, numbers):
    for patient, number in zip(ids, numbers, strict=True):
        if _ODD_ID.search(patient) or patient.strip(".") == "" or len(patient) > 200:
            raise CohortError(
                f"{str(path)!r}, line {number}: the participant_id {patient[:60]!r} cannot be part "
                "of a file's name; use letters, numbers, '-' and '_'"
            )
    doubled = ids[ids.duplicated()].unique()
    if len(doubled):
        raise CohortError(
            f"{str(path)!r} lists {', '.join(doubled[:_LISTED])} more than once; keep one line per "
            "patient"
        )
    plain = {}
    for patient, number in zip(ids, numbers, strict=True):
        other = plain.setdefault(patient.removeprefix("sub-"), patient)
        if other != patient:
            raise CohortError(
                f"{str(path)!r}, line {number}: {patient!r} and {other!r} name the same files; "
                "give the patients different ids"
            )
