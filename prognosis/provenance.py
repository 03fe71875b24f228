"""What a reader needs to repeat a result: versions, and models without what changes none."""

from importlib import metadata

from sklearn.base import clone

__all__ = ["installed_versions", "without_caches"]


def installed_versions(packages):
    """Versions of those distributions that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def without_caches(model):
    """A clone that names no cache folder and no storage of trials: these change no result."""
    held = {"": model} | model.get_params(deep=True)
    caches = []
    for name in model.get_params(deep=True):
        owner, _, own = name.rpartition("__")
        kept_elsewhere = getattr(type(held.get(owner)), "_kept_elsewhere", ())
        if own == "memory" or own in kept_elsewhere:
            caches.append(name)
    return clone(model).set_params(**dict.fromkeys(caches))
