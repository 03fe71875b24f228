"""What is written for people: pages from a room's own templates, and CSV that no program runs."""

import re
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["csv_text", "render_page"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def render_page(room, template, **values):
    """A page as text; whatever is put into it is escaped, and nothing may be missing.

    Parameters
    ----------
    room : str or os.PathLike
        The module (its ``__file__``) in whose folder ``templates`` lies.
    template : str
        File name.
    **values
        What the template asks for.

    Returns
    -------
    str
    """
    environment = Environment(
        loader=FileSystemLoader(Path(room).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template(template).render(**values)


def csv_text(table, **options):
    """A table as CSV in which no text is taken for a formula by a spreadsheet.

    Text that begins with "=", "+", "-" or "@" and is no number gets an apostrophe in front, as
    spreadsheets themselves write it.

    Parameters
    ----------
    table : DataFrame
    **options
        Of ``DataFrame.to_csv``.

    Returns
    -------
    str

    Examples
    --------
    >>> table = pd.DataFrame({"age": [60, -1]}, index=pd.Index(["=cmd()", "-5"], name="patient"))
    >>> print(csv_text(table).strip())
    patient,age
    '=cmd(),60
    -5,-1
    """
    safe = table.copy(deep=False)
    for place in range(safe.shape[1]):
        column = safe.iloc[:, place]
        if not pd.api.types.is_numeric_dtype(column.dtype):
            safe.isetitem(place, column.map(_harmless))
    safe.index = _harmless_index(safe.index)
    safe.columns = _harmless_index(safe.columns)
    return safe.to_csv(**options)


def _harmless_index(index):
    if isinstance(index, pd.MultiIndex):
        levels = [index.get_level_values(k).map(_harmless) for k in range(index.nlevels)]
        return pd.MultiIndex.from_arrays(levels, names=index.names)
    if pd.api.types.is_numeric_dtype(index.dtype) or not len(index):
        return index
    return pd.Index([_harmless(label) for label in index], name=index.name)


def _harmless(cell):
    if isinstance(cell, str) and cell.startswith(_FORMULA) and not _PLAIN_NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
