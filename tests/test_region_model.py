"""Loads of many regions: rare columns are not blown up; the regularised model of all of them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.preprocessing import StandardScaler

from prognosis import (
    CohortError,
    RegionLoad,
    TabularEncoder,
    linear_ladder,
    make_stroke_cohort,
    region_model,
)
from prognosis.scaling import RareSafeScaler
from prognosis.studies.regions import regularised


@pytest.fixture(scope="module")
def loads():
    """Simulated loads of 120 regions: each patient has a few, of very different size."""
    rng = np.random.default_rng(0)
    hit = rng.random((131, 120)) < rng.uniform(0.01, 0.2, 120)
    values = np.where(hit, np.exp(rng.uniform(np.log(1e-4), 0, hit.shape)), 0.0)
    X = pd.DataFrame(values, columns=[f"r{k}" for k in range(120)])
    return X, X.sum(axis=1) + rng.normal(0, 0.1, 131)


def score(model, X, y):
    return cross_val_score(model, X, y, cv=KFold(5, shuffle=True, random_state=0), scoring="r2")


def test_a_ladder_of_loads_is_no_worse_than_ridge(loads):
    X, y = loads
    (ladder,) = linear_ladder([list(X)]).values()
    blown_up = clone(ladder)
    blown_up.steps[0] = ("encode", StandardScaler())
    assert score(blown_up, X, y).mean() < -1
    plain = score(Ridge(), X, y).mean()
    assert plain > 0.3 and score(ladder, X, y).mean() > plain - 0.05
    assert score(regularised(list(X), [], False), X, y).mean() > plain - 0.05


def column(*values, n=100):
    return pd.DataFrame({"c": np.r_[values, np.zeros(n - len(values))]})


def test_no_rare_column_becomes_loud():
    for values in ([0.001], [0.001, 0.4], [3.0], [1.0], [250.0, -1.0], [7, 7]):
        X = column(*values, n=300)
        encoder = TabularEncoder(["c"]).fit(X)
        assert np.abs(encoder.transform(X)).max() < 10.5
        new = pd.DataFrame({"c": [0.5, 1e6, -1e6]})
        assert np.abs(encoder.transform(new)).max() < 10.5
    rare = pd.DataFrame({"c": np.where(np.arange(300) == 7, np.nan, np.arange(300.0))})
    made = TabularEncoder(["c"]).fit_transform(rare)  # an indicator of one missing value
    assert np.abs(made).max() < 7.1


def test_shares_are_centred_and_keep_their_one_scale():
    shares = pd.DataFrame({"a": [0, 0, 0, 0.2, 0.01], "b": [0, 0, 0, 0, 0.001]}) * 1.0
    made = TabularEncoder(["a", "b"]).fit_transform(shares)
    np.testing.assert_allclose(made, shares - shares.mean())


ORDINARY = {
    "normal": np.random.default_rng(0).normal(60, 12, 200),
    "skewed": np.random.default_rng(0).gamma(1, 30, 200),
    "points": np.random.default_rng(0).integers(0, 25, 200),
    "truth": np.arange(200) % 20 == 0,
    "counts, mostly 0": np.random.default_rng(0).poisson(0.3, 200),
    "shares, seldom 0": np.random.default_rng(0).beta(2, 5, 200),
    "few": np.arange(200) < 5,
    "the same": np.full(200, 3.0),
}


@pytest.mark.parametrize("values", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_columns_are_standardised_as_ever(values):
    values = np.asarray(values, dtype=float)[:, None]
    scaler = RareSafeScaler().fit(values)
    np.testing.assert_array_equal(scaler.transform(values), StandardScaler().fit_transform(values))
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(values)), values)


def test_scaler_in_and_out_of_pandas():
    X = column(0.5, 0.1, n=20)
    frame = RareSafeScaler().set_output(transform="pandas").fit_transform(X)
    assert frame.columns.tolist() == ["c"] and frame.index.equals(X.index)
    np.testing.assert_array_equal(frame, RareSafeScaler().fit_transform(X))


# --------------------------------------------------------------------------------- the model


@pytest.fixture(scope="module")
def cohort():
    return make_stroke_cohort(24, spacing_mm=8, random_state=0)


@pytest.mark.parametrize(
    ("outcome", "patient"), [("binary", None), ("continuous", None), ("continuous", "person")]
)
def test_the_model_is_that_of_the_study(cohort, outcome, patient):
    X, y = cohort
    X = X.assign(person=np.arange(24) // 2)
    y = y if outcome == "binary" else X["severity"] + X["age"]
    model = region_model("lesion", tabular=["age"], outcome=outcome, patient=patient)
    table = RegionLoad("lesion").fit(X)
    by_hand = regularised(table.columns_, ["age"], outcome == "binary", patient)
    if outcome == "binary":  # as ever, but quicker
        model.set_params(choose__param_grid={"model__C": [0.01, 1]}, choose__cv=2)
        by_hand.set_params(param_grid={"model__C": [0.01, 1]}, cv=2)
    model.fit(X, y)
    by_hand.fit(table.transform(X), y)
    np.testing.assert_allclose(model.predict(X), by_hand.predict(table.transform(X)))
    again = clone(model).set_params(regions__minimum_patients=4).fit(X.iloc[:18], y.iloc[:18])
    assert len(again["regions"].columns_) < len(table.columns_)
    assert np.isfinite(again.predict(X.iloc[18:])).all()


def test_without_a_table(cohort):
    X, _ = cohort
    model = region_model(outcome="continuous", atlas="aal").fit(X[["lesion"]], X["severity"])
    assert model.predict(X[["lesion"]]).shape == (24,)


def test_refusals(cohort):
    with pytest.raises(ValueError, match=r"outcome must be one of .*'ordinal'.*place_model"):
        region_model(outcome="ordinal")
    with pytest.raises(CohortError, match="column 'mask' not found"):
        region_model("mask").fit(*cohort)
    with pytest.raises(CohortError, match="column 'nihss' not found"):
        region_model(tabular=["nihss"]).fit(*cohort)
