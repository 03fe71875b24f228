"""The study's models for a cohort: the ladder, number and place of lesions, CNN, CNN with ladder.

The command line, the demo and the benchmarks all take their models from here.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ..columns import check_cohort
from ..errors import CohortError
from ..splits import PatientFolds
from .ladder import linear_ladder, logistic_ladder, ordinal_ladder
from .place import place_model
from .regions import regularised

__all__ = ["Study", "build_study", "is_classification"]

# How columns are called in tables and figures.
LABELS = {
    "lesion_ml": "size",
    "nihss": "NIHSS",
    "bmi": "BMI",
    "recovery_years": "recovery time",
    "t1w": "T1w",
    "t2w": "T2w",
    "flair": "FLAIR",
    "dwi": "DWI",
}
INNER_FOLDS = 3  # of the stacking


@dataclass
class Study:
    """What `compare` needs for the study's series of models.

    Attributes
    ----------
    X : DataFrame
        The cohort with ``lesion_ml`` and region loads beside its columns, where it has lesions.
    y : Series
    models : dict of str to estimator
    baseline : str
        The top of the ladder.
    """

    X: pd.DataFrame
    y: pd.Series
    models: dict
    baseline: str


def is_classification(y):
    """Whether an outcome is read as classes: text, truth values, or only two different numbers.

    Examples
    --------
    >>> is_classification(pd.Series([0, 1, 1])), is_classification(pd.Series([0, 3, 6]))
    (True, False)
    """
    return not pd.api.types.is_numeric_dtype(y.dtype) or y.dropna().nunique() <= 2


def build_study(
    X,
    y,
    *,
    image=None,
    tabular=(),
    lesion=None,
    atlas="aal",
    place_atlas=None,
    classification=None,
    ordinal=False,
    labels=None,
    space="template",
    patient=None,
    memory=None,
    n_jobs=None,
    random_state=None,
    **cnn,
):
    """Assemble the models that a cohort allows.

    In this order: regressions on lesion size and one tabular column more at a time; region loads
    with all of these; the number of lesions with all of these, and their place too (`place_model`,
    its penalty chosen inside the fold); the CNN on stitched slices alone; one network that sees the
    slices and all tabular columns; and the CNN stacked with the top of the ladder
    (`StackingClassifier`, whose inner folds keep the CNN's predictions of training patients
    honest).

    Parameters
    ----------
    X : DataFrame, one row per patient
    y : Series
    image : str, default=None
        Column for the CNN; None leaves the CNN out.
    tabular : sequence of str, default=()
        Columns in the order in which the ladder adds them.
    lesion : str, default=None
        Column with lesion masks; None leaves lesion size and region loads out.
    atlas : default="aal"
        See `RegionLoad`.
    place_atlas : default=None
        Atlas of `place_model`, best one of white-matter tracts: "natbrainlab". None: `atlas`.
    classification : bool, default=None
        None: as `is_classification`.
    ordinal : bool, default=False
        The outcome is ordinal and `compare` will be given a `cut`: the models are those of
        classification, and the top of the ladder and the network that sees all come once more
        as proportional odds.
    labels : int, sequence of int or None, default=None
        Where the masks hold labels, those that are lesion.
    space : {"template", "native"}, default="template"
        "native": images are not asked whether they lie in template space, and what models of
        regions and places say means nothing.
    patient : str, default=None
        Column that names the patient, where a patient has several rows: all folds inside the
        models keep these together. Give `compare` the same, ``groups=patient``.
    memory : str or joblib.Memory, default=None
        Where measured lesions and prepared images are kept; of trusted people only, see
        `LesionSize`.
    n_jobs : int, default=None
        Threads that measure the lesions.
    random_state : int, default=None
    **cnn
        Further parameters of `StitchedSliceClassifier` or `StitchedSliceRegressor`.

    Returns
    -------
    Study

    Raises
    ------
    CohortError
        If a column is missing, an image cannot be read, or there is neither a lesion nor a tabular
        column to build a baseline from.

    Examples
    --------
    >>> from prognosis import make_stroke_cohort
    >>> X, y = make_stroke_cohort(4, spacing_mm=8, random_state=0)
    >>> study = build_study(X, y, image="t1w", lesion="lesion", tabular=["severity"])
    >>> for name in study.models:
    ...     print(name)
    size
    size + severity
    regions + tabular
    number + tabular
    number, place + tabular
    stitched T1w
    stitched T1w + tabular
    stitched T1w + tabular, stacked
    >>> study.baseline
    'size + severity'
    """
    tabular = list(tabular)
    declared = [name for name in (image, lesion, patient) if name is not None]
    check_cohort(X, [*tabular, *declared])
    if classification is None:
        classification = ordinal or is_classification(y)
    regions, ladder = [], tabular
    if lesion is not None:
        reading = {"labels": labels, "memory": memory, "n_jobs": n_jobs}
        X, regions = _measure(X, lesion, atlas, space, reading)
        ladder = ["lesion_ml", *tabular]
    if not ladder:
        raise CohortError(
            "there is nothing to build a baseline from: name tabular columns, or a lesion column"
        )
    rungs = [ladder[:count] for count in range(1, len(ladder) + 1)]
    make_ladder = logistic_ladder if classification else linear_ladder
    models = make_ladder(rungs, names=[_label(rung) for rung in rungs], random_state=random_state)
    baseline = list(models)[-1]
    top = models[baseline]
    if ordinal:
        models |= ordinal_ladder(rungs[-1:], names=[f"{baseline}, ordinal"])
    # "tabular" stands for the whole ladder, whose top rung has the full name
    everything = "tabular" if tabular else baseline
    if regions:
        models[f"regions + {everything}"] = regularised(regions, ladder, classification, patient)
        outcome = "ordinal" if ordinal else "binary" if classification else "continuous"
        place = place_model(
            lesion,
            tabular=tabular,
            atlas=atlas if place_atlas is None else place_atlas,
            outcome=outcome,
            penalty="auto",
            patient=patient,
            space=space,
            random_state=random_state,
            **reading,
        ).set_params(size__volume=None)  # `_measure` has added it
        models[f"number + {everything}"] = _without_place(place)
        models[f"number, place + {everything}"] = place
    if image is not None:
        cnn |= {"patient": patient, "memory": memory, "random_state": random_state}
        cnn["space"] = space
        network = _network(image, image == lesion, classification, cnn)
        name = f"stitched {_label([image])}"
        models[name] = network
        models[f"{name} + {everything}"] = clone(network).set_params(tabular=ladder)
        if ordinal:
            whole = clone(network).set_params(tabular=ladder, ordinal=True)
            models[f"{name} + {everything}, ordinal"] = whole
        stacked = _stacked(top, network, classification, patient, random_state)
        models[f"{name} + {everything}, stacked"] = stacked
    return Study(X, y, models, baseline)


def _label(columns):
    return " + ".join(LABELS.get(name, name.replace("_", " ")) for name in columns)


def _measure(X, lesion, atlas, space, reading):
    """Lesion size and region loads: they look at one patient at a time, so no fold is needed."""
    from ..features.lesion_size import LesionSize
    from ..features.region_load import RegionLoad

    if "lesion_ml" not in X.columns:
        X = LesionSize(lesion, **reading).fit_transform(X)
    load = RegionLoad(lesion, atlas=atlas, space=space, **reading)
    X = load.fit_transform(X)
    return X, list(load.columns_)


def _without_place(model):
    """The same `place_model` without its block: what the number of lesions adds to the table."""
    encode = clone(model["choose"].estimator["encode"])
    return Pipeline(
        [
            ("size", clone(model["size"])),
            ("encode", encode.set_params(blocks=None, penalties=None)),
            ("model", clone(model["choose"].estimator["model"])),
        ]
    )


def _network(image, is_mask, classification, options):
    from ..estimators.stitched import StitchedSliceClassifier, StitchedSliceRegressor

    kind = StitchedSliceClassifier if classification else StitchedSliceRegressor
    return kind(image, allow_empty=is_mask, **options)


def _stacked(top, network, classification, patient, random_state):
    from sklearn.ensemble import StackingClassifier, StackingRegressor
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    members = [("clinical", top), ("cnn", network)]
    folds = {"n_splits": INNER_FOLDS, "shuffle": True, "random_state": random_state}
    if patient is not None:
        cv = PatientFolds(patient=patient, **folds)
    else:
        cv = StratifiedKFold(**folds) if classification else KFold(**folds)
    if not classification:
        # RidgeCV leaves out single rows, and two predictions hardly need its choice
        final = RidgeCV() if patient is None else Ridge()
        return StackingRegressor(members, final_estimator=final, cv=cv)
    # probabilities add up on the scale of log odds
    final = make_pipeline(FunctionTransformer(_log_odds), LogisticRegression())
    return StackingClassifier(members, final_estimator=final, cv=cv)


def _log_odds(probability):
    probability = np.clip(probability, 1e-3, 1 - 1e-3)
    return np.log(probability / (1 - probability))
