"""Networks that learn to read pictures before they see a patient, from canvases that are drawn.

What drawings can teach, values of symbols and loads of regions, patients need not pay for; the
outcome is then learnt by little more than one layer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import joblib
import numpy as np
from sklearn.utils import check_random_state

from imaging.parameters import COUNT, StrOptions, parameter, parameters
from imaging.storage.bank import shared_bank
from imaging.storage.caching import as_memory, cached_call

from .base import ImageEstimator
from .start import outcome_of
from .training import as_tensors

__all__ = ["DrawnPretraining"]

LEAST_VARIANCE = 1e-12


@parameters
class DrawnPretraining(ImageEstimator):
    """Adds to estimators on regions and symbols that their networks can learn to read first."""

    pretrain: str | None = parameter(
        None,
        StrOptions({"drawn"}),
        None,
        kind='"drawn" or None',
        doc="""
        "drawn": networks first learn to read the values of symbols and the loads of regions, off
        drawn canvases with lesions of any size and place; no patient and no outcome is in these.
        Then they start from regression on what is read of the training patients, as they would
        from a `start`. For lesion masks only.
        """,
    )
    pretrain_steps: int = parameter(
        200,
        COUNT,
        doc="""
        Steps of 64 drawn canvases each. 200 take about half a minute on one core for a brain of 64
        x 64 pixels, and longer in proportion to the pixels. With a `memory` (and within `compare`)
        folds and models of one `random_state`, an int, share what was learnt.
        """,
    )

    def _images(self, X, fitting):
        if fitting and self.pretrain is not None and not self.allow_empty:
            raise ValueError(
                "drawn canvases show lesions as masks do, so pretrain='drawn' is for columns of "
                "lesion masks; set allow_empty=True if these are, else leave pretrain out"
            )
        if fitting and self.pretrain is not None and self.initial_weights is not None:
            raise ValueError(
                "found pretrain='drawn' and initial_weights, and a network begins with one of "
                "them; leave one out"
            )
        images = super()._images(X, fitting)
        if fitting and self.pretrain is not None:
            self.reader_ = self._learn_to_read(images.shape)
        return images

    def _learn_to_read(self, shape):
        """The reader of the fitted view's canvases, learnt now or before."""
        view, bank = self.view_, shared_bank()
        symbols = view.scaler_.symbols_ if view.symbol_rows_ else []
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(2**31 - 1)
        looks = [(symbol.look, symbol.levels) for symbol in symbols]
        task = _Task(
            shown={
                "mosaic": view.mosaic_,
                "grid": view.grid_,
                "symbols": symbols,
                "symbol_rows": view.symbol_rows_,
                "n_channels": shape[0],
                "seed": int(seed),
            },
            identity=joblib.hash((view.recipe_.identity, view.grid_, looks, view.symbol_rows_)),
            encoder=self._encoder,
            verbose=self.verbose,
        )
        settings = {
            "steps": self.pretrain_steps,
            "augment": view.augmentation() if self.augment else None,
            "seed": int(seed),
            "device": self.device,
            "n_threads": self.n_threads,
        }
        memory = as_memory(self.memory)
        if memory.location is None and bank is not None:
            memory = as_memory(bank.folder / "readers")
        if callable(self.architecture):  # of which nobody knows whether it is the same
            return _learnt(task, shape[0], self.architecture, settings)
        learn = cached_call(memory, _learnt, recognise=lambda task: task.identity, counted=False)
        return learn(task, shape[0], self.architecture, settings)

    def _new_network(self, inputs, y, weights, n_outputs, reference):
        if self.pretrain is None or "image" not in inputs:
            return super()._new_network(inputs, y, weights, n_outputs, reference)
        from imaging.nets.freezing import frozen_epochs

        first = None
        if "offset" not in inputs:
            first, offset = self._regression(inputs, y, weights, n_outputs)
            inputs = {**inputs, "offset": offset}
        network = super()._new_network(inputs, y, weights, n_outputs, reference)
        network.network.adopt(self.reader_.network)
        frozen, epochs = frozen_epochs(self.freeze)
        if frozen:
            network.network.freeze("encoder", "reduce", epochs=epochs)
        network.first = first
        return network

    def _regression(self, inputs, y, weights, n_outputs):
        """Regression of the outcome on what is read of the training patients, and tabular values.

        Returns
        -------
        first : torch.nn.Linear
            From the hidden features of the reader, and tabular values, to offsets.
        offset : ndarray of shape (n_patients, n_offsets)
        """
        import torch

        from imaging.learning.engine import apply_network

        reader, settings = self.reader_, {"device": self.device, "n_threads": self.n_threads}
        image = as_tensors({"image": inputs["image"]})
        read = apply_network(reader.network, image, **settings).astype(np.float64)
        middle = np.average(read, axis=0, weights=weights)
        scale = np.average((read - middle) ** 2, axis=0, weights=weights)
        # Symbols are standardised one by one, while loads are a block with one scale, as in
        # `BlockScaler`, whose factor goes up in the penalty of ten that suits such blocks.
        scale[reader.n_symbols :] = scale[reader.n_symbols :].sum()
        scale = np.sqrt(np.where(scale > LEAST_VARIANCE, scale, 1.0))
        tabular = inputs.get("tabular", np.zeros((len(read), 0)))
        table = np.hstack([(read - middle) / scale, tabular])
        slopes, intercepts = (
            part.double().numpy() for part in self._linear_start(table, y, weights)
        )
        if outcome_of(self) == "ordinal":
            thresholds = self._threshold_start({**inputs, "tabular": table}, y, weights, n_outputs)
            slopes, intercepts = np.repeat(slopes, len(thresholds), axis=0), -thresholds
        # What is read is itself linear in the hidden features.
        of_read = slopes[:, : read.shape[1]] / scale
        last = reader.network.output
        of_hidden = of_read @ last.weight.detach().double().numpy()
        constant = intercepts + of_read @ (last.bias.detach().double().numpy() - middle)
        first = torch.nn.Linear(of_hidden.shape[1] + tabular.shape[1], len(constant))
        first.weight.data = torch.from_numpy(
            np.hstack([of_hidden, slopes[:, read.shape[1] :]])
        ).float()
        first.bias.data = torch.from_numpy(constant).float()
        return first.requires_grad_(False), table @ slopes.T + intercepts


@dataclass(frozen=True)
class _Task:
    """What is to be read: `identity` stands for it where it is kept."""

    shown: dict
    identity: str
    encoder: Callable
    verbose: int


def _learnt(task, n_channels, architecture, settings):
    from imaging.learning.drawn import DrawnCanvases
    from imaging.learning.reading import learn_to_read

    def make_encoder(shape, n_channels):
        return task.encoder((n_channels, *shape))

    return learn_to_read(
        DrawnCanvases(**task.shown), make_encoder, verbose=task.verbose, **settings
    )
