"""CNNs on cross-sections of raw MRI, stitched into one picture per patient.

Needs no lesion map: the network looks at the scan itself (Roohani et al. 2018, arXiv 1811.10520).
"""

from typing import ClassVar

from imaging.parameters import parameters

from ..views.stitched import StitchedParameters, StitchedSlices
from .documentation import documented
from .outcomes import ImageClassifier, ImageRegressor

__all__ = ["StitchedSliceClassifier", "StitchedSliceRegressor"]


@documented
@parameters
class StitchedSliceClassifier(StitchedParameters, ImageClassifier):
    """Classify patients by a CNN on stitched cross-sections of their scans.

    2-D pictures (PNG, NIfTI of one slice), all of the same size, are taken as they are.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {classes}
    {canvas}
    {fitted}

    Notes
    -----
    {search}

    References
    ----------
    Roohani et al. 2018, arXiv 1811.10520; White et al. 2024, NeuroImage: Clinical 43:103638.

    Examples
    --------
    >>> from prognosis import StitchedSliceClassifier, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = StitchedSliceClassifier("t1w", mosaic_size=64, epochs=2, random_state=0)
    >>> cnn.fit(X, y).predict_proba(X).shape
    (20, 2)
    """

    view_class: ClassVar = StitchedSlices


@documented
@parameters
class StitchedSliceRegressor(StitchedParameters, ImageRegressor):
    """Predict a number for patients by a CNN on stitched cross-sections of their scans.

    2-D pictures (PNG, NIfTI of one slice), all of the same size, are taken as they are.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {scaling}
    {canvas}
    {fitted}

    Notes
    -----
    {search}

    References
    ----------
    Roohani et al. 2018, arXiv 1811.10520.

    Examples
    --------
    >>> from prognosis import StitchedSliceRegressor, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = StitchedSliceRegressor("t1w", mosaic_size=64, epochs=2, random_state=0)
    >>> cnn.fit(X, X["age"]).predict(X).shape
    (20,)
    """

    view_class: ClassVar = StitchedSlices
