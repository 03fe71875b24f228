"""Tabular columns become numbers that training patients alone decide."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from prognosis import CohortError, TabularEncoder


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


def test_only_its_columns_count(X):
    encoder = TabularEncoder(["nihss", "sex"]).fit(X)
    assert encoder.feature_names_in_.tolist() == ["nihss", "sex"]
    assert encoder.n_features_in_ == 2
    shuffled = X[["sex", "flair", "nihss"]]
    np.testing.assert_array_equal(encoder.transform(X), encoder.transform(shuffled))


def test_names_match_the_columns_made(X):
    encoder = TabularEncoder(["nihss", "sex"]).fit(X)
    names = encoder.get_feature_names_out().tolist()
    assert names == ["nihss", "missingindicator_nihss", "sex_F", "sex_M"]
    made = TabularEncoder(["nihss", "sex"]).set_output(transform="pandas").fit_transform(X)
    assert made.columns.tolist() == names
    assert made.index.equals(X.index)


def test_clone_pickle_and_not_fitted(X):
    encoder = clone(TabularEncoder(["sex"]))
    with pytest.raises(NotFittedError):
        encoder.transform(X)
    again = pickle.loads(pickle.dumps(encoder.fit(X)))
    np.testing.assert_array_equal(again.transform(X), encoder.transform(X))


def test_unseen_category_warns(X):
    encoder = TabularEncoder(["sex"]).fit(X)
    with pytest.warns(UserWarning, match="was not seen during fit"):
        assert encoder.transform(X.assign(sex="other")).sum() == 0


def test_bad_tables(X):
    with pytest.raises(CohortError, match="at least one tabular column"):
        TabularEncoder([]).fit(X)
    with pytest.raises(CohortError, match="DataFrame"):
        TabularEncoder(["sex"]).fit(X.to_numpy())
    with pytest.raises(CohortError, match="'sex' not found"):
        TabularEncoder(["sex"]).fit(X).transform(X.drop(columns="sex"))


def test_all_columns_of_tables_and_arrays(X):
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


def test_does_not_change_the_table(X):
    before = X.copy()
    TabularEncoder(["nihss", "sex"]).fit_transform(X)
    pd.testing.assert_frame_equal(X, before)
