"""A network learns to read: values of symbols and region loads, off canvases that are drawn."""

from dataclasses import dataclass

import numpy as np
import torch

from ..nets.classifiers import ImageTabularNet
from .engine import apply_network, train_network

__all__ = ["Reader", "learn_to_read"]

BATCH = 64
STEPS_OF_AN_EPOCH = 20
LEARNING_RATE = 3e-3
LOOKED_AT, EXAMINED = 256, 256  # canvases for means and spreads, and for what was learnt


@dataclass(frozen=True)
class Reader:
    """A network that reads canvases, and how well it does.

    Attributes
    ----------
    network : imaging.nets.classifiers.ImageTabularNet
        Its outputs are values of symbols (0 to 1), and square roots of region loads.
    names : list of str
        Of the outputs.
    n_symbols : int
        How many of them, the first ones, are of symbols.
    explained : ndarray of shape (n_outputs,)
        Shares of the variances that it explains on canvases it was not trained on.
    """

    network: ImageTabularNet
    names: list
    n_symbols: int
    explained: np.ndarray


def learn_to_read(canvases, make_encoder, *, steps, augment=None, **settings):
    """Train a network on drawn canvases.

    Parameters
    ----------
    canvases : imaging.learning.drawn.DrawnCanvases
    make_encoder : callable
        Takes the shape of an image and the number of channels.
    steps : int
        Of 64 canvases each, all different.
    augment : callable, default=None
        As in `train_network`.
    **settings
        Of `train_network`: `device`, `n_threads`, `seed`, `verbose`.

    Returns
    -------
    Reader
    """
    epochs = max(1, round(steps / STEPS_OF_AN_EPOCH))
    canvases.n_canvases = BATCH * max(1, round(steps / epochs))
    canvases.at_epoch(-1)
    looked_at = canvases.take(torch.arange(LOOKED_AT))
    image, targets = looked_at.inputs["image"], looked_at.targets
    middle, spread = targets.mean(0), targets.std(0).clamp(min=1e-3)
    mean = image.mean(0)
    reference = (mean, float((image - mean).flatten(1).var(1).mean().sqrt().clamp(min=1e-6)))
    n_symbols = canvases.n_symbol_targets
    parts = [part for part in (slice(0, n_symbols), slice(n_symbols, None)) if len(middle[part])]

    def loss(outputs, wanted):
        error = (outputs - (wanted - middle) / spread).square()
        return sum(error[:, part].mean(dim=1) for part in parts)

    def make_network():
        encoder = make_encoder(canvases.shape, canvases.n_channels)
        return ImageTabularNet(encoder, 0, len(middle), dropout=0.0, reference=reference)

    network, _ = train_network(
        make_network,
        canvases,
        loss=loss,
        augment=augment,
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        weight_decay=0.0,
        label="learning to read",
        **settings,
    )
    with torch.no_grad():
        network.output.weight *= spread[:, None]
        network.output.bias.mul_(spread).add_(middle)
    canvases.at_epoch(-2)
    exam = canvases.take(torch.arange(EXAMINED))
    settings = {name: settings[name] for name in ("device", "n_threads") if name in settings}
    wrong = apply_network(network, exam.inputs, **settings) - exam.targets.numpy()
    explained = 1 - np.square(wrong).mean(axis=0) / exam.targets.numpy().var(axis=0).clip(1e-6)
    return Reader(network, canvases.names, n_symbols, explained)
