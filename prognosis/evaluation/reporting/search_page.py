"""The report of a search: one self-contained page, in the manner of a comparison's."""

import datetime
import platform
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup
from sklearn.utils.validation import check_is_fitted

from imaging.storage.files import replacing
from imaging.storage.upkeep.savings import Savings

from ...pages import render_page
from ...provenance import installed_versions, without_caches
from ...search.results import in_words
from .search_figures import MOST_PANELS, history_figure, importance_figure, slice_figure
from .wording import format_number, image_cost, in_time

__all__ = ["importances", "search_report", "trial_table"]

FEWEST_TRIALS = 5  # complete ones; fewer say nothing of what matters
MOST_TRIALS = 100  # longer tables of trials are left to `cv_results_`
PACKAGES = ("prognosis-mri", "optuna", "scikit-learn", "torch", "numpy")


def search_report(search, path):
    """Write what a search tried and found as one page, with figures and without any request.

    Parameters
    ----------
    search : OptunaSearch
        Fitted.
    path : str or os.PathLike
        File name of the page; folders are made.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the search is not fitted.
    OSError
        If the file cannot be written; what was there before stays.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from prognosis import OptunaSearch, search_report
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 5))
    >>> y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    >>> search = OptunaSearch(LogisticRegression(), n_trials=4, random_state=0).fit(X, y)
    >>> search_report(search, f"{tempfile.mkdtemp()}/search.html").name
    'search.html'
    """
    check_is_fitted(search, "best_params_")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _rendered(search)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return path


def trial_table(search):
    """One row per trial: ``score``, ``state``, ``folds``, ``epochs``, times, images, parameters.

    Parameters
    ----------
    search : OptunaSearch
        Fitted.

    Returns
    -------
    DataFrame
        ``score`` is the mean over the folds that were run; parameters are in columns
        ``param <name>``, as the study knows them.
    """
    results = search.cv_results_
    metric = search.refit if search.multimetric_ else "score"
    folds = [results[f"split{number}_test_{metric}"] for number in range(search.n_splits_)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        scores = np.nanmean(folds, axis=0)
    table = pd.DataFrame(
        {
            "score": scores,
            "state": results["state"],
            "folds": results["n_folds_run"],
            "epochs": results["n_epochs_run"],
            "seconds": results["seconds"],
            **{name: results[name] for name in Savings.NAMES},
        }
    )
    known = {trial.number: trial.params for trial in search.study_.trials}
    params = [known[number] for number in results["trial"]]
    for name in dict.fromkeys(name for one in params for name in one):
        column = [one.get(name) for one in params]
        is_number = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in column)
        table[f"param {name}"] = pd.Series(column, dtype=float if is_number else object)
    return table


def importances(search):
    """How much each parameter matters for the score, by Optuna's fANOVA; empty where unknown.

    Parameters
    ----------
    search : OptunaSearch
        Fitted.

    Returns
    -------
    dict of str to float
        The most important first; parameters that only some trials have are left out.
    """
    import optuna

    if np.sum(search.cv_results_["state"] == "complete") < FEWEST_TRIALS:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(search.study_, evaluator=evaluator)
    except (ValueError, RuntimeError, ZeroDivisionError):  # too few trials, or all the same
        return {}
    found = {name: float(value) for name, value in found.items()}
    return found if found and np.isfinite(list(found.values())).all() else {}


def _rendered(search):
    about, table, weights = search.search_summary(), trial_table(search), importances(search)
    scoring = about["scoring"]
    distributions = {}
    for trial in search.study_.trials:
        distributions |= trial.distributions
    order = [*weights, *(name for name in distributions if name not in weights)]
    ordered = {name: distributions[name] for name in order}
    figures = {
        "history": history_figure(table, scoring),
        "importance": importance_figure(weights) if weights else None,
        "slices": slice_figure(table, ordered, scoring) if ordered else None,
    }
    cohort = search.cohort_
    own = search.estimator.get_params()
    return render_page(
        __file__,
        "search.html",
        cohort_name=cohort.get("name"),
        simulated=bool(cohort.get("simulated")),
        name=type(search.estimator).__name__,
        about=about,
        n_folds=search.n_splits_,
        sentences=_sentences(search, about, table),
        chosen=[
            (name, in_words({"": value})[1:], in_words({"": own[name]})[1:] if name in own else "–")
            for name, value in search.drawn_params(search.best_index_).items()
        ],
        figures={key: figure and Markup(figure) for key, figure in figures.items()},
        n_complete=int((table["state"] == "complete").sum()),
        n_hidden=max(0, len(ordered) - MOST_PANELS),
        rows=_rows(search, table) if len(table) <= MOST_TRIALS else [],
        networks=bool(about["epochs_run"]),
        facts=_facts(search),
        version=installed_versions(PACKAGES).get("prognosis-mri", ""),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _sentences(search, about, table):
    means = table["score"].where(table["state"] == "complete")
    chosen = format_number(search.best_score_)
    found = [
        f"What was chosen has {about['scoring']} {chosen} on average over {search.n_splits_} folds"
        + (
            f"; the estimator as it was given has {format_number(means[0])}."
            if search.cv_results_["state"][0] == "complete" and search.starts_as_given_
            else "."
        )
    ]
    found.append(
        f"This score is the best of {about['trials']} and so too good: what it is worth on other "
        "patients, only an outer cross-validation says, such as compare() with this search as a "
        "model."
    )
    if about["pruned"]:
        saved = f"{about['folds_saved']} of {about['folds_saved'] + about['folds_run']} folds"
        if about["epochs_saved"]:
            whole = about["epochs_saved"] + about["epochs_run"]
            saved += f" and {about['epochs_saved']} of {whole} epochs of networks"
        were = "trial was" if about["pruned"] == 1 else "trials were"
        found.append(f"{about['pruned']} {were} stopped early, which saved {saved}, at most.")
    if about["failed"]:
        did = "trial failed and does" if about["failed"] == 1 else "trials failed and do"
        found.append(f"{about['failed']} {did} not count.")
    seconds = table["seconds"]
    times = [in_time(value) for value in (seconds.median(), seconds.min(), seconds.max())]
    cost = f"A trial took {times[0]} in the median ({times[1]} to {times[2]})."
    found.append(f"{cost} {image_cost(about)}".strip())
    return found


def _rows(search, table):
    rows = []
    for number, row in table.iterrows():
        params = search.drawn_params(number)
        rows.append(
            {
                "number": number + 1,
                "is_chosen": number == search.best_index_,
                "params": in_words(params),
                "score": format_number(row["score"]),
                "state": row["state"],
                "folds": row["folds"],
                "epochs": row["epochs"],
                "seconds": f"{row['seconds']:.1f}",
            }
        )
    return rows


def _facts(search):
    versions = {"python": platform.python_version(), **installed_versions(PACKAGES)}
    return [
        ("Search", " ".join(repr(without_caches(search)).split())),
        ("Study", search.study_.study_name),
        ("Choice", search.choose),
        ("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())),
    ]
