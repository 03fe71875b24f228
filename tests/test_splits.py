"""Who is trained on and who is tested on: as many folds as asked for, nobody on both sides."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold, KFold

from prognosis import CohortError
from prognosis.splits import make_splits, parse_cv


@pytest.mark.parametrize(
    ("cv", "expected"), [(5, (5, 1)), ("5", (5, 1)), ("5x2", (5, 2)), (" 10 × 3", (10, 3))]
)
def test_strings(cv, expected):
    assert parse_cv(cv) == expected


@pytest.mark.parametrize("cv", ["five", "5x", "x2", "1x5", "5x0", 1, 0, -3, True, "5.5"])
def test_nonsense_is_refused(cv):
    with pytest.raises(ValueError, match="cv="):
        parse_cv(cv)


def test_repeats_differ_and_every_patient_is_tested_once_in_each(tabular_cohort, poor_outcome):
    X, _ = tabular_cohort
    splits = make_splits("5x2", X, poor_outcome, classification=True, random_state=0)
    for repeat in (1, 2):
        tested = np.concatenate([s.test for s in splits if s.repeat == repeat])
        assert sorted(tested) == list(range(len(X)))
    assert not np.array_equal(splits[0].test, splits[5].test)
    share = (poor_outcome == "poor").mean()
    for split in splits:
        assert (poor_outcome.iloc[split.test] == "poor").mean() == pytest.approx(share, abs=0.03)


def test_a_seed_gives_the_same_folds(tabular_cohort, poor_outcome):
    def tests(seed):
        drawn = make_splits(
            "5x2", tabular_cohort[0], poor_outcome, classification=True, random_state=seed
        )
        return [s.test.tolist() for s in drawn]

    assert tests(3) == tests(3)
    assert tests(3) != tests(4)


@pytest.mark.parametrize("classification", [True, False])
def test_groups_stay_together(tabular_cohort, poor_outcome, classification):
    X, mrs = tabular_cohort
    groups = np.arange(len(X)) // 3
    y = poor_outcome if classification else mrs
    splits = make_splits("4x2", X, y, classification=classification, groups=groups, random_state=0)
    assert len(splits) == 8
    for split in splits:
        assert not set(groups[split.train]) & set(groups[split.test])


@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
def test_a_splitter_that_tears_groups_apart_is_refused(tabular_cohort, poor_outcome):
    groups = np.arange(len(poor_outcome)) // 5
    with pytest.raises(CohortError, match=r"group .* is in training and in test"):
        make_splits(KFold(5), tabular_cohort[0], poor_outcome, classification=True, groups=groups)
    make_splits(GroupKFold(5), tabular_cohort[0], poor_outcome, classification=True, groups=groups)


def test_groups_must_fit(tabular_cohort, poor_outcome):
    X, _ = tabular_cohort
    with pytest.raises(CohortError, match="groups has shape"):
        make_splits(5, X, poor_outcome, classification=True, groups=[1, 2])
    with pytest.raises(CohortError, match=r"groups\.loc"):
        groups = pd.Series(range(len(X)), index=X.index[::-1])
        make_splits(5, X, poor_outcome, classification=True, groups=groups)
    with pytest.raises(CohortError, match="'p0': no group"):
        groups = np.r_[np.nan, np.arange(len(X) - 1)]
        make_splits(5, X, poor_outcome, classification=True, groups=groups)


def test_one_class_only_in_a_fold(tabular_cohort, poor_outcome):
    y = poor_outcome.sort_values()
    X = tabular_cohort[0].loc[y.index]
    with pytest.raises(CohortError, match=r"fold 1: none of its 60 training .*'good'"):
        make_splits(KFold(2), X, y, classification=True)


def test_rare_class(tabular_cohort, poor_outcome):
    y = poor_outcome.copy()
    y.iloc[0] = "dead"
    with pytest.raises(CohortError, match="class 'dead' has 1 patients, fewer than the 5"):
        make_splits(5, tabular_cohort[0], y, classification=True)


def test_too_few_patients(tabular_cohort):
    X, mrs = tabular_cohort
    with pytest.raises(CohortError, match="at least 10 patients, found 4"):
        make_splits(10, X.iloc[:4], mrs.iloc[:4], classification=False)


def test_pairs_of_row_numbers(tabular_cohort, poor_outcome):
    X, _ = tabular_cohort
    rows = np.arange(len(X))
    pairs = [(rows[40:], rows[:40]), (rows[:40], rows[40:]), (rows[20:], rows[:20])]
    splits = make_splits(pairs, X, poor_outcome, classification=True)
    assert [str(s) for s in splits] == [
        "repeat 1, fold 1",
        "repeat 1, fold 2",
        "repeat 2, fold 1",
    ]
    with pytest.raises(CohortError, match="'p5' is in training and in test"):
        make_splits([(rows[5:], rows[:6])], X, poor_outcome, classification=True)
    with pytest.raises(CohortError, match="no folds"):
        make_splits([], X, poor_outcome, classification=True)
    with pytest.raises(ValueError, match="not understood"):
        make_splits(3.5, X, poor_outcome, classification=True)
