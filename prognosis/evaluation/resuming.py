"""Keep every finished fit on disk, so that an interrupted comparison goes on where it stopped.

A kept fit belongs to the model's parameters, the patients' values and images, their outcomes and
the fold: when one of these changes it is computed again.
"""

import pickle
from importlib import metadata
from pathlib import Path

import joblib
import nibabel as nib
import pandas as pd

from imaging.caching import as_memory, fingerprint

from .metadata import without_caches

__all__ = ["keep_finished"]


def keep_finished(run, resume, models, X, y, classes):
    """Wrap `run(name, model, X, y, split, classes)` so that its result is kept.

    Parameters
    ----------
    run : callable
        Module-level, for worker processes.
    resume : str, os.PathLike, joblib.Memory or None
        Folder of finished fits; None keeps nothing and returns `run` itself.
    models : dict of str to estimator
    X : DataFrame
    y : Series
    classes : list or None

    Returns
    -------
    callable
        Same arguments, same result.

    Raises
    ------
    ValueError
        If a model cannot be recognised again, because it holds a function that has no name.
    """
    memory = as_memory(resume)
    if memory.location is None:
        return run
    versions = tuple(metadata.version(name) for name in ("prognosis-mri", "scikit-learn", "torch"))
    about = joblib.hash((versions, _data_key(X, y), classes))
    keys = {name: _model_key(name, model) for name, model in models.items()}
    return _Keeper(memory, run, about, keys)


class _Keeper:
    def __init__(self, memory, run, about, keys):
        self.memory = memory
        self.run = run
        self.about = about
        self.keys = keys

    def __call__(self, name, model, X, y, split, classes):
        kept = self.memory.cache(
            _finish, ignore=["run", "name", "model", "X", "y", "split", "classes"]
        )
        key = joblib.hash((self.about, name, self.keys[name], split))
        return kept(key, self.run, name, model, X, y, split, classes)


def _finish(key, run, name, model, X, y, split, classes):
    return run(name, model, X, y, split, classes)


def _model_key(name, model):
    try:
        # A clone shares nothing between its parameters, so equal models have equal hashes.
        return joblib.hash(without_caches(model))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"model {name!r} cannot be recognised after an interruption, because it cannot be "
            f"pickled ({error}); give it named functions of a module, or leave resume out"
        ) from error


def _data_key(X, y):
    cells = {column: [_cell(value) for value in X[column]] for column in X.columns}
    return joblib.hash((list(X.index), cells, list(y)))


def _cell(value):
    """A value, or what identifies the image that it is or names."""
    named = isinstance(value, (str, Path)) and Path(value).is_file()
    if named or isinstance(value, nib.spatialimages.SpatialImage):
        return fingerprint(value)
    return None if value is not None and pd.isna(value) else value
