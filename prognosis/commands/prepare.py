"""``prognosis prepare``: from raw scans to a folder in template space that every command reads."""

import json
from pathlib import Path

from imaging.errors import ImagingError

from .. import __version__
from ..errors import CohortError, PrognosisError
from .common import (
    BAD_DATA,
    OK,
    NotWrittenError,
    UsageError,
    add_command,
    add_images_option,
    check_out,
    participants_file,
    positive_int,
    say,
    tell,
)

__all__ = ["add", "run"]

DESCRIPTION = (
    "Bring raw scans of any contrast, orientation and slice thickness to the MNI template, with "
    "their lesion masks. Reads a BIDS folder, or a table with a column participant_id and columns "
    "of paths. Writes a folder of BIDS derivatives: images and transforms of each patient, "
    "participants.tsv without those that failed, quality.tsv with everybody, and index.html to "
    "look at, worst first. A run that was stopped goes on where it was. Who failed is named on "
    "stderr, and the exit code is 3."
)
_BIDS = {"t1w": "T1w", "flair": "FLAIR", "t2w": "T2w", "dwi": "dwi"}
_LOOKED_AT = 400  # files, for DICOM
_DICOM = (
    "{path!r} holds DICOM files, which are not read here; convert them with dcm2niix "
    "(dcm2niix -b y -z y -o OUT FOLDER, https://github.com/rordenlab/dcm2niix) and give the folder "
    "of NIfTI files"
)


def add(commands):
    """Register the command with its options."""
    parser = add_command(
        commands,
        "prepare",
        run,
        help="bring raw scans and lesion masks to the template",
        description=DESCRIPTION,
        interrupted="interrupted; patients that were finished stay, the same command goes on",
    )
    add = parser.add_argument
    add("scans", metavar="FOLDER|TABLE", help="a BIDS folder, or a .tsv or .csv table of paths")
    add("--out", required=True, type=Path, metavar="FOLDER", help="for the derivatives")
    add_images_option(add)
    add(
        "--column",
        action="append",
        default=[],
        metavar="NAME",
        help="of a table: a column of paths, relative to it; repeat for more",
    )
    add(
        "--lesion",
        metavar="NAME|MODEL",
        help="which image is the lesion mask, drawn on the reference; or the model that finds it "
        "(synthetic-small, a .safetensors file). Default: 'lesion' where it is an image",
    )
    add("--labels", type=int, nargs="+", metavar="N", help="labels that are lesion in the masks")
    add("--reference", metavar="NAME", help="image that is registered (default: the first)")
    add("--spacing-mm", type=float, default=1.0, metavar="MM", help="of the result (default: 1)")
    add("--affine", action="store_true", help="no warp: quicker, coarser")
    add("--model", default="coordinates", metavar="NAME|FILE", help="what finds the brain")
    add("--n-jobs", type=positive_int, default=1, metavar="N", help="patients at once (default: 1)")
    add("--quiet", action="store_true", help="no progress")


def run(options):
    """Carry out the command: derivatives, tables, a page; failed patients are named at the end."""
    check_out(options.out)
    X, table = _cohort(options)
    prepare = _transformer(options, X)
    say(options, f"{len(X)} patients, {', '.join(prepare.columns_)}: to the template")
    try:
        return _prepared(options, X, table, prepare)
    except (ImagingError, PrognosisError):
        raise
    except OSError as error:
        raise NotWrittenError(f"{options.out} cannot be written: {error}") from error


def _prepared(options, X, table, prepare):
    from ..inspection.registrations import check_registrations

    options.out.mkdir(parents=True, exist_ok=True)
    quality = check_registrations(prepare, X, sheet=options.out / "index.html")
    failed = quality.index[quality["verdict"] == "wrong"]
    kept = table.drop(index=failed)
    kept.insert(0, "registration_failure", quality["failure"].reindex(kept.index))
    _write_table(kept, options.out / "participants.tsv")
    _write_table(quality, options.out / "quality.tsv")
    _describe(options, prepare)
    counts = quality["verdict"].value_counts()
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    say(options, f"pictures: {options.out / 'index.html'}")
    if len(failed) < len(X):
        images = " ".join(
            f"--images '{name}={_pattern(prepare, name)}'" for name in prepare.columns_
        )
        target = table.columns[0] if len(table.columns) else "COLUMN"
        say(
            options,
            f"next: prognosis compare {options.out} --target {target} {images} --out REPORT",
        )
    if not len(failed):
        return OK
    for patient in failed:
        tell(f"{patient}: {quality.loc[patient, 'reasons']}")
    tell(f"{len(failed)} of {len(X)} patients failed and are not in participants.tsv")
    return BAD_DATA


def _cohort(options):
    """Raw images by column, and the other columns of the table."""
    path = Path(options.scans).expanduser()
    if path.is_dir():
        _refuse_dicom(path)
        images = dict(options.images) or _usual_images(path)
        X = _of_folder(path, images)
    elif path.is_file():
        if path.suffix.lower() == ".dcm" or _is_dicom(path):
            raise CohortError(_DICOM.format(path=str(path)))
        images, X = _of_table(path, options)
    else:
        raise CohortError(f"no folder or table at {options.scans!r}; correct the path")
    return X, X.drop(columns=list(images))


def _of_folder(path, images):
    """Images and table of a BIDS folder; without participants.tsv, of its folders sub-*."""
    from ..cohorts.folder import load_patients

    table = participants_file(path)
    if table.is_file():
        return load_patients(table, images)
    names = sorted(one.name for one in path.glob("sub-*") if one.is_dir())
    if not names:
        raise CohortError(
            f"{str(path)!r} has neither participants.tsv nor folders sub-*; arrange it as BIDS, or "
            "give a table with columns participant_id and paths"
        )
    return load_patients(path / "sub-*", images, patients=names)


def _usual_images(path):
    """The sequences of a BIDS folder that some patient has, T1w first."""
    found = {}
    for name, suffix in _BIDS.items():
        for pattern in (f"sub-*/anat/*_{suffix}.nii*", f"sub-*/dwi/*_{suffix}.nii*"):
            if next(path.glob(pattern), None) is not None:
                found[name] = pattern
    if not found:
        raise UsageError(
            "no sub-*/anat/*_T1w.nii.gz, FLAIR or T2w is there; name the images: "
            "--images 'flair=*/*flair*.nii.gz'"
        )
    return found


def _of_table(path, options):
    from ..cohorts.tables import read_participants

    if path.suffix.lower() == ".csv":
        table = _of_csv(path)
    else:
        table = read_participants(path, texts=options.column)
    if not options.column:
        raise UsageError("name the columns of paths: --column t1w --column lesion")
    missing = [name for name in options.column if name not in table.columns]
    if missing:
        raise UsageError(f"--column {missing[0]}: the columns are {', '.join(table.columns)}")
    for name in options.column:
        table[name] = [
            str(path.parent / one) if isinstance(one, str) else None for one in table[name]
        ]
    return options.column, table


def _of_csv(path):
    """A table separated by commas, which may have quotation marks; by patient."""
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype={"participant_id": str})
    except (ValueError, UnicodeDecodeError) as error:
        raise CohortError(f"{str(path)!r} cannot be read as a table ({error})") from error
    if "participant_id" not in table.columns:
        raise CohortError(
            f"{str(path)!r} has no column 'participant_id' (found {', '.join(table.columns)})"
        )
    table = table.set_index("participant_id")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise CohortError(f"{str(path)!r} lists {twice} more than once; keep one line per patient")
    return table


def _transformer(options, X):
    from ..features.to_template import ToTemplate

    named = [name for name, _ in options.images] or options.column
    images = named or list(X.attrs["cohort"]["image_columns"])
    lesion = options.lesion or ("lesion" if "lesion" in images else None)
    scans = [name for name in images if name != lesion]
    if not scans:
        raise UsageError("there is no scan to register: name one with --images NAME=GLOB")
    if options.reference is not None and options.reference not in scans:
        raise UsageError(f"--reference {options.reference}: the images are {', '.join(scans)}")
    return ToTemplate(
        scans,
        lesion=lesion,
        labels=options.labels,
        spacing_mm=options.spacing_mm,
        nonlinear=not options.affine,
        reference=options.reference,
        model=options.model,
        folder=options.out,
        failed="missing",
        n_jobs=options.n_jobs,
        verbose=0 if options.quiet else 1,
    ).fit(X)


def _refuse_dicom(folder):
    looked_at = 0
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        looked_at += 1
        if looked_at > _LOOKED_AT:
            return
        name = file.name.lower()
        if name.endswith((".nii", ".nii.gz", ".tsv", ".json")):
            continue
        if name.endswith((".dcm", ".ima")) or name == "dicomdir" or _is_dicom(file):
            raise CohortError(_DICOM.format(path=str(folder)))


def _is_dicom(file):
    """DICOM files have these letters after 128 bytes."""
    try:
        with open(file, "rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _pattern(prepare, name):
    from ..features.moving import file_of

    return (
        file_of("", "sub-*", name, mask=name == prepare.masks_)
        .as_posix()
        .replace("sub-*_", "*_", 1)
    )


def _write_table(table, path):
    from imaging.storage.files import replacing

    table = table.rename_axis("participant_id").reset_index()
    with replacing(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a")


def _describe(options, prepare):
    """What BIDS asks of derivatives: what made them, and of what versions."""
    from imaging.registration.registering import installed
    from imaging.storage.files import replacing

    settings = {
        name: value if isinstance(value, (str, int, float, bool, list, type(None))) else str(value)
        for name, value in prepare.get_params(deep=False).items()
    }
    about = {
        "Name": "Scans in template space",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "prognosis prepare", "Version": __version__}],
        "SourceDatasets": [{"URL": str(Path(options.scans).name)}],
        "Settings": settings,
        "Versions": installed(),
    }
    with replacing(options.out / "dataset_description.json") as temporary:
        temporary.write_text(json.dumps(about, indent=1), encoding="utf-8")
