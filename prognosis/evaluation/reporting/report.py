"""The report of a comparison: one self-contained page for the screen and for paper.

It needs no network, no script and no font of its own; a clinician should be able to read it from
the top and stop after any section.
"""

from markupsafe import Markup

from ...pages import render_page
from ..statistics.scores import LOWER_IS_BETTER
from . import figures
from .summary import event_text, summarise, verdict
from .wording import describe_cv, format_difference, format_number, format_p, score_title

__all__ = ["render_report"]

MOST_FOLDS = 60  # longer tables of folds are left to the CSV file
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
    cohort = about["cohort"]
    return render_page(
        __file__,
        "report.html",
        about=about,
        cohort_name=cohort.get("name"),
        simulated=bool(cohort.get("simulated")),
        facts=_facts(cohort),
        folds_in_words=describe_cv(about),
        baseline=comparison.baseline,
        several=len(comparison.models) > 1,
        binary=comparison.binary,
        effective_df=comparison.df == "effective",
        regression=comparison.classes is None,
        event=None if comparison.classes is None else event_text(comparison),
        ordinal=comparison.cut is not None,
        sentences=summarise(comparison),
        scores=[_head(score) for score in comparison.scores],
        tested=[_head(score) | {"test": test} for score, test in comparison.tested.items()],
        rows=_rows(comparison),
        figures=_figures(comparison),
        fold_rows=_fold_rows(comparison),
        fold_scores=[_head(score) for score in comparison.tested],
        searches=_searches(comparison),
        models=comparison.models,
        seconds={name: f"{value:.1f}" for name, value in comparison.fit_seconds.items()},
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
    if len(comparison.searches) > MOST_FOLDS:
        return []
    return [
        row
        | {
            "inner": format_number(row["inner_score"]),
            "outer": format_number(row["outer_score"]),
            "minutes": f"{row['seconds'] / 60:.1f}",
        }
        for row in comparison.searches.to_dict("records")
    ]


def _fold_rows(comparison):
    """Scores of every fold, or nothing where there are too many to read, or one only."""
    keys = ["repeat", "fold"]
    wide = comparison.folds.pivot(index=keys, columns="model", values=list(comparison.tested))
    if not 1 < len(wide) <= MOST_FOLDS:
        return []
    order = [(score, name) for name in comparison.models for score in comparison.tested]
    return [
        {
            "repeat": repeat,
            "fold": fold,
            "values": [format_number(value) for value in row[order]],
        }
        for (repeat, fold), row in wide.iterrows()
    ]
