"""Networks in which tabular values meet the image inside: early fusion and DAFT.

Any view will do: stitched slices, regions of interest, volumes, or one's own.
"""

from sklearn.base import clone

from imaging.parameters import StrOptions, parameter, parameters

from ..errors import CohortError
from ..views.protocol import View
from ..views.stitched import StitchedSlices
from .base import ImageEstimator
from .documentation import documented
from .outcomes import ImageClassifier, ImageRegressor

__all__ = ["FusionClassifier", "FusionRegressor"]


@parameters
class _Fusion(ImageEstimator):
    """Holds any view, and a network that fuses what it sees with tabular values."""

    tabular: list | None = parameter(
        None,
        "array-like",
        None,
        kind="list of str",
        doc="""
        Columns whose values meet the image inside the network; they are imputed, encoded and
        scaled inside `fit` (see `prognosis.TabularEncoder`).
        """,
    )
    view: object = parameter(
        None,
        View,
        None,
        kind="View",
        doc="""
        What the network sees of the image: `StitchedSlices`, `RoiSymbols`, `Volumes`, or whatever
        does what `prognosis.views.protocol.View` says. It is cloned, so it stays as it is. None:
        stitched slices. Searches reach its parameters as ``view__mosaic_size``.
        """,
    )
    fusion: str = parameter(
        "early",
        StrOptions({"early", "daft"}),
        kind='{"early", "daft"}',
        doc="""
        "early" puts image features and tabular values side by side before a hidden layer; "daft"
        lets the tabular values scale and shift the feature maps.
        """,
    )

    def make_view(self):
        """The view that these parameters describe, not fitted."""
        return StitchedSlices() if self.view is None else clone(self.view)

    def _drawn_columns(self):
        return [] if self.view is None else self.view.drawn_columns()

    def _columns(self):
        columns = super()._columns()
        if self.image is not None and (self.tabular is None or len(self.tabular) == 0):
            raise CohortError(
                "there is nothing to fuse the image with; name tabular columns, or use "
                "StitchedSliceClassifier, RoiSymbolClassifier or VolumeClassifier"
            )
        return columns

    def _linear_start(self, tabular, y, weights):
        return None

    def _network_class(self):
        if self.image is None:
            return super()._network_class()
        from imaging.nets.fusion import DaftNet, EarlyFusionNet

        return {"early": EarlyFusionNet, "daft": DaftNet}[self.fusion]


@documented
@parameters
class FusionClassifier(_Fusion, ImageClassifier):
    """Classify patients by a CNN in which tabular values meet the image inside the network.

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
    White et al. 2024, NeuroImage: Clinical 43:103638; Pölsterl et al. 2021, MICCAI, 688-698.

    Examples
    --------
    >>> from prognosis import FusionClassifier, StitchedSlices, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = FusionClassifier(
    ...     "lesion",
    ...     tabular=["severity", "age"],
    ...     view=StitchedSlices(mosaic_size=64, allow_empty=True),
    ...     fusion="daft",
    ...     epochs=2,
    ... )
    >>> cnn.fit(X, y).predict_proba(X).shape
    (20, 2)
    """


@documented
@parameters
class FusionRegressor(_Fusion, ImageRegressor):
    """Predict a number for patients by a CNN in which tabular values meet the image inside.

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
    White et al. 2024, NeuroImage: Clinical 43:103638; Pölsterl et al. 2021, MICCAI, 688-698.

    Examples
    --------
    >>> from prognosis import FusionRegressor, Volumes, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = FusionRegressor("t1w", tabular=["severity"], view=Volumes(spacing_mm=8), epochs=2)
    >>> cnn.fit(X, X["age"]).predict(X).shape
    (20,)
    """
