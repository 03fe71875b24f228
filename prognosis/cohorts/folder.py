"""A cohort from one's own folder: a table of participants and one scan per patient and kind (BIDS).

Scans are found by pattern and matched to the table by patient id; whatever does not fit is reported
together, so that one look mends the folder.
"""

import math
import re
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from imaging.errors import ImageError
from imaging.grids import open_image
from imaging.volumes import PICTURE_SUFFIXES, read_picture

from ..cells import nearest
from ..errors import CohortError

__all__ = ["load_cohort", "load_patients"]

_MISSING = ["n/a", "N/A", "NA", "nan", "NaN", ""]
_LISTED = 20


def load_cohort(participants_tsv, images, *, target, require="all"):
    """Load a table of patients and find their scans.

    Parameters
    ----------
    participants_tsv : str or os.PathLike
        Tab-separated table with a column ``participant_id``, one row per patient; "n/a" is a
        missing value.
    images : dict of str to str
        Column to make: pattern of its files, relative to the folder of the table. A file belongs to
        the patient whose id is a whole part of its path: ``sub-01`` matches
        ``sub-01/anat/sub-01_T1w.nii.gz`` and never ``sub-011_T1w.nii.gz``. For example
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
        If the table cannot be read, a patient id is missing or doubled, the target is missing, no
        patient remains, or (with ``require="all"``) a scan is missing, doubled or unreadable.

    Warns
    -----
    UserWarning
        If patients are left out.

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
    table = _with_target(table, target)
    scans = _usable_scans(table, path, images, require)
    X = scans.join(table.drop(columns=target))
    y = table[target].loc[X.index]
    if pd.api.types.is_float_dtype(y.dtype) and (y == y.round()).all():
        y = y.astype(np.int64)
    X.attrs["cohort"] = {**_about(X, path, images), "target": target}
    return X, y


def load_patients(participants_tsv, images, *, require="all"):
    """Load a table of patients whose outcome is not known, and find their scans.

    Parameters
    ----------
    participants_tsv, images, require
        As `load_cohort`.

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
    path, table = _opened(participants_tsv, images, require)
    X = _usable_scans(table, path, images, require).join(table)
    X.attrs["cohort"] = _about(X, path, images)
    return X


def _opened(participants_tsv, images, require):
    """The path of a table and what it holds, which leaves room for the images."""
    if require not in ("all", "usable"):
        raise CohortError(f"require must be 'all' or 'usable', got {require!r}")
    if not isinstance(images, dict):
        raise CohortError(
            f"images must name each column with the pattern of its files, got {images!r}; write "
            "{'t1w': 'sub-*/anat/*_T1w.nii.gz'}"
        )
    path = Path(participants_tsv).expanduser().absolute()
    table = _read_table(path)
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


def _usable_scans(table, path, images, require):
    """Paths of the scans, of patients who have all of them."""
    scans, problems = _find_scans(table.index, path.parent, images)
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


def _read_table(path):
    if path.is_dir():
        raise CohortError(f"{str(path)!r} is a folder; give the path of its participants.tsv")
    if not path.is_file():
        raise CohortError(f"no file at {str(path)!r}; give the path of participants.tsv")
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            keep_default_na=False,
            na_values=_MISSING,
            dtype={"participant_id": str},
            encoding="utf-8-sig",
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CohortError(
            f"{str(path)!r} cannot be read as a tab-separated table ({error}); save it as such"
        ) from error
    if "participant_id" not in table.columns:
        raise CohortError(
            f"{str(path)!r} has no column 'participant_id' (found {', '.join(table.columns)}); "
            "rename the column of patient ids, and separate columns by tabs"
        )
    nameless = np.flatnonzero(table["participant_id"].isna())
    if nameless.size:
        raise CohortError(
            f"{str(path)!r} has no participant_id in line {nameless[0] + 2}; fill it in or delete "
            "the line"
        )
    table = table.set_index(table.pop("participant_id").str.strip().rename("patient"))
    doubled = table.index[table.index.duplicated()].unique()
    if len(doubled):
        raise CohortError(
            f"{str(path)!r} lists {', '.join(doubled[:_LISTED])} more than once; keep one line per "
            "patient"
        )
    return table


def _with_target(table, target):
    known = table[target].notna()
    if not known.any():
        raise CohortError(f"column {target!r} is empty for every patient; give another target")
    if not known.all():
        warnings.warn(
            f"{int((~known).sum())} of {len(table)} patients are left out because {target!r} is "
            "missing",
            stacklevel=3,
        )
    return table[known]


def _find_scans(patients, folder, images):
    """Table of paths (missing where there is a problem) and one sentence per problem."""
    scans = pd.DataFrame(index=patients, columns=list(images), dtype=object)
    problems = []
    owner = _owner_of(patients)
    for column, pattern in images.items():
        found = {}
        for file in sorted(folder.glob(pattern)):
            found.setdefault(owner(file.relative_to(folder)), []).append(file)
        for patient in patients:
            files = found.get(patient, [])
            problem = _problem(files, folder, pattern)
            if problem is None:
                scans.loc[patient, column] = str(files[0])
            else:
                problems.append(f"{patient}, {column!r}: {problem}")
    return scans, problems


def _owner_of(patients):
    """Function from a relative path to the patient whose id is a whole part of it, or None."""
    by_name = {patient.removeprefix("sub-"): patient for patient in patients}
    # The longest first, so that "01_b" is not taken for "01".
    names = "|".join(re.escape(name) for name in sorted(by_name, key=len, reverse=True))
    labelled = re.compile(rf"(?<=[/_.])sub-({names})(?=[/_.])")
    bare = re.compile(rf"(?<=[/_.])({names})(?=[/_.])")

    def owner(path):
        text = f"/{path.as_posix()}"
        match = labelled.search(text) or bare.search(text)
        return by_name[match[1]] if match else None

    return owner


def _problem(files, folder, pattern):
    if not files:
        return f"no file matches {pattern!r}"
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in files[:3])
        return f"{len(files)} files match {pattern!r} ({names}); keep one or narrow the pattern"
    try:
        if str(files[0]).lower().endswith(PICTURE_SUFFIXES):
            read_picture(files[0])
        elif not _looks_whole(files[0]):
            np.asanyarray(open_image(files[0]).dataobj)
    except ImageError as error:
        return str(error)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        return f"{str(files[0])!r} ends early or is corrupt ({error}); copy the file again"
    return None


def _looks_whole(file):
    """Whether the length of a file is what its header promises: a check without reading voxels."""
    image = open_image(file)
    if not hasattr(image.dataobj, "offset"):
        return False
    promised = image.dataobj.offset + math.prod(image.shape) * image.get_data_dtype().itemsize
    if file.suffix != ".gz":
        return file.stat().st_size >= promised
    with open(file, "rb") as compressed:  # gzip ends with the length of what it holds
        compressed.seek(-4, 2)
        return int.from_bytes(compressed.read(), "little") == promised % 2**32
