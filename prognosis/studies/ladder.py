"""The ladder of simple models that an imaging model has to beat.

Each rung adds tabular columns to a logistic, ordinal or ridge regression; imputation, encoding
and scaling are learnt inside the fold. Of all regions of an atlas `region_model` makes more.
"""

from ..columns import TabularEncoder

__all__ = ["linear_ladder", "logistic_ladder", "ordinal_ladder"]


def logistic_ladder(rungs, *, names=None, C=1.0, random_state=None):
    """Logistic regressions on growing sets of tabular columns.

    Parameters
    ----------
    rungs : sequence of sequences of str
        Columns of each model, for example ``[["lesion_ml"], ["lesion_ml", "nihss"]]``.
    names : sequence of str, default=None
        One name per rung; by default its columns joined by " + ".
    C : float, default=1.0
        Inverse strength of the L2 penalty on standardised columns; the smaller, the stronger.
        Region loads are not standardised (see `TabularEncoder`), and many of them want a penalty
        that is chosen, as by `region_model`.
    random_state : int, default=None
        Handed to `LogisticRegression`, whose default solver does not draw random numbers.

    Returns
    -------
    dict of str to sklearn.pipeline.Pipeline
        In the order of `rungs`; each fits on a table that holds at least its columns.

    Raises
    ------
    ValueError
        If there is no rung, a rung is empty or a bare string, or names do not match the rungs.

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638: lesion size, then initial severity, then
    recovery time.

    Examples
    --------
    >>> import pandas as pd
    >>> ladder = logistic_ladder([["lesion_ml"], ["lesion_ml", "nihss"]])
    >>> list(ladder)
    ['lesion_ml', 'lesion_ml + nihss']
    >>> X = pd.DataFrame({"lesion_ml": [1.0, 2.0, 30.0, 50.0], "nihss": [2, None, 9, 15]})
    >>> ladder["lesion_ml + nihss"].fit(X, [0, 0, 1, 1]).predict(X).tolist()
    [0, 0, 1, 1]
    """
    from sklearn.linear_model import LogisticRegression

    return _ladder(
        rungs, names, lambda: LogisticRegression(C=C, max_iter=1000, random_state=random_state)
    )


def linear_ladder(rungs, *, names=None, alpha=1.0, random_state=None):
    """Ridge regressions on growing sets of tabular columns, for numeric outcomes.

    Parameters
    ----------
    rungs : sequence of sequences of str
    names : sequence of str, default=None
    alpha : float, default=1.0
        Strength of the L2 penalty on standardised columns; see `logistic_ladder`.
    random_state : int, default=None
        Handed to `Ridge`, whose default solver does not draw random numbers.

    Returns
    -------
    dict of str to sklearn.pipeline.Pipeline

    Raises
    ------
    ValueError
        As `logistic_ladder`.

    Examples
    --------
    >>> list(linear_ladder([["age"], ["age", "nihss"]], names=["age", "clinical"]))
    ['age', 'clinical']
    """
    from sklearn.linear_model import Ridge

    return _ladder(rungs, names, lambda: Ridge(alpha=alpha, random_state=random_state))


def ordinal_ladder(rungs, *, names=None, alpha=1.0):
    """Proportional odds regressions on growing sets of tabular columns, for ordinal outcomes.

    Parameters
    ----------
    rungs : sequence of sequences of str
    names : sequence of str, default=None
        One name per rung; by default its columns joined by " + ", and ", ordinal".
    alpha : float, default=1.0
        Strength of the ridge penalty on standardised columns, see `OrdinalClassifier`.

    Returns
    -------
    dict of str to sklearn.pipeline.Pipeline

    Raises
    ------
    ValueError
        As `logistic_ladder`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from prognosis import compare, logistic_ladder, ordinal_ladder
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"age": rng.normal(70, 10, 90), "nihss": rng.integers(0, 25, 90)})
    >>> mrs = np.digitize(X["nihss"] + rng.normal(0, 5, 90), [2, 6, 10, 14, 18, 22])
    >>> rungs = [["age"], ["age", "nihss"]]
    >>> result = compare(
    ...     logistic_ladder(rungs) | ordinal_ladder(rungs[1:]), X, mrs, cut=2, random_state=0
    ... )
    >>> result.kinds
    {'age': 'binary', 'age + nihss': 'binary', 'age + nihss, ordinal': 'ordinal'}
    """
    from ..estimators.ordinal.classifier import OrdinalClassifier

    if names is None:
        rungs = list(rungs)
        names = [f"{' + '.join(rung)}, ordinal" for rung in rungs]
    return _ladder(rungs, names, lambda: OrdinalClassifier(alpha=alpha))


def _ladder(rungs, names, make_model):
    from sklearn.pipeline import Pipeline

    rungs = list(rungs)
    if not rungs:
        raise ValueError("a ladder needs at least one rung: [['lesion_ml'], ['lesion_ml', 'age']]")
    for rung in rungs:
        if isinstance(rung, str) or not len(rung):
            raise ValueError(f"rung {rung!r} must be a list of column names, such as ['lesion_ml']")
    names = [" + ".join(rung) for rung in rungs] if names is None else list(names)
    if len(names) != len(rungs) or len(set(names)) != len(names):
        raise ValueError(f"{len(rungs)} rungs need as many different names, got {names!r}")
    return {
        name: Pipeline([("encode", TabularEncoder(list(rung))), ("model", make_model())])
        for name, rung in zip(names, rungs, strict=True)
    }
