"""Tables of labels: the number of a region, then its name.

Separated by bars, tabs, commas, semicolons or blanks, with or without a header.
"""

import csv
import re

from ..errors import AtlasError

__all__ = ["distinct", "read_table"]


def read_table(path):
    """Label to name from a table whose lines start with a number."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    first = next((line for line in lines if line.strip()), "")
    separator = next((mark for mark in "|\t,;" if mark in first), None)
    if separator is None:
        rows = [line.split(None, 1) for line in lines]
    else:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    rows = [[cell.strip() for cell in row] for row in rows if row]
    rows = [row for row in rows if row[0].isdigit() and len(row) > 1]
    if not rows:
        raise AtlasError(f"{str(path)!r} has no line 'number, name'; write one per region")
    labels = [int(row[0]) for row in rows]
    if len(set(labels)) < len(labels):
        doubled = next(label for label in labels if labels.count(label) > 1)
        raise AtlasError(f"{str(path)!r} names label {doubled} twice; keep one line per label")
    texts = [column for column in zip(*(row[1:] for row in rows)) if not all(map(_number, column))]
    if not texts:
        raise AtlasError(f"{str(path)!r} holds numbers but no names; add a column of names")
    unique = (column for column in texts if len(set(column)) == len(column))
    return dict(zip(labels, next(unique, texts[0])))


def distinct(names):
    texts = list(names.values())
    return {
        label: text if texts.count(text) == 1 else f"{text} ({label})"
        for label, text in names.items()
    }


def _number(text):
    return re.fullmatch(r"[-+]?\d+(\.\d*)?", text) is not None
