"""What fitted networks say of patients, and what they said of the same ones a moment ago.

A comparison wants predictions and probabilities of the same patients; both come from one forward
pass, through whatever pipeline or stack the network stands in.
"""

import threading
from contextlib import contextmanager

import numpy as np

from .training import as_tensors

__all__ = ["apply_networks", "keeping_outputs", "kept_output"]

INFERENCE_BATCH = 64

_HERE = threading.local()


def apply_networks(estimator, inputs, method="forward"):
    """Outputs of every network of a fitted estimator.

    Parameters
    ----------
    estimator : fitted image estimator
    inputs : dict of str to ndarray or ImageRows
        By name of the networks' arguments, see `ImageEstimator.inputs`.
    method : str, default="forward"
        Of the network.

    Returns
    -------
    ndarray of shape (n_networks, n_patients, n_outputs)
    """
    from imaging.learning.engine import apply_network

    tensors = as_tensors(inputs)
    return np.stack(
        [
            apply_network(
                network,
                tensors,
                method=method,
                batch_size=INFERENCE_BATCH,
                device=estimator.device,
                n_threads=estimator.n_threads,
            )
            for network in estimator.networks_
        ]
    )


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
