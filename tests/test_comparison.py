"""The comparison: same folds for all, honest numbers, and what is said of them."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score
from sklearn.model_selection import LeaveOneOut, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from prognosis import (
    Comparison,
    compare,
    linear_ladder,
    logistic_ladder,
)
from prognosis.evaluation.statistics.auc import auc_interval, delong_test
from prognosis.evaluation.statistics.significance import corrected_resampled_ttest

NUMERIC = ["lesion_ml", "nihss"]


def _unchanged(X):
    return X


class Recording(ClassifierMixin, BaseEstimator):
    """Refuses to predict the rows it was trained on."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = set(X.index)
        return self

    def predict_proba(self, X):
        assert self.seen_.isdisjoint(X.index)
        positive = np.linspace(0.2, 0.8, len(X))
        return np.c_[1 - positive, positive]

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]


@pytest.fixture(scope="module")
def ladder():
    return logistic_ladder([["lesion_ml"], NUMERIC, [*NUMERIC, "sex"]])


@pytest.fixture(scope="module")
def result(tabular_cohort, poor_outcome, ladder):
    return compare(ladder, tabular_cohort[0], poor_outcome, cv="5x2", random_state=1)


class TestClassification:
    def test_every_patient_is_predicted_once_per_repeat_and_model(
        self, result, tabular_cohort, ladder
    ):
        counts = result.predictions.groupby(["model", "repeat"])["patient"].agg(["size", "nunique"])
        assert (counts == len(tabular_cohort[0])).all(axis=None)
        assert result.models == list(ladder)

    def test_all_models_see_the_same_folds(self, result):
        folds = result.predictions.pivot(
            index=["patient", "repeat"], columns="model", values="fold"
        )
        assert (folds.nunique(axis=1) == 1).all()

    def test_patients_equal_scikit_learn_on_averaged_probabilities(self, result, poor_outcome):
        for name in result.models:
            patients = result.patients(name)
            y = poor_outcome[patients.index] == "poor"
            row = result.table.loc[name]
            assert row["auc"] == pytest.approx(roc_auc_score(y, patients["probability"]))
            assert row["brier"] == pytest.approx(brier_score_loss(y, patients["probability"]))
            rows = result.predictions.query("model == @name")
            accuracy = accuracy_score(rows["y"], rows["prediction"])
            assert row["accuracy"] == pytest.approx(accuracy)

    def test_folds_equal_scikit_learn(self, result):
        rows = result.predictions.query("model == 'lesion_ml' and repeat == 2 and fold == 3")
        found = result.folds.query("model == 'lesion_ml' and repeat == 2 and fold == 3").iloc[0]
        assert found["auc"] == pytest.approx(
            roc_auc_score(rows["y"] == "poor", rows["probability"])
        )
        assert found["accuracy"] == pytest.approx(accuracy_score(rows["y"], rows["prediction"]))
        assert (found["n_train"], found["n_test"]) == (96, 24)

    def test_p_values_come_from_the_stated_tests(self, result):
        name, base = "lesion_ml + nihss", "lesion_ml"
        folds = result.folds.pivot(index=["repeat", "fold"], columns="model", values="accuracy")
        t = corrected_resampled_ttest((folds[name] - folds[base]).to_numpy(), 24 / 96)
        row = result.table.loc[name]
        over_folds = result.differences.query(
            "model == @name and score == 'accuracy' and test == 'corrected t'"
        ).iloc[0]
        assert over_folds["p"] == pytest.approx(t.p_value)
        assert over_folds["difference"] == pytest.approx(t.difference)
        one, two = result.patients(name), result.patients(base)
        paired = stats.ttest_rel(one["correct"], two.loc[one.index, "correct"])
        assert row["accuracy_p"] == pytest.approx(paired.pvalue)
        assert row["accuracy_difference"] == pytest.approx(
            row["accuracy"] - result.table.loc[base, "accuracy"]
        )
        y = one["y"] == "poor"
        z = delong_test(y, one["probability"], two.loc[one.index, "probability"])
        assert row["auc_p"] == pytest.approx(z.p_value)
        assert (row["auc_low"], row["auc_high"]) == pytest.approx(
            (lambda i: (i.low, i.high))(auc_interval(y, one["probability"]))
        )

    def test_adjusted_over_the_models(self, result):
        p = result.table["auc_p"].dropna().sort_values()
        adjusted = result.table["auc_p_adjusted"].reindex(p.index)
        assert adjusted.iloc[0] == pytest.approx(min(2 * p.iloc[0], p.iloc[1]))
        assert np.isnan(result.table.loc["lesion_ml", "auc_p_adjusted"])

    def test_intervals_hold_their_estimates(self, result):
        for score in result.scores:
            columns = [f"{score}_low", score, f"{score}_high"]
            assert (result.table[columns].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)

    def test_identical_models_have_p_one(self, tabular_cohort, poor_outcome):
        models = {"a": DummyClassifier(), "b": DummyClassifier()}
        table = compare(models, tabular_cohort[0], poor_outcome, random_state=0).table
        assert table.loc["b", ["accuracy_p", "auc_p"]].tolist() == [1, 1]
        assert table.loc["b", ["accuracy_difference", "auc_difference"]].tolist() == [0, 0]

    def test_results_do_not_depend_on_n_jobs(self, tabular_cohort, poor_outcome, ladder, result):
        models = ladder | {"forest": RandomForestClassifier(5, random_state=0)}
        X = (
            tabular_cohort[0]
            .assign(sex=(tabular_cohort[0]["sex"] == "F").astype(float))
            .fillna(0.0)
        )
        one = compare(models, X, poor_outcome, cv="3x2", random_state=1, n_jobs=1)
        two = compare(models, X, poor_outcome, cv="3x2", random_state=1, n_jobs=2)
        pd.testing.assert_frame_equal(one.table, two.table)
        pd.testing.assert_frame_equal(one.predictions, two.predictions)

    def test_models_and_data_are_left_alone(self, tabular_cohort, poor_outcome):
        X, _ = tabular_cohort
        before, model = X.copy(), RandomForestClassifier(3, random_state=5)
        numeric = X[["lesion_ml"]]
        compare({"forest": model}, numeric, poor_outcome, random_state=0)
        assert not hasattr(model, "classes_")
        assert model.random_state == 5
        pd.testing.assert_frame_equal(X, before)

    def test_models_as_pairs_and_another_baseline(self, tabular_cohort, poor_outcome, ladder):
        found = compare(
            list(ladder.items()),
            tabular_cohort[0],
            poor_outcome,
            baseline="lesion_ml + nihss",
            cv=3,
        )
        assert found.baseline == "lesion_ml + nihss"
        assert np.isnan(found.table.loc["lesion_ml + nihss", "auc_p"])
        assert isinstance(found.metadata["random_state"], int)

    def test_positive_label(self, tabular_cohort, poor_outcome, ladder, result):
        found = compare(
            ladder, tabular_cohort[0], poor_outcome, cv="5x2", random_state=1, positive_label="good"
        )
        assert found.classes == ["poor", "good"]
        for mine, other in zip(
            found.predictions["probability"], result.predictions["probability"], strict=True
        ):
            assert mine == pytest.approx(1 - other)
        assert found.table["auc"].to_numpy() == pytest.approx(result.table["auc"].to_numpy())

    def test_arrays_booleans_and_categories_as_outcome(
        self, tabular_cohort, poor_outcome, ladder, result
    ):
        X, _ = tabular_cohort
        for y in (
            (poor_outcome == "poor").to_numpy(),
            (poor_outcome == "poor").astype(int),
            pd.Categorical(poor_outcome),
        ):
            found = compare({"a": ladder["lesion_ml"]}, X, y, cv="5x2", random_state=1)
            assert found.table.loc["a", "auc"] == pytest.approx(
                result.table.loc["lesion_ml", "auc"]
            )

    def test_decision_function_only(self, tabular_cohort, poor_outcome):
        X = tabular_cohort[0][["lesion_ml"]]
        found = compare(
            {"logistic": LogisticRegression(), "ridge": RidgeClassifier()},
            X,
            poor_outcome,
            random_state=0,
        )
        row = found.table.loc["ridge"]
        assert row["auc"] == pytest.approx(found.table.loc["logistic", "auc"], abs=0.05)
        assert np.isnan(row["brier"])
        assert not np.isnan(row["auc_p"])

    def test_decision_values_of_different_folds_are_not_compared(
        self, tabular_cohort, poor_outcome
    ):
        class Shifted(RidgeClassifier):
            def decision_function(self, X):
                return super().decision_function(X) + float(self.intercept_.item()) * 1000

        X = tabular_cohort[0][["lesion_ml"]]
        models = {"ridge": RidgeClassifier(), "shifted": Shifted()}
        found = compare(models, X, poor_outcome, random_state=0)
        assert found.table.loc["shifted", "auc"] == found.table.loc["ridge", "auc"]

    def test_labels_only(self, tabular_cohort, poor_outcome):
        class Labels(ClassifierMixin, BaseEstimator):
            def fit(self, X, y):
                self.classes_ = np.unique(y)
                return self

            def predict(self, X):
                return self.classes_[(X["lesion_ml"] > 35).astype(int)]

        found = compare(
            {"labels": Labels(), "logistic": LogisticRegression()},
            tabular_cohort[0][["lesion_ml"]],
            poor_outcome,
            random_state=0,
        )
        assert np.isnan(found.table.loc["labels", ["auc", "brier"]].astype(float)).all()
        assert found.table.loc["labels", "accuracy"] > 0.5
        assert np.isnan(found.table.loc["logistic", "auc_p"])

    def test_three_classes(self, tabular_cohort):
        X, mrs = tabular_cohort
        y = pd.cut(mrs, [-np.inf, *mrs.quantile([1 / 3, 2 / 3]), np.inf], labels=["a", "b", "c"])
        models = logistic_ladder([["lesion_ml"], NUMERIC])
        found = compare(models, X, y, cv=4, random_state=0)
        patients = found.patients("lesion_ml + nihss")
        probabilities = patients[["probability_a", "probability_b", "probability_c"]]
        row = found.table.loc["lesion_ml + nihss"]
        assert row["auc"] == pytest.approx(
            roc_auc_score(patients["y"], probabilities, multi_class="ovr")
        )
        assert row["auc_low"] < row["auc"] < row["auc_high"]
        onehot = pd.get_dummies(patients["y"]).to_numpy()
        assert row["brier"] == pytest.approx(((probabilities - onehot) ** 2).sum(axis=1).mean())
        assert found.tested["auc"] == "corrected t"
        assert "DeLong" not in set(found.differences["test"])
        assert not np.isnan(row["auc_p"])

    def test_custom_splits_may_leave_patients_out(self, tabular_cohort, poor_outcome, ladder):
        splitter = ShuffleSplit(4, test_size=0.2, random_state=0)
        found = compare({"a": ladder["lesion_ml"]}, tabular_cohort[0], poor_outcome, cv=splitter)
        assert found.predictions["repeat"].max() > 1
        assert len(found.patients("a")) < len(tabular_cohort[0])

    def test_nobody_is_tested_on_a_model_that_saw_them(self, tabular_cohort, poor_outcome):
        compare({"a": Recording()}, tabular_cohort[0], poor_outcome, cv="5x2", random_state=0)


@pytest.fixture(scope="module")
def found(tabular_cohort):
    models = linear_ladder([["lesion_ml"], NUMERIC]) | {"mean": DummyRegressor()}
    return compare(models, *tabular_cohort, cv="5x2", baseline="lesion_ml", random_state=0)


class TestRegression:
    def test_scores(self, found, tabular_cohort):
        patients = found.patients("lesion_ml + nihss")
        row = found.table.loc["lesion_ml + nihss"]
        errors = patients["y"] - patients["prediction"]
        assert row["mae"] == pytest.approx(errors.abs().mean())
        assert row["r2"] == pytest.approx(1 - (errors**2).mean() / patients["y"].var(ddof=0))
        assert row["r"] == pytest.approx(patients["y"].corr(patients["prediction"]))
        assert row["mae_p_adjusted"] < 0.05
        assert row["mae_difference"] < 0

    def test_constant_predictions(self, found):
        folds = found.folds.query("model == 'mean'")
        assert folds["r"].isna().all()
        assert (folds["r2"] <= 1e-9).all()

    def test_leave_one_out(self, tabular_cohort):
        X, mrs = tabular_cohort
        models = linear_ladder([["lesion_ml"], NUMERIC])
        found = compare(models, X.iloc[:25], mrs.iloc[:25], cv=LeaveOneOut())
        assert found.folds["r2"].isna().all()
        assert found.table.loc["lesion_ml + nihss", ["mae_p", "r2_p"]].notna().all()
        folds = found.differences.query("score == 'r2' and test == 'corrected t'")
        assert folds["p"].isna().all()


class TestOutput:
    def test_text(self, result):
        text = repr(result)
        assert "SIMULATED" in text
        assert "“lesion_ml + nihss” beats “lesion_ml”: " in text
        assert "no model can expect an accuracy above 0.900" in text
        assert max(len(line) for line in text.split("\n\n")[1].splitlines()) <= 140

    def test_says_plainly_when_nothing_is_better(self, tabular_cohort, poor_outcome, ladder):
        models = {"logistic": ladder["lesion_ml"], "coin": DummyClassifier()}
        rng = np.random.default_rng(0)
        y = pd.Series(rng.permutation(poor_outcome), index=poor_outcome.index)
        found = compare(models, tabular_cohort[0], y, random_state=0)
        assert "“coin” does not beat “logistic”" in found.summary()[0]

    def test_one_model(self, tabular_cohort, poor_outcome, ladder):
        found = compare({"a": ladder["lesion_ml"]}, tabular_cohort[0], poor_outcome, random_state=0)
        assert "nothing to compare" in repr(found)
        assert found.differences.empty

    def test_metadata_can_repeat_the_run(self, result):
        about = result.metadata
        assert about["random_state"] == 1
        assert about["cohort"]["name"] == "stand-in"
        assert (about["n_folds"], about["n_repeats"], about["n_patients"]) == (5, 2, 120)
        assert {"python", "scikit-learn", "numpy", "prognosis-mri"} <= set(about["versions"])
        assert about["models"]["lesion_ml"].startswith("Pipeline(")

    def test_metadata_names_no_folder_of_this_machine(self, tabular_cohort, poor_outcome, tmp_path):
        model = logistic_ladder([["lesion_ml"]])["lesion_ml"]
        cached = make_pipeline(
            FunctionTransformer(_unchanged), model, memory=str(tmp_path / "alice")
        )
        found = compare({"a": cached}, tabular_cohort[0], poor_outcome, cv=2)
        assert "alice" not in found.metadata["models"]["a"]
        assert "0x" not in found.metadata["models"]["a"]
        assert cached.memory == str(tmp_path / "alice")

    def test_csv(self, result, tmp_path):
        folder = result.to_csv(tmp_path / "new" / "report")
        assert sorted(path.name for path in folder.iterdir()) == [
            "characteristics.csv",
            "differences.csv",
            "folds.csv",
            "metadata.json",
            "predictions.csv",
            "table.csv",
        ]
        table = pd.read_csv(folder / "table.csv", index_col="model")
        pd.testing.assert_frame_equal(table, result.table)
        assert len(pd.read_csv(folder / "predictions.csv")) == len(result.predictions)
        assert json.loads((folder / "metadata.json").read_text())["n_patients"] == 120

    def test_progress_goes_to_stderr(self, tabular_cohort, poor_outcome, ladder, capsys):
        compare(
            {"a": ladder["lesion_ml"]}, tabular_cohort[0], poor_outcome, random_state=0, verbose=1
        )
        out, err = capsys.readouterr()
        assert out == ""
        assert "5/5" in err

    def test_is_a_comparison(self, result):
        assert isinstance(result, Comparison)
        assert (result.fit_seconds > 0).all()
