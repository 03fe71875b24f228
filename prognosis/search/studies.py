"""Which study a fit belongs to: one of its own, known by what it was made from.

The name of a study ends in a fingerprint of cohort, folds, space, estimator and code, so that two
folds of an outer cross-validation, or a search with a patient more, never share one.
"""

import os
import pickle
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from sklearn.utils import check_random_state

from imaging.storage.code_identity import code_version
from imaging.storage.identity import identity

from ..provenance import installed_versions

__all__ = ["copied", "find_seed", "fingerprints", "open_storage", "open_study", "quiet"]

PACKAGES = ("scikit-learn", "optuna", "torch", "skorch", "monai", "numpy", "scipy", "pandas")
SHORT = 12  # letters of the fingerprint in a name


def open_storage(storage):
    """The Optuna storage that a parameter means.

    Parameters
    ----------
    storage : None, str, os.PathLike or optuna.storages.BaseStorage
        None keeps the study in memory; text with ``://`` is the address of a database; any other
        path is that of a journal file.
    """
    if storage is None:
        return optuna.storages.InMemoryStorage()
    if isinstance(storage, (str, os.PathLike)):
        text = os.fspath(storage)
        if "://" in text:
            return optuna.storages.get_storage(text)
        path = Path(text).expanduser().absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = JournalFileOpenLock(str(path)) if sys.platform == "win32" else None
        backend = JournalFileBackend(str(path), lock_obj=lock)
        _mend(backend, path)
        return JournalStorage(backend)
    if not isinstance(storage, optuna.storages.BaseStorage):
        raise ValueError(
            f"storage={storage!r}: give the path of a journal file, the address of a database "
            "(sqlite:///study.db), or a storage of optuna.storages"
        )
    return storage


def fingerprints(parts):
    """Hashes of what a study is made from.

    Parameters
    ----------
    parts : dict of str to object

    Returns
    -------
    dict of str to str
        One for each, and one of the code and the libraries that it depends on.

    Raises
    ------
    ValueError
        If something has no name to find it by, as a lambda has none.
    """
    code = (code_version("imaging", "prognosis"), installed_versions(PACKAGES))
    found = {"code": identity(code)[:SHORT]}
    for name, part in parts.items():
        try:
            found[name] = identity(part)[:SHORT]
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"the search cannot be recognised after an interruption, because its {name} cannot "
                f"be pickled ({error}); give it named functions of a module, or leave storage out"
            ) from error
    return found


def find_seed(random_state, parts):
    """The seed of a search: as given, of a fit that can go on from what it is made from, or any.

    Parameters
    ----------
    random_state : int, RandomState or None
    parts : dict of str to str, or None
        See `fingerprints`.

    Returns
    -------
    int
    """
    if random_state is not None:
        return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    if parts is not None:
        return int(identity(parts)[:7], 16)
    return int(np.random.SeedSequence().generate_state(1)[0] >> 1)


def open_study(storage, name, parts, *, sampler, pruner):
    """The study of a fit, made if it is not there yet.

    Parameters
    ----------
    storage : optuna.storages.BaseStorage
    name : str
        What its name begins with.
    parts : dict of str to str, or None
        See `fingerprints`; None for a study in memory.
    sampler, pruner

    Returns
    -------
    study : optuna.study.Study
    note : str
        Where this one is new and there are others whose names begin so: what differs from the one
        that is most like it. Else empty.

    Raises
    ------
    ValueError
        If there is a study of this very name that was made from something else.
    """
    made = {"storage": storage, "sampler": sampler, "pruner": pruner, "direction": "maximize"}
    if parts is None:
        return optuna.create_study(study_name=name, **made), ""
    full = f"{name}-{identity(parts)[:SHORT]}"
    others = {
        other.study_name: other.user_attrs.get("made_from", {})
        for other in optuna.get_all_study_summaries(storage, include_best_trial=False)
        if other.study_name.startswith(f"{name}-")
    }
    study = optuna.create_study(study_name=full, load_if_exists=True, **made)
    if study.user_attrs.setdefault("made_from", parts) != parts:
        raise ValueError(
            f"the storage holds a study {full!r} that was made from other input; name another "
            "study_name"
        )
    if full not in others:
        study.set_user_attr("made_from", parts)
    if full in others or not others:
        return study, ""
    differing = [_differing(other, parts) for other in others.values()]
    return study, f"a new study, for other {min(differing, key=len)} than before: {full}"


def copied(study):
    """A study in memory with the same trials: it needs no storage, and can be pickled."""
    found = optuna.create_study(study_name=study.study_name, direction="maximize")
    for name, value in study.user_attrs.items():
        found.set_user_attr(name, value)
    found.add_trials(study.get_trials(deepcopy=False))
    return found


@contextmanager
def quiet():
    """Keep Optuna from saying every trial; errors are raised or warned of here."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _mend(backend, path):
    """Cut off half a line, which a power cut may have left at the end: nobody could read on."""
    from optuna.storages.journal._file import get_lock_file

    with open(path, "rb+") as file:
        if not file.seek(0, os.SEEK_END):
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        with get_lock_file(backend._lock):
            content = path.read_bytes()
            if not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)


def _differing(other, parts):
    return ", ".join(name for name, value in parts.items() if other.get(name) != value)
