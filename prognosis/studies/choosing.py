"""A grid search that says what is wrong with a table in the table's own words."""

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

__all__ = ["CheckedGridSearch"]


class CheckedGridSearch(GridSearchCV):
    """scikit-learn's `GridSearchCV` over a pipeline, whose first steps see the table beforehand.

    A column that is missing or that holds what it must not would otherwise be reported as so many
    fits that failed, with as many tracebacks.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from prognosis import TabularEncoder
    >>> model = make_pipeline(TabularEncoder(["nihss"]), Ridge())
    >>> X = pd.DataFrame({"age": [60.0, 70, 80, 90]})
    >>> CheckedGridSearch(model, {"ridge__alpha": [1, 10]}, cv=2).fit(X, [0, 1, 2, 3])
    Traceback (most recent call last):
        ...
    prognosis.errors.CohortError: column 'nihss' not found; the table has 'age'. Rename it with
    X.rename(columns={...}) or change the estimator's parameter
    """

    def fit(self, X, y=None, **params):
        """Fit as `GridSearchCV`, after one look at the whole table."""
        clone(self.estimator[:-1]).fit(X, y)
        return super().fit(X, y, **params)
