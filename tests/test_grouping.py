"""Three scans of every patient: wherever folds are made, they are on one side together."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifierCV
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from prognosis import (
    CohortError,
    ImageEmbedding,
    PatientFolds,
    RegionSelector,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    TabularEncoder,
    TemperatureScaled,
    compare,
)
from prognosis.grouping import declared_patient, requests_groups
from prognosis.splits import make_splits
from prognosis.studies.published import build_study

N_PATIENTS, N_SCANS = 24, 3
PAIRS = []  # (patients in training, patients in test) of every prediction that a spy made


class Memorising(ClassifierMixin, BaseEstimator):
    """Knows the outcome of every patient it saw by heart; notes whom it saw and whom it meets."""

    __metadata_request__fit = {"groups": True}  # noqa: RUF012

    def __init__(self, patient=None, shift=0.0):
        self.patient = patient
        self.shift = shift

    def fit(self, X, y, sample_weight=None, *, groups=None):
        if groups is not None:
            assert np.array_equal(groups, X["subject"])  # those of these rows, in their order
        self.told_ = groups is not None
        self.classes_ = np.unique(y)
        self.known_ = dict(zip(X["subject"], np.asarray(y) == self.classes_[1], strict=True))
        return self

    def predict_proba(self, X):
        PAIRS.append((set(self.known_), set(X["subject"])))
        positive = X["subject"].map(lambda one: 0.3 + 0.4 * self.known_.get(one, 0.5)).to_numpy()
        positive = positive + 1e-3 * X["age"].to_numpy() / 100
        return np.c_[1 - positive, positive]

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]

    def embed(self, X):
        return np.c_[X["age"], X["age"] ** 2, np.ones(len(X))]

    def inputs(self, X):
        return {"tabular": self.embed(X)}


class MemorisingUnasked(Memorising):
    """As it is where nobody has thought of metadata routing."""

    __metadata_request__fit = {"groups": False}  # noqa: RUF012

    def fit(self, X, y):
        return super().fit(X, y)


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    subjects = rng.permutation(np.repeat([f"p{k:02}" for k in range(N_PATIENTS)], N_SCANS))
    poor = {f"p{k:02}": k % 2 for k in range(N_PATIENTS)}
    index = [f"scan-{n}" for n in range(len(subjects))]
    X = pd.DataFrame({"subject": subjects, "age": rng.uniform(40, 90, len(subjects))}, index)
    return X, X["subject"].map(poor).rename("poor")


@pytest.fixture(autouse=True)
def nothing_noted():
    PAIRS.clear()


def assert_apart(at_least):
    torn = [train & test for train, test in PAIRS if train & test]
    assert not torn, f"{len(torn)} of {len(PAIRS)} folds know patients that they test: {torn[:1]}"
    assert len(PAIRS) >= at_least


def nothing(X):
    return X


def embedding(spy, **options):
    columns = ["cnn_output", "age"]
    return make_pipeline(
        ImageEmbedding(spy, cv=3, random_state=0, **options),
        TabularEncoder(columns),
        LogisticRegression(),
    )


FOLDS = PatientFolds(3, random_state=0)
SEARCHED = {"shift": [0.0, 0.1]}
# Models that read the patient from the table: a declared column, or PatientFolds.
DECLARED = {
    "temperature": TemperatureScaled(Memorising("subject"), cv=3),
    "temperature of a pipeline": TemperatureScaled(
        make_pipeline(FunctionTransformer(nothing), Memorising("subject")), cv=3
    ),
    "temperature, unasked": TemperatureScaled(MemorisingUnasked("subject"), cv=3),
    "temperature of a search": TemperatureScaled(
        GridSearchCV(MemorisingUnasked(), SEARCHED, cv=FOLDS), cv=3
    ),
    "embedding": embedding(Memorising("subject")),
    "calibration": CalibratedClassifierCV(Memorising(), cv=FOLDS),
    "search": GridSearchCV(MemorisingUnasked(), SEARCHED, cv=FOLDS),
    "stacking": StackingClassifier(
        [("spy", Memorising("subject"))], LogisticRegression(), cv=FOLDS
    ),
    "stacked temperature": StackingClassifier(
        [("spy", TemperatureScaled(Memorising("subject"), cv=3))], LogisticRegression(), cv=FOLDS
    ),
}
# Models that have to be told.
TOLD = {
    "temperature": TemperatureScaled(Memorising(), cv=3),
    "temperature with a splitter": TemperatureScaled(Memorising(), cv=GroupKFold(3)),
    "embedding": embedding(Memorising()),
    "calibration": CalibratedClassifierCV(Memorising(), cv=StratifiedGroupKFold(3)),
    "search": GridSearchCV(MemorisingUnasked(), SEARCHED, cv=StratifiedGroupKFold(3)),
    "search of temperatures": GridSearchCV(
        TemperatureScaled(Memorising(), cv=2), {"estimator__shift": [0.0]}, cv=GroupKFold(3)
    ),
}


@pytest.mark.parametrize("name", DECLARED)
def test_alone_the_table_tells_the_patient(name, cohort):
    X, y = cohort
    clone(DECLARED[name]).fit(X, y)
    assert_apart(at_least=3)


@pytest.mark.parametrize("name", DECLARED)
def test_in_compare_a_declared_patient_needs_no_groups(name, cohort):
    result = compare({"spy": DECLARED[name]}, *cohort, cv=2, random_state=0)
    assert_apart(at_least=8)
    assert result.metadata["n_groups"] == N_PATIENTS


@pytest.mark.parametrize("name", TOLD)
def test_in_compare_groups_reach_every_inner_fold(name, cohort):
    X, y = cohort
    by_name = compare({"spy": TOLD[name]}, X, y, cv=2, groups="subject", random_state=0)
    assert_apart(at_least=8)
    by_value = compare({"spy": TOLD[name]}, X, y, cv=2, groups=X["subject"], random_state=0)
    pd.testing.assert_frame_equal(by_name.predictions, by_value.predictions)


def test_groups_reach_what_is_held(cohort):
    X, y = cohort
    fitted = TemperatureScaled(Memorising(), cv=3).fit(X, y, groups=X["subject"])
    assert fitted.estimator_.told_
    assert_apart(at_least=3)
    piped = make_pipeline(FunctionTransformer(nothing), Memorising())
    fitted = TemperatureScaled(piped, cv=3).fit(X, y, groups=X["subject"])
    assert fitted.estimator_[-1].told_
    fitted = ImageEmbedding(Memorising(), cv=3).fit(X, y, groups=X["subject"])
    assert all(model.told_ for model in fitted.estimators_)


def test_a_fit_with_a_place_for_groups_gets_them_though_it_does_not_ask(cohort):
    class Silent(Memorising):
        __metadata_request__fit = {"groups": None}  # noqa: RUF012

    X, y = cohort
    assert not requests_groups(Silent())
    assert TemperatureScaled(Silent(), cv=3).fit(X, y, groups=X["subject"]).estimator_.told_


def test_region_selection_keeps_patients_together(cohort, monkeypatch):
    from prognosis.explanation import selection

    class Spy(RoiSymbolClassifier):
        def fit(self, X, y, sample_weight=None, groups=None):
            self.seen_ = set(X["subject"])
            return self

    def shares(model, X):
        PAIRS.append((model.seen_, set(X["subject"])))
        return pd.DataFrame(1.0, X.index, list(model.mosaic_.regions))

    monkeypatch.setattr(selection, "_region_shares", shares)
    X, y = cohort
    spy = Spy("t1w", regions=2, patient="subject")
    selector = RegionSelector(spy, k=1, by="saliency", cv=3, n_patients=None, random_state=0)
    selector.fit(X, y)
    assert_apart(at_least=3)
    told = clone(selector).set_params(estimator__patient=None)
    told.fit(X, y, groups=X["subject"])
    assert_apart(at_least=6)
    assert requests_groups(told)
    told.set_params(cv=StratifiedKFold(3))
    with pytest.raises(
        CohortError, match=r"group 'p.*' is in training and in test of inner fold 1"
    ):
        told.fit(X, y, groups=X["subject"])


def test_models_that_do_not_ask_are_fitted_as_ever(cohort):
    from sklearn import get_config

    class Plain(MemorisingUnasked):
        def fit(self, X, y):
            assert not get_config()["enable_metadata_routing"]
            return super().fit(X, y)

    compare({"spy": Plain()}, *cohort, cv=3, groups="subject", random_state=0)
    assert_apart(at_least=3)


# ------------------------------------------------------------------------ the splitter


def test_folds_are_whole_stratified_and_reproducible(cohort):
    X, y = cohort
    folds = list(PatientFolds(4, random_state=1).split(X, y))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(X)))
    for train, test in folds:
        assert not set(X["subject"].iloc[train]) & set(X["subject"].iloc[test])
        assert y.iloc[test].mean() == pytest.approx(0.5, abs=0.01)
    again = list(PatientFolds(4, random_state=1).split(X, y))
    other = list(PatientFolds(4, random_state=2).split(X, y))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(folds, again, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(folds, other, strict=True))
    assert PatientFolds(4).get_n_splits(X) == 4
    assert "n_splits=4" in repr(PatientFolds(4))


@pytest.mark.parametrize(
    "outcome",
    [
        lambda y: y.map({0: "good", 1: "poor"}),
        lambda y: y.astype(bool),
        lambda y: y.astype("category"),
        lambda y: y.astype("Int64"),
        lambda y: y.to_numpy(),
        lambda y: y + np.linspace(0, 1, len(y)),
        lambda y: np.arange(len(y)),
        lambda y: None,
    ],
)
def test_every_kind_of_outcome_is_divided(outcome, cohort):
    X, y = cohort
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = list(PatientFolds(3, random_state=0).split(X, outcome(y)))
    for train, test in folds:
        assert len(test) and not set(X["subject"].iloc[train]) & set(X["subject"].iloc[test])


def test_the_column_comes_before_groups_and_groups_do_where_there_is_none(cohort):
    X, y = cohort
    site = np.arange(len(X)) % 6
    for train, test in PatientFolds(3).split(X, y, site):
        assert not set(X["subject"].iloc[train]) & set(X["subject"].iloc[test])
    for splitter in (PatientFolds(3), PatientFolds(3, patient=None)):
        for train, test in splitter.split(X[["age"]], y, site):
            assert not set(site[train]) & set(site[test])
        for train, test in splitter.split(np.zeros((len(X), 2)), y, site):
            assert not set(site[train]) & set(site[test])


def test_it_works_in_scikit_learn_as_it_is(cohort):
    X, y = cohort
    cross_validate(MemorisingUnasked(), X, y, cv=FOLDS)
    assert_apart(at_least=3)
    assert len(make_splits(FOLDS, X, y, classification=True)) == 3


def test_what_cannot_be_divided_is_refused(cohort):
    X, y = cohort
    with pytest.raises(CohortError, match="looks for column 'subject', and X is ndarray"):
        next(PatientFolds().split(X.to_numpy(), y))
    with pytest.raises(CohortError, match="looks for column 'who', and the table has 'subject', "):
        next(PatientFolds(patient="who").split(X, y))
    with pytest.raises(CohortError, match="row 'scan-4': no group"):
        next(PatientFolds().split(X.assign(subject=X["subject"].where(X.index != "scan-4")), y))
    with pytest.raises(CohortError, match="30 folds need at least 30 patients, found 24"):
        next(PatientFolds(30).split(X, y))
    with pytest.raises(CohortError, match="y is in another order than X"):
        next(PatientFolds().split(X, y[::-1]))
    mixed = np.array([1, "a"] * 36, dtype=object)
    with pytest.raises(CohortError, match="groups mix int and str"):
        next(PatientFolds(patient=None).split(X, y, mixed))


# ---------------------------------------------------------------------------- refusals


def test_torn_patients_and_contradictions_are_refused(cohort):
    X, y = cohort
    torn = TemperatureScaled(Memorising("subject"), cv=StratifiedKFold(3))
    with pytest.raises(CohortError, match="is in training and in test of inner fold 1"):
        torn.fit(X, y)
    with pytest.raises(CohortError, match="column 'who' not found"):
        TemperatureScaled(Memorising("who")).fit(X, y)
    with pytest.raises(CohortError, match="column 'who' not found"):
        compare({"spy": Memorising()}, X, y, groups="who")
    both = {"one": Memorising("subject"), "other": Memorising("age")}
    with pytest.raises(ValueError, match="'one' declares patient='subject' and 'other' 'age'"):
        compare(both, X, y)
    pipeline = make_pipeline(ImageEmbedding(Memorising("age")), Memorising("subject"))
    with pytest.raises(ValueError, match="name one patient column"):
        declared_patient(pipeline)
    # PatientFolds with nowhere to look, inside a meta-estimator that is not told
    lost = StackingClassifier(
        [("spy", Memorising())], LogisticRegression(), cv=PatientFolds(3, patient="who")
    )
    with pytest.raises(CohortError, match="looks for column 'who'"):
        lost.fit(X, y)
    # stacking would hand groups to its final estimator, too
    told = StackingClassifier(
        [("spy", TemperatureScaled(Memorising(), cv=3))], LogisticRegression(), cv=FOLDS
    )
    for model in (told, make_pipeline(FunctionTransformer(nothing), told)):
        with pytest.raises(CohortError, match=r"StackingClassifier cannot hand groups to .* 'spy'"):
            compare({"told": model}, X, y, groups="subject")


@pytest.mark.parametrize(
    "model",
    [
        GridSearchCV(MemorisingUnasked(), SEARCHED),
        make_pipeline(CalibratedClassifierCV(MemorisingUnasked(), cv=3)),
        StackingClassifier(
            [("a", MemorisingUnasked())], LogisticRegression(), cv=StratifiedKFold(3)
        ),
        make_pipeline(TabularEncoder(["age"]), RidgeClassifierCV()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_warning_names_folds_that_groups_do_not_reach(model, cohort):
    from prognosis.evaluation.protocol.inputs import warn_of_torn_folds

    with pytest.warns(UserWarning, match="model 'a': the folds of .*cv=.*PatientFolds"):
        warn_of_torn_folds({"a": model})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_torn_folds(DECLARED | TOLD)


SHUFFLED = "y is in another order than X; sort it"


@pytest.mark.parametrize(
    "model",
    [
        TemperatureScaled(Memorising(), cv=3),
        ImageEmbedding(Memorising(), cv=3),
        RegionSelector(RoiSymbolClassifier("t1w", regions=2), k=1),
        TemperatureScaled(StitchedSliceClassifier(tabular=["age"], epochs=1), cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_outcome_of_other_patients_is_refused(model, cohort):
    X, y = cohort
    with pytest.raises(CohortError, match=SHUFFLED):
        clone(model).fit(X, y[::-1])
    with pytest.raises(CohortError, match="y has a row 'q0' that X has not"):
        clone(model).fit(X, y.rename(index={"scan-0": "q0"}))
    with pytest.raises(CohortError, match="X has a row 'scan-1' that y has not"):
        clone(model).fit(X, y.set_axis(["scan-0", "scan-0", *X.index[2:]]))


# ----------------------------------------------------------------------------- studies


@pytest.mark.parametrize("classification", [True, False])
def test_a_study_with_a_patient_column_divides_by_it_everywhere(classification, monkeypatch):
    from prognosis.evaluation.protocol.inputs import warn_of_torn_folds
    from prognosis.studies import published

    def measured(X, *further):
        return X.assign(lesion_ml=X["nihss"] ** 2.0, insula=X["nihss"] / 25), ["insula"]

    monkeypatch.setattr(published, "_measure", measured)
    subjects = np.repeat(np.arange(20), 3)
    nihss = np.random.default_rng(0).integers(0, 25, 60)
    X = pd.DataFrame({"subject": subjects, "nihss": nihss, "lesion": None, "t1w": None})
    y = X["subject"] % 2 if classification else X["subject"] + 0.5
    study = build_study(
        X,
        y,
        image="t1w",
        lesion="lesion",
        tabular=["nihss"],
        patient="subject",
        classification=classification,
        random_state=0,
    )
    search = study.models["regions + tabular"]
    stacked = study.models["stitched T1w + tabular, stacked"]
    for folds in (search.cv, stacked.cv):
        assert isinstance(folds, PatientFolds) and folds.patient == "subject"
    for name in ("stitched T1w", "stitched T1w + tabular"):
        assert study.models[name].patient == "subject"
    assert stacked.get_params()["cnn__patient"] == "subject"
    dividing = [name for name in list(study.models)[2:] if name != "number + tabular"]
    assert {declared_patient(study.models[name]) for name in dividing} == {"subject"}
    if not classification:
        # no RidgeCV, which leaves out single rows
        assert isinstance(stacked.final_estimator, Ridge)
        assert isinstance(search.estimator[-1], Ridge)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_torn_folds(study.models)
    fitted = clone(search).fit(study.X, y)
    assert np.isfinite(fitted.predict(study.X).astype(float)).all()
