"""What images cost and what caches saved, measured where it happens.

Every entry says how long it took to make; when it is read instead, that time less the time of
reading is what was saved.
"""

import threading
from contextlib import contextmanager

__all__ = ["Savings", "counting", "note_made", "note_reused", "pass_on"]

_COUNTING = []
_LOCK = threading.Lock()


class Savings:
    """Images that were prepared or measured, and those that were there already.

    Attributes
    ----------
    images_prepared, images_reused : int
        Scans that were read and prepared (or measured), and those of which the result was there.
    prepare_seconds, read_seconds : float
        Of reading, preparing and keeping, and of finding and reading what was kept; added up over
        threads.
    saved_seconds : float
        What making the reused ones took at the time, less what finding and reading them took now.

    Examples
    --------
    >>> with counting() as savings:
    ...     note_made(2.0)
    ...     note_reused(2.0, reading=0.5)
    >>> savings.as_dict() == {
    ...     "images_prepared": 1,
    ...     "images_reused": 1,
    ...     "prepare_seconds": 2.0,
    ...     "read_seconds": 0.5,
    ...     "saved_seconds": 1.5,
    ... }
    True
    """

    NAMES = (
        "images_prepared",
        "images_reused",
        "prepare_seconds",
        "read_seconds",
        "saved_seconds",
    )

    def __init__(self):
        self.images_prepared, self.images_reused = 0, 0
        self.prepare_seconds, self.read_seconds, self.saved_seconds = 0.0, 0.0, 0.0

    def as_dict(self):
        """The numbers by name."""
        return {name: getattr(self, name) for name in self.NAMES}

    def add(self, counts):
        """Add what another one counted, a dict as of `as_dict`."""
        with _LOCK:
            for name in self.NAMES:
                setattr(self, name, getattr(self, name) + counts[name])


@contextmanager
def counting():
    """Count in this process until the block ends; blocks within count for themselves.

    Yields
    ------
    Savings
    """
    savings = Savings()
    _COUNTING.append(savings)
    try:
        yield savings
    finally:
        _COUNTING.remove(savings)


def note_made(seconds):
    """A scan was read and prepared in so many seconds."""
    pass_on(dict(zip(Savings.NAMES, (1, 0, seconds, 0.0, 0.0), strict=True)))


def note_reused(seconds, *, reading):
    """What had taken so many seconds to make was read in so many."""
    pass_on(dict(zip(Savings.NAMES, (0, 1, 0.0, reading, seconds - reading), strict=True)))


def pass_on(counts):
    """Add counts, as of `Savings.as_dict`, to the innermost block that counts, if there is one."""
    if _COUNTING:
        _COUNTING[-1].add(counts)
