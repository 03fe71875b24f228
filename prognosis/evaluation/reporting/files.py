"""The files of a comparison: its page, its tables and predictions; whole or not at all.

Whatever was in the folder before stays untouched if something cannot be written.
"""

import json
from pathlib import Path

from imaging.storage.files import replacing_all

from ...pages import csv_text
from .report import render_report

__all__ = ["write_all", "write_page", "write_tables"]


def write_page(comparison, path):
    """Write the report of a comparison as one page.

    Parameters
    ----------
    comparison : Comparison
    path : str or os.PathLike
        File name of the page, for example ``report/index.html``; folders are made.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    _write(path.parent, {path.name: render_report(comparison)})
    return path


def write_tables(comparison, folder):
    """Write table, differences, folds, predictions and who was studied as CSV, metadata as JSON.

    Returns
    -------
    pathlib.Path
        The folder, made if it did not exist.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    return _write(folder, _tables(comparison))


def write_all(comparison, folder):
    """Write the page as ``index.html`` with the files of `write_tables` beside it."""
    return _write(folder, {"index.html": render_report(comparison), **_tables(comparison)})


def _tables(comparison):
    tables = {
        "table.csv": csv_text(comparison.table),
        "differences.csv": csv_text(comparison.differences, index=False),
        "folds.csv": csv_text(comparison.folds, index=False),
        "predictions.csv": csv_text(comparison.predictions, index=False),
        "metadata.json": json.dumps(comparison.metadata, indent=2, default=str) + "\n",
    }
    if len(comparison.characteristics):
        tables["characteristics.csv"] = csv_text(comparison.characteristics, index=False)
    if len(comparison.by_group):
        tables["by_group.csv"] = csv_text(comparison.by_group)
    if len(comparison.searches):
        tables["searches.csv"] = csv_text(comparison.searches, index=False)
    return tables


def _write(folder, texts):
    with replacing_all(folder) as temporary:
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8", newline="")
    return Path(folder)
