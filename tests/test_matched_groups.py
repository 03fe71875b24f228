"""Groups that are alike, and the lock-box that opens once."""

import numpy as np
import pandas as pd
import pytest

from prognosis import CohortError, LockBoxError, MatchedGroups, compare, logistic_ladder


@pytest.fixture
def cohort():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "lesion_ml": rng.gamma(1, 40, 203),
            "nihss": rng.integers(0, 30, 203).astype(float),
            "sex": rng.choice(["F", "M", None], 203, p=[0.5, 0.45, 0.05]),
        },
        index=[f"sub-{n:03}" for n in range(203)],
    )
    X.loc[X.index[:20], "nihss"] = np.nan
    y = pd.Series((rng.random(203) < 0.3).astype(int), X.index)
    return X, y


MATCH = ["lesion_ml", "nihss", "sex"]


def test_groups_are_alike_in_means_spreads_and_shares(cohort):
    X, y = cohort
    groups = MatchedGroups(5, match=MATCH)
    numbers = groups.assign(X, y)
    assert sorted(np.bincount(numbers)[1:]) == [40, 40, 41, 41, 41]
    table = groups.balance_table(X, y)
    assert {"lesion_ml", "nihss missing", "sex = F", "sex missing", "outcome = 1"} <= {*table.index}
    assert list(table.columns[-2:]) == ["lock-box", "largest_difference"]
    assert table["largest_difference"].max() < 0.1
    spreads = X.groupby(numbers)["lesion_ml"].std()
    assert spreads.max() / spreads.min() < 1.3
    random = pd.Series(np.random.default_rng(1).permutation(numbers), X.index)
    by_chance = (X.groupby(random)["lesion_ml"].mean() - X["lesion_ml"].mean()).abs().max()
    matched = (X.groupby(numbers)["lesion_ml"].mean() - X["lesion_ml"].mean()).abs().max()
    assert matched < by_chance / 2


def test_folds_leave_the_lock_box_alone(cohort):
    X, y = cohort
    groups = MatchedGroups(5, match=MATCH)
    folds = list(groups.split(X, y))
    assert len(folds) == groups.get_n_splits() == 4
    locked = np.flatnonzero(groups.assign(X, y) == 5)
    for train, test in folds:
        assert not np.intersect1d(train, test).size
        assert not np.intersect1d(np.r_[train, test], locked).size
    assert sorted(np.concatenate([test for _, test in folds])) == sorted({*range(203)} - {*locked})
    again = MatchedGroups(5, match=MATCH)
    np.testing.assert_array_equal(again.assign(X, y), groups.assign(X, y))
    other = MatchedGroups(5, match=MATCH, random_state=1)
    assert not np.array_equal(other.assign(X, y), groups.assign(X, y))


def test_compare_takes_them(cohort):
    X, y = cohort
    groups = MatchedGroups(5, match=MATCH)
    models = logistic_ladder([["lesion_ml"], ["lesion_ml", "nihss"]])
    result = compare(models, X, y, cv=groups)
    assert len(result.folds) == 2 * 4
    unlocked = X.index[groups.assign(X, y) < 5]
    assert set(result.predictions["patient"]) == set(unlocked)


def test_the_lock_box_opens_once_and_says_so(cohort, tmp_path, capsys):
    X, y = cohort
    record = tmp_path / "lock-box.json"
    groups = MatchedGroups(5, match=MATCH, record=record)
    train, test = groups.open_lock_box(X, y)
    np.testing.assert_array_equal(test, np.flatnonzero(groups.assign(X, y) == 5))
    assert len(train) + len(test) == 203
    assert "Lock-box opened: 4" in capsys.readouterr().out
    for later in (groups, MatchedGroups(5, match=MATCH, record=record)):
        with pytest.raises(LockBoxError, match="was opened on 20"):
            later.open_lock_box(X, y)
    # An honour system, as the docstring says: a new object without the record knows nothing.
    MatchedGroups(5, match=MATCH).open_lock_box(X, y)
    said = " ".join(MatchedGroups.__doc__.split())
    assert "honour system" in said and "after deleting `record`" in said
    assert "cannot be opened again" not in capsys.readouterr().out


def test_bad_use_is_refused(cohort):
    X, _ = cohort
    with pytest.raises(CohortError, match="column 'nihs' not found"):
        MatchedGroups(match=["nihs"]).assign(X)
    with pytest.raises(ValueError, match="nothing to match"):
        MatchedGroups().assign(X)
    with pytest.raises(ValueError, match=r"'n_groups' .* must be an int in the range \[3, inf\)"):
        MatchedGroups(2, match=MATCH).assign(X)
    with pytest.raises(CohortError, match="need at least 10 patients, found 9"):
        MatchedGroups(5, match=MATCH).assign(X[:9])
