"""Training and inference of any network, on top of skorch.

Early stopping, the learning-rate schedule, mixed precision, gradient clipping, progress and
reproducibility exist here and nowhere else.
"""

import copy
import functools
import threading
from contextlib import suppress

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.utils import to_numpy

from .batches import Batches, Samples
from .checkpoints import Checkpoint
from .device import (
    autocast,
    generators,
    give_back_memory,
    private_torch_state,
    resolve_device,
    resolve_precision,
)
from .processes import Averaged, find_share, process_device

__all__ = ["TrainingError", "apply_network", "train_network"]


class TrainingError(RuntimeError):
    """Training went wrong in a way that more epochs do not mend."""


def train_network(
    make_network,
    samples,
    *,
    loss,
    validation=None,
    augment=None,
    epochs=25,
    batch_size=16,
    learning_rate=1e-3,
    weight_decay=1e-2,
    patience=None,
    device="auto",
    precision="auto",
    n_threads=1,
    seed=0,
    verbose=0,
    label="",
    score=None,
    score_name="score",
    higher_is_better=True,
    checkpoint=None,
    settings=None,
    on_epoch=None,
):
    """Train a network and return it on the CPU, ready to be pickled.

    The optimiser is AdamW, with a cosine schedule over all epochs after one epoch of linear
    warm-up, and gradients clipped at norm 5. Processes that were started together (``torchrun``,
    ``accelerate launch``) train one network, see `imaging.learning.processes`.

    Parameters
    ----------
    make_network : callable
        Returns a new `torch.nn.Module`; called with the seed in force.
    samples : Samples
        Or anything with a length and `take`; where it has `at_epoch`, that is called with the
        number of the epoch, from 0, before each one.
    loss : callable
        (outputs, targets) -> loss of each sample, shape (batch,), or their mean. Where it has
        `parts` (names) and `mean_parts` (their means by name, since it was last asked), these are
        shown and kept after every epoch.
    validation : Samples, default=None
        With these, the network of the epoch with the lowest validation loss is returned.
    augment : callable, default=None
        See `Batches`.
    epochs, batch_size, learning_rate, weight_decay
        The usual meaning; weight decay is AdamW's.
    patience : int, default=None
        Stop after so many epochs without a lower validation loss; None never stops early.
    device : str, default="auto"
    precision : {"auto", "float32", "bf16"}, default="auto"
        See `resolve_precision`.
    n_threads : int, default=1
        CPU threads, fixed so that the result does not depend on how many jobs run.
    seed : int, default=0
    verbose : int, default=0
        1 shows a progress bar on stderr.
    label : str
        What the progress bar calls this training.
    score : callable, default=None
        Takes the network, in evaluation mode, and returns a number after each epoch; the network of
        the epoch with the best score is returned. Takes the place of `validation`.
    score_name : str, default="score"
        What the progress bar calls it.
    higher_is_better : bool, default=True
        Whether that is so of the score.
    checkpoint : path, default=None
        File that the state of the training is kept in after each epoch. Where it exists, training
        goes on from it.
    settings : dict, default=None
        What else the training depends on, so that a checkpoint of another one is refused.
    on_epoch : callable, default=None
        Called after each epoch with its number, from 1, and what `history` says of it, a dict. What
        it raises ends the training, and is raised.

    Returns
    -------
    network : torch.nn.Module
        In evaluation mode, on the CPU.
    history : list of dict
        Per epoch: "train_loss", the parts of the loss, "valid_loss" when there is a validation set,
        "score" with `score`.

    Raises
    ------
    TrainingError
        If the loss or the score becomes NaN or infinite.
    CheckpointError
        If the checkpoint is broken or belongs to another training.
    ValueError
        If the device or the precision is unknown, or wrong for this network.
    KeyboardInterrupt
        When the user interrupts: a training that was cut short returns nothing. A checkpoint
        keeps the epochs that were whole.
    """
    share = find_share()
    device = resolve_device(device)
    if share is not None:
        share.check_alike(seed, len(samples))
        device = process_device() if device.type == "cuda" else device
    _load_optimisers()
    with private_torch_state(seed, n_threads):
        order, draws = generators(device, seed)
        callbacks = [] if share is None else [("together", Averaged(share, seed))]
        callbacks += [("clip", GradientNormClipping(5.0)), ("finite", _StopAtNonsense())]
        n_batches = max(1, -(-len(samples) // batch_size))
        callbacks.append(("schedule", _schedule(n_batches, epochs)))
        callbacks.append(("clock", _TellEpoch()))
        parts = loss.parts if hasattr(loss, "mean_parts") else ()
        if parts:
            callbacks.append(("parts", _Parts(loss)))
        if score is not None:
            callbacks.append(("score", _Score(score, share)))
        if on_epoch is not None:
            callbacks.append(("report", _Report(on_epoch, parts)))
        if score is not None or validation is not None:
            stopping = _Stopping(
                monitor="valid_loss" if score is None else "score",
                lower_is_better=score is None or not higher_is_better,
                patience=patience or epochs,
                load_best=True,
                threshold=0,
                sink=_silent,
            )
            callbacks.append(("stopping", stopping))
        if checkpoint is not None:
            known = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
            known |= {"weight_decay": weight_decay, "seed": seed, **(settings or {})}
            writes = share is None or share.is_first
            callbacks.append(("checkpoint", Checkpoint(checkpoint, known, order, draws, writes)))
        bar = _EpochBar(label, score_name, parts)
        if verbose and (share is None or share.is_first):
            callbacks.append(("progress", bar))
        network = make_network()
        engine = _Engine(
            network,
            criterion=_Criterion,
            criterion__loss=loss,
            optimizer=torch.optim.AdamW,
            lr=learning_rate,
            optimizer__weight_decay=weight_decay,
            max_epochs=epochs,
            batch_size=batch_size,
            callbacks=callbacks,
            callbacks__print_log=None,
            device=device,
            validation=validation,
            augment=augment,
            order=order,
            draws=draws,
            share=share,
            bf16=resolve_precision(precision, device, network),
        )
        try:
            engine.fit(samples)
        finally:
            bar.close()
        network = engine.module_
        network.to("cpu").eval()
    return network, [_of_epoch(row, parts) for row in engine.history.to_list()]


def apply_network(network, inputs, *, method="forward", batch_size=64, device="auto", n_threads=1):
    """Apply a trained network to inputs in batches, without gradients, in full precision.

    Parameters
    ----------
    network : torch.nn.Module
    inputs : dict of str to Tensor or ImageRows
        Equal lengths.
    method : str, default="forward"
        Which method of the network to call, for example "embed".
    batch_size : int, default=64
    device : str, default="auto"
    n_threads : int, default=1

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
    """
    device = resolve_device(device)
    count = len(next(iter(inputs.values())))
    samples = Samples(inputs, torch.zeros(count), torch.zeros(count))
    on_device = network if device.type == "cpu" else copy.deepcopy(network).to(device)
    call = getattr(on_device, method)
    outputs = []
    with private_torch_state(n_threads=n_threads), torch.inference_mode():
        for batch, _ in Batches(samples, batch_size, device=device):
            batch.pop("weight")
            outputs.append(to_numpy(call(**batch)))
            give_back_memory()
    return np.concatenate(outputs)


class _Criterion(torch.nn.Module):
    """Mean over the batch of weight x loss; weights have mean one over the training set."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, outputs, targets, weights):
        return (self.loss(outputs, targets) * weights).mean()


class _Engine(NeuralNet):
    """skorch's loop over `Samples`, with weights, augmentation and mixed precision."""

    def __init__(self, *args, validation, augment, order, draws, share, bf16, **kwargs):
        super().__init__(*args, **kwargs)
        self.validation = validation
        self.augment = augment
        self.order = order
        self.draws = draws
        self.share = share
        self.bf16 = bf16

    def initialize_module(self):
        super().initialize_module()
        # Convolutions on the CPU are about a third faster with channels last; the weights' layout
        # decides the layout that all activations take.
        if any(isinstance(m, torch.nn.Conv2d) for m in self.module_.modules()):
            self.module_.to(memory_format=torch.channels_last)
        return self

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        # skorch's own takes Ctrl-C for an early stop and ends quietly, as if it were finished.
        self.notify("on_train_begin", X=X, y=y)
        with suppress(_StopEarly):
            self.fit_loop(X, y, **fit_params)
        self.notify("on_train_end", X=X, y=y)
        return self

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        done = len(self.history)  # by the training that a checkpoint continues
        return super().fit_loop(X, y, epochs=self.max_epochs - done, **fit_params)

    def get_split_datasets(self, X, y=None, **fit_params):
        return X, self.validation

    def get_iterator(self, dataset, training=False):
        if not training:
            return Batches(dataset, 4 * self.batch_size, device=self.device)
        return Batches(
            dataset,
            self.batch_size,
            order=self.order,
            draws=self.draws,
            augment=self.augment,
            device=self.device,
            share=self.share,
        )

    def infer(self, x, **fit_params):
        inputs = {name: values for name, values in x.items() if name != "weight"}
        with autocast(torch.device(self.device), self.bf16):
            outputs = self.module_(**inputs)
        if isinstance(outputs, (list, tuple)):  # deep supervision, or what a start is shifted by
            return [_full(output) for output in outputs]
        return _full(outputs)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        return self.criterion_(y_pred, y_true, X["weight"])


def _full(outputs):
    return outputs if outputs.dtype == torch.float64 else outputs.float()


class _StopEarly(Exception):
    """No better epoch is expected."""


class _Stopping(EarlyStopping):
    """skorch's, told apart from the user's Ctrl-C, for which it uses the same exception."""

    def on_epoch_end(self, net, **kwargs):
        try:
            super().on_epoch_end(net, **kwargs)
        except KeyboardInterrupt:
            if self.misses_ < self.patience:
                raise
            raise _StopEarly from None


class _StopAtNonsense(Callback):
    def on_epoch_end(self, net, **kwargs):
        value = net.history[-1, "train_loss"]
        if not np.isfinite(value):
            raise TrainingError(
                f"the training loss became {value} in epoch {len(net.history)}; "
                "lower learning_rate, or look for extreme values in the inputs or the target"
            )


class _TellEpoch(Callback):
    """Samples that are made as they are needed depend on the epoch, and what is frozen does."""

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        for one in (dataset_train, *net.module_.modules()):
            if hasattr(one, "at_epoch"):  # the row of this epoch is in the history already
                one.at_epoch(len(net.history) - 1)


class _Score(Callback):
    def __init__(self, score, share=None):
        self.score, self.share = score, share

    def on_epoch_end(self, net, **kwargs):
        net.module_.eval()
        with torch.inference_mode(), autocast(torch.device(net.device), net.bf16):
            value = float(self.score(net.module_))
        if self.share is not None:  # all are to stop together
            value = float(self.share.mean(torch.tensor([value], device=net.device)))
        if not np.isfinite(value):
            raise TrainingError(
                f"the validation score became {value} in epoch {len(net.history)}; "
                "give validation samples that can be scored, or lower learning_rate"
            )
        net.history.record("score", value)


class _Report(Callback):
    def __init__(self, on_epoch, parts):
        self.on_epoch, self.parts = on_epoch, parts

    def on_epoch_end(self, net, **kwargs):
        self.on_epoch(len(net.history), _of_epoch(net.history[-1], self.parts))


class _Parts(Callback):
    """Means of the parts of a loss, epoch by epoch."""

    def __init__(self, loss):
        self.loss = loss

    def on_epoch_begin(self, net, **kwargs):
        self.loss.mean_parts()  # of an epoch that was cut short

    def on_epoch_end(self, net, **kwargs):
        for name, value in self.loss.mean_parts().items():
            net.history.record(name, value)


class _EpochBar(Callback):
    """One progress bar for the whole training, on stderr."""

    def __init__(self, label, score_name, parts=()):
        self.label = label
        self.score_name = score_name
        self.parts = parts
        self.bar_ = None

    def on_train_begin(self, net, **kwargs):
        from tqdm.auto import tqdm

        self.bar_ = tqdm(
            total=net.max_epochs,
            initial=len(net.history),
            desc=self.label or "training",
            unit="epoch",
        )

    def on_epoch_end(self, net, **kwargs):
        row = net.history[-1]
        shown = {"loss": f"{row['train_loss']:.3f}"}
        shown |= {name: f"{row[name]:.3f}" for name in self.parts if name in row}
        if "valid_loss" in row:
            shown["validation"] = f"{row['valid_loss']:.3f}"
        if "score" in row:
            shown[self.score_name] = f"{row['score']:.3f}"
        self.bar_.set_postfix(shown, refresh=False)
        self.bar_.update()

    def close(self):
        if self.bar_ is not None:
            self.bar_.close()


def _of_epoch(row, parts=()):
    """What is told of an epoch: plain numbers, as they come back from a checkpoint."""
    keys = ("train_loss", *parts, "valid_loss", "score")
    return {key: float(row[key]) for key in keys if key in row}


@functools.cache
def _load_optimisers():
    """Let PyTorch load what it loads at the first optimiser, where nobody's images are at hand.

    Its imports leave frames that refer to each other, and with them all that the functions below
    them hold, a cohort's images for instance, until the garbage collector comes by.
    """
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    loading = threading.Thread(target=torch.optim.AdamW, args=(parameters,))
    loading.start()
    loading.join()


def _schedule(n_batches, epochs):
    warm_up, total = n_batches, n_batches * epochs

    def factor(step):
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + np.cos(np.pi * (step - warm_up) / max(1, total - warm_up)))

    return LRScheduler(torch.optim.lr_scheduler.LambdaLR, lr_lambda=factor, step_every="batch")


def _silent(*args, **kwargs):
    """EarlyStopping announces itself on stdout otherwise."""
