"""What cells mean: the same values give the same numbers however pandas stores them."""

import datetime
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from prognosis import CohortError, MatchedGroups, SymbolScaler, TabularEncoder
from prognosis.cells import as_text, column_kind

ROWS = list("vwxyz")


def encode(values, later=None):
    """Encoded values and their names; what is transformed may differ from what was learnt."""
    X = pd.DataFrame({"c": values}).set_axis(ROWS[: len(values)])
    encoder = TabularEncoder(["c"]).fit(X)
    if later is not None:
        X = pd.DataFrame({"c": later}).set_axis(ROWS[: len(later)])
    return encoder.transform(X), encoder.get_feature_names_out().tolist()


def standardised(values):
    """By hand: the median for missing values, an indicator of these, mean 0 and variance 1."""
    values = np.asarray(values, dtype=float)
    missing = np.isnan(values)
    filled = np.where(missing, np.nanmedian(values), values)
    columns = np.c_[filled, missing] if missing.any() else filled[:, None]
    spread = columns.std(axis=0)
    return (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1)


NUMBERS = {
    "float": pd.Series([1, np.nan, 3, 0, 1.0]),
    "Int64": pd.Series([1, None, 3, 0, 1], dtype="Int64"),
    "UInt8": pd.Series([1, None, 3, 0, 1], dtype="UInt8"),
    "Float64": pd.Series([1, None, 3, 0, 1], dtype="Float64"),
    "objects": pd.Series([1, None, 3.0, np.int8(0), True], dtype=object),
    "decimals": pd.Series([Decimal(1), None, Decimal("3.0"), 0, pd.NA], dtype=object),
    "sparse": pd.Series(pd.arrays.SparseArray([1, np.nan, 3, 0, 1.0])),
}
TRUTH = {
    "boolean": pd.Series([True, None, False, False, True], dtype="boolean"),
    "objects": pd.Series([True, None, False, False, True], dtype=object),
    "NumPy objects": pd.Series([np.True_, np.nan, np.False_, 0, pd.NA], dtype=object),
    "NaT among them": pd.Series([True, pd.NaT, False, False, True], dtype=object),
}


@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_numbers(values):
    expected = [float(value) if pd.notna(value) else np.nan for value in values]
    found, names = encode(values)
    np.testing.assert_allclose(found, standardised(expected), atol=1e-12)
    assert names == ["c", "missingindicator_c"]


@pytest.mark.parametrize("values", TRUTH.values(), ids=TRUTH)
def test_truth_values_are_numbers(values):
    expected = [float(value) if pd.notna(value) else np.nan for value in values]
    np.testing.assert_allclose(encode(values)[0], standardised(expected), atol=1e-12)


TEXTS = {
    "objects, NaN": pd.Series(["b", np.nan, "a", "b"], dtype=object),
    "objects, None": pd.Series(["b", None, "a", "b"], dtype=object),
    "objects, NA": pd.Series(["b", pd.NA, "a", "b"], dtype=object),
    "string": pd.Series(["b", pd.NA, "a", "b"], dtype="string"),
    "default": pd.Series(["b", None, "a", "b"]),
    "category": pd.Series(["b", None, "a", "b"], dtype="category"),
    "category of string": pd.Series(["b", None, "a", "b"], dtype="string").astype("category"),
    "bytes": pd.Series([b"b", None, "a", "b"], dtype=object),
}


@pytest.mark.parametrize("values", TEXTS.values(), ids=TEXTS)
def test_text_is_text(values):
    found, names = encode(values)
    assert names == ["c_a", "c_b", "c_missing"]
    np.testing.assert_array_equal(found, np.eye(3)[[1, 2, 0, 1]])


CODES = {
    "of int": pd.Series([2, None, 1, 2]).astype("category"),
    "of Int64": pd.Series([2, None, 1, 2], dtype="Int64").astype("category"),
    "of text": pd.Series(["2", None, "1", "2"], dtype="category"),
    "ordered": pd.Series(pd.Categorical([2, None, 1, 2], [2, 1], ordered=True)),
    "mixed with text": pd.Series([2, None, "1", 2.0], dtype=object),
}


@pytest.mark.parametrize("values", CODES.values(), ids=CODES)
def test_a_code_is_the_same_category_however_it_is_stored(values):
    found, names = encode(values)
    assert names == ["c_1", "c_2", "c_missing"]
    np.testing.assert_array_equal(found, np.eye(3)[[1, 2, 0, 1]])
    for later in CODES.values():
        np.testing.assert_array_equal(encode(values, later)[0], found)
    as_integers = encode(values, pd.Series([2, 1, 1]))[0]
    np.testing.assert_array_equal(as_integers, np.eye(3)[[1, 0, 0]])


def test_categories_of_truth_values_and_intervals_are_text():
    cut = pd.cut(pd.Series([1.0, 5.0, np.nan]), [0, 2, 9])
    assert encode(cut)[1] == [*(f"c_{interval}" for interval in cut.cat.categories), "c_missing"]
    assert encode(pd.Series([True, False]).astype("category"))[1] == ["c_False", "c_True"]


def test_a_column_without_values_says_nothing_and_stays_usable():
    nothing = pd.Series([None, None, None], dtype=object)
    np.testing.assert_array_equal(encode(nothing)[0], np.ones((3, 1)))
    with pytest.warns(UserWarning, match="row 'v', column 'c': category 'True' was not seen"):
        found, _ = encode(nothing, pd.Series([True, None]))
    np.testing.assert_array_equal(found, [[0], [1]])
    # a test fold may happen to hold nothing at all
    assert np.isfinite(encode(pd.Series([1.0, 2.0]), nothing)[0]).all()
    assert np.isfinite(encode(pd.Series(["a", "b"]), pd.Series([np.nan, np.nan]))[0]).all()


TIMES = {
    "dates": pd.Series(pd.to_datetime(["2020-01-03", None, "2021-01-01"])),
    "dates with zone": pd.Series(pd.to_datetime(["2020-01-03", None], utc=True)),
    "durations": pd.Series(pd.to_timedelta([1, None, 3], unit="h")),
    "periods": pd.Series(pd.PeriodIndex(["2020-01", None, "2020-03"], freq="M")),
    "objects of Timestamp": pd.Series([None, pd.Timestamp("2020")], dtype=object),
    "objects of date": pd.Series([datetime.date(2020, 1, 2), None], dtype=object),
    "objects of datetime64": pd.Series([np.datetime64("2020-01-02"), None], dtype=object),
    "objects of timedelta": pd.Series([None, datetime.timedelta(1)], dtype=object),
    "objects of time": pd.Series([datetime.time(12, 30), None], dtype=object),
    "objects of Period": pd.Series([pd.Period("2020-01"), None], dtype=object),
    "categories": pd.Series(pd.to_datetime(["2020-01-03", None])).astype("category"),
    "only missing ones": pd.Series(pd.to_datetime([None, None])),
}


@pytest.mark.parametrize("values", TIMES.values(), ids=TIMES)
def test_times_are_refused_with_the_line_that_mends_them(values):
    X = pd.DataFrame({"c": values}).set_axis(ROWS[: len(values)])
    for refuse in (TabularEncoder(["c"]).fit, SymbolScaler(["c"]).fit):
        with pytest.raises(CohortError, match="neither numbers nor categories") as refused:
            refuse(X)
    line = str(refused.value).split(": ", 2)[-1].removeprefix("count days or seconds: ")
    line = line[line.index("X['c'] =") :]
    exec(line, {"X": X, "pd": pd})
    assert column_kind(X["c"]) == "number"
    assert np.isfinite(TabularEncoder(["c"]).fit_transform(X)).all()


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ([1, 2], "the list"),
        (np.arange(3), "the ndarray"),
        ({"a": 1}, "the dict"),
        ((1, 2), "the tuple"),
        (1 + 2j, "the complex"),
        (object, "the type"),
    ],
)
def test_what_is_no_value_is_refused_wherever_it_stands(cell, found):
    cells = pd.Series([1.0] * 30 + [cell], dtype=object)
    X = pd.DataFrame({"c": cells})
    for refuse in (
        TabularEncoder(["c"]).fit,
        SymbolScaler(["c"]).fit,
        MatchedGroups(match=["c"]).assign,
    ):
        with pytest.raises(CohortError, match=f"row 30, column 'c': found {found} .* image='c'"):
            refuse(X)


INFINITE = {
    "float": pd.Series([1.0, np.inf]),
    "Float64": pd.Series([1, np.inf], dtype="Float64"),
    "beyond all floats": pd.Series([None, 10**400], dtype=object),
}


@pytest.mark.parametrize("values", INFINITE.values(), ids=INFINITE)
def test_infinite_values_are_refused_in_every_kind_of_number(values):
    with pytest.raises(CohortError, match="row 'w', column 'c': found an infinite value"):
        encode(values)


@pytest.mark.parametrize("transformer", [TabularEncoder(["c"]), SymbolScaler(["c"])], ids=str)
def test_a_column_that_changes_its_kind_is_refused_with_row_and_value(transformer):
    numbers = pd.DataFrame({"c": [1.0, 2.0, 5.0, 7.5]}, index=list("wxyz"))
    words = pd.DataFrame({"c": ["1", "two", None, "four"]}, index=list("wxyz"))
    with pytest.raises(CohortError, match="row 'w', column 'c': found the str '1' where numbers"):
        transformer.fit(numbers).transform(words)
    fitted = transformer.fit(words)
    with pytest.raises(CohortError, match="row 'x', column 'c': found the number 2 where categ"):
        fitted.transform(numbers)
    fitted.transform(numbers[:1])  # the code "1" is known


def test_symbols_and_matched_groups_read_the_same_cells():
    truth = pd.Series([True, None, False, True] * 5, dtype=object)
    codes = pd.Series([1, 2, None, 3] * 5, dtype="category")
    whole = pd.Series([1, 2, None, 3] * 5, dtype="Int64")
    words = pd.Series(["a", pd.NA, "b", "a"] * 5, dtype="string")
    X = pd.DataFrame({"truth": truth, "codes": codes, "whole": whole, "words": words})
    scaler = SymbolScaler(list(X)).fit(X)
    assert [symbol.look for symbol in scaler.symbols_] == ["fill", "glyph", "wedges", "fill"]
    np.testing.assert_array_equal(
        scaler.transform(X)[:4],
        [[1, 0, 0, 0], [np.nan, 0.5, 0.5, np.nan], [0, np.nan, np.nan, 1], [1, 1, 1, 0]],
    )
    table = MatchedGroups(4, match=list(X)).balance_table(X)
    assert {"truth", "truth missing", "codes = 1", "whole", "words = a"} <= set(table.index)
    assert np.isfinite(table.to_numpy()).all()


def test_matched_groups_refuse_the_outcome_of_other_patients():
    X = pd.DataFrame({"age": np.arange(20.0)}, index=[f"p{n}" for n in range(20)])
    y = pd.Series([0, 1] * 10, X.index)
    with pytest.raises(CohortError, match="y is in another order than X"):
        MatchedGroups(4, match=["age"]).assign(X, y[::-1])


# --------------------------------------------------------------------------------- fuzz

POOL = [
    None, np.nan, pd.NA, pd.NaT, 0, 1, 1.0, 2.5, -3, np.int8(2), np.float32(0.5), True, False,
    np.True_, "a", "1", "True", "", b"a", Decimal("1.5"), pd.Interval(0, 1), pd.Timestamp("2020"),
    datetime.date(2020, 1, 1), pd.Timedelta(1, "h"), pd.Period("2020"), [1], np.ones(2), {}, 1j,
    np.inf, 10**6,
]  # fmt: skip
TYPES = [object, None, "string", "category", "boolean", "Int64", "Float64", "float32", "str"]


def stored(rng, pool):
    """Some cells of the pool, stored in one of pandas' ways that takes them."""
    cells = pd.Series([pool[k] for k in rng.integers(len(pool), size=rng.integers(2, 7))], None)
    cells = cells.astype(object)
    try:
        return cells.astype(TYPES[rng.integers(len(TYPES))] or object).reset_index(drop=True)
    except (TypeError, ValueError, OverflowError):
        return cells


@pytest.mark.filterwarnings("ignore:.*was not seen during fit")
@pytest.mark.filterwarnings("ignore:.*reads like a missing value")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_whatever_a_column_holds_it_is_encoded_rightly_or_refused():
    rng = np.random.default_rng(0)
    encoded = refused = 0
    for _ in range(150):
        pool = [POOL[k] for k in rng.integers(len(POOL), size=rng.integers(1, 5))]
        learnt, later = stored(rng, pool), stored(rng, pool)
        X, Z = pd.DataFrame({"c": learnt}), pd.DataFrame({"c": later})
        try:
            encoder = TabularEncoder(["c"]).fit(X)
            values = encoder.transform(Z)
        except CohortError as error:
            assert "column 'c'" in str(error) and ("row" in str(error) or "type" in str(error))
            refused += 1
            continue
        encoded += 1
        names = encoder.get_feature_names_out().tolist()
        assert values.shape == (len(Z), len(names)) and np.isfinite(values).all()
        if column_kind(learnt) == "number":
            numbers = [np.nan if pd.isna(cell) else float(cell) for cell in learnt]
            if not np.isnan(numbers).all():
                expected = standardised(numbers)
                np.testing.assert_allclose(encoder.transform(X), expected, rtol=1e-4, atol=1e-4)
        else:
            for cell, row in zip(as_text(later), values, strict=True):
                name = "c_missing" if cell is np.nan else f"c_{cell}"
                assert dict(zip(names, row, strict=True)).get(name, 1) == 1
                assert row.sum() == (name in names)
    assert encoded > 40 and refused > 40


def test_plain_columns_are_encoded_as_ever():
    """Bit for bit as by scikit-learn's own steps."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "float": np.where(rng.random(50) < 0.2, np.nan, rng.normal(50, 20, 50)),
            "int": rng.integers(0, 25, 50),
            "bool": rng.random(50) < 0.3,
            "text": rng.choice(["F", "M"], 50).astype(object),
        }
    )
    X.loc[X.index[::7], "text"] = np.nan
    imputed = SimpleImputer(strategy="median", add_indicator=True).fit_transform(
        X[["float", "int", "bool"]]
    )
    numeric = StandardScaler().fit_transform(imputed)
    words = OneHotEncoder(sparse_output=False).fit_transform(X[["text"]].fillna("missing"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = TabularEncoder(list(X)).fit_transform(X)
    np.testing.assert_array_equal(found, np.hstack([numeric, words]))
