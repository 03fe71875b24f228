"""A few strokes of SVG: axes, marks and text for the report's figures.

Figures are drawn by hand because they must stand in one page without scripts or fonts from
elsewhere, stay sharp on paper, and be legible in black and white.
"""

import textwrap
from html import escape

import numpy as np

__all__ = ["Axis", "Canvas", "cut", "nice_ticks", "together"]


def nice_ticks(low, high, *, most=5):
    """At most so many round numbers within an interval, and at least two.

    Examples
    --------
    >>> nice_ticks(0.52, 0.88).tolist()
    [0.6, 0.7, 0.8]
    """
    magnitude = 10.0 ** np.floor(np.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * magnitude
        first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
        if last - first < most:
            break
    return np.round(np.arange(first, last + 1) * step, 10)


class Axis:
    """A linear map from data to canvas, with its ticks.

    Parameters
    ----------
    low, high : float
        Data limits.
    start, stop : float
        Canvas coordinates of the limits.
    ticks : array-like
    """

    def __init__(self, low, high, start, stop, ticks):
        self.low, self.high, self.start, self.stop = low, high, start, stop
        self.ticks = [tick for tick in ticks if low - 1e-9 <= tick <= high + 1e-9]

    @classmethod
    def around(cls, values, start, stop, *, include=(), most=5):
        """An axis around all finite values, with a little room on both sides."""
        values = np.concatenate([np.ravel(values).astype(float), np.asarray(include, dtype=float)])
        values = values[np.isfinite(values)]
        low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
        if high - low < 1e-9:
            low, high = low - 0.05, high + 0.05
        room = 0.06 * (high - low)
        low, high = low - room, high + room
        return cls(low, high, start, stop, nice_ticks(low, high, most=most))

    def __call__(self, value):
        """Canvas coordinate of a value, kept within the axis."""
        share = (np.clip(value, self.low, self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def labels(self, *, sign=False):
        """Tick labels with as many decimals as the step needs."""
        digits = next(d for d in range(9) if np.allclose(self.ticks, np.round(self.ticks, d)))
        texts = []
        for tick in self.ticks:
            plus = "+" if sign and tick > 1e-12 else ""
            texts.append(f"{plus}{abs(tick) if abs(tick) < 1e-12 else tick:.{digits}f}")
        return [text.replace("-", "−") for text in texts]


class Canvas:
    """Collects the elements of one SVG figure.

    Parameters
    ----------
    width, height : float
        Of the view box; the page scales it.
    title, description : str
        Read out by screen readers.
    name : str
        Unique in the page.
    """

    def __init__(self, width, height, *, title, description, name):
        self.width, self.height = width, height
        self.head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'role="img" aria-labelledby="{name}-title {name}-text">'
            f'<title id="{name}-title">{escape(title)}</title>'
            f'<desc id="{name}-text">{escape(description)}</desc>'
        )
        self.elements = []

    def __str__(self):
        return self.head + "".join(self.elements) + "</svg>"

    def line(self, x1, y1, x2, y2, kind):
        self.elements.append(
            f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
        )

    def path(self, xs, ys, kind):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        self.elements.append(f'<polyline class="{kind}" points="{points}"/>')

    def rect(self, x, y, width, height, kind, *, opacity=None):
        shade = "" if opacity is None else f' fill-opacity="{opacity:.2f}"'
        self.elements.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
            f'height="{max(height, 0):.1f}"{shade}/>'
        )

    def dot(self, x, y, kind, *, radius=5.0):
        self.elements.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>')

    def diamond(self, x, y, kind, *, radius=6.5):
        r = radius
        points = f"{x:.1f},{y - r:.1f} {x + r:.1f},{y:.1f} {x:.1f},{y + r:.1f} {x - r:.1f},{y:.1f}"
        self.elements.append(f'<polygon class="{kind}" points="{points}"/>')

    def text(self, x, y, words, kind="", *, anchor="start"):
        self.elements.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(str(words))}</text>"
        )

    def wrapped(self, x, y, words, kind="", *, columns=28, anchor="start"):
        """Text on one or two lines; the second ends in an ellipsis where even they do not do."""
        lines = textwrap.wrap(words, columns, max_lines=2, placeholder=" …") or [""]
        top = y - (len(lines) - 1) * 9
        for number, line in enumerate(lines):
            self.text(x, top + number * 18, line, kind, anchor=anchor)

    def rotated(self, x, y, words, kind=""):
        self.elements.append(
            f'<text class="{kind}" transform="translate({x:.1f} {y:.1f}) rotate(-90)" '
            f'text-anchor="middle">{escape(words)}</text>'
        )

    def x_axis(self, axis, y, *, top, sign=False, label=None):
        """Ticks and grid of a horizontal axis whose line is at height `y`."""
        for tick, text in zip(axis.ticks, axis.labels(sign=sign), strict=True):
            self.line(axis(tick), top, axis(tick), y, "grid")
            self.text(axis(tick), y + 18, text, "tick", anchor="middle")
        self.line(axis.start, y, axis.stop, y, "axis")
        if label:
            self.text((axis.start + axis.stop) / 2, y + 38, label, "label", anchor="middle")

    def y_axis(self, axis, x, *, right, label=None):
        """Ticks and grid of a vertical axis whose line is at `x`."""
        for tick, text in zip(axis.ticks, axis.labels(), strict=True):
            self.line(x, axis(tick), right, axis(tick), "grid")
            self.text(x - 6, axis(tick) + 5, text, "tick", anchor="end")
        self.line(x, axis.start, x, axis.stop, "axis")
        if label:
            widest = max(map(len, axis.labels()), default=0)
            beside = max(x - 18 - 8 * widest, 10)  # clear of the tick labels
            self.rotated(beside, (axis.start + axis.stop) / 2, label, "label")


def cut(text, most):
    """Text of so many letters at most.

    Examples
    --------
    >>> cut("sensitivity", 11), cut("specificity of all", 12)
    ('sensitivity', 'specificity…')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def together(panels, *, kind=""):
    """Panels side by side, as many as there is room for: `Canvas` to HTML.

    Parameters
    ----------
    panels : sequence of Canvas
    kind : str
        A further class of the element, for the style sheet.

    Returns
    -------
    str
    """
    kinds = f"panels {kind}".strip()
    return f'<div class="{kinds}">{"".join(map(str, panels))}</div>'
