"""Which sections of a brain are looked at: where a volume is cut, where they lie in a picture."""

from typing import NamedTuple

import numpy as np

from ..mosaics import PLANES

__all__ = ["FIELD_MM", "SOOP_PANES", "Pane", "as_panes"]

# What is cut of a volume, world coordinates along x, y and z, mm.
FIELD_MM = ((-78, 78), (-112, 76), (-50, 85))


class Pane(NamedTuple):
    """One section: its plane, and where it is cut in a volume or lies in a picture.

    `at_mm` is the place in template space (x, y or z), or None; `rows` and `columns` are first and
    last + 1 in a picture, or None.
    """

    plane: str
    at_mm: float | None = None
    rows: tuple | None = None
    columns: tuple | None = None

    @property
    def shape(self):
        """Rows and columns."""
        if self.rows is not None:
            return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]
        right, up = (n for n in range(3) if n != PLANES[self.plane])
        return tuple(FIELD_MM[axis][1] - FIELD_MM[axis][0] + 1 for axis in (up, right))

    @property
    def has_midline(self):
        """Whether both halves of the brain are seen, left and right of the middle column."""
        return self.plane != "sagittal"


# Of the published pictures of the Stroke Outcome Optimization Project; their grid is the field.
SOOP_PANES = (
    Pane("axial", 18.0, (0, 189), (0, 157)),
    Pane("sagittal", -39.0, (53, 189), (157, 346)),
    Pane("coronal", -18.0, (53, 189), (346, 503)),
)


def as_panes(panes):
    """Read a declaration of sections.

    Parameters
    ----------
    panes : "soop", dict of str to float or sequence of float, or sequence of tuple
        "soop": three sections, in volumes as in the pictures of that cohort. A dict says where
        volumes are cut: plane ("axial", "coronal", "sagittal") to one or several places in template
        space, mm. Tuples ``(plane, (top, bottom), (left, right))`` say where sections lie in
        pictures: first row or column, and last + 1.

    Returns
    -------
    tuple of Pane

    Raises
    ------
    ValueError
        If it is none of these, or names an unknown plane, an empty box, or a place outside of the
        template's brain.

    Examples
    --------
    >>> as_panes({"axial": [0, 18]})[1].at_mm, as_panes("soop")[0].shape
    (18.0, (189, 157))
    >>> as_panes([("axial", (0, 189), (0, 157))])[0].has_midline
    True
    """
    if isinstance(panes, str) and panes == "soop":
        return SOOP_PANES
    try:
        if isinstance(panes, dict):
            found = [
                Pane(plane, float(at))
                for plane, places in panes.items()
                for at in np.atleast_1d(np.asarray(places, dtype=float))
            ]
        else:
            found = [
                Pane(plane, None, tuple(map(int, rows)), tuple(map(int, columns)))
                for plane, rows, columns in panes
            ]
        for pane in found:
            low, high = FIELD_MM[PLANES[pane.plane]]
            if pane.rows is None and not low <= pane.at_mm <= high:
                raise ValueError(
                    f"panes: the {pane.plane} section at {pane.at_mm:g} mm lies outside of the "
                    f"brain of the template, {low} to {high} mm"
                )
            if pane.rows is not None and not (_ordered(pane.rows) and _ordered(pane.columns)):
                raise ValueError(
                    f"panes: rows {pane.rows} and columns {pane.columns} are no box in a picture; "
                    "give (first, last + 1) of both, from 0"
                )
    except (KeyError, TypeError) as error:
        raise _not_understood(panes) from error
    except ValueError as error:
        raise error if str(error).startswith("panes: ") else _not_understood(panes) from error
    if not found:
        raise _not_understood(panes)
    return tuple(found)


def _ordered(pair):
    return len(pair) == 2 and 0 <= pair[0] < pair[1]


def _not_understood(panes):
    return ValueError(
        f'panes={panes!r} is not understood: give "soop", places to cut volumes in mm '
        '({"axial": 18, "coronal": [-18, 0]}), or boxes in pictures '
        "([(plane, (top, bottom), (left, right)), ...])"
    )
