"""What was read once and is needed again: kept up to so many bytes, and in this process only.

Copies and pickles begin empty, since what is kept can always be made again.
"""

import threading
from collections import OrderedDict

__all__ = ["RecentlyUsed"]


class RecentlyUsed:
    """A table of arrays that forgets what was not used for longest; safe among threads.

    Parameters
    ----------
    most_bytes : int
        What all arrays and tensors of all entries may hold together. An entry that is larger by
        itself is not kept.

    Examples
    --------
    >>> import numpy as np
    >>> kept = RecentlyUsed(most_bytes=100)
    >>> for name in ("a", "b", "a", "c"):
    ...     _ = kept.get(name, lambda: (np.zeros(50, np.uint8), None))
    >>> list(kept.entries), kept.bytes
    (['a', 'c'], 100)
    """

    def __init__(self, most_bytes):
        self.most_bytes = most_bytes
        self.entries = OrderedDict()
        self.bytes = 0
        self._lock = threading.Lock()

    def get(self, key, make):
        """The entry of a key, made where it is not there.

        Parameters
        ----------
        key : hashable
        make : callable
            Without arguments; returns a tuple that depends on the key alone. Two threads that
            miss the same key at once both call it, and have equal results.

        Returns
        -------
        tuple
            Not to be changed.
        """
        with self._lock:
            if key in self.entries:
                self.entries.move_to_end(key)
                return self.entries[key]
        entry = make()  # without the lock: reading a file takes long
        size = _bytes(entry)
        with self._lock:
            if key not in self.entries and size <= self.most_bytes:
                self.entries[key] = entry
                self.bytes += size
                while self.bytes > self.most_bytes:
                    self.bytes -= _bytes(self.entries.popitem(last=False)[1])
        return entry

    def __reduce__(self):
        return type(self), (self.most_bytes,)


def _bytes(entry):
    return sum(getattr(part, "nbytes", 0) for part in entry)
