"""What the commands share: exit codes, errors, types of options, cohorts, where files go.

Everything heavy is imported when it is needed, so that ``--help`` answers at once.
"""

import argparse
import os
import sys
from pathlib import Path

from .values import (
    device_name,
    folder,
    imaging_effect,
    job_count,
    named_pattern,
    number,
    open_probability,
    patients,
    place,
    positive_int,
    seed,
    whole,
)

__all__ = [
    "BAD_DATA",
    "EXIT_CODES",
    "INTERRUPTED",
    "MODEL_FAILED",
    "NOT_WRITTEN",
    "OK",
    "USAGE",
    "NotWrittenError",
    "UsageError",
    "add_command",
    "add_images_option",
    "add_named_cohort",
    "add_soop_options",
    "check_device",
    "check_out",
    "device_name",
    "find_class",
    "folder",
    "imaging_effect",
    "job_count",
    "load_named_cohort",
    "named_pattern",
    "number",
    "open_probability",
    "participants_file",
    "place",
    "positive_int",
    "say",
    "seed",
    "tell",
    "use_cache_folder",
    "whole",
    "write_csv",
]

OK, USAGE, BAD_DATA, MODEL_FAILED, NOT_WRITTEN, INTERRUPTED = 0, 2, 3, 4, 5, 130
EXIT_CODES = """\
exit codes:
  0    done
  2    the command is wrong: unknown option, value, column, or model
  3    the data are not usable: missing, broken, or no download
  4    a model failed in a fold
  5    the report could not be written
  130  interrupted; nothing was written (segment: what was finished stays)
"""
NOTHING_WRITTEN = "interrupted; nothing was written"


class UsageError(Exception):
    """The command cannot be carried out as it was given."""


class NotWrittenError(Exception):
    """What was found could not be written."""


def add_command(commands, name, run, *, help, description, interrupted=NOTHING_WRITTEN):
    """Register a command.

    Parameters
    ----------
    commands : argparse subparsers
    name : str
    run : callable
        Takes the parsed options; returns an exit code, or raises.
    help, description : str
        For the list of commands, and for its own page.
    interrupted : str
        What is said after Ctrl-C.

    Returns
    -------
    argparse.ArgumentParser
        To add options to.
    """
    parser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, interrupted=interrupted)
    return parser


def add_soop_options(add):
    """Options of the Stroke Outcome Optimization Project; `add` is an ``add_argument``."""
    add("--data-home", type=folder, metavar="FOLDER", help="where soop is, or is put")
    add("--download", action="store_true", help="fetch soop when it is not there")


def add_images_option(add):
    """Where the images of a cohort of one's own lie."""
    add(
        "--images",
        action="append",
        default=[],
        metavar="NAME=GLOB",
        type=named_pattern,
        help="images of a cohort of your own, such as 't1w=sub-*/anat/*_T1w.nii.gz'; repeat for "
        "more",
    )


def add_named_cohort(add):
    """The cohort as an argument, with what `load_named_cohort` asks for but the imaging effect."""
    add(
        "cohort",
        metavar="COHORT",
        help="simulated, soop, or a participants.tsv (or its folder), as for compare",
    )
    add("--target", metavar="COLUMN", help="outcome; a table of your own needs it")
    add_images_option(add)
    add_soop_options(add)
    add("--n-patients", type=patients, default=300, metavar="N", help="simulated patients")
    add("--spacing-mm", type=number(1, 8), default=4.0, metavar="MM", help="of simulated images")
    add("--random-state", type=seed, default=0, metavar="SEED", help="default: 0")
    add("--n-jobs", type=job_count, default=-1, metavar="N", help="default: -1, every core")
    add(
        "--memory",
        type=folder,
        metavar="FOLDER",
        help="for simulated images (default: the user's cache)",
    )
    add("--quiet", action="store_true", help="no progress")


def tell(text):
    """A line on stderr, in the name of the program."""
    print(f"prognosis: {text}", file=sys.stderr)


def say(options, text):
    """A line of progress on stderr, unless ``--quiet``."""
    if not options.quiet:
        tell(text)


def use_cache_folder(options):
    """Set ``options.memory`` to the user's cache folder where none was named."""
    if options.memory is None:
        import platformdirs

        options.memory = str(platformdirs.user_cache_path("prognosis-mri"))


def check_device(device):
    """Refuse a device that is not present on this machine, whether or not a model will need it.

    Raises
    ------
    UsageError
    """
    if device in ("auto", "cpu"):  # asking for another one loads PyTorch
        return
    from imaging.learning.device import resolve_device

    try:
        resolve_device(device)
    except ValueError as error:
        raise UsageError(f"--device {device}: {error}") from error


def check_out(out):
    """Refuse a folder that cannot be written to before the work: hours of it would be lost.

    Raises
    ------
    NotWrittenError
    """
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise NotWrittenError(f"--out {str(out)!r}: {str(place)!r} cannot be written to")


def load_named_cohort(options):
    """The cohort that ``options.cohort`` names: simulated, soop, or a table of one's own.

    Returns
    -------
    X : DataFrame
    y : Series

    Raises
    ------
    UsageError
        If ``options.target`` does not suit it.
    CohortError
        If it cannot be used.
    """
    from ..cohorts.folder import load_cohort
    from ..cohorts.simulated import make_stroke_cohort
    from ..cohorts.soop import load_soop

    if options.cohort == "simulated":
        if options.target not in (None, "aphasia"):
            raise UsageError(f"--target {options.target}: the simulated outcome is aphasia")
        return make_stroke_cohort(
            options.n_patients,
            imaging_effect=options.imaging_effect,
            spacing_mm=options.spacing_mm,
            folder=Path(options.memory) / "simulated",
            n_jobs=options.n_jobs,
            random_state=options.random_state,
        )
    if options.cohort == "soop":
        return load_soop(
            options.data_home,
            target=options.target or "poor_outcome",
            download=options.download,
            n_jobs=options.n_jobs,
        )
    if options.target is None:
        raise UsageError("--target is needed for a cohort of your own")
    table = participants_file(options.cohort)
    return load_cohort(table, dict(options.images), target=options.target)


def participants_file(path):
    """The table that a path names, or the one in a folder."""
    path = Path(path).expanduser()
    return path / "participants.tsv" if path.is_dir() else path


def find_class(option, text, classes, *, called):
    """The class that an option names, since on the command line everything is text.

    Parameters
    ----------
    option, text : str
        For example ``--class`` and what was given to it.
    classes : sequence
    called : str
        What the classes are in the error.

    Raises
    ------
    UsageError
        If there is no such class.

    Examples
    --------
    >>> find_class("--class", "1", [0, 1], called="classes")
    1
    """
    for label in classes:
        if str(label) == text:
            return label
    raise UsageError(f"{option} {text}: the {called} are {', '.join(map(str, classes))}")


def write_csv(table, path, **options):
    """Write a table so that no spreadsheet takes its texts for formulas; see `pages.csv_text`."""
    from ..pages import csv_text

    path.write_text(csv_text(table, **options), encoding="utf-8", newline="")
