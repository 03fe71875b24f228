"""The ladder and its encoder: everything is learnt inside the fold."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from prognosis import CohortError, linear_ladder, logistic_ladder
from prognosis.columns import TabularEncoder


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


class TestLadder:
    def test_names_and_order(self):
        rungs = [["lesion_ml"], ["lesion_ml", "nihss"]]
        assert list(logistic_ladder(rungs)) == ["lesion_ml", "lesion_ml + nihss"]
        assert list(logistic_ladder(rungs, names=["size", "+ severity"])) == ["size", "+ severity"]

    def test_parameters(self):
        assert logistic_ladder([["a"]], C=0.1, random_state=3)["a"]["model"].C == 0.1
        assert logistic_ladder([["a"]], C=0.1, random_state=3)["a"]["model"].random_state == 3
        assert linear_ladder([["a"]], alpha=7)["a"]["model"].alpha == 7

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
    def test_nonsense_is_refused(self, rungs, names, match):
        with pytest.raises(ValueError, match=match):
            logistic_ladder(rungs, names=names)

    def test_learns_inside_the_fold(self, X, y):
        model = logistic_ladder([["lesion_ml", "nihss", "sex"]])["lesion_ml + nihss + sex"]
        fitted = clone(model).fit(X.iloc[:40], y.iloc[:40])
        medians = fitted["encode"].encoder_.named_transformers_["numeric"][0].statistics_
        expected = X.iloc[:40][["lesion_ml", "nihss"]].median()
        assert medians == pytest.approx(expected.to_numpy())

    def test_works_in_scikit_learn(self, X, y):
        model = logistic_ladder([["lesion_ml", "nihss", "sex"]])["lesion_ml + nihss + sex"]
        assert cross_val_score(model, X, y, cv=5).mean() > 0.9
        search = GridSearchCV(model, {"model__C": [0.1, 1], "encode__columns": [["lesion_ml"]]})
        assert search.fit(X, y).best_score_ > 0.9

    def test_linear(self, X):
        model = linear_ladder([["lesion_ml", "sex"]])["lesion_ml + sex"]
        assert model.fit(X, 2 * X["lesion_ml"] + 1).score(X, 2 * X["lesion_ml"] + 1) > 0.99

    def test_missing_column_is_named(self, X, y):
        with pytest.raises(CohortError, match="column 'mrs' not found"):
            logistic_ladder([["mrs"]])["mrs"].fit(X, y)


class TestTabularEncoder:
    def test_only_its_columns_count(self, X):
        encoder = TabularEncoder(["nihss", "sex"]).fit(X)
        assert encoder.feature_names_in_.tolist() == ["nihss", "sex"]
        assert encoder.n_features_in_ == 2
        shuffled = X[["sex", "flair", "nihss"]]
        np.testing.assert_array_equal(encoder.transform(X), encoder.transform(shuffled))

    def test_names_match_the_columns_made(self, X):
        encoder = TabularEncoder(["nihss", "sex"]).fit(X)
        names = encoder.get_feature_names_out().tolist()
        assert names == ["nihss", "missingindicator_nihss", "sex_F", "sex_M"]
        made = TabularEncoder(["nihss", "sex"]).set_output(transform="pandas").fit_transform(X)
        assert made.columns.tolist() == names
        assert made.index.equals(X.index)

    def test_clone_pickle_and_not_fitted(self, X):
        encoder = clone(TabularEncoder(["sex"]))
        with pytest.raises(NotFittedError):
            encoder.transform(X)
        again = pickle.loads(pickle.dumps(encoder.fit(X)))
        np.testing.assert_array_equal(again.transform(X), encoder.transform(X))

    def test_unseen_category_warns(self, X):
        encoder = TabularEncoder(["sex"]).fit(X)
        with pytest.warns(UserWarning, match="was not seen during fit"):
            assert encoder.transform(X.assign(sex="other")).sum() == 0

    def test_bad_tables(self, X):
        with pytest.raises(CohortError, match="at least one tabular column"):
            TabularEncoder([]).fit(X)
        with pytest.raises(CohortError, match="DataFrame"):
            TabularEncoder(["sex"]).fit(X.to_numpy())
        with pytest.raises(CohortError, match="'sex' not found"):
            TabularEncoder(["sex"]).fit(X).transform(X.drop(columns="sex"))

    def test_all_columns_of_tables_and_arrays(self, X):
        numbers = X[["lesion_ml", "nihss"]]
        by_name = TabularEncoder(["lesion_ml", "nihss"]).fit_transform(numbers)
        everything = TabularEncoder().fit(numbers)
        np.testing.assert_array_equal(everything.transform(numbers), by_name)
        assert everything.feature_names_in_.tolist() == ["lesion_ml", "nihss"]
        array = TabularEncoder().fit(numbers.to_numpy())
        np.testing.assert_array_equal(array.transform(numbers.to_numpy()), by_name)
        assert array.get_feature_names_out().tolist() == ["x0", "x1", "missingindicator_x1"]
        with pytest.warns(UserWarning, match="fitted without feature names"):
            np.testing.assert_array_equal(array.transform(numbers), by_name)
        counted = numbers.set_axis([0, 1], axis=1)
        for encoder in (TabularEncoder(), TabularEncoder([0, 1])):
            np.testing.assert_array_equal(encoder.fit_transform(counted), by_name)

    def test_does_not_change_the_table(self, X):
        before = X.copy()
        TabularEncoder(["nihss", "sex"]).fit_transform(X)
        pd.testing.assert_frame_equal(X, before)
