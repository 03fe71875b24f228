"""The small family of errors that `prognosis` raises about its input."""


class PrognosisError(Exception):
    """Base of every error raised on purpose by `prognosis`."""


class CohortError(PrognosisError, ValueError):
    """A table of patients cannot be used as it is: the message names row, column and remedy."""


class DownloadError(PrognosisError, OSError):
    """A data set could not be fetched whole; nothing of it was kept."""


class ModelError(PrognosisError, RuntimeError):
    """A model failed in a fold: the message names the model, the fold and the failure."""
