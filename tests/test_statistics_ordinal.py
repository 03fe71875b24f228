"""Concordance and rank correlation along an ordinal outcome."""

import itertools

import numpy as np
import pytest
from scipy import stats

from prognosis.evaluation.statistics.auc import auc, auc_interval
from prognosis.evaluation.statistics.ordinal import c_index, c_index_interval, spearman_interval


def draw(n, effect=1.0, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    return np.digitize(effect * score + rng.logistic(size=n), [-1, 0, 0.5, 1, 2, 3]), score


def test_c_index_is_its_definition():
    y, score = draw(40)
    score = score.round(1)  # with ties
    pairs = [(i, j) for i, j in itertools.permutations(range(40), 2) if y[i] < y[j]]
    won = [(score[i] < score[j]) + (score[i] == score[j]) / 2 for i, j in pairs]
    assert c_index(y, score) == pytest.approx(np.mean(won))
    assert c_index(y, -score) == pytest.approx(1 - np.mean(won))
    assert c_index(y, score) == pytest.approx((stats.somersd(y, score).statistic + 1) / 2)


def test_with_two_classes_it_is_the_auc():
    y, score = draw(300)
    y = y > 2
    assert c_index(y, score) == pytest.approx(auc(y, score))
    ours, delong = c_index_interval(y, score), auc_interval(y, score)
    assert ours.low == pytest.approx(delong.low, abs=1e-3)
    assert ours.high == pytest.approx(delong.high, abs=1e-3)


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_intervals_cover_the_truth(effect):
    truth_c = c_index(*draw(20_000, effect, 1))
    truth_r = spearman_interval(*draw(20_000, effect, 1)).estimate
    covered = np.zeros(2)
    for seed in range(400):
        y, score = draw(80, effect, seed + 10)
        found = [c_index_interval(y, score), spearman_interval(y, score)]
        covered += [one.low <= t <= one.high for one, t in zip(found, (truth_c, truth_r))]
    assert (covered / 400 > 0.92).all() and (covered / 400 < 0.98).all()


def test_spearman_is_scipys():
    y, score = draw(50)
    assert spearman_interval(y, score).estimate == pytest.approx(stats.spearmanr(y, score)[0])
    assert spearman_interval(y, np.exp(score)).low == spearman_interval(y, score).low


def test_the_edges():
    perfect = c_index_interval([0, 1, 2, 3], [1, 2, 3, 4])
    assert perfect.estimate == perfect.high == 1 and 0.4 < perfect.low < 0.6
    worst = c_index_interval([0, 1, 2, 3], [4, 3, 2, 1])
    assert worst.estimate == worst.low == 0 and worst.high == pytest.approx(1 - perfect.low)
    assert c_index([0, 1, 2], [5, 5, 5]) == 0.5
    assert np.isnan(c_index([1, 1], [1, 2])) and np.isnan(c_index_interval([1, 1], [1, 2]).low)
    assert np.isnan(spearman_interval([0, 1, 2], [5, 5, 5]).estimate)
    assert spearman_interval([0, 1, 2, 3], [1, 2, 3, 4]).low == 1
    assert np.isnan(spearman_interval([0, 1, 2], [1, 2, 3]).low)


@pytest.mark.parametrize("score", [[0.1, np.nan], [0.1]])
def test_nonsense_is_refused(score):
    for statistic in (c_index, c_index_interval, spearman_interval):
        with pytest.raises(ValueError, match=r"NaN|shape"):
            statistic([0, 1], score)
