"""The figures of the report, each a string of SVG.

Small multiples: one panel per model with the baseline behind it, so that colour is never needed to
tell models apart.
"""

import math

import numpy as np

from ..statistics.calibration import calibration_bins, calibration_line, expected_calibration_error
from ..statistics.scores import LOWER_IS_BETTER
from .drawing import Axis, Canvas
from .wording import (
    format_difference,
    format_interval,
    format_number,
    score_name,
    score_title,
)

__all__ = [
    "calibration_figure",
    "confusion_figure",
    "fold_figure",
    "forest_figure",
    "observed_figure",
    "roc_figure",
]

WIDTH = 960
LEFT, TOP, BOTTOM = 62, 66, 58  # room around the square of a panel, for titles and ticks


def forest_figure(comparison):
    """Scores and differences from the baseline, with confidence intervals, one row per model."""
    table, baseline = comparison.table, comparison.baseline
    tested = list(comparison.tested)
    panels = [(score, False) for score in tested]
    # A single fold has no spread, so that differences which are tested over folds are unknown.
    known = [s for s in tested if table[f"{s}_difference"].notna().any()]
    panels += [(score, True) for score in known]
    row, top, names = 42, 44, 214
    bottom = top + row * len(table)
    spoken = "; ".join(
        f"{name}: " + ", ".join(f"{score_name(s)} {format_interval(r, s)}" for s in tested)
        for name, r in table.iterrows()
    )
    canvas = Canvas(
        WIDTH,
        bottom + 46,
        title="Scores of every model with 95 % confidence intervals",
        description=spoken,
        name="forest",
    )
    place = table.index.get_loc(baseline)
    canvas.rect(0, top + row * place, WIDTH, row, "band")
    for number, name in enumerate(table.index):
        kind = "name strong" if name == baseline else "name"
        canvas.wrapped(6, top + row * (number + 0.5) + 5, name, kind)
    gap = 34
    width = (WIDTH - names - gap * len(panels)) / len(panels)
    for number, (score, is_difference) in enumerate(panels):
        start = names + gap / 2 + number * (width + gap)
        prefix = f"{score}_difference" if is_difference else score
        values = table[[prefix, f"{prefix}_low", f"{prefix}_high"]].to_numpy(dtype=float)
        zero = [0] if is_difference else []
        axis = Axis.around(values, start, start + width, include=zero, most=4)
        label = score_title(score)
        if is_difference:
            label = "Δ Absolute error" if score == "mae" else f"Δ {label}"
        canvas.text(start, 20, label, "panel")
        better = "← better" if score in LOWER_IS_BETTER else "better →"
        side = axis.start if score in LOWER_IS_BETTER else axis.stop
        anchor = "start" if score in LOWER_IS_BETTER else "end"
        canvas.x_axis(axis, bottom, top=top, sign=is_difference)
        if is_difference:
            canvas.text(side, 37, better, "hint", anchor=anchor)
        reference = 0.0 if is_difference else table.loc[baseline, score]
        if np.isfinite(reference):
            canvas.line(axis(reference), top, axis(reference), bottom, "reference")
        for level, (name, found) in enumerate(zip(table.index, values, strict=True)):
            if np.isnan(found[0]):
                continue
            y = top + row * (level + 0.5)
            if np.isfinite(found[1:]).all():
                canvas.line(axis(found[1]), y, axis(found[2]), y, "whisker")
            if is_difference:
                clear = table.loc[name, f"{score}_p_adjusted"] < 0.05
                canvas.diamond(axis(found[0]), y, "mark" if clear else "mark open")
            else:
                canvas.dot(axis(found[0]), y, "mark open" if name == baseline else "mark")
    return str(canvas)


def roc_figure(comparison):
    """ROC curves over all patients, one panel per model, the baseline dashed behind it."""
    models = [name for name in comparison.models if comparison.table["auc"].notna()[name]]
    shown = [name for name in models if name != comparison.baseline] or models
    canvas = _Grid(
        shown,
        "ROC curves",
        "; ".join(f"{n}: AUC {format_interval(comparison.table.loc[n], 'auc')}" for n in shown),
        "roc",
    )
    for number, name in enumerate(shown):
        canvas.panel(number, f"AUC {_auc(comparison, name)}")
        across, up = canvas.unit_square(number, "False positives (1 − specificity)", "Sensitivity")
        if comparison.baseline in models and name != comparison.baseline:
            canvas.path(*_roc(comparison, comparison.baseline, across, up), "curve behind")
        canvas.path(*_roc(comparison, name, across, up), "curve")
    return str(canvas)


def calibration_figure(comparison):
    """Observed frequency against predicted probability, one panel per model."""
    shown = [name for name in comparison.models if comparison.table["brier"].notna()[name]]
    found = {name: _calibration(comparison, name) for name in shown}
    canvas = _Grid(
        shown,
        "Calibration curves",
        "; ".join(f"{name}: {text}" for name, (_, text) in found.items()),
        "calibration",
    )
    for number, (bins, text) in enumerate(found.values()):
        canvas.panel(number, text)
        across, up = canvas.unit_square(number, "Predicted probability", "Observed frequency")
        for row in bins.itertuples():
            canvas.line(
                across(row.predicted), up(row.low), across(row.predicted), up(row.high), "whisker"
            )
        canvas.path(across(bins["predicted"]), up(bins["observed"]), "curve thin")
        for row in bins.itertuples():
            canvas.dot(across(row.predicted), up(row.observed), "mark", radius=4)
    return str(canvas)


def observed_figure(comparison, *, most=600):
    """Observed against predicted outcome of a regression, one panel per model."""
    shown = comparison.models
    tables = {name: comparison.patients(name) for name in shown}
    text = {
        name: f"r {format_number(comparison.table.loc[name, 'r'], digits=2)}, "
        f"R² {format_number(comparison.table.loc[name, 'r2'], digits=2)}"
        for name in shown
    }
    canvas = _Grid(
        shown, "Observed against predicted", "; ".join(f"{n}: {text[n]}" for n in shown), "observed"
    )
    values = np.concatenate([table[["y", "prediction"]].to_numpy() for table in tables.values()])
    for number, name in enumerate(shown):
        x, y = canvas.panel(number, text[name])
        across = Axis.around(values, x, x + canvas.side)
        up = Axis(across.low, across.high, y + canvas.side, y, across.ticks)
        canvas.square(number, across, up, "Predicted", "Observed")
        table = tables[name]
        for row in table.iloc[:: math.ceil(len(table) / most)].itertuples():
            canvas.dot(across(row.prediction), up(row.y), "patient", radius=3)
    return str(canvas)


def confusion_figure(comparison):
    """Share of every observed class that each model gives to every class, one panel per model."""
    shown, classes = comparison.models, comparison.classes
    canvas = _Grid(shown, "Confusion of the classes", _confusions(comparison), "confusion")
    for number, name in enumerate(shown):
        x, y = canvas.panel(number, _accuracy(comparison, name))
        share = _confusion(comparison, name)
        side = canvas.side / len(classes)
        for i, label in enumerate(classes):
            middle = (i + 0.5) * side
            canvas.text(x - 6, y + middle + 5, _cut(str(label), 8), "tick", anchor="end")
            most = max(round(side / 8), 3)
            below = y + canvas.side + 18
            canvas.text(x + middle, below, _cut(str(label), most), "tick", anchor="middle")
            for j in range(len(classes)):
                canvas.rect(x + j * side, y + i * side, side, side, "cell", opacity=share[i, j])
                kind = "on-dark" if share[i, j] > 0.5 else "on-light"
                canvas.text(
                    x + (j + 0.5) * side,
                    y + middle + 5,
                    f"{100 * share[i, j]:.0f} %",
                    kind,
                    anchor="middle",
                )
        canvas.text(
            x + canvas.side / 2, y + canvas.side + 38, "Predicted", "label", anchor="middle"
        )
        if number % canvas.per_row == 0:
            canvas.rotated(x - 50, y + canvas.side / 2, "Observed", "label")
    return str(canvas)


def fold_figure(comparison):
    """Difference from the baseline in every single fold, one row per model."""
    shown = [name for name in comparison.models if name != comparison.baseline]
    scores = list(comparison.tested)
    row, top, names = 44, 30, 232
    bottom = top + row * len(shown)
    folds = comparison.folds.set_index(["repeat", "fold", "model"])
    canvas = Canvas(
        WIDTH,
        bottom + 30,
        title=f"Differences from {comparison.baseline} in every fold",
        description="; ".join(
            f"{name}: "
            + ", ".join(f"{score_name(s)} {_folds_won(comparison, name, s)}" for s in scores)
            for name in shown
        ),
        name="folds",
    )
    for number, name in enumerate(shown):
        canvas.line(0, top + row * number, WIDTH, top + row * number, "grid")
        canvas.wrapped(6, top + row * (number + 0.5) + 5, name, "name")
    gap = 40
    width = (WIDTH - names - gap * len(scores)) / len(scores)
    for column, score in enumerate(scores):
        start = names + gap / 2 + column * (width + gap)
        wide = folds[score].unstack("model")
        differences = wide[shown].sub(wide[comparison.baseline], axis=0)
        axis = Axis.around(differences.to_numpy(), start, start + width, include=[0], most=8)
        canvas.text(start, 18, f"Difference in {score_name(score)}", "panel")
        canvas.x_axis(axis, bottom, top=top, sign=True)
        canvas.line(axis(0), top, axis(0), bottom, "reference")
        for number, name in enumerate(shown):
            middle = top + row * (number + 0.5)
            values = differences[name].dropna()
            for place, value in enumerate(values):
                # spread over the height of the row in a fixed order, so that dots stay apart
                spread = (place * 0.618) % 1 - 0.5
                canvas.dot(axis(value), middle + 22 * spread, "fold", radius=4)
            if len(values):
                mean = axis(values.mean())
                canvas.line(mean, middle - 17, mean, middle + 17, "mean")
    return str(canvas)


class _Grid(Canvas):
    """Square panels, three in a row, or four where that saves a row."""

    def __init__(self, shown, title, description, name):
        self.shown = list(shown)
        self.per_row = 4 if len(self.shown) in (4, 7, 8) else 3
        self.stride = WIDTH / self.per_row
        self.side = self.stride - LEFT - 26
        height = math.ceil(len(self.shown) / self.per_row) * (self.side + TOP + BOTTOM)
        super().__init__(WIDTH, height, title=title, description=description, name=name)

    def corner(self, number):
        """Upper left corner of a panel."""
        row, column = divmod(number, self.per_row)
        return LEFT + self.stride * column, TOP + (self.side + TOP + BOTTOM) * row

    def panel(self, number, text):
        """Write a panel's title and a line below it; give its upper left corner."""
        x, y = self.corner(number)
        self.wrapped(x, y - 40, self.shown[number], "panel", columns=round(self.side / 8.4))
        self.text(x, y - 12, text, "hint")
        return x, y

    def square(self, number, across, up, x_label, y_label):
        """Axes of a panel and its diagonal; vertical labels in the first column only."""
        self.x_axis(across, up.start, top=up.stop, label=x_label)
        label = None if number % self.per_row else y_label
        self.y_axis(up, across.start, right=across.stop, label=label)
        self.line(across(across.low), up(up.low), across(across.high), up(up.high), "diagonal")

    def unit_square(self, number, x_label, y_label):
        """Axes from 0 to 1."""
        x, y = self.corner(number)
        ticks = [0, 0.5, 1] if self.per_row == 4 else [0, 0.25, 0.5, 0.75, 1]
        across, up = Axis(0, 1, x, x + self.side, ticks), Axis(0, 1, y + self.side, y, ticks)
        self.square(number, across, up, x_label, y_label)
        return across, up


def _auc(comparison, name):
    row = comparison.table.loc[name]
    if name == comparison.baseline:
        return format_number(row["auc"])
    return f"{format_number(row['auc'])}, difference {format_difference(row, 'auc').split(' ')[0]}"


def _roc(comparison, name, across, up):
    from sklearn.metrics import roc_curve

    from ..statistics.scores import ranking

    patients = comparison.patients(name)
    values = ranking(patients, comparison.classes)[:, 1]
    false, true, _ = roc_curve(patients["y"] == comparison.classes[1], values)
    return across(false), up(true)


def _calibration(comparison, name):
    patients = comparison.patients(name)
    y, probability = patients["y"] == comparison.classes[1], patients["probability"]
    n_bins = 10 if len(y) >= 200 else 5
    slope = calibration_line(y, probability).slope.estimate
    error = expected_calibration_error(y, probability, n_bins=n_bins)
    text = f"slope {format_number(slope, digits=2)}, error {format_number(error)}"
    return calibration_bins(y, probability, n_bins=n_bins), text


def _accuracy(comparison, name):
    return f"accuracy {format_number(comparison.table.loc[name, 'accuracy'])}"


def _confusion(comparison, name):
    rows = comparison.predictions[comparison.predictions["model"] == name]
    counts = np.array(
        [
            [((rows["y"] == t) & (rows["prediction"] == p)).sum() for p in comparison.classes]
            for t in comparison.classes
        ]
    )
    return counts / counts.sum(axis=1, keepdims=True)


def _confusions(comparison):
    return "; ".join(f"{name}: {_accuracy(comparison, name)}" for name in comparison.models)


def _cut(text, most):
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _folds_won(comparison, name, score):
    wide = comparison.folds.pivot(index=["repeat", "fold"], columns="model", values=score)
    gain = (wide[name] - wide[comparison.baseline]) * (-1 if score in LOWER_IS_BETTER else 1)
    return f"better in {int((gain > 0).sum())} of {len(gain)} folds"
