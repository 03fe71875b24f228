"""`explain`: attribution of a fitted model's predictions to images and tabular values.

Every patient is explained by the models that may explain him: one, or those folds of a
cross-validation that did not train on him; networks of several seeds are averaged.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from imaging.atlases import load_atlas

from ..errors import CohortError
from .maps import Explanation
from .places import VoxelPlace, find_place
from .tabular import tabular_table
from .targets import find_parts, target_index

__all__ = ["explain"]


def explain(
    model,
    X,
    method="integrated_gradients",
    *,
    target=None,
    baseline="mean",
    n_steps=8,
    n_samples=25,
    noise=0.1,
    atlas="aal",
    batch_size=None,
    random_state=0,
    checks=False,
):
    """Explain predictions: where in the brain, and which tabular values, they come from.

    What is explained is the log odds of the positive class (or of `target` against all other
    classes), or the predicted value of a regressor, as the mean over the model's networks.

    Parameters
    ----------
    model : fitted image estimator, Pipeline that ends in one, or dict
        A dict comes from ``sklearn.model_selection.cross_validate(model, X, y, cv=...,
        return_estimator=True, return_indices=True)``: every patient is explained by the models
        that did not see him, and repeats are averaged. Only this is honest about patients of the
        training set. A model in ``estimator_`` or ``best_estimator_`` is found, too.
    X : DataFrame
        Patients, as for `predict`; with a dict, the table that was cross-validated.
    method : str, default="integrated_gradients"
        - "integrated_gradients": what every pixel adds on the way from the baseline to the patient
          (Sundararajan et al. 2017); adds up to the difference of the predictions.
        - "gradient": by how much the prediction changes with the pixel (Simonyan et al. 2014).
        - "smoothgrad": the same, averaged over noisy copies (Smilkov et al. 2017).
        - "gradcam": maps of a late layer, weighted by their gradients (Selvaraju et al. 2017);
          signed, says nothing of tabular values.
        - "occlusion": what is lost when a region of the atlas (of a 2-D picture: a patch), a
          symbol or a tabular variable is replaced by the baseline.
    target : class label, default=None
        Of two classes, None is the last; of more, name one.
    baseline : {"mean", "zero"}, default="mean"
        The image that says nothing: the mean training image, or black. Tabular values: the mean of
        the training patients, and all categories alike.
    n_steps : int, default=8
        Of integrated gradients to begin with; doubled, up to 512, for patients whose attributions
        do not add up to within 5 % of the difference from the baseline (or to within 0.01,
        in log odds or in standard deviations of the outcome).
    n_samples : int, default=25
        Noisy copies for "smoothgrad".
    noise : float, default=0.1
        Their standard deviation; images lie in [0, 1].
    atlas : Atlas, or whatever `imaging.load_atlas` opens, default="aal"
        For "occlusion".
    batch_size : int, default=None
        Patients (or steps) computed at once; None chooses what fits into memory.
    random_state : int, default=0
        Of "smoothgrad" and of the checks.
    checks : bool, default=False
        Compute the trust checks now, and warn where they fail, instead of when they are asked for.

    Returns
    -------
    Explanation
        ``.by_region(atlas)``, ``.to_nifti(patient)``, ``.plot()``, ``.view()``, ``.tabular``,
        ``.checks()``. The model is not changed.

    Raises
    ------
    TypeError
        If there is no image estimator in `model`.
    ValueError
        If a parameter is out of range.
    CohortError
        If X cannot be used.

    References
    ----------
    Sundararajan et al. 2017, ICML, 3319-3328; Smilkov et al. 2017, arXiv 1706.03825; Selvaraju et
    al. 2017, ICCV, 618-626; Adebayo et al. 2018, NeurIPS (checks).

    Examples
    --------
    >>> from prognosis import StitchedSliceClassifier, explain, make_stroke_cohort
    >>> X, y = make_stroke_cohort(16, resolution_mm=8, random_state=0)
    >>> cnn = StitchedSliceClassifier("lesion", ["severity"], mosaic_size=64, allow_empty=True,
    ...                               epochs=2, random_state=0).fit(X, y)
    >>> found = explain(cnn, X)
    >>> found.to_nifti().shape == X["lesion"].iloc[0].shape
    True
    >>> found.by_region("aal").columns.tolist()[:4], found.tabular.columns.tolist()
    (['attribution', 'low', 'high', 'sign'], ['severity'])
    >>> found.completeness_error < 0.05
    True
    """
    settings = _settings(method, baseline, n_steps, n_samples, noise, batch_size, random_state)
    parts = find_parts(model, X)
    atlas = load_atlas(atlas) if method == "occlusion" else None
    found = [explain_part(part, target, settings, atlas) for part in parts]
    return _together(found, X, settings, target, atlas, checks)


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


def explain_part(part, target, settings, atlas):
    """Attribute what one estimator predicts for its patients."""
    from .attribution import attribute
    from .occlusion import occlusion_features

    estimator, X = part.estimator, part.X
    index = target_index(estimator, target)
    inputs = estimator._inputs(estimator._check_X(X))
    place, features, names = find_place(estimator), None, None
    if settings.method == "occlusion":
        features, names = occlusion_features(estimator, place, atlas)
    found = attribute(estimator, inputs, index, settings, features)
    tabular = tabular_table(estimator, X.index, found.tabular, found.image)
    if settings.method == "gradcam":
        tabular = tabular.iloc[:, :0]
    values = None
    if features is not None:
        values = _feature_sums(found.image, features, names, X.index)
    rows = getattr(estimator, "symbol_rows_", 0)
    pictures = found.image[:, :, : found.image.shape[2] - rows]
    return Explained(part, index, place, inputs, features, found, pictures, tabular, values)


def _feature_sums(image, features, names, index):
    flat = image.reshape(len(image), -1)
    sums = [np.bincount(features.ravel(), row, minlength=len(names)) for row in flat]
    return pd.DataFrame(np.stack(sums), index, names)


def _settings(method, baseline, n_steps, n_samples, noise, batch_size, random_state):
    from .attribution import METHODS, Settings

    for name, value, allowed in (("method", method, METHODS), ("baseline", baseline, BASELINES)):
        if value not in allowed:
            raise ValueError(f"{name} must be among {list(allowed)}, got {value!r}")
    for name, value in (("n_steps", n_steps), ("n_samples", n_samples), ("batch_size", batch_size)):
        if value is not None and not (isinstance(value, (int, np.integer)) and value >= 1):
            raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    if not noise > 0:
        raise ValueError(f"noise must be above 0, got {noise!r}")
    return Settings(
        method=method,
        baseline=baseline,
        n_steps=int(n_steps),
        n_samples=int(n_samples),
        noise=float(noise),
        batch_size=batch_size,
        random_state=int(check_random_state(random_state).randint(2**31 - 1)),
    )


BASELINES = ("mean", "zero")


def _together(found, X, settings, target, atlas, checks):
    """One result of all parts: patients in the order of X, the mean where several explain one."""
    first = found[0].part.estimator
    columns = first._image_columns()
    if any(one.part.estimator._image_columns() != columns for one in found):
        raise CohortError("the folds' models see different image columns; explain them one by one")
    place = found[0].place
    pictures = [one.pictures for one in found]
    background = [_mean_image(one) for one in found]
    if any(one.place.key != place.key for one in found):
        # the folds chose different regions, say: what they share are the voxels of the brain
        if place.is_picture:
            raise CohortError("the folds' pictures differ in size; explain them one by one")
        pictures = [_in_voxels(one.place, part) for one, part in zip(found, pictures, strict=True)]
        background = [
            _in_voxels(one.place, b[None], "restore")[0] for one, b in zip(found, background)
        ]
        place = VoxelPlace(place.grid)
    count = np.zeros(len(X), int)
    for one in found:
        np.add.at(count, one.part.rows, 1)
    kept = np.flatnonzero(count)
    where = {row: number for number, row in enumerate(kept)}
    rows = [np.array([where[row] for row in one.part.rows]) for one in found]
    total = np.zeros((len(kept), *pictures[0].shape[1:]), np.float32)
    for at, part in zip(rows, pictures, strict=True):
        np.add.at(total, at, part)
    times = count[kept]
    total /= times.reshape(-1, *(1,) * (total.ndim - 1))
    patients = X.index[kept]
    outputs = _mean_frame([_outputs(one, settings) for one in found], patients)
    outputs["n_models"] = times
    values = None
    if found[0].region_values is not None:
        values = _mean_frame([one.region_values for one in found], patients, fill=0.0)
    result = Explanation(
        pictures=total,
        tabular=_mean_frame([one.tabular for one in found], patients),
        outputs=outputs,
        place=place,
        columns=columns,
        background=np.mean(background, axis=0),
        metadata=_metadata(found[0], X, settings, target, atlas),
        region_values=values,
        study=(found, settings),
    )
    if checks:
        for problem in result.checks()["problems"]:
            warnings.warn(problem, UserWarning, stacklevel=3)
    return result


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
    mean = np.mean([net.image_mean.numpy() for net in one.part.estimator.networks_], axis=0)
    return mean[:, : one.pictures.shape[2]]


def _in_voxels(place, pictures, way="put_back"):
    back = getattr(place, way)
    return np.stack(
        [[np.asanyarray(back(channel).dataobj) for channel in picture] for picture in pictures]
    )


def _metadata(one, X, settings, target, atlas):
    estimator = one.part.estimator
    if one.index is None:
        named, unit = "the predicted value", "units of the outcome"
    else:
        named, unit = f"log odds of {estimator.classes_.tolist()[one.index]!r}", "log odds"
    return {
        "method": settings.method,
        "target": named,
        "unit": unit,
        "baseline": settings.baseline,
        "estimator": type(estimator).__name__,
        "cohort": dict(X.attrs.get("cohort", {})),
        "atlas": None if atlas is None else atlas.identity,
    }
