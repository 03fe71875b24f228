"""Attribution of tabular values: encoded columns and drawn symbols, back under their own names."""

import numpy as np
import pandas as pd

__all__ = ["encoded_sources", "tabular_baseline", "tabular_table"]


def encoded_sources(encoder):
    """The column that every encoded feature comes from, and how many levels it has.

    Parameters
    ----------
    encoder : TabularEncoder
        Fitted.

    Returns
    -------
    sources : list of str
        One per feature: missing indicators and one-hot columns name the column they belong to.
    levels : ndarray of int
        Number of categories of a one-hot column, 0 for a numeric feature.
    """
    sources, levels = [], []
    for _, steps, names in encoder.encoder_.transformers_:
        names = list(names)
        if not names or isinstance(steps, str):
            continue
        last = steps[-1]
        if hasattr(last, "categories_"):
            for name, categories in zip(names, last.categories_, strict=True):
                sources += [name] * len(categories)
                levels += [len(categories)] * len(categories)
        else:
            indicated = [names[k] for k in steps[0].indicator_.features_]
            sources += [*names, *indicated]
            levels += [0] * (len(names) + len(indicated))
    return sources, np.array(levels)


def tabular_baseline(encoder):
    """Encoded values that say nothing, shape (1, n_features), float32.

    The mean of the training patients for numbers (zero, since they are standardised); the same
    share of every category.
    """
    _, levels = encoded_sources(encoder)
    return np.where(levels > 0, 1 / np.maximum(levels, 1), 0).astype(np.float32)[None]


def tabular_table(estimator, index, encoded, pictures):
    """Attribution of every tabular variable: one row per patient, one column per variable.

    Parameters
    ----------
    estimator : Explainable
    index : Index
        Patients.
    encoded : ndarray of shape (n_patients, n_features) or None
        Attribution of the encoded columns.
    pictures : ndarray of shape (n_patients, n_channels, height, width)
        Attribution of the whole picture, whose lower rows may hold symbols.

    Returns
    -------
    DataFrame
        A variable that is both encoded and drawn gets the sum.
    """
    columns = {}
    if encoded is not None:
        for number, name in enumerate(encoded_sources(estimator.encoder_)[0]):
            columns[name] = columns.get(name, 0) + encoded[:, number].astype(np.float64)
    for name, cell in estimator.view_.symbol_cells().items():
        inside = pictures[(..., *cell)].sum(axis=(1, 2, 3), dtype=np.float64)
        columns[name] = columns.get(name, 0) + inside
    return pd.DataFrame(columns, index=index)
