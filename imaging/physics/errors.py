"""Errors and warnings about quantities and timings that cannot be."""

from ..errors import ImagingError


class UnitError(ImagingError, ValueError):
    """A quantitative map holds values that its unit forbids."""


class TimingError(ImagingError, ValueError):
    """A sequence was asked for with a timing that no scanner can run."""


class UnitWarning(UserWarning):
    """A quantitative map looks as if it were in another unit."""
