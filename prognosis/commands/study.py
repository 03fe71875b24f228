"""The cohort and the models that ``compare`` and ``search`` share: their options, and loading them.

What the models are is said in `prognosis.studies.published`; here options become its parameters.
"""

from .common import (
    UsageError,
    add_images_option,
    add_soop_options,
    check_device,
    device_name,
    imaging_effect,
    job_count,
    load_named_cohort,
    positive_int,
    say,
    seed,
    whole,
)

__all__ = [
    "DEFAULTS",
    "QUICK",
    "USUAL",
    "add_cohort_options",
    "add_training_options",
    "chosen_columns",
    "load_study",
    "use_settings",
]

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
QUICK = {"n_patients": 60, "spacing_mm": 8.0, "epochs": 3, "mosaic_size": 64}
USUAL = {"n_patients": 300, "spacing_mm": 4.0}


def add_cohort_options(parser):
    """Options that say which patients, columns and images; returns the function that adds more."""
    add = parser.add_argument_group("cohort").add_argument
    add(
        "--cohort",
        required=True,
        metavar="simulated|soop|PATH",
        help="made here; the Stroke Outcome Optimization Project; or a participants.tsv (or its "
        "folder)",
    )
    add("--target", metavar="COLUMN", help="outcome; for soop poor_outcome (default), mrs, nihss")
    add_images_option(add)
    add("--image", metavar="COLUMN", help="image for the CNN (default: the first but the lesion)")
    add("--lesion", metavar="COLUMN", help="lesion masks (default: 'lesion' where it exists)")
    add(
        "--labels",
        type=whole(1, 2**31),
        nargs="+",
        metavar="N",
        help="labels that are lesion in the masks",
    )
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
    return add


def add_training_options(add):
    """Options of the CNN, and of what runs at once."""
    add("--epochs", type=whole(1, 100_000), metavar="N", help="training of the CNN")
    add("--mosaic-size", type=whole(8, 4096), metavar="PIXELS", help="picture the CNN sees")
    add("--device", type=device_name, default="auto", help="auto, cpu, cuda (default: auto)")
    add(
        "--n-jobs",
        type=job_count,
        default=-1,
        metavar="N",
        help="fits at once (default: -1, every core)",
    )
    add("--random-state", type=seed, default=0, metavar="SEED", help="default: 0")
    add("--quick", action="store_true", help="small, fast settings, to see that it runs")


def use_settings(options, **further):
    """Fill in what was not given: small settings with ``--quick``, else the usual ones.

    A device that is not there is refused.

    Parameters
    ----------
    options : argparse.Namespace
    **further : (object, object)
        Of other options: the quick value and the usual one.
    """
    check_device(options.device)
    settings = QUICK if options.quick else USUAL
    settings = settings | {name: pair[0 if options.quick else 1] for name, pair in further.items()}
    for name, value in settings.items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)


def load_study(options, *, ordinal=False):
    """Load the cohort that the options name and assemble its models.

    Parameters
    ----------
    options : argparse.Namespace
    ordinal : bool, default=False
        See `build_study`.

    Returns
    -------
    Study

    Raises
    ------
    UsageError
        If an option names a column or an image that is not there.
    CohortError
        If the cohort cannot be used.
    """
    from pandas.api.types import is_numeric_dtype

    from ..studies.published import build_study

    X, y, columns, network = chosen_columns(options)
    if not columns["tabular"] and columns["lesion"] is None:
        raise UsageError("nothing to build a baseline from: name columns with --tabular")
    if ordinal and not is_numeric_dtype(y.dtype):
        raise UsageError(f"--cut {options.cut}: the outcome {y.name} is text, which has no order")
    say(options, f"{len(X)} patients" + ("; measuring lesions" if columns["lesion"] else ""))
    place_atlas = options.place_atlas or DEFAULTS.get(options.cohort, {}).get("place_atlas")
    return build_study(
        X,
        y,
        **{**columns, "atlas": options.atlas or X.attrs.get("cohort", {}).get("atlas", "aal")},
        place_atlas=place_atlas,
        memory=options.memory,
        ordinal=ordinal,
        labels=options.labels,
        space=options.space,
        patient=options.patient,
        n_jobs=options.n_jobs,
        random_state=options.random_state,
        **network,
    )


def chosen_columns(options):
    """Load the cohort that the options name, and find out which of its columns are meant.

    Parameters
    ----------
    options : argparse.Namespace

    Returns
    -------
    X : DataFrame
    y : Series
    columns : dict
        ``image`` and ``lesion`` (or None), ``tabular``, and ``atlas`` of the model of places.
    network : dict
        Parameters of the networks.

    Raises
    ------
    UsageError
        If an option names a column or an image that is not there.
    CohortError
        If the cohort cannot be used.
    """
    from ..cells import nearest

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
                meant = nearest(name, X.columns)
                raise UsageError(f"{option} {name}: the table has {', '.join(X.columns)}{meant}")
    network = {"device": options.device, "epochs": options.epochs}
    network["mosaic_size"] = options.mosaic_size or defaults.get("mosaic_size")
    network = {name: value for name, value in network.items() if value is not None}
    atlas = options.place_atlas or defaults.get("place_atlas") or options.atlas or "natbrainlab"
    return X, y, {"image": image, "lesion": lesion, "tabular": tabular, "atlas": atlas}, network


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
