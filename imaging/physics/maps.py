"""Quantitative maps: what the tissue is, apart from how it is scanned.

Units are checked where maps come in, because a map in the wrong unit gives a plausible picture and
wrong physics.
"""

import warnings
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from ..errors import UnitError, UnitWarning
from .arrays import is_tensor

__all__ = ["QuantitativeMaps"]

_UNITS = {
    "pd": "percent units, brain about 70-80",
    "r1": "1/s, brain about 0.3-1.3",
    "r2s": "1/s, brain about 10-30",
    "mt": "percent units, white matter about 1.5",
    "r2": "1/s, brain about 8-20",
}


@dataclass(frozen=True)
class QuantitativeMaps:
    """Proton density, relaxation rates and magnetisation transfer of one head, or of a batch.

    Parameters
    ----------
    pd : array, tensor or nibabel image, any shape
        Proton density, percent units; 0 is background.
    r1, r2s : same kind and shape
        Longitudinal rate R1 and effective transverse rate R2*, 1/s.
    mt : same kind and shape, or None
        Magnetisation transfer saturation, percent units.
    r2 : same kind and shape, or None
        Transverse rate R2, 1/s. Spin echoes use R2* where it is not given.

    Attributes
    ----------
    affine : ndarray of shape (4, 4) or None
        Of the nibabel images the maps came in; simulated images are given it too.

    Raises
    ------
    UnitError
        If a map is negative, holds NaN or infinite values, has another shape, or is in
        milliseconds.

    Warns
    -----
    UnitWarning
        If a map looks like another unit: MT as a fraction, PD as a fraction.

    Examples
    --------
    >>> import numpy as np
    >>> maps = QuantitativeMaps(pd=np.full(3, 70.0), r1=np.full(3, 0.9), r2s=np.full(3, 20.0))
    >>> maps.shape, maps.kind
    ((3,), 'array')
    >>> QuantitativeMaps(pd=np.full(3, 70.0), r1=np.full(3, 900.0), r2s=np.full(3, 20.0))
    Traceback (most recent call last):
    imaging.errors.UnitError: the r1 map has a median of 900 where rates in 1/s ...
    """

    pd: object
    r1: object
    r2s: object
    mt: object = None
    r2: object = None
    affine: np.ndarray | None = None

    def __post_init__(self):
        for name in _UNITS:
            value = getattr(self, name)
            if isinstance(value, nib.spatialimages.SpatialImage):
                if self.affine is None:
                    object.__setattr__(self, "affine", value.affine)
                value = np.asanyarray(value.dataobj)
            if value is not None:
                object.__setattr__(self, name, _floating(value, name))
        for name in _UNITS:
            if getattr(self, name) is not None:
                self._check(name)

    @property
    def shape(self):
        """Shape of every map."""
        return tuple(self.pd.shape)

    @property
    def kind(self):
        """What `simulate` gives back: "image" (nibabel), "tensor" or "array"."""
        if self.affine is not None:
            return "image"
        return "tensor" if is_tensor(self.pd) else "array"

    @classmethod
    def unchecked(cls, pd, r1, r2s, mt=None, r2=None):
        """Maps that are known to be right, such as drawn ones; nothing is looked at."""
        maps = object.__new__(cls)
        for name, value in zip(_UNITS, (pd, r1, r2s, mt, r2), strict=True):
            object.__setattr__(maps, name, value)
        object.__setattr__(maps, "affine", None)
        return maps

    def at_field(self, field_strength, *, measured_at=3.0):
        r"""The same tissue at another field strength, in tesla.

        .. math::
            R_1(B_0) &= 0.25 + (R_1 - 0.25) \sqrt{B_m / B_0} \\
            R_2^*(B_0) &= R_2^* \, (1 + B_0 / B_m) / 2

        0.25/s is the rate of free water, which hardly depends on the field. The square root makes
        white and grey matter follow about :math:`B_0^{-0.38}` (Rooney et al. 2007); half of R2* is
        taken to grow with the field (Peters et al. 2007: grey matter 11.9, 15.1 and 30.1/s at 1.5,
        3 and 7 T).

        Parameters
        ----------
        field_strength, measured_at : float
            Tesla.

        References
        ----------
        Rooney et al., Magn Reson Med 57:308 (2007), doi 10.1002/mrm.21122. Peters et al., Magn
        Reson Imaging 25:748 (2007), doi 10.1016/j.mri.2007.02.014.
        """
        if field_strength == measured_at:
            return self
        water = 0.25
        r1 = water + (self.r1 - water) * (measured_at / field_strength) ** 0.5
        r2s = self.r2s * ((1 + field_strength / measured_at) / 2)
        # Below the rate of free water, as in background, nothing is extrapolated.
        slow = self.r1 < water
        changed = object.__new__(type(self))
        for name in (*_UNITS, "affine"):
            object.__setattr__(changed, name, getattr(self, name))
        object.__setattr__(changed, "r1", _where(slow, self.r1, r1))
        object.__setattr__(changed, "r2s", r2s)
        return changed

    def _check(self, name):
        value = getattr(self, name)
        if tuple(value.shape) != self.shape:
            raise UnitError(
                f"the {name} map has shape {tuple(value.shape)} where that of pd, {self.shape}, "
                "was expected; bring all maps to one grid"
            )
        plain = _array(value)
        low, high = plain.min(initial=0), plain.max(initial=0)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UnitError(
                f"the {name} map holds NaN or infinite values; replace them by 0 and set pd to 0 "
                "there too, so that they count as background"
            )
        if low < 0:
            raise UnitError(
                f"the {name} map goes down to {low:.4g} where only 0 and above can be "
                f"({_UNITS[name]}); clip it at 0"
            )
        if name != "pd" and high > 0:
            self._check_scale(name, plain)

    def _check_scale(self, name, plain):
        pd = _array(self.pd)
        inside = plain.reshape(-1)[:: max(1, plain.size // 65536)]
        inside = inside[pd.reshape(-1)[:: max(1, plain.size // 65536)] > 0]
        if inside.size == 0:
            return
        middle, high = float(np.median(inside)), float(np.quantile(inside, 0.99))
        fix = f"expected: {_UNITS[name]}"
        if name == "r1" and (middle > 50 or 0 < high < 0.02):
            fault = "T1 in milliseconds" if middle > 50 else "rates in 1/ms"
            raise UnitError(
                f"the r1 map has a median of {middle:.4g} where rates in 1/s were expected; this "
                f"looks like {fault}: give {'1000 / t1_ms' if middle > 50 else 'r1 * 1000'} ({fix})"
            )
        if name in ("r2s", "r2") and 0 < high < 0.5:
            raise UnitError(
                f"the {name} map has a median of {middle:.4g} where rates in 1/s were expected; "
                f"this looks like 1/ms: give {name} * 1000 ({fix})"
            )
        if name == "mt" and 0 < high < 0.1:
            warnings.warn(
                f"the mt map hardly exceeds {high:.3g}, which looks like a fraction; MT saturation "
                f"is taken in percent units: give mt * 100 ({fix})",
                UnitWarning,
                stacklevel=4,
            )
        if name == "r1" and 0 < pd.max() <= 2:
            warnings.warn(
                f"the pd map does not exceed {pd.max():.3g}, which looks like a fraction; only the "
                f"scale of the images depends on it: give pd * 100 (expected: {_UNITS['pd']})",
                UnitWarning,
                stacklevel=4,
            )


def _array(value):
    """The numbers of a tensor or array, wherever they are."""
    if not is_tensor(value):
        return value
    value = value.detach().cpu()
    return (value if value.element_size() >= 4 else value.float()).numpy()


def _floating(value, name):
    """Arrays and tensors in a floating dtype; anything else is refused."""
    if is_tensor(value):
        return value if value.is_floating_point() else value.float()
    try:
        array = np.asarray(value)
        return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise UnitError(
            f"the {name} map is {type(value).__name__} where an array, a tensor or a nibabel image "
            "was expected"
        ) from error


def _where(condition, yes, no):
    if is_tensor(yes):
        return yes.where(condition, no)
    return np.where(condition, yes, no)
