"""Ordinal outcomes in a comparison: one set of folds for models of the scale and of its cut."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prognosis import (
    CohortError,
    OrdinalClassifier,
    OrdinalFromRegressor,
    compare,
    linear_ladder,
)
from prognosis.evaluation.statistics.ordinal import c_index

WORDS = ["none", "mild", "some", "more", "severe", "worst", "dead"]


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(150, 3)), [f"p{k}" for k in range(150)], list("abc"))
    s = 1.5 * X["a"] - X["b"] + rng.logistic(size=150)
    return X, pd.Series(np.digitize(s, [-2, -1, 0, 1, 2, 5]), X.index, name="mrs")


@pytest.fixture(scope="module")
def models():
    return {
        "binary": LogisticRegression(),
        "scale": make_pipeline(StandardScaler(), OrdinalClassifier()),
        "ranks": OrdinalFromRegressor(Ridge()),
        "no probability": RidgeClassifier(),
    }


@pytest.fixture(scope="module")
def result(cohort, models):
    return compare(models, *cohort, cv="5x2", cut=2, random_state=0)


class Spy(ClassifierMixin, BaseEstimator):
    """Notes the outcomes that it is given."""

    seen: list = []  # noqa: RUF012

    def fit(self, X, y):
        self.seen.append(y)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))

    def predict(self, X):
        return self.classes_[np.zeros(len(X), int)]


class OrdinalSpy(Spy):
    def predict_exceeding(self, X, cut):
        return np.zeros(len(X))


def test_each_model_learns_what_it_can(cohort):
    X, y = cohort
    Spy.seen.clear()
    result = compare({"two": Spy(), "all": OrdinalSpy()}, X, y, cv=3, cut=2, random_state=0)
    assert result.kinds == {"two": "binary", "all": "ordinal"} and result.cut == 2
    for binary, ordinal in zip(Spy.seen[::2], Spy.seen[1::2], strict=True):
        pd.testing.assert_series_equal(ordinal, y[ordinal.index])
        assert binary.tolist() == (ordinal > 2).astype(int).tolist()


def test_scores_are_of_the_cut_and_of_the_scale(cohort, result, models):
    _, y = cohort
    assert result.scores[-2:] == ("spearman", "c_index") and result.binary
    for name in models:
        patients = result.patients(name)
        row, level = result.table.loc[name], y[patients.index]
        assert patients["y"].tolist() == (level > 2).astype(int).tolist()
        assert row["accuracy"] == pytest.approx(patients["correct"].mean())
        if name == "no probability":
            assert np.isnan(row[["brier", "spearman", "c_index"]].tolist()).all()
            assert row["auc"] > 0.7
            continue
        probability = patients["probability"]
        assert row["auc"] == pytest.approx(roc_auc_score(level > 2, probability))
        assert row["brier"] == pytest.approx(brier_score_loss(level > 2, probability))
        assert row["spearman"] == pytest.approx(spearmanr(level, patients["expected"])[0])
        assert row["c_index"] == pytest.approx(c_index(level, patients["expected"]))
        for score in ("spearman", "c_index"):
            assert row[f"{score}_low"] < row[score] < row[f"{score}_high"]
    assert result.table.loc["scale", "auc"] > 0.8 and result.table.loc["scale", "c_index"] > 0.75
    tested = result.differences.groupby("score")["test"].unique()
    assert tested["auc"].tolist() == ["corrected t", "DeLong"]
    assert set(tested["c_index"]) == {"corrected t"}


def test_a_binary_model_is_what_it_was_without_the_scale(cohort, result, models):
    """On the same folds, `cut` changes nothing for a model of two classes."""
    X, y = cohort
    pairs = result.predictions.query("model == 'binary'").groupby(["repeat", "fold"])["patient"]
    folds = [
        (np.flatnonzero(~X.index.isin(test)), np.flatnonzero(X.index.isin(test)))
        for _, test in pairs
    ]
    alone = compare({"binary": models["binary"]}, X, (y > 2).astype(int), cv=folds, random_state=0)
    columns = ["accuracy", "auc", "auc_low", "auc_high", "brier"]
    pd.testing.assert_frame_equal(alone.table[columns], result.table.loc[["binary"], columns])


def test_folds_are_in_proportion_to_the_scale(result):
    counts = result.predictions.query("model == 'scale'").groupby(["repeat", "fold", "outcome"])
    spread = counts.size().unstack(fill_value=0)
    assert (spread.max() - spread.min() <= 1).all()


@pytest.mark.filterwarnings("error")
def test_a_rare_class_may_be_missing_from_a_fold(cohort, models):
    X, y = cohort
    rare = y.where((y != 6) & (y != 0), 3)
    rare.iloc[:2] = [6, 0]  # one patient each
    two = {name: models[name] for name in ("binary", "scale")}
    result = compare(two, X, rare, cv=5, cut=2, random_state=0)
    assert result.table["c_index"].notna().all()
    twice = compare(two, X, rare, cv=5, cut=2, groups=np.arange(150) // 2, random_state=0)
    assert twice.metadata["n_groups"] == 75


def test_an_ordered_categorical(cohort, models, result):
    X, y = cohort
    words = pd.Series(
        pd.Categorical(np.array(WORDS)[y], categories=WORDS, ordered=True), X.index, name="mrs"
    )
    given = {name: models[name] for name in ("binary", "scale")}
    found = compare(given, X, words, cv="5x2", cut="some", random_state=0)
    same = result.table.loc[list(given), ["auc", "brier", "spearman", "c_index"]]
    pd.testing.assert_frame_equal(found.table[same.columns], same)
    assert found.metadata["class_counts"]["dead"] == (y == 6).sum()
    assert found.predictions["outcome"].isin(WORDS).all()


def test_the_report_says_what_is_ordinal(result, tmp_path):
    text = repr(result)
    assert "mrs > 2" in text and "rank r" in text and "c-index" in text
    assert [line.split()[1] for line in text.splitlines()[3:5]] == ["binary", "ordinal"]
    assert "“scale” and “ranks” learn the whole scale, the others mrs > 2 alone." in text
    folder = result.save(tmp_path / "report")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "Predicting mrs &gt; 2" in page and "<small>ordinal</small>" in page
    assert "Rank correlation" in page and "ordinal, cut above 2" in page
    assert "Bonett and Wright" in page
    about = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    assert about["cut"] == 2 and about["kinds"]["ranks"] == "ordinal"
    assert len(about["class_counts"]) == 7


def test_other_reports_say_nothing_of_it(cohort, models, tmp_path):
    X, y = cohort
    result = compare({"binary": models["binary"]}, X, y > 2, cv=3, random_state=0)
    assert result.cut is None and result.kinds == {} and "c_index" not in result.table
    assert "ordinal" not in result.to_html(tmp_path / "a.html").read_text(encoding="utf-8")
    assert "ordinal" not in repr(result)


def test_another_cut_is_another_comparison_to_resume(cohort, models, tmp_path):
    two = {name: models[name] for name in ("binary", "scale")}
    found = [
        compare(two, *cohort, cv=3, cut=cut, random_state=0, resume=tmp_path) for cut in (2, 3, 2)
    ]
    pd.testing.assert_frame_equal(found[0].predictions, found[2].predictions)
    assert (found[0].predictions["y"] != found[1].predictions["y"]).any()


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"cut": 6}, ValueError, "all classes are at or below cut=6"),
        ({"cut": "2"}, ValueError, "cut must be a number"),
        ({"positive_label": 1}, ValueError, "positive_label"),
        ({"models": linear_ladder([["a"]])}, ValueError, "'a' is a regressor.*OrdinalFrom"),
        ({"y": "text"}, CohortError, "outcome cannot be cut: y holds text"),
    ],
)
def test_refusals(cohort, models, change, error, message):
    X, y = cohort
    given = {"models": {"binary": models["binary"]}, "X": X, "y": y, "cut": 2} | change
    if isinstance(given["y"], str):
        given["y"] = y.astype(str)
    with pytest.raises(error, match=message):
        compare(**given)
