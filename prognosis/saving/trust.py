"""Which types a model file may name: those that models are made of, and no others.

A file that names any other is not opened, since what it would do is not known.
"""

import importlib

from .parts import STAND_INS

__all__ = ["strangers"]

# Plain values that fitted models hold, beside estimators, networks and scikit-learn's own.
_VALUES = {
    "imaging.grids.Grid",
    "imaging.mosaics.SliceMosaic",
    "imaging.roi_mosaics.RoiMosaic",
    "imaging.spaces.verdicts.SpaceVerdict",
    "imaging.storage.bank.Recipe",
    "imaging.storage.seen.SeenScans",
    "imaging.symbols.Symbol",
    "numpy.dtype",
    "prognosis.features.brain_age._AgeModel",
    "prognosis.features.embedding._Alignment",
    "prognosis.studies.place.OrdinalLogScore",
    "prognosis.studies.published._log_odds",
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
    "scipy.sparse._csc.csc_array",
    "scipy.sparse._csc.csc_matrix",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.utils._bunch.Bunch",
    *(f"{kind.__module__}.{kind.__qualname__}" for kind in STAND_INS),
}
_FOLDS = "sklearn.model_selection._split."
_SCORES = ("sklearn.metrics._classification.", "sklearn.metrics._regression.")
_SCORES += ("sklearn.metrics._ranking.",)
_READERS = "prognosis.views."  # functions `_read_...` there say how a scan becomes an array
_OURS = ("imaging.", "prognosis.")
_NETWORKS = ("torch.nn.modules.", "monai.networks.", *_OURS)


def strangers(names, trusted=()):
    """Those of some types and functions that are not trusted.

    Parameters
    ----------
    names : iterable of str
        With their modules.
    trusted : iterable of str
        Trusted besides.

    Returns
    -------
    list of str

    Examples
    --------
    >>> strangers(["imaging.grids.Grid", "os.system", "prognosis.cli.main"])
    ['os.system', 'prognosis.cli.main']
    """
    return [name for name in names if name not in trusted and not _trusted(name)]


def _trusted(name):
    if name in _VALUES:
        return True
    known = (_FOLDS, *_SCORES, *_NETWORKS)
    if not name.startswith(known):
        return False
    module, _, own = name.rpartition(".")
    if name.startswith(_READERS) and own.startswith("_read_"):
        return True
    try:  # of an installed package: whoever wrote the file has no say in what its modules are
        found = getattr(importlib.import_module(module), own)
    except (ImportError, AttributeError):
        return False
    if getattr(found, "__module__", None) != module:
        return False
    if name.startswith(_SCORES):
        return callable(found) and not isinstance(found, type)
    return isinstance(found, type) and issubclass(found, _bases(name))


def _bases(name):
    from sklearn.base import BaseEstimator

    if name.startswith(_FOLDS):
        return object
    bases = [BaseEstimator] if name.startswith(_OURS) else []
    if name.startswith(_NETWORKS):
        import torch

        bases.append(torch.nn.Module)
    return tuple(bases)
