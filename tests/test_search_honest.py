"""Where searches leak or go wrong: folds, weights, groups, studies that are shared, pruning."""

from collections import deque

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, r2_score
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_validate,
)
from sklearn.pipeline import make_pipeline

from prognosis import CohortError, OptunaSearch, PatientFolds, compare
from prognosis.search.pruning import ForgivingPruner
from prognosis.search.studies import open_storage

SPACE = {"shift": FloatDistribution(0, 1)}


SEEN = deque()  # no list, whose content would count as part of the code that names it


class Spy(RegressorMixin, BaseEstimator):
    """Remembers what it is fitted to: numbers of rows, weights and groups."""

    def __init__(self, shift=0.5, patient=None):
        self.shift = shift
        self.patient = patient

    def fit(self, X, y, sample_weight=None, groups=None):
        rows = np.asarray(X)[:, 0].astype(int)
        SEEN.append((rows, sample_weight, groups))
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.full(len(X), self.shift)


class Asking(Spy):
    """The same, and metadata routing knows that it wants groups."""

    __metadata_request__fit = {"groups": True}  # noqa: RUF012


@pytest.fixture(autouse=True)
def forget():
    SEEN.clear()


X = np.c_[np.arange(60), np.random.default_rng(0).normal(size=60)]
Y = X[:, 1] * 2
SUBJECTS = np.repeat(np.arange(20), 3)
OPTIONS = {"n_trials": 3, "pruner": None, "random_state": 0}


@pytest.mark.parametrize(
    "cv", [KFold(4, shuffle=True), ShuffleSplit(4), StratifiedKFold(4, shuffle=True)]
)
def test_a_shuffled_splitter_without_seed_gives_every_trial_the_same_folds(cv):
    y = (Y > 0).astype(int) if isinstance(cv, StratifiedKFold) else Y
    search = OptunaSearch(Spy(), SPACE, cv=cv, n_trials=3, pruner=None).fit(X, y)
    fits = [rows.tolist() for rows, _, _ in list(SEEN)[:-1]]
    assert len(fits) == 12 and fits[:4] == fits[4:8] == fits[8:]
    assert fits[:4] == [train.tolist() for train, _ in search.folds_]
    assert SEEN[-1][0].tolist() == list(range(60))  # the refit
    again = clone(search).fit(X, y)
    assert [train.tolist() for train, _ in again.folds_] != fits[:4]
    assert cv.random_state is None


def test_the_random_state_of_a_splitter_is_left_where_it_is():
    state = np.random.RandomState(3)
    OptunaSearch(Spy(), SPACE, cv=KFold(4, shuffle=True, random_state=state), **OPTIONS).fit(X, Y)
    assert state.randint(10**9) == np.random.RandomState(3).randint(10**9)


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("wrap", [lambda model: model, make_pipeline], ids=["plain", "pipeline"])
def test_weights_and_groups_are_those_of_the_rows(routing, wrap):
    weights = np.arange(60) + 0.5
    spy = Asking()
    given, scoring = {"groups": SUBJECTS}, make_scorer(r2_score)
    name = "shift" if wrap(spy) is spy else "asking__shift"
    if routing:
        with config_context(enable_metadata_routing=True):
            spy.set_fit_request(sample_weight=True)
            scoring.set_score_request(sample_weight=False)
        given["sample_weight"] = weights
    elif wrap(spy) is spy:
        given["sample_weight"] = weights
    else:
        given["asking__sample_weight"] = weights
    search = OptunaSearch(wrap(spy), {name: SPACE["shift"]}, cv=3, scoring=scoring, **OPTIONS)
    if not routing and wrap(spy) is not spy:
        del given["asking__sample_weight"]  # scikit-learn routes either the one way or the other
    with config_context(enable_metadata_routing=routing):
        search.fit(X, Y, **given)
    assert len(SEEN) == 3 * 3 + 1
    for rows, weight, groups in SEEN:
        assert np.array_equal(groups, SUBJECTS[rows])
        if "sample_weight" in given:
            assert np.array_equal(weight, weights[rows])
    for train, test in search.folds_:
        assert not set(SUBJECTS[train]) & set(SUBJECTS[test])


def test_scores_are_weighted_by_the_rows_of_the_fold():
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(r2_score).set_score_request(sample_weight=True)
        spy = Spy().set_fit_request(sample_weight=False)
        search = OptunaSearch(spy, SPACE, cv=3, scoring=scorer, **OPTIONS)
        search.fit(X, Y, sample_weight=np.arange(60) + 0.5)
    _, test = search.folds_[0]
    expected = r2_score(Y[test], np.full(len(test), 0.5), sample_weight=test + 0.5)
    assert search.cv_results_["split0_test_score"][0] == pytest.approx(expected)


@pytest.mark.parametrize(
    "spy, cv, groups",
    [
        (Spy(), 4, SUBJECTS),
        (Spy(), GroupKFold(4), SUBJECTS),
        (Spy(patient="subject"), 4, None),
        (Spy(), PatientFolds(4), None),
    ],
    ids=["number", "splitter", "declared", "read from the table"],
)
def test_patients_stay_together(spy, cv, groups):
    table = pd.DataFrame({"row": X[:, 0], "value": X[:, 1], "subject": SUBJECTS})
    search = OptunaSearch(spy, SPACE, cv=cv, **OPTIONS)
    search.fit(table, pd.Series(Y), groups=groups)
    assert len(search.folds_) == 4
    for train, test in search.folds_:
        assert not set(SUBJECTS[train]) & set(SUBJECTS[test])


def test_torn_patients_and_shuffled_outcomes_are_refused():
    with pytest.raises(CohortError, match="is in training and in test of inner fold 1"):
        OptunaSearch(Spy(), SPACE, cv=KFold(4, shuffle=True)).fit(X, Y, groups=SUBJECTS)
    table = pd.DataFrame(X, index=[f"p{i}" for i in range(60)])
    with pytest.raises(CohortError, match="y is in another order than X"):
        OptunaSearch(Spy(), SPACE).fit(table, pd.Series(Y, index=table.index)[::-1])


def test_groups_reach_a_search_inside_of_compare():
    table = pd.DataFrame({"row": X[:, 0], "value": X[:, 1], "subject": SUBJECTS})
    search = OptunaSearch(Spy(), SPACE, cv=3, **OPTIONS)
    compare({"spy": search}, table, pd.Series(Y), cv=3, groups="subject", random_state=0)
    inner = [set(SUBJECTS[rows]) for rows, _, _ in SEEN]
    whole = [patients for patients in inner if len(patients) > 12]
    assert len(SEEN) == 3 * (3 * 3 + 1) and len(whole) == 3
    for patients, (rows, _, _) in zip(inner, SEEN):
        assert len(rows) == 3 * len(patients)


# ------------------------------------------------------------------------------- studies


def names(storage):
    found = optuna.get_all_study_summaries(open_storage(storage), include_best_trial=False)
    return {study.study_name: study.n_trials for study in found}


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_outer_folds_never_share_a_study(tmp_path, kind):
    storage = tmp_path / "study.journal"
    if kind == "sqlite":
        storage = f"sqlite:///{tmp_path}/study.db"
    search = OptunaSearch(Spy(), SPACE, cv=2, storage=storage, study_name="mine", **OPTIONS)
    search.set_params(n_trials=2)
    scores = cross_validate(search, X, Y, cv=2, return_estimator=True)
    found = names(storage)
    assert len(found) == 2 and set(found.values()) == {2}
    assert all(name.startswith("mine-") for name in found)
    assert {fitted.study_.study_name for fitted in scores["estimator"]} == set(found)
    fits = len(SEEN)
    cross_validate(search, X, Y, cv=2)
    assert names(storage) == found and len(SEEN) == fits + 2  # nothing but the last fits


CHANGES = {
    "value": lambda s, X, y: (s, X + 1e-12, y, {}),
    "outcome": lambda s, X, y: (s, X, y + 1e-12, {}),
    "patient": lambda s, X, y: (s, X[:-1], y[:-1], {}),
    "weight": lambda s, X, y: (s, X, y, {"sample_weight": np.ones(len(y))}),
    "groups": lambda s, X, y: (s, X, y, {"groups": np.arange(len(y))}),
    "folds": lambda s, X, y: (s.set_params(cv=3), X, y, {}),
    "space": lambda s, X, y: (s.set_params(space={"shift": FloatDistribution(0, 2)}), X, y, {}),
    "estimator": lambda s, X, y: (s.set_params(estimator__shift=0.25), X, y, {}),
    "scoring": lambda s, X, y: (s.set_params(scoring="r2"), X, y, {}),
    "seed": lambda s, X, y: (s.set_params(random_state=1), X, y, {}),
    "rule": lambda s, X, y: (s.set_params(pruner="auto"), X, y, {}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_input_never_goes_on_with_a_study(tmp_path, change, capsys):
    search = OptunaSearch(Spy(), SPACE, cv=2, storage=tmp_path / "journal", **OPTIONS)
    search.fit(X, Y)
    changed, X2, y2, params = CHANGES[change](clone(search), X, Y)
    changed.set_params(verbose=1).fit(X2, y2, **params)
    assert sorted(names(tmp_path / "journal").values()) == [3, 3]
    assert "a new study, for other" in capsys.readouterr().err


def test_what_changes_no_result_goes_on_with_the_study(tmp_path):
    search = OptunaSearch(Spy(), SPACE, cv=2, storage=tmp_path / "journal", **OPTIONS).fit(X, Y)
    more = clone(search).set_params(n_trials=5, timeout=1000, n_jobs=1, choose="one_se").fit(X, Y)
    assert list(names(tmp_path / "journal").values()) == [5]
    assert np.array_equal(
        more.cv_results_["param_shift"][:3].data, search.cv_results_["param_shift"].data
    )
    fewer = clone(search).set_params(n_trials=2).fit(X, Y)
    assert len(fewer.cv_results_["params"]) == 2


def test_a_study_that_others_made_under_this_name_is_refused(tmp_path):
    storage = tmp_path / "journal"
    search = OptunaSearch(Spy(), SPACE, cv=2, storage=storage, **OPTIONS).fit(X, Y)
    study = optuna.load_study(study_name=search.study_.study_name, storage=open_storage(storage))
    study.set_user_attr("made_from", {"cohort": "another"})
    with pytest.raises(ValueError, match="was made from other input; name another study_name"):
        clone(search).fit(X, Y)


def test_what_has_no_name_is_refused_with_a_storage(tmp_path):
    search = OptunaSearch(Spy(), lambda trial: {"shift": trial.suggest_float("shift", 0, 1)})
    search.set_params(**OPTIONS).fit(X, Y)
    with pytest.raises(ValueError, match=r"its space cannot be pickled .*leave storage out"):
        search.set_params(storage=tmp_path / "journal").fit(X, Y)


def test_where_trials_are_kept_is_no_part_of_a_model(tmp_path):
    from imaging.storage.identity import identity

    one, two = (OptunaSearch(Spy(), SPACE, storage=path) for path in (None, tmp_path / "journal"))
    assert identity(one) == identity(two)
    assert identity(one) != identity(clone(one).set_params(n_trials=3))


# ------------------------------------------------------------------------------- pruning


class Planted(RegressorMixin, BaseEstimator):
    """Scores what it was given, up to how hard a fold is, and noise of its own."""

    def __init__(self, quality=0.5, noise=0.0):
        self.quality = quality
        self.noise = noise

    def fit(self, X, y):
        SEEN.append(self.quality)
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def score(self, X, y):
        fold = int(X[0, 0])
        draw = np.random.default_rng([fold, int(self.quality * 1e9)]).normal()
        return self.quality + 0.05 * fold + self.noise * draw


FOLDED = np.repeat(np.arange(5.0), 4)[:, None], np.zeros(20)


def test_who_is_ahead_on_the_shared_folds_is_never_stopped():
    rng, rule = np.random.default_rng(0), ForgivingPruner()
    stopped = 0
    for _ in range(2000):
        hard = rng.normal(0, 1, 10)
        best = hard + rng.normal(0, 0.5, 10)
        scores = (hard + rng.normal(rng.normal(0, 1), 0.5, 10))[: rng.integers(1, 10)]
        behind = rule.is_behind(scores, best)
        stopped += behind
        if scores.mean() >= best[: len(scores)].mean() or scores.mean() >= best.mean():
            assert not behind
        lost = (scores - best[: len(scores)]).mean()
        if scores.mean() < best.min() and best.mean() + lost < best.min():
            assert behind
    assert 200 < stopped < 1500


def test_pairs_tell_more_than_means():
    best = np.array([0.5, 0.9, 0.6, 0.8, 0.7, 0.55, 0.85])
    rule = ForgivingPruner()
    assert not rule.is_behind(best[:1] - 0.01, best)
    # far above the worst fold, but behind by about as much in each
    assert rule.is_behind(best[:4] - [0.02, 0.03, 0.02, 0.04], best)
    assert not rule.is_behind(best[:4] - [0.02, -0.03, 0.02, 0.04], best)
    assert not rule.is_behind(best[:5], best)
    assert not rule.is_behind([np.nan], best) and not rule.is_behind([0.1], [])


def test_the_best_is_found_with_fewer_folds_and_no_incumbent_is_stopped():
    space = {"quality": FloatDistribution(0, 1), "noise": [0.0, 0.02]}
    options = {"cv": KFold(5), "n_trials": 30, "random_state": 0}
    search = OptunaSearch(Planted(), space, **options).fit(*FOLDED)
    ran = len(SEEN) - 1
    results = search.cv_results_
    assert ran == results["n_folds_run"].sum() < 0.75 * 150
    every = OptunaSearch(Planted(), space, pruner=None, **options).fit(*FOLDED)
    assert search.best_score_ > every.best_score_ - 0.05 and search.best_params_["quality"] > 0.9
    # all that were stopped would have been worse than the best at that time
    best = -np.inf
    for state, params, mean in zip(results["state"], results["params"], results["mean_test_score"]):
        model = Planted(**params)
        whole = np.mean([model.score(np.full((1, 1), fold), None) for fold in range(5)])
        if state == "pruned":
            assert whole < best
        else:
            best = max(best, mean)


def test_few_are_stopped_that_would_have_ended_ahead():
    rng, rule, ahead, lost = np.random.default_rng(0), ForgivingPruner(), 0, 0
    for _ in range(2000):
        best = rng.normal(0, 1, 8)
        scores = best + rng.normal(0, 0.1, 8)  # as good as the best, and ahead of it by chance
        if scores.mean() > best.mean():
            ahead += 1
            lost += any(rule.is_behind(scores[:n], best) for n in range(1, 8))
    assert 900 < ahead < 1100 and lost / ahead < 0.15  # looked at seven times


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("paired", [True, False])
def test_pruners_of_optuna_see_what_they_expect(paired):
    pruner = optuna.pruners.WilcoxonPruner() if paired else optuna.pruners.MedianPruner(2)
    space = {"quality": FloatDistribution(0, 1)}
    search = OptunaSearch(
        Planted(), space, cv=KFold(5), n_trials=20, pruner=pruner, random_state=0
    ).fit(*FOLDED)
    assert (search.cv_results_["state"] == "pruned").any()
    values = search.study_.best_trial.intermediate_values
    assert values[4] - values[3] == pytest.approx(0.05 if paired else 0.025)


def test_real_learners_race():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(100, 30))
    y = (X[:, 0] + rng.normal(size=100) > 0).astype(int)
    space = {"C": FloatDistribution(1e-4, 1e3, log=True)}
    options = {"n_trials": 15, "scoring": "neg_log_loss", "random_state": 0}
    raced, whole = (
        OptunaSearch(LogisticRegression(max_iter=300), space, pruner=pruner, **options).fit(X, y)
        for pruner in ("auto", None)
    )
    assert raced.cv_results_["n_folds_run"].sum() < whole.cv_results_["n_folds_run"].sum()
    assert raced.best_score_ > whole.best_score_ - 0.02
