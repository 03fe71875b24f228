"""Symbols: each value moves its own pixels only, and missing looks like nothing else."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from imaging import ImageError, Symbol, draw_symbols, show_canvas, symbol_cells
from imaging.symbols import LOOKS, fill_polygon
from prognosis import CohortError, SymbolScaler

SYMBOLS = [
    Symbol("size"),
    Symbol("time", "angle"),
    Symbol("pressure", "grey"),
    Symbol("severity", "wedges", levels=7),
    Symbol("prior stroke", "fill"),
    Symbol("type", "glyph", levels=5),
]
SHAPE = (32, 120)


def test_patients_that_differ_in_one_value_differ_in_that_cell_only():
    rng = np.random.default_rng(0)
    cells = symbol_cells([symbol.name for symbol in SYMBOLS], SHAPE)
    for number, symbol in enumerate(SYMBOLS):
        one = rng.random(len(SYMBOLS))
        for values in ((0.0, 1.0), (0.0, np.nan), (1.0, np.nan)):
            one, other = one.copy(), one.copy()
            one[number], other[number] = values
            differs = draw_symbols(one, SYMBOLS, SHAPE) != draw_symbols(other, SYMBOLS, SHAPE)
            assert differs[cells[symbol.name]].any()
            differs[cells[symbol.name]] = False
            assert not differs.any()


@pytest.mark.parametrize("symbol", SYMBOLS, ids=lambda symbol: symbol.look)
def test_every_level_and_missing_look_different(symbol):
    count = symbol.levels if LOOKS[symbol.look] != "continuous" else 11
    values = np.r_[np.linspace(0, 1, count), np.nan]
    pictures = draw_symbols(values[:, None], [symbol], (20, 20))
    assert (pictures >= 0).all() and (pictures <= 1).all()
    apart = np.abs(pictures[:, None] - pictures[None]).sum((2, 3)) + np.eye(len(values)) * 99
    assert apart.min() > 3  # in whole pixels


@pytest.mark.parametrize("look", ["radius", "angle", "grey", "wedges"])
def test_brightness_grows_with_the_value_and_values_are_clipped(look):
    values = np.linspace(-0.5, 1.5, 21)[:, None]
    total = draw_symbols(values, [Symbol("x", look, 5)], (24, 24)).sum((1, 2))
    assert (np.diff(total) > -1e-3).all()
    assert total[0] == total[5] and total[-1] == total[-6] and total[5] < total[-6]


def test_polygon_areas_are_right():
    triangle = [(1.3, 2.1), (11.7, 4.9), (6.2, 10.4)]
    (ax, ay), (bx, by), (cx, cy) = triangle
    area = abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2
    assert fill_polygon(triangle, (12, 13)).sum() == pytest.approx(area, rel=0.01)
    assert fill_polygon(triangle[::-1], (12, 13)).sum() == pytest.approx(area, rel=0.01)
    beyond = [(-5, -5), (20, -5), (20, 20), (-5, 20)]
    np.testing.assert_array_equal(fill_polygon(beyond, (4, 6)), 1)
    assert not fill_polygon([(9, 9), (10, 9), (10, 10)], (4, 6)).any()


def test_impossible_symbols_are_refused():
    with pytest.raises(ValueError, match="symbol 'x': look must be among"):
        Symbol("x", "colour")
    with pytest.raises(ValueError, match="levels must be at least 2"):
        Symbol("x", "glyph", 1)
    with pytest.raises(ImageError, match=r"shape \(2,\) for 1 symbols"):
        draw_symbols([0, 1], [Symbol("x")], (16, 16))
    with pytest.raises(ImageError, match="less than 8; enlarge the picture or draw fewer"):
        draw_symbols(np.zeros(6), SYMBOLS, (8, 30))
    with pytest.raises(ImageError, match="different names"):
        symbol_cells(["age", "age"], (16, 32))


def test_the_canvas_names_its_cells():
    cells = symbol_cells(["age", "nihss"], (16, 32))
    figure = show_canvas(np.zeros((16, 32)), cells, notes={"nihss": "4"}, title="sub-01")
    assert [text.get_text() for text in figure.axes[1].texts] == ["1  age", "2  nihss: 4"]
    assert len(figure.axes[0].patches) == 2


# ------------------------------------------------------------------------ the scaler


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "lesion_ml": [0.0, 10.0, 20.0, 100.0],
            "age": [50.5, 60.0, np.nan, 70.2],
            "severity": [1, 2, 3, 7],
            "prior": [True, False, False, True],
            "type": ["A", "B", None, "C"],
            "grade": pd.Categorical(["low", "high", "mid", None], ["low", "mid", "high"], True),
        },
        index=list("wxyz"),
    )


def test_kinds_are_found_and_values_placed(table):
    scaler = SymbolScaler(list(table), limits={"lesion_ml": (0, 50)})
    values = pd.DataFrame(scaler.fit_transform(table), table.index, table.columns)
    looks = {symbol.name: symbol.look for symbol in scaler.symbols_}
    assert looks == {
        "lesion_ml": "wedges",
        "age": "radius",
        "severity": "wedges",
        "prior": "fill",
        "type": "glyph",
        "grade": "wedges",
    }
    assert values["severity"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert values["prior"].tolist() == [1, 0, 0, 1]
    np.testing.assert_array_equal(values["type"], [0, 0.5, np.nan, 1])
    np.testing.assert_array_equal(values["grade"], [0, 1, 0.5, np.nan])
    assert np.isnan(values["age"]["y"])
    named = SymbolScaler({"lesion_ml": "grey"}, limits={"lesion_ml": (0, 50)}).fit(table)
    assert named.transform(table).ravel().tolist() == [0, 0.2, 0.4, 1]


def test_only_training_patients_decide(table):
    scaler = SymbolScaler({"lesion_ml": "radius", "type": "glyph"}).fit(table[:2])
    kept = clone(scaler).fit(table[:2]).transform(table[:2])
    with pytest.warns(UserWarning, match="row 'z', column 'type': category 'C' was not seen"):
        beyond = scaler.transform(table)
    np.testing.assert_array_equal(beyond[:2], kept)
    assert beyond[3, 0] == 1 and np.isnan(beyond[3, 1])
    constant = SymbolScaler({"lesion_ml": "radius"}).fit(table[:1])
    assert constant.transform(table[:2]).ravel().tolist() == [0.5, 1.0]
    empty = SymbolScaler({"age": "radius"}).fit(table[2:3])
    assert np.isnan(empty.transform(table[2:3])).all()


def test_looks_that_do_not_suit_are_refused(table):
    with pytest.raises(CohortError, match=r"column 'type' holds .* cannot be drawn as 'radius'"):
        SymbolScaler({"type": "radius"}).fit(table)
    with pytest.raises(CohortError, match="column 'severity' has 4 values where"):
        SymbolScaler({"severity": "fill"}).fit(table)
    with pytest.raises(ValueError, match="column 'age': look must be among"):
        SymbolScaler({"age": "star"}).fit(table)
    with pytest.raises(ValueError, match="limits must ascend"):
        SymbolScaler({"age": "angle"}, limits={"age": (9, 3)}).fit(table)
    with pytest.raises(CohortError, match="columns is empty"):
        SymbolScaler([]).fit(table)
