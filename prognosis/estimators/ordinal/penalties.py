"""Ridge penalties by column: one for all, one for each, or one for every block of columns.

A block is a column, or all columns that a `ColumnTransformer` named alike: its step's name, then
two underscores.
"""

import numpy as np

__all__ = ["column_penalties"]

SEPARATOR = "__"


def column_penalties(alpha, blocks, names, n_features):
    """The penalty of every column.

    Parameters
    ----------
    alpha : float, array-like of shape (n_features,) or callable
        A callable takes the names of the columns and returns the array.
    blocks : dict of str to float, or None
        Penalty by the name of a column, or of a block: what stands before two underscores. A column
        goes before its block, and both before `alpha`.
    names : array-like of str, or None
        Names of the columns, where they are known.
    n_features : int

    Returns
    -------
    ndarray of shape (n_features,)

    Raises
    ------
    ValueError
        If names are needed and not known, a block has no column, or a penalty is negative, infinite
        or missing.

    Examples
    --------
    >>> names = ["table__age", "place__left", "place__right"]
    >>> column_penalties(1.0, {"place": 10.0, "place__right": 30.0}, names, 3).tolist()
    [1.0, 10.0, 30.0]
    """
    if (callable(alpha) or blocks) and names is None:
        raise ValueError(
            f"{'alpha' if callable(alpha) else 'blocks'} goes by names of columns, and X has none; "
            'give a DataFrame, in a pipeline by pipeline.set_output(transform="pandas")'
        )
    found = np.asarray(alpha(np.asarray(names, dtype=object)) if callable(alpha) else alpha, float)
    if found.ndim and found.shape != (n_features,):
        raise ValueError(
            f"alpha holds {found.shape} penalties and X has {n_features} columns; give one number, "
            "or one for each column"
        )
    found = np.broadcast_to(found, n_features).copy()
    for block, penalty in sorted((blocks or {}).items(), key=lambda item: SEPARATOR in item[0]):
        prefix = block + SEPARATOR
        inside = [name == block or str(name).startswith(prefix) for name in names]
        if not any(inside):
            known = list(dict.fromkeys(str(name).split(SEPARATOR)[0] for name in names))
            raise ValueError(
                f"blocks names {block!r}, and no column of X is called so or {prefix}...; there "
                f"are {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}"
            )
        found[inside] = penalty
    wrong = ~(np.isfinite(found) & (found >= 0))
    if wrong.any():
        column = np.flatnonzero(wrong)[0]
        name = column if names is None else repr(names[column])
        raise ValueError(
            f"the penalty of column {name} is {found[column]}; penalties are finite and not below 0"
        )
    return found
