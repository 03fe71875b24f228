"""A cohort from one's own folder: a table of participants and one scan per patient and kind (BIDS).

Scans are found by pattern and matched to the table by patient id; whatever does not fit is reported
together, so that one look mends the folder.
"""

import math
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from imaging.errors import ImageError
from imaging.grids import open_image
from imaging.volumes import is_raster, read_picture, read_voxels

from ..cells import LARGEST_OUTCOME, nearest
from ..errors import CohortError
from ..oddities import texts_among_numbers
from .tables import check_numbers, line_of, read_participants

__all__ = ["check_pattern", "load_cohort", "load_patients"]

_LISTED = 20
_LARGEST_WHOLE = 2**53  # beyond it, floats are not all whole numbers


def load_cohort(participants_tsv, images, *, target, require="all"):
    """Load a table of patients and find their scans.

    Parameters
    ----------
    participants_tsv : str or os.PathLike
        Tab-separated table with a column ``participant_id``, one row per patient; "n/a" is a
        missing value. UTF-8, or UTF-16 with a byte-order mark. There is no quoting, as BIDS says: a
        quotation mark is a character like others.
    images : dict of str to str
        Column to make: pattern of its files, relative to the folder of the table. A file belongs to
        the patient whose id is a whole part of its path: ``sub-01`` matches
        ``sub-01/anat/sub-01_T1w.nii.gz`` and never ``sub-011_T1w.nii.gz``; an id without ``sub-``
        has to begin the name of the file or of a folder. A file whose path names two patients
        belongs to none. For example
        ``{"t1w": "sub-*/anat/*_T1w.nii.gz", "lesion": "derivatives/lesions/*_mask.nii.gz"}``.
    target : str
        Column of the table that holds the outcome. Patients without it are left out, with a
        warning.
    require : {"all", "usable"}, default="all"
        What to do where a patient's scan is missing, doubled or unreadable. "all": refuse, naming
        every such patient. "usable": leave those patients out, with a warning that names them.

    Returns
    -------
    X : DataFrame, one row per patient
        The image columns (absolute paths), then every other column of the table.
    y : Series
        The target; whole numbers are int, text stays text.

    Raises
    ------
    CohortError
        If the table cannot be read, a patient id is missing or doubled, the target is missing or
        holds texts among numbers or numbers that cannot be, no patient remains, or (with
        ``require="all"``) a scan is missing, doubled or unreadable.

    Warns
    -----
    UserWarning
        If patients are left out, or cells hold quotation marks.

    Notes
    -----
    Only the header and the length of each scan are checked here; its voxels are when they are used.

    Examples
    --------
    >>> X, y = load_cohort(
    ...     "study/participants.tsv", {"t1w": "sub-*/anat/*_T1w.nii.gz"}, target="wab_aq"
    ... )  # doctest: +SKIP
    """
    path, table = _opened(participants_tsv, images, require)
    if target not in table.columns:
        raise CohortError(
            f"column {target!r} not found in {str(path)!r}; it has {', '.join(table.columns)}"
            f"{nearest(target, table.columns) or '.'} Give one of them as target"
        )
    everybody = table.index
    table = _with_target(table, target, path)
    scans = _usable_scans(table, path, images, require, everybody)
    X = scans.join(table.drop(columns=target))
    y = table[target].loc[X.index]
    whole = pd.api.types.is_float_dtype(y.dtype) and (y == y.round()).all()
    if whole and y.abs().max() <= _LARGEST_WHOLE:
        y = y.astype(np.int64)
    X.attrs, y.attrs = {"cohort": {**_about(X, path, images), "target": target}}, {}
    return X, y


def load_patients(participants_tsv, images, *, require="all", patients=None):
    """Load a table of patients whose outcome is not known, and find their scans.

    Parameters
    ----------
    participants_tsv, images, require
        As `load_cohort`.
    patients : sequence of str, default=None
        Ids, where there is no table; `participants_tsv` then only says in which folder, and is not
        read.

    Returns
    -------
    DataFrame, one row per patient
        The image columns (absolute paths), then every other column of the table.

    Raises
    ------
    CohortError
        As `load_cohort`.

    Examples
    --------
    >>> X = load_patients("ward/participants.tsv", {"lesion": "sub-*_lesion.nii.gz"})
    ... # doctest: +SKIP
    """
    path, table = _opened(participants_tsv, images, require, patients)
    X = _usable_scans(table, path, images, require).join(table)
    X.attrs = {"cohort": _about(X, path, images)}
    return X


def _opened(participants_tsv, images, require, patients=None):
    """The path of a table and what it holds, which leaves room for the images."""
    if require not in ("all", "usable"):
        raise CohortError(f"require must be 'all' or 'usable', got {require!r}")
    if not isinstance(images, dict):
        raise CohortError(
            f"images must name each column with the pattern of its files, got {images!r}; write "
            "{'t1w': 'sub-*/anat/*_T1w.nii.gz'}"
        )
    for name, pattern in images.items():
        check_pattern(pattern, name)
    path = Path(participants_tsv).expanduser().absolute()
    if patients is None:
        table = read_participants(path)
    else:
        table = pd.DataFrame(index=pd.Index(patients, name="patient"))
    clash = [name for name in images if name in table.columns]
    if clash:
        raise CohortError(
            f"image column {clash[0]!r} is also a column of {path.name}; name the image otherwise"
        )
    return path, table


def _about(X, path, images):
    return {
        "name": path.parent.name,
        "simulated": False,
        "description": f"{len(X)} patients from {path.name} of {path.parent.name}.",
        "source": path.parent.name,
        "licence": "as stated by its owner",
        "image_columns": list(images),
    }


def _usable_scans(table, path, images, require, everybody=None):
    """Paths of the scans, of patients who have all of them; `everybody`: whose scans may be there.

    Those who have no outcome may have scans, too, which are nobody else's.
    """
    everybody = table.index if everybody is None else everybody
    scans, problems = _find_scans(table.index, path.parent, images, everybody)
    if not problems:
        return scans
    report = "; ".join(problems[:_LISTED])
    if len(problems) > _LISTED:
        report += f"; and {len(problems) - _LISTED} more"
    affected = scans.index[scans.isna().any(axis=1)]
    if require == "all":
        raise CohortError(
            f"{len(affected)} of {len(table)} patients lack a usable scan: {report}. Mend the "
            "folder or the pattern, or leave these patients out with require='usable'"
        )
    warnings.warn(
        f"{len(affected)} of {len(table)} patients are left out for lack of a usable scan: "
        f"{report}",
        stacklevel=3,
    )
    scans = scans.drop(index=affected)
    if scans.empty:
        raise CohortError(f"no patient of {str(path)!r} has all of {', '.join(images)}")
    return scans


def check_pattern(pattern, name="images"):
    """Refuse a pattern that cannot find files below a folder.

    Parameters
    ----------
    pattern : str
    name : str
        Of its column.

    Raises
    ------
    CohortError

    Examples
    --------
    >>> check_pattern("/scans/*.nii.gz", "t1w")
    Traceback (most recent call last):
        ...
    prognosis.errors.CohortError: images['t1w'] is '/scans/*.nii.gz'; give a pattern relative to the
    folder of the table, such as 'sub-*/anat/*_T1w.nii.gz'
    """
    wrong = not isinstance(pattern, str) or not pattern.strip() or "\0" in pattern
    if not wrong:
        parts = re.split(r"[/\\]", pattern)
        wrong = Path(pattern).is_absolute() or pattern.startswith("~") or len(pattern) > 1000
        wrong |= any("**" in part and part != "**" for part in parts)
        wrong |= Path(pattern) == Path(".") or parts.count("**") > 3
    if wrong:
        raise CohortError(
            f"images[{name!r}] is {pattern!r:.200}; give a pattern relative to the folder of the "
            "table, such as 'sub-*/anat/*_T1w.nii.gz'"
        )


def _with_target(table, target, path):
    known = table[target].notna()
    if not known.any():
        raise CohortError(f"column {target!r} is empty for every patient; give another target")
    if not known.all():
        warnings.warn(
            f"{int((~known).sum())} of {len(table)} patients are left out because {target!r} is "
            "missing",
            stacklevel=3,
        )
    table = table[known]
    if pd.api.types.is_numeric_dtype(table[target].dtype):
        check_numbers(table, target, path, low=-LARGEST_OUTCOME, high=LARGEST_OUTCOME)
    else:
        odd = texts_among_numbers(table[target])
        if odd is not None:
            raise CohortError(
                f"{str(path)!r}, {line_of(table, odd)}, row {odd!r}, column {target!r}: found "
                f"{table[target][odd]!r} among numbers; correct it, or write n/a"
            )
    return table


def _find_scans(patients, folder, images, everybody):
    """Table of paths (missing where there is a problem) and one sentence per problem."""
    scans = pd.DataFrame(index=patients, columns=list(images), dtype=object)
    problems = []
    owner = _owner_of(everybody)
    for column, pattern in images.items():
        found = {}
        for file in _matching(folder, pattern):
            found.setdefault(owner(file.relative_to(folder)), []).append(file)
        for patient in patients:
            files = found.get(patient, [])
            problem = _problem(files, folder, pattern)
            if problem is None:
                scans.loc[patient, column] = str(files[0])
            else:
                problems.append(f"{patient}, {column!r}: {problem}")
        if found.get(_NOBODY) and any(not found.get(patient) for patient in patients):
            names = ", ".join(str(file.relative_to(folder)) for file in found[_NOBODY][:3])
            problems.append(
                f"{len(found[_NOBODY])} files match {pattern!r} but name several patients, or one "
                f"who is not in the table ({names}); they belong to nobody"
            )
    return scans, problems


def _matching(folder, pattern):
    """Files that match a pattern, in the order of their names."""
    try:
        return sorted(folder.glob(pattern))
    except (OSError, ValueError, NotImplementedError, RecursionError) as error:
        raise CohortError(
            f"the pattern {pattern!r:.200} finds no files ({error}); correct it"
        ) from error


_NOBODY = object()


def _owner_of(patients):
    """Function from a relative path to the patient whose id is a whole part of it.

    A label ``sub-...`` decides wherever there is one. Otherwise the name of a file or folder has to
    begin with the id. `_NOBODY` of a path that names several patients, or, by its label or by the
    form of its names, perhaps one who is not in the table; None of one that names none.
    """
    by_name = {patient.removeprefix("sub-"): patient for patient in patients}
    # The longest first, so that "01_b" is not taken for "01".
    names = "|".join(re.escape(name) for name in sorted(by_name, key=len, reverse=True))
    label = re.compile(rf"(?<=[/_.])sub-(?:({names})(?=[/_.])|[^/_.]*)")
    bare = re.compile(rf"/({names})(?=[/_.])")
    begins = re.compile(r"/([^/_.]+)(?=[/_.])")
    forms = {_form(name) for name in by_name}

    def owner(path):
        text = f"/{path.as_posix()}"
        found = {match[1] for match in label.finditer(text)}
        if not found:
            places = {match.start(1): match[1] for match in bare.finditer(text)}
            found = set(places.values())
            if found:
                others = [m for m in begins.finditer(text) if m.start(1) not in places]
                found |= {None for m in others if _form(m[1]) in forms}
        if not found:
            return None
        (name, *further) = found
        return _NOBODY if further or name is None else by_name[name]

    return owner


def _form(name):
    """What ids of one kind have in common: "A017" and "B203" are "a000"."""
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "0", name))


def _problem(files, folder, pattern):
    if not files:
        return f"no file matches {pattern!r}"
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in files[:3])
        return f"{len(files)} files match {pattern!r} ({names}); keep one or narrow the pattern"
    try:
        if is_raster(files[0]):
            read_picture(files[0], allow_empty=True)
        else:
            image = open_image(files[0])
            if not _looks_whole(files[0], image):
                read_voxels(image)
    except ImageError as error:
        return str(error)
    return None


def _looks_whole(file, image):
    """Whether the length of a file is what its header promises: a check without reading voxels."""
    if not hasattr(image.dataobj, "offset"):
        return False
    promised = image.dataobj.offset + math.prod(image.shape) * image.get_data_dtype().itemsize
    if file.suffix != ".gz":
        return file.stat().st_size >= promised
    try:
        with open(file, "rb") as compressed:  # gzip ends with the length of what it holds
            compressed.seek(-4, 2)
            return int.from_bytes(compressed.read(), "little") == promised % 2**32
    except OSError as error:
        raise ImageError(f"{str(file)!r} cannot be read ({error}); copy it again") from error
