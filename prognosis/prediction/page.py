"""A page for each new patient: what the model says, whether it knows such patients, and why."""

import base64
import io
import re

import numpy as np

from imaging.grids import open_image

from ..cells import is_missing
from ..pages import render_page

__all__ = ["figure_png", "page_names", "render_index", "render_patient", "sections"]


def page_names(patients):
    """File names of the pages, one for each patient, none twice.

    Examples
    --------
    >>> page_names(["sub-1", "a/b", "a b"])
    ['patient-sub-1.html', 'patient-a_b.html', 'patient-a_b-2.html']
    """
    names, taken = [], set()
    for patient in patients:
        plain = "patient-" + re.sub(r"[^\w.-]+", "_", str(patient))
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name)
        names.append(f"{name}.html")
    return names


def render_patient(patient, found, about, *, pictures=()):
    """The page of one patient as HTML text.

    Parameters
    ----------
    patient : index label
    found : Predictions
    about : dict
        ``model``, ``outcome``, ``n_patients``, ``name`` and ``simulated`` of the training.
    pictures : sequence of (str, bytes)
        Captions and PNGs.

    Returns
    -------
    str
    """
    row = found.table.loc[patient]
    show = _as_percent if found.is_probability else _as_number
    what_if = found.what_if.get(patient)
    rows = []
    for name, each in () if what_if is None else what_if.iterrows():
        rows.append(
            {
                "name": name,
                "value": _cell(each["value"]),
                "typical": _cell(each["typical"]),
                "rank": "" if np.isnan(each["rank"]) else f"{100 * each['rank']:.0f} %",
                "instead": show(each["instead"]),
                "difference": _signed(each["difference"], found.is_probability),
            }
        )
    return render_page(
        __file__,
        "patient.html",
        patient=str(patient),
        about=about,
        said=_in_words(found.said, about["outcome"]),
        value=show(row[found.said]),
        interval=None if np.isnan(row["low"]) else (show(row["low"]), show(row["high"])),
        coverage=f"{100 * found.coverage:g} %",
        n_refits=found.n_refits,
        is_probability=found.is_probability,
        bar=_bar(row, found),
        remarks=list(found.remarks[patient]),
        rows=rows,
        pictures=[
            {"caption": caption, "data": base64.b64encode(png).decode()}
            for caption, png in pictures
        ],
    )


def render_index(found, about, names):
    """The page that lists everybody, those whom the model knows least first, as HTML text."""
    show = _as_percent if found.is_probability else _as_number
    order = sorted(range(len(names)), key=lambda k: (-len(found.remarks.iloc[k]), k))
    rows = []
    for k in order:
        row = found.table.iloc[k]
        ends = "" if np.isnan(row["low"]) else f"{show(row['low'])} to {show(row['high'])}"
        rows.append(
            {
                "patient": str(found.table.index[k]),
                "page": names[k],
                "value": show(row[found.said]),
                "interval": ends,
                "remarks": list(found.remarks.iloc[k]),
            }
        )
    return render_page(
        __file__,
        "index.html",
        about=about,
        said=_in_words(found.said, about["outcome"]),
        coverage=f"{100 * found.coverage:g} %",
        n_refits=found.n_refits,
        is_probability=found.is_probability,
        rows=rows,
    )


def sections(X, patient, images):
    """Cross-sections of a patient's images with the template's outline: captions and PNGs."""
    from ..inspection.pictures import draw_panes

    lesion = next((name for name in images if "lesion" in name or "mask" in name), None)
    found = {}
    for name in images:
        cell = X.loc[patient, name]
        if not is_missing(cell):
            image = open_image(cell)
            if len([n for n in image.shape if n > 1]) == 3:
                found[name] = image
    mask = found.pop(lesion, None)
    if not found and mask is not None:
        return [
            ("Lesion (red) on the template; blue: the template's brain", draw_panes(None, mask))
        ]
    return [
        (f"{name}{', lesion in red' if mask is not None else ''}", draw_panes(image, mask))
        for name, image in found.items()
    ]


def figure_png(figure):
    """A matplotlib figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _bar(row, found):
    """Where value and interval lie on a line from 0 to 100 %; None for numbers."""
    if not found.is_probability:
        return None
    value = 100 * float(row[found.said])
    low, high = (value, value) if np.isnan(row["low"]) else (100 * row["low"], 100 * row["high"])
    return {"value": f"{value:.2f}", "low": f"{low:.2f}", "width": f"{max(high - low, 0.2):.2f}"}


def _in_words(name, outcome):
    outcome = "outcome" if outcome is None else str(outcome).replace("_", " ")
    if name == "prediction":
        return f"Predicted {outcome}"
    label = name.removeprefix("probability_").replace("_", " ")
    if label == "1":  # of an outcome that is there or not
        return f"Probability of {outcome}"
    return f"Probability of {outcome} {label}"


def _as_percent(value):
    return f"{100 * value:.0f} %" if 0.005 <= value <= 0.995 else f"{100 * value:.1f} %"


def _as_number(value):
    return f"{value:.3g}"


def _signed(value, is_probability):
    return f"{100 * value:+.1f}" if is_probability else f"{value:+.3g}"


def _cell(value):
    if is_missing(value):
        return "missing"
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
