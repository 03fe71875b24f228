"""What searches inside the models did in every fold, and what their best score was worth outside.

The best of many inner scores is too good; how much, only patients tell whom the search never saw.
"""

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from imaging.storage.upkeep.savings import Savings

__all__ = ["COLUMNS", "describe_search", "search_table"]

COLUMNS = (
    "model",
    "repeat",
    "fold",
    "trials",
    "pruned",
    "failed",
    "folds_run",
    "folds_saved",
    "epochs_run",
    "epochs_saved",
    "seconds",
    "trial_seconds",
    *Savings.NAMES,
    "scoring",
    "inner_score",
    "outer_score",
    "chosen",
)


def describe_search(model, X, y):
    """What the search that a fitted model is, or that a pipeline ends in, did and chose.

    Parameters
    ----------
    model : fitted estimator
    X, y : test patients of the fold
        Scored as the search scores.

    Returns
    -------
    dict or None
        See `OptunaSearch.search_summary`, with ``outer_score``, NaN where it cannot be computed;
        None of a model that is no such search.
    """
    search = model
    while isinstance(search, Pipeline):
        search = search.steps[-1][1]
    if not hasattr(search, "search_summary"):
        return None
    try:
        outer = float(model.score(X, y))
    except Exception:  # a class may be missing from a fold: no reason to lose its predictions
        outer = np.nan
    return search.search_summary() | {"outer_score": outer}


def search_table(rows):
    """One row for each model, repeat and fold that had a search, in the order of `COLUMNS`.

    Examples
    --------
    >>> search_table([]).columns[:3].tolist()
    ['model', 'repeat', 'fold']
    """
    return pd.DataFrame(rows, columns=list(COLUMNS))
