"""The report of a comparison: one self-contained page for the screen and for paper.

It needs no network, no script and no font of its own; a clinician should be able to read it from
the top and stop after any section.
"""

from markupsafe import Markup

from imaging.storage.upkeep.savings import Savings

from ...pages import render_page
from ..statistics.scores import LOWER_IS_BETTER
from ..statistics.significance import OVER_FOLDS
from . import figures
from .descriptions import characteristics, groups
from .summary import event_text, summarise, title_text, verdict
from .wording import (
    describe_cv,
    format_difference,
    format_number,
    format_p,
    image_cost,
    in_time,
    listing,
    score_name,
    score_title,
)

__all__ = ["render_extract", "render_report"]

MOST_FOLDS = 12  # more folds than fit beside each other are left to the CSV file
MOST_SEARCHES = 60
COHORT_FACTS = {
    "description": "Description",
    "source": "Source",
    "licence": "Licence",
    "image_columns": "Images",
    "outcome_model": "How the outcome was made",
}


def render_report(comparison):
    """The report as HTML text.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
    """
    about = comparison.metadata
    return render_page(
        __file__,
        "report.html",
        **_common(comparison),
        about=about,
        cohort_name=about["cohort"].get("name"),
        facts=_facts(about["cohort"]),
        folds_in_words=describe_cv(about),
        people=_people(about),
        regression=comparison.classes is None,
        event=None if comparison.classes is None else event_text(comparison),
        ordinal=comparison.cut is not None,
        averaged=", averaged over the repeats" if about["n_repeats"] > 1 else "",
        over_folds=_over_folds(comparison),
        patients=characteristics(comparison),
        figures=_figures(comparison),
        fold_names=_fold_names(comparison),
        fold_rows=_fold_rows(comparison),
        searches=_searches(comparison),
        seconds={name: f"{value:.1f}" for name, value in comparison.fit_seconds.items()},
        image_cost=image_cost(comparison.folds[list(Savings.NAMES)].sum()),
    )


def render_extract(comparison):
    """Scores, differences and summary as a piece of HTML, for notebooks."""
    return render_page(
        __file__, "extract.html", **_common(comparison), title=title_text(comparison)
    )


def _common(comparison):
    """What the page and the piece of it share."""
    return {
        "simulated": bool(comparison.metadata["cohort"].get("simulated")),
        "models": comparison.models,
        "several": len(comparison.models) > 1,
        "baseline": comparison.baseline,
        "binary": comparison.binary,
        "threshold": comparison.threshold,
        "scorers": [score_name(score) for score in comparison.scorers],
        "scores": [_head(score) for score in comparison.scores],
        "tested": [_head(score) | {"test": test} for score, test in comparison.tested.items()],
        "rows": _rows(comparison),
        "by_group": groups(comparison),
        "sentences": summarise(comparison),
    }


def _people(about):
    n, n_groups = about["n_patients"], about["n_groups"]
    if n_groups is None:
        return f"{n} patients"
    if about.get("groups_apart"):
        return f"{n} patients in {n_groups} groups ({about['by']})"
    return f"{n} rows of {n_groups} patients"


def _over_folds(comparison):
    """What is said of the corrected resampled t-test, and where it decides."""
    scores = [score_name(s) for s, test in comparison.tested.items() if test == OVER_FOLDS]
    degrees = ", with the effective degrees of freedom of correlated folds"
    degrees = degrees if comparison.df == "effective" else ""
    test = "the corrected resampled t-test over folds (Nadeau and Bengio 2003)"
    if not scores:
        return (
            f"What {test} says{degrees}, stands in differences.csv: it allows for training sets "
            "that overlap, and its p values fall with the number of repeats."
        )
    return (
        f"Differences in {listing(scores)} were tested by {test}{degrees}, which allows for "
        "training sets that overlap. Its p values fall with the number of repeats, which therefore "
        "has to be settled before; its mean over folds need not equal the difference between the "
        "rows of the table."
    )


def _facts(cohort):
    """What is known of the cohort, as (heading, text) pairs."""
    facts = []
    for key, heading in COHORT_FACTS.items():
        value = cohort.get(key)
        if value:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            facts.append((heading, text))
    if cohort.get("best_accuracy") is not None:
        facts.append(("Best accuracy any model could expect", f"{cohort['best_accuracy']:.3f}"))
    return facts


def _head(score):
    return {
        "key": score,
        "name": score_title(score),
        "lower": "lower is better" if score in LOWER_IS_BETTER else "",
    }


def _rows(comparison):
    """Cells of the main table: estimate and limits apart, so that the page can stack them."""
    rows = []
    for name, row in comparison.table.iterrows():
        scores = [
            (
                format_number(row[score]),
                _limits(row[f"{score}_low"], row[f"{score}_high"]),
            )
            for score in comparison.scores
        ]
        better, worse = verdict(row, comparison.tested)
        tests = []
        for score in comparison.tested:
            text = format_difference(row, score)
            estimate, _, limits = text.partition(" ")
            tests.append(
                {
                    "estimate": estimate,
                    "limits": limits.strip("()"),
                    "p": format_p(row[f"{score}_p"]),
                    "adjusted": format_p(row[f"{score}_p_adjusted"]),
                    "verdict": "better" * (score in better) + "worse" * (score in worse),
                }
            )
        rows.append(
            {
                "name": name,
                "kind": comparison.kinds.get(name, ""),
                "scores": scores,
                "tests": tests,
                "is_baseline": name == comparison.baseline,
            }
        )
    return rows


def _limits(low, high):
    low, high = format_number(low, digits=2), format_number(high, digits=2)
    return "" if "–" in (low, high) else f"{low} to {high}"


def _figures(comparison):
    """Figures by name, None where they do not apply."""
    table = comparison.table
    drawn = {"forest": figures.forest_figure(comparison)}
    several_folds = comparison.metadata["n_folds"] * comparison.metadata["n_repeats"] > 1
    if len(comparison.models) > 1 and several_folds:
        drawn["folds"] = figures.fold_figure(comparison)
    if comparison.classes is None:
        drawn["observed"] = figures.observed_figure(comparison)
    elif not comparison.binary:
        drawn["confusion"] = figures.confusion_figure(comparison)
    else:
        if table["auc"].notna().any():
            drawn["roc"] = figures.roc_figure(comparison)
        if table["brier"].notna().any():
            drawn["calibration"] = figures.calibration_figure(comparison)
    names = ("forest", "roc", "calibration", "observed", "confusion", "folds")
    return {name: Markup(drawn[name]) if name in drawn else None for name in names}


def _searches(comparison):
    """What searches did in every fold; nothing where there are too many to read."""
    if len(comparison.searches) > MOST_SEARCHES:
        return []
    return [
        row
        | {
            "inner": format_number(row["inner_score"]),
            "outer": format_number(row["outer_score"]),
            "minutes": f"{row['seconds'] / 60:.1f}",
            "a_trial": in_time(row["trial_seconds"]),
            "saved": in_time(max(0.0, row["saved_seconds"])),
        }
        for row in comparison.searches.to_dict("records")
    ]


def _fold_names(comparison):
    """Heads of the table of folds; none where they are too many to stand side by side, or one."""
    folds = comparison.folds[["repeat", "fold"]].drop_duplicates()
    if not 1 < len(folds) <= MOST_FOLDS:
        return []
    repeats = folds["repeat"].nunique() > 1
    return [f"{row.repeat}.{row.fold}" if repeats else str(row.fold) for row in folds.itertuples()]


def _fold_rows(comparison):
    """Scores of every fold: a row for every model and score."""
    if not _fold_names(comparison):
        return []
    rows = []
    for name in comparison.models:
        folds = comparison.folds[comparison.folds["model"] == name]
        for score in comparison.tested:
            values = [format_number(value) for value in folds[score]]
            rows.append({"name": name, "score": score_title(score), "values": values})
    return rows
