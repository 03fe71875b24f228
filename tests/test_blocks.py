"""Blocks of columns: one scale, no standardising, a penalty of their own; beside a table."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from prognosis import BlockEncoder, BlockScaler, CohortError


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    loads = rng.beta(0.3, 3, (80, 6)) * (rng.random((80, 6)) < 0.4)
    table = pd.DataFrame(loads, columns=[f"place_{k}" for k in range(6)])
    table["nihss"] = rng.integers(0, 30, 80).astype(float)
    table["sex"] = rng.choice(["F", "M"], 80)
    table["flair"] = "no.png"
    return table.set_axis([f"p{k}" for k in range(80)])


def loads_of(X):
    return X.filter(like="place_")


@pytest.mark.parametrize(("root", "power"), [("square", 1 / 2), ("cube", 1 / 3), (None, 1)])
def test_recipe(X, root, power):
    """The recipe, written out: root, training means, root mean square length times √10."""
    train, test = loads_of(X)[:50].to_numpy(), loads_of(X)[50:].to_numpy()
    rooted = train**power
    centred = rooted - rooted.mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=1).mean())
    expected = (test**power - rooted.mean(axis=0)) / scale * np.sqrt(10)
    scaler = BlockScaler(root=root).fit(train)
    np.testing.assert_allclose(scaler.transform(test), expected)
    assert (scaler.transform(train) ** 2).sum(axis=1).mean() == pytest.approx(10)


def test_a_rare_column_stays_small(X):
    X = loads_of(X).assign(place_rare=np.r_[0.01, np.zeros(79)])
    sd = BlockScaler().set_output(transform="pandas").fit_transform(X).std()
    assert sd["place_rare"] < 0.1 * sd["place_0"]


def test_alike_rows_and_one_scale():
    assert (BlockScaler().fit_transform(np.full((4, 3), 0.3)) == 0).all()
    rng = np.random.default_rng(1)
    one = rng.random((9, 3))
    a, b = (BlockScaler(root=None).fit_transform(part) for part in (one, 1000 * one))
    np.testing.assert_allclose(a, b)


def test_blocks_beside_the_table(X):
    encoder = BlockEncoder(["nihss", "sex"], blocks={"place": "place_*"}, log=["nihss"])
    out = encoder.set_output(transform="pandas").fit_transform(X)
    assert out.columns.tolist() == encoder.get_feature_names_out().tolist()
    assert out.columns[:3].tolist() == ["tabular__nihss", "tabular__sex_F", "tabular__sex_M"]
    assert encoder.block_of_features_.tolist() == ["tabular"] * 3 + ["place"] * 6
    logged = np.log1p(X["nihss"])
    np.testing.assert_allclose(out["tabular__nihss"], (logged - logged.mean()) / logged.std(ddof=0))
    np.testing.assert_allclose(
        out.filter(like="place__").to_numpy(), BlockScaler().fit_transform(loads_of(X))
    )
    again = pickle.loads(pickle.dumps(encoder)).transform(X.drop(columns="flair"))
    pd.testing.assert_frame_equal(again, out)
    others = clone(encoder).set_params(tabular=None, blocks={"place": ["place_1", "place_0"]})
    others.fit(X.drop(columns="flair"))
    assert others.get_feature_names_out()[-2:].tolist() == ["place__place_1", "place__place_0"]


def test_a_penalty_is_the_penalty_that_the_learner_would_take(X):
    """Ridge on divided features gives what solving with a penalty for each column gives."""
    rng = np.random.default_rng(2)
    y = loads_of(X).sum(axis=1) + X["nihss"] / 10 + rng.normal(size=80)
    encoder = BlockEncoder(["nihss"], blocks={"place": "place_*"})
    features = encoder.fit_transform(X)
    centred = features - features.mean(axis=0)
    penalties = np.r_[1.0, np.full(6, 30.0)]
    solved = np.linalg.solve(centred.T @ centred + np.diag(penalties), centred.T @ (y - y.mean()))
    divided = clone(encoder).set_params(penalties={"place": 30})
    model = make_pipeline(divided, Ridge(alpha=1)).fit(X, y)
    np.testing.assert_allclose(
        model[-1].coef_ / np.sqrt(model[0].penalty_of_features_), solved, rtol=1e-8
    )
    assert model[0].penalty_of_features_.tolist() == penalties.tolist()


def test_penalties_are_chosen_inside_the_fold(X):
    y = (X["nihss"] > 15).astype(int)
    model = make_pipeline(
        BlockEncoder(["nihss"], blocks={"place": "place_*"}), LogisticRegression()
    )
    grid = {"blockencoder__penalties": [{"place": 1.0}, {"place": 1000.0}]}
    search = GridSearchCV(model, grid, scoring="neg_log_loss").fit(X, y)
    assert search.best_params_["blockencoder__penalties"] == {"place": 1000.0}


def test_nothing_is_learnt_from_new_patients(X):
    encoder = BlockEncoder(["nihss"], blocks={"place": "place_*"}).fit(X[:50])
    alone = np.vstack([encoder.transform(X[k : k + 1]) for k in range(50, 55)])
    np.testing.assert_allclose(alone, encoder.transform(X[50:55]))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"blocks": {"place": "loads_*"}}, r"no column matches 'loads_\*'"),
        ({"blocks": {"place": []}}, "has no columns"),
        ({"blocks": {"place": ["nowhere"]}}, "column 'nowhere' not found"),
        ({"blocks": {"a": "place_*", "b": ["place_1"]}}, "'place_1' is in block 'b' and in 'a'"),
        ({"blocks": {"a__b": "place_*"}}, "cannot be called 'a__b'"),
        ({"penalties": {"size": 2.0}}, "penalties name a block 'size'; there is place"),
        ({"penalties": {"place": 0}}, "must be above 0, got 0"),
        ({"log": ["age"]}, "log names 'age'"),
        ({"log": ["sex"]}, "'sex' holds no numbers"),
        ({"blocks": {"place": ["flair"]}}, "'flair' of a block holds no numbers"),
    ],
)
def test_what_does_not_fit_is_refused(X, change, match):
    encoder = BlockEncoder(["nihss", "sex"], blocks={"place": "place_*"}).set_params(**change)
    with pytest.raises(ValueError, match=match):
        encoder.fit(X)


def test_gaps_and_negative_values_name_their_row(X):
    encoder = BlockEncoder(["nihss"], blocks={"place": "place_*"}, log=["nihss"]).fit(X)
    X.loc["p7", "place_2"] = np.nan
    with pytest.raises(CohortError, match="row 'p7', column 'place_2': no value"):
        encoder.transform(X)
    X.loc["p7", ["place_2", "nihss"]] = 0, -1
    with pytest.raises(CohortError, match="row 'p7', column 'nihss': found -1"):
        encoder.transform(X)
