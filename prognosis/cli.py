"""The command line: ``prognosis compare``, ``prognosis explain``, ``prognosis segment``.

Progress goes to stderr, the table to stdout, and the exit code says what went wrong.
"""

import argparse
import os
import sys
from pathlib import Path

from . import __version__
from .commands.segment import add_segment
from .errors import CohortError, PrognosisError

__all__ = ["main"]

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

# Columns that the ladder adds after lesion size, and the image for the CNN.
DEFAULTS = {
    "simulated": {"target": "aphasia", "tabular": ["severity", "recovery_years"], "image": "t1w"},
    "soop": {
        "target": "poor_outcome",
        "tabular": ["nihss", "age"],
        "image": "flair",
        "mosaic_size": 192,  # three cross-sections side by side: tiles of about 64 pixels
    },
}
# Small enough for a first look in a minute or two; the numbers mean little.
QUICK = {"n_patients": 60, "spacing_mm": 8.0, "epochs": 3, "mosaic_size": 64, "cv": "3"}
USUAL = {"n_patients": 300, "spacing_mm": 4.0, "cv": "5x2"}


class UsageError(Exception):
    """The command cannot be carried out as it was given."""


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments without the program's name; None takes them from the command line.

    Returns
    -------
    int
        Exit code: 0 done, 2 wrong command, 3 unusable data, 4 a model failed, 5 nothing could be
        written, 130 interrupted.

    Examples
    --------
    >>> main(["--version"])
    prognosis 0.1.0
    0
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code
    try:
        return options.run(options)
    except UsageError as error:
        return _fail(USAGE, error)
    except PrognosisError as error:
        from .evaluation.protocol.running import ModelError

        return _fail(MODEL_FAILED if isinstance(error, ModelError) else BAD_DATA, error)
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, options.interrupted)


def _fail(code, message):
    print(f"prognosis: {message}", file=sys.stderr)
    return code


def _parser():
    parser = argparse.ArgumentParser(
        prog="prognosis",
        description="Prognosis from brain MRI and tabular data, compared honestly.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"prognosis {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_explain(commands)
    add_segment(commands, EXIT_CODES)
    return parser


def _add_compare(commands):
    compare = commands.add_parser(
        "compare",
        help="compare the study's models on a cohort and write a report",
        description=(
            "Compare, on the same folds of the same patients: logistic regressions on lesion size "
            "and tabular columns, region loads with these, a CNN on stitched slices, and the CNN "
            "combined with the regression. Numeric outcomes with more than two values are "
            "predicted by regression."
        ),
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.set_defaults(run=_compare, interrupted=NOTHING_WRITTEN)
    add = compare.add_argument_group("cohort").add_argument
    add(
        "--cohort",
        required=True,
        metavar="simulated|soop|PATH",
        help="made here; the Stroke Outcome Optimization Project; or a participants.tsv (or its "
        "folder)",
    )
    add("--target", metavar="COLUMN", help="outcome; for soop poor_outcome (default), mrs, nihss")
    add("--positive", metavar="LABEL", help="of two classes, the one to predict")
    add(
        "--images",
        action="append",
        default=[],
        metavar="NAME=GLOB",
        type=_named_pattern,
        help="images of a PATH cohort, such as 't1w=sub-*/anat/*_T1w.nii.gz'; repeat for more",
    )
    add("--image", metavar="COLUMN", help="image for the CNN (default: the first but the lesion)")
    add("--lesion", metavar="COLUMN", help="lesion masks (default: 'lesion' where it exists)")
    add("--tabular", nargs="*", metavar="COLUMN", help="in the order the ladder adds them")
    add("--patient", metavar="COLUMN", help="who each row is of, where a patient has several scans")
    add(
        "--atlas",
        metavar="NAME|FILE",
        help="for region loads (default: aal; for soop the arterial territories it comes with)",
    )
    add("--data-home", metavar="FOLDER", help="where soop is, or is put")
    add("--download", action="store_true", help="fetch soop when it is not there")
    add("--n-patients", type=_positive_int, metavar="N", help="simulated patients (default: 300)")
    add(
        "--imaging-effect",
        type=_effect,
        default=1.0,
        metavar="X",
        help="how much the image counts in the simulated outcome; 0: not at all (default: 1)",
    )
    add = compare.add_argument_group("comparison").add_argument
    add("--cv", metavar="FOLDS[xREPEATS]", type=_cv, help="default: 5x2")
    add("--epochs", type=_positive_int, metavar="N", help="training of the CNN")
    add("--mosaic-size", type=_positive_int, metavar="PIXELS", help="picture the CNN sees")
    add("--device", default="auto", help="auto, cpu, cuda (default: auto)")
    add(
        "--n-jobs", type=int, default=-1, metavar="N", help="fits at once (default: -1, every core)"
    )
    add("--random-state", type=int, default=0, metavar="SEED", help="default: 0")
    add("--quick", action="store_true", help="small, fast settings, to see that it runs")
    add = compare.add_argument_group("files").add_argument
    add("--out", required=True, type=Path, metavar="FOLDER", help="for index.html and CSV files")
    add("--memory", metavar="FOLDER", help="for prepared images (default: the user's cache folder)")
    add("--quiet", action="store_true", help="no progress")


def _add_explain(commands):
    from .commands.explain import DESCRIPTION, add_options

    explain = commands.add_parser(
        "explain",
        help="map what a fitted model's predictions come from",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.set_defaults(run=_explain, interrupted=NOTHING_WRITTEN)
    add_options(explain, named_pattern=_named_pattern, positive_int=_positive_int)


def _explain(options):
    unwritable = _prepare(options)
    if unwritable:
        return _fail(NOT_WRITTEN, unwritable)
    from imaging.errors import ImagingError

    from .commands.explain import run_explain

    try:
        run_explain(options, load=_load, say=_say)
    except ImagingError as error:
        raise CohortError(str(error)) from error
    except CohortError:
        raise
    except (ValueError, TypeError) as error:
        raise UsageError(error) from error
    except OSError as error:
        return _fail(NOT_WRITTEN, f"the results could not be written: {error}")
    return OK


def _prepare(options):
    """Where things are kept; a sentence if nothing can be written to where they shall go."""
    if options.memory is None:
        import platformdirs

        options.memory = str(platformdirs.user_cache_path("prognosis-mri"))
    # looked at before the work, since hours of it would be lost
    place = next(
        path for path in (options.out.absolute(), *options.out.absolute().parents) if path.exists()
    )
    if not place.is_dir() or not os.access(place, os.W_OK):
        return f"--out {str(options.out)!r}: {str(place)!r} cannot be written to"
    return None


def _compare(options):
    for name, value in (QUICK if options.quick else USUAL).items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    unwritable = _prepare(options)
    if unwritable:
        return _fail(NOT_WRITTEN, unwritable)
    from imaging.errors import ImagingError

    try:
        result = _run(options)
    except ImagingError as error:
        raise CohortError(str(error)) from error
    try:
        result.save(options.out)
    except OSError as error:
        return _fail(NOT_WRITTEN, f"the report could not be written: {error}")
    print(result)
    _say(options, f"report: {options.out / 'index.html'}")
    return OK


def _run(options):
    """Load the cohort, assemble the models, compare them."""
    from .evaluation.protocol.comparison import compare
    from .studies.published import build_study

    _say(options, "loading the cohort")
    X, y = _load(options)
    defaults = DEFAULTS.get(options.cohort, {})
    lesion, image = _image_columns(options, X, defaults)
    tabular = options.tabular
    if tabular is None:
        tabular = [name for name in defaults.get("tabular", []) if name in X.columns]
    for name in tabular:
        if name not in X.columns:
            raise UsageError(f"--tabular {name}: the table has {', '.join(X.columns)}")
    if options.patient is not None and options.patient not in X.columns:
        raise UsageError(f"--patient {options.patient}: the table has {', '.join(X.columns)}")
    if not tabular and lesion is None:
        raise UsageError("nothing to build a baseline from: name columns with --tabular")
    cnn = {"device": options.device, "epochs": options.epochs}
    cnn["mosaic_size"] = options.mosaic_size or defaults.get("mosaic_size")
    _say(options, f"{len(X)} patients; measuring lesions" if lesion else f"{len(X)} patients")
    study = build_study(
        X,
        y,
        image=image,
        tabular=tabular,
        lesion=lesion,
        atlas=options.atlas or X.attrs.get("cohort", {}).get("atlas", "aal"),
        memory=options.memory,
        patient=options.patient,
        n_jobs=options.n_jobs,
        random_state=options.random_state,
        **{name: value for name, value in cnn.items() if value is not None},
    )
    _say(options, f"fitting {len(study.models)} models: {', '.join(study.models)}")
    try:
        return compare(
            study.models,
            study.X,
            study.y,
            cv=options.cv,
            baseline=study.baseline,
            groups=options.patient,
            positive_label=_positive_label(options, y),
            n_jobs=options.n_jobs,
            random_state=options.random_state,
            verbose=0 if options.quiet else 1,
        )
    except CohortError:
        raise
    except ValueError as error:
        raise UsageError(error) from error


def _load(options):
    from . import load_cohort, load_soop, make_stroke_cohort

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
    table = Path(options.cohort).expanduser()
    if table.is_dir():
        table = table / "participants.tsv"
    if options.target is None:
        raise UsageError("--target is needed for a cohort of your own")
    return load_cohort(table, dict(options.images), target=options.target)


def _image_columns(options, X, defaults):
    """Columns with lesion masks and with the image for the CNN, or None."""
    known = X.attrs.get("cohort", {}).get("image_columns", [])
    for option in ("image", "lesion"):
        name = getattr(options, option)
        if name is not None and name not in known:
            raise UsageError(f"--{option} {name}: the images are {', '.join(known) or 'none'}")
    lesion = options.lesion or ("lesion" if "lesion" in known else None)
    others = [name for name in known if name != lesion]
    image = options.image or defaults.get("image") or next(iter(others), lesion)
    return lesion, image


def _positive_label(options, y):
    if options.positive is None:
        return None
    for label in y.unique().tolist():
        if str(label) == options.positive:
            return label
    raise UsageError(
        f"--positive {options.positive}: the outcomes are {', '.join(map(str, y.unique()))}"
    )


def _say(options, text):
    if not options.quiet:
        print(f"prognosis: {text}", file=sys.stderr)


def _named_pattern(text):
    name, equals, pattern = text.partition("=")
    if not (name and equals and pattern):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=GLOB")
    return name, pattern


def _positive_int(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _effect(text):
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _cv(text):
    from .splits import parse_cv

    try:
        parse_cv(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


if __name__ == "__main__":
    sys.exit(main())
