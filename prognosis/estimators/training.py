"""From prepared patients to a trained network; training and validation are views of one cohort."""

import numpy as np

from imaging.parameters import marked
from imaging.storage.tensors import as_tensor

__all__ = ["as_tensors", "train_one"]


def as_tensors(inputs):
    """Arrays by name as tensors; `ImageRows` stay what they are."""
    return {
        name: as_tensor(values) if isinstance(values, np.ndarray) else values
        for name, values in inputs.items()
    }


def train_one(
    estimator, inputs, y, weights, train, validation, reference, loss, n_outputs, *, seed
):
    """Train one network of an estimator; a function, so that joblib can send it elsewhere.

    Parameters
    ----------
    estimator : ImageEstimator
    inputs : dict of str to ImageRows or ndarray
        Of all patients, by name of the network's arguments.
    y : ndarray of shape (n_patients,)
    weights : ndarray of shape (n_patients,)
    train : ndarray of int
        Row numbers.
    validation : ndarray of int or None
    reference : (ndarray, float) or None
        Mean image of the training patients, and how far they spread about it.
    loss : callable
    n_outputs : int
    seed : int

    Returns
    -------
    network : torch.nn.Module
    history : list of dict
    """
    import torch

    from imaging.learning.batches import Samples
    from imaging.learning.engine import apply_network, train_network

    double = "image" not in inputs
    real = torch.float64 if double else torch.float32
    targets = as_tensor(y)
    if targets.is_floating_point():
        targets = targets.to(real)
    shares = as_tensor(weights / weights[train].mean()).to(real)

    def chosen(rows):
        """Inputs of some of the patients; images are a view."""
        return {
            name: values[rows] if isinstance(values, np.ndarray) else values.at(rows)
            for name, values in inputs.items()
        }

    def part(rows):
        return Samples(as_tensors(chosen(rows)), targets[rows], shares[rows])

    settings = marked(estimator, "training")
    if double:
        settings["precision"] = "float32"
    in_training = chosen(train)
    network, history = train_network(
        lambda: estimator._new_network(in_training, y[train], weights[train], n_outputs, reference),
        part(train),
        validation=None if validation is None else part(validation),
        loss=loss,
        augment=estimator._augmentation(),
        seed=seed,
        label=type(estimator).__name__,
        on_epoch=estimator._on_epoch,
        **settings,
    )
    if hasattr(network, "centre_on"):
        shift = apply_network(
            network,
            as_tensors(in_training),
            method="shift",
            device=estimator.device,
            n_threads=estimator.n_threads,
        )
        network.centre_on(np.average(shift, axis=0, weights=weights[train]))
    return network, history
