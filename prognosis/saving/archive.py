"""Save a fitted model to one file, and load it without running any code that the file brings.

The file is a ZIP of three parts: what scikit-learn knows (by skops), weights (safetensors), and a
card (JSON) that says what the model is, whom it was trained on, and what the other parts must be.
"""

import io
import json
import os
import warnings
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import NoneType

from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

from imaging.storage.code_identity import code_version
from imaging.storage.files import replacing
from imaging.storage.models import ModelFileError, check_weights, plain_json

from ..provenance import installed_versions
from .cohort import TrainingCohort
from .describing import describe
from .exchanging import exchanged, parts_of
from .parts import apart, together
from .trust import strangers

__all__ = ["load", "read_card", "save", "training_cohort"]

FORMAT = 1
_CARD, _MODEL, _WEIGHTS = "card.json", "model.skops", "weights.safetensors"
_MOST_CARD_BYTES = 64_000_000
_MOST_TIMES = 50  # that a part is larger than what is compressed of it, beyond a card's size
_PACKAGES = ("prognosis-mri", "scikit-learn", "numpy", "pandas", "torch", "skops")
_DECIDING = ("prognosis-mri", "scikit-learn", "torch")
_STAMP = (1980, 1, 1, 0, 0, 0)


def save(model, path, X=None, y=None, *, trusted=()):
    """Write a fitted model to one file, which `load` opens without unpickling anything.

    Parameters
    ----------
    model : fitted estimator
        Any of this package, of scikit-learn, or a pipeline, stack or search of these; of a search
        the best model is kept. Caches (`memory`) are not.
    path : str or os.PathLike
        Best ending in ".prognosis". A file that is there is replaced, when the new one is whole.
    X : DataFrame, default=None
        The training patients, as they were given to `fit`. They are described in the file: ranges,
        quartiles, categories and missing values of the columns, and of the lesion's size and number
        where the model measures them; ids only as salted hashes. Then `training_cohort` can say
        where a new patient lies among them. None: nothing is said of them.
    y : Series, default=None
        Their outcome, described likewise.
    trusted : sequence of str, default=()
        Types or functions of other packages that the model holds, with their modules; `load` needs
        to be given the same.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ModelFileError
        If the model is not fitted, or holds something that cannot be kept without unpickling; the
        message names it.

    Examples
    --------
    >>> import tempfile
    >>> from prognosis import logistic_ladder, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> model = logistic_ladder([["severity"]])["severity"].fit(X, y)
    >>> path = save(model, Path(tempfile.mkdtemp(), "ladder.prognosis"), X, y)
    >>> bool((load(path).predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    import skops.io

    path = Path(path).expanduser()
    model = getattr(model, "best_estimator_", model)
    try:
        check_is_fitted(model)
    except (NotFittedError, TypeError) as error:
        raise ModelFileError(
            f"{type(model).__name__} is not fitted, so there is nothing to save; call fit first"
        ) from error
    kinds, exchange, tensors = apart()
    try:
        plain = _without_caches(exchanged(model, kinds, exchange))
        held = skops.io.dumps(plain)
    except Exception as error:
        raise ModelFileError(
            f"{type(model).__name__} holds something that no file keeps without pickling "
            f"({_in_one_line(error)}); give named functions and estimators in place of it, or use "
            "joblib.dump, whose files run code when they are opened"
        ) from error
    _refuse_strangers(held, trusted, f"{type(model).__name__} holds", "save and load")
    parts = {_MODEL: held}
    if tensors:
        from safetensors.torch import save as as_bytes

        parts[_WEIGHTS] = as_bytes(tensors)
    card = {
        "format": FORMAT,
        "model": type(model).__name__,
        "steps": [type(step).__name__ for _, step in getattr(model, "steps", [("", model)])],
        "cohort": None if X is None else describe(model, X, y),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": installed_versions(_PACKAGES),
        "code": code_version("imaging", "prognosis"),
        "trusted": sorted(trusted),
        "checksums": {name: sha256(part).hexdigest() for name, part in parts.items()},
    }
    text = json.dumps(card, indent=1, allow_nan=False)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, part in {_CARD: text, **parts}.items():
            # Weights are noise to a compressor.
            how = zipfile.ZIP_STORED if name == _WEIGHTS else zipfile.ZIP_DEFLATED
            file.writestr(zipfile.ZipInfo(name, _STAMP), part, how)
    return path


def load(path, *, trusted=()):
    """A fitted model from a file that `save` wrote; it predicts what the saved one predicted.

    Nothing is unpickled: the file may only name types that models of this package are made of.

    Parameters
    ----------
    path : str or os.PathLike
    trusted : sequence of str, default=()
        Other types or functions that it may name, with their modules. Trust only what you know:
        they are put together from what the file says.

    Returns
    -------
    estimator

    Raises
    ------
    ModelFileError
        If there is no such file, it was written by something else, was changed or damaged since, or
        names a type that is not trusted; the message names it.

    Warns
    -----
    UserWarning
        If other versions are installed than it was saved with.

    Examples
    --------
    >>> load("nothing.prognosis")
    Traceback (most recent call last):
        ...
    imaging.storage.models.ModelFileError: no model at 'nothing.prognosis'; correct the path
    """
    import skops.io

    card, parts = _opened(path)
    named = _refuse_strangers(parts[_MODEL], trusted, f"{str(path)!r} names", "load", path)
    tensors = {}
    try:
        if _WEIGHTS in parts:
            from safetensors.torch import load as of_bytes

            tensors = of_bytes(parts[_WEIGHTS])
            check_weights(path, tensors)
        with warnings.catch_warnings():  # said below, once for all packages
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            plain = skops.io.loads(parts[_MODEL], trusted=named)
            model = exchanged(plain, *together(tensors))
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(
            f"{str(path)!r} cannot be put together with the installed packages "
            f"({_in_one_line(error)}); it was saved with {_listed(card['versions'])}"
        ) from error
    _warn_of_versions(path, card)
    return model


def training_cohort(path):
    """Whom a saved model was trained on, as far as its file says.

    Parameters
    ----------
    path : str or os.PathLike
        A file that `save` wrote with `X`.

    Returns
    -------
    TrainingCohort

    Raises
    ------
    ModelFileError
        If it is no such file, or says nothing of its patients.

    Examples
    --------
    >>> import tempfile
    >>> from prognosis import logistic_ladder, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> model = logistic_ladder([["severity"]])["severity"].fit(X, y)
    >>> path = save(model, Path(tempfile.mkdtemp(), "ladder.prognosis"), X, y)
    >>> cohort = training_cohort(path)
    >>> cohort.n_patients, cohort.simulated
    (20, True)
    """
    card = read_card(path)
    if card["cohort"] is None:
        raise ModelFileError(
            f"{str(path)!r} says nothing of its training patients; save it with them: "
            "save(model, path, X, y)"
        )
    return TrainingCohort(card["cohort"])


def read_card(path):
    """What a model file says about itself, a dict; errors as `load`."""
    return _opened(path)[0]


def _opened(path):
    """The card of a model file and its other parts, which are as they were written."""
    path = Path(path).expanduser()
    if not os.path.isfile(path):
        raise ModelFileError(f"no model at {str(path)!r}; correct the path")
    foreign = f"{str(path)!r} is no model that prognosis.save wrote"
    try:
        with zipfile.ZipFile(path) as file:
            if _CARD not in file.namelist():
                raise ModelFileError(f"{foreign}: it has no card; give one that has")
            _check_parts(file)
            parts = {name: file.read(name) for name in file.namelist()}
    except ModelFileError:
        raise
    except Exception as error:  # of zipfile and zlib, about what is no file of ours
        raise ModelFileError(
            f"{foreign}, or is damaged ({_in_one_line(error)}); copy it again. Files of joblib and "
            "pickle run code when they are opened and are not opened here"
        ) from error
    try:
        card = plain_json(parts.pop(_CARD))
        number, checksums = card["format"], dict(card["checksums"])
        whole = isinstance(card["versions"], dict) and isinstance(card["cohort"], (dict, NoneType))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{foreign}: it has no card; give one that has") from error
    if number != FORMAT:
        raise ModelFileError(
            f"{str(path)!r} has format {number!r}, and this version reads {FORMAT}; install the "
            "version of prognosis-mri that wrote it"
        )
    if not whole:
        raise ModelFileError(f"{foreign}: its card says nothing of versions; get it again")
    found = {name: sha256(part).hexdigest() for name, part in parts.items()}
    if found != checksums or _MODEL not in found:
        wrong = sorted(n for n in {*found, *checksums} if found.get(n) != checksums.get(n))
        raise ModelFileError(
            f"{str(path)!r} was changed since it was written ({', '.join(wrong) or _MODEL}); get "
            "it again from whoever wrote it"
        )
    return card, parts


def _check_parts(file):
    """Refuse a ZIP that holds other parts than ours, before one of them is unpacked."""
    names = file.namelist()
    strange = [name for name in names if name not in (_CARD, _MODEL, _WEIGHTS)]
    if strange or len(set(names)) < len(names):
        raise zipfile.BadZipFile(f"it holds {(strange or names)[0][:60]!r}")
    _check_sizes(file)


def _check_sizes(file):
    """Refuse parts that would become much larger than any model does."""
    for part in file.infolist():
        most = _MOST_CARD_BYTES
        if part.filename != _CARD:
            most += _MOST_TIMES * part.compress_size
        if part.file_size > most:
            raise zipfile.BadZipFile(f"{part.filename!r} would become {part.file_size:,} bytes")


def _refuse_strangers(held, trusted, begin, where, path=None):
    """Types in a dump that skops does not trust by itself; refuse those that nobody trusts."""
    import skops.io

    try:
        with zipfile.ZipFile(io.BytesIO(held)) as inside:
            _check_sizes(inside)
        named = skops.io.get_untrusted_types(data=held)
    except Exception as error:
        raise ModelFileError(
            f"{str(path)!r} cannot be read as a model ({_in_one_line(error)}); copy it again"
        ) from error
    strange = strangers(named, trusted)
    if strange:
        raise ModelFileError(
            f"{begin} {', '.join(strange)}, which is not on the list of what models may be made "
            f"of; if you know that it is harmless, {where} with trusted={strange!r}"
        )
    return named


def _without_caches(model):
    """Folders of caches belong to a machine, not to a model."""
    for part in parts_of(model, (BaseEstimator,), within=True):
        if "memory" in vars(part):
            part.memory = None
    return model


def _warn_of_versions(path, card):
    now = installed_versions(_PACKAGES)
    changed = [
        f"{name} {card['versions'][name]} (now {now.get(name, 'not installed')})"
        for name in _DECIDING
        if name in card["versions"] and card["versions"][name] != now.get(name)
    ]
    if changed:
        warnings.warn(
            f"{str(path)!r} was saved with {', '.join(changed)}; its predictions may differ: "
            "compare some with those you know",
            stacklevel=3,
        )


def _listed(versions):
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _in_one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
