"""``prognosis segment``: from scans to lesion masks, a table of volumes, and pictures to check."""

from pathlib import Path

from imaging.errors import ImagingError

from ..errors import CohortError, PrognosisError
from .common import (
    BAD_DATA,
    OK,
    NotWrittenError,
    UsageError,
    add_command,
    device_name,
    open_probability,
    place,
    say,
    tell,
    whole,
    write_csv,
)

__all__ = ["add", "run"]

DESCRIPTION = (
    "Segment lesions on scans of any sequence. For each scan NAME.nii.gz writes "
    "NAME_lesion.nii.gz on its own voxels and NAME_lesion.png to check it by eye; "
    "volumes.csv lists the volumes. A scan that cannot be segmented does not stop the "
    "others: it is named on stderr at the end, and the exit code is 3. Every mask has to "
    "be looked at: for research only."
)
_ENDINGS = (".nii.gz", ".nii", ".mgz", ".img", ".hdr")


def add(commands):
    """Register the command with its options."""
    segment = add_command(
        commands,
        "segment",
        run,
        help="find lesions on scans: masks, volumes, and a picture of each",
        description=DESCRIPTION,
        interrupted="interrupted; masks that were finished stay",
    )
    add = segment.add_argument
    add("scans", nargs="+", metavar="SCAN", help="NIfTI files, 3-D")
    add("--out", required=True, type=place, metavar="DIR", help="for masks, pictures, volumes.csv")
    add(
        "--model",
        default="synthetic-small",
        metavar="NAME|FILE",
        help="a .safetensors file that `LesionSegmenter.save` wrote, or a pretrained model by name",
    )
    add(
        "--threshold",
        type=open_probability,
        metavar="P",
        help="probability of a lesion (default: the model's)",
    )
    add("--flips", action="store_true", help="average over mirrored copies: slower, steadier")
    add("--ct", action="store_true", help="scans are CT: clip to 0-80 Hounsfield units")
    add("--device", type=device_name, default="auto", help="auto, cpu, cuda (default: auto)")
    add("--threads", type=whole(1, 1024), default=1, metavar="N", help="CPU threads (default: 1)")
    add("--quiet", action="store_true", help="no progress")


def run(options):
    """Carry out the command: masks, pictures, a table; failed scans are named at the end."""
    try:
        return _segment(options)
    except (ImagingError, PrognosisError):
        raise
    except OSError as error:
        raise NotWrittenError(f"{options.out} cannot be written: {error}") from error


def _segment(options):
    names = _names(options.scans)
    for scan in options.scans:  # a wrong path is told before an hour of work
        if not Path(scan).expanduser().is_file():
            folder = " (it is a folder: name the scans in it)" if Path(scan).is_dir() else ""
            raise CohortError(f"no file at {scan!r}{folder}; correct the path")
    segmenter = _model(options)
    scores = segmenter.card_["scores"]
    if scores:
        known = ", ".join(f"{name} {value:.2f}" for name, value in scores.items())
        say(options, f"this model's own scores: {known}")
    options.out.mkdir(parents=True, exist_ok=True)
    rows, failures = [], []
    _write_volumes(options.out, rows)  # those of an earlier run are not those of this one
    for number, (scan, name) in enumerate(zip(options.scans, names, strict=True), start=1):
        say(options, f"{number} of {len(names)}: {scan}")
        try:
            (mask,) = segmenter.predict([scan])
        except Exception as error:  # whatever is wrong with one scan, the others can be done
            failures.append(f"{scan}: {_sentence(error)}")
            continue
        rows.append(_written(mask, options.out, scan, name))
        _write_volumes(options.out, rows)
        try:
            _draw(scan, mask, options.out, name, rows[-1]["lesion_ml"])
        except OSError:
            raise
        except Exception as error:
            failures.append(f"{scan}: its mask was written, but no picture ({_sentence(error)})")
    if rows:
        print(_table(rows)[["scan", "lesion_ml"]].to_string(index=False))
    if not failures:
        return OK
    for failure in failures:
        tell(failure)
    tell(f"{len(failures)} of {len(names)} scans failed, see above; volumes.csv holds {len(rows)}")
    return BAD_DATA


def _written(mask, folder, scan, name):
    """Write a mask; its row of the table."""
    from imaging.volumes import mask_volume_ml, write_image

    path = write_image(mask, folder / f"{name}_lesion.nii.gz")
    return {"scan": str(scan), "mask": path.name, "lesion_ml": round(mask_volume_ml(mask), 3)}


def _draw(scan, mask, folder, name, ml):
    from imaging.overlay import save_overlay

    save_overlay(scan, mask, folder / f"{name}_lesion.png", title=f"{name}: {ml:.1f} ml")


def _table(rows):
    import pandas as pd

    return pd.DataFrame(rows, columns=["scan", "mask", "lesion_ml"])


def _write_volumes(folder, rows):
    from imaging.storage.files import replacing

    with replacing(folder / "volumes.csv") as temporary:
        write_csv(_table(rows), temporary, index=False)


def _sentence(error):
    """What an error says, in one line, without the number of the scan."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].removeprefix("scan 0: ")


def _names(scans):
    """Names of the scans without folder and ending, which must differ."""
    names = []
    for scan in scans:
        name = Path(scan).name
        ending = next((e for e in _ENDINGS if name.lower().endswith(e)), "")
        names.append(name[: len(name) - len(ending)])
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CohortError(
            f"two scans are called {twice[0]!r}, and their masks would overwrite each other; "
            "segment them into different folders"
        )
    return names


def _model(options):
    from imaging.learning.device import resolve_device
    from imaging.segmentation import LesionSegmenter
    from imaging.storage.models import model_path

    try:
        resolve_device(options.device)
    except ValueError as error:
        raise UsageError(f"--device {options.device}: {error}") from error
    given = {"device": options.device, "n_threads": options.threads}
    if options.flips:
        given["test_time_mirroring"] = True
    if options.threshold is not None:
        given["threshold"] = options.threshold
    if options.ct:
        given["ct"] = True
    return LesionSegmenter.load(model_path(options.model), **given)
