"""The figures of a search's report, each a string of SVG: history, importances, slices.

What Optuna's own plots show, drawn as the other figures are: without scripts, legible in black and
white.
"""

import math

import numpy as np

from .drawing import Axis, Canvas, cut, together
from .wording import format_number

__all__ = ["history_figure", "importance_figure", "slice_figure"]

PANEL, EDGE = 520, 92  # width of a figure; room for ticks and the name of the score
MOST_PANELS = 9


def history_figure(rows, scoring):
    """Mean scores in the order of the trials, and the best so far.

    Parameters
    ----------
    rows : DataFrame
        One row per trial: ``score``, the mean of the folds that were run, and ``state``.
    scoring : str
        Name of the score.
    """
    complete = (rows["state"] == "complete").to_numpy()
    scores = rows["score"].to_numpy(float)
    best = np.fmax.accumulate(np.where(complete, scores, np.nan))
    canvas = Canvas(
        PANEL,
        340,
        title="Score of every trial, in order",
        description=f"Best {scoring} after the last of {len(rows)} trials: "
        f"{format_number(best[-1])}; after the first: {format_number(best[0])}",
        name="history",
    )
    across = Axis(0.5, len(rows) + 0.5, EDGE, PANEL - 16, _numbers(len(rows)))
    # Trials that were stopped can be so bad that all others would be one line.
    shown = scores[complete] if complete.any() else scores
    up = Axis.around(shown, 280, 20)
    canvas.x_axis(across, 280, top=20, label="trial")
    canvas.y_axis(up, EDGE, right=PANEL - 16, label=scoring)
    known = np.isfinite(best)
    numbers = np.arange(1, len(rows) + 1)
    steps_x = np.repeat(numbers[known], 2)[1:]
    steps_y = np.repeat(best[known], 2)[:-1]
    if len(steps_x):
        canvas.path(across(steps_x), up(steps_y), "curve")
    for number, score, whole in zip(numbers, scores, complete, strict=True):
        if np.isfinite(score):
            canvas.dot(across(number), up(score), "mark" if whole else "mark open", radius=4)
    return together([canvas], kind="single")


def importance_figure(importances):
    """How much each parameter matters for the score, as bars.

    Parameters
    ----------
    importances : dict of str to float
        The most important first; they sum to one.
    """
    row = 46
    bottom = 10 + row * len(importances)
    canvas = Canvas(
        PANEL,
        bottom + 46,
        title="Importance of the parameters",
        description="; ".join(f"{n}: {format_number(v, digits=2)}" for n, v in importances.items()),
        name="importance",
    )
    axis = Axis(0, 1, 20, PANEL - 60, [0, 0.25, 0.5, 0.75, 1])
    canvas.x_axis(axis, bottom, top=10, label="share of the variation of the score")
    for number, (name, value) in enumerate(importances.items()):
        y = 10 + row * number
        canvas.text(20, y + 16, cut(name, 58), "name")
        canvas.rect(axis(0), y + 23, axis(value) - axis(0), 14, "fold")
        canvas.text(axis(value) + 8, y + 35, format_number(value, digits=2), "tick")
    return together([canvas], kind="single")


def slice_figure(rows, parameters, scoring):
    """The score against each parameter.

    Parameters
    ----------
    rows : DataFrame
        As of `history_figure`, with a column ``param <name>`` of each parameter.
    parameters : dict of str to (Optuna distribution)
        The most important first; nine at most are shown.
    scoring : str
    """
    shown = list(parameters.items())[:MOST_PANELS]
    side, top, panels = 235, 44, []
    complete = (rows["state"] == "complete").to_numpy()
    scores = rows["score"].to_numpy(float)
    for number, (name, distribution) in enumerate(shown):
        canvas = Canvas(
            EDGE + side + 16,
            top + side + 30,
            title=f"Score against {name}",
            description=f"{scoring} of the trials by {name}",
            name=f"slice-{number}",
        )
        up = Axis.around(scores[complete] if complete.any() else scores, top + side, top)
        canvas.wrapped(EDGE, top - 14, name, "panel", columns=28)
        canvas.y_axis(up, EDGE, right=EDGE + side, label=scoring)
        place = _ways_across(canvas, rows[f"param {name}"], distribution, EDGE, top, side)
        for value, score, whole in zip(place, scores, complete, strict=True):
            if np.isfinite(value) and np.isfinite(score):
                canvas.dot(value, up(score), "mark" if whole else "mark open", radius=4)
        panels.append(canvas)
    return together(panels)


def _ways_across(canvas, values, distribution, x, y, side):
    """Draw the horizontal axis of a panel; where the values are on it, NaN where there is none."""
    bottom = y + side
    if not hasattr(distribution, "low"):
        choices = list(distribution.choices)
        step = side / len(choices)
        for number, choice in enumerate(choices):
            middle = x + step * (number + 0.5)
            text = str(choice)
            text = text if len(text) * 8 <= step or len(text) < 4 else f"{text[: int(step / 8)]}…"
            canvas.text(middle, bottom + 18, text, "tick", anchor="middle")
        canvas.line(x, bottom, x + side, bottom, "axis")
        known = {choice: number for number, choice in enumerate(choices)}
        return [
            x + step * (known[value] + 0.5) if _is_in(value, known) else np.nan for value in values
        ]
    numbers = values.to_numpy(float)
    if not distribution.log:
        axis = Axis.around([distribution.low, distribution.high], x, x + side, most=4)
        canvas.x_axis(axis, bottom, top=y)
        return [axis(value) if np.isfinite(value) else np.nan for value in numbers]
    low, high = np.log10([distribution.low, distribution.high])
    powers = np.arange(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    axis = Axis(low - 0.05 * (high - low), high + 0.05 * (high - low), x, x + side, powers)
    ends = (
        powers[:: max(1, math.ceil(len(powers) / 5))] if len(powers) > 1 else np.array([low, high])
    )
    for tick in ends:
        canvas.line(axis(tick), y, axis(tick), bottom, "grid")
        canvas.text(axis(tick), bottom + 18, f"{10.0**tick:.3g}", "tick", anchor="middle")
    canvas.line(x, bottom, x + side, bottom, "axis")
    return [axis(np.log10(value)) if value > 0 else np.nan for value in numbers]


def _is_in(value, known):
    try:
        return value in known
    except TypeError:
        return False


def _numbers(count):
    step = max(1, math.ceil(count / 10))
    return [1, *range(step if step > 1 else 2, count + 1, step)]
