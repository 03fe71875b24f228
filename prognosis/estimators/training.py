"""From prepared patients to a trained network; training and validation are views of one cohort."""

import numpy as np

__all__ = ["train_one"]


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
    from imaging.learning.engine import train_network

    double = "image" not in inputs
    real = torch.float64 if double else torch.float32
    targets = torch.from_numpy(y)
    if targets.is_floating_point():
        targets = targets.to(real)
    shares = torch.from_numpy(weights / weights[train].mean()).to(real)

    def part(rows):
        """Some of the patients; images are a view."""
        values = {
            name: torch.from_numpy(v[rows]) if isinstance(v, np.ndarray) else v.at(rows)
            for name, v in inputs.items()
        }
        return Samples(values, targets[rows], shares[rows])

    in_training = {
        name: v[train] if isinstance(v, np.ndarray) else v.at(train) for name, v in inputs.items()
    }
    return train_network(
        lambda: estimator._new_network(in_training, y[train], weights[train], n_outputs, reference),
        part(train),
        validation=None if validation is None else part(validation),
        loss=loss,
        augment=estimator._augmentation(),
        epochs=estimator.epochs,
        batch_size=estimator.batch_size,
        learning_rate=estimator.learning_rate,
        weight_decay=estimator.weight_decay,
        patience=estimator.patience,
        device=estimator.device,
        precision="float32" if double else estimator.precision,
        n_threads=estimator.n_threads,
        seed=seed,
        verbose=estimator.verbose,
        label=type(estimator).__name__,
    )
