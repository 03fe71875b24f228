"""Networks in which tabular values meet the image inside: early fusion and DAFT.

Any kind of image will do: stitched slices, regions of interest or volumes.
"""

from dataclasses import dataclass
from typing import ClassVar

from sklearn.utils._param_validation import StrOptions

from ..errors import CohortError
from .base import ImageClassifier, ImageRegressor
from .documentation import documented
from .roi import RoiSymbols
from .stitched import StitchedSlices
from .volume import Volumes

__all__ = ["FusionClassifier", "FusionRegressor"]

BRANCHES = {"stitched": StitchedSlices, "roi": RoiSymbols, "volume": Volumes}


@dataclass(eq=False, repr=False)
class _Fusion(StitchedSlices, RoiSymbols, Volumes):
    """One of three branches, and a network that fuses what it sees with tabular values."""

    branch: str = "stitched"
    fusion: str = "early"

    _parameter_constraints: ClassVar = {
        **Volumes._parameter_constraints,
        **RoiSymbols._parameter_constraints,
        **StitchedSlices._parameter_constraints,
        "branch": [StrOptions(set(BRANCHES))],
        "fusion": [StrOptions({"early", "daft"})],
    }

    def _columns(self):
        columns = super()._columns()
        if self.image is not None and (self.tabular is None or len(self.tabular) == 0):
            raise CohortError(
                "there is nothing to fuse the image with; name tabular columns, or use "
                "StitchedSliceClassifier, RoiSymbolClassifier or VolumeClassifier"
            )
        if self.branch == "volume" and self.symbols is not None:
            raise ValueError(
                'symbols are drawn beside pictures; with branch="volume" give these columns as '
                "tabular"
            )
        return columns

    def _images(self, X, fitting):
        if fitting:
            self.branch_ = self.branch
        return super()._images(X, fitting)

    def _recipe(self):
        return BRANCHES[self.branch]._recipe(self)

    def _brain_cells(self):
        return BRANCHES[self.branch_]._brain_cells(self)

    def _augmentation(self):
        return BRANCHES[self.branch]._augmentation(self)

    def _linear_start(self, tabular, y, weights):
        return None

    def _network_class(self):
        if self.image is None:
            return super()._network_class()
        from imaging.nets.fusion import DaftNet, EarlyFusionNet

        return {"early": EarlyFusionNet, "daft": DaftNet}[self.fusion]


@documented
@dataclass(eq=False, repr=False)
class FusionClassifier(_Fusion, ImageClassifier):
    """Classify patients by a CNN in which tabular values meet the image inside the network.

    Parameters
    ----------
    {image}
    {fused}
    {slices}
    {atlas}
    {canvas}
    {volume}
    {branch}
    {class_weight}
    {training}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    {canvas_fitted}
    {fitted}

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638; Pölsterl et al. 2021, MICCAI, 688-698.

    Examples
    --------
    >>> from prognosis import FusionClassifier, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = FusionClassifier(
    ...     "lesion", ["severity", "age"], fusion="daft", mosaic_size=64, allow_empty=True, epochs=2
    ... )
    >>> cnn.fit(X, y).predict_proba(X).shape
    (20, 2)
    """

    _parameter_constraints: ClassVar = {
        **ImageClassifier._parameter_constraints,
        **_Fusion._parameter_constraints,
    }


@documented
@dataclass(eq=False, repr=False)
class FusionRegressor(_Fusion, ImageRegressor):
    """Predict a number for patients by a CNN in which tabular values meet the image inside.

    Parameters
    ----------
    {image}
    {fused}
    {slices}
    {atlas}
    {canvas}
    {volume}
    {branch}
    {training}

    Attributes
    ----------
    target_mean_, target_scale_ : float
        Mean and standard deviation of the outcome in training; networks predict the scaled one.
    {canvas_fitted}
    {fitted}

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638; Pölsterl et al. 2021, MICCAI, 688-698.

    Examples
    --------
    >>> from prognosis import FusionRegressor, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)
    >>> cnn = FusionRegressor("t1w", ["severity"], branch="volume", spacing_mm=8, epochs=2)
    >>> cnn.fit(X, X["age"]).predict(X).shape
    (20,)
    """
