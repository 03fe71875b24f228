"""The sheet of `check_images`: everybody's picture on one self-contained page, worst first."""

import base64

from ..pages import render_page

__all__ = ["render_sheet"]

_TITLES = {
    "wrong": "Wrong",
    "doubtful": "Doubtful",
    "unchecked": "Not checked",
    "ok": "Nothing speaks against these",
}
_MEANING = {
    "wrong": "Models that read places refuse these images.",
    "doubtful": "Models use these images, and warn. Look at each.",
    "unchecked": "Two-dimensional pictures lie nowhere in space.",
    "ok": "No proof that they are right: look at a few.",
}


def render_sheet(table, pictures, cohort, *, told=None, white=False):
    """The page as HTML text.

    Parameters
    ----------
    table : DataFrame
        As `check_images` returns it.
    pictures : dict of (row, column) to bytes or None
        PNG of each image.
    cohort : dict
        What the cohort says of itself.
    told : callable, default=None
        Says in words what was measured of an image, from its row. None: where it lies.
    white : bool, default=False
        Whether pictures have the outline of the template's white matter.

    Returns
    -------
    str
    """
    groups = []
    for verdict, title in _TITLES.items():
        part = table[table["verdict"] == verdict]
        if len(part):
            cards = [
                _card(place, row, pictures, told or _numbers) for place, row in part.iterrows()
            ]
            groups.append(
                {"verdict": verdict, "title": title, "about": _MEANING[verdict], "cards": cards}
            )
    return render_page(
        __file__,
        "sheet.html",
        groups=groups,
        n_images=len(table),
        n_patients=table.index.get_level_values(0).nunique(),
        cohort_name=cohort.get("name"),
        simulated=bool(cohort.get("simulated")),
        white=white,
    )


def _card(place, row, pictures, told):
    picture = pictures.get(place)
    return {
        "patient": str(place[0]),
        "image": str(place[1]),
        "reasons": [reason for reason in row["reasons"].split("; ") if reason],
        "numbers": told(row),
        "picture": None if picture is None else base64.b64encode(picture).decode(),
    }


def _numbers(row):
    """What was measured, in words."""
    parts = []
    if row["in_view"] == row["in_view"]:
        parts.append(f"{100 * row['in_view']:.0f} % of the template's brain in view")
    if row["right_mm"] == row["right_mm"]:
        moved = [
            f"{name} {row[key]:+.0f}"
            for name, key in (("right", "right_mm"), ("front", "front_mm"), ("up", "up_mm"))
        ]
        parts.append(f"head moved by {', '.join(moved)} mm")
    if row["inside"] == row["inside"]:
        parts.append(f"{100 * row['inside']:.0f} % of the lesion in the brain")
    return "; ".join(parts)
