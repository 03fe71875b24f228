"""Numbers and names as readers see them, in terminals and on pages."""

import numpy as np

__all__ = [
    "describe_cv",
    "format_difference",
    "format_interval",
    "format_number",
    "format_p",
    "image_cost",
    "in_time",
    "listing",
    "quoted",
    "score_name",
    "score_title",
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
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
MINUS = "−"


def score_name(score):
    """The name of a score in a sentence; that of a scorer of the user's without underscores.

    Examples
    --------
    >>> score_name("mae"), score_name("neg_log_loss")
    ('mean absolute error', 'neg log loss')
    """
    return SCORE_NAMES.get(score, score.replace("_", " "))


def score_title(score):
    """The name of a score as the head of a column or an axis; one letter stays small.

    Examples
    --------
    >>> score_title("brier"), score_title("auc"), score_title("r")
    ('Brier score', 'AUC', 'r')
    """
    name = score_name(score)
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


def describe_cv(about):
    """The folds in words, from `Comparison.metadata`."""
    if about["n_folds"] == 1:
        return f"one split ({about['n_tested']} patients tested)"
    times = {1: "", 2: ", drawn twice"}
    return f"{about['n_folds']} folds" + times.get(
        about["n_repeats"], f", drawn {about['n_repeats']} times"
    )


def quoted(name):
    return f"“{name}”"


def listing(names):
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


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
