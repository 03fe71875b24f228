"""What a reader needs to repeat a comparison: date, versions, seeds, folds, cohort, models."""

import datetime
import platform
import re

from ...provenance import installed_versions, without_caches
from .outcomes import model_kinds

__all__ = ["PACKAGES", "describe_run"]

PACKAGES = (
    "prognosis-mri",
    "scikit-learn",
    "torch",
    "skorch",
    "monai",
    "nilearn",
    "nibabel",
    "numpy",
    "scipy",
    "pandas",
)


def describe_run(models, X, y, cv, splits, classes, groups, random_state, ordinal=None):
    """Metadata of a comparison.

    Returns
    -------
    dict
        JSON-ready but for what a cohort puts into ``X.attrs["cohort"]``: ``date`` (UTC),
        ``versions``, ``random_state``, ``cv``, ``n_folds``, ``n_repeats``, ``n_patients``,
        ``n_tested``, ``outcome``, ``class_counts``, ``n_groups``, ``cohort``, ``models``; of an
        ordinal outcome also ``cut`` and the ``kinds`` of the models. `compare` adds ``scoring``,
        ``threshold`` and, where scores are given by group, ``by`` and ``groups_apart``.

    Examples
    --------
    >>> import pandas as pd
    >>> from prognosis.splits import make_splits
    >>> X, y = pd.DataFrame({"age": range(10)}), pd.Series([0, 1] * 5, name="poor")
    >>> splits = make_splits(5, X, y, classification=True)
    >>> found = describe_run({}, X, y, 5, splits, [0, 1], None, 0)
    >>> found["cv"], found["n_patients"], found["outcome"], found["class_counts"]
    ('5', 10, 'poor', {'0': 5, '1': 5})
    """
    if ordinal is not None:
        classes = ordinal.scale
    about = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | installed_versions(PACKAGES),
        "random_state": random_state,
        "cv": " ".join(str(cv).split()),
        "n_folds": max(split.fold for split in splits),
        "n_repeats": max(split.repeat for split in splits),
        "n_patients": len(X),
        "n_tested": len({row for split in splits for row in split.test}),
        "outcome": str(y.name if y.name is not None else "outcome"),
        "class_counts": classes and {str(label): int((y == label).sum()) for label in classes},
        "n_groups": None if groups is None else len(set(groups)),
        "cohort": dict(X.attrs.get("cohort", {})),
        "models": {name: _describe_model(model) for name, model in models.items()},
    }
    if ordinal is not None:
        about |= {"cut": ordinal.cut, "kinds": model_kinds(models)}
    return about


def _describe_model(model):
    """A model's parameters, without what changes no result: caches, and addresses of functions."""
    text = repr(without_caches(model))
    return re.sub(r" at 0x[0-9a-f]+", "", " ".join(text.split()))
