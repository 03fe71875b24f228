"""3-D CNNs on whole volumes: a scan, a lesion mask, or several of these as channels.

Volumes shrink to a coarse grid first, so that a cohort of a few hundred trains on a CPU.
"""

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import joblib
import numpy as np
from sklearn.utils._param_validation import Interval

from imaging.grids import Grid
from imaging.intensity import rescale_intensity
from imaging.resizing import shrink_volume
from imaging.storage.bank import Recipe
from imaging.volumes import read_volume, to_grid

from .base import ImageClassifier, ImageRegressor
from .branches import ImageBranch, open_grid
from .documentation import documented

__all__ = ["VolumeClassifier", "VolumeRegressor", "Volumes"]


@dataclass(eq=False, repr=False)
class Volumes(ImageBranch):
    """The branch that sees whole volumes, one channel per image column."""

    spacing_mm: float = 4.0

    _parameter_constraints: ClassVar = {
        **ImageBranch._parameter_constraints,
        "spacing_mm": [Interval(Real, 0, None, closed="neither")],
    }

    def _recipe(self):
        arguments = (float(self.spacing_mm), open_grid(self.grid), self.allow_empty)
        return Recipe(_read_volume, arguments, joblib.hash(arguments), spacing_mm=arguments[0])

    def _augmentation(self):
        if not self.augment or self.image is None:
            return None
        from imaging.learning.augmentation import VolumeAugmentation

        spacing = np.linalg.norm(self.grid_.affine[:3, :3], axis=0)
        return VolumeAugmentation(
            extent_mm=tuple((spacing * self.grid_.shape).tolist()),
            mirror=self.flip_left_right,
        )


@documented
@dataclass(eq=False, repr=False)
class VolumeClassifier(ImageClassifier, Volumes):
    """Classify patients by a 3-D CNN on their volumes.

    Parameters
    ----------
    {image}
    {tabular}
    {volume}
    {branch}
    {class_weight}
    {training}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    {branch_fitted}
    {fitted}

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638 (3-D ResNet-10 with and without tabular
    values).

    Examples
    --------
    >>> from prognosis import VolumeClassifier, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = VolumeClassifier(["t1w", "lesion"], spacing_mm=8, allow_empty=True, epochs=2)
    >>> cnn.fit(X, y).predict_proba(X).shape, cnn.image_shape_[0]
    ((20, 2), 2)
    """

    _parameter_constraints: ClassVar = {
        **Volumes._parameter_constraints,
        **ImageClassifier._parameter_constraints,
    }


@documented
@dataclass(eq=False, repr=False)
class VolumeRegressor(ImageRegressor, Volumes):
    """Predict a number for patients by a 3-D CNN on their volumes.

    Parameters
    ----------
    {image}
    {tabular}
    {volume}
    {branch}
    {training}

    Attributes
    ----------
    target_mean_, target_scale_ : float
        Mean and standard deviation of the outcome in training; networks predict the scaled one.
    {branch_fitted}
    {fitted}

    Examples
    --------
    >>> from prognosis import VolumeRegressor, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = VolumeRegressor("t1w", spacing_mm=8, epochs=2)
    >>> cnn.fit(X, X["age"]).predict(X).shape
    (20,)
    """


def _read_volume(source, spacing_mm, grid, allow_empty):
    """One scan as a coarse array in [0, 1], with the grid it had."""
    volume = read_volume(source, allow_empty=allow_empty)
    if grid is not None:
        volume = to_grid(volume, grid)
    small = shrink_volume(volume, spacing_mm)
    return rescale_intensity(np.asanyarray(small.dataobj)), Grid.of(volume)
