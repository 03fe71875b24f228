"""The ladder: growing sets of columns, everything learnt inside the fold."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from prognosis import CohortError, linear_ladder, logistic_ladder, ordinal_ladder
from prognosis.estimators.ordinal.scale import is_ordinal
from prognosis.studies.published import build_study


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "lesion_ml": rng.gamma(2, 20, 60),
            "nihss": np.where(np.arange(60) % 7 == 0, np.nan, rng.integers(0, 25, 60)),
            "sex": rng.choice(["F", "M"], 60),
            "flair": [f"sub-{i}.png" for i in range(60)],
        },
        index=[f"p{i}" for i in range(60)],
    )


@pytest.fixture
def y(X):
    return (X["lesion_ml"] > 35).astype(int)


def test_names_and_order():
    rungs = [["lesion_ml"], ["lesion_ml", "nihss"]]
    assert list(logistic_ladder(rungs)) == ["lesion_ml", "lesion_ml + nihss"]
    assert list(logistic_ladder(rungs, names=["size", "+ severity"])) == ["size", "+ severity"]


def test_parameters():
    assert logistic_ladder([["a"]], C=0.1, random_state=3)["a"]["model"].C == 0.1
    assert logistic_ladder([["a"]], C=0.1, random_state=3)["a"]["model"].random_state == 3
    assert linear_ladder([["a"]], alpha=7)["a"]["model"].alpha == 7
    assert ordinal_ladder([["a"]], alpha=7)["a, ordinal"]["model"].alpha == 7
    assert list(ordinal_ladder([["a"], ["b"]], names=["x", "y"])) == ["x", "y"]


def test_the_study_of_an_ordinal_outcome(X):
    mrs = pd.Series(np.arange(60) % 7, X.index)
    study = build_study(X, mrs, image="flair", tabular=["lesion_ml", "nihss"], ordinal=True)
    kinds = {name: is_ordinal(model) for name, model in study.models.items()}
    assert kinds == {
        "size": False,
        "size + NIHSS": False,
        "size + NIHSS, ordinal": True,
        "stitched FLAIR": False,
        "stitched FLAIR + tabular": False,
        "stitched FLAIR + tabular, ordinal": True,
        "stitched FLAIR + tabular, stacked": False,
    }
    assert study.baseline == "size + NIHSS"


@pytest.mark.parametrize(
    ("rungs", "names", "match"),
    [
        ([], None, "at least one rung"),
        (["lesion_ml"], None, "must be a list of column names"),
        ([[]], None, "must be a list of column names"),
        ([["a"], ["b"]], ["x"], "as many different names"),
        ([["a"], ["b"]], ["x", "x"], "as many different names"),
        ([["a"], ["a"]], None, "as many different names"),
    ],
)
def test_nonsense_is_refused(rungs, names, match):
    with pytest.raises(ValueError, match=match):
        logistic_ladder(rungs, names=names)


def test_learns_inside_the_fold(X, y):
    model = logistic_ladder([["lesion_ml", "nihss", "sex"]])["lesion_ml + nihss + sex"]
    fitted = clone(model).fit(X.iloc[:40], y.iloc[:40])
    medians = fitted["encode"].encoder_.named_transformers_["numeric"][0].statistics_
    expected = X.iloc[:40][["lesion_ml", "nihss"]].median()
    assert medians == pytest.approx(expected.to_numpy())


def test_works_in_scikit_learn(X, y):
    model = logistic_ladder([["lesion_ml", "nihss", "sex"]])["lesion_ml + nihss + sex"]
    assert cross_val_score(model, X, y, cv=5).mean() > 0.9
    search = GridSearchCV(model, {"model__C": [0.1, 1], "encode__columns": [["lesion_ml"]]})
    assert search.fit(X, y).best_score_ > 0.9


def test_linear(X):
    model = linear_ladder([["lesion_ml", "sex"]])["lesion_ml + sex"]
    assert model.fit(X, 2 * X["lesion_ml"] + 1).score(X, 2 * X["lesion_ml"] + 1) > 0.99


def test_missing_column_is_named(X, y):
    with pytest.raises(CohortError, match="column 'mrs' not found"):
        logistic_ladder([["mrs"]])["mrs"].fit(X, y)
