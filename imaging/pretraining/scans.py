"""What a user gives an encoder as scans, and one vector for every patient among them."""

import numpy as np

from ..errors import ImageError
from ..voxelwise.sequences import check_scans, naming, sequences_of

__all__ = ["mean_vectors", "scan_list"]


def mean_vectors(X, vector):
    """The vector of every patient, the mean over its scans.

    Parameters
    ----------
    X : sequence of scans
        Each a scan, or a list of the sequences of one patient.
    vector : callable
        Of one scan.

    Returns
    -------
    list of ndarray

    Raises
    ------
    ImageError
        If a scan cannot be used: the message names its place in `X`.

    Examples
    --------
    >>> mean_vectors([np.zeros((2, 2)), np.ones((2, 2))], lambda scan: scan[0])
    [array([0., 0.]), array([1., 1.])]
    """
    rows = []
    for number, scan in enumerate(scan_list(X)):
        with naming(number):
            sequences = sequences_of(scan)
            if not sequences:
                raise ImageError("found a patient without any scan; give at least one")
            rows.append(np.mean([vector(one) for one in sequences], axis=0))
    return rows


def scan_list(X):
    """Scans as a list, from a list, an array, or one column of a table."""
    check_scans(X)
    if isinstance(X, np.ndarray) and X.dtype != object and X.ndim == 3:
        return list(X)  # pictures
    shape = getattr(X, "shape", ())
    if len(shape) == 2 and (hasattr(X, "iloc") or X.dtype == object):
        if shape[1] != 1:
            raise ImageError(
                f"found a table of {shape[1]} columns where one column of images was expected; "
                'give that column: X[["t1w"]]'
            )
        X = X.iloc[:, 0] if hasattr(X, "iloc") else X[:, 0]
    return list(X)
