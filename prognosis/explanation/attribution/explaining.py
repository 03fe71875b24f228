"""`explain`: attribution of a fitted model's predictions to images and tabular values.

Every patient is explained by the models that may explain them: one, or those folds of a
cross-validation that did not train on them; networks of several seeds are averaged.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from imaging.atlases import load_atlas

from ..checks import check_counts
from ..models import find_parts, target_index
from .combining import Explained, together
from .tabular import tabular_table

__all__ = ["explain"]

BASELINES = ("mean", "zero")


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
        that did not see them, and repeats are averaged. Only this is honest about patients of the
        training set. A model in ``estimator_`` or ``best_estimator_`` is found, too, and the one
        member of a `StackingClassifier` (or a vote) that sees images: what *it* says is explained,
        without the other members, under the classes of the stack.
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
        do not add up to within 5 % of the difference from the baseline (or to within 0.025,
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
    >>> X, y = make_stroke_cohort(16, spacing_mm=8, random_state=0)
    >>> cnn = StitchedSliceClassifier(
    ...     "lesion",
    ...     tabular=["severity"],
    ...     mosaic_size=64,
    ...     allow_empty=True,
    ...     epochs=2,
    ...     random_state=0,
    ... ).fit(X, y)
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
    result = together(found, X, settings, atlas)
    if checks:
        for problem in result.checks()["problems"]:
            warnings.warn(problem, UserWarning, stacklevel=2)
    return result


def explain_part(part, target, settings, atlas):
    """Attribute what one estimator predicts for its patients."""
    from .methods import attribute
    from .occlusion import occlusion_features

    estimator, X = part.estimator, part.X
    index = target_index(estimator, target)
    inputs, features, names = estimator.inputs(X), None, None
    if settings.method == "occlusion":
        features, names = occlusion_features(estimator.view_, estimator.image_shape_, atlas)
    found = attribute(estimator, inputs, index, settings, features)
    tabular = tabular_table(estimator, X.index, found.tabular, found.image)
    if settings.method == "gradcam":
        tabular = tabular.iloc[:, :0]
    values = None
    if features is not None:
        values = _feature_sums(found.image, features, names, X.index)
    view = estimator.view_
    pictures = view.brain(found.image)
    return Explained(part, index, view.place(), inputs, features, found, pictures, tabular, values)


def _feature_sums(image, features, names, index):
    flat = image.reshape(len(image), -1)
    sums = [np.bincount(features.ravel(), row, minlength=len(names)) for row in flat]
    return pd.DataFrame(np.stack(sums), index, names)


def _settings(method, baseline, n_steps, n_samples, noise, batch_size, random_state):
    from .methods import METHODS, Settings

    for name, value, allowed in (("method", method, METHODS), ("baseline", baseline, BASELINES)):
        if value not in allowed:
            raise ValueError(f"{name} must be among {list(allowed)}, got {value!r}")
    check_counts(
        n_steps=n_steps, n_samples=n_samples, batch_size=1 if batch_size is None else batch_size
    )
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
