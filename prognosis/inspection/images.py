"""Where every image of a cohort lies: a table of verdicts, and a sheet of pictures, worst first.

Images of one patient are looked at together, since a mask without its scan can hide more than with
it: the same voxels under another affine, or sides that were swapped.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from imaging.errors import ImageError
from imaging.grids import open_image, same_grid
from imaging.spaces.checking import check_space
from imaging.spaces.verdicts import WRONG, SpaceVerdict
from imaging.storage.files import replacing
from imaging.volumes import is_picture, read_mask, read_stored

from ..cells import is_missing, listing
from ..columns import check_cohort
from ..errors import CohortError
from .pairs import affine_reason, lesion_contrast, swapped_rows
from .pictures import draw_panes

__all__ = ["VERDICTS", "check_images"]

VERDICTS = ("ok", "unchecked", "doubtful", "wrong")


@dataclass(frozen=True)
class _Seen:
    """One image: what the space check says, or why there is nothing to say, and its picture."""

    verdict: str
    reasons: tuple = ()
    space: SpaceVerdict | None = None
    picture: bytes | None = None

    def with_reason(self, reason, verdict="doubtful"):
        worse = max(self.verdict, verdict, key=VERDICTS.index)
        return replace(self, verdict=worse, reasons=(*self.reasons, reason))


def check_images(X, images=None, *, lesion=None, labels=None, sheet=None, n_jobs=None):
    """Check where the images of a cohort lie, and draw them.

    Every image is asked whether it lies in template (MNI) space (`imaging.check_space`); masks,
    whether they are masks; masks and scans of one patient, whether they belong together.

    Parameters
    ----------
    X : DataFrame
        One row per patient.
    images : str, sequence of str or None, default=None
        Image columns. None: those that the cohort declares,
        ``X.attrs["cohort"]["image_columns"]``.
    lesion : str, sequence of str or None, default=None
        Which of them hold lesion masks. None: the column "lesion", if it is among them.
    labels : int, sequence of int or None, default=None
        Where masks hold labels, those that are lesion.
    sheet : str, os.PathLike or None, default=None
        HTML file to write: everybody's picture with the outline of the template's brain on it,
        worst first. It needs no other file, and holds the patients' images: keep it as you keep
        these.
    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    DataFrame, one row per image, worst first
        Indexed by patient and column. ``verdict``: "ok", "doubtful", "wrong" (also: missing or not
        readable) or "unchecked" (2-D pictures, which lie nowhere). ``reasons``: in words, the
        gravest first. ``in_view``: share of the template's brain in the field of view.
        ``right_mm``, ``front_mm``, ``up_mm``: how far the head on a scan lies from the template's.
        ``inside``: share of the lesion in or near the template's brain.

    Raises
    ------
    CohortError
        If no column is named, or one is missing.

    Notes
    -----
    "ok" is no proof. That the sides of a mask were swapped shows where its patient has a scan on
    which lesions are brighter (or darker) than the other side of the brain in most patients, and in
    this one the other way round.

    Examples
    --------
    >>> from prognosis import make_stroke_cohort
    >>> X, _ = make_stroke_cohort(3, spacing_mm=8, random_state=0)
    >>> check_images(X)["verdict"].tolist()
    ['ok', 'ok', 'ok', 'ok', 'ok', 'ok']
    >>> import nibabel as nib
    >>> scan = X.loc["sub-0002", "t1w"]
    >>> moved = nib.affines.from_matvec([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 30, 0]) @ scan.affine
    >>> X.loc["sub-0002", "t1w"] = nib.Nifti1Image(scan.get_fdata(), moved)
    >>> print(check_images(X, "t1w")["reasons"].iloc[0])
    the head lies 29 mm to the front of the template's
    """
    columns, masks = _columns(X, images, lesion)
    cells = zip(*(X[column] for column in columns), strict=True)
    found = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_patient)(dict(zip(columns, row)), masks, labels, sheet is not None)
        for row in cells
    )
    seen = [patient for patient, _ in found]
    for column, mask in {pair for _, contrasts in found for pair in contrasts}:
        values = [contrasts.get((column, mask), np.nan) for _, contrasts in found]
        for number, reason in swapped_rows(values, column).items():
            seen[number][mask] = seen[number][mask].with_reason(reason)
    table = _table(X, seen)
    if sheet is not None:
        from .sheet import render_sheet

        pictures = {
            (row, column): one.picture
            for row, patient in zip(X.index, seen, strict=True)
            for column, one in patient.items()
        }
        text = render_sheet(table, pictures, X.attrs.get("cohort", {}))
        with replacing(sheet) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return table


def _columns(X, images, lesion):
    """Image columns, and which of them hold masks."""
    if images is None:
        declared = getattr(X, "attrs", {}).get("cohort", {}).get("image_columns", [])
        columns = [name for name in declared if name in X.columns]
        if not columns:
            raise CohortError(
                'no image column is declared; name them: check_images(X, ["t1w", "lesion"])'
            )
    else:
        columns = [images] if isinstance(images, str) else list(images)
    if lesion is None:
        masks = ["lesion"] if "lesion" in columns else []
    else:
        masks = [lesion] if isinstance(lesion, str) else list(lesion)
    strays = [name for name in masks if name not in columns]
    if strays:
        raise CohortError(
            f"lesion names {listing(strays)}, but the image columns are {listing(columns)}"
        )
    check_cohort(X, columns)
    return columns, masks


def _patient(cells, masks, labels, draw):
    """What is seen of each image of a patient, and contrasts of lesions by scan and mask."""
    read, seen = {}, {}
    for column, cell in cells.items():
        kind = "mask" if column in masks else "scan"
        seen[column], read[column] = _looked_at(cell, kind, labels)
    scans = [name for name in cells if name not in masks and read[name] is not None]
    there = [name for name in masks if read[name] is not None]
    contrasts = {}
    for mask in there:
        for scan in scans:
            reason = affine_reason(open_image(cells[mask]), open_image(cells[scan]), scan)
            if reason:
                seen[mask] = seen[mask].with_reason(reason)
            elif seen[scan].verdict in ("doubtful", WRONG) and same_grid(read[mask], read[scan]):
                reason = f"it lies on the grid of {scan!r}, which is {seen[scan].verdict}"
                seen[mask] = seen[mask].with_reason(reason, seen[scan].verdict)
            contrasts[scan, mask] = lesion_contrast(read[scan], read[mask])
    if draw:
        for column, volume in read.items():
            if volume is not None:
                drawn = volume if column in masks else read[there[0]] if there else None
                scan = None if column in masks else volume
                seen[column] = replace(seen[column], picture=draw_panes(scan, drawn))
    return seen, contrasts


def _looked_at(cell, kind, labels):
    """What is seen of one image, and the image, None where it has no place."""
    if is_missing(cell):
        return _Seen(WRONG, ("there is no image",)), None
    try:
        if is_picture(cell):
            return _Seen("unchecked", ("a 2-D picture lies nowhere in space",)), None
        volume = read_stored(cell) if kind == "scan" else read_mask(cell, labels=labels)
    except ImageError as error:
        return _Seen(WRONG, (str(error),)), None
    space = check_space(cell, volume=volume, kind=kind)
    return _Seen(space.verdict, space.reasons, space), volume


def _table(X, seen):
    rows = {}
    for row, patient in zip(X.index, seen, strict=True):
        for column, one in patient.items():
            space = one.space
            moved = (np.nan,) * 3 if space is None or space.moved_mm is None else space.moved_mm
            rows[row, column] = {
                "verdict": one.verdict,
                "reasons": "; ".join(one.reasons),
                "in_view": np.nan if space is None else space.in_view,
                **dict(zip(("right_mm", "front_mm", "up_mm"), moved)),
                "inside": np.nan if space is None or space.inside is None else space.inside,
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=[X.index.name or "patient", "image"])
    return table.iloc[_order(table)]


def _order(table):
    """Worst first: by verdict, then by how far the head or how little of the lesion is inside."""
    grade = table["verdict"].map(VERDICTS.index).to_numpy()
    moved = np.linalg.norm(table[["right_mm", "front_mm", "up_mm"]].fillna(0), axis=1)
    out = 100 * (1 - table["inside"].fillna(1)) + 100 * (1 - table["in_view"].fillna(1))
    return np.lexsort((np.arange(len(table)), -(moved + out.to_numpy()), -grade))
