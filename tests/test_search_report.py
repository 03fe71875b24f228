"""What a search reports: its own page, and what `compare` says of searches inside its folds."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from prognosis import (
    LesionSize,
    OptunaSearch,
    OrdinalClassifier,
    TabularEncoder,
    compare,
    logistic_ladder,
    make_stroke_cohort,
    search_report,
)
from prognosis.evaluation.reporting.search_page import importances, trial_table

SPACE = {
    "logisticregression__C": FloatDistribution(1e-4, 1e2, log=True),
    "logisticregression__class_weight": [None, "balanced"],
}
COLUMNS = ["age", *(f"noise_{number}" for number in range(8))]


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(90, 9)), columns=COLUMNS)
    X.attrs["cohort"] = {"name": "stand-in <1>", "simulated": True}
    y = pd.Series((X["age"] + rng.normal(size=90) > 0.8).astype(int), name="poor")
    return X, y


def searching(**options):
    model = make_pipeline(TabularEncoder(COLUMNS), LogisticRegression())
    options = {"cv": 3, "n_trials": 12, "scoring": "neg_log_loss", "random_state": 0} | options
    return OptunaSearch(model, SPACE, **options)


@pytest.fixture(scope="module")
def search(cohort):
    return searching(n_trials=24).fit(*cohort)


@pytest.fixture(scope="module")
def page(search, tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "new" / "search.html"
    assert search_report(search, path) == path
    assert [file.name for file in path.parent.iterdir()] == ["search.html"]
    return path.read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Fails where tags do not match; collects ids and links."""

    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link"):
            self.open.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == [] and outline.links == ["data:,"]
    assert "<script" not in page and "default-src 'none'" in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert page.count("<svg") >= 3
    assert "stand-in &lt;1&gt;" in page and "stand-in <1>" not in page


def test_numbers_are_those_of_the_search(page, search):
    assert f"{search.best_score_:.3f}".replace("-", "−") in page
    first = search.cv_results_["mean_test_score"][0]
    assert f"as it was given has {first:.3f}".replace("-", "−") in page
    assert page.count("<tr") - 1 - 1 - 2 == 24  # two heads, two parameters
    assert "the best of 24" in page and "too good" in page
    summary = search.search_summary()
    assert summary["trials"] == 24 and summary["inner_score"] == search.best_score_
    assert f"saved {summary['folds_saved']} of 72 folds" in page
    assert summary["folds_run"] + summary["folds_saved"] == 72


def test_simulated_is_said_everywhere(page, cohort, tmp_path):
    assert "SIMULATED PATIENTS" in page
    captions = re.findall(
        r"<(?:figcaption|caption)><b>(?:Figure|Table 2).*?</(?:figc|c)aption>", page
    )
    assert len(captions) == 4 and all("SIMULATED" in caption for caption in captions)
    X, y = cohort
    X = X.copy()
    X.attrs.clear()
    real = searching(n_trials=2).fit(X, y)
    assert "SIMULATED" not in search_report(real, tmp_path / "real.html").read_text()


def test_what_trials_there_were(search):
    table = trial_table(search)
    assert list(table["state"]) == list(search.cv_results_["state"])
    assert np.isfinite(table["score"]).all()
    complete = table["state"] == "complete"
    assert np.allclose(table["score"][complete], search.cv_results_["mean_test_score"][complete])
    assert table["param logisticregression__C"].dtype == float
    found = importances(search)
    assert sum(found.values()) == pytest.approx(1) and len(found) == 2
    assert found["logisticregression__C"] > 0.5  # of very different losses


def test_pages_of_searches_that_differ(cohort, tmp_path):
    X, y = cohort
    single = searching(n_trials=1).fit(X, y)
    assert importances(single) == {}
    text = search_report(single, tmp_path / "single.html").read_text()
    assert text.count("<svg") >= 2

    def conditional(trial):
        params = {"logisticregression__C": trial.suggest_float("C", 0.1, 10)}
        if trial.suggest_categorical("balanced", [True, False]):
            params["logisticregression__class_weight"] = {0: 1, 1: trial.suggest_int("w", 1, 3)}
        return params

    several = searching(scoring=["roc_auc", "neg_brier_score"], refit="roc_auc", n_trials=6)
    several = several.set_params(space=conditional).fit(X, y)
    text = search_report(several, tmp_path / "several.html").read_text()
    assert "as it was given" not in text and "Mean roc_auc" in text
    with pytest.raises(NotFittedError):
        search_report(searching(), tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_reports_name_no_place_where_things_are_kept(cohort, tmp_path):
    kept = searching(n_trials=2, storage=tmp_path / "kept.journal")
    text = search_report(kept.fit(*cohort), tmp_path / "kept.html").read_text()
    assert "kept.journal" not in text and "OptunaSearch(" in text
    about = compare({"kept": kept}, *cohort, cv=2, random_state=0).metadata
    assert "kept.journal" not in about["models"]["kept"]


# ---------------------------------------------------------------------- inside of compare


@pytest.fixture(scope="module")
def result(cohort):
    models = logistic_ladder([["age"]])
    models["searched"] = searching(n_trials=5)
    models["piped"] = make_pipeline(
        TabularEncoder(["age"]),
        searching(n_trials=3).set_params(
            estimator=LogisticRegression(), space={"C": SPACE["logisticregression__C"]}
        ),
    )
    return compare(models, *cohort, cv=4, random_state=0)


def test_every_fold_says_what_its_search_chose(result, tmp_path):
    found = result.searches
    assert sorted(found["model"]) == ["piped"] * 4 + ["searched"] * 4
    assert len(found) == 8 and set(found["fold"]) == {1, 2, 3, 4}
    assert set(found.loc[found["model"] == "searched", "trials"]) == {5}
    assert found["chosen"].str.contains("C=").all()
    assert found["chosen"].nunique() > 2
    assert (found["scoring"] == "neg_log_loss").all()
    assert found[["inner_score", "outer_score"]].notna().all(axis=None)
    folder = result.save(tmp_path / "report")
    assert len(pd.read_csv(folder / "searches.csv")) == 8
    text = (folder / "index.html").read_text()
    assert "What the searches chose" in text and found["chosen"].iloc[0] in text


def test_the_outer_score_is_that_of_the_test_patients(result, cohort):
    from sklearn.metrics import log_loss

    row = result.searches.query("model == 'searched' and fold == 1").iloc[0]
    tested = result.predictions.query("model == 'searched' and fold == 1")
    assert row["outer_score"] == pytest.approx(-log_loss(tested["y"], tested["probability"]))


def test_the_optimism_is_told(result):
    sentence = next(text for text in result.summary() if "search of “searched”" in text)
    rows = result.searches.query("model == 'searched'")
    gain = rows["inner_score"].mean() - rows["outer_score"].mean()
    assert f"{abs(gain):.3f}" in sentence


def test_a_comparison_without_searches_says_nothing_of_them(cohort, tmp_path):
    plain = compare(logistic_ladder([["age"], ["age", "noise_1"]]), *cohort, cv=3, random_state=0)
    assert plain.searches.empty and not any("search" in text for text in plain.summary())
    folder = plain.save(tmp_path / "report")
    assert not (folder / "searches.csv").exists()
    assert "searches" not in (folder / "index.html").read_text()


class Coin(ClassifierMixin, BaseEstimator):
    """Knows nothing: says of everybody what its seed says."""

    def __init__(self, seed=0):
        self.seed = seed

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        drawn = np.random.default_rng(self.seed).random(1000)[X["row"]]
        return np.c_[1 - drawn, drawn]

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]


def test_the_best_of_many_coins_is_a_coin():
    X, y = pd.DataFrame({"row": np.arange(400)}), pd.Series(np.tile([0, 1], 200), name="side")
    search = OptunaSearch(
        Coin(), {"seed": IntDistribution(0, 10**6)}, cv=3, n_trials=60, random_state=0
    ).set_params(scoring="roc_auc", pruner=None, sampler=RandomSampler)
    result = compare({"coins": search, "coin": Coin()}, X, y, cv=4, random_state=0)
    found = result.searches
    assert found["inner_score"].mean() > 0.55
    assert found["outer_score"].mean() < found["inner_score"].mean() - 0.03
    assert result.table.loc["coins", "auc_low"] < 0.5


def test_searches_of_ordinal_outcomes(cohort):
    X, _ = cohort
    y = pd.Series(np.digitize(X["age"], [-1, 0, 1]), X.index, name="mrs")
    space = {"alpha": FloatDistribution(0.01, 100, log=True)}
    models = {
        "whole": make_pipeline(
            TabularEncoder(COLUMNS), OptunaSearch(OrdinalClassifier(), space, cv=3, n_trials=2)
        ),
        "binary": searching(n_trials=2),
    }
    result = compare(models, X, y, cut=1, cv=3, random_state=0)
    assert result.searches["outer_score"].notna().all() and len(result.searches) == 6


def test_a_space_that_is_a_function_is_told_by_what_it_drew(cohort, tmp_path):
    def space(trial):
        strong = trial.suggest_categorical("penalty", ["strong", "weak"]) == "strong"
        return {"logisticregression": LogisticRegression(C=0.01 if strong else 1.0)}

    search = searching(n_trials=3, pruner=None).set_params(space=space).fit(*cohort)
    assert search.search_summary()["chosen"] in ('penalty="strong"', 'penalty="weak"')
    page = search_report(search, tmp_path / "page.html").read_text()
    rows = page[page.index("Every trial") : page.index("Methods")]
    assert rows.count("penalty=") == 3 and "LogisticRegression(" not in rows


def test_what_images_cost_is_counted_and_said(tmp_path):
    """Every scan is measured once, for all trials and folds, also inside of a comparison."""
    X, _ = make_stroke_cohort(12, spacing_mm=8, folder=tmp_path / "scans", random_state=0)
    y = pd.Series([0, 1] * 6, X.index)
    model = make_pipeline(LesionSize("lesion"), TabularEncoder(["lesion_ml"]), LogisticRegression())
    search = OptunaSearch(model, cv=2, n_trials=3, pruner=None, random_state=0)
    summary = clone(search).fit(X, y).search_summary()
    assert summary["images_prepared"] == 12 and summary["images_reused"] == 3 * 2 * 12 - 12
    assert 0 < summary["prepare_seconds"] < summary["seconds"]
    assert summary["trial_seconds"] == pytest.approx(summary["seconds"] / 3, rel=0.9)

    result = compare({"model": model, "searched": search}, X, y, cv=2, random_state=0)
    rows = result.folds.groupby("model")[["images_prepared", "images_reused"]].sum()
    # Six of each outer fold, for the fit, predictions and probabilities; of the search in 2 inner
    # folds of 3 trials, then for the best again, predictions, probabilities and the outer score.
    assert rows["images_prepared"].sum() == 12
    assert rows.loc["searched"].sum() == 2 * 6 * (2 * 3 + 4)
    assert rows.loc["model"].sum() == 2 * 6 * 3
    assert result.searches["images_reused"].sum() + result.searches["images_prepared"].sum() == 72
    page = result.to_html(tmp_path / "report.html").read_text()
    assert "Images were read and prepared 12 times" in page
    assert f"and {rows['images_reused'].sum()} times were there already" in page
