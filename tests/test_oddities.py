"""Tables as they come: texts among numbers, identifiers, codes for missing values, units."""

import warnings

import numpy as np
import pandas as pd
import pytest

from prognosis import (
    CohortError,
    TabularEncoder,
    compare,
    linear_ladder,
    logistic_ladder,
    make_stroke_cohort,
    numeric_column,
)
from prognosis.oddities import oddities_told, refuse_oddities, warn_of_oddities

N = 60
AGES = [str(30 + number % 59) for number in range(N)]


def table(values, name="age", dtype=object):
    index = [f"sub-{number:02}" for number in range(len(values))]
    return pd.DataFrame({name: pd.Series(values, index, dtype=dtype)})


def mended(X, message, name="age"):
    """The column after the line of pandas that the message gives."""
    start = message.index(f"X['{name}'] = ")
    line = message[start:].split(", or, if")[0]
    exec(line, {"X": X, "pd": pd})
    return X[name]


# ------------------------------------------------------------------- texts among numbers


@pytest.mark.parametrize("dtype", [object, "string", "str"])
def test_one_text_among_numbers_is_refused_with_the_line_that_mends_it(dtype):
    X = table([*AGES[:-2], "89+", "unk"], dtype=dtype)
    expected = r"row 'sub-58', column 'age': found '89\+' \(also 'unk'\) in 2 of 60 rows"
    with pytest.raises(CohortError, match=expected) as refused:
        TabularEncoder(["age"]).fit(X)
    values = mended(X.copy(), str(refused.value))
    assert values.iloc[-2] == 89 and np.isnan(values.iloc[-1]) and values.notna().sum() == 59
    assert TabularEncoder(["age"]).fit_transform(table(values.tolist())).shape == (60, 2)


def test_numbers_proper_with_a_text_among_them():
    X = table([*(float(age) for age in AGES[:-1]), ">90"])
    with pytest.raises(CohortError, match=r"found '>90' in 1 of 60 rows") as refused:
        linear_ladder([["age"]])["age"].fit(X, np.arange(N))
    assert mended(X, str(refused.value)).iloc[-1] == 90


def test_numbers_stored_as_text_or_with_a_comma():
    with pytest.raises(CohortError, match="found '30', a number stored as text") as refused:
        TabularEncoder(["age"]).fit(table(AGES))
    assert mended(table(AGES), str(refused.value)).tolist() == [float(age) for age in AGES]
    X = table([f"{age},5" for age in AGES[:-1]] + ["n/a"])
    with pytest.raises(CohortError, match="found 'n/a' in 1") as refused:
        TabularEncoder(["age"]).fit(X)
    assert mended(X, str(refused.value)).iloc[0] == 30.5
    X = table([f"{age},5" for age in AGES])
    with pytest.raises(CohortError, match="found '30,5', a number stored with a decimal comma"):
        TabularEncoder(["age"]).fit(X)


CATEGORIES = {
    "codes": ["1", "2", "3", "other"] * 15,
    "codes of numbers": [1, 2, 3, "other"] * 15,
    "grades": ["0", "1", "2a", "2b", "3"] * 12,
    "few numbers": ["left", "right", "1"] * 20,
    "said to be": pd.Categorical([*AGES[:29], "89+"] * 2),
    "sites": [f"site {number % 12}" for number in range(N)],
}


@pytest.mark.parametrize("values", CATEGORIES.values(), ids=CATEGORIES)
def test_categories_stay_categories(values):
    X = pd.DataFrame({"c": values})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = TabularEncoder(["c"]).fit(X).get_feature_names_out()
    assert all(name.startswith("c_") for name in made) and len(made) == X["c"].nunique()


def test_numeric_column():
    raw = table([*AGES[:-4], " 89+ ", "UNK", None, "999"])["age"]
    kept = raw.copy()
    values = numeric_column(raw, censored="89+", missing=[999])
    pd.testing.assert_series_equal(raw, kept)
    assert values.name == "age" and values.index.equals(raw.index) and values.dtype == float
    assert values.iloc[-4:].tolist()[0] == 89 and values.iloc[-3:].isna().all()
    for text, number in {"<5": 5, ">200": 200, "≥ 80": 80, "+90": 90, "3,5+": 3.5}.items():
        column = pd.Series([text], name="c")
        if text != "+90":
            with pytest.raises(
                CohortError, match="where a number was expected; name it in missing"
            ):
                numeric_column(column)
        assert numeric_column(column, censored=text).tolist() == [number]
    assert np.isnan(numeric_column(pd.Series(["x"]), missing="x")).all()
    assert numeric_column(pd.Series([True, 2, "3e1"])).tolist() == [1, 2, 30]
    with pytest.raises(CohortError, match="censored names 'old', in which there is no number"):
        numeric_column(raw, censored="old")


# --------------------------------------------------------------------- ids, dates


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_a_text_that_differs_in_every_row_is_an_identifier(dtype):
    X = pd.DataFrame({"name": pd.Series([f"p{number}" for number in range(12)], dtype=dtype)})
    with pytest.raises(CohortError, match=r"column 'name': all 12 values differ \(row 0: 'p0'\)"):
        TabularEncoder(["name"]).fit(X)
    twice = pd.concat([X, X]).reset_index(drop=True)
    TabularEncoder(["name"]).fit(twice)  # a patient with two scans
    TabularEncoder(["name"]).fit(X[:9])  # too few to tell


def test_dates_stored_as_text_are_dates():
    X = table([f"2020-01-{1 + number % 28:02}" for number in range(N)], "stroke")
    with pytest.raises(
        CohortError, match=r"row 'sub-00', column 'stroke': .*a date stored"
    ) as said:
        TabularEncoder(["stroke"]).fit(X)
    assert mended(X, str(said.value), "stroke").iloc[:2].tolist() == [7305.0, 7306.0]


def test_a_number_that_is_an_identifier_is_pointed_out():
    X = pd.DataFrame({"subject_id": np.arange(100, 130), "age": np.arange(50, 80)})
    with pytest.warns(UserWarning, match=r"column 'subject_id': its 30 whole numbers all differ"):
        TabularEncoder(list(X)).fit(X)


# --------------------------------------------------------------------- codes and units


def said_of(values, name="nihss"):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        TabularEncoder([name]).fit(pd.DataFrame({name: values}))
    return [str(one.message) for one in found]


SCORES = [float(number % 22) for number in range(N)]


@pytest.mark.parametrize("code", [-1, -9, -99, 99, 888, 999, 9999])
def test_codes_for_missing_values_are_pointed_out(code):
    (said,) = said_of([*SCORES[:-2], code, code])
    assert said.startswith(f"column 'nihss': {code} in 2 of 60 rows lies apart")
    X = pd.DataFrame({"nihss": [*SCORES[:-2], code, code]})
    exec(said[said.index("X['nihss'] = ") :], {"X": X})
    assert X["nihss"].isna().sum() == 2 and said_of(X["nihss"]) == []


def test_texts_that_mean_missing_are_pointed_out():
    (said,) = said_of(["F", "M", "unk"] * 20, "sex")
    assert said.startswith("column 'sex': 'unk' in 20 of 60 rows reads like a missing value")
    X = pd.DataFrame({"sex": ["F", "M", "unk"] * 20})
    exec(said[said.index("X['sex'] = ") :], {"X": X})
    assert X["sex"].isna().sum() == 20


def test_units_are_pointed_out():
    (said,) = said_of(np.array(SCORES) * 365 + 20000, "age")
    assert said.startswith("column 'age': 60 of 60 values are above 120 (the largest is 27,665)")
    assert "days or months" in said
    (said,) = said_of(np.linspace(0, 90000, N), "lesion_ml")
    assert "mm³ (divide by 1000)" in said


INNOCENT = {
    "ages": np.linspace(18, 99, N).round(),
    "standardised": np.random.default_rng(0).normal(size=N),
    "changes": np.arange(N) % 12 - 4.0,
    "truth": np.arange(N) % 2 == 0,
    "codes of sides": np.where(np.arange(N) % 2, -1, 1),
    "percent": np.linspace(0, 100, N).round(),
    "volumes": np.random.default_rng(0).gamma(1, 60, N),
    "volumes in mm³": np.random.default_rng(0).gamma(1, 60000, N).round(),
    "years": 1990 + np.arange(N) % 30,
}


@pytest.mark.parametrize("values", INNOCENT.values(), ids=INNOCENT)
def test_no_false_alarm(values):
    assert said_of(values, "value") == []


def test_no_false_alarm_on_simulated_and_real_cohorts(data_home):
    X, _ = make_stroke_cohort(60, spacing_mm=8, random_state=0)
    tabular = ["age", "severity", "recovery_years"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TabularEncoder([name for name in tabular if name in X]).fit(X)
    raw = pd.read_csv(data_home / "soop" / "Scripts" / "participants.tsv", sep="\t")
    with pytest.raises(CohortError, match=r"column 'age': found '89\+' in \d+ of 1\d+|7\d+ rows"):
        TabularEncoder(["age"]).fit(raw)
    raw["age"] = numeric_column(raw["age"], censored="89+")
    columns = [name for name in raw if name != "participant_id"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TabularEncoder(columns).fit(raw)
    with pytest.raises(CohortError, match=r"column 'participant_id': all .* differ"):
        TabularEncoder(["participant_id"]).fit(raw)
    for table in (data_home / "arc", data_home / "lgg"):
        values = pd.read_csv(table / "participants.tsv", sep="\t", na_values=["n/a"])
        values = values.drop(columns=[c for c in values if c.endswith("id")])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for name in values:
                refuse_oddities(values[name])
                warn_of_oddities(values, [name])


def test_a_comparison_says_it_once():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"nihss": rng.integers(0, 22, N) * 1.0, "age": rng.normal(60, 9, N)})
    y = (X["nihss"] + rng.normal(0, 3, N) > 11).astype(int)
    X.loc[[3, 40], "nihss"] = 999
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        compare(logistic_ladder([["age"], ["age", "nihss"]]), X, y, cv=3, random_state=0)
    said = [str(one.message) for one in found]
    assert len(said) == 1 and said[0].startswith("column 'nihss': 999 in 2 of 60 rows")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with oddities_told():
            TabularEncoder(["nihss"]).fit(X)
    with pytest.warns(UserWarning, match="999"):
        TabularEncoder(["nihss"]).fit(X)
