"""``prognosis compare``: the study's models on a cohort, and a report.

What is compared is assembled in `prognosis.studies.published`; here options become its parameters.
"""

import argparse
from pathlib import Path

from ..errors import CohortError
from .common import (
    OK,
    NotWrittenError,
    UsageError,
    add_command,
    add_soop_options,
    check_out,
    find_class,
    imaging_effect,
    load_named_cohort,
    named_pattern,
    positive_int,
    say,
    use_cache_folder,
)

__all__ = ["DEFAULTS", "add", "run"]

# Columns that the ladder adds after lesion size, and the image for the CNN.
DEFAULTS = {
    "simulated": {"target": "aphasia", "tabular": ["severity", "recovery_years"], "image": "t1w"},
    "soop": {
        "target": "poor_outcome",
        "tabular": ["nihss", "age"],
        "image": "flair",
        "place_atlas": "natbrainlab",
        "mosaic_size": 192,  # three cross-sections side by side: tiles of about 64 pixels
    },
}
# Small enough for a first look in a minute or two; the numbers mean little.
QUICK = {"n_patients": 60, "spacing_mm": 8.0, "epochs": 3, "mosaic_size": 64, "cv": "3"}
USUAL = {"n_patients": 300, "spacing_mm": 4.0, "cv": "5x2"}
DESCRIPTION = (
    "Compare, on the same folds of the same patients: logistic regressions on lesion size "
    "and tabular columns, region loads with these, number and place of lesions with these, a "
    "CNN on stitched slices, and the CNN combined with the regression. Numeric outcomes with "
    "more than two values are predicted by regression, or with --cut as ordinal ones."
)


def add(commands):
    """Register the command with its options."""
    compare = add_command(
        commands,
        "compare",
        run,
        help="compare the study's models on a cohort and write a report",
        description=DESCRIPTION,
    )
    add = compare.add_argument_group("cohort").add_argument
    add(
        "--cohort",
        required=True,
        metavar="simulated|soop|PATH",
        help="made here; the Stroke Outcome Optimization Project; or a participants.tsv (or its "
        "folder)",
    )
    add("--target", metavar="COLUMN", help="outcome; for soop poor_outcome (default), mrs, nihss")
    add(
        "--cut",
        type=cut,
        metavar="LEVEL",
        help="the outcome is ordinal, and being above this level is to be predicted: for soop "
        "--target mrs --cut 2",
    )
    add("--positive", metavar="LABEL", help="of two classes, the one to predict")
    add(
        "--images",
        action="append",
        default=[],
        metavar="NAME=GLOB",
        type=named_pattern,
        help="images of a PATH cohort, such as 't1w=sub-*/anat/*_T1w.nii.gz'; repeat for more",
    )
    add("--image", metavar="COLUMN", help="image for the CNN (default: the first but the lesion)")
    add("--lesion", metavar="COLUMN", help="lesion masks (default: 'lesion' where it exists)")
    add("--labels", type=int, nargs="+", metavar="N", help="labels that are lesion in the masks")
    add(
        "--space",
        choices=["template", "native"],
        default="template",
        help="native: images are not asked whether they lie in template space, and models of "
        "regions and places mean nothing (default: template; see prognosis check)",
    )
    add("--tabular", nargs="*", metavar="COLUMN", help="in the order the ladder adds them")
    add("--patient", metavar="COLUMN", help="who each row is of, where a patient has several scans")
    add(
        "--atlas",
        metavar="NAME|FILE",
        help="for region loads (default: aal; for soop the arterial territories it comes with)",
    )
    add(
        "--place-atlas",
        metavar="NAME|FILE",
        help="for the model of number and place (default: as --atlas; for soop natbrainlab, 32 "
        "tracts of the white matter)",
    )
    add_soop_options(add)
    add("--n-patients", type=positive_int, metavar="N", help="simulated patients (default: 300)")
    add(
        "--imaging-effect",
        type=imaging_effect,
        default=1.0,
        metavar="X",
        help="how much the image counts in the simulated outcome; 0: not at all (default: 1)",
    )
    add = compare.add_argument_group("comparison").add_argument
    add("--cv", metavar="FOLDS[xREPEATS]", type=folds, help="default: 5x2")
    add("--epochs", type=positive_int, metavar="N", help="training of the CNN")
    add("--mosaic-size", type=positive_int, metavar="PIXELS", help="picture the CNN sees")
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


def run(options):
    """Carry out the command: the report into a folder, its table on stdout."""
    for name, value in (QUICK if options.quick else USUAL).items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    use_cache_folder(options)
    check_out(options.out)
    result = _compare(options)
    try:
        result.save(options.out)
    except OSError as error:
        raise NotWrittenError(f"the report could not be written: {error}") from error
    print(result)
    say(options, f"report: {options.out / 'index.html'}")
    return OK


def _compare(options):
    """Load the cohort, assemble the models, compare them."""
    from pandas.api.types import is_numeric_dtype

    from ..evaluation.protocol.comparison import compare
    from ..studies.published import build_study

    say(options, "loading the cohort")
    X, y = load_named_cohort(options)
    defaults = DEFAULTS.get(options.cohort, {})
    lesion, image = _image_columns(options, X, defaults)
    tabular = options.tabular
    if tabular is None:
        tabular = [name for name in defaults.get("tabular", []) if name in X.columns]
    patient = [] if options.patient is None else [options.patient]
    for option, names in (("--tabular", tabular), ("--patient", patient)):
        for name in names:
            if name not in X.columns:
                raise UsageError(f"{option} {name}: the table has {', '.join(X.columns)}")
    if not tabular and lesion is None:
        raise UsageError("nothing to build a baseline from: name columns with --tabular")
    if options.cut is not None and not is_numeric_dtype(y.dtype):
        raise UsageError(f"--cut {options.cut}: the outcome {y.name} is text, which has no order")
    cnn = {"device": options.device, "epochs": options.epochs}
    cnn["mosaic_size"] = options.mosaic_size or defaults.get("mosaic_size")
    say(options, f"{len(X)} patients; measuring lesions" if lesion else f"{len(X)} patients")
    study = build_study(
        X,
        y,
        image=image,
        tabular=tabular,
        lesion=lesion,
        atlas=options.atlas or X.attrs.get("cohort", {}).get("atlas", "aal"),
        place_atlas=options.place_atlas or defaults.get("place_atlas"),
        memory=options.memory,
        ordinal=options.cut is not None,
        labels=options.labels,
        space=options.space,
        patient=options.patient,
        n_jobs=options.n_jobs,
        random_state=options.random_state,
        **{name: value for name, value in cnn.items() if value is not None},
    )
    say(options, f"fitting {len(study.models)} models: {', '.join(study.models)}")
    positive = options.positive
    if positive is not None:
        positive = find_class("--positive", positive, y.unique().tolist(), called="outcomes")
    try:
        return compare(
            study.models,
            study.X,
            study.y,
            cv=options.cv,
            cut=options.cut,
            baseline=study.baseline,
            groups=options.patient,
            positive_label=positive,
            n_jobs=options.n_jobs,
            random_state=options.random_state,
            verbose=0 if options.quiet else 1,
        )
    except CohortError:
        raise
    except ValueError as error:
        raise UsageError(error) from error


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


def folds(text):
    """The type of FOLDS[xREPEATS]."""
    from ..splits import parse_cv

    try:
        parse_cv(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def cut(text):
    """The type of LEVEL: a number, whole where it is.

    Examples
    --------
    >>> cut("2"), cut("2.5")
    (2, 2.5)
    """
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    return int(number) if number.is_integer() else number
