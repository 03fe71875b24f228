"""The figures of the report, each a string of HTML that holds one SVG per panel.

Small multiples: one panel per score or per model, each an SVG of its own, so that a page sets as
many beside each other as there is room for, and colour is never needed to tell models apart.
"""

import math

import numpy as np

from ..statistics.calibration import calibration_bins, calibration_line, expected_calibration_error
from ..statistics.scores import LOWER_IS_BETTER
from .drawing import Axis, Canvas, cut, together
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

SIDE, LEFT, TOP, BOTTOM = 236, 62, 66, 58  # of a square panel, and room for titles and ticks
ROW_WIDTH, ROW, ROW_TOP = 400, 46, 44  # of a panel with one row per model, its name above the marks


def forest_figure(comparison):
    """Scores and differences from the baseline, with confidence intervals: a panel for each."""
    table, tested = comparison.table, list(comparison.tested)
    known = [score for score in tested if table[f"{score}_difference"].notna().any()]
    panels = []
    for number, score in enumerate(tested):
        panels.append(_forest_panel(comparison, score, number))
        if score in known:
            panels.append(_forest_panel(comparison, score, number, is_difference=True))
    return together(panels, kind="rows")


def _forest_panel(comparison, score, number, is_difference=False):
    table, baseline = comparison.table, comparison.baseline
    label = score_title(score)
    if is_difference:
        table = table.drop(index=baseline)
        label = _difference_title(score)
        spoken = "; ".join(f"{n}: {format_difference(r, score)}" for n, r in table.iterrows())
    else:
        spoken = "; ".join(f"{n}: {format_interval(r, score)}" for n, r in table.iterrows())
    panel = _Rows(
        list(table.index),
        f"{label} of every model with 95 % confidence intervals",
        spoken,
        f"forest-{number}{'-difference' * is_difference}",
        strong=baseline,
    )
    prefix = f"{score}_difference" if is_difference else score
    values = table[[prefix, f"{prefix}_low", f"{prefix}_high"]].to_numpy(dtype=float)
    lower = score in LOWER_IS_BETTER
    axis = panel.axis(values, label, sign=is_difference, lower=lower)
    reference = 0.0 if is_difference else comparison.table.loc[baseline, score]
    if np.isfinite(reference):
        panel.line(axis(reference), ROW_TOP, axis(reference), panel.bottom, "reference")
    for level, (name, found) in enumerate(zip(table.index, values, strict=True)):
        if np.isnan(found[0]):
            continue
        y = panel.middle(level)
        if np.isfinite(found[1:]).all():
            panel.line(axis(found[1]), y, axis(found[2]), y, "whisker")
        if is_difference:
            clear = table.loc[name, f"{score}_p_adjusted"] < 0.05
            panel.diamond(axis(found[0]), y, "mark" if clear else "mark open")
        else:
            panel.dot(axis(found[0]), y, "mark open" if name == baseline else "mark")
    return panel


def roc_figure(comparison):
    """ROC curves over all patients, one panel per model, the baseline dashed behind it."""
    models = [name for name in comparison.models if comparison.table["auc"].notna()[name]]
    shown = [name for name in models if name != comparison.baseline] or models
    panels = []
    for name in shown:
        spoken = f"AUC {format_interval(comparison.table.loc[name], 'auc')}"
        panel = _Square(name, f"AUC {_auc(comparison, name)}", spoken, f"roc-{len(panels)}")
        across, up = panel.unit_square("False positives (1 − specificity)", "Sensitivity")
        if comparison.baseline in models and name != comparison.baseline:
            panel.path(*_roc(comparison, comparison.baseline, across, up), "curve behind")
        panel.path(*_roc(comparison, name, across, up), "curve")
        panels.append(panel)
    return together(panels)


def calibration_figure(comparison):
    """Observed frequency against predicted probability, one panel per model."""
    panels = []
    for name in comparison.models:
        if np.isnan(comparison.table.loc[name, "brier"]):
            continue
        bins, text = _calibration(comparison, name)
        panel = _Square(name, text, text, f"calibration-{len(panels)}")
        across, up = panel.unit_square("Predicted probability", "Observed frequency")
        for row in bins.itertuples():
            x = across(row.predicted)
            panel.line(x, up(row.low), x, up(row.high), "whisker")
        panel.path(across(bins["predicted"]), up(bins["observed"]), "curve thin")
        for row in bins.itertuples():
            panel.dot(across(row.predicted), up(row.observed), "mark", radius=4)
        panels.append(panel)
    return together(panels)


def observed_figure(comparison, *, most=600):
    """Observed against predicted outcome of a regression, one panel per model."""
    tables = {name: comparison.patients(name) for name in comparison.models}
    values = np.concatenate([table[["y", "prediction"]].to_numpy() for table in tables.values()])
    panels = []
    for name, table in tables.items():
        row = comparison.table.loc[name]
        text = f"r {format_number(row['r'], digits=2)}, R² {format_number(row['r2'], digits=2)}"
        panel = _Square(name, text, text, f"observed-{len(panels)}")
        across = Axis.around(values, LEFT, LEFT + SIDE)
        up = Axis(across.low, across.high, TOP + SIDE, TOP, across.ticks)
        panel.square(across, up, "Predicted", "Observed")
        for patient in table.iloc[:: math.ceil(len(table) / most)].itertuples():
            panel.dot(across(patient.prediction), up(patient.y), "patient", radius=3)
        panels.append(panel)
    return together(panels)


def confusion_figure(comparison):
    """Share of every observed class that each model gives to every class, one panel per model."""
    classes, panels = comparison.classes, []
    side = SIDE / len(classes)
    for name in comparison.models:
        text = _accuracy(comparison, name)
        panel = _Square(name, text, text, f"confusion-{len(panels)}")
        share = _confusion(comparison, name)
        for i, label in enumerate(classes):
            middle = (i + 0.5) * side
            panel.text(LEFT - 6, TOP + middle + 5, cut(str(label), 6), "tick", anchor="end")
            most = max(round(side / 8), 3)
            below = TOP + SIDE + 18
            panel.text(LEFT + middle, below, cut(str(label), most), "tick", anchor="middle")
            for j in range(len(classes)):
                panel.rect(LEFT + j * side, TOP + i * side, side, side, "cell", opacity=share[i, j])
                kind = "on-dark" if share[i, j] > 0.5 else "on-light"
                words = f"{100 * share[i, j]:.0f} %"
                x, y = LEFT + (j + 0.5) * side, TOP + middle + 5
                panel.text(x, y, words, kind, anchor="middle")
        panel.text(LEFT + SIDE / 2, TOP + SIDE + 38, "Predicted", "label", anchor="middle")
        panel.rotated(LEFT - 50, TOP + SIDE / 2, "Observed", "label")
        panels.append(panel)
    return together(panels)


def fold_figure(comparison):
    """Difference from the baseline in every single fold: a panel per score, a row per model."""
    shown = [name for name in comparison.models if name != comparison.baseline]
    folds = comparison.folds.set_index(["repeat", "fold", "model"])
    panels = []
    for score in comparison.tested:
        panel = _Rows(
            shown,
            f"Difference in {score_name(score)} from {comparison.baseline} in every fold",
            "; ".join(f"{name}: {_folds_won(comparison, name, score)}" for name in shown),
            f"folds-{len(panels)}",
        )
        wide = folds[score].unstack("model")
        differences = wide[shown].sub(wide[comparison.baseline], axis=0)
        lower = score in LOWER_IS_BETTER
        axis = panel.axis(differences.to_numpy(), _difference_title(score), sign=True, lower=lower)
        panel.line(axis(0), ROW_TOP, axis(0), panel.bottom, "reference")
        for number, name in enumerate(shown):
            middle, values = panel.middle(number), differences[name].dropna()
            for place, value in enumerate(values):
                # spread over the height of the row in a fixed order, so that dots stay apart
                spread = (place * 0.618) % 1 - 0.5
                panel.dot(axis(value), middle + 14 * spread, "fold", radius=3.5)
            if len(values):
                mean = axis(values.mean())
                panel.line(mean, middle - 11, mean, middle + 11, "mean")
        panels.append(panel)
    return together(panels, kind="rows")


class _Rows(Canvas):
    """A panel with one row per model: its name, and its marks below."""

    def __init__(self, names, title, description, name, *, strong=None):
        self.bottom = ROW_TOP + ROW * len(names)
        super().__init__(
            ROW_WIDTH, self.bottom + 26, title=title, description=description, name=name
        )
        self.names, self.strong = names, strong
        for number in range(len(names)):
            self.line(0, ROW_TOP + ROW * number, ROW_WIDTH, ROW_TOP + ROW * number, "grid")

    def __str__(self):
        for number, each in enumerate(self.names):  # last, so that no line crosses a name
            kind = "name strong" if each == self.strong else "name"
            self.text(2, ROW_TOP + ROW * number + 17, cut(each, 52), kind)
        self.names = []
        return super().__str__()

    def middle(self, number):
        """Height of the marks of a row."""
        return ROW_TOP + ROW * number + 32

    def axis(self, values, label, *, sign, lower):
        """The axis below all rows, the title above them, and which side is better."""
        include = [0] if sign else []
        axis = Axis.around(values, 10, ROW_WIDTH - 24, include=include, most=5)
        self.text(2, 18, label, "panel")
        if sign:
            better = "← better" if lower else "better →"
            self.text(ROW_WIDTH, 18, better, "hint", anchor="end")
        self.x_axis(axis, self.bottom, top=ROW_TOP, sign=sign)
        return axis


class _Square(Canvas):
    """A square panel with the name of a model and a line of text above it."""

    def __init__(self, title, text, spoken, name):
        width, height = LEFT + SIDE + 16, TOP + SIDE + BOTTOM - 12
        super().__init__(width, height, title=title, description=spoken, name=name)
        self.wrapped(LEFT, TOP - 40, title, "panel", columns=round(SIDE / 8.4))
        self.text(LEFT, TOP - 12, text, "hint")

    def square(self, across, up, x_label, y_label):
        """Axes and the diagonal."""
        self.x_axis(across, up.start, top=up.stop, label=x_label)
        self.y_axis(up, across.start, right=across.stop, label=y_label)
        self.line(across(across.low), up(up.low), across(across.high), up(up.high), "diagonal")

    def unit_square(self, x_label, y_label):
        """Axes from 0 to 1."""
        ticks = [0, 0.25, 0.5, 0.75, 1]
        across = Axis(0, 1, LEFT, LEFT + SIDE, ticks)
        up = Axis(0, 1, TOP + SIDE, TOP, ticks)
        self.square(across, up, x_label, y_label)
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


def _difference_title(score):
    return "Δ Absolute error" if score == "mae" else f"Δ {score_title(score)}"


def _folds_won(comparison, name, score):
    wide = comparison.folds.pivot(index=["repeat", "fold"], columns="model", values=score)
    gain = (wide[name] - wide[comparison.baseline]) * (-1 if score in LOWER_IS_BETTER else 1)
    return f"better in {int((gain > 0).sum())} of {len(gain)} folds"
