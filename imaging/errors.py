"""The small family of errors, and a warning, that `imaging` raises about its input.

Whatever it refuses on purpose is an `ImagingError`, so a script can catch all of them at once.
"""


class ImagingError(Exception):
    """Base of every error raised on purpose by `imaging`."""


class ImageError(ImagingError, ValueError):
    """An image cannot be used as it is: the message says what was found and what to do."""


class PlaceError(ImagingError, OSError):
    """A file cannot be written where it belongs, since something else is there."""


class AtlasError(ImagingError, ValueError):
    """An atlas is unknown, or does not fit its labels or the image."""


class UnitError(ImagingError, ValueError):
    """A quantitative map holds values that its unit forbids."""


class TimingError(ImagingError, ValueError):
    """A sequence was asked for with a timing that no scanner can run."""


class UnitWarning(UserWarning):
    """A quantitative map looks as if it were in another unit."""
