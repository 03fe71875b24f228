"""``prognosis segment``: from scans to lesion masks, a table of volumes, and pictures to check."""

import argparse
import sys
from pathlib import Path

from .errors import CohortError

__all__ = ["add_segment"]

_ENDINGS = (".nii.gz", ".nii", ".mgz", ".img", ".hdr")


def add_segment(commands, epilog):
    """Register the command.

    Parameters
    ----------
    commands : argparse subparsers
    epilog : str
        The exit codes.
    """
    segment = commands.add_parser(
        "segment",
        help="find lesions on scans: masks, volumes, and a picture of each",
        description=(
            "Segment lesions on scans of any sequence. For each scan NAME.nii.gz writes "
            "NAME_lesion.nii.gz on its own voxels and NAME_lesion.png to check it by eye; "
            "volumes.csv lists the volumes. Every mask has to be looked at: for research only."
        ),
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    segment.set_defaults(run=_segment)
    add = segment.add_argument
    add("scans", nargs="+", metavar="SCAN", help="NIfTI files, 3-D")
    add("--out", required=True, type=Path, metavar="DIR", help="for masks, pictures, volumes.csv")
    add(
        "--model",
        default="synthetic-small",
        metavar="NAME|FILE",
        help="a .safetensors file that `LesionSegmenter.save` wrote, or a pretrained model by name",
    )
    add("--threshold", type=_share, metavar="P", help="probability of a lesion (default: 0.5)")
    add("--flips", action="store_true", help="average over mirrored copies: slower, steadier")
    add("--ct", action="store_true", help="scans are CT: clip to 0-80 Hounsfield units")
    add("--device", default="auto", help="auto, cpu, cuda (default: auto)")
    add("--threads", type=int, default=1, metavar="N", help="CPU threads (default: 1)")
    add("--quiet", action="store_true", help="no progress")


def _segment(options):
    from imaging.errors import ImagingError

    try:
        return _run(options)
    except ImagingError as error:
        raise CohortError(str(error)) from error
    except OSError as error:
        print(f"prognosis: {options.out} cannot be written: {error}", file=sys.stderr)
        return 5


def _run(options):
    import pandas as pd

    from imaging.files import replacing
    from imaging.segmentation.pictures import save_overlay
    from imaging.volumes import mask_volume_ml, open_image, write_image

    names = _names(options.scans)
    for scan in options.scans:  # a wrong path is told before an hour of work
        open_image(scan)
    segmenter = _model(options)
    if not options.quiet and segmenter.card_["scores"]:
        known = ", ".join(
            f"{name} {value:.2f}" for name, value in segmenter.card_["scores"].items()
        )
        print(f"prognosis: this model's own scores: {known}", file=sys.stderr)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (scan, name) in enumerate(zip(options.scans, names, strict=True), start=1):
        if not options.quiet:
            print(f"prognosis: {number} of {len(names)}: {scan}", file=sys.stderr)
        try:
            (mask,) = segmenter.predict([scan])
        except ValueError as error:
            raise CohortError(f"{scan}: {str(error).removeprefix('scan 0: ')}") from error
        ml = mask_volume_ml(mask)
        write_image(mask, options.out / f"{name}_lesion.nii.gz")
        save_overlay(scan, mask, options.out / f"{name}_lesion.png", title=f"{name}: {ml:.1f} ml")
        rows.append({"scan": str(scan), "mask": f"{name}_lesion.nii.gz", "lesion_ml": round(ml, 3)})
        with replacing(options.out / "volumes.csv") as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)
    print(pd.DataFrame(rows)[["scan", "lesion_ml"]].to_string(index=False))
    return 0


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
    from imaging.segmentation import LesionSegmenter
    from imaging.segmentation.model_files import model_path

    given = {
        "device": options.device,
        "n_threads": options.threads,
        "test_time_flips": options.flips,
    }
    if options.threshold is not None:
        given["threshold"] = options.threshold
    if options.ct:
        given["ct"] = True
    return LesionSegmenter.load(model_path(options.model), **given)


def _share(text):
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
