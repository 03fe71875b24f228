"""Compare models on the same folds of the same patients.

`compare` fits; the `Comparison` that it returns holds what came out.
"""

import numpy as np
import pandas as pd

from ...columns import check_cohort
from ...splits import make_splits
from ..statistics.characteristics import describe_patients, named_columns
from ..statistics.scores import fold_scores
from ..statistics.thresholds import at_threshold
from .inputs import (
    check_kind,
    check_models,
    check_outcome,
    find_classes,
    find_model_groups,
    find_report_groups,
    warn_of_torn_folds,
)
from .metadata import describe_run
from .outcomes import cut_outcome
from .results import Comparison
from .running import cross_predict
from .scoring import check_scoring, check_threshold

__all__ = ["Comparison", "compare"]

MOST_DESCRIBED = 4  # classes; patients of more are described together


def compare(
    models,
    X,
    y,
    *,
    cv=5,
    cut=None,
    baseline=None,
    groups=None,
    by=None,
    positive_label=None,
    scoring=None,
    threshold=None,
    df="folds",
    n_jobs=None,
    random_state=None,
    verbose=None,
    resume=None,
):
    """Cross-validate several models on the same folds and test them against a baseline.

    Parameters
    ----------
    models : dict of str to estimator, or sequence of (str, estimator)
        All classifiers or all regressors. Each is cloned for every fold and keeps the
        `random_state` it was given. A classifier without `predict_proba` has no Brier score and its
        AUC comes from `decision_function`, ranked within each fold; without either it has no AUC.
    X : DataFrame of shape (n_patients, n_columns)
        One row per patient (or per scan, with `groups`); the index holds unique ids.
    y : Series or array-like of shape (n_patients,)
        Outcome; a Series must have the index of `X`.
    cv : int, str, splitter or iterable, default=5
        ``5`` folds; ``"5x2"``: five folds drawn twice; or any scikit-learn splitter. Folds are
        shuffled and, for classifiers, stratified. Settle the repeats before you look, and take as
        many as time allows: ``"5x10"`` for regressions, ``"5x2"`` or more for networks. Repeats
        average out how the folds fell; they are no more patients, and adding some until a p value
        pleases is a mistake that no test corrects (see Notes).
    cut : object, default=None
        `y` is an ordinal outcome, numbers or an ordered categorical, of which being above this is
        to be predicted: 2 for a modified Rankin Scale of 3 or more. Folds are stratified by all of
        the scale. Models that have `predict_exceeding`, or decide by one that has, learn the
        whole scale; other classifiers learn ``y > cut``. Scores are those of ``y > cut`` and, along
        the scale, rank correlation and c-index.
    baseline : str, default=None
        Model that the others are tested against; the first one by default.
    groups : str or array-like of shape (n_patients,), default=None
        Rows of one group (subject) stay on one side of every fold: the name of a column of `X`, or
        one value per row. By default the column that a model declares as `patient`, if one does.
        Every model that asks for `groups` in scikit-learn's metadata routing is given those of its
        training rows, for the folds that it makes itself; where these do not arrive, as in
        scikit-learn's stacking, let members declare `patient` and give ``cv=PatientFolds(...)``: a
        warning says where folds know no groups. Confidence intervals and tests still count rows.
        Few large groups (hospitals) are reported one by one, as if given as `by`.
    by : str or array-like of shape (n_patients,), default=None
        Scores are also given for each of these (hospital, scanner, sex), the name of a column of
        `X` or one value per row, and the report says where a model predicts them rather than the
        outcome. Folds do not depend on it. By default `groups`, where these are at most twelve of
        five rows or more on average.
    positive_label : default=None
        Of two classes, the one whose probability is reported; by default the last in sorted order.
    scoring : str, callable, sequence of these, or dict of str to these, default=None
        Further scores, any of scikit-learn's by name or ``scorer(estimator, X, y)``; greater must
        be better. They are computed fold by fold with the fitted model and stand in the table as
        the mean over folds, with differences by the corrected resampled t-test. With a cut, y is 1
        above it and 0 below.
    threshold : float, default=None
        Of two classes: sensitivity and specificity where patients count as positive from this
        probability on, after averaging over the repeats. Settle it before you look, too.
    df : {"folds", "effective"}, default="folds"
        Degrees of freedom of the corrected resampled t-test: as many as folds less one, or the
        far fewer of folds that are independent; see `corrected_resampled_ttest`.
    n_jobs : int, default=None
        Fits that run at once. Results do not depend on it.
    random_state : int, default=None
        Seed of the folds and of the bootstrap; drawn and recorded in ``metadata`` if None.
    verbose : int, default=None
        Progress bar on stderr from 1; None: where stderr is a terminal.
    resume : str, os.PathLike or joblib.Memory, default=None
        Folder where every finished fit is kept. After an interruption, or with one model more,
        only what is missing is computed; what changes (a parameter, a patient, the content of an
        image or of a file that a parameter names, the folds, the code) is computed anew. Give
        `random_state` too, or new folds are drawn each time. The folder holds pickles, and opening
        one runs whatever code it holds: name only folders that nobody else can write to.

    Returns
    -------
    Comparison

    Notes
    -----
    Scans are read and prepared once, for all folds, models and processes of the comparison. What
    was prepared lies in a temporary folder (see `tempfile.gettempdir`) until the end, four bytes a
    pixel; image estimators whose `memory` is set keep it there instead.

    Verdicts rest on tests over patients: a paired t-test of accuracy, mean absolute error and R²,
    DeLong's of AUC. The patients are the sample there, so that repeats cannot turn a difference
    into a significant one by their number; the tests take the fitted models as given. The corrected
    resampled t-test over folds stands beside them in `Comparison.differences`, and decides only
    where scores are no mean over patients (`scoring`, AUC of more than two classes); there the same
    difference over the same patients becomes the more significant the more often the folds are
    drawn. ``benchmarks/repeats.py`` measures what repeats do to each of these tests.

    Raises
    ------
    ValueError
        If models are no estimators or of both kinds, names are doubled, the baseline is unknown,
        `cv`, `df`, `scoring` or `threshold` is not understood, or a model cannot be pickled for
        `resume`.
    CohortError
        If `X` or `y` cannot be used, a class is missing from a fold, or a model meets bad input.
    ModelError
        If a model fails in a fold; nothing is left out silently.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from prognosis import compare, logistic_ladder
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"lesion_ml": rng.gamma(2, 20, 80), "nihss": rng.integers(0, 25, 80)})
    >>> y = (X["nihss"] + rng.normal(0, 4, 80) > 12).astype(int)
    >>> ladder = logistic_ladder([["lesion_ml"], ["lesion_ml", "nihss"]])
    >>> result = compare(ladder, X, y, cv="5x2", baseline="lesion_ml", random_state=0)
    >>> bool(result.table.loc["lesion_ml + nihss", "auc_p"] < 0.001)
    True
    """
    models = check_models(models)
    names = list(models)
    baseline = names[0] if baseline is None else baseline
    if df not in ("folds", "effective"):
        raise ValueError(f'df must be "folds" or "effective", got {df!r}')
    if baseline not in models:
        raise ValueError(f"baseline={baseline!r} is none of the models: {', '.join(names)}")
    scorers = check_scoring(scoring)
    classification = check_kind(models, cut)
    X = check_cohort(X)
    y = check_outcome(X, y, classification)
    ordinal, exceeding, classes = None, None, None
    if cut is not None:
        ordinal, exceeding = cut_outcome(y, cut, positive_label)
        classes = [0, 1]
    elif classification:
        classes = find_classes(y, positive_label)
    check_threshold(threshold, classes)
    given, groups = groups, find_model_groups(models, X, groups)
    by = find_report_groups(X, by, given, groups)
    if groups is not None:
        warn_of_torn_folds(models)
    if random_state is None:
        random_state = int(np.random.SeedSequence().generate_state(1)[0])
    drawn = {"groups": groups, "random_state": random_state, "needed": exceeding}
    splits = make_splits(cv, X, y, classification=classification, **drawn)
    predictions, timings, searches = cross_predict(
        models,
        X,
        y,
        splits,
        classes,
        ordinal=ordinal,
        scorers=scorers,
        n_jobs=n_jobs,
        verbose=verbose,
        resume=resume,
    )
    about = describe_run(models, X, y, cv, splits, classes, groups, random_state, ordinal)
    about |= {"scoring": list(scorers), "threshold": threshold}
    if by is not None:
        about |= {"by": str(by.name), "groups_apart": _are_apart(by, splits)}
    return Comparison(
        predictions=predictions,
        folds=_fold_table(predictions, timings, splits, classes, threshold),
        classes=classes,
        baseline=baseline,
        metadata=about,
        df=df,
        searches=searches,
        characteristics=_characteristics(models, X, y, classes, exceeding, cut),
        groups=by,
    )


def _are_apart(by, splits):
    """Whether no model saw a patient of a group that it predicted."""
    codes = by.to_numpy()
    return all(not set(codes[one.train]) & set(codes[one.test]) for one in splits)


def _characteristics(models, X, y, classes, exceeding, cut):
    """Who was studied: the columns that models name, or all where they name none."""
    named = named_columns(models, X)
    groups = None
    if exceeding is not None:
        labels = [f"up to {cut}", f"above {cut}"]
        labels = pd.Categorical.from_codes(exceeding, labels)
        groups = pd.Series(labels, index=X.index)
    elif classes is not None and len(classes) <= MOST_DESCRIBED:
        groups = pd.Series(pd.Categorical(y, categories=classes), index=X.index)
    found = describe_patients(X, y, groups, named or None)
    return found if len(found) or not named else describe_patients(X, y, groups)


def _fold_table(predictions, timings, splits, classes, threshold):
    sizes = pd.DataFrame(
        {
            "repeat": [split.repeat for split in splits],
            "fold": [split.fold for split in splits],
            "n_train": [len(split.train) for split in splits],
            "n_test": [len(split.test) for split in splits],
        }
    )
    keys = ["model", "repeat", "fold"]
    scores = []
    for key, rows in predictions.groupby(keys, sort=False):
        found = dict(zip(keys, key, strict=True)) | fold_scores(rows, classes)
        if threshold is not None:
            called = at_threshold(rows, classes, threshold)
            found |= {name: one.estimate for name, one in called.items()}
        scores.append(found)
    return pd.DataFrame(scores).merge(sizes, on=["repeat", "fold"]).merge(timings, on=keys)
