"""``prognosis compare``: the study's models on a cohort, and a report."""

import argparse
import math

from ..errors import CohortError
from .common import (
    OK,
    NotWrittenError,
    UsageError,
    add_command,
    check_out,
    find_class,
    folder,
    place,
    say,
    use_cache_folder,
)
from .study import (
    DEFAULTS,
    add_cohort_options,
    add_training_options,
    load_study,
    use_settings,
)

__all__ = ["DEFAULTS", "add", "folds", "run"]

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
    add = add_cohort_options(compare)
    add(
        "--cut",
        type=cut,
        metavar="LEVEL",
        help="the outcome is ordinal, and being above this level is to be predicted: for soop "
        "--target mrs --cut 2",
    )
    add("--positive", metavar="LABEL", help="of two classes, the one to predict")
    add = compare.add_argument_group("comparison").add_argument
    add("--cv", metavar="FOLDS[xREPEATS]", type=folds, help="default: 5x2")
    add("--by", metavar="COLUMN", help="also report every hospital, scanner, ... by itself")
    add("--scoring", nargs="+", metavar="NAME", help="further scores, of scikit-learn")
    add("--threshold", type=float, metavar="P", help="for sensitivity and specificity")
    add_training_options(add)
    add = compare.add_argument_group("files").add_argument
    add("--out", required=True, type=place, metavar="FOLDER", help="for index.html and CSV files")
    add(
        "--memory",
        type=folder,
        metavar="FOLDER",
        help="for prepared images (default: the user's cache folder)",
    )
    add("--quiet", action="store_true", help="no progress")


def run(options):
    """Carry out the command: the report into a folder, its table on stdout."""
    use_settings(options, cv=("3", "5x2"))
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
    from ..evaluation.protocol.comparison import compare

    study = load_study(options, ordinal=options.cut is not None)
    say(options, f"fitting {len(study.models)} models: {', '.join(study.models)}")
    positive = options.positive
    if positive is not None:
        positive = find_class("--positive", positive, study.y.unique().tolist(), called="outcomes")
    try:
        return compare(
            study.models,
            study.X,
            study.y,
            cv=options.cv,
            cut=options.cut,
            baseline=study.baseline,
            groups=options.patient,
            by=options.by,
            scoring=options.scoring,
            threshold=options.threshold,
            positive_label=positive,
            n_jobs=options.n_jobs,
            random_state=options.random_state,
            verbose=0 if options.quiet else 1,
        )
    except CohortError:
        raise
    except ValueError as error:
        raise UsageError(error) from error


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
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r:.60} is not a number")
    return int(number) if number.is_integer() else number
