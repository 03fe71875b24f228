"""Compare models on the same folds of the same patients.

`compare` fits, `Comparison` holds what came out: scores with confidence intervals, differences from
a baseline with their tests, and every single prediction.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ...columns import check_cohort
from ...splits import make_splits
from ..statistics.auc import delong_test
from ..statistics.scores import (
    CLASSIFICATION_SCORES,
    ORDINAL_SCORES,
    REGRESSION_SCORES,
    fold_scores,
    patient_scores,
    patient_table,
    ranking,
)
from ..statistics.significance import adjust_p_values, corrected_resampled_ttest
from .inputs import (
    check_kind,
    check_models,
    check_outcome,
    find_classes,
    find_model_groups,
    warn_of_torn_folds,
)
from .metadata import describe_run
from .outcomes import cut_outcome
from .running import cross_predict
from .searches import search_table

__all__ = ["Comparison", "compare"]


def compare(
    models,
    X,
    y,
    *,
    cv=5,
    cut=None,
    baseline=None,
    groups=None,
    positive_label=None,
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
        shuffled and, for classifiers, stratified.
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
        warning says where folds know no groups. Confidence intervals and DeLong's test still count
        rows.
    positive_label : default=None
        Of two classes, the one whose probability is reported; by default the last in sorted order.
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

    Raises
    ------
    ValueError
        If models are no estimators or of both kinds, names are doubled, the baseline is unknown,
        `cv` or `df` is not understood, or a model cannot be pickled for `resume`.
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
    classification = check_kind(models, cut)
    X = check_cohort(X)
    y = check_outcome(X, y, classification)
    ordinal, exceeding, classes = None, None, None
    if cut is not None:
        ordinal, exceeding = cut_outcome(y, cut, positive_label)
        classes = [0, 1]
    elif classification:
        classes = find_classes(y, positive_label)
    groups = find_model_groups(models, X, groups)
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
        n_jobs=n_jobs,
        verbose=verbose,
        resume=resume,
    )
    about = describe_run(models, X, y, cv, splits, classes, groups, random_state, ordinal)
    return Comparison(
        predictions=predictions,
        folds=_fold_table(predictions, timings, splits, classes),
        classes=classes,
        baseline=baseline,
        metadata=about,
        df=df,
        searches=searches,
    )


@dataclass(eq=False)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    predictions : DataFrame
        One row per model, repeat and test patient: ``patient``, ``repeat``, ``fold``, ``model``,
        ``y``, ``prediction`` and, for classification, ``probability`` of the positive class
        (``probability_<class>`` for more than two), or ``decision`` of a model without. With a cut
        ``y`` is 1 above it, ``outcome`` the class on the scale, ``level`` its place from 0, and
        ``expected`` what orders the patients: the mean level that an ordinal model predicts, the
        probability of a binary one.
    folds : DataFrame
        One row per model, repeat and fold: scores, ``n_train``, ``n_test``, ``fit_seconds``,
        ``predict_seconds``.
    table : DataFrame, indexed by model
        Scores over all patients, each with ``_low`` and ``_high``; then the differences from the
        baseline with limits, ``_p`` and ``_p_adjusted``: accuracy (or MAE and R²) by the corrected
        resampled t-test, AUC by DeLong's test (by the t-test for more than two classes).
    differences : DataFrame
        Every score and test against the baseline in long form.
    fit_seconds : Series, indexed by model
        Mean time of one fit.
    classes : list or None
        Classes, the positive one last; None for regression.
    baseline : str
    df : str
        Degrees of freedom of the corrected resampled t-test, "folds" or "effective".
    metadata : dict
        Date, versions, seed, folds, cohort, outcome, models, cut.
    searches : DataFrame
        One row per fold of every model that is an `OptunaSearch` or a pipeline that ends in one:
        ``trials``, ``pruned``, what was run and saved, ``chosen`` parameters, ``inner_score``, the
        best one inside the training patients, and ``outer_score``, the same score on the test
        patients. Their mean difference is the optimism of the search.

    Notes
    -----
    With repeats, a patient has one prediction per repeat: probabilities (or predicted values, or
    whether the class was right) are averaged per patient before anything is computed over patients.
    p values are adjusted over the models, for each score by itself (Benjamini-Hochberg).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from prognosis import compare, linear_ladder
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"age": rng.normal(60, 10, 60), "nihss": rng.integers(0, 25, 60)})
    >>> y = X["nihss"] + rng.normal(0, 4, 60)
    >>> result = compare(linear_ladder([["age"], ["age", "nihss"]]), X, y, random_state=0)
    >>> result.models, result.baseline, result.scores
    (['age', 'age + nihss'], 'age', ('r2', 'mae', 'r'))
    >>> result.table.loc["age + nihss", ["mae_low", "mae", "mae_high"]].is_monotonic_increasing
    True
    >>> print(*result.summary(), sep="\\n")
    “age + nihss” beats “age”: mean absolute error ...
    """

    predictions: pd.DataFrame
    folds: pd.DataFrame
    classes: list | None
    baseline: str
    metadata: dict
    df: str = "folds"
    searches: pd.DataFrame = field(default_factory=lambda: search_table([]))
    confidence: float = 0.95
    table: pd.DataFrame = field(init=False)
    differences: pd.DataFrame = field(init=False)
    fit_seconds: pd.Series = field(init=False)

    def __post_init__(self):
        self.fit_seconds = self.folds.groupby("model", sort=False)["fit_seconds"].mean()
        self._patients = {
            name: patient_table(rows, self.classes)
            for name, rows in self.predictions.groupby("model", sort=False)
        }
        self.differences = self._differences()
        self.table = self._table()

    @property
    def models(self):
        """Names of the models, in the order given."""
        return list(self._patients)

    @property
    def cut(self):
        """Where an ordinal outcome is cut; None of any other outcome."""
        return self.metadata.get("cut")

    @property
    def kinds(self):
        """With a cut, "ordinal" or "binary" by name of the model; else empty."""
        return self.metadata.get("kinds", {})

    @property
    def scores(self):
        """Names of the scores."""
        if self.classes is None:
            return REGRESSION_SCORES
        return CLASSIFICATION_SCORES + (ORDINAL_SCORES if self.cut is not None else ())

    @property
    def tested(self):
        """The two scores whose differences are in the table, with the test of each."""
        if self.classes is None:
            return {"mae": "corrected t", "r2": "corrected t"}
        return {"accuracy": "corrected t", "auc": "DeLong" if self.binary else "corrected t"}

    @property
    def binary(self):
        """Whether the outcome has two classes."""
        return self.classes is not None and len(self.classes) == 2

    def patients(self, model):
        """One row per patient for one model, averaged over the repeats."""
        return self._patients[model].copy()

    def summary(self):
        """What was found, in plain words: a list of sentences."""
        from ..reporting.summary import summarise

        return summarise(self)

    def to_html(self, path):
        """Write the report as one self-contained page; see `prognosis.evaluation.reporting.report`.

        Returns
        -------
        pathlib.Path
        """
        from ..reporting.files import write_page

        return write_page(self, path)

    def to_csv(self, folder):
        """Write table, differences, folds and predictions as CSV and metadata as JSON.

        Returns
        -------
        pathlib.Path
            The folder.
        """
        from ..reporting.files import write_tables

        return write_tables(self, folder)

    def save(self, folder):
        """Write the report as ``index.html`` with the files of `to_csv` beside it, all or nothing.

        Returns
        -------
        pathlib.Path
            The folder.
        """
        from ..reporting.files import write_all

        return write_all(self, folder)

    def __repr__(self):
        from ..reporting.summary import as_text

        return as_text(self)

    def _table(self):
        rows = {}
        for name in self.models:
            intervals = patient_scores(
                self._patients[name],
                self.classes,
                confidence=self.confidence,
                random_state=self.metadata["random_state"],
            )
            rows[name] = {
                f"{score}{suffix}": value
                for score, found in intervals.items()
                for suffix, value in (
                    ("", found.estimate),
                    ("_low", found.low),
                    ("_high", found.high),
                )
            }
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
        long = self.differences.set_index("model")
        for score, test in self.tested.items():
            chosen = long[(long["score"] == score) & (long["test"] == test)]
            for column, label in (
                ("difference", "difference"),
                ("low", "difference_low"),
                ("high", "difference_high"),
                ("p", "p"),
                ("p_adjusted", "p_adjusted"),
            ):
                table[f"{score}_{label}"] = chosen[column].reindex(table.index)
        return table

    def _differences(self):
        folds = self.folds.set_index(["repeat", "fold", "model"])
        ratio = folds["n_test"] / folds["n_train"]
        rows = []
        for score in self.scores:
            wide = folds[score].unstack("model")
            ratios = ratio.unstack("model")[self.baseline]
            for name in self.models:
                if name != self.baseline:
                    result = corrected_resampled_ttest(
                        wide[name] - wide[self.baseline],
                        ratios,
                        df=self.df,
                        confidence=self.confidence,
                    )
                    rows.append(_difference_row(name, score, "corrected t", result))
        if self.binary:
            rows += self._delong_rows()
        columns = ["model", "score", "test", "difference", "low", "high", "statistic", "df", "p"]
        table = pd.DataFrame(rows, columns=columns)
        by_test = table.groupby(["score", "test"], sort=False)["p"]
        table["p_adjusted"] = by_test.transform(adjust_p_values)
        return table

    def _delong_rows(self):
        base = self._patients[self.baseline]
        positive = (base["y"] == self.classes[1]).to_numpy()
        base_values = ranking(base, self.classes)[:, 1]
        rows = []
        for name in self.models:
            values = ranking(self._patients[name].loc[base.index], self.classes)[:, 1]
            if name != self.baseline and not np.isnan([values, base_values]).any():
                result = delong_test(positive, values, base_values, confidence=self.confidence)
                rows.append(_difference_row(name, "auc", "DeLong", result))
        return rows


def _difference_row(model, score, test, result):
    return {
        "model": model,
        "score": score,
        "test": test,
        "difference": result.difference,
        "low": result.low,
        "high": result.high,
        "statistic": result.statistic,
        "df": result.df,
        "p": result.p_value,
    }


def _fold_table(predictions, timings, splits, classes):
    sizes = pd.DataFrame(
        {
            "repeat": [split.repeat for split in splits],
            "fold": [split.fold for split in splits],
            "n_train": [len(split.train) for split in splits],
            "n_test": [len(split.test) for split in splits],
        }
    )
    keys = ["model", "repeat", "fold"]
    scores = [
        dict(zip(keys, key, strict=True)) | fold_scores(rows, classes)
        for key, rows in predictions.groupby(keys, sort=False)
    ]
    return pd.DataFrame(scores).merge(sizes, on=["repeat", "fold"]).merge(timings, on=keys)
