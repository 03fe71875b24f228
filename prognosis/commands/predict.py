"""``prognosis predict``: new patients by a model that `prognosis fit` wrote; a table and pages."""

import warnings

from imaging.errors import ImagingError

from ..errors import PrognosisError
from .common import (
    OK,
    NotWrittenError,
    UsageError,
    add_command,
    add_images_option,
    check_out,
    open_probability,
    participants_file,
    place,
    say,
    tell,
    write_csv,
)
from .compare import cut

__all__ = ["add", "run"]

DESCRIPTION = (
    "Predict the outcome of new patients: probability (or number), its interval, where the patient "
    "leaves what the model has seen, and what the prediction rests on. Writes predictions.csv, "
    "index.html and a page for each patient, all or none."
)


def add(commands):
    """Register the command with its options."""
    parser = add_command(
        commands,
        "predict",
        run,
        help="predict new patients by a model that fit wrote",
        description=DESCRIPTION,
    )
    add = parser.add_argument
    add("model", type=place, metavar="MODEL", help="file that `prognosis fit` or `save` wrote")
    add("table", type=place, metavar="TABLE", help="participants.tsv (or its folder), as for fit")
    add_images_option(add)
    add("--out", required=True, type=place, metavar="DIR", help="folder for the results")
    add("--coverage", type=open_probability, default=0.95, metavar="SHARE", help="default: 0.95")
    add(
        "--cut",
        type=cut,
        metavar="LEVEL",
        help="of an ordered outcome: the probability of lying above it",
    )
    add("--no-maps", action="store_true", help="no maps of what networks look at (they take long)")
    add("--quiet", action="store_true", help="no progress")


def run(options):
    """Carry out the command: the files, and the table on stdout."""
    check_out(options.out)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            found = _predict(options)
    except (ImagingError, PrognosisError):
        raise
    except (ValueError, TypeError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    except OSError as error:
        raise NotWrittenError(f"the results could not be written: {error}") from error
    for text in dict.fromkeys(str(each.message) for each in caught):
        tell(f"note: {' '.join(text.split())}")
    print(found.table.round(3).to_string())
    say(options, f"results: {options.out}")
    return OK


def _predict(options):
    from imaging.storage.files import replacing_all

    from ..cohorts.folder import load_patients
    from ..prediction.page import page_names, render_index, render_patient, sections
    from ..prediction.predicting import predict_patients
    from ..saving.archive import load, read_card
    from ..saving.cohort import TrainingCohort

    card = read_card(options.model)
    model = load(options.model)
    cohort = None if card["cohort"] is None else TrainingCohort(card["cohort"])
    images = dict(options.images)
    X = load_patients(participants_file(options.table), images)
    say(options, f"predicting {len(X)} patients")
    found = predict_patients(model, X, cohort, coverage=options.coverage, cut=options.cut)
    about = {"model": _in_words(model), "outcome": None, "n_patients": 0, "name": None}
    about["simulated"] = cohort is not None and cohort.simulated
    if cohort is not None:
        about |= {"n_patients": cohort.n_patients, "name": cohort.name}
        about["outcome"] = (cohort.outcome or {}).get("name")
    maps = {} if options.no_maps else _maps(model, X, options)
    with replacing_all(options.out) as folder:
        write_csv(found.table, folder / "predictions.csv")
        names = page_names(X.index)
        for patient, name in zip(X.index, names, strict=True):
            pictures = [*sections(X, patient, images), *maps.get(patient, [])]
            text = render_patient(patient, found, about, pictures=pictures)
            (folder / name).write_text(text, encoding="utf-8")
        text = render_index(found, about, names)
        (folder / "index.html").write_text(text, encoding="utf-8")
    return found


def _maps(model, X, options):
    """What networks look at in each patient: captions and PNGs, where there are networks."""
    from ..explanation.attribution.explaining import explain
    from ..explanation.models import find_parts
    from ..prediction.page import figure_png
    from ..saving.describing import as_trained

    X = as_trained(model, X)
    try:
        find_parts(model, X)
    except (TypeError, ValueError):
        return {}
    say(options, f"explaining {len(X)} patients")
    found = explain(model, X)
    caption = (
        "What speaks for the outcome (red) and against it (blue), by integrated gradients from "
        "the mean training image"
    )
    return {row: [(caption, figure_png(found.plot(row)))] for row in X.index}


def _in_words(model):
    while hasattr(model, "estimator_"):
        model = model.estimator_
    steps = getattr(model, "steps", [("", model)])
    return ", ".join(type(step).__name__ for _, step in steps)
