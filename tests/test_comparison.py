"""The comparison: same folds for all, honest numbers, and one clear sentence for bad input."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from prognosis import (
    CohortError,
    Comparison,
    ModelError,
    compare,
    linear_ladder,
    logistic_ladder,
)
from prognosis.evaluation.statistics.significance import (
    auc_interval,
    corrected_resampled_ttest,
    delong_test,
)
from prognosis.splits import make_splits, parse_cv

NUMERIC = ["lesion_ml", "nihss"]


def _unchanged(X):
    return X


class Recording(ClassifierMixin, BaseEstimator):
    """Remembers nothing but says which rows it was trained on through its predictions."""

    def __init__(self, fail_in_test_of=None, wrong="raise"):
        self.fail_in_test_of = fail_in_test_of
        self.wrong = wrong

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = set(X.index)
        return self

    def predict_proba(self, X):
        assert self.seen_.isdisjoint(X.index)
        positive = np.linspace(0.2, 0.8, len(X))
        if self.fail_in_test_of in X.index:
            if self.wrong == "raise":
                raise RuntimeError("out of\nluck")
            if self.wrong == "cohort":
                raise CohortError("row 'p1', column 't1w': no image")
            positive[0] = np.nan
        return np.c_[1 - positive, positive]

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]


class WrongLength(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros((len(X), 1))


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    n = 120
    X = pd.DataFrame(
        {
            "lesion_ml": rng.gamma(2, 20, n),
            "nihss": rng.integers(0, 25, n).astype(float),
            "sex": rng.choice(["F", "M"], n),
        },
        index=[f"p{i}" for i in range(n)],
    )
    X.loc["p3", "nihss"] = np.nan
    severity = X["nihss"].fillna(10) / 5 + X["lesion_ml"] / 30
    mrs = (severity + rng.normal(0, 1, n)).rename("mrs")
    X.attrs["cohort"] = {"name": "stand-in", "simulated": True, "best_accuracy": 0.9}
    return X, mrs


@pytest.fixture(scope="module")
def poor(cohort):
    return (cohort[1] > cohort[1].median()).map({True: "poor", False: "good"}).rename("outcome")


@pytest.fixture(scope="module")
def ladder():
    return logistic_ladder([["lesion_ml"], NUMERIC, [*NUMERIC, "sex"]])


@pytest.fixture(scope="module")
def result(cohort, poor, ladder):
    return compare(ladder, cohort[0], poor, cv="5x2", random_state=1)


class TestSplits:
    @pytest.mark.parametrize(
        ("cv", "expected"), [(5, (5, 1)), ("5", (5, 1)), ("5x2", (5, 2)), (" 10 × 3", (10, 3))]
    )
    def test_strings(self, cv, expected):
        assert parse_cv(cv) == expected

    @pytest.mark.parametrize("cv", ["five", "5x", "x2", "1x5", "5x0", 1, 0, -3, True, "5.5"])
    def test_nonsense_is_refused(self, cv):
        with pytest.raises(ValueError, match="cv="):
            parse_cv(cv)

    def test_repeats_differ_and_every_patient_is_tested_once_in_each(self, cohort, poor):
        X, _ = cohort
        splits = make_splits("5x2", X, poor, classification=True, random_state=0)
        for repeat in (1, 2):
            tested = np.concatenate([s.test for s in splits if s.repeat == repeat])
            assert sorted(tested) == list(range(len(X)))
        assert not np.array_equal(splits[0].test, splits[5].test)
        share = (poor == "poor").mean()
        for split in splits:
            assert (poor.iloc[split.test] == "poor").mean() == pytest.approx(share, abs=0.03)

    def test_a_seed_gives_the_same_folds(self, cohort, poor):
        def tests(seed):
            drawn = make_splits("5x2", cohort[0], poor, classification=True, random_state=seed)
            return [s.test.tolist() for s in drawn]

        assert tests(3) == tests(3)
        assert tests(3) != tests(4)

    @pytest.mark.parametrize("classification", [True, False])
    def test_groups_stay_together(self, cohort, poor, classification):
        X, mrs = cohort
        groups = np.arange(len(X)) // 3
        y = poor if classification else mrs
        splits = make_splits(
            "4x2", X, y, classification=classification, groups=groups, random_state=0
        )
        assert len(splits) == 8
        for split in splits:
            assert not set(groups[split.train]) & set(groups[split.test])

    @pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
    def test_a_splitter_that_tears_groups_apart_is_refused(self, cohort, poor):
        groups = np.arange(len(poor)) // 5
        with pytest.raises(CohortError, match=r"group .* is in training and in test"):
            make_splits(KFold(5), cohort[0], poor, classification=True, groups=groups)
        make_splits(GroupKFold(5), cohort[0], poor, classification=True, groups=groups)

    def test_groups_must_fit(self, cohort, poor):
        X, _ = cohort
        with pytest.raises(CohortError, match="groups has shape"):
            make_splits(5, X, poor, classification=True, groups=[1, 2])
        with pytest.raises(CohortError, match=r"groups\.loc"):
            groups = pd.Series(range(len(X)), index=X.index[::-1])
            make_splits(5, X, poor, classification=True, groups=groups)
        with pytest.raises(CohortError, match="'p0': no group"):
            groups = np.r_[np.nan, np.arange(len(X) - 1)]
            make_splits(5, X, poor, classification=True, groups=groups)

    def test_one_class_only_in_a_fold(self, cohort, poor):
        y = poor.sort_values()
        X = cohort[0].loc[y.index]
        with pytest.raises(CohortError, match=r"fold 1: none of its 60 training .*'good'"):
            make_splits(KFold(2), X, y, classification=True)

    def test_rare_class(self, cohort, poor):
        y = poor.copy()
        y.iloc[0] = "dead"
        with pytest.raises(CohortError, match="class 'dead' has 1 patients, fewer than the 5"):
            make_splits(5, cohort[0], y, classification=True)

    def test_too_few_patients(self, cohort):
        X, mrs = cohort
        with pytest.raises(CohortError, match="at least 10 patients, found 4"):
            make_splits(10, X.iloc[:4], mrs.iloc[:4], classification=False)

    def test_pairs_of_row_numbers(self, cohort, poor):
        X, _ = cohort
        rows = np.arange(len(X))
        pairs = [(rows[40:], rows[:40]), (rows[:40], rows[40:]), (rows[20:], rows[:20])]
        splits = make_splits(pairs, X, poor, classification=True)
        assert [str(s) for s in splits] == [
            "repeat 1, fold 1",
            "repeat 1, fold 2",
            "repeat 2, fold 1",
        ]
        with pytest.raises(CohortError, match="'p5' is in training and in test"):
            make_splits([(rows[5:], rows[:6])], X, poor, classification=True)
        with pytest.raises(CohortError, match="no folds"):
            make_splits([], X, poor, classification=True)
        with pytest.raises(ValueError, match="not understood"):
            make_splits(3.5, X, poor, classification=True)


class TestClassification:
    def test_every_patient_is_predicted_once_per_repeat_and_model(self, result, cohort, ladder):
        counts = result.predictions.groupby(["model", "repeat"])["patient"].agg(["size", "nunique"])
        assert (counts == len(cohort[0])).all(axis=None)
        assert result.models == list(ladder)

    def test_all_models_see_the_same_folds(self, result):
        folds = result.predictions.pivot(
            index=["patient", "repeat"], columns="model", values="fold"
        )
        assert (folds.nunique(axis=1) == 1).all()

    def test_patients_equal_scikit_learn_on_averaged_probabilities(self, result, poor):
        for name in result.models:
            patients = result.patients(name)
            y = poor[patients.index] == "poor"
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
        assert row["accuracy_p"] == pytest.approx(t.p_value)
        assert row["accuracy_difference"] == pytest.approx(t.difference)
        one, two = result.patients(name), result.patients(base)
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

    def test_identical_models_have_p_one(self, cohort, poor):
        models = {"a": DummyClassifier(), "b": DummyClassifier()}
        table = compare(models, cohort[0], poor, random_state=0).table
        assert table.loc["b", ["accuracy_p", "auc_p"]].tolist() == [1, 1]
        assert table.loc["b", ["accuracy_difference", "auc_difference"]].tolist() == [0, 0]

    def test_results_do_not_depend_on_n_jobs(self, cohort, poor, ladder, result):
        models = ladder | {"forest": RandomForestClassifier(5, random_state=0)}
        X = cohort[0].assign(sex=(cohort[0]["sex"] == "F").astype(float)).fillna(0.0)
        one = compare(models, X, poor, cv="3x2", random_state=1, n_jobs=1)
        two = compare(models, X, poor, cv="3x2", random_state=1, n_jobs=2)
        pd.testing.assert_frame_equal(one.table, two.table)
        pd.testing.assert_frame_equal(one.predictions, two.predictions)

    def test_models_and_data_are_left_alone(self, cohort, poor):
        X, _ = cohort
        before, model = X.copy(), RandomForestClassifier(3, random_state=5)
        numeric = X[["lesion_ml"]]
        compare({"forest": model}, numeric, poor, random_state=0)
        assert not hasattr(model, "classes_")
        assert model.random_state == 5
        pd.testing.assert_frame_equal(X, before)

    def test_models_as_pairs_and_another_baseline(self, cohort, poor, ladder):
        found = compare(list(ladder.items()), cohort[0], poor, baseline="lesion_ml + nihss", cv=3)
        assert found.baseline == "lesion_ml + nihss"
        assert np.isnan(found.table.loc["lesion_ml + nihss", "auc_p"])
        assert isinstance(found.metadata["random_state"], int)

    def test_positive_label(self, cohort, poor, ladder, result):
        found = compare(ladder, cohort[0], poor, cv="5x2", random_state=1, positive_label="good")
        assert found.classes == ["poor", "good"]
        for mine, other in zip(
            found.predictions["probability"], result.predictions["probability"], strict=True
        ):
            assert mine == pytest.approx(1 - other)
        assert found.table["auc"].to_numpy() == pytest.approx(result.table["auc"].to_numpy())

    def test_arrays_booleans_and_categories_as_outcome(self, cohort, poor, ladder, result):
        X, _ = cohort
        for y in (
            (poor == "poor").to_numpy(),
            (poor == "poor").astype(int),
            pd.Categorical(poor),
        ):
            found = compare({"a": ladder["lesion_ml"]}, X, y, cv="5x2", random_state=1)
            assert found.table.loc["a", "auc"] == pytest.approx(
                result.table.loc["lesion_ml", "auc"]
            )

    def test_decision_function_only(self, cohort, poor):
        X = cohort[0][["lesion_ml"]]
        found = compare(
            {"logistic": LogisticRegression(), "ridge": RidgeClassifier()}, X, poor, random_state=0
        )
        row = found.table.loc["ridge"]
        assert row["auc"] == pytest.approx(found.table.loc["logistic", "auc"], abs=0.05)
        assert np.isnan(row["brier"])
        assert not np.isnan(row["auc_p"])

    def test_decision_values_of_different_folds_are_not_compared(self, cohort, poor):
        class Shifted(RidgeClassifier):
            def decision_function(self, X):
                return super().decision_function(X) + float(self.intercept_.item()) * 1000

        X = cohort[0][["lesion_ml"]]
        models = {"ridge": RidgeClassifier(), "shifted": Shifted()}
        found = compare(models, X, poor, random_state=0)
        assert found.table.loc["shifted", "auc"] == found.table.loc["ridge", "auc"]

    def test_labels_only(self, cohort, poor):
        class Labels(ClassifierMixin, BaseEstimator):
            def fit(self, X, y):
                self.classes_ = np.unique(y)
                return self

            def predict(self, X):
                return self.classes_[(X["lesion_ml"] > 35).astype(int)]

        found = compare(
            {"labels": Labels(), "logistic": LogisticRegression()},
            cohort[0][["lesion_ml"]],
            poor,
            random_state=0,
        )
        assert np.isnan(found.table.loc["labels", ["auc", "brier"]].astype(float)).all()
        assert found.table.loc["labels", "accuracy"] > 0.5
        assert np.isnan(found.table.loc["logistic", "auc_p"])

    def test_three_classes(self, cohort):
        X, mrs = cohort
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

    def test_custom_splits_may_leave_patients_out(self, cohort, poor, ladder):
        splitter = ShuffleSplit(4, test_size=0.2, random_state=0)
        found = compare({"a": ladder["lesion_ml"]}, cohort[0], poor, cv=splitter)
        assert found.predictions["repeat"].max() > 1
        assert len(found.patients("a")) < len(cohort[0])

    def test_nobody_is_tested_on_a_model_that_saw_them(self, cohort, poor):
        compare({"a": Recording()}, cohort[0], poor, cv="5x2", random_state=0)


@pytest.fixture(scope="module")
def found(cohort):
    models = linear_ladder([["lesion_ml"], NUMERIC]) | {"mean": DummyRegressor()}
    return compare(models, *cohort, cv="5x2", baseline="lesion_ml", random_state=0)


class TestRegression:
    def test_scores(self, found, cohort):
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

    def test_leave_one_out(self, cohort):
        X, mrs = cohort
        models = linear_ladder([["lesion_ml"], NUMERIC])
        found = compare(models, X.iloc[:25], mrs.iloc[:25], cv=LeaveOneOut())
        assert found.folds["r2"].isna().all()
        assert not np.isnan(found.table.loc["lesion_ml + nihss", "mae_p"])
        assert np.isnan(found.table.loc["lesion_ml + nihss", "r2_p"])


class TestBadInput:
    def check(self, error, match, models, X, y, **options):
        with pytest.raises(error, match=match):
            compare(models, X, y, random_state=0, **options)

    def test_baseline(self, cohort, poor, ladder):
        self.check(ValueError, "baseline='cnn' is none of", ladder, cohort[0], poor, baseline="cnn")

    @pytest.mark.parametrize(
        ("models", "match"),
        [
            ({}, "models is empty"),
            ([("a", DummyClassifier()), ("a", DummyClassifier())], "'a' occurs more than once"),
            ({"a": DummyClassifier}, "not a scikit-learn estimator instance"),
            ({"a": DummyClassifier(), "b": DummyRegressor()}, "'a' is a classifier and 'b'"),
            ([DummyClassifier()], r"must be \(name, estimator\) pairs"),
        ],
    )
    def test_models(self, cohort, poor, models, match):
        self.check(ValueError, match, models, cohort[0], poor)

    def test_outcome(self, cohort, poor, ladder):
        X, mrs = cohort
        missing = poor.copy()
        missing.loc["p7"] = None
        self.check(CohortError, "row 'p7': the outcome is missing", ladder, X, missing)
        self.check(CohortError, "y has 119 values", ladder, X, poor.iloc[1:])
        self.check(CohortError, r"y = y\.loc\[X\.index\]", ladder, X, poor[::-1])
        renamed = poor.rename(index={"p0": "q0"})
        self.check(CohortError, "row 'q0' that X has not", ladder, X, renamed)
        self.check(CohortError, "every outcome is 'poor'", ladder, X, poor.map(lambda _: "poor"))
        self.check(CohortError, "one column", ladder, X, poor.to_frame())
        numeric = linear_ladder([["lesion_ml"]])
        self.check(CohortError, "finite numbers", numeric, X, poor)
        self.check(CohortError, "finite numbers", numeric, X, mrs.replace(mrs.iloc[0], np.inf))

    def test_positive_label(self, cohort, poor, ladder):
        self.check(ValueError, "positive_label", ladder, cohort[0], poor, positive_label="dead")

    def test_table(self, cohort, poor, ladder):
        X, _ = cohort
        self.check(CohortError, "DataFrame", ladder, X.to_numpy(), poor)
        doubled = X.set_axis(["p0", *X.index[:-1]])
        self.check(CohortError, "row 'p0' occurs 2 times", ladder, doubled, poor)
        self.check(
            CohortError, r"model 'lesion_ml', repeat 1, fold 1: column 'lesion_ml' not found",
            ladder, X[["sex"]], poor,
        )  # fmt: skip

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_a_failing_model_is_named_with_its_fold(self, cohort, poor, n_jobs):
        X, _ = cohort
        models = {"good": Recording(), "bad": Recording(fail_in_test_of="p0")}
        match = r"model 'bad', repeat 1, fold \d: RuntimeError: out of luck"
        self.check(ModelError, match, models, X, poor, n_jobs=n_jobs)
        models["bad"].wrong = "cohort"
        match = r"model 'bad', repeat 1, fold \d: row 'p1', column 't1w': no image"
        self.check(CohortError, match, models, X, poor, n_jobs=n_jobs)

    def test_missing_and_misshapen_predictions(self, cohort, poor):
        X, mrs = cohort
        models = {"bad": Recording(fail_in_test_of="p0", wrong="nan")}
        self.check(ModelError, "model 'bad', .*probability is missing for row 'p", models, X, poor)
        self.check(ModelError, r"has shape \(24, 1\)", {"bad": WrongLength()}, X, mrs)


class TestOutput:
    def test_text(self, result):
        text = repr(result)
        assert "SIMULATED" in text
        assert "“lesion_ml + nihss” beats “lesion_ml”: " in text
        assert "no model can expect an accuracy above 0.900" in text
        assert max(len(line) for line in text.split("\n\n")[1].splitlines()) <= 140

    def test_says_plainly_when_nothing_is_better(self, cohort, poor, ladder):
        models = {"logistic": ladder["lesion_ml"], "coin": DummyClassifier()}
        rng = np.random.default_rng(0)
        y = pd.Series(rng.permutation(poor), index=poor.index)
        found = compare(models, cohort[0], y, random_state=0)
        assert "“coin” does not beat “logistic”" in found.summary()[0]

    def test_one_model(self, cohort, poor, ladder):
        found = compare({"a": ladder["lesion_ml"]}, cohort[0], poor, random_state=0)
        assert "nothing to compare" in repr(found)
        assert found.differences.empty

    def test_metadata_can_repeat_the_run(self, result):
        about = result.metadata
        assert about["random_state"] == 1
        assert about["cohort"]["name"] == "stand-in"
        assert (about["n_folds"], about["n_repeats"], about["n_patients"]) == (5, 2, 120)
        assert {"python", "scikit-learn", "numpy", "prognosis-mri"} <= set(about["versions"])
        assert about["models"]["lesion_ml"].startswith("Pipeline(")

    def test_metadata_names_no_folder_of_this_machine(self, cohort, poor, tmp_path):
        model = logistic_ladder([["lesion_ml"]])["lesion_ml"]
        cached = make_pipeline(
            FunctionTransformer(_unchanged), model, memory=str(tmp_path / "alice")
        )
        found = compare({"a": cached}, cohort[0], poor, cv=2)
        assert "alice" not in found.metadata["models"]["a"]
        assert "0x" not in found.metadata["models"]["a"]
        assert cached.memory == str(tmp_path / "alice")

    def test_csv(self, result, tmp_path):
        folder = result.to_csv(tmp_path / "new" / "report")
        assert sorted(path.name for path in folder.iterdir()) == [
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

    def test_progress_goes_to_stderr(self, cohort, poor, ladder, capsys):
        compare({"a": ladder["lesion_ml"]}, cohort[0], poor, random_state=0, verbose=1)
        out, err = capsys.readouterr()
        assert out == ""
        assert "5/5" in err

    def test_is_a_comparison(self, result):
        assert isinstance(result, Comparison)
        assert (result.fit_seconds > 0).all()
