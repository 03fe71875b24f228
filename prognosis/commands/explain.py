"""``prognosis explain``: from a saved model and a cohort to maps, tables, a figure and the checks.

The work is that of `prognosis.explain`; here its results become files.
"""

import json

from imaging.errors import ImagingError

from ..errors import PrognosisError
from .common import (
    OK,
    NotWrittenError,
    UsageError,
    add_command,
    add_named_cohort,
    check_out,
    find_class,
    imaging_effect,
    load_named_cohort,
    place,
    say,
    tell,
    use_cache_folder,
    write_csv,
)

__all__ = ["add", "run"]

DESCRIPTION = (
    "Explain what a fitted model predicts for the patients of a cohort: where in the brain, and "
    "which tabular values. Writes attribution_mean.nii.gz, regions.csv, tabular.csv, patients.csv, "
    "figure.png and checks.json, all or none. Patients of the training set are explained honestly "
    "only by the output of sklearn's cross_validate(..., return_estimator=True, "
    "return_indices=True), saved in place of a model, with the same cohort."
)
METHODS = ("integrated_gradients", "gradient", "smoothgrad", "gradcam", "occlusion")


def add(commands):
    """Register the command with its options."""
    parser = add_command(
        commands,
        "explain",
        run,
        help="map what a fitted model's predictions come from",
        description=DESCRIPTION,
    )
    add = parser.add_argument
    add(
        "model",
        type=place,
        metavar="MODEL",
        help="file with a fitted model: from `prognosis fit` or `save`; or from joblib.dump or "
        "pickle, and opening such a file runs whatever code it holds: only files that you trust",
    )
    add_named_cohort(add)
    add("--out", required=True, type=place, metavar="DIR", help="folder for the results")
    add("--method", choices=METHODS, default=METHODS[0], help=f"default: {METHODS[0]}")
    add("--class", dest="label", metavar="LABEL", help="class to explain (of two: the last)")
    add("--atlas", default="aal", metavar="NAME|FILE", help="for the regions (default: aal)")
    add(
        "--imaging-effect",
        type=imaging_effect,
        default=1.0,
        metavar="X",
        help="of the simulated outcome",
    )


def run(options):
    """Carry out the command: the files, and the first regions on stdout."""
    use_cache_folder(options)
    check_out(options.out)
    try:
        _explain(options)
    except (ImagingError, PrognosisError):
        raise
    except (ValueError, TypeError) as error:
        raise UsageError(error) from error
    except OSError as error:
        raise NotWrittenError(f"the results could not be written: {error}") from error
    return OK


def _explain(options):
    model = _opened_model(options.model)
    say(options, "loading the cohort")
    X, _ = load_named_cohort(options)
    say(options, f"explaining {len(X)} patients")
    found, table = _explained_files(model, X, options)
    print(found)
    if table is not None:
        print(table.head(10).round(3).to_string())
    for problem in found.checks()["problems"]:
        tell(f"check failed: {problem}")
    say(options, f"results: {options.out}")


def _opened_model(path):
    """Read a model, of joblib or pickle after saying on stderr that this runs its code."""
    import zipfile

    import joblib

    from ..saving.archive import load

    if not path.is_file():
        raise ValueError(f"no model file at {str(path)!r}")
    if zipfile.is_zipfile(path):
        return load(path)
    tell(f"opening {path} runs whatever code it holds; open only files that you trust")
    try:
        return joblib.load(path)
    except Exception as error:
        raise ValueError(
            f"{str(path)!r} cannot be opened as a model ({type(error).__name__}: {error}); save it "
            "with joblib.dump under the same versions of the packages"
        ) from error


def _explained_files(model, X, options):
    """Explain a cohort and write everything into ``options.out``, all or none.

    Gives the explanation and the table of its regions (None for 2-D pictures, which have none).
    """
    from imaging.storage.files import replacing_all

    from ..explanation.attribution.explaining import explain
    from ..explanation.models import find_parts

    target = None
    if options.label is not None:
        target = _label(find_parts(model, X)[0].estimator, options.label)
    found = explain(
        model,
        X,
        options.method,
        target=target,
        atlas=options.atlas,
        random_state=options.random_state,
    )
    table = None if found.place.is_picture else found.by_region(options.atlas)
    checks = found.checks()
    with replacing_all(options.out) as temporary:
        _write(found, table, checks, temporary)
    return found, table


def _write(found, table, checks, folder):
    import nibabel as nib

    about = {**found.metadata, "n_patients_explained": len(found.patients)}
    about.pop("atlas")
    about["cohort"] = {
        key: found.metadata["cohort"].get(key) for key in ("name", "simulated", "description")
    }
    text = json.dumps({"checks": checks, "explanation": about}, indent=2, allow_nan=False)
    (folder / "checks.json").write_text(text + "\n", encoding="utf-8")
    write_csv(found.outputs, folder / "patients.csv")
    write_csv(found.tabular, folder / "tabular.csv")
    found.plot().savefig(folder / "figure.png", dpi=120)
    if table is not None:
        write_csv(table, folder / "regions.csv")
        nib.save(found.to_nifti(), folder / "attribution_mean.nii.gz")


def _label(estimator, text):
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise UsageError(f"--class {text}: the model predicts a number and has no classes")
    return find_class("--class", text, classes.tolist(), called="classes")
