"""Ready models on where the lesion is: size, number and severity, and the tracts as one block.

They are plain pipelines of this package's public parts, so that every step can be exchanged; what
a fitted one says of each tract is listed by `coef_table` and drawn by `coef_image`.
"""

import nibabel as nib
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..estimators.ordinal.classifier import OrdinalClassifier
from ..estimators.ordinal.scale import predict_exceeding
from ..features.blocks import BlockEncoder
from ..features.brain_age import BrainAgeGap
from ..features.lesion_count import LesionCount
from ..features.lesion_kernel import LesionKernel
from ..features.region_load import RegionLoad
from ..splits import PatientFolds
from .choosing import CheckedGridSearch

__all__ = ["coef_image", "coef_table", "place_model"]

PLACE, KERNEL = "place", "kernel"
PENALTIES = (1.0, 10**0.5, 10.0, 10**1.5, 100.0)  # tried by penalty="auto"
CHOOSING_FOLDS = 5
SMALLEST_REGION_VOXELS = 51  # of an atlas: at 50 and below one voxel of a lesion decides
REPRESENTATIONS = ("tracts", "kernel", "auto")
MEASURED = ("lesion_ml", "log_lesion_count")  # by the model itself, which always takes them
OUTCOMES = ("ordinal", "binary", "continuous")


def place_model(
    lesion="lesion",
    *,
    tabular=("nihss", "age"),
    log="auto",
    atlas="natbrainlab",
    outcome="ordinal",
    representation="tracts",
    penalty=10.0,
    cut=None,
    brain_age=None,
    least_mm3=0.0,
    labels=None,
    space="template",
    patient=None,
    memory=None,
    n_jobs=None,
    random_state=0,
):
    """Make a model of outcome from the place, size and number of lesions and a table.

    Parameters
    ----------
    lesion : str, default="lesion"
        Column that holds the lesion masks, in template (MNI) space.
    tabular : sequence of str, default=("nihss", "age")
        Columns that go in standardised, beside the lesion's volume in ml and the logarithm of the
        number of lesions, which are measured and need not be named. Without "nihss" the model needs
        nothing that a neurologist measures.
    log : sequence of str or "auto", default="auto"
        Columns of `tabular` that go in as ``log(1 + value)``; "auto": "nihss", if it is there.
    atlas : str, path, nilearn Bunch or imaging.Atlas, default="natbrainlab"
        Whose regions make the block of places; see `imaging.load_atlas`.
    outcome : {"ordinal", "binary", "continuous"}, default="ordinal"
        Proportional odds with a slope for every step (`OrdinalClassifier`), for outcomes in steps
        such as the modified Rankin Scale (with two steps this is logistic regression); logistic
        regression, for two classes, also named by text; or ridge regression. Give the whole scale
        where you have it, even if one cut is what counts: `predict_exceeding` says the probability
        of lying above it, and every step teaches.
    representation : {"tracts", "kernel", "auto"}, default="tracts"
        How place is said: as a block of region loads (`RegionLoad`, `BlockScaler`), good for acute
        lesions; as the kernel of whole masks (`LesionKernel`), good for large chronic ones; or
        whichever of both an inner cross-validation prefers.
    penalty : float or "auto", default=10.0
        Ridge penalty of the block of places, where the other columns have 1. "auto" chooses from
        10^0, 10^.5, ..., 10^2 by inner five folds, on the log loss or the squared error.
    cut : float, default=None
        Of an ordinal outcome, where something is chosen: by the log loss of lying above this cut.
        None: of all steps.
    brain_age : str, default=None
        Column of FLAIR or T1w, from which `BrainAgeGap` makes one more tabular column; it needs
        the column "age". None: without. Its gain on the patients below is suggestive, no more.
    least_mm3 : float, default=0.0
        Smaller lesions are not counted, see `LesionCount`.
    labels : int, sequence of int or None, default=None
        Where the masks hold labels, those that are lesion. The masks for `brain_age` have none.
    space : {"template", "native"}, default="template"
        "native": masks are not asked whether they lie in template space; then places mean nothing,
        and what is left of the model is size, number and table.
    patient : str, default=None
        Column that names the patient, where patients have several rows: inner folds keep these
        together.
    memory : str, path, joblib.Memory or None, default=None
        Where what was measured of the masks is kept. The folder holds pickles, and opening one runs
        whatever code it holds: name only folders that nobody else can write to.
    n_jobs : int or None, default=None
        Threads that read masks.
    random_state : int, default=0
        Draws the inner folds.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Steps "brain_age" (`BrainAgeGap`) where wanted, "size" (`LesionCount`), "place"
        (`RegionLoad`) or "kernel" (`LesionKernel`) or both, "encode" (`BlockEncoder`) and "model";
        where something is chosen, "choose" (`GridSearchCV` over the last two) in place of these.

    Raises
    ------
    ValueError
        If a choice is unknown, `log` names what is not in `tabular`, or `cut` is given for an
        outcome that is not ordinal.

    Notes
    -----
    On 464 patients of the Stroke Outcome Optimization Project, poor outcome, see
    ``benchmarks/place.py``. The penalty of 10 for 32 tracts was found there, and serves elsewhere;
    atlases of 200 regions like 3 to 5, masks 30 to 100.

    Examples
    --------
    >>> from prognosis import make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> model = place_model("lesion", tabular=["severity"], atlas="aal").fit(X, y)
    >>> list(model.named_steps)
    ['size', 'place', 'encode', 'model']
    >>> model.predict_proba(X).shape
    (20, 2)
    >>> coef_table(model).loc["severity", "block"]
    'tabular'
    """
    for name, value, known in (
        ("outcome", outcome, OUTCOMES),
        ("representation", representation, REPRESENTATIONS),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if penalty != "auto" and (isinstance(penalty, str) or not penalty > 0):
        raise ValueError(f'penalty must be above 0, or "auto", got {penalty!r}')
    if cut is not None and outcome != "ordinal":
        raise ValueError(
            f'cut={cut!r} is of an ordinal outcome; leave it out, or outcome="ordinal"'
        )
    tabular = [tabular] if isinstance(tabular, str) else list(dict.fromkeys(tabular))
    tabular = [name for name in tabular if name not in MEASURED]
    log = [name for name in tabular if name == "nihss"] if log == "auto" else list(log)
    strays = [name for name in log if name not in tabular]
    if strays:
        raise ValueError(f"log names {strays[0]!r}, which is not in tabular ({tabular})")
    reading = {"memory": memory, "n_jobs": n_jobs}
    placed = {"labels": labels, "space": space, **reading}
    size = LesionCount(
        lesion,
        log=True,
        least_mm3=least_mm3,
        column="log_lesion_count",
        volume="lesion_ml",
        labels=labels,
        **reading,
    )
    steps, blocks = [("size", size)], {}
    if brain_age is not None:
        gap = BrainAgeGap(
            brain_age,
            lesion=lesion,
            patient=patient,
            space=space,
            random_state=random_state,
            **reading,
        )
        steps.insert(0, ("brain_age", gap))
        tabular.append("brain_age_gap")
    if representation in ("tracts", "auto"):
        loads = RegionLoad(
            lesion,
            atlas=atlas,
            prefix=f"{PLACE}_",
            least_voxels=SMALLEST_REGION_VOXELS,
            **placed,
        )
        steps.append(("place", loads))
        blocks[PLACE] = f"{PLACE}_*"
    if representation in ("kernel", "auto"):
        steps.append(("kernel", LesionKernel(lesion, prefix=f"{KERNEL}_", **placed)))
        blocks[KERNEL] = f"{KERNEL}_*"
    encode = BlockEncoder(
        [*MEASURED, *tabular],
        log=log,
        blocks=blocks,
        penalties=None if penalty == "auto" else dict.fromkeys(blocks, float(penalty)),
        root={PLACE: "square", KERNEL: None},
    )
    last = [("encode", encode), ("model", _learner(outcome))]
    if penalty != "auto" and representation != "auto":
        return Pipeline([*steps, *last])
    penalties = PENALTIES if penalty == "auto" else [float(penalty)]
    grid = [
        {"encode__blocks": [{name: pattern}], "encode__penalties": [{name: p} for p in penalties]}
        for name, pattern in blocks.items()
    ]
    choose = CheckedGridSearch(
        Pipeline(last),
        grid,
        scoring=_scoring(outcome, cut),
        cv=_choosing_folds(outcome, patient, random_state),
    )
    return Pipeline([*steps, ("choose", choose)])


def coef_table(model):
    """The coefficients of a fitted `place_model`, by name.

    Parameters
    ----------
    model : sklearn.pipeline.Pipeline
        A fitted `place_model`, or any pipeline that ends in a `BlockEncoder` and a linear model of
        one outcome.

    Returns
    -------
    DataFrame, one row per feature, those of the tabular columns first
        Index: name of the column or region. ``block``; ``penalty``; ``coefficient``, log odds (or
        units of the outcome) for one unit of the feature as the block was scaled: one standard
        deviation of a tabular column; for a region, whose block has one scale, coefficients compare
        as what the same damage does. ``whole``: what the whole region, lesioned rather than spared,
        adds (NaN for tabular columns).

    Raises
    ------
    ValueError
        If the pipeline does not end so, or the model has no single row of coefficients.

    Examples
    --------
    >>> from prognosis import make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> model = place_model("lesion", tabular=["severity"], atlas="aal").fit(X, y)
    >>> coef_table(model).query("block == 'tabular'").index.tolist()
    ['lesion_ml', 'log_lesion_count', 'severity']
    """
    encode, learner = _encoder_and_learner(model)
    coefficients = np.asarray(learner.coef_, dtype=float)
    if coefficients.size != len(encode.block_of_features_):
        raise ValueError(
            f"{type(learner).__name__} has coefficients of shape {coefficients.shape} for "
            f"{len(encode.block_of_features_)} features; give a model of one outcome"
        )
    # The encoder divided the features of a block by the root of its penalty.
    coefficients = coefficients.ravel() / np.sqrt(encode.penalty_of_features_)
    names, whole = [], []
    for feature, block, value in zip(
        encode.get_feature_names_out(), encode.block_of_features_, coefficients
    ):
        name = feature.removeprefix(f"{block}__")
        if block == PLACE:
            name = name.removeprefix(f"{PLACE}_")
        names.append(name)
        whole.append(np.nan if block == "tabular" else value / encode.scalers_[block].scale_)
    return pd.DataFrame(
        {
            "block": encode.block_of_features_,
            "penalty": encode.penalty_of_features_,
            "coefficient": coefficients,
            "whole": whole,
        },
        index=pd.Index(names, name="feature"),
    )


def coef_image(model):
    """The coefficients of the places of a fitted `place_model` as an image in template space.

    Parameters
    ----------
    model : sklearn.pipeline.Pipeline
        A fitted `place_model`.

    Returns
    -------
    nibabel.Nifti1Image, float32
        On the grid of the atlas, in each region its coefficient as `coef_table` lists it; of a
        kernel, on cubes, what a wholly lesioned cube adds.

    Raises
    ------
    ValueError
        If the model holds no place.

    Examples
    --------
    >>> from prognosis import make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> model = place_model("lesion", tabular=["severity"], atlas="aal").fit(X, y)
    >>> coef_image(model).shape == model["place"].atlas_.image.shape
    True
    """
    table = coef_table(model)
    if KERNEL in set(table["block"]):
        kernel = table[table["block"] == KERNEL]
        return model["kernel"].coefficient_image(kernel["whole"])
    places = table.loc[table["block"] == PLACE, "coefficient"]
    if places.empty:
        raise ValueError("the model holds no block of places")
    atlas = model["place"].atlas_
    labels = np.asanyarray(atlas.image.dataobj)
    values = np.zeros(int(max(labels.max(), *atlas.names)) + 1, np.float32)
    for label, name in atlas.names.items():
        values[label] = places.get(name, 0.0)
    return nib.Nifti1Image(values[labels], atlas.image.affine)


def _learner(outcome):
    """A linear model with a ridge penalty of one, as `BlockEncoder` expects."""
    if outcome == "ordinal":
        return OrdinalClassifier(alpha=1.0, slopes="each")
    if outcome == "binary":
        return LogisticRegression(C=1.0, max_iter=1000)
    return Ridge(alpha=1.0)


def _choosing_folds(outcome, patient, random_state):
    drawn = {"shuffle": True, "random_state": random_state}
    if patient is not None:
        return PatientFolds(CHOOSING_FOLDS, patient=patient, **drawn)
    return (KFold if outcome == "continuous" else StratifiedKFold)(CHOOSING_FOLDS, **drawn)


def _scoring(outcome, cut):
    if outcome == "continuous":
        return "neg_mean_squared_error"
    return "neg_log_loss" if outcome == "binary" else OrdinalLogScore(cut)


class OrdinalLogScore:
    """Scorer: mean log probability of what happened, above a cut or not, or of the very class.

    A class that the training part of a fold lacks gets the least probability, and no error: rare
    steps of a scale need not occur in every fold.
    """

    def __init__(self, cut=None):
        self.cut = cut

    def __call__(self, model, X, y):
        y = np.asarray(y)
        if self.cut is not None:
            above = predict_exceeding(model, X, self.cut)
            chances = np.where(y > self.cut, above, 1 - above)
        else:
            known, places = model.classes_, np.searchsorted(model.classes_, y)
            places = np.minimum(places, len(known) - 1)
            chances = model.predict_proba(X)[np.arange(len(y)), places]
            chances = np.where(known[places] == y, chances, 0.0)
        return float(np.log(np.maximum(chances, np.finfo(float).eps)).mean())


def _encoder_and_learner(model):
    check_is_fitted(model)
    last = model[-1]
    if isinstance(last, GridSearchCV):
        model, last = last.best_estimator_, last.best_estimator_[-1]
    encode = model[-2] if isinstance(model, Pipeline) and len(model) > 1 else None
    if not isinstance(encode, BlockEncoder) or not hasattr(last, "coef_"):
        raise ValueError(
            "coefficients are listed of pipelines that end in a BlockEncoder and a linear model, "
            "such as place_model makes"
        )
    return encode, last
