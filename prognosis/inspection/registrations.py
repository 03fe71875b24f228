"""How the registrations of a cohort went: a table, and the sheet of `check_images`, worst first."""

import pandas as pd
from joblib import Parallel, delayed

from imaging.errors import ImagingError
from imaging.storage.files import replacing
from imaging.volumes import read_mask, read_stored

from ..errors import CohortError
from .pictures import draw_panes
from .sheet import render_sheet

__all__ = ["DOUBTFUL_ABOVE", "check_registrations", "registration_sheet"]

DOUBTFUL_ABOVE = 0.2  # score of failure: used, but to be looked at


def check_registrations(prepare, X, *, sheet=None):
    """Register a cohort and see how it went: numbers for everybody, and pictures, worst first.

    Parameters
    ----------
    prepare : ToTemplate
        Fitted. With its `folder` or `memory`, what was registered before is not done again.
    X : DataFrame
        Raw scans, as `prepare` takes them.
    sheet : str, os.PathLike or None, default=None
        HTML file to write, as that of `check_images`: scans in the template with the outlines of
        its brain and white matter, the lesion outlined. Who failed is drawn as the raw scan lies.

    Returns
    -------
    DataFrame, one row per patient, worst first
        ``verdict``: "ok", "doubtful" (score of failure above 0.2) or "wrong" (failed);
        ``reasons``; and the columns of `ToTemplate.quality`.

    Raises
    ------
    CohortError
        If `prepare` is not a `ToTemplate`.

    Examples
    --------
    >>> from prognosis import ToTemplate
    >>> prepare = ToTemplate("flair", lesion="lesion", folder="derivatives")
    >>> check_registrations(prepare.fit(X), X, sheet="registration.html")  # doctest: +SKIP
    """
    if not hasattr(prepare, "registered"):
        raise CohortError(
            f"check_registrations takes a fitted ToTemplate, found {type(prepare).__name__}"
        )
    results = prepare.registered(X)
    table, order = _table(X, results)
    if sheet is not None:
        registration_sheet(X, prepare, results, table, sheet)
    return table.iloc[order]


def registration_sheet(X, prepare, results, table, sheet):
    """Write the page of registrations.

    Parameters
    ----------
    X : DataFrame
        Raw scans.
    prepare : ToTemplate
    results : list
        What `ToTemplate.registered` says of each patient.
    table : DataFrame
        In the order of `X`.
    sheet : str or os.PathLike
    """
    reference = prepare.reference_
    raw = X[reference]
    drawn = Parallel(n_jobs=prepare.n_jobs, prefer="threads")(
        delayed(_drawn)(result, cell, reference, prepare.masks_)
        for result, cell in zip(results, raw, strict=True)
    )
    rows = table.copy()
    rows.index = pd.MultiIndex.from_arrays(
        [rows.index, [reference] * len(rows)], names=["patient", "image"]
    )
    pictures = dict(zip(rows.index, drawn, strict=True))
    rows = rows.iloc[_order(rows)]
    text = render_sheet(
        rows, pictures, getattr(X, "attrs", {}).get("cohort", {}), told=_told, white=True
    )
    with replacing(sheet) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _drawn(result, cell, reference, lesion):
    try:
        if result.failed:
            return draw_panes(read_stored(cell))
        mask = read_mask(result.images[lesion]) if lesion else None
        return draw_panes(read_stored(result.images[reference]), mask, white=True)
    except (ImagingError, TypeError, ValueError):  # there is no image, or it cannot be read
        return None


def _table(X, results):
    table = pd.DataFrame([one.row() for one in results], index=X.index)
    verdicts = [
        "wrong" if failed else "doubtful" if failure > DOUBTFUL_ABOVE else "ok"
        for failed, failure in zip(table["failed"], table["failure"], strict=True)
    ]
    table = table.drop(columns="failed")
    table.insert(0, "verdict", verdicts)
    return table, _order(table)


def _order(table):
    """Places of the rows, the worst first."""
    grade = table["verdict"].map({"wrong": 0, "doubtful": 1, "ok": 2})
    key = pd.DataFrame({"grade": grade.to_numpy(), "failure": -table["failure"].to_numpy()})
    return key.sort_values(["grade", "failure"], kind="stable").index.to_numpy()


def _told(row):
    """What was measured, in words."""
    parts = [f"score of failure {row['failure']:.2f}"]
    if row.get("correlation") == row.get("correlation") and "correlation" in row:
        parts.append(f"tissues correlate {row['correlation']:.2f} with the template's")
        parts.append(f"grey {row['grey_overlap']:.0%}, white {row['white_overlap']:.0%} meet")
    if "jacobian_low" in row and row["jacobian_low"] == row["jacobian_low"]:
        parts.append(f"parts change by {row['jacobian_low']:.2f} to {row['jacobian_high']:.2f}")
    return "; ".join(parts)
