"""``prognosis explain``: from a saved model and a cohort to maps, tables, a figure and the checks.

What is shared with the other commands (loading cohorts, progress, exit codes) comes from the
command line itself.
"""

import json
import sys
from pathlib import Path

__all__ = ["add_options", "explain_files", "open_model", "run_explain"]

DESCRIPTION = (
    "Explain what a fitted model predicts for the patients of a cohort: where in the brain, and "
    "which tabular values. Writes attribution_mean.nii.gz, regions.csv, tabular.csv, patients.csv, "
    "figure.png and checks.json, all or none. Patients of the training set are explained honestly "
    "only by the output of sklearn's cross_validate(..., return_estimator=True, "
    "return_indices=True), saved in place of a model, with the same cohort."
)
METHODS = ("integrated_gradients", "gradient", "smoothgrad", "gradcam", "occlusion")


def add_options(parser, *, named_pattern, positive_int):
    """Describe the command to argparse.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    named_pattern, positive_int : callable
        Types of arguments, as in the other commands.
    """
    add = parser.add_argument
    add(
        "model",
        type=Path,
        metavar="MODEL",
        help="file with a fitted model, from joblib.dump or pickle. Opening such a file runs "
        "whatever code it holds: open only files that you trust",
    )
    add(
        "cohort",
        metavar="COHORT",
        help="simulated, soop, or a participants.tsv (or its folder), as for compare",
    )
    add("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    add("--method", choices=METHODS, default=METHODS[0], help=f"default: {METHODS[0]}")
    add("--class", dest="label", metavar="LABEL", help="class to explain (of two: the last)")
    add("--atlas", default="aal", metavar="NAME|FILE", help="for the regions (default: aal)")
    add("--target", metavar="COLUMN", help="outcome; a table of your own needs it")
    add(
        "--images",
        action="append",
        default=[],
        metavar="NAME=GLOB",
        type=named_pattern,
        help="images of a cohort of your own; repeat for more",
    )
    add("--data-home", metavar="FOLDER", help="where soop is, or is put")
    add("--download", action="store_true", help="fetch soop when it is not there")
    add("--n-patients", type=positive_int, default=300, metavar="N", help="simulated patients")
    add("--imaging-effect", type=float, default=1.0, metavar="X", help="of the simulated outcome")
    add("--spacing-mm", type=float, default=4.0, metavar="MM", help="of simulated images")
    add("--random-state", type=int, default=0, metavar="SEED", help="default: 0")
    add("--n-jobs", type=int, default=-1, metavar="N", help="default: -1, every core")
    add("--memory", metavar="FOLDER", help="for simulated images (default: the user's cache)")
    add("--quiet", action="store_true", help="no progress")


def run_explain(options, *, load, say):
    """Carry out the command: the model, the cohort, the files, and the first regions on stdout.

    Parameters
    ----------
    options : argparse.Namespace
    load : callable
        Takes the options, returns X and y.
    say : callable
        Takes the options and a line of progress.
    """
    model = open_model(options.model)
    say(options, "loading the cohort")
    X, _ = load(options)
    say(options, f"explaining {len(X)} patients")
    found, table = explain_files(model, X, options)
    print(found)
    if table is not None:
        print(table.head(10).round(3).to_string())
    for problem in found.checks()["problems"]:
        print(f"prognosis: check failed: {problem}", file=sys.stderr)
    say(options, f"results: {options.out}")


def open_model(path):
    """Read a model that joblib or pickle wrote. Runs code from the file, and says so on stderr.

    Raises
    ------
    ValueError
        If there is no such file or it cannot be read; the message says why.
    """
    import joblib

    if not path.is_file():
        raise ValueError(f"no model file at {str(path)!r}")
    print(
        f"prognosis: opening {path} runs whatever code it holds; open only files that you trust",
        file=sys.stderr,
    )
    try:
        return joblib.load(path)
    except Exception as error:
        raise ValueError(
            f"{str(path)!r} cannot be opened as a model ({type(error).__name__}: {error}); save it "
            "with joblib.dump under the same versions of the packages"
        ) from error


def explain_files(model, X, options):
    """Explain a cohort and write everything into ``options.out``, all or none.

    Parameters
    ----------
    model : whatever `prognosis.explain` takes
    X : DataFrame
    options : argparse.Namespace

    Returns
    -------
    explanation : Explanation
    table : DataFrame or None
        Regions; None for 2-D pictures, which have none.

    Raises
    ------
    OSError
        If the files cannot be written; those that were there before are untouched.
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
    found.outputs.to_csv(folder / "patients.csv")
    found.tabular.to_csv(folder / "tabular.csv")
    found.plot().savefig(folder / "figure.png", dpi=120)
    if table is not None:
        table.to_csv(folder / "regions.csv")
        nib.save(found.to_nifti(), folder / "attribution_mean.nii.gz")


def _label(estimator, text):
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise ValueError(f"--class {text}: the model predicts a number and has no classes")
    for label in classes.tolist():
        if str(label) == text:
            return label
    raise ValueError(f"--class {text}: the classes are {', '.join(map(str, classes))}")
