"""What a comparison may say: tests over patients, what it could not show, and scores asked for."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import f1_score, make_scorer, recall_score
from sklearn.model_selection import LeaveOneGroupOut

from prognosis import (
    CohortError,
    ModelError,
    OrdinalClassifier,
    compare,
    linear_ladder,
    logistic_ladder,
)
from prognosis.evaluation.statistics.by_group import judge_groups
from prognosis.evaluation.statistics.characteristics import describe_patients
from prognosis.evaluation.statistics.significance import (
    corrected_resampled_ttest,
    paired_patient_ttest,
)

NUMERIC = ["lesion_ml", "nihss"]


@pytest.fixture(scope="module")
def ladder():
    return logistic_ladder([["lesion_ml"], NUMERIC])


def one_split(n):
    rows = np.arange(n)
    return [(rows[: n // 2], rows[n // 2 :])]


class TestOverPatients:
    def test_is_scipys_paired_test(self):
        rng = np.random.default_rng(0)
        one, two = rng.normal(size=(2, 30))
        found, known = paired_patient_ttest(one - two), stats.ttest_rel(one, two)
        assert (found.statistic, found.p_value) == pytest.approx((known.statistic, known.pvalue))
        limits = known.confidence_interval()
        assert (found.low, found.high, found.df) == pytest.approx((*limits, 29))

    def test_edges(self):
        assert paired_patient_ttest(np.zeros(5)).p_value == 1
        assert paired_patient_ttest(np.full(5, 0.2)).p_value == 0
        assert np.isnan(paired_patient_ttest([0.2]).p_value)
        assert np.isnan(paired_patient_ttest([0.2, np.nan]).p_value)
        with pytest.raises(ValueError, match="n_patients"):
            paired_patient_ttest(np.zeros((2, 2)))

    def test_the_smallest_difference_is_just_significant(self):
        rng = np.random.default_rng(1)
        for test in (paired_patient_ttest, lambda d: corrected_resampled_ttest(d, 0.25)):
            noise = rng.normal(size=8)
            noise -= noise.mean()
            smallest = test(noise).smallest
            assert test(noise + smallest).p_value == pytest.approx(0.05)
            assert test(noise - smallest).p_value == pytest.approx(0.05)

    def test_regression_is_decided_over_patients(self, tabular_cohort):
        found = compare(
            linear_ladder([["lesion_ml"], NUMERIC]), *tabular_cohort, cv="4x3", random_state=0
        )
        one, two = (found.patients(name) for name in ("lesion_ml + nihss", "lesion_ml"))
        errors = [table["y"] - table["prediction"] for table in (one, two)]
        row = found.table.loc["lesion_ml + nihss"]
        known = stats.ttest_rel(errors[0].abs(), errors[1].abs())
        assert row["mae_p"] == pytest.approx(known.pvalue)
        known = stats.ttest_rel(errors[0] ** 2, errors[1] ** 2)
        assert row["r2_p"] == pytest.approx(known.pvalue)
        for score in ("mae", "r2"):
            gap = row[score] - found.table.loc["lesion_ml", score]
            assert row[f"{score}_difference"] == pytest.approx(gap)
        assert set(found.differences.query("score == 'mae'")["test"]) == {
            "corrected t",
            "t over patients",
        }

    def test_repeats_do_not_turn_the_verdict_over_patients(self):
        """Without any difference: over patients p stays, whatever the number of repeats."""
        rng, p = np.random.default_rng(0), {1: [], 10: []}
        for _ in range(200):
            patient = rng.normal(size=60)  # what tells the models apart in each patient
            for repeats in p:
                noise = rng.normal(size=(repeats, 60)).mean(axis=0) * 0.3
                p[repeats].append(paired_patient_ttest(patient + noise).p_value)
        once, often = (np.mean(np.less(p[repeats], 0.05)) for repeats in (1, 10))
        assert abs(once - often) < 0.03
        assert once < 0.1


class TestWhatCouldBeShown:
    def test_one_split_of_three_classes_is_not_tested_in_auc(self, tabular_cohort):
        X, mrs = tabular_cohort
        y = pd.qcut(mrs, 3, labels=["a", "b", "c"]).astype(str)
        models = logistic_ladder([["lesion_ml"], NUMERIC])
        found = compare(models, X, y, cv=one_split(120))
        assert "Not tested: differences in AUC (one split" in " ".join(found.summary())

    def test_nothing_is_said_of_what_was_not_tested(self, tabular_cohort, poor_outcome, ladder):
        found = compare(ladder, tabular_cohort[0], poor_outcome, cv=one_split(120))
        found.table[["accuracy_p", "auc_p", "accuracy_p_adjusted", "auc_p_adjusted"]] = np.nan
        text = " ".join(found.summary())
        assert "No difference from “lesion_ml” was tested: one split of the patients" in text
        assert "No clear difference" not in text and "beat" not in text

    def test_one_split_is_tested_over_its_patients(self, tabular_cohort, poor_outcome, ladder):
        found = compare(ladder, tabular_cohort[0], poor_outcome, cv=one_split(120))
        row = found.table.loc["lesion_ml + nihss"]
        assert row[["accuracy_p", "auc_p"]].notna().all()
        folds = found.differences.query("test == 'corrected t'")
        assert folds["p"].isna().all()

    def test_an_open_difference_says_what_would_have_been_significant(
        self, tabular_cohort, poor_outcome, ladder
    ):
        models = {"one": ladder["lesion_ml"], "two": LogisticRegression(C=0.1)}
        X = tabular_cohort[0][["lesion_ml"]]
        found = compare(models, X, poor_outcome, cv=5, random_state=0)
        sentence = next(one for one in found.summary() if one.startswith("No clear difference"))
        smallest = found.differences.query("score == 'accuracy' and test == 't over patients'")
        assert f"at least {smallest['smallest'].iloc[0]:.3f} in accuracy" in sentence

    def test_few_folds_say_their_degrees_of_freedom(self, tabular_cohort, poor_outcome, ladder):
        X = tabular_cohort[0]
        for cv, degrees in ((2, "1 degree of"), (3, "2 degrees of"), ("5x2", None)):
            found = compare(ladder, X, poor_outcome, cv=cv, random_state=0, scoring="f1_macro")
            text = " ".join(found.summary())
            if degrees:
                assert f"only {degrees} freedom ({cv} folds)" in text
            else:
                assert "of freedom" not in text


class TestScoring:
    def test_is_scikit_learns_fold_by_fold(self, tabular_cohort, poor_outcome, ladder):
        recall = make_scorer(recall_score, pos_label="poor")
        found = compare(
            ladder,
            tabular_cohort[0],
            poor_outcome,
            cv="4x2",
            random_state=0,
            scoring={"f1_macro": "f1_macro", "recall of poor": recall},
        )
        assert found.scores[-2:] == ("f1_macro", "recall of poor")
        for key, rows in found.predictions.groupby(["model", "repeat", "fold"]):
            here = found.folds.set_index(["model", "repeat", "fold"]).loc[key]
            known = f1_score(rows["y"], rows["prediction"], average="macro")
            assert here["f1_macro"] == pytest.approx(known)
        name = "lesion_ml + nihss"
        wide = found.folds.pivot(index=["repeat", "fold"], columns="model", values="f1_macro")
        known = corrected_resampled_ttest((wide[name] - wide["lesion_ml"]).to_numpy(), 1 / 3)
        row = found.table.loc[name]
        assert row["f1_macro"] == pytest.approx(wide[name].mean())
        assert row["f1_macro_low"] < row["f1_macro"] < row["f1_macro_high"]
        assert row["f1_macro_p"] == pytest.approx(known.p_value)
        assert "f1 macro" in str(found) and "recall of poor" in str(found)

    def test_names_that_are_there_already(self, tabular_cohort, poor_outcome, ladder):
        found = compare(
            ladder, tabular_cohort[0], poor_outcome, cv=2, scoring=["accuracy", "f1_macro"]
        )
        assert found.scorers == ("f1_macro",)
        for scoring, problem in (
            ({"auc": make_scorer(f1_score)}, "'auc' is in the table already"),
            (["f1", "f1"], "'f1' twice"),
            ("f2_macro", "f2_macro"),
            (lambda model, X, y: 1.0, "has no name"),
        ):
            with pytest.raises(ValueError, match=problem):
                compare(ladder, tabular_cohort[0], poor_outcome, cv=2, scoring=scoring)

    def test_a_scorer_that_fails_is_named(self, tabular_cohort, poor_outcome, ladder):
        def odd(model, X, y):
            raise RuntimeError("no such thing")

        with pytest.raises(ModelError, match="fold 1: ValueError: scoring 'odd': no such thing"):
            compare(ladder, tabular_cohort[0], poor_outcome, cv=2, scoring=odd)

    def test_of_an_ordinal_outcome_it_is_of_the_cut(self, tabular_cohort):
        X, mrs = tabular_cohort
        mrs = mrs.clip(0, 5).round().astype(int)
        columns = ["lesion_ml"]
        models = {"scale": OrdinalClassifier(), "cut": LogisticRegression()}
        found = compare(models, X[columns], mrs, cv=3, cut=2, random_state=0, scoring="f1")
        rows = found.predictions.query("model == 'scale' and fold == 1")
        known = f1_score(rows["y"], rows["prediction"])
        here = found.folds.query("model == 'scale' and fold == 1")
        assert here["f1"].item() == pytest.approx(known)

    def test_regression(self, tabular_cohort):
        models = linear_ladder([["lesion_ml"], NUMERIC])
        found = compare(models, *tabular_cohort, cv=3, scoring="neg_root_mean_squared_error")
        assert (found.table["neg_root_mean_squared_error"] < 0).all()


@pytest.fixture(scope="module")
def called(tabular_cohort, poor_outcome, ladder):
    models = ladder | {"ridge": RidgeClassifier()}
    X = tabular_cohort[0][NUMERIC].fillna(10)
    return compare(models, X, poor_outcome, cv="3x2", random_state=0, threshold=0.3)


class TestThreshold:
    def test_sensitivity_and_specificity(self, called):
        patients = called.patients("lesion_ml + nihss")
        positive = patients["probability"] >= 0.3
        row = called.table.loc["lesion_ml + nihss"]
        assert row["sensitivity"] == pytest.approx(positive[patients["y"] == "poor"].mean())
        assert row["specificity"] == pytest.approx(1 - positive[patients["y"] == "good"].mean())
        for score in ("sensitivity", "specificity"):
            assert row[f"{score}_low"] < row[score] < row[f"{score}_high"]

    def test_differences_are_over_the_patients_concerned(self, called):
        rows = called.differences.query(
            "score == 'sensitivity' and test == 't over patients'"
        ).set_index("model")
        gap = called.table["sensitivity"] - called.table.loc["lesion_ml", "sensitivity"]
        name = "lesion_ml + nihss"
        assert rows.loc[name, "difference"] == pytest.approx(gap[name])
        assert rows.loc[name, "df"] == (called.patients(name)["y"] == "poor").sum() - 1

    def test_models_without_probabilities_have_none(self, called):
        assert called.table.loc["ridge", ["sensitivity", "specificity"]].isna().all()

    @pytest.mark.parametrize("threshold", [0, 1, 1.5, True])
    def test_refuses_what_is_no_probability(self, tabular_cohort, poor_outcome, ladder, threshold):
        with pytest.raises(ValueError, match="threshold must be a probability"):
            compare(ladder, tabular_cohort[0], poor_outcome, threshold=threshold)

    def test_refuses_other_outcomes(self, tabular_cohort):
        with pytest.raises(ValueError, match="needs an outcome of two classes, not a number"):
            compare(linear_ladder([NUMERIC]), *tabular_cohort, threshold=0.5)


@pytest.fixture(scope="module")
def hospitals():
    """Death is common in A and rare in B; the scanner tells them apart, age tells death."""
    rng = np.random.default_rng(0)
    n = 160
    hospital = np.repeat(["A", "B"], n // 2)
    age = rng.normal(60, 10, n)
    risk = np.where(hospital == "A", 0.9, -0.9) + (age - 60) / 10
    X = pd.DataFrame(
        {
            "scanner": np.where(hospital == "A", 1.0, 0.0) + rng.normal(0, 0.1, n),
            "age": age,
            "hospital": hospital,
        },
        index=[f"p{k}" for k in range(n)],
    )
    return X, pd.Series((risk + rng.logistic(0, 1, n) > 0).astype(int), X.index, name="death")


class TestGroups:
    def test_a_model_that_recognises_the_hospital_is_caught(self, hospitals):
        models = logistic_ladder([["scanner"], ["age"], ["age", "scanner"]])
        found = compare(models, *hospitals, cv="5x2", by="hospital", random_state=0)
        text = " ".join(found.summary())
        assert "“scanner” predicts the hospital rather than the outcome" in text
        assert "“age” predicts" not in text and "“age + scanner” predicts" not in text
        verdict = found.group_verdicts["scanner"]
        assert verdict.pooled.low > 0.5 and verdict.within.low < 0.5 < verdict.within.high
        assert found.by_group.loc[("age", "A"), "n"] == 80
        counts = hospitals[1].groupby(hospitals[0]["hospital"]).sum()
        assert found.by_group.loc["age"]["n_positive"].to_dict() == counts.to_dict()

    def test_leaving_hospitals_out_is_reported_and_ends_it(self, hospitals):
        X, y = hospitals
        models = logistic_ladder([["scanner"], ["age"]])
        found = compare(models, X, y, groups="hospital", cv=LeaveOneGroupOut(), random_state=0)
        assert found.metadata["by"] == "hospital" and found.metadata["groups_apart"]
        text = " ".join(found.summary())
        assert "Every hospital was predicted by models that had not seen it. AUC within" in text
        assert "rather than the outcome" not in text
        assert (
            found.group_verdicts["age"].within.low
            > 0.5
            > found.group_verdicts["scanner"].within.low
        )

    def test_many_small_groups_are_not_reported(self, hospitals):
        X, y = hospitals
        subjects = pd.Series(np.arange(160) // 2, X.index)
        found = compare(logistic_ladder([["age"]]), X, y, groups=subjects, random_state=0)
        assert found.by_group.empty and found.group_verdicts == {}
        with pytest.raises(CohortError, match="80 different values in 160 rows"):
            compare(logistic_ladder([["age"]]), X, y, by=subjects, random_state=0)

    def test_regression(self, hospitals):
        X, _ = hospitals
        score = pd.Series((X["hospital"] == "A") * 3.0, X.index)
        score += np.random.default_rng(1).normal(size=len(X))
        models = linear_ladder([["scanner"], ["age"]])
        found = compare(models, X, score, cv=5, by="hospital", random_state=0)
        assert found.group_verdicts["scanner"].predicts_the_group
        assert not found.group_verdicts["age"].predicts_the_group
        assert {"r", "mae"} <= set(found.by_group.columns)

    def test_three_classes_have_accuracies_only(self, hospitals):
        X, _ = hospitals
        y = pd.qcut(X["age"], 3, labels=["a", "b", "c"]).astype(str)
        found = compare({"one": DummyClassifier()}, X[["age", "hospital"]], y, by="hospital", cv=2)
        assert found.group_verdicts == {} and "auc" not in found.by_group

    def test_no_alarm_where_nothing_differs(self):
        """At the 1 % level, of forty null cohorts at most three."""
        rng, alarms = np.random.default_rng(0), 0
        for _ in range(40):
            patients = pd.DataFrame({"y": np.arange(80) % 2, "probability": rng.random(80)})
            groups = pd.Series(rng.integers(0, 3, 80))
            alarms += judge_groups(patients, [0, 1], groups).predicts_the_group
        assert alarms <= 3


class TestCharacteristics:
    def test_only_what_models_name_and_by_outcome(self, tabular_cohort, poor_outcome):
        X = tabular_cohort[0].assign(other=1.5)
        models = logistic_ladder([["lesion_ml"], ["lesion_ml", "sex"]])
        found = compare(models, X, poor_outcome, cv=2).characteristics
        assert list(found["variable"].unique()) == ["lesion_ml", "sex"]
        assert list(found["group"].unique()) == ["all", "good", "poor"]
        row = found.query("variable == 'lesion_ml' and group == 'poor'").iloc[0]
        poor = X["lesion_ml"][poor_outcome == "poor"]
        assert (row["mean"], row["sd"]) == pytest.approx((poor.mean(), poor.std()))
        assert (row["q1"], row["median"], row["q3"]) == pytest.approx(
            tuple(poor.quantile([0.25, 0.5, 0.75]))
        )
        women = found.query("variable == 'sex' and group == 'all' and level == 'F'").iloc[0]
        assert women["count"] == (X["sex"] == "F").sum()

    def test_missing_values_are_counted(self, tabular_cohort, poor_outcome):
        found = compare(logistic_ladder([["nihss"]]), tabular_cohort[0], poor_outcome, cv=2)
        row = found.characteristics.query("group == 'all'").iloc[0]
        assert (row["n"], row["missing"]) == (119, 1)

    def test_identifiers_images_dates_and_empty_columns_are_left_out(self):
        X = pd.DataFrame(
            {
                "path": [f"sub-{k}.nii.gz" for k in range(30)],
                "when": pd.date_range("2020-01-01", periods=30),
                "empty": [None] * 30,
                "array": [np.zeros((2, 2))] * 30,
                "sex": ["F", "M", None] * 10,
                "stroke": [0, 1] * 15,
            }
        )
        found = describe_patients(X, pd.Series(np.arange(30.0)))
        assert found[["variable", "level"]].values.tolist() == [
            ["sex", "F"],
            ["sex", "M"],
            ["stroke", "0"],
            ["stroke", "1"],
        ]
        assert found["share"].tolist() == [0.5, 0.5, 0.5, 0.5]

    def test_a_number_is_described_with_its_correlation(self):
        age = pd.Series(np.arange(20.0))
        found = describe_patients(pd.DataFrame({"age": age}), -age)
        assert found["rho"].item() == pytest.approx(-1)
