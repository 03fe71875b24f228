"""What the file of a model says of its training patients: plain numbers, and nobody by name.

Columns are summed up, and ids kept as salted hashes, which know a training patient again. Columns
of ids, dates and free text are left out.
"""

import re
import secrets
from collections import Counter
from hashlib import blake2b

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from imaging.errors import ImagingError
from imaging.grids import open_image

from ..cells import EMPTY, NUMBER, as_numbers, as_text, column_kind, is_missing, listing
from ..columns import _TypedColumns, check_cohort
from ..errors import CohortError
from ..features.measurement import ImageMeasurement, measuring_steps
from .exchanging import parts_of

__all__ = ["SHARES", "as_trained", "describe", "divided", "hashed", "measured", "voxel_size"]

SHARES = (0.025, 0.25, 0.5, 0.75, 0.975)
_MOST_LEVELS = 30  # more categories than these are free text
_NAMED_COLUMNS = 3  # a feature that adds more is one of many regions


def describe(model, X, y=None):
    """Describe training patients for the file of a model.

    Parameters
    ----------
    model : fitted estimator
    X : DataFrame
        As it was given to `fit`.
    y : array-like, default=None

    Returns
    -------
    dict
        For JSON.

    Raises
    ------
    CohortError
        If `X` is no table of patients, or lacks what the model measures.
    """
    check_cohort(X)
    about = X.attrs.get("cohort", {})
    table, places = measured(model, X)
    images = _images_of(X)
    salt = secrets.token_hex(8)
    columns, left_out = {}, []
    for name in table.columns:
        if name in images or name in places:
            continue
        found = _column(table[name])
        if found is None:
            left_out.append(str(name))
        else:
            columns[str(name)] = found
    return {
        "n_patients": len(X),
        "name": about.get("name"),
        "simulated": bool(about.get("simulated", False)),
        "outcome": None if y is None else _outcome(y),
        "used": sorted({str(name) for name in _used(model, table)}),
        "columns": columns,
        "left_out": left_out,
        "images": {name: _voxel_sizes(X[name]) for name in images},
        "places": {
            str(name): {
                "region": region,
                "n": int((table[name] > 0).sum()),
                "max": float(table[name].max()),
            }
            for name, region in places.items()
        },
        "salt": salt,
        "ids": sorted(hashed(salt, row) for row in X.index),
    }


def as_trained(model, X):
    """New patients with the columns that a model was fitted with, in that order.

    Parameters
    ----------
    model : fitted estimator
    X : DataFrame
        May lack columns that the model only passes on, and have others.

    Returns
    -------
    DataFrame

    Raises
    ------
    CohortError
        If a column is missing that the model uses.
    """
    check_cohort(X)
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return X
    needed = _declared(model) or set(names)
    lacking = [name for name in names if name in needed and name not in X.columns]
    if lacking:
        raise CohortError(
            f"column {listing(lacking)} not found, which the model uses; the table has "
            f"{listing(X.columns)}. Add it, with missing values where nothing is known"
        )
    table = X.reindex(columns=list(names))
    table.attrs = dict(X.attrs)
    return table


def measured(model, X):
    """A table with what the first steps of a model measure in the images.

    Parameters
    ----------
    model : fitted estimator
    X : DataFrame

    Returns
    -------
    table : DataFrame
        `X`, and the columns that these steps add.
    places : dict of str to str
        Those of the columns that are one of many of their kind, loads of regions: the region.

    Raises
    ------
    CohortError
        If a column is missing that the model uses, or an image cannot be used.
    """
    X, places = as_trained(model, X), {}
    for _, step in divided(model)[0]:
        X = step.transform(X)
        if len(step.columns_) > _NAMED_COLUMNS:
            prefix = getattr(step, "prefix", "")
            places |= {name: name.removeprefix(prefix) for name in step.columns_}
    return X, places


def divided(model):
    """The first steps of a model, which measure images, and what follows them.

    Parameters
    ----------
    model : fitted estimator
        Of a model that holds a pipeline as ``estimator_``, that is divided.

    Returns
    -------
    steps : list of (str, estimator)
    rest : estimator
    """
    while not isinstance(model, Pipeline) and hasattr(model, "estimator_"):
        model = model.estimator_
    count = measuring_steps(model) if isinstance(model, Pipeline) else 0
    return (model.steps[:count], Pipeline(model.steps[count:])) if count else ([], model)


def _column(column):
    """What is said of a column, or None where it would list people or means nothing."""
    try:
        kind = column_kind(column)
        numbers = as_numbers(column).to_numpy(dtype=float) if kind == NUMBER else None
    except CohortError:
        return None
    if kind == EMPTY:
        return None
    found = {"kind": kind, "missing": int(column.isna().sum())}
    if kind == NUMBER:
        numbers = numbers[~np.isnan(numbers)]
        n_different = len(np.unique(numbers))
        if _like_id(column.name) and n_different == len(numbers):
            return None
        empty = not len(numbers)
        shares = [None] * len(SHARES) if empty else np.quantile(numbers, SHARES).tolist()
        ends = (None, None) if empty else (float(numbers.min()), float(numbers.max()))
        return {**found, "shares": shares, "min": ends[0], "max": ends[1]}
    levels = Counter(as_text(column).dropna().tolist())
    if len(levels) > _MOST_LEVELS or (len(levels) == len(column) and len(column) > 2):
        return None
    return {**found, "kind": "text", "levels": dict(sorted(levels.items()))}


def _like_id(name):
    return re.search(r"(^|[_ ])(id|nr|mrn|pid)$", str(name).lower()) is not None


def _outcome(y):
    y = pd.Series(np.asarray(y)) if not isinstance(y, pd.Series) else y
    found = _column(y.rename(None if y.name is None else str(y.name)))
    if found is not None and found["kind"] == NUMBER and y.nunique() <= _MOST_LEVELS:
        counts = Counter(as_numbers(y).dropna().tolist())
        found["levels"] = {f"{level:g}": n for level, n in sorted(counts.items())}
    return {"name": None if y.name is None else str(y.name), **(found or {})}


def _used(model, table):
    """Columns of a table that the model looks at."""
    return (_declared(model) or set(getattr(model, "feature_names_in_", []))) & set(table.columns)


def _declared(model):
    """Columns that something inside the model declares; none where all are taken as they come."""
    used = set()
    for part in parts_of(model, (BaseEstimator,), within=True):
        if isinstance(part, _TypedColumns):
            used.update(part._names("numeric") + part._names("categorical"))
        elif isinstance(part, ImageMeasurement):
            used.add(part.image)
        elif hasattr(part, "networks_"):
            used.update(getattr(part, "columns_", []))
    return used


def _images_of(X):
    named = X.attrs.get("cohort", {}).get("image_columns", [])
    found = [name for name in named if name in X.columns]
    for name in X.columns:
        cells = [cell for cell in X[name] if not is_missing(cell)][:1]
        if name not in found and cells and voxel_size(cells[0]) is not None:
            found.append(name)
    return found


def _voxel_sizes(cells):
    sizes = Counter(voxel_size(cell) for cell in cells if not is_missing(cell))
    sizes.pop(None, None)
    return dict(sizes)


def voxel_size(cell):
    """Edges of the voxels of an image as text, from its header; None of anything else."""
    if isinstance(cell, str) and not re.search(r"\.(nii|img|mgz|mgh)(\.gz)?$", cell.lower()):
        return None
    try:
        affine = open_image(cell).affine
    except ImagingError:
        return None
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    return " x ".join(f"{round(float(edge), 2):g}" for edge in edges)


def hashed(salt, row):
    return blake2b(f"{salt} {row}".encode(), digest_size=8).hexdigest()
