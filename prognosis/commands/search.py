"""``prognosis search``: search the parameters of one of the study's models, and a report."""

from ..errors import ModelError, PrognosisError
from .common import (
    OK,
    NotWrittenError,
    UsageError,
    add_command,
    check_out,
    folder,
    place,
    positive_int,
    say,
    use_cache_folder,
    write_csv,
)
from .compare import folds
from .study import add_cohort_options, add_training_options, load_study, use_settings

__all__ = ["add", "run"]

DESCRIPTION = (
    "Search the parameters of one of the models that `prognosis compare` fits, by cross-validation "
    "with Optuna, and fit the best on all patients. The best inner score is the best of many and "
    "so too good: --outer says what the search is worth on patients it never saw."
)
INTERRUPTED = "interrupted; nothing was written (trials that were finished are in --storage)"


def add(commands):
    """Register the command with its options."""
    search = add_command(
        commands,
        "search",
        run,
        help="search the parameters of a model and write a report",
        description=DESCRIPTION,
        interrupted=INTERRUPTED,
    )
    add = add_cohort_options(search)
    add = search.add_argument_group("search").add_argument
    add(
        "--model", metavar="NAME", help="one of the study's models (default: the CNN that sees all)"
    )
    add("--n-trials", type=positive_int, metavar="N", help="trials in all (default: 20)")
    add("--timeout", type=positive_int, metavar="SECONDS", help="begin no trial that is late")
    add("--cv", type=positive_int, metavar="FOLDS", help="inner folds (default: 5)")
    add("--outer", metavar="FOLDS[xREPEATS]", type=folds, help="also search in every outer fold")
    add(
        "--scoring",
        metavar="NAME",
        help="scikit-learn's name of the score (default: neg_log_loss; r2 of numbers)",
    )
    add(
        "--choose",
        choices=["best", "one_se"],
        default="best",
        help="one_se: of those as good as the best, the one nearest to the defaults",
    )
    add_training_options(add)
    add = search.add_argument_group("files").add_argument
    add(
        "--out",
        required=True,
        type=place,
        metavar="FOLDER",
        help="for index.html, trials.csv, model.joblib; with --outer also the folder outer/",
    )
    add(
        "--storage",
        metavar="FILE|URL",
        help="where trials are kept: the same command goes on with them, in several processes too",
    )
    add(
        "--memory",
        type=folder,
        metavar="FOLDER",
        help="for prepared images (default: the user's cache folder)",
    )
    add("--quiet", action="store_true", help="no progress")


def run(options):
    """Carry out the command: the report and the model into a folder, what was chosen on stdout."""
    use_settings(options, cv=(2, 5), n_trials=(3, 20))
    use_cache_folder(options)
    check_out(options.out)
    study = load_study(options)
    name, search = _search(options, study)
    outer = None
    try:
        if options.outer is not None:
            outer = _outer(options, study, name, search)
        say(options, f"searching {name}: {options.n_trials} trials, {options.cv} folds")
        search.fit(study.X, study.y)
    except PrognosisError:
        raise
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or "no message"
        raise ModelError(f"model {name!r}: {type(error).__name__}: {reason}") from error
    try:
        _write(options, search, outer)
    except OSError as error:
        raise NotWrittenError(f"the report could not be written: {error}") from error
    print(_in_words(name, study, search))
    if outer is not None:
        print(f"\n{outer}")
    say(options, f"report: {options.out / 'index.html'}")
    return OK


def _search(options, study):
    """The name of the model, and its search."""
    from ..search.optuna_search import OptunaSearch
    from ..search.ready import search_space
    from ..splits import PatientFolds
    from ..studies.published import is_classification

    name = options.model
    if name is None:
        networks = [one for one in study.models if one.startswith("stitched")]
        whole = [one for one in networks if not one.endswith(", stacked")]
        name = (whole or list(study.models))[-1]
    if name not in study.models:
        raise UsageError(f"--model {name}: the models are {', '.join(study.models)}")
    try:
        space = search_space(study.models[name])
    except ValueError as error:
        raise UsageError(f"--model {name}: {error}") from error
    scoring = options.scoring
    if scoring is None:
        scoring = "neg_log_loss" if is_classification(study.y) else "r2"
    cv = PatientFolds(options.cv, patient=options.patient, random_state=options.random_state)
    if options.patient is None:
        cv = options.cv
    search = OptunaSearch(
        study.models[name],
        space,
        cv=cv,
        n_trials=options.n_trials,
        timeout=options.timeout,
        scoring=scoring,
        storage=options.storage,
        n_jobs=options.n_jobs,
        random_state=options.random_state,
        verbose=0 if options.quiet else 1,
        choose=options.choose,
    )
    return name, search


def _outer(options, study, name, search):
    """Compare the model as it is with its search inside of every fold."""
    from sklearn.base import clone

    from ..evaluation.protocol.comparison import compare

    say(options, f"searching {name} inside of every outer fold")
    models = {name: study.models[name], f"{name}, searched": clone(search).set_params(verbose=0)}
    return compare(
        models,
        study.X,
        study.y,
        cv=options.outer,
        groups=options.patient,
        random_state=options.random_state,
        verbose=0 if options.quiet else 1,
    )


def _write(options, search, outer):
    """The report, the trials and the model, and what an outer cross-validation found."""
    import joblib

    from imaging.storage.files import replacing_all

    from ..evaluation.reporting.search_page import search_report, trial_table

    with replacing_all(options.out) as folder:
        search_report(search, folder / "index.html")
        write_csv(trial_table(search), folder / "trials.csv", index_label="trial")
        joblib.dump(search.best_estimator_, folder / "model.joblib")
    if outer is not None:
        outer.save(options.out / "outer")


def _in_words(name, study, search):
    """What was chosen, for a terminal."""
    from ..evaluation.reporting.wording import image_cost, in_time

    about, cohort = search.search_summary(), study.X.attrs.get("cohort", {})
    title = f"{name}, {len(study.X)} patients"
    if cohort.get("name"):
        title += f" ({cohort['name']}{', SIMULATED' if cohort.get('simulated') else ''})"
    lines = [
        title,
        f"{about['trials']} trials ({about['pruned']} stopped early, {about['failed']} failed), "
        f"{about['folds_run']} folds run and {about['folds_saved']} saved",
        f"{in_time(about['seconds'])} in all, {in_time(about['trial_seconds'])} a trial (median)",
        *filter(None, [image_cost(about)]),
        f"{about['scoring']} {about['inner_score']:.4f}, the best of these and so too good",
        f"chosen: {about['chosen']}",
    ]
    return "\n".join(lines)
