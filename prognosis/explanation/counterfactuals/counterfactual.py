"""Counterfactual explanations: which regions, taken from another patient, change a prediction.

After CLEAR Image: the contrast is a real patient of the other class, and each explanation says how
far it can be trusted (its fidelity error).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...columns import check_cohort
from ...errors import CohortError
from ..checks import check_counts
from ..models import find_parts
from .answers import Sides, answers
from .contrasts import Patients, choose_contrasts, given_contrasts
from .region_masks import region_masks
from .results import Counterfactuals
from .swaps import LocalRegression, all_swaps, minimal, swapped_images
from .tables import fidelity_table, region_importance, swap_table

__all__ = ["counterfactuals"]

CHUNK_NUMBERS = 2**23  # pixels or voxels of altered images in memory at a time


def counterfactuals(
    estimator,
    X,
    patients=None,
    *,
    X_reference=None,
    y_reference=None,
    contrasts=None,
    n_contrasts=1,
    atlas=None,
    regions=None,
    symbols=False,
    max_regions=3,
    n_candidates=12,
    threshold=None,
):
    """Explain predictions by the regions that must be swapped with another patient's to change it.

    Every patient gets a contrast patient, whom the network puts into another class. Regions of the
    patient's prepared image are replaced by the contrast's, one, two, three at a time; the swaps
    that change the prediction, and contain no smaller one that does, are the counterfactuals. A
    local regression of the log odds on the swaps, through the patient's own, gives each region a
    coefficient. Tabular values and symbols stay the patient's, unless `symbols`.

    Parameters
    ----------
    estimator : fitted image estimator, or Pipeline or RegionSelector that ends in one
    X : DataFrame
        Patients, as in `fit`.
    patients : list, default=None
        Index labels of the patients to explain; None explains all.
    X_reference : DataFrame, default=None
        Where contrasts are taken from, usually the training patients; None: `X`.
    y_reference : array-like, default=None
        Outcomes of the reference patients; with them only rightly predicted ones are contrasts.
    contrasts : dict, default=None
        Index label of the contrast (or a list of several) for each patient. None takes the nearest
        reference patients in the tabular values that the network gets, then in the image, among
        those predicted otherwise with at least median confidence.
    n_contrasts : int, default=1
        Contrasts per patient when they are chosen; importance is averaged over them.
    atlas : Atlas, or whatever `imaging.load_atlas` opens, default=None
        None: the estimator's own regions, else "aal".
    regions : list of str or dict of str to array, default=None
        Regions to swap; None: all that the network sees. A dict brings masks of its own in the
        geometry of the prepared image, see `region_masks`.
    symbols : bool, default=False
        Swap the symbols, too, each as a region of its own.
    max_regions : int, default=3
        Largest swap.
    n_candidates : int, default=12
        With more regions than this, pairs and triples are made of the ones whose single swaps do
        most against the prediction.
    threshold : float, default=None
        For regressors: a prediction counts as changed when it crosses this. None: the median
        prediction of the reference patients.

    Returns
    -------
    Counterfactuals

    Raises
    ------
    CohortError
        If a patient is unknown, or no contrast can be found or one does not fit.
    TypeError
        If the estimator is none of this package's.
    ValueError
        If a parameter is out of range or a region is not in the picture.

    Notes
    -----
    The fidelity error is the absolute difference between what the regression and the network say
    at the counterfactuals, as probabilities (for regressors in units of the outcome): the
    explanation should be right where the prediction changes. A swapped image is a composite of two
    people; it shows what the network uses, not what would happen to the patient.

    References
    ----------
    White and d'Avila Garcez 2021, arXiv 2106.14556 (CLEAR Image); White et al. 2024, NeuroImage:
    Clinical 43:103638.

    Examples
    --------
    >>> from prognosis import RoiSymbolClassifier, counterfactuals, make_stroke_cohort
    >>> X, y = make_stroke_cohort(24, spacing_mm=8, random_state=0)
    >>> cnn = RoiSymbolClassifier(
    ...     "t1w", regions=3, mosaic_size=32, epochs=4, learning_rate=3e-3, random_state=0
    ... )
    >>> found = counterfactuals(cnn.fit(X, y), X, X.index[:4], X_reference=X)
    >>> found.coefficients.shape, sorted(found.importance.index)
    ((4, 3), ['Frontal_Inf_Tri_L', 'Temporal_Mid_L', 'Temporal_Sup_L'])
    """
    check_counts(n_contrasts=n_contrasts, max_regions=max_regions, n_candidates=n_candidates)
    check_cohort(X)
    if isinstance(estimator, Mapping):
        raise TypeError("give one fitted estimator; a dict holds several: explain each fold's own")
    if y_reference is not None:
        n_reference = len(X if X_reference is None else X_reference)
        if len(y_reference) != n_reference:
            raise CohortError(
                f"y_reference has {len(y_reference)} rows and the reference patients are "
                f"{n_reference}; select y.loc[X_reference.index]"
            )
    part = find_parts(estimator, _selected(X, patients))[0]
    others = find_parts(estimator, X if X_reference is None else X_reference)[0]
    estimator = part.estimator
    explained, reference = Patients(estimator, part.X), Patients(estimator, others.X)
    if threshold is None and not Sides(estimator).classification:
        threshold = float(np.median(reference.answers))
    sides = Sides(estimator, threshold)
    if contrasts is None:
        rows = choose_contrasts(explained, reference, sides, y_reference, n_contrasts)
    else:
        rows = given_contrasts(contrasts, explained, reference, sides)
    masks = region_masks(estimator, atlas=atlas, regions=regions, symbols=symbols)
    names, stacked = list(masks), np.stack(list(masks.values()))
    sizes = list(range(1, min(max_regions, len(names)) + 1))
    explanations = [
        _explain(estimator, sides, explained, number, reference, row, stacked, sizes, n_candidates)
        for number in range(len(explained.ids))
        for row in rows[number]
    ]
    coefficients = pd.DataFrame(
        [one.regression.coefficients for one in explanations],
        index=pd.Index([one.patient for one in explanations], name="patient"),
        columns=names,
    )
    swaps = swap_table(explanations, sides, names)
    return Counterfactuals(
        swaps=swaps,
        importance=region_importance(coefficients, swaps),
        fidelity=fidelity_table(explanations, sides, sizes),
        coefficients=coefficients,
        exhaustive=len(names) <= n_candidates or max_regions == 1,
        unit="log odds" if sides.classification else "units of the outcome",
        _sizes=sizes,
    )


@dataclass(frozen=True)
class _Explanation:
    """Everything found out about one patient and one contrast."""

    patient: object
    contrast: object
    own: int
    other: int
    swaps: np.ndarray
    margins: np.ndarray
    margin_all: float
    minimal: np.ndarray
    regression: LocalRegression


def _explain(estimator, sides, explained, number, reference, row, masks, sizes, n_candidates):
    own = int(sides.of(explained.answers[number : number + 1])[0])
    other = int(sides.of(reference.answers[row : row + 1])[0])
    tabular = None if explained.inputs is None else explained.inputs[number]
    images = explained.images[number], reference.images[row]
    chunk = int(np.clip(CHUNK_NUMBERS // images[0].size, 1, 512))

    def margins(swaps):
        said = [
            answers(estimator, swapped_images(*images, masks, part), tabular)
            for part in np.array_split(swaps, -(-len(swaps) // chunk))
        ]
        return sides.margin(np.concatenate(said), own, other)

    start = float(sides.margin(explained.answers[number : number + 1], own, other)[0])
    n_regions = len(masks)
    singles = np.vstack([np.eye(n_regions, dtype=bool), np.ones((1, n_regions), bool)])
    *single, everything = margins(singles)
    candidates = None if n_regions <= n_candidates else np.argsort(single)[:n_candidates]
    swaps = all_swaps(n_regions, sizes[-1], candidates)
    found = np.array(single)
    if len(swaps) > n_regions:
        found = np.concatenate([found, margins(swaps[n_regions:])])
    return _Explanation(
        patient=explained.ids[number],
        contrast=reference.ids[row],
        own=own,
        other=other,
        swaps=swaps,
        margins=found,
        margin_all=float(everything),
        minimal=minimal(swaps, found < 0),
        regression=LocalRegression.fit(swaps, found, start),
    )


def _selected(X, patients):
    if patients is None:
        return X
    patients = list(patients)
    unknown = [name for name in patients if name not in X.index]
    if unknown:
        raise CohortError(f"row {unknown[0]!r} is not in X; name patients by X.index")
    if not patients:
        raise CohortError("patients is empty; name at least one row of X, or None for all")
    return X.loc[patients]
