"""The Stroke Outcome Optimization Project: acute stroke, lesion masks, FLAIR, and mRS at outcome.

The FLAIR is public only as pictures with the lesion painted over it; the paint is taken off here,
once, because a network would otherwise read the lesion from it.
"""

import os
import re
import shutil
import urllib.request
import warnings
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
from joblib import Parallel, delayed

from imaging import overlay
from imaging.doors.pictures import pixels
from imaging.errors import ImageError
from imaging.storage.contents import file_content
from imaging.storage.files import making_folder, replacing

from ..errors import CohortError, DownloadError
from .records import read_record, write_record
from .tables import check_numbers, line_of, read_participants

__all__ = ["fetch_soop", "load_soop", "recover_picture"]

ARCHIVE_URL = "https://github.com/neurolabusc/StrokeOutcomeOptimizationProjectDemo/archive/HEAD.zip"
TABLE = "Scripts/participants.tsv"
MASK = "NIfTI/bws{patient}_lesion.nii.gz"
PICTURE = "PNG/{patient}_lesion.nii.png"

# Rows and columns of the three cross-sections in a picture; a rendering follows to their right.
SECTIONS_SHAPE = (189, 503)
POOR_OUTCOME_ABOVE_MRS = 2
OLDEST_AGE_YEARS = 89
MOST_UNPACKED_BYTES = 5_000_000_000

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # ids become names of files
_COLUMNS = {  # lowest and highest value, and whether only whole numbers can be
    "gs_rankin_6isdeath": (0, 6, True),
    "nihss": (0, 42, True),
    "priorstroke": (0, 1, True),
    "bmi": (5, 150, False),
}

_TARGETS = {
    "poor_outcome": "poor outcome: modified Rankin Scale above 2 (dependent or dead)",
    "mrs": "modified Rankin Scale, 0 (no symptoms) to 6 (dead)",
    "nihss": "NIHSS at admission, 0 (no deficit) to 42",
}


def load_soop(data_home=None, *, target="poor_outcome", download=False, cache=None, n_jobs=None):
    """Load patients with acute ischaemic stroke from the Stroke Outcome Optimization Project.

    Parameters
    ----------
    data_home : str, os.PathLike or None, default=None
        Folder that holds ``soop/`` (with ``NIfTI``, ``PNG``, ``Scripts``), or ``soop`` itself.
        None: the environment variable PROGNOSIS_DATA, else ``../shared/datasets`` beside the
        checkout where that exists, else the user's cache folder.
    target : {"poor_outcome", "mrs", "nihss"}, default="poor_outcome"
        "poor_outcome": 1 where the modified Rankin Scale is above 2; "mrs": that scale, 0 to 6,
        an ordinal outcome: ``compare(models, X, y, cut=2)``;
        "nihss": severity at admission (then it is not among the predictors).
    download : bool, default=False
        Fetch the data from the public repository when they are not in `data_home`.
    cache : str, os.PathLike or None, default=None
        Where the FLAIR pictures are kept once their overlay is undone; None: the user's cache
        folder.
    n_jobs : int or None, default=None
        Threads that convert pictures.

    Returns
    -------
    X : DataFrame, one row per patient
        ``lesion`` (path of the mask, MNI space, 1 mm), ``flair`` (path of an 8-bit grey picture,
        189 x 503: one axial, one sagittal, one coronal section of the raw FLAIR on the same grid,
        left is left), ``age`` in years ("89+", which anonymisation made of every higher age, is
        89), ``sex`` ("F", "M"), ``prior_stroke`` (0, 1), ``bmi`` in kg/m², ``nihss``. Missing
        values are NaN. Race, which the table also holds, is left out.
        ``X.attrs["cohort"]["atlas"]`` is the atlas of arterial territories that comes with them.
    y : Series
        Patients without the target are left out. When the outcome was assessed is not recorded.

    Raises
    ------
    CohortError
        If the data are not there, their table is not what it should be, or `target` is unknown.
    DownloadError
        If the download fails; nothing of it is kept.

    Warns
    -----
    UserWarning
        If patients are left out because their mask or picture is missing.

    References
    ----------
    Absher et al. 2024, Scientific Data 11:839, doi 10.1038/s41597-024-03667-5.

    Examples
    --------
    >>> X, y = load_soop("datasets")  # doctest: +SKIP
    >>> X.shape, y.mean().round(2)  # doctest: +SKIP
    ((464, 7), np.float64(0.52))
    """
    if target not in _TARGETS:
        raise CohortError(f"target must be one of {', '.join(_TARGETS)}, got {target!r}")
    folder = _soop_folder(data_home)
    if not (folder / TABLE).is_file():
        if not download:
            raise CohortError(
                f"no Stroke Outcome Optimization Project data at {str(folder)!r}; call "
                "load_soop(download=True), or give the folder as data_home or in the environment "
                "variable PROGNOSIS_DATA"
            )
        fetch_soop(folder, url=ARCHIVE_URL)
    table = _read_table(folder / TABLE)
    outcome = table["nihss" if target == "nihss" else "mrs"]
    table = table[outcome.notna()]
    table = table[_has_images(folder, table.index)]
    if table.empty:
        raise CohortError(f"no patient in {str(folder)!r} has outcome, mask and picture")

    cache = _user_cache() / "soop-flair" if cache is None else Path(cache).expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    pictures = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_grey_picture)(folder / PICTURE.format(patient=_scan(patient)), patient, cache)
        for patient in table.index
    )
    X = pd.DataFrame(
        {
            "lesion": [str(folder / MASK.format(patient=_scan(p))) for p in table.index],
            "flair": pictures,
        },
        index=table.index,
    )
    X = X.join(table[["age", "sex", "prior_stroke", "bmi", "nihss"]])
    if target == "nihss":
        X = X.drop(columns="nihss")
    outcome = outcome[table.index].astype(np.int64)
    y = (outcome > POOR_OUTCOME_ABOVE_MRS).astype(np.int64) if target == "poor_outcome" else outcome
    atlas = Path(X["lesion"].iloc[0]).with_name("ArterialAtlas136.nii.gz")
    X.attrs["cohort"] = {
        "name": "Stroke Outcome Optimization Project",
        "simulated": False,
        "description": (
            f"{len(X)} patients with acute ischaemic stroke: lesion masks, three sections of the "
            f"FLAIR and clinical values at admission. Target: {_TARGETS[target]}."
        ),
        "source": (
            "Absher et al. 2024, Scientific Data 11:839, doi 10.1038/s41597-024-03667-5; "
            "github.com/neurolabusc/StrokeOutcomeOptimizationProjectDemo"
        ),
        "licence": "BSD-2-Clause",
        "image_columns": ["lesion", "flair"],
        "atlas": str(atlas) if atlas.is_file() else "aal",
        "target": target,
    }
    return X, y.rename(target)


def _read_table(path):
    """The table of participants, with names of ours; refuses what cannot stand in it."""
    table = read_participants(path, texts=["age"])
    missing = [name for name in ("age", *_COLUMNS, "sex") if name not in table.columns]
    if missing:
        raise CohortError(
            f"{str(path)!r} has no column {missing[0]!r} (found {', '.join(table.columns)}); it is "
            "not the table of this cohort: get it again"
        )
    odd = [patient for patient in table.index if not _ID.fullmatch(patient)]
    if odd:
        raise CohortError(
            f"{str(path)!r}, {line_of(table, odd[0])}: the participant_id {odd[0]!r} is none of "
            "this cohort; get the table again"
        )
    ages = table["age"].str.strip().replace(f"{OLDEST_AGE_YEARS}+", str(OLDEST_AGE_YEARS))
    table["age"] = pd.to_numeric(ages, errors="coerce").where(ages.notna())
    unread = ages.notna() & table["age"].isna()
    if unread.any():
        patient = table.index[unread][0]
        raise CohortError(
            f"{str(path)!r}, {line_of(table, patient)}, column 'age': found "
            f"{ages[patient]!r} where a number or '{OLDEST_AGE_YEARS}+' was expected; correct it"
        )
    check_numbers(table, "age", path, low=0, high=120)
    for name, (low, high, whole) in _COLUMNS.items():
        check_numbers(table, name, path, low=low, high=high, whole=whole)
        table[name] = pd.to_numeric(table[name])
    table.attrs = {}
    return table.rename(columns={"priorstroke": "prior_stroke", "gs_rankin_6isdeath": "mrs"})


def recover_picture(picture):
    """Take the red lesion overlay off a published picture.

    How: see `imaging.overlay.remove_overlay`.

    Parameters
    ----------
    picture : str, os.PathLike or ndarray of shape (189, at least 503, 3), uint8

    Returns
    -------
    grey : ndarray of shape (189, 503), uint8
        Raw FLAIR: axial (columns 0-156), sagittal (157-345) and coronal (346-502) section.
    mask : ndarray of shape (189, 503), bool
        The lesion in the same sections.

    Raises
    ------
    ImageError
        If the picture cannot be read or is not one of these.

    Examples
    --------
    >>> raw = np.full((189, 503, 3), 100, np.uint8)
    >>> raw[80:90, 40:60] = [177, 50, 50]  # painted half red
    >>> grey, mask = recover_picture(raw)
    >>> int(mask.sum()), np.unique(grey).tolist()
    (200, [100])
    """
    if isinstance(picture, (str, os.PathLike)):
        name, colours = repr(str(picture)), pixels(picture, "RGB")
        if colours.ndim == 2:  # saved in grey, since nothing was painted over it
            colours = np.repeat(colours.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    else:
        name, colours = "the picture", np.asarray(picture)
    rows, columns = SECTIONS_SHAPE
    if colours.ndim != 3 or colours.shape[0] != rows or colours.shape[1] < columns:
        raise ImageError(
            f"{name} has shape {colours.shape} where {rows} rows, at least {columns} columns and "
            "three colours were expected; give a picture of the PNG folder"
        )
    return overlay.remove_overlay(colours[:, :columns], name)


def fetch_soop(folder, *, url=ARCHIVE_URL):
    """Download the public repository and keep its masks, pictures and table.

    Parameters
    ----------
    folder : str, os.PathLike
        Folder to make. Until everything has arrived and been checked it does not exist.
    url : str
        Address of the repository as a zip archive.

    Returns
    -------
    pathlib.Path
        `folder`.

    Raises
    ------
    DownloadError
        If the connection fails, the archive is truncated or corrupt, or holds something else;
        nothing of it is kept.
    """
    folder = Path(folder).expanduser().absolute()
    if folder.exists() and any(folder.iterdir()):
        raise DownloadError(
            f"{str(folder)!r} exists but holds no {TABLE}; empty it or choose another data_home"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with making_folder(folder) as temporary:
        archive = temporary / "archive.zip"
        try:
            _download(url, archive)
            _unpack(archive, temporary)
        except (OSError, HTTPException, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise DownloadError(
                f"the data could not be fetched whole from {url} ({error}); nothing was kept. "
                "Check the connection and try again"
            ) from error
        archive.unlink()
    return folder


def _download(url, path):
    from tqdm import tqdm

    with urllib.request.urlopen(url, timeout=60) as response, open(path, "wb") as file:
        announced = response.headers.get("Content-Length")
        total = None if announced is None else int(announced)
        with tqdm(total=total, unit="B", unit_scale=True, desc="SOOP") as progress:
            while block := response.read(1 << 20):
                file.write(block)
                progress.update(len(block))
            if total is not None and progress.n != total:
                raise EOFError(f"the connection ended after {progress.n} of {total} bytes")


def _unpack(archive, folder):
    """Unpack what is needed; zipfile compares the checksum of every file it reads to its end."""
    unpacked = 0
    with zipfile.ZipFile(archive) as contents:
        for member in contents.infolist():
            # The archive holds one folder, named after the repository and its version.
            parts = Path(member.filename).parts[1:]
            wanted = parts[:1] in (("NIfTI",), ("PNG",)) or "/".join(parts) in (TABLE, "LICENSE")
            if member.is_dir() or not wanted or ".." in parts:
                continue
            unpacked += member.file_size
            if unpacked > MOST_UNPACKED_BYTES:
                raise EOFError(f"the archive unpacks to more than {MOST_UNPACKED_BYTES:,} bytes")
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with contents.open(member) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file)
    if not (folder / TABLE).is_file():
        raise EOFError(f"the archive holds no {TABLE}")


def _soop_folder(data_home):
    if data_home is None:
        beside_checkout = Path(__file__).resolve().parents[3] / "shared" / "datasets"
        if os.environ.get("PROGNOSIS_DATA"):
            data_home = os.environ["PROGNOSIS_DATA"]
        elif beside_checkout.is_dir():
            data_home = beside_checkout
        else:
            data_home = _user_cache()
    home = Path(data_home).expanduser().absolute()
    return home if (home / TABLE).is_file() else home / "soop"


def _user_cache():
    return platformdirs.user_cache_path("prognosis-mri")


def _scan(patient):
    """How the files of a patient are called: "r" marks images on the resliced grid."""
    return f"r{patient}"


def _has_images(folder, patients):
    present = np.array(
        [
            all((folder / name.format(patient=_scan(p))).is_file() for name in (MASK, PICTURE))
            for p in patients
        ],
        dtype=bool,
    )
    if not present.all():
        missing = patients[~present]
        warnings.warn(
            f"{len(missing)} of {len(patients)} patients are left out because their mask or "
            f"picture is missing: {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}",
            stacklevel=3,
        )
    return present


def _grey_picture(source, patient, cache):
    """Path of the picture without overlay; made once per content of the source."""
    from PIL import Image

    target, record = cache / f"{patient}_flair.png", cache / f"{patient}_flair.json"
    try:
        made_from = [file_content(path) for path in (source, __file__, overlay.__file__)]
        if read_record(record, [target], made_from) is not None:
            return str(target)
        grey, _ = recover_picture(source)
    except (ImageError, OSError) as error:
        raise CohortError(f"row {patient!r}, column 'flair': {error}") from error
    with replacing(target) as temporary:
        Image.fromarray(grey).save(temporary, compress_level=1)
    write_record(record, [target], made_from)
    return str(target)
