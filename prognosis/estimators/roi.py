"""CNNs on regions of interest with symbols for tabular values, in one picture per patient.

The published hybrid of White et al. 2024: the network learns from brain and symbols together.
"""

from typing import ClassVar

from imaging.parameters import parameters

from ..views.roi import RoiParameters, RoiSymbols
from .base import of_view
from .documentation import documented
from .drawn import DrawnPretraining
from .outcomes import ImageClassifier, ImageRegressor

__all__ = ["RoiSymbolClassifier", "RoiSymbolRegressor"]


@documented
@parameters
class RoiSymbolClassifier(RoiParameters, DrawnPretraining, ImageClassifier):
    """Classify patients by a CNN on regions of interest with symbols for tabular values.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {classes}
    {canvas}
    regions_ : list of str
        Those that are shown.
    {reader}
    {fitted}

    Notes
    -----
    {search}

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638, arXiv 2310.19174.

    Examples
    --------
    >>> from prognosis import RoiSymbolClassifier, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = RoiSymbolClassifier(
    ...     "t1w", regions=3, symbols=["severity", "age"], mosaic_size=64, epochs=2
    ... )
    >>> cnn.fit(X, y).predict_proba(X).shape
    (20, 2)
    >>> list(cnn.cells_)
    ['Temporal_Sup_L', 'Temporal_Mid_L', 'Frontal_Inf_Tri_L', 'severity', 'age']
    """

    view_class: ClassVar = RoiSymbols
    regions_ = of_view("regions_", "The regions that are shown.")


@documented
@parameters
class RoiSymbolRegressor(RoiParameters, DrawnPretraining, ImageRegressor):
    """Predict a number for patients by a CNN on regions of interest with symbols.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {scaling}
    {canvas}
    regions_ : list of str
        Those that are shown.
    {reader}
    {fitted}

    Notes
    -----
    {search}

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638, arXiv 2310.19174.

    Examples
    --------
    >>> from prognosis import RoiSymbolRegressor, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = RoiSymbolRegressor("t1w", regions=3, symbols={"severity": "grey"}, epochs=2)
    >>> cnn.fit(X, X["age"]).predict(X).shape
    (20,)
    """

    view_class: ClassVar = RoiSymbols
    regions_ = of_view("regions_", "The regions that are shown.")
