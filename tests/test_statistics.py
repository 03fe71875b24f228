"""Golden values, invariants and edges of the tests and intervals."""

import numpy as np
import pytest
from scipy import stats

from prognosis.evaluation.statistics.auc import auc, auc_interval, delong_test
from prognosis.evaluation.statistics.calibration import (
    calibration_bins,
    calibration_line,
    expected_calibration_error,
)
from prognosis.evaluation.statistics.intervals import (
    balanced_accuracy_interval,
    bootstrap_interval,
    correlation_interval,
    wilson_interval,
)
from prognosis.evaluation.statistics.significance import (
    adjust_p_values,
    corrected_resampled_ttest,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _placements(y, scores):
    """The kernel of every (positive, negative) pair, shape (positives, negatives)."""
    positive, negative = scores[y == 1], scores[y == 0]
    above = positive[:, None] > negative[None]
    return above + 0.5 * (positive[:, None] == negative[None])


def _delong_by_definition(y, scores, other):
    """DeLong 1988, equations 4 to 6, written out pair by pair."""
    first, second = _placements(y, scores), _placements(y, other)
    covariance = np.zeros((2, 2))
    for axis in (1, 0):
        components = np.stack([first.mean(axis=axis), second.mean(axis=axis)])
        covariance += np.cov(components) / components.shape[1]
    difference = first.mean() - second.mean()
    z = difference / np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return difference, z, 2 * stats.norm.sf(abs(z)), covariance


class TestCorrectedResampledTTest:
    def test_golden_value_computed_by_hand(self):
        # mean .02, variance 2.5e-4, corrected variance (1/5 + 1/4) * 2.5e-4 = 1.125e-4
        result = corrected_resampled_ttest([0.03, 0.01, 0.02, 0.04, 0.00], 0.25)
        assert result.difference == pytest.approx(0.02)
        assert result.statistic == pytest.approx(0.02 / np.sqrt(1.125e-4))
        assert result.df == 4
        s = np.sqrt(8 / 17)  # t / sqrt(t**2 + 4), in the closed form for 4 degrees of freedom
        assert result.p_value == pytest.approx(1 - 1.5 * (s - s**3 / 3))
        assert result.high - result.difference == pytest.approx(2.776445 * np.sqrt(1.125e-4))

    def test_is_the_paired_t_test_without_overlap(self, rng):
        differences = rng.normal(0.2, 1, 12)
        ours = corrected_resampled_ttest(differences, 1e-15)
        scipys = stats.ttest_1samp(differences, 0)
        assert ours.statistic == pytest.approx(scipys.statistic)
        assert ours.p_value == pytest.approx(scipys.pvalue)

    def test_swapping_the_models_turns_the_sign_only(self, rng):
        differences = rng.normal(0.1, 0.2, 10)
        one = corrected_resampled_ttest(differences, 0.25)
        two = corrected_resampled_ttest(-differences, 0.25)
        assert (one.low, one.high) == pytest.approx((-two.high, -two.low))
        assert one.p_value == pytest.approx(two.p_value)

    def test_is_more_cautious_than_the_plain_test(self, rng):
        differences = rng.normal(0.1, 0.2, 10)
        assert (
            corrected_resampled_ttest(differences, 0.25).p_value
            > stats.ttest_1samp(differences, 0).pvalue
        )

    def test_identical_models(self):
        result = corrected_resampled_ttest(np.zeros(10), 0.25)
        assert (result.difference, result.statistic, result.p_value) == (0, 0, 1)

    def test_the_same_gain_in_every_fold(self):
        result = corrected_resampled_ttest(np.full(10, -0.1), 0.25)
        assert result.p_value == 0
        assert result.statistic == -np.inf
        assert result.low == result.high == pytest.approx(-0.1)

    @pytest.mark.parametrize("differences", [[], [0.1], [0.1, np.nan, 0.2]])
    def test_no_test_is_possible(self, differences):
        assert np.isnan(corrected_resampled_ttest(differences, 0.25).p_value)

    def test_ratios_are_averaged(self):
        differences = [0.1, 0.2, 0.15]
        assert corrected_resampled_ttest(differences, [0.2, 0.3, 0.4]) == (
            corrected_resampled_ttest(differences, 0.3)
        )

    def test_refuses_nonsense(self):
        with pytest.raises(ValueError, match="n_folds, n_seeds"):
            corrected_resampled_ttest(np.zeros((2, 2, 2)), 0.25)
        with pytest.raises(ValueError, match="must be positive"):
            corrected_resampled_ttest([0.1, 0.2], 0)

    def test_p_values_are_uniform_for_the_correlation_it_assumes(self, rng):
        # folds of correlation rho = n_test / (n_test + n_train): the assumption of the correction
        ratio, folds, rho = 0.25, 10, 0.2
        shared = rng.normal(size=(2000, 1)) * np.sqrt(rho)
        differences = shared + rng.normal(size=(2000, folds)) * np.sqrt(1 - rho)
        p = [corrected_resampled_ttest(row, ratio).p_value for row in differences]
        assert np.mean(np.less(p, 0.05)) == pytest.approx(0.05, abs=0.02)
        assert stats.kstest(p, "uniform").statistic < 0.05

    def test_effective_degrees_of_freedom_are_fewer_and_seeds_do_not_count(self, rng):
        by_seed = rng.normal(0.03, 0.02, (5, 20))
        means = by_seed.mean(axis=1)
        plain = corrected_resampled_ttest(means, 1 / 4)
        seeds = corrected_resampled_ttest(by_seed, 1 / 4)
        assert plain == seeds
        cautious = corrected_resampled_ttest(by_seed, 1 / 4, df="effective")
        assert plain.df == 4 and cautious.df == pytest.approx(5 / 1.8 - 1)
        assert cautious.statistic == plain.statistic and cautious.p_value > plain.p_value
        assert cautious.low < plain.low and cautious.high > plain.high
        with pytest.raises(ValueError, match='df must be "folds" or "effective"'):
            corrected_resampled_ttest(means, 1 / 4, df="seeds")

    def test_false_positives_under_correlated_folds(self, rng):
        rho = 0.2
        noise = rng.normal(size=(4000, 1)) * np.sqrt(rho) + rng.normal(size=(4000, 5)) * np.sqrt(
            1 - rho
        )
        for df, low, high in (("folds", 0.03, 0.07), ("effective", 0.0, 0.03)):
            rate = np.mean(
                [corrected_resampled_ttest(row, 1 / 4, df=df).p_value < 0.05 for row in noise]
            )
            assert low <= rate <= high


class TestAuc:
    def test_equals_the_share_of_ordered_pairs(self, rng):
        y = np.arange(40) % 3 == 0
        scores = rng.integers(0, 6, 40)
        assert auc(y, scores) == pytest.approx(_placements(y, scores).mean())

    def test_many_score_vectors_at_once(self, rng):
        y = np.arange(30) % 2
        scores = rng.random((4, 30))
        assert auc(y, scores) == pytest.approx([auc(y, row) for row in scores])

    def test_ranks_are_all_that_counts(self, rng):
        y, scores = np.arange(30) % 2, rng.normal(size=30)
        assert auc(y, np.exp(scores)) == auc(y, scores)
        assert auc(y, -scores) == pytest.approx(1 - auc(y, scores))

    @pytest.mark.parametrize("y", [[1, 1, 1], [0, 0, 0]])
    def test_one_class_is_refused(self, y):
        with pytest.raises(ValueError, match="both classes"):
            auc(y, [1, 2, 3])

    def test_labels_must_be_encoded(self):
        with pytest.raises(ValueError, match="y == positive_label"):
            auc(["good", "poor"], [1, 2])


class TestDelong:
    def test_equals_the_definition_with_and_without_ties(self, rng):
        for levels in (5, 1000):
            y = rng.permutation(np.arange(60) % 3 == 0)
            scores = rng.integers(0, levels, 60) + y
            other = rng.integers(0, levels, 60)
            result = delong_test(y, scores, other)
            difference, z, p, _ = _delong_by_definition(y, scores, other)
            assert result.difference == pytest.approx(difference)
            assert result.statistic == pytest.approx(z)
            assert result.p_value == pytest.approx(p)

    def test_golden_value_computed_by_hand(self):
        # placements of positives (2/3, 1, 1) and of negatives (1, 1, 2/3): variance 1/81 + 1/81
        interval = auc_interval([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.8, 0.9])
        reach = stats.norm.ppf(0.975) * np.sqrt(2 / 81) / (8 / 81)
        expected = 1 / (1 + np.exp(-(np.log(8) + np.array([-reach, reach]))))
        assert interval.estimate == pytest.approx(8 / 9)
        assert (interval.low, interval.high) == pytest.approx(tuple(expected))

    def test_swapping_the_models_turns_the_sign_only(self, rng):
        y = np.arange(50) % 2
        scores, other = rng.random((2, 50)) + 0.3 * y
        one, two = delong_test(y, scores, other), delong_test(y, other, scores)
        assert one.statistic == pytest.approx(-two.statistic)
        assert one.p_value == pytest.approx(two.p_value)

    def test_models_that_rank_alike(self, rng):
        y, scores = np.arange(50) % 2, rng.random(50)
        result = delong_test(y, scores, 3 * scores + 1)
        assert (result.difference, result.p_value) == (0, 1)

    def test_constant_predictions(self):
        y = np.arange(20) % 2
        assert delong_test(y, np.full(20, 0.3), np.zeros(20)).p_value == 1
        assert auc_interval(y, np.full(20, 0.3)).estimate == 0.5

    def test_perfect_against_perfectly_wrong(self):
        y = np.arange(20) % 2
        result = delong_test(y, y, -y)
        assert (result.difference, result.p_value) == (1, 0)

    def test_perfect_separation_keeps_an_honest_lower_limit(self):
        small = auc_interval(np.arange(10) % 2, np.arange(10) % 2)
        large = auc_interval(np.arange(400) % 2, np.arange(400) % 2)
        assert small.estimate == small.high == 1
        assert 0.5 < small.low < 0.85
        assert 0.97 < large.low < 1
        wrong = auc_interval(np.arange(10) % 2, -(np.arange(10) % 2))
        assert (wrong.low, wrong.high) == pytest.approx((0, 1 - small.low))

    def test_one_patient_of_a_class(self):
        interval = auc_interval([1, 0, 0, 0, 0], [3, 1, 2, 4, 0])
        assert interval.estimate == 0.75
        assert 0 < interval.low < 0.75 < interval.high < 1

    def test_missing_scores_and_lengths_are_refused(self):
        with pytest.raises(ValueError, match="NaN"):
            delong_test([0, 1], [0.1, np.nan], [1, 2])
        with pytest.raises(ValueError, match="shape"):
            delong_test([0, 1], [0.1, 0.2, 0.3], [1, 2])

    def test_p_values_are_uniform_under_the_null(self, rng):
        y = np.arange(120) % 2
        p = []
        for _ in range(1500):
            truth = y + rng.normal(size=120)
            scores, other = truth + rng.normal(size=(2, 120))
            p.append(delong_test(y, scores, other).p_value)
        assert np.mean(np.less(p, 0.05)) == pytest.approx(0.05, abs=0.02)
        assert stats.kstest(p, "uniform").statistic < 0.05

    def test_interval_covers_the_true_area(self, rng):
        y, truth = np.arange(100) % 2, stats.norm.cdf(1.5 / np.sqrt(2))
        intervals = [auc_interval(y, 1.5 * y + rng.normal(size=100)) for _ in range(1000)]
        covered = np.mean([i.low <= truth <= i.high for i in intervals])
        assert covered == pytest.approx(0.95, abs=0.025)


class TestAdjustment:
    def test_golden_value_of_the_first_paper(self):
        # the fifteen p values of Benjamini and Hochberg 1995, section 3.2: four are rejected
        p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
        p += [0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
        adjusted = adjust_p_values(p)
        assert (adjusted < 0.05).sum() == 4
        assert adjusted[0] == pytest.approx(0.0015)
        assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)

    def test_order_does_not_matter(self, rng):
        p = rng.random(20)
        order = rng.permutation(20)
        assert adjust_p_values(p)[order] == pytest.approx(adjust_p_values(p[order]))

    def test_one_comparison_is_unchanged_and_missing_ones_do_not_count(self):
        assert adjust_p_values([0.03]).tolist() == [0.03]
        assert adjust_p_values([np.nan, 0.03])[1] == 0.03
        assert np.isnan(adjust_p_values([np.nan, np.nan])).all()


class TestIntervals:
    def test_wilson_golden_value(self):
        # Newcombe 1998, table I: 81 of 263
        interval = wilson_interval(81, 263)
        assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)

    def test_wilson_at_the_ends(self):
        assert wilson_interval(0, 10).low == 0
        assert wilson_interval(10, 10).high == pytest.approx(1)
        assert wilson_interval(10, 10).low == pytest.approx(1 - wilson_interval(0, 10).high)
        assert np.isnan(wilson_interval(0, 0).estimate)

    def test_balanced_accuracy_weighs_classes_alike(self):
        y = np.array(["poor"] * 10 + ["good"] * 90)
        correct = np.r_[np.zeros(10), np.ones(90)]
        interval = balanced_accuracy_interval(y, correct)
        assert interval.estimate == 0.5
        assert interval.low < 0.5 < interval.high

    def test_balanced_accuracy_covers(self, rng):
        y = np.repeat([0, 1], [80, 30])
        chance = np.where(y == 0, 0.9, 0.6)
        draws = rng.random((1000, y.size)) < chance
        covered = [
            i.low <= 0.75 <= i.high for i in (balanced_accuracy_interval(y, d) for d in draws)
        ]
        assert np.mean(covered) == pytest.approx(0.95, abs=0.02)

    def test_correlation_edges(self):
        assert np.isnan(correlation_interval([1, 2, 3, 4], [2, 2, 2, 2]).estimate)
        assert correlation_interval([1, 2, 3, 4], [1, 2, 3, 4]).low == 1
        assert np.isnan(correlation_interval([1, 2, 3], [1, 3, 2]).low)

    def test_bootstrap_agrees_with_theory_and_with_itself(self, rng):
        values = rng.normal(size=400)

        def mean(v):
            return v.mean(axis=-1)

        interval = bootstrap_interval(mean, values, random_state=1)
        reach = 1.96 * values.std(ddof=1) / np.sqrt(400)
        assert interval.high - interval.low == pytest.approx(2 * reach, rel=0.08)
        assert interval == bootstrap_interval(mean, values, random_state=1)
        assert interval != bootstrap_interval(mean, values, random_state=2)

    def test_bootstrap_keeps_strata_and_skips_undefined_resamples(self):
        y = np.r_[1, np.zeros(30)]
        kept = bootstrap_interval(lambda v: v.sum(axis=-1), y, strata=y)
        assert kept.low == kept.high == 1
        undefined = bootstrap_interval(lambda v: v.sum(axis=-1) * np.nan, y)
        assert np.isnan(undefined.low)

    def test_the_global_generator_is_left_alone(self):
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        bootstrap_interval(lambda v: v.mean(axis=-1), np.arange(10.0))
        assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


class TestCalibration:
    def draw(self, rng, n=4000, factor=1.0, shift=0.0):
        logit = rng.normal(0, 1.5, n)
        y = rng.random(n) < 1 / (1 + np.exp(-logit))
        return y, 1 / (1 + np.exp(-(factor * logit + shift)))

    def test_bins_hold_equally_many_patients(self, rng):
        y, p = self.draw(rng)
        bins = calibration_bins(y, p)
        assert bins["n"].tolist() == [400] * 10
        assert bins["predicted"].is_monotonic_increasing
        assert ((bins["low"] <= bins["observed"]) & (bins["observed"] <= bins["high"])).all()

    def test_equal_predictions_share_a_bin(self):
        y, p = np.arange(60) % 2, np.repeat([0.2, 0.5, 0.9], 20)
        assert calibration_bins(y, p)["predicted"].round(6).tolist() == [0.2, 0.5, 0.9]
        assert calibration_bins(y, np.full(60, 0.4))["n"].tolist() == [60]

    def test_perfect_probabilities(self, rng):
        y, p = self.draw(rng)
        line = calibration_line(y, p)
        assert line.slope.low < 1 < line.slope.high
        assert line.intercept.low < 0 < line.intercept.high
        assert expected_calibration_error(y, p) < 0.03

    def test_slope_and_intercept_name_the_fault(self, rng):
        assert calibration_line(*self.draw(rng, factor=3)).slope.estimate == pytest.approx(
            1 / 3, abs=0.03
        )
        line = calibration_line(*self.draw(rng, shift=1.0))
        assert line.intercept.estimate == pytest.approx(-1, abs=0.1)
        assert line.slope.estimate == pytest.approx(1, abs=0.1)

    def test_equals_scikit_learn_without_penalty(self, rng):
        from sklearn.linear_model import LogisticRegression

        y, p = self.draw(rng, n=300, factor=2)
        model = LogisticRegression(C=1e9, tol=1e-10).fit(np.log(p / (1 - p))[:, None], y)
        assert calibration_line(y, p).slope.estimate == pytest.approx(model.coef_[0, 0], rel=1e-4)

    def test_where_there_is_no_slope(self):
        y = np.arange(20) % 2
        assert np.isnan(calibration_line(y, np.full(20, 0.3)).slope.estimate)
        assert calibration_line(y, np.full(20, 0.5)).intercept.estimate == pytest.approx(0)
        assert np.isnan(calibration_line(y, 0.1 + 0.8 * y).slope.estimate)
        assert np.isnan(calibration_line(np.ones(5), np.full(5, 0.5)).intercept.estimate)
        assert calibration_line(y, y.astype(float)).intercept.estimate == pytest.approx(0, abs=0.1)

    def test_expected_error_of_the_overconfident(self):
        y = np.arange(100) % 2
        assert expected_calibration_error(y, np.full(100, 1.0)) == 0.5

    @pytest.mark.parametrize("p", [[0.2, 1.2], [np.nan, 0.1], [0.2]])
    def test_nonsense_is_refused(self, p):
        with pytest.raises(ValueError, match=r"shape|between 0 and 1"):
            calibration_bins([0, 1], p)
