"""Who was studied: every variable of the table, of all patients and by outcome.

What journals print as Table 1; without p values, which say nothing of who was studied.
"""

import numpy as np
import pandas as pd

from ...cells import EMPTY, NUMBER, as_numbers, as_text, column_kind
from ...errors import CohortError

__all__ = ["ALL", "describe_patients", "named_columns"]

ALL = "all"
MOST_LEVELS = 12  # a text column with more is an identifier, a path or free text
COLUMNS = [
    *("variable", "level", "group", "n", "missing"),
    *("mean", "sd", "median", "q1", "q3", "low", "high", "count", "share", "rho"),
]


def describe_patients(X, outcome, groups=None, columns=None):
    """Characteristics of patients, all together and by group.

    Parameters
    ----------
    X : DataFrame of shape (n_patients, n_columns)
        Columns of images, dates, identifiers and free text are left out.
    outcome : Series of shape (n_patients,)
        Numbers, of which the rank correlation with every numeric variable is given; else ignored.
    groups : Series of shape (n_patients,), default=None
        Labels by which patients are described, in the order of their categories if they have one.
    columns : sequence of str, default=None
        Variables to describe, as far as they are in `X`; None describes all.

    Returns
    -------
    DataFrame
        One row per variable, group ("all" first) and, of a category, level: ``n`` known,
        ``missing``; of numbers ``mean``, ``sd``, ``median``, ``q1``, ``q3``, ``low``, ``high`` and
        ``rho``, Spearman's with a numeric outcome; of categories ``count`` and its ``share`` of the
        known. Numbers with two values or one are categories.

    Examples
    --------
    >>> X = pd.DataFrame({"age": [50, 60, 70, None], "sex": ["F", "M", "F", "F"]})
    >>> found = describe_patients(X, pd.Series([0, 1, 0, 1]), pd.Series(list("abab")))
    >>> found.loc[found["variable"] == "age", ["group", "n", "missing", "mean"]].values.tolist()
    [['all', 3, 1, 60.0], ['a', 2, 0, 60.0], ['b', 1, 1, 60.0]]
    >>> found.loc[(found["level"] == "F") & (found["group"] == "all"), "share"].item()
    0.75
    """
    everybody = [(ALL, np.ones(len(X), bool))]
    if groups is not None:
        labels = groups.cat.categories if hasattr(groups, "cat") else np.unique(groups.dropna())
        everybody += [(str(label), (groups == label).to_numpy()) for label in labels]
    numeric = pd.api.types.is_numeric_dtype(outcome.dtype) and outcome.nunique() > 2
    rows = []
    for name in X.columns if columns is None else [one for one in columns if one in X.columns]:
        if (X.columns == name).sum() > 1:
            continue
        values, is_number = _readable(X[name])
        if values is None:
            continue
        levels = [None] if is_number else sorted(values.dropna().unique())
        for level in levels:
            for group, here in everybody:
                part = values[here]
                row = {"variable": str(name), "level": level, "group": group}
                row |= {"n": int(part.notna().sum()), "missing": int(part.isna().sum())}
                if is_number:
                    row |= _numbers(part.dropna())
                    if numeric and group == ALL:
                        row["rho"] = values.corr(outcome.astype(float), method="spearman")
                else:
                    row["count"] = int((part == level).sum())
                    row["share"] = row["count"] / row["n"] if row["n"] else np.nan
                rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def named_columns(models, X):
    """Columns of a table that the parameters of models name, in the order of the table.

    Parameters
    ----------
    models : dict of str to estimator
    X : DataFrame

    Returns
    -------
    list of str
    """
    named = set()
    for model in models.values():
        for value in model.get_params(deep=True).values():
            if isinstance(value, str):
                named.add(value)
            elif isinstance(value, (list, tuple, dict, set)):
                named.update(one for one in value if isinstance(one, str))
    return [name for name in X.columns if name in named]


def _readable(column):
    """The values with whether they are numbers; None for what describes no patient."""
    try:
        kind = column_kind(column)
        if kind == EMPTY:
            return None, False
        if kind == NUMBER:
            numbers = as_numbers(column).astype(float)
            if numbers.nunique() > 2:
                return numbers, True
    except CohortError:  # images, dates, infinite values
        return None, False
    text = as_text(column)
    levels = text.nunique()
    fits = 0 < levels <= MOST_LEVELS and (levels < len(text) or levels <= 2)
    return (text if fits else None), False


def _numbers(values):
    if values.empty:
        return {}
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    return {
        "mean": float(values.mean()),
        "sd": spread,
        "median": float(median),
        "q1": float(q1),
        "q3": float(q3),
        "low": float(values.min()),
        "high": float(values.max()),
    }
