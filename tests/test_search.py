"""`OptunaSearch` keeps scikit-learn's contract: names, shapes and results of its own searches."""

import pickle

import numpy as np
import optuna
import pytest
from joblib import parallel_config
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from prognosis import CohortError, OptunaSearch, compare
from prognosis.search.results import within_one_se
from prognosis.search.running import Budget
from prognosis.search.spaces import Space

PENALTY = FloatDistribution(1e-3, 1e2, log=True)
SPACE = {"C": PENALTY}


@pytest.fixture(scope="module")
def table():
    return make_classification(90, 12, n_informative=3, flip_y=0.2, random_state=0)


@pytest.fixture(scope="module")
def found(table):
    search = OptunaSearch(
        LogisticRegression(), SPACE, n_trials=12, scoring="neg_log_loss", random_state=0
    )
    return search.fit(*table)


def test_a_grid_gives_what_grid_search_gives(table):
    grid = {"max_depth": [1, 2, 3], "criterion": ["gini", "entropy"]}
    model, folds = DecisionTreeClassifier(random_state=0), StratifiedKFold(4)
    scoring = ["accuracy", "roc_auc"]
    theirs = GridSearchCV(
        model, grid, cv=folds, scoring=scoring, refit="roc_auc", return_train_score=True
    ).fit(*table)
    search = OptunaSearch(
        model,
        grid,
        cv=folds,
        n_trials=6,
        scoring=scoring,
        refit="roc_auc",
        return_train_score=True,
        sampler=optuna.samplers.GridSampler(grid, seed=0),
        pruner=None,
    ).fit(*table)
    ours = search.cv_results_
    assert set(theirs.cv_results_) <= set(ours)
    order = [ours["params"].index(params) for params in theirs.cv_results_["params"]]
    for name, values in theirs.cv_results_.items():
        if "time" not in name and "rank" not in name and name != "params":
            assert np.array_equal(ours[name][order], values), name
    assert search.best_score_ == theirs.best_score_
    assert search.multimetric_ and set(search.scorer_) == set(scoring)
    assert search.score(*table) == pytest.approx(
        theirs.scorer_["roc_auc"](search.best_estimator_, *table)
    )


def test_a_sampler_that_has_nothing_left_ends_the_search(table):
    grid = {"max_depth": [1, 2]}
    sampler = optuna.samplers.GridSampler(grid, seed=0)
    search = OptunaSearch(DecisionTreeClassifier(), grid, n_trials=50, cv=2, sampler=sampler)
    assert len(search.fit(*table).cv_results_["params"]) == 2


def test_pruned_trials_are_rows_that_say_so(found):
    table = found.cv_results_
    pruned = table["state"] == "pruned"
    assert 0 < pruned.sum() < 12 == len(pruned)
    assert (table["n_folds_run"][pruned] < 5).all() and (table["n_folds_run"][~pruned] == 5).all()
    assert np.isnan(table["mean_test_score"][pruned]).all()
    assert np.isfinite(table["mean_test_score"][~pruned]).all()
    assert np.isnan(table["split4_test_score"][pruned]).all()
    assert np.isfinite(table["split0_test_score"]).all()
    assert np.isfinite(table["mean_fit_time"]).all()
    assert found.best_index_ == np.nanargmax(table["mean_test_score"])
    assert table["rank_test_score"][found.best_index_] == 1
    assert found.best_params_ == table["params"][found.best_index_]
    assert len(found.study_.trials) == 12


def test_the_first_trial_is_the_estimator_as_given(table, found):
    assert found.cv_results_["param_C"][0] == 1.0
    outside = OptunaSearch(LogisticRegression(C=1e9), SPACE, n_trials=1, cv=2, random_state=0)
    assert 1e-3 <= outside.fit(*table).best_params_["C"] <= 1e2


def test_a_seed_gives_the_same_trials_whatever_runs_at_once(table, found):
    again = clone(found).set_params(n_jobs=3)
    with parallel_config(backend="threading"):
        again.fit(*table)
    for name in ("state", "n_folds_run", "mean_test_score", "split0_test_score", "param_C"):
        left, right = (np.ma.filled(s.cv_results_[name]) for s in (again, found))
        assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f"), name
    assert np.array_equal(again.predict_proba(table[0]), found.predict_proba(table[0]))
    other = clone(found).set_params(random_state=1).fit(*table)
    assert not np.array_equal(other.cv_results_["param_C"], found.cv_results_["param_C"])


def test_no_global_random_state_is_touched(table):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    search = OptunaSearch(LogisticRegression(), SPACE, n_trials=2, cv=KFold(3, shuffle=True))
    one, two = (clone(search).fit(*table) for _ in range(2))
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert one.cv_results_["param_C"][1] != two.cv_results_["param_C"][1]


def test_pickles_need_no_storage(table, tmp_path):
    path = tmp_path / "studies" / "study.journal"
    search = OptunaSearch(LogisticRegression(), SPACE, n_trials=3, storage=path, random_state=0)
    search.fit(*table)
    content = pickle.dumps(search)
    path.unlink()
    again = pickle.loads(content)
    assert np.array_equal(again.predict(table[0]), search.predict(table[0]))
    assert [trial.params for trial in again.study_.trials] == [
        trial.params for trial in search.study_.trials
    ]


def conditional(trial):
    """Which estimator, and then its own parameters."""
    kind = trial.suggest_categorical("kind", ["svm", "tree"])
    if kind == "svm":
        return {"model": SVC(), "model__C": trial.suggest_float("svm_C", 0.1, 10, log=True)}
    return {
        "model": DecisionTreeClassifier(random_state=0),
        "model__max_depth": trial.suggest_int("depth", 1, 3),
    }


def test_a_function_chooses_what_depends_on_other_choices(table):
    from sklearn.pipeline import Pipeline

    model = Pipeline([("scale", StandardScaler()), ("model", DummyClassifier())])
    search = OptunaSearch(model, conditional, n_trials=10, random_state=0, pruner=None).fit(*table)
    rows = search.cv_results_
    assert rows["param_model__C"].mask.any() and rows["param_model__max_depth"].mask.any()
    assert np.array_equal(rows["param_model__C"].mask, ~rows["param_model__max_depth"].mask)
    assert type(search.best_estimator_["model"]) is type(search.best_params_["model"])
    assert search.best_score_ > 0.6
    # what is in the table was not fitted
    assert not hasattr(search.best_params_["model"], "classes_")


def test_choices_of_any_kind():
    space = Space(
        {
            "columns": [["age"], ["age", "nihss"]],
            "model": [Ridge(), Ridge(alpha=2)],
            "plain": [None, 1, "a"],
            "pieces": IntDistribution(2, 8, step=2),
        },
        Ridge(),
    )
    suggested = [
        space.suggest(optuna.trial.FixedTrial(params))
        for params in (
            {"columns": '["age"]', "model": "Ridge()", "plain": None, "pieces": 4},
            {"columns": "['age', 'nihss']", "model": "Ridge(alpha=2)", "plain": "a", "pieces": 2},
        )
        if params["columns"] in space.choices["columns"]
    ]
    assert suggested[-1]["columns"] == ["age", "nihss"] and suggested[-1]["model"].alpha == 2
    assert suggested[-1]["plain"] == "a" and suggested[-1]["pieces"] == 2


def test_distance_from_the_estimators_own_parameters():
    space = Space({"C": FloatDistribution(0.01, 100, log=True)}, LogisticRegression())
    trial = optuna.trial.create_trial(
        params={"C": 100.0}, distributions=space.distributions, value=0.0
    )
    assert space.distance(trial) == pytest.approx(0.5)


class Planted(RegressorMixin, BaseEstimator):
    """Scores what its parameter says, up to how hard a fold is."""

    def __init__(self, quality=0.5, fails=False):
        self.quality = quality
        self.fails = fails

    def fit(self, X, y):
        if self.fails == "cohort":
            raise CohortError("row 'p3': no scan")
        if self.fails:
            raise RuntimeError("diverged")
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def score(self, X, y):
        return self.quality + np.mean(X)


ROWS = np.repeat([[0.0], [0.1], [0.2], [0.3]], 5, axis=0), np.zeros(20)


def test_one_standard_error():
    folds, wave = np.array([0.2, 0.9, 0.4, 0.6]), np.array([0.1, -0.1, 0.1, -0.1])
    near = np.array([folds + wave, folds - wave, folds + 0.02])  # by chance
    assert within_one_se(near, [0.5, 0.0, 1.0]) == 1
    near[2] += 0.2
    assert within_one_se(near, [0.5, 0.0, 1.0]) == 2
    near[2, 3] = np.nan  # stopped
    assert within_one_se(near, [0.5, 0.0, 1.0]) == 1


def test_what_is_better_in_every_fold_is_taken_however_much_folds_differ():
    options = {"cv": 4, "n_trials": 10, "random_state": 0, "pruner": None}
    space = {"quality": FloatDistribution(0.5, 0.55)}  # folds differ by .3
    best = OptunaSearch(Planted(), space, **options).fit(*ROWS)
    cautious = OptunaSearch(Planted(), space, choose="one_se", **options).fit(*ROWS)
    assert cautious.best_params_ == best.best_params_ and best.best_params_["quality"] > 0.52


def test_a_callable_refit_chooses_the_row():
    def third(results):
        assert "state" in results
        return 2

    search = OptunaSearch(
        Planted(), {"quality": FloatDistribution(0, 1)}, refit=third, cv=2, n_trials=4, pruner=None
    ).fit(*ROWS)
    assert search.best_index_ == 2
    assert search.best_estimator_.quality == search.cv_results_["param_quality"][2]


def test_fits_that_fail_are_told_and_not_chosen():
    space = {"quality": [0.5, 0.7], "fails": [False, True]}
    search = OptunaSearch(Planted(), space, cv=4, n_trials=12, random_state=0)
    with pytest.warns(FitFailedWarning, match="diverged"):
        search.fit(*ROWS)
    failed = search.cv_results_["state"] == "failed"
    assert failed.any() and (search.cv_results_["n_folds_run"][failed] == 1).all()
    assert search.cv_results_["param_fails"][failed].all()
    assert search.best_params_ == {"quality": 0.7, "fails": False}
    with pytest.raises(RuntimeError, match="diverged"):
        search.set_params(error_score="raise").fit(*ROWS)
    assert not hasattr(search, "best_params_")
    hopeless = OptunaSearch(Planted(fails=True), {"quality": [0.5]}, n_trials=2)
    with pytest.raises(RuntimeError, match="diverged"):  # the error itself, not that all failed
        hopeless.fit(*ROWS)


def nan(estimator, X, y):
    return np.nan


def not_computable(estimator, X, y):
    raise ZeroDivisionError("no events")


def test_scores_that_are_none_are_told():
    search = OptunaSearch(Planted(), {"quality": [0.5, 0.7]}, cv=2, n_trials=2)
    with pytest.raises(ValueError, match="none of 2 trials has a score in every fold"):
        search.set_params(scoring=nan).fit(*ROWS)
    with pytest.raises(ValueError, match=r"(?s)All the 2 fits failed.*no events"):
        search.set_params(scoring=not_computable).fit(*ROWS)


def test_a_cohort_that_cannot_be_used_is_said_at_once():
    search = OptunaSearch(Planted(fails="cohort"), {"quality": [0.5, 0.7]}, cv=2)
    with pytest.raises(CohortError, match="row 'p3': no scan"):
        search.fit(*ROWS)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"space": {}}, "space is {}; give a dict of parameters"),
        ({"space": {"quality": 0.3}}, r"space\['quality'\] is 0.3; give an Optuna distribution"),
        ({"space": {"depth": [1, 2]}}, "Invalid parameter 'depth'"),
        ({"space": lambda trial: None}, "function returned None; let it return a dict"),
        ({"pruner": "median"}, "pruner='median': give \"auto\""),
        ({"storage": 3}, "storage=3: give the path of a journal file"),
        ({"sampler": lambda seed: seed}, r"sampler\(seed=...\) returned .*; give a class"),
        ({"scoring": lambda e, X, y: {"a": 1, "b": 2}}, r"several scores \(a, b\) and refit=True"),
        ({"scoring": ["r2", "neg_max_error"]}, "refit"),
        ({"n_trials": 0}, "'n_trials' parameter"),
    ],
)
def test_refusals(change, message):
    search = OptunaSearch(Planted(), {"quality": [0.5, 0.7]}, cv=2)
    with pytest.raises(ValueError, match=message):
        search.set_params(**change).fit(*ROWS)


def test_a_timeout_leaves_a_fitted_model():
    search = OptunaSearch(Planted(), {"quality": [0.5, 0.7]}, cv=2, timeout=1e-9).fit(*ROWS)
    assert list(search.cv_results_["state"]) == ["complete"]
    assert search.best_estimator_.fitted_


def test_no_trial_is_begun_that_cannot_end_in_time():
    import datetime

    study = optuna.create_study()
    start = datetime.datetime(2026, 1, 1)
    budget = Budget(10, timeout=100)
    assert budget.allows_trial(study)
    for seconds in (40, 60):  # a trial takes 50 seconds, a fit ten
        trial = optuna.trial.create_trial(
            value=0.0, user_attrs={"folds": [{"fit_time": 10.0}], "state": "complete"}
        )
        trial.datetime_start = start
        trial.datetime_complete = start + datetime.timedelta(seconds=seconds)
        study.add_trial(trial)
    budget.left = lambda: 61
    assert budget.allows_trial(study)
    budget.left = lambda: 59
    assert not budget.allows_trial(study)


def test_inside_of_cross_validate_and_compare(tabular_cohort, poor_outcome):
    from prognosis import TabularEncoder

    X, _ = tabular_cohort
    model = make_pipeline(TabularEncoder(["nihss", "lesion_ml"]), LogisticRegression())
    search = OptunaSearch(
        model, {"logisticregression__C": PENALTY}, cv=3, n_trials=3, random_state=0
    )
    scores = cross_validate(search, X, poor_outcome, cv=3, return_estimator=True)
    assert len(scores["estimator"][0].cv_results_["state"]) == 3
    assert {e.study_.trials[1].params["logisticregression__C"] for e in scores["estimator"]}
    result = compare({"as is": model, "searched": search}, X, poor_outcome, cv=3, random_state=0)
    assert result.table.loc["searched", "auc"] > 0.7
