"""The small family of errors that `imaging` raises about its input."""


class ImagingError(Exception):
    """Base of every error raised on purpose by `imaging`."""


class ImageError(ImagingError, ValueError):
    """An image cannot be used as it is: the message says what was found and what to do."""


class AtlasError(ImagingError, ValueError):
    """An atlas is unknown, or does not fit its labels or the image."""
