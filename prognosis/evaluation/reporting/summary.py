"""Results in words and in plain text, for terminals and for the report.

A model counts as better or worse than the baseline only if an adjusted p value is below 5 %.
"""

import numpy as np
import pandas as pd

from ..statistics.scores import LOWER_IS_BETTER, ORDINAL_SCORES

__all__ = [
    "SCORE_NAMES",
    "as_text",
    "event_text",
    "format_difference",
    "format_interval",
    "format_number",
    "format_p",
    "optimism",
    "score_title",
    "summarise",
    "verdict",
]

SCORE_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "brier": "Brier score",
    "r2": "R²",
    "mae": "mean absolute error",
    "r": "r",
    "spearman": "rank correlation",
    "c_index": "c-index",
}
MINUS = "−"
ALPHA = 0.05


def score_title(score):
    """The name of a score as the head of a column or an axis; one letter stays small.

    Examples
    --------
    >>> score_title("brier"), score_title("auc"), score_title("r")
    ('Brier score', 'AUC', 'r')
    """
    name = SCORE_NAMES[score]
    return name if len(name) == 1 else name[0].upper() + name[1:]


def format_number(value, *, digits=3, sign=False):
    """A number for reading: true minus sign, an en dash where it is missing.

    Examples
    --------
    >>> format_number(-0.5, digits=2), format_number(0.12345, sign=True), format_number(None)
    ('−0.50', '+0.123', '–')
    """
    if value is None or np.isnan(value):
        return "–"
    if np.isinf(value):
        return f"{MINUS if value < 0 else ''}∞"
    value = round(value, digits) + 0.0  # no minus before zero
    plus = "+" if sign and value > 0 else ""
    return f"{plus}{value:.{digits}f}".replace("-", MINUS)


def format_p(p):
    """A p value for reading.

    Examples
    --------
    >>> format_p(0.00004), format_p(0.0213), format_p(float("nan"))
    ('<0.001', '0.021', '–')
    """
    if p is None or np.isnan(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_interval(row, score, *, digits=3):
    """Estimate and limits of a score in a row of `Comparison.table`: ``0.812 (0.77 to 0.85)``."""
    low, high = row[f"{score}_low"], row[f"{score}_high"]
    text = format_number(row[score], digits=digits)
    if np.isnan(low) or np.isnan(high):
        return text
    fewer = max(digits - 1, 1)
    return f"{text} ({format_number(low, digits=fewer)} to {format_number(high, digits=fewer)})"


def format_difference(row, score, *, digits=3):
    """Difference from the baseline with its limits in a row of `Comparison.table`."""
    value = row[f"{score}_difference"]
    text = format_number(value, digits=digits, sign=True)
    low, high = row[f"{score}_difference_low"], row[f"{score}_difference_high"]
    if np.isnan(value) or np.isnan(low):
        return text
    limits = [format_number(limit, digits=digits, sign=True) for limit in (low, high)]
    return f"{text} ({limits[0]} to {limits[1]})"


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
    baseline, tested = _quoted(comparison.baseline), list(comparison.tested)
    others = [name for name in comparison.models if name != comparison.baseline]
    verdicts = {name: verdict(comparison.table.loc[name], tested) for name in others}
    sentences = [
        f"{_quoted(name)} beats {baseline}: " + _found(comparison, name, better) + "."
        for name, (better, _) in verdicts.items()
        if better
    ]
    if not others:
        sentences.append("Only one model was fitted, so there is nothing to compare it with.")
    elif not sentences:
        sentences.append(
            f"No model beats {baseline}."
            if len(others) > 1
            else f"{_quoted(others[0])} does not beat {baseline}."
        )
    undecided = [name for name, (better, worse) in verdicts.items() if not better and not worse]
    if undecided:
        sentences.append(
            f"No clear difference from {baseline}, what is seen may be chance: "
            f"{_listing(map(_quoted, undecided))}."
        )
    worse = [
        f"{_quoted(name)} ({_found(comparison, name, scores, short=True)})"
        for name, (_, scores) in verdicts.items()
        if scores
    ]
    if worse:
        sentences.append(f"Worse than {baseline}: {_listing(worse)}.")
    sentences += [optimism(name, rows) for name, rows in _searches(comparison)]
    return sentences + _ceiling(comparison) + _scale(comparison)


def as_text(comparison):
    """The table and the summary for a terminal, at most about 120 columns wide."""
    about = comparison.metadata
    cohort = about["cohort"]
    title = f"{len(comparison.models)} models, {about['n_patients']} patients"
    if cohort.get("name"):
        title += f" ({cohort['name']}{', SIMULATED' if cohort.get('simulated') else ''})"
    if comparison.cut is not None:
        title += f", {event_text(comparison)}"
    title += f", {describe_cv(about)}; baseline: {comparison.baseline}"
    rows = {}
    for name, row in comparison.table.iterrows():
        cells = {"learns": comparison.kinds[name]} if comparison.kinds else {}
        for score in comparison.scores:
            if score in ORDINAL_SCORES:  # with limits the table would be too wide for a terminal
                short = SCORE_NAMES[score].replace("correlation", "r")
                cells[short] = format_number(row[score])
            else:
                cells[SCORE_NAMES[score]] = format_interval(row, score)
        if comparison.classes is not None:
            del cells[SCORE_NAMES["balanced_accuracy"]]
        for score in comparison.tested:
            label = SCORE_NAMES[score] if score != "mae" else "MAE"
            cells[f"Δ {label}"] = format_number(row[f"{score}_difference"], sign=True)
            cells[f"p* {label}"] = format_p(row[f"{score}_p_adjusted"])
        rows[name] = cells
    text = pd.DataFrame.from_dict(rows, orient="index").to_string()
    tests = ", ".join(f"{SCORE_NAMES[s]}: {test}" for s, test in comparison.tested.items())
    note = f"Δ: difference from the baseline; p*: Benjamini-Hochberg adjusted ({tests})"
    return "\n".join([title, "", text, "", note, *comparison.summary()])


def describe_cv(about):
    """The folds in words, from `Comparison.metadata`."""
    if about["n_folds"] == 1:
        return f"one split ({about['n_tested']} patients tested)"
    times = {1: "", 2: ", drawn twice"}
    return f"{about['n_folds']} folds" + times.get(
        about["n_repeats"], f", drawn {about['n_repeats']} times"
    )


def _found(comparison, name, scores, *, short=False):
    """The scores of a model against the baseline's, as far as a reader needs them."""
    table, texts = comparison.table, []
    for score in scores:
        row = table.loc[name]
        text = f"{SCORE_NAMES[score]} {format_number(row[score])}"
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
    return ("; " if short else " and ").join(texts)


def _ceiling(comparison):
    best = comparison.metadata["cohort"].get("best_accuracy")
    if best is None or comparison.classes is None:
        return []
    reached = comparison.table["accuracy"]
    return [
        f"Given how these patients were made, no model can expect an accuracy above {best:.3f}; "
        f"the closest here is {_quoted(reached.idxmax())} with {reached.max():.3f}."
    ]


def _searches(comparison):
    return comparison.searches.groupby("model", sort=False)


def image_cost(counts):
    """What images cost and what keeping them saved, in a sentence; empty without images.

    Parameters
    ----------
    counts : dict
        As of `imaging.storage.upkeep.savings.Savings`.

    Examples
    --------
    >>> image_cost({"images_prepared": 464, "images_reused": 8352, "prepare_seconds": 40.0,
    ...             "saved_seconds": 690.0})
    'Images were read and prepared 464 times, in 40 s, and 8352 times were there already, which ...'
    """
    prepared, reused = int(counts["images_prepared"]), int(counts["images_reused"])
    if not prepared + reused:
        return ""
    seconds, saved = counts["prepare_seconds"], counts["saved_seconds"]
    text = f"Images were read and prepared {prepared} times, in {in_time(seconds)}"
    if reused:
        saved = f"{in_time(saved)}" if saved > 0 else "no time"
        text += f", and {reused} times were there already, which saved {saved}"
    return f"{text} (measured; added up over what ran at once)."


def in_time(seconds):
    """A duration for reading.

    Examples
    --------
    >>> in_time(0.314), in_time(41.2), in_time(690), in_time(9000)
    ('0.3 s', '41 s', '11.5 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
        f"The search of {_quoted(name)} took {rows['trials'].mean():.0f} trials in a fold; its "
        f"best inner score ({rows['scoring'].iloc[0]}) was {format_number(inner)} on average, and "
        f"what it chose had {format_number(outer)} on patients outside "
        f"(optimism {format_number(inner - outer, sign=True)})."
    )


def _scale(comparison):
    """Of an ordinal outcome, what was cut where, and which model knows the whole of it."""
    if comparison.cut is None:
        return []
    event = event_text(comparison)
    known = [_quoted(name) for name, kind in comparison.kinds.items() if kind == "ordinal"]
    if not known:
        learnt = f"no model learns the whole scale, all learn {event} alone"
    else:
        learnt = f"{_listing(known)} {'learns' if len(known) == 1 else 'learn'} the whole scale"
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


def _quoted(name):
    return f"“{name}”"


def _listing(names):
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
