"""The one hash of this package: of keys that results are found by, and of checksums in files.

Whatever is hashed together is told apart by its length, so that no part can run into the next.
"""

import hashlib

__all__ = ["combined", "new_hash"]


def new_hash():
    """The hash that all keys and checksums of this package are made with, still empty."""
    return hashlib.blake2b(digest_size=32)


def combined(*parts):
    """Hash several parts together, so that none can run into the next.

    Parameters
    ----------
    *parts : str, bytes or ndarray of uint8

    Returns
    -------
    bytes of length 32

    Examples
    --------
    >>> combined("ab", "c") == combined("a", "bc")
    False
    """
    whole = new_hash()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "little"))
        whole.update(data)
    return whole.digest()
