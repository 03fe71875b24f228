"""3-D CNNs on whole volumes: a scan, a lesion mask, or several of these as channels.

Volumes shrink to a coarse grid first, so that a cohort of a few hundred trains on a CPU.
"""

from typing import ClassVar

from imaging.parameters import parameters

from ..views.volume import VolumeParameters, Volumes
from .documentation import documented
from .outcomes import ImageClassifier, ImageRegressor

__all__ = ["VolumeClassifier", "VolumeRegressor"]


@documented
@parameters
class VolumeClassifier(VolumeParameters, ImageClassifier):
    """Classify patients by a 3-D CNN on their volumes.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {classes}
    {fitted}

    Notes
    -----
    {search}

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

    view_class: ClassVar = Volumes


@documented
@parameters
class VolumeRegressor(VolumeParameters, ImageRegressor):
    """Predict a number for patients by a 3-D CNN on their volumes.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {scaling}
    {fitted}

    Notes
    -----
    {search}

    Examples
    --------
    >>> from prognosis import VolumeRegressor, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = VolumeRegressor("t1w", spacing_mm=8, epochs=2)
    >>> cnn.fit(X, X["age"]).predict(X).shape
    (20,)
    """

    view_class: ClassVar = Volumes
