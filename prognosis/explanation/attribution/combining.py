"""From what each model says of its patients to one result for the cohort.

Patients whom several models explain, in repeated cross-validation, get the mean.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...errors import CohortError
from ...views.places import VoxelPlace
from .maps import Explanation

__all__ = ["Explained", "together"]


@dataclass(frozen=True)
class Explained:
    """One part of a result: what one model says of its patients."""

    part: object
    index: int | None
    place: object
    inputs: dict
    features: np.ndarray | None
    attribution: object
    pictures: np.ndarray
    tabular: pd.DataFrame
    region_values: pd.DataFrame | None


def together(found, X, settings, atlas):
    """One result of all parts: patients in the order of X, the mean where several explain one.

    Parameters
    ----------
    found : list of Explained
    X : DataFrame
        The whole cohort; patients that no part explains are left out.
    settings : Settings
    atlas : Atlas or None
        Of occlusion.

    Returns
    -------
    Explanation

    Raises
    ------
    CohortError
        If the parts see different image columns, or 2-D pictures of different sizes.
    """
    columns = found[0].part.estimator.image_columns_
    if any(one.part.estimator.image_columns_ != columns for one in found):
        raise CohortError("the folds' models see different image columns; explain them one by one")
    place, pictures, background = _common_place(found)
    count = np.zeros(len(X), int)
    for one in found:
        np.add.at(count, one.part.rows, 1)
    kept = np.flatnonzero(count)
    total = np.zeros((len(kept), *pictures[0].shape[1:]), np.float32)
    for one, part in zip(found, pictures, strict=True):
        np.add.at(total, np.searchsorted(kept, one.part.rows), part)
    total /= count[kept].reshape(-1, *(1,) * (total.ndim - 1))
    patients = X.index[kept]
    outputs = _mean_frame([_outputs(one, settings) for one in found], patients)
    outputs["n_models"] = count[kept]
    values = None
    if found[0].region_values is not None:
        values = _mean_frame([one.region_values for one in found], patients, fill=0.0)
    return Explanation(
        pictures=total,
        tabular=_mean_frame([one.tabular for one in found], patients),
        outputs=outputs,
        place=place,
        columns=columns,
        background=np.mean(background, axis=0),
        metadata=_metadata(found[0], X, settings, atlas),
        region_values=values,
        study=(found, settings),
    )


def _common_place(found):
    """Where all parts' attributions lie, these, and the parts' mean training images."""
    place = found[0].place
    pictures = [one.pictures for one in found]
    background = [_mean_image(one) for one in found]
    if all(one.place.key == place.key for one in found):
        return place, pictures, background
    # the folds chose different regions, say: what they share are the voxels of the brain
    if place.is_picture:
        raise CohortError("the folds' pictures differ in size; explain them one by one")
    pictures = [_in_voxels(one.place, part) for one, part in zip(found, pictures, strict=True)]
    background = [
        _in_voxels(one.place, mean[None], "restore")[0]
        for one, mean in zip(found, background, strict=True)
    ]
    return VoxelPlace(place.grid), pictures, background


def _mean_frame(frames, patients, fill=None):
    """Mean over the frames that hold a patient."""
    everything = pd.concat(frames)
    if fill is not None:
        everything = everything.fillna(fill)
    mean = everything.groupby(level=0, sort=False).mean()
    mean = mean.reindex(patients)
    mean.index.name = patients.name
    return mean


def _outputs(one, settings):
    """What is explained, and by how much the attributions miss it."""
    found = one.attribution
    difference = found.output - found.reference
    error = np.full(len(difference), np.nan)
    if settings.method == "integrated_gradients":
        total = found.image.reshape(len(error), -1).sum(axis=1, dtype=np.float64)
        if found.tabular is not None:
            total = total + found.tabular.sum(axis=1, dtype=np.float64)
        error = np.abs(total - difference) / np.maximum(np.abs(difference), 1e-12)
    return pd.DataFrame(
        {
            "output": found.output,
            "reference": found.reference,
            "completeness_error": error,
            "n_steps": found.n_steps,
        },
        index=one.part.X.index,
    )


def _mean_image(one):
    """The mean training image of a model's networks, without symbols."""
    estimator = one.part.estimator
    return estimator.view_.brain(
        np.mean([net.image_mean.numpy() for net in estimator.networks_], axis=0)
    )


def _in_voxels(place, pictures, way="put_back"):
    back = getattr(place, way)
    return np.stack(
        [[np.asanyarray(back(channel).dataobj) for channel in picture] for picture in pictures]
    )


def outcome_in_words(outcome, label, classes):
    """What a class is: the outcome's name where it is yes or no, its label where that is a word.

    Examples
    --------
    >>> outcome_in_words("poor_outcome", 1, [0, 1]), outcome_in_words("aphasia", 0, [0, 1])
    ('poor outcome', 'no aphasia')
    >>> outcome_in_words("mrs", 3, [0, 1, 2, 3]), outcome_in_words(None, "poor", ["good", "poor"])
    ('mrs = 3', 'poor')
    """
    name = "" if outcome is None else str(outcome).replace("_", " ")
    if len(classes) == 2 and set(classes) == {0, 1} and name:
        return name if label else f"no {name}"
    return f"{name} = {label}" if name else str(label)


def _metadata(one, X, settings, atlas):
    estimator = one.part.estimator
    outcome = getattr(estimator, "outcome_name_", None)
    if one.index is None:
        named = "the predicted value" if outcome is None else f"the predicted {outcome}"
        unit = "units of the outcome" if outcome is None else str(outcome)
        speaks_for = f"a higher {'value' if outcome is None else outcome}"
    else:
        label = estimator.classes_.tolist()[one.index]
        named, unit = f"log odds of {label!r}", "log odds"
        speaks_for = outcome_in_words(outcome, label, estimator.classes_.tolist())
    if one.part.member is not None:
        named = f"{named} as member {one.part.member!r} of the ensemble says it"
    return {
        "method": settings.method,
        "target": named,
        "unit": unit,
        "speaks_for": speaks_for,
        "space": getattr(estimator, "space", None),
        "baseline": settings.baseline,
        "estimator": type(estimator).__name__,
        "member": one.part.member,
        "cohort": dict(X.attrs.get("cohort", {})),
        "atlas": None if atlas is None else atlas.identity,
    }
