"""What a comparison found: scores with intervals, differences with tests, every prediction."""

from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from ..statistics.by_group import group_table, judge_groups
from ..statistics.scores import (
    CLASSIFICATION_SCORES,
    ORDINAL_SCORES,
    REGRESSION_SCORES,
    patient_scores,
    patient_table,
)
from ..statistics.significance import (
    DELONG,
    OVER_FOLDS,
    OVER_PATIENTS,
    corrected_resampled_ttest,
)
from ..statistics.thresholds import THRESHOLD_SCORES, at_threshold
from .differences import difference_table
from .searches import search_table

__all__ = ["Comparison"]


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
        ``predict_seconds``; images that were read and prepared here, or earlier (``images_reused``)
        with the ``saved_seconds``, as in `OptunaSearch.cv_results_`.
    table : DataFrame, indexed by model
        Scores over all patients, each with ``_low`` and ``_high``; then the differences from the
        baseline with limits, ``_p`` and ``_p_adjusted``, for the scores and by the tests that
        `tested` names. Scores of `scoring` are means over folds, with the interval of the corrected
        resampled t-test.
    differences : DataFrame
        Every score and every test against the baseline in long form: over folds the corrected
        resampled t-test, over patients DeLong's test (AUC) and the paired t-test (scores that are
        means over patients). ``smallest``: the smallest difference that would have been
        significant at 5 %, unadjusted.
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
    characteristics : DataFrame
        Who was studied, overall and by outcome: see `statistics.characteristics`.
    groups : Series or None
        Group of every patient, where scores are given by group.
    by_group : DataFrame, indexed by model and group
        Scores in every group; empty without `groups`.

    Notes
    -----
    With repeats, a patient has one prediction per repeat: probabilities (or predicted values, or
    whether the class was right) are averaged per patient before anything is computed over patients.
    p values are adjusted over the models, for each score by itself (Benjamini-Hochberg). A notebook
    shows the report's table and summary.

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
    characteristics: pd.DataFrame = field(default_factory=pd.DataFrame)
    groups: pd.Series | None = None
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
        self.differences = difference_table(self)
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
    def threshold(self):
        """Probability from which patients count as positive, for sensitivity and specificity."""
        return self.metadata.get("threshold")

    @property
    def scorers(self):
        """Names of the scores that were asked for by `scoring`."""
        return tuple(self.metadata.get("scoring", ()))

    @property
    def scores(self):
        """Names of the scores, those of `scoring` last."""
        if self.classes is None:
            return (*REGRESSION_SCORES, *self.scorers)
        found = CLASSIFICATION_SCORES + (ORDINAL_SCORES if self.cut is not None else ())
        return found + (THRESHOLD_SCORES if self.threshold is not None else ()) + self.scorers

    @property
    def tested(self):
        """The scores whose differences are in the table, with the test that decides of each."""
        further = dict.fromkeys(self.scorers, OVER_FOLDS)
        if self.classes is None:
            return {"mae": OVER_PATIENTS, "r2": OVER_PATIENTS} | further
        return {"accuracy": OVER_PATIENTS, "auc": DELONG if self.binary else OVER_FOLDS} | further

    @property
    def binary(self):
        """Whether the outcome has two classes."""
        return self.classes is not None and len(self.classes) == 2

    def patients(self, model):
        """One row per patient for one model, averaged over the repeats."""
        return self._patients[model].copy()

    @cached_property
    def by_group(self):
        """Scores of every model in every group."""
        if self.groups is None:
            return pd.DataFrame()
        drawn = {"confidence": self.confidence, "random_state": self.metadata["random_state"]}
        found = {
            name: group_table(self._patients[name], self.classes, self.groups, **drawn)
            for name in self.models
        }
        return pd.concat(found, names=["model"])

    @cached_property
    def group_verdicts(self):
        """Whether each model predicts the group rather than the outcome: dict of `GroupVerdict`."""
        if self.groups is None or (self.classes is not None and not self.binary):
            return {}
        drawn = {"confidence": self.confidence, "random_state": self.metadata["random_state"]}
        drawn["known"] = not self.metadata.get("groups_apart", False)
        return {
            name: judge_groups(self._patients[name], self.classes, self.groups, **drawn)
            for name in self.models
        }

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

    def _repr_html_(self):
        from ..reporting.report import render_extract

        return render_extract(self)

    def __repr__(self):
        from ..reporting.summary import as_text

        return as_text(self)

    def _table(self):
        rows = {name: self._scores_of(name) for name in self.models}
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

    def _scores_of(self, name):
        """All scores of a model with their limits, by column of the table."""
        patients, row = self._patients[name], {}
        found = patient_scores(
            patients,
            self.classes,
            confidence=self.confidence,
            random_state=self.metadata["random_state"],
        )
        if self.threshold is not None:
            found |= at_threshold(
                patients, self.classes, self.threshold, confidence=self.confidence
            )
        for score, interval in found.items():
            row[score] = interval.estimate
            row[f"{score}_low"], row[f"{score}_high"] = interval.low, interval.high
        folds = self.folds[self.folds["model"] == name]
        for score in self.scorers:
            mean = corrected_resampled_ttest(
                folds[score],
                folds["n_test"] / folds["n_train"],
                df=self.df,
                confidence=self.confidence,
            )
            row[score] = folds[score].mean()
            row[f"{score}_low"], row[f"{score}_high"] = mean.low, mean.high
        return row
