"""Tabular values drawn as polygons, so that a 2-D network reads them beside the brain.

Every value has its own cell and its own shape; what it says is shown by radius, angle, grey level,
counted wedges or the kind of glyph, and a missing value looks like nothing else.
"""

from dataclasses import dataclass

import numpy as np

from .errors import ImageError

__all__ = ["LOOKS", "Symbol", "draw_symbols", "fill_polygon", "show_canvas", "symbol_cells"]

LOOKS = {
    "radius": "continuous",
    "angle": "continuous",
    "grey": "continuous",
    "wedges": "ordinal",
    "fill": "binary",
    "glyph": "categorical",
}
"""How a value can look, and the kind of value it suits."""

SIDES = (5, 4, 6, 3, 8, 7)  # of the shapes of successive symbols
SUBROWS = 8
FAINT, MISSING_LEVEL = 0.25, 0.5
LEAST_RADIUS, LEAST_GREY, LEAST_TURN = 0.25, 0.2, 0.04  # the lowest value is still visible
LEAST_PIXELS = 8


@dataclass(frozen=True)
class Symbol:
    """How one tabular value is drawn.

    Parameters
    ----------
    name : str
        For legends and messages.
    look : {"radius", "angle", "grey", "wedges", "fill", "glyph"}, default="radius"
        - "radius": a filled polygon that grows;
        - "angle": a pie that fills;
        - "grey": a polygon that brightens;
        - "wedges": as many bright wedges as levels above the lowest;
        - "fill": hollow below 0.5, filled from there on;
        - "glyph": another polygon or star for each level.
    levels : int, default=2
        Of an ordinal or categorical value; level k of n is drawn for the value k / (n - 1).

    Examples
    --------
    >>> symbols = [Symbol("age"), Symbol("sex", look="fill")]
    >>> drawn = draw_symbols([0.9, 0.0], symbols, (16, 32))
    >>> bool(drawn[:, :16].sum() > drawn[:, 16:].sum())
    True
    """

    name: str
    look: str = "radius"
    levels: int = 2

    def __post_init__(self):
        if self.look not in LOOKS:
            raise ValueError(
                f"symbol {self.name!r}: look must be among {list(LOOKS)}, got {self.look!r}"
            )
        if self.levels < 2:
            raise ValueError(f"symbol {self.name!r}: levels must be at least 2, got {self.levels}")


def draw_symbols(values, symbols, shape):
    """Draw values side by side, each in its own cell.

    Parameters
    ----------
    values : array-like of shape (n_symbols,) or (n_patients, n_symbols)
        In [0, 1], as a scaler fitted on training patients gives them; beyond is clipped. NaN is
        missing, drawn as a grey cross.
    symbols : sequence of Symbol
    shape : (int, int)
        Height and width of the picture in pixels.

    Returns
    -------
    ndarray of shape (height, width) or (n_patients, height, width), float32
        In [0, 1], 0 is background; edges are anti-aliased.

    Raises
    ------
    ImageError
        If values and symbols do not match, or a cell would have less than 8 pixels.

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638.

    Examples
    --------
    >>> symbols = [Symbol("lesion size"), Symbol("severity", "wedges", levels=7)]
    >>> picture = draw_symbols([0.3, 1.0], symbols, (16, 32))
    >>> picture.shape, float(picture.max())
    ((16, 32), 1.0)
    >>> other = draw_symbols([0.9, 1.0], symbols, (16, 32))
    >>> bool((picture != other)[:, :16].any()), bool((picture != other)[:, 16:].any())
    (True, False)
    """
    symbols = list(symbols)
    values = np.asarray(values, dtype=float)
    table = np.atleast_2d(values)
    if values.ndim not in (1, 2) or table.shape[1] != len(symbols):
        raise ImageError(
            f"found values of shape {values.shape} for {len(symbols)} symbols; give one value per "
            "symbol"
        )
    pictures = np.zeros((len(table), *shape), np.float32)
    cells = symbol_cells([symbol.name for symbol in symbols], shape)
    for number, (symbol, place) in enumerate(zip(symbols, cells.values(), strict=True)):
        different, which = np.unique(np.clip(table[:, number], 0, 1), return_inverse=True)
        cell = (place[0].stop - place[0].start, place[1].stop - place[1].start)
        drawn = [_draw(symbol, number, value, cell) for value in different]
        pictures[:, *place] = np.stack(drawn)[which]
    return pictures if values.ndim == 2 else pictures[0]


def symbol_cells(names, shape):
    """Where each symbol lies: cells of one size, as near to squares as the picture allows.

    Parameters
    ----------
    names : sequence of str
    shape : (int, int)
        Height and width of the picture in pixels.

    Returns
    -------
    dict of str to (slice, slice)
        In reading order.

    Raises
    ------
    ImageError
        If there is no name, one occurs twice, or a cell would have less than 8 pixels.

    Examples
    --------
    >>> symbol_cells(["age", "nihss"], (16, 40))["nihss"]
    (slice(0, 16, None), slice(20, 40, None))
    """
    names = list(names)
    if not names or len(set(names)) < len(names):
        raise ImageError(f"symbols need different names, at least one; found {names}")
    height, width = shape
    rows = max(
        range(1, len(names) + 1), key=lambda n: min(height // n, width // -(-len(names) // n))
    )
    columns = -(-len(names) // rows)
    down, across = height // rows, width // columns
    if min(down, across) < LEAST_PIXELS:
        raise ImageError(
            f"{len(names)} symbols in {height} x {width} pixels leave {down} x {across} for each, "
            f"less than {LEAST_PIXELS}; enlarge the picture or draw fewer"
        )
    places = (divmod(number, columns) for number in range(len(names)))
    return {
        name: (slice(row * down, (row + 1) * down), slice(col * across, (col + 1) * across))
        for name, (row, col) in zip(names, places)
    }


def fill_polygon(corners, shape):
    """How much of each pixel a polygon covers.

    Exact across, and averaged over 8 lines per pixel down.

    Parameters
    ----------
    corners : array-like of shape (n_corners, 2)
        x (to the right) and y (down) in pixels from the upper left corner of the picture; edges
        must not cross.
    shape : (int, int)

    Returns
    -------
    ndarray of shape (height, width)
        In [0, 1].

    Examples
    --------
    >>> fill_polygon([(0.5, 0), (2, 0), (2, 1), (0.5, 1)], (2, 3)).tolist()
    [[0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    height, width = shape
    start = np.asarray(corners, dtype=float)
    end = np.roll(start, -1, axis=0)
    lines = (np.arange(height * SUBROWS) + 0.5) / SUBROWS
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    line, edge = np.nonzero((lines[:, None] >= low) & (lines[:, None] < high))
    covered = np.zeros((height * SUBROWS, width))
    if len(line):
        x0, y0, x1, y1 = start[edge, 0], start[edge, 1], end[edge, 0], end[edge, 1]
        crossing = x0 + (lines[line] - y0) * (x1 - x0) / (y1 - y0)
        # What lies to the right of every crossing, entering and leaving with opposite signs.
        right = np.clip(np.arange(width) + 1 - crossing[:, None], 0, 1)
        firsts = np.flatnonzero(np.r_[True, line[1:] != line[:-1]])
        covered[line[firsts]] = np.add.reduceat(np.sign(y1 - y0)[:, None] * right, firsts)
    return np.clip(np.abs(covered), 0, 1).reshape(height, SUBROWS, width).mean(axis=1)


def show_canvas(picture, cells, *, notes=None, title=None):
    """Show what the network sees, with numbered cells and a legend.

    Parameters
    ----------
    picture : ndarray of shape (height, width)
        Drawn from black (0) to white (1).
    cells : dict of str to (slice, slice)
        As `RoiMosaic.cells` and `symbol_cells` give them.
    notes : dict of str to str, default=None
        Text behind the name of a cell in the legend, for example the patient's value.
    title : str, default=None

    Returns
    -------
    matplotlib.figure.Figure
        Not registered with pyplot: save it with ``savefig``, or let a notebook show it.

    Examples
    --------
    >>> cells = symbol_cells(["age", "nihss"], (16, 32))
    >>> picture = draw_symbols([0.3, 0.8], [Symbol("age"), Symbol("nihss", "angle")], (16, 32))
    >>> figure = show_canvas(picture, cells, notes={"age": "61 years"})
    >>> [text.get_text() for text in figure.axes[1].texts]
    ['1  age: 61 years', '2  nihss']
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(9, 6), layout="constrained")
    image, legend = figure.subplots(1, 2, width_ratios=(2, 1))
    image.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    image.set_axis_off()
    legend.set_axis_off()
    if title:
        image.set_title(title, loc="left")
    step = 1 / max(len(cells), 12)
    for number, (name, (down, across)) in enumerate(cells.items(), start=1):
        corner = (across.start - 0.5, down.start - 0.5)
        size = (across.stop - across.start, down.stop - down.start)
        image.add_patch(Rectangle(corner, *size, fill=False, edgecolor="#4c9be8", linewidth=0.8))
        image.text(
            corner[0] + size[0] - 1,
            corner[1] + 1,
            str(number),
            color="#ffd166",
            fontsize=8,
            ha="right",
            va="top",
        )
        note = f": {notes[name]}" if notes and name in notes else ""
        legend.text(0, 1 - (number - 0.5) * step, f"{number}  {name}{note}", va="center")
    return figure


def _draw(symbol, number, value, cell):
    """One symbol in its cell: faint parts first, bright ones over them."""
    picture = np.zeros(cell)
    centre, reach = np.array([cell[1], cell[0]]) / 2, min(cell) / 2 - 1
    for corners, level in _parts(symbol, SIDES[number % len(SIDES)], value):
        covered = fill_polygon(centre + reach * np.asarray(corners), cell)
        picture += covered * (level - picture)
    return picture


def _parts(symbol, sides, value):
    """Polygons within the unit circle and their grey levels, from back to front."""
    if np.isnan(value):
        return [(_cross(), MISSING_LEVEL)]
    level = round(value * (symbol.levels - 1))
    if symbol.look == "radius":
        return [((LEAST_RADIUS + (1 - LEAST_RADIUS) * value) * _regular(sides), 1.0)]
    if symbol.look == "grey":
        return [(_regular(sides), LEAST_GREY + (1 - LEAST_GREY) * value)]
    if symbol.look == "angle":
        turn = LEAST_TURN + (1 - LEAST_TURN) * value
        return [(_regular(48), FAINT), (_sector(0, turn), 1.0)]
    if symbol.look == "wedges":
        count = symbol.levels - 1
        gap = 0.1 / max(count, 2)
        return [
            (_sector(k / count + gap, (k + 1) / count - gap), 1.0 if k < level else FAINT)
            for k in range(count)
        ]
    if symbol.look == "fill":
        hollow = [] if value >= 0.5 else [(0.6 * _regular(sides), 0.0)]
        return [(_regular(sides), 1.0), *hollow]
    return [(_regular(3 + level // 2) if level % 2 == 0 else _star(3 + level // 2), 1.0)]


def _regular(sides):
    angle = 2 * np.pi * np.arange(sides) / sides
    return np.c_[np.sin(angle), -np.cos(angle)]


def _star(points):
    corners = _regular(2 * points)
    corners[1::2] *= 0.4
    return corners


def _sector(start, stop):
    """From `start` to `stop` in turns, clockwise from the top."""
    if stop - start >= 1 - 1e-9:
        return _regular(48)
    angle = 2 * np.pi * np.linspace(start, stop, 2 + round(48 * (stop - start)))
    return np.r_[[[0.0, 0.0]], np.c_[np.sin(angle), -np.cos(angle)]]


def _cross():
    arm = 0.22
    quarter = np.array([(-arm, -1), (arm, -1), (arm, -arm)])
    quarter_turn = np.array([[0, 1], [-1, 0]])
    plus = [quarter @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)]
    eighth_turn = np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    return 0.97 * np.concatenate(plus) @ eighth_turn
