"""What networks said of the same patients a moment ago, so that they are not asked twice.

A comparison wants predictions and probabilities of the same patients; both come from one forward
pass, through whatever pipeline or stack the network stands in.
"""

import threading
from contextlib import contextmanager

__all__ = ["keeping_outputs", "kept_output"]

_HERE = threading.local()


@contextmanager
def keeping_outputs():
    """Within the block, what a fitted network gives for the same rows is computed once.

    For a block in which nothing is fitted and patients keep their values.
    """
    before = getattr(_HERE, "outputs", None)
    _HERE.outputs = {}
    try:
        yield
    finally:
        _HERE.outputs = before


def kept_output(estimator, method, X, compute):
    """The result of `compute()`, or what it was for the same estimator, method and rows.

    Parameters
    ----------
    estimator : fitted estimator
    method : str
    X : DataFrame or array
        Arrays have no names of rows, so they are always computed.
    compute : callable
    """
    outputs = getattr(_HERE, "outputs", None)
    if outputs is None or not hasattr(X, "index"):
        return compute()
    key = (id(estimator), method, tuple(X.index))
    if key not in outputs:
        # The estimator is kept too, so that its number is not given to another one meanwhile.
        outputs[key] = (estimator, compute())
    return outputs[key][1]
