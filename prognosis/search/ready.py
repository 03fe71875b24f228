"""Spaces that are ready to search, for estimators of this package and some of scikit-learn.

Few parameters, in ranges for cohorts of some hundred patients: what decides between learning too
little and too much by heart. The estimators' own defaults are inside, and a search begins there.
"""

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV

from ..features.measurement import ImageMeasurement

__all__ = ["search_space"]

_OURS = ("prognosis", "imaging", "sklearn")
# What these hold is left alone: it is searched already, or was trained before.
_CLOSED = (BaseSearchCV, FrozenEstimator, ImageMeasurement)


def search_space(estimator):
    """A space for `OptunaSearch` of an estimator, or of a pipeline that holds some.

    Parameters
    ----------
    estimator : estimator
        What it holds (steps of a pipeline, members of a stack, the estimator of a meta-estimator)
        is searched, too, but for what is inside of another search, is frozen, or measures images
        with a model that was trained before, as in ``LesionSize(segmenter=...)``.

    Returns
    -------
    dict of str to (Optuna distribution or list of choices)
        To change at will. Networks: learning rate, weight decay, dropout, epochs, augmentation, and
        how image and table are fused; none of what would have scans prepared anew. Networks from
        voxels to voxels (`LesionSegmenter`, `TissueSegmenter`, `Denoiser`): learning rate, weight
        decay and dropout; of lesions also the weight of missed voxels, and where it has a `source`,
        the share of real scans. `SequenceInvariantEncoder`, unless it is frozen: learning rate,
        weight decay, and what weighs the parts of its loss. Penalised models: the penalty. Trees:
        their size and number.

    Raises
    ------
    ValueError
        If there is no space for anything in the estimator.

    Notes
    -----
    For networks without images there is no augmentation. Spaces are for 20 to 100 trials; what a
    search gains on so few patients is little, see ``benchmarks/search.py``.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from prognosis import StitchedSliceClassifier, TabularEncoder, search_space
    >>> model = make_pipeline(TabularEncoder(["age"]), LogisticRegression())
    >>> search_space(model)
    {'logisticregression__C': FloatDistribution(high=100.0, log=True, low=0.001, step=None)}
    >>> list(search_space(StitchedSliceClassifier("t1w")))
    ['learning_rate', 'weight_decay', 'dropout', 'epochs', 'augment']
    """
    held = {"": estimator}
    if hasattr(estimator, "get_params"):
        held |= {
            f"{name}__": value
            for name, value in estimator.get_params(deep=True).items()
            if hasattr(value, "get_params") and not isinstance(value, type)
        }
    closed = [prefix for prefix, one in held.items() if isinstance(one, _CLOSED)]
    found = {}
    for prefix, one in held.items():
        if any(prefix.startswith(other) and prefix != other for other in closed):
            continue
        found |= {f"{prefix}{name}": values for name, values in _space_of(one).items()}
    if not found:
        raise ValueError(
            f"there is no ready space for {type(estimator).__name__}; give space={{'parameter': "
            "distribution or choices}"
        )
    return found


def _space_of(estimator):
    for cls in type(estimator).__mro__:
        if cls.__module__.partition(".")[0] in _OURS and cls.__name__ in _READY:
            return _READY[cls.__name__](estimator)
    return {}


def _real(low, high):
    from optuna.distributions import FloatDistribution

    return FloatDistribution(low, high, log=True)


def _share(low, high):
    from optuna.distributions import FloatDistribution

    return FloatDistribution(low, high)


def _whole(low, high, *, log=False):
    from optuna.distributions import IntDistribution

    return IntDistribution(low, high, log=log)


def _network(estimator):
    found = {
        "learning_rate": _real(1e-4, 1e-2),
        "weight_decay": _real(1e-4, 1.0),
        "dropout": _share(0.0, 0.8),
        "epochs": _whole(6, 60, log=True),
    }
    if estimator.image is not None:
        found["augment"] = [True, False]
    return found


def _fusion(estimator):
    choices = {} if estimator.image is None else {"fusion": ["early", "daft"]}
    return _network(estimator) | choices


def _voxelwise(estimator):
    found = {
        "learning_rate": _real(1e-4, 1e-2),
        "weight_decay": _real(1e-4, 1e-1),
        "dropout": _share(0.0, 0.5),
    }
    if estimator.source is not None:  # else real scans are all there is
        found["real_share"] = _share(0.2, 0.9)
    return found


def _segmenter(estimator):
    return _voxelwise(estimator) | {"tversky": _share(0.0, 2.0)}


def _encoder(estimator):
    if estimator.frozen:  # it is taken as it is
        return {}
    found = {"learning_rate": _real(1e-4, 1e-2), "weight_decay": _real(1e-4, 1e-1)}
    if estimator.objective in ("base", "seq_aug", "seq_inv"):
        found["reconstruction_weight"] = _share(0.0, 4.0)
    if estimator.loss == "nt-xent" and estimator.objective != "masked":
        found["temperature"] = _real(0.05, 1.0)
    return found


def _ordinal(estimator):
    # A penalty for each column is the user's own choice.
    return {"alpha": _real(1e-3, 1e3)} if np.ndim(estimator.alpha) == 0 else {}


def _blocks(estimator):
    if not estimator.blocks:
        return {}
    given, penalties = estimator.penalties, (1.0, 3.0, 10.0, 30.0, 100.0)
    choices = [dict.fromkeys(estimator.blocks, penalty) for penalty in penalties]
    return {"penalties": choices if given in choices else [given, *choices]}


def _regions(estimator):
    regions = getattr(estimator.estimator, "regions", None)
    most = regions if isinstance(regions, int) else len(regions or ())
    return {"k": _whole(1, most)} if most > 1 else {}


def _forest(estimator):
    return {"min_samples_leaf": _whole(1, 20), "max_features": ["sqrt", "log2", 1.0]}


def _boosting(estimator):
    return {
        "learning_rate": _real(0.01, 0.3),
        "max_iter": _whole(20, 300, log=True),
        "max_leaf_nodes": _whole(3, 31),
        "min_samples_leaf": _whole(5, 40),
        "l2_regularization": _share(0.0, 10.0),
    }


def _support(estimator):
    return {"C": _real(1e-2, 1e2)}


_READY = {
    "FusionClassifier": _fusion,
    "FusionRegressor": _fusion,
    "ImageEstimator": _network,
    "Denoiser": _voxelwise,
    "LesionSegmenter": _segmenter,
    "TissueSegmenter": _voxelwise,
    "VoxelwiseModel": _voxelwise,
    "SequenceInvariantEncoder": _encoder,
    "OrdinalClassifier": _ordinal,
    "ImageEmbedding": lambda estimator: {"n_components": _whole(0, 16)},
    "BlockEncoder": _blocks,
    "BlockScaler": lambda estimator: {"length": _real(0.3, 30.0)},
    "LesionKernel": lambda estimator: {"length": _real(0.3, 30.0)},
    "RegionSelector": _regions,
    "LogisticRegression": lambda estimator: {"C": _real(1e-3, 1e2)},
    "Ridge": lambda estimator: {"alpha": _real(1e-2, 1e4)},
    "RidgeClassifier": lambda estimator: {"alpha": _real(1e-2, 1e4)},
    "ElasticNet": lambda estimator: {"alpha": _real(1e-3, 10.0), "l1_ratio": _share(0.0, 1.0)},
    "Lasso": lambda estimator: {"alpha": _real(1e-3, 10.0)},
    "SVC": _support,
    "SVR": _support,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "HistGradientBoostingClassifier": _boosting,
    "HistGradientBoostingRegressor": _boosting,
}
