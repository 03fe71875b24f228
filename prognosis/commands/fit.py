"""``prognosis fit``: one model on all patients of a cohort, into a file for new patients."""

from imaging.errors import ImagingError

from ..errors import ModelError, PrognosisError
from .common import (
    OK,
    NotWrittenError,
    UsageError,
    add_command,
    check_out,
    folder,
    place,
    say,
    use_cache_folder,
    whole,
)
from .study import add_cohort_options, add_training_options, chosen_columns, use_settings

__all__ = ["add", "count", "run"]

DESCRIPTION = (
    "Fit one model on all patients of a cohort and write it to a file, which `prognosis predict` "
    "opens for new patients without running code that it holds. The file describes the training "
    "patients by ranges, categories and hashed ids, and keeps what intervals are made from. How "
    "well the model predicts is said by `prognosis compare`, not here."
)
MODELS = ("ladder", "place", "stitched", "roi", "volume", "fusion")  # see `named_model`
OF_TABLES = ("ladder", "place")
REFITS = 50


def add(commands):
    """Register the command with its options."""
    fit = add_command(
        commands,
        "fit",
        run,
        help="fit one model on a cohort and write it to a file",
        description=DESCRIPTION,
    )
    add = add_cohort_options(fit)
    add = fit.add_argument_group("model").add_argument
    add(
        "--model",
        required=True,
        choices=MODELS,
        help="ladder: lesion size and table; place: also number and place of lesions; or a network",
    )
    add(
        "--ordinal",
        action="store_true",
        help="the outcome is ordered, such as the modified Rankin Scale",
    )
    add(
        "--refits",
        type=count,
        metavar="N",
        help=f"on parts of the patients, for intervals (default: {REFITS}; of networks 0, which "
        "take as long each as the model itself)",
    )
    add_training_options(add)
    add = fit.add_argument_group("files").add_argument
    add("--out", required=True, type=place, metavar="FILE", help="best ending in .prognosis")
    add(
        "--memory",
        type=folder,
        metavar="FOLDER",
        help="for prepared images (default: the user's cache folder)",
    )
    add("--quiet", action="store_true", help="no progress")


def run(options):
    """Carry out the command: the model into a file, what it is on stdout."""
    from ..saving.archive import save

    use_settings(options)
    use_cache_folder(options)
    if options.out.is_dir():
        raise NotWrittenError(f"--out {str(options.out)!r} is a folder; name a file in it")
    check_out(options.out.parent)
    model, X, y = _fitted(options)
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        save(model, options.out, X, y)
    except OSError as error:
        raise NotWrittenError(f"the model could not be written: {error}") from error
    about = X.attrs.get("cohort", {})
    simulated = " SIMULATED" if about.get("simulated") else ""
    print(f"{options.model}: {y.name} of {len(X)}{simulated} patients, in {options.out}")
    return OK


def _fitted(options):
    from ..prediction.intervals import WithIntervals
    from ..studies.named import named_model
    from ..studies.published import is_classification

    X, y, columns, network = chosen_columns(options)
    outcome = "binary" if is_classification(y) else "continuous"
    if options.ordinal:
        outcome = "ordinal"
    elif outcome == "binary" and y.nunique() > 2:
        raise UsageError(
            f"--target {y.name} has {y.nunique()} classes; two can be told apart, or with "
            "--ordinal more that have an order"
        )
    tables = options.model in OF_TABLES
    refits = (REFITS if tables else 0) if options.refits is None else options.refits
    further = {} if tables else network
    if options.model in ("volume", "fusion"):
        further.pop("mosaic_size", None)
    try:
        model = named_model(
            options.model,
            outcome,
            **columns,
            labels=options.labels,
            space=options.space,
            patient=options.patient,
            memory=options.memory,
            n_jobs=options.n_jobs,
            random_state=options.random_state,
            **further,
        )
        if refits:
            model = WithIntervals(model, n_refits=refits, random_state=options.random_state)
        say(options, f"fitting {options.model} on {len(X)} patients, {refits} refits")
        return model.fit(X, y), X, y
    except (ImagingError, PrognosisError):
        raise
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or "no message"
        raise ModelError(f"{options.model}: {type(error).__name__}: {reason}") from error


def count(text):
    """The type of a number from 0.

    Examples
    --------
    >>> count("0"), count("20")
    (0, 20)
    """
    return whole(0, 10_000)(text)
