"""Regression on the loads of all regions of an atlas beside a table, its penalty chosen inside.

Loads enter as their square root, which evens out the variance of fractions, and are not scaled
further: a region that hardly anybody has lesioned must not count as much as the others.
"""

import numpy as np
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from ..columns import TabularEncoder, check_cohort
from ..features.region_load import RegionLoad
from ..splits import PatientFolds
from .choosing import CheckedGridSearch

__all__ = ["region_model", "regularised"]

PENALTIES = np.logspace(-4, 1, 6)  # inverse
SEARCH_FOLDS = 5
OUTCOMES = ("binary", "continuous")
PREFIX = "region_"


def region_model(
    lesion="lesion",
    *,
    tabular=(),
    atlas="aal",
    outcome="binary",
    minimum_patients=0,
    labels=None,
    space="template",
    patient=None,
    memory=None,
    n_jobs=None,
):
    """Make a model of outcome from the load of every region, and a table beside them.

    The conventional lesion-based model, regularised: `build_study` calls it "regions + tabular".
    `place_model` is its refined sister, with the number of lesions, one penalty for the block of
    places and coefficients to read.

    Parameters
    ----------
    lesion : str, default="lesion"
        Column that holds the lesion masks, in the space of the atlas.
    tabular : sequence of str, default=()
        Columns that go in standardised, such as ``["lesion_ml", "nihss"]``.
    atlas : str, path, nilearn Bunch or imaging.Atlas, default="aal"
        See `imaging.load_atlas`.
    outcome : {"binary", "continuous"}, default="binary"
        Logistic regression, of two or more classes, or ridge regression. Of an outcome in steps
        `place_model` makes more.
    minimum_patients : int, default=0
        Regions lesioned in fewer training patients are left out, see `RegionLoad`.
    labels : int, sequence of int or None, default=None
        Where the masks hold labels, those that are lesion.
    space : {"template", "native"}, default="template"
        "native": masks are not asked whether they lie in template space.
    patient : str, default=None
        Column that names the patient, where patients have several rows: inner folds keep these
        together.
    memory : str, path, joblib.Memory or None, default=None
        Where measured loads are kept. The folder holds pickles, and opening one runs whatever code
        it holds: name only folders that nobody else can write to.
    n_jobs : int or None, default=None
        Threads that read masks.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Steps "regions" (`RegionLoad`) and "choose", in which the ridge penalty is chosen from 0.1
        to 10,000, by the log loss in five inner folds or, of a number, by leaving one out.

    Raises
    ------
    ValueError
        If `outcome` is unknown.

    Examples
    --------
    >>> from prognosis import make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> model = region_model("lesion", tabular=["severity"], minimum_patients=3).fit(X, y)
    >>> model.predict_proba(X).shape
    (20, 2)
    >>> counts = model["regions"].patients_
    >>> len(counts), len(model["regions"].columns_) == (counts >= 3).sum()
    (120, np.True_)
    """
    if outcome not in OUTCOMES:
        raise ValueError(
            f"outcome must be one of {', '.join(OUTCOMES)}, got {outcome!r}; of an outcome in "
            'steps take place_model(outcome="ordinal")'
        )
    loads = RegionLoad(
        lesion,
        atlas=atlas,
        prefix=PREFIX,
        minimum_patients=minimum_patients,
        labels=labels,
        space=space,
        memory=memory,
        n_jobs=n_jobs,
    )
    columns = make_column_selector(f"^{PREFIX}")
    choose = regularised(columns, list(tabular), outcome == "binary", patient)
    return Pipeline([("regions", loads), ("choose", choose)])


def regularised(regions, columns, classification, patient=None):
    """Regression on columns of region loads and on tabular ones.

    Parameters
    ----------
    regions : sequence of str, or callable that finds them in a table
        Columns with loads.
    columns : list of str
        Tabular ones; may be empty.
    classification : bool
    patient : str, default=None
        Column that names the patient.

    Returns
    -------
    sklearn.pipeline.Pipeline or sklearn.model_selection.GridSearchCV
    """
    parts = [("regions", FunctionTransformer(np.sqrt, feature_names_out="one-to-one"), regions)]
    if columns:
        parts.insert(0, ("tabular", TabularEncoder(columns), columns))
    encode = _RegionsAndTable(parts, verbose_feature_names_out=False)
    folds = None if patient is None else PatientFolds(SEARCH_FOLDS, patient=patient, shuffle=False)
    if classification:
        model, penalties, scoring = LogisticRegression(max_iter=1000), PENALTIES, "neg_log_loss"
        name = "model__C"
    elif folds is None:
        # leaves out one row at a time, and so only where every row is a patient
        return Pipeline([("encode", encode), ("model", RidgeCV(alphas=1 / PENALTIES))])
    else:
        model, penalties, scoring = Ridge(), 1 / PENALTIES, "neg_mean_squared_error"
        name = "model__alpha"
    pipeline = Pipeline([("encode", encode), ("model", model)])
    return CheckedGridSearch(pipeline, {name: penalties}, scoring=scoring, cv=folds)


class _RegionsAndTable(ColumnTransformer):
    """scikit-learn's, which refuses a table without the tabular columns as everything here does."""

    def fit_transform(self, X, y=None, **params):
        check_cohort(X, self._tabular())
        return super().fit_transform(X, y, **params)

    def transform(self, X, **params):
        check_cohort(X, self._tabular())
        return super().transform(X, **params)

    def _tabular(self):
        return next((columns for name, _, columns in self.transformers if name == "tabular"), ())
