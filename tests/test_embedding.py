"""Features of networks for conventional learners: honest, aligned, complementary."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from prognosis import CohortError, ImageEmbedding, StitchedSliceClassifier, StitchedSliceRegressor
from prognosis.columns import TabularEncoder
from prognosis.evaluation.statistics.auc import auc
from prognosis.features.embedding import _Alignment

VALUES = [f"v{k}" for k in range(12)]


@pytest.fixture(scope="module")
def cohort():
    """Tabular "images": what leaks does so whatever the network reads, and these are fast."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 12)), columns=VALUES)
    X.index = [f"sub-{n:03}" for n in range(120)]
    y = (X["v0"] + X["v1"] + rng.normal(0, 0.7, 120) > 0).astype(int)
    return X, y


def network(**changes):
    settings = {"tabular": VALUES, "epochs": 30, "learning_rate": 1e-2, "dropout": 0.0}
    return StitchedSliceClassifier(
        **{**settings, "weight_decay": 0.0, "random_state": 0, **changes}
    )


def test_shuffled_labels_tell_the_learner_nothing(cohort):
    X, _ = cohort
    found = []
    for seed in range(3):
        y = pd.Series(np.random.default_rng(seed).permutation([0, 1] * 60), index=X.index)
        embedding = ImageEmbedding(network(), cv=3, n_components=4, random_state=seed)
        train, test = X.index[:80], X.index[80:]
        features = embedding.fit_transform(X.loc[train], y[train])
        # the network itself has learnt these labels by heart
        assert embedding.estimators_[0].score(X.loc[train], y[train]) > 0.8
        # so features of training patients must not give their outcomes away
        within = cross_val_predict(
            LogisticRegression(),
            features[embedding.columns_],
            y[train],
            cv=5,
            method="predict_proba",
        )[:, 1]
        model = LogisticRegression().fit(features[embedding.columns_], y[train])
        new = embedding.transform(X.loc[test])[embedding.columns_]
        beyond = auc(y[test], model.predict_proba(new)[:, 1])
        found.append((auc(y[train], within), beyond))
    assert np.abs(np.mean(found, axis=0) - 0.5).max() < 0.1


def test_features_carry_what_the_network_learnt(cohort):
    X, y = cohort
    embedding = ImageEmbedding(network(epochs=15), cv=3, n_components=4, random_state=0)
    columns = ["cnn_output", "cnn_1", "cnn_2", "cnn_3", "cnn_4"]
    model = make_pipeline(embedding, TabularEncoder(columns), LogisticRegression())
    probability = cross_val_predict(model, X, y, cv=3, method="predict_proba")[:, 1]
    assert auc(y, probability) > 0.75


def test_features_of_a_training_patient_do_not_depend_on_its_own_outcome(cohort):
    X, y = cohort
    folds = list(StratifiedKFold(3).split(X, y))
    embedding = ImageEmbedding(network(epochs=3), cv=folds)
    test = folds[0][1]
    # two patients of one test fold swap outcomes: the features of that fold must stay
    one = next(row for row in test if y.iloc[row] == 0)
    other = next(row for row in test if y.iloc[row] == 1)
    swapped = y.copy()
    swapped.iloc[[one, other]] = [1, 0]
    one_way = embedding.fit_transform(X, y)
    other_way = clone(embedding).fit_transform(X, swapped)
    pd.testing.assert_frame_equal(one_way.iloc[test], other_way.iloc[test])
    assert not one_way.equals(other_way)


def test_networks_that_agree_up_to_a_rotation_give_the_same_features():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(60, 3))
    features = rng.normal(size=(60, 6)) * [5, 4, 3, 0.2, 0.1, 0.1]
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    one = _Alignment.learn(features, reference, 3).apply(features)
    other = _Alignment.learn(features @ rotation + 7, reference, 3).apply(features @ rotation + 7)
    np.testing.assert_allclose(one, other, atol=1e-8)


def test_columns_clone_and_regression(cohort):
    X, y = cohort
    embedding = ImageEmbedding(
        StitchedSliceRegressor(tabular=VALUES, epochs=1, random_state=0),
        cv=2,
        n_components=0,
        prefix="net",
        random_state=0,
    )
    before = X.copy()
    table = embedding.fit_transform(X, 3.0 * y)
    assert (
        list(table.columns) == [*VALUES, "net_output"] == embedding.get_feature_names_out().tolist()
    )
    pd.testing.assert_frame_equal(X, before)
    assert clone(embedding).get_params()["prefix"] == "net"
    three = ImageEmbedding(network(epochs=1), cv=2, n_components=2, random_state=0)
    columns = three.fit_transform(X, np.arange(120) % 3).columns[12:]
    assert list(columns) == ["cnn_output_1", "cnn_output_2", "cnn_1", "cnn_2"]


def test_bad_use_is_refused(cohort):
    X, y = cohort
    with pytest.raises(ValueError, match="LogisticRegression has no embed method"):
        ImageEmbedding(LogisticRegression()).fit(X, y)
    with pytest.raises(CohortError, match="column 'cnn_2' exists already"):
        ImageEmbedding(network()).fit(X.assign(cnn_2=0), y)
    half = [(np.arange(60, 120), np.arange(60))]
    with pytest.raises(CohortError, match="row 'sub-060' is in no test fold"):
        ImageEmbedding(network(epochs=1), cv=half).fit(X, y)
    with pytest.raises(ValueError, match="'n_components' parameter of ImageEmbedding must be"):
        ImageEmbedding(network(), n_components=-1).fit(X, y)
