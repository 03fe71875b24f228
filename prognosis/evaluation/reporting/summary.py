"""Results in words and in plain text, for terminals and for the report.

A model counts as better or worse than the baseline only if an adjusted p value is below 5 %.
"""

import pandas as pd

from ..statistics.scores import LOWER_IS_BETTER, ORDINAL_SCORES
from ..statistics.thresholds import THRESHOLD_SCORES
from .cautions import by_group, few_degrees, partly_tested, reach, scores_tested, why_untested
from .wording import (
    describe_cv,
    format_difference,
    format_interval,
    format_number,
    format_p,
    listing,
    quoted,
    score_name,
)

__all__ = ["as_text", "event_text", "optimism", "summarise", "title_text", "verdict"]

ALPHA = 0.05


def verdict(row, scores):
    """What the tests say of a model: the scores in which it is better and worse than the baseline.

    Parameters
    ----------
    row : Series
        Of `Comparison.table`.
    scores : iterable of str
        The scores that were tested.

    Returns
    -------
    better, worse : list of str
    """
    better, worse = [], []
    for score in scores:
        gain = row[f"{score}_difference"] * (-1 if score in LOWER_IS_BETTER else 1)
        if row[f"{score}_p_adjusted"] < ALPHA and gain != 0:
            (better if gain > 0 else worse).append(score)
    return better, worse


def summarise(comparison):
    """What a comparison found, in plain sentences, the most important first.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    list of str
    """
    baseline, tested = quoted(comparison.baseline), list(comparison.tested)
    others = [name for name in comparison.models if name != comparison.baseline]
    verdicts = {name: verdict(comparison.table.loc[name], tested) for name in others}
    sentences = [
        f"{quoted(name)} beats {baseline}: " + _found(comparison, name, better) + "."
        for name, (better, _) in verdicts.items()
        if better
    ]
    untested = [name for name in others if not scores_tested(comparison, name)]
    undecided = [name for name, (better, worse) in verdicts.items() if not better and not worse]
    undecided = [name for name in undecided if name not in untested]
    if not others:
        sentences.append("Only one model was fitted, so there is nothing to compare it with.")
    elif len(untested) == len(others):
        sentences.append(f"No difference from {baseline} was tested: {why_untested(comparison)}.")
    elif not sentences:
        sentences.append(
            f"No model beats {baseline}."
            if len(others) > 1
            else f"{quoted(others[0])} does not beat {baseline}."
        )
    if undecided:
        sentences.append(
            f"No clear difference from {baseline}, what is seen may be chance: "
            f"{listing(map(quoted, undecided))}. {reach(comparison, undecided)}"
        )
    if 0 < len(untested) < len(others):
        sentences.append(f"Not tested against {baseline}: {listing(map(quoted, untested))}.")
    sentences += partly_tested(comparison, others)
    worse = [
        f"{quoted(name)} ({_found(comparison, name, scores, short=True)})"
        for name, (_, scores) in verdicts.items()
        if scores
    ]
    if worse:
        sentences.append(f"Worse than {baseline}: {listing(worse)}.")
    sentences += few_degrees(comparison)
    sentences += [optimism(name, rows) for name, rows in _searches(comparison)]
    return sentences + by_group(comparison) + _ceiling(comparison) + _scale(comparison)


def title_text(comparison):
    """What was compared on whom, in a line."""
    about = comparison.metadata
    cohort = about["cohort"]
    title = f"{len(comparison.models)} models, {about['n_patients']} patients"
    if cohort.get("name"):
        title += f" ({cohort['name']}{', SIMULATED' if cohort.get('simulated') else ''})"
    if comparison.cut is not None:
        title += f", {event_text(comparison)}"
    return title + f", {describe_cv(about)}; baseline: {comparison.baseline}"


def as_text(comparison):
    """The table and the summary for a terminal, at most about 120 columns wide."""
    slim = {*ORDINAL_SCORES, *THRESHOLD_SCORES, *comparison.scorers}
    rows = {}
    for name, row in comparison.table.iterrows():
        cells = {"learns": comparison.kinds[name]} if comparison.kinds else {}
        for score in comparison.scores:
            if score in slim:  # with limits the table would be too wide for a terminal
                short = score_name(score).replace("correlation", "r")
                cells[short] = format_number(row[score])
            else:
                cells[score_name(score)] = format_interval(row, score)
        if comparison.classes is not None:
            del cells[score_name("balanced_accuracy")]
        for score in comparison.tested:
            label = score_name(score) if score != "mae" else "MAE"
            cells[f"Δ {label}"] = format_number(row[f"{score}_difference"], sign=True)
            cells[f"p* {label}"] = format_p(row[f"{score}_p_adjusted"])
        rows[name] = cells
    text = pd.DataFrame.from_dict(rows, orient="index").to_string()
    tests = ", ".join(f"{score_name(s)}: {test}" for s, test in comparison.tested.items())
    note = f"Δ: difference from the baseline; p*: Benjamini-Hochberg adjusted ({tests})"
    return "\n".join([title_text(comparison), "", text, "", note, *comparison.summary()])


def _found(comparison, name, scores, *, short=False):
    """The scores of a model against the baseline's, as far as a reader needs them."""
    table, texts = comparison.table, []
    for score in scores:
        row = table.loc[name]
        text = f"{score_name(score)} {format_number(row[score])}"
        p = format_p(row[f"{score}_p_adjusted"])
        p = f"adjusted p {p}" if p.startswith("<") else f"adjusted p = {p}"
        if not short:
            limits = (
                format_difference(row, score)
                .replace(" (", ", 95\N{NO-BREAK SPACE}% interval ")
                .rstrip(")")
            )
            base = format_number(table.loc[comparison.baseline, score])
            text += f" against {base} (difference {limits}, {p})"
        else:
            text += f", {p}"
        texts.append(text)
    return "; ".join(texts) if short else listing(texts)


def _ceiling(comparison):
    best = comparison.metadata["cohort"].get("best_accuracy")
    if best is None or comparison.classes is None:
        return []
    reached = comparison.table["accuracy"]
    return [
        f"Given how these patients were made, no model can expect an accuracy above {best:.3f}; "
        f"the closest here is {quoted(reached.idxmax())} with {reached.max():.3f}."
    ]


def _searches(comparison):
    return comparison.searches.groupby("model", sort=False)


def optimism(name, rows):
    """What the best inner score of a search was worth outside, in a sentence.

    Parameters
    ----------
    name : str
        Of the model.
    rows : DataFrame
        Its rows of `Comparison.searches`.

    Returns
    -------
    str
    """
    inner, outer = rows["inner_score"].mean(), rows["outer_score"].mean()
    return (
        f"The search of {quoted(name)} took {rows['trials'].mean():.0f} trials in a fold; its "
        f"best inner score ({rows['scoring'].iloc[0]}) was {format_number(inner)} on average, and "
        f"what it chose had {format_number(outer)} on patients outside "
        f"(optimism {format_number(inner - outer, sign=True)})."
    )


def _scale(comparison):
    """Of an ordinal outcome, what was cut where, and which model knows the whole of it."""
    if comparison.cut is None:
        return []
    event = event_text(comparison)
    known = [quoted(name) for name, kind in comparison.kinds.items() if kind == "ordinal"]
    if not known:
        learnt = f"no model learns the whole scale, all learn {event} alone"
    else:
        learnt = f"{listing(known)} {'learns' if len(known) == 1 else 'learn'} the whole scale"
        if len(known) < len(comparison.models):
            learnt += f", the others {event} alone"
    return [
        f"The outcome is ordinal: accuracy, AUC and Brier score are of {event}, rank correlation "
        f"and c-index of the whole scale; {learnt}."
    ]


def event_text(comparison):
    """What the positive class of a classification is: ``outcome = poor``, or ``mrs > 2``."""
    outcome = comparison.metadata["outcome"]
    if comparison.cut is not None:
        return f"{outcome} > {comparison.cut}"
    return f"{outcome} = {comparison.classes[-1]}"
