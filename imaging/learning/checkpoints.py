"""Training that can be killed at any moment and goes on from its last epoch.

After every epoch one file holds all that the rest of the training depends on: weights, optimiser,
schedule, best weights so far, and the states of the random number generators. It is read without
unpickling.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.history import History

from ..doors.refusals import first_line
from ..errors import ImagingError
from ..storage.files import replacing

__all__ = ["Checkpoint", "CheckpointError", "kept_training", "read_checkpoint", "training_file"]

FORMAT = 2  # of what settings mean; files of format 1 do not say it


class CheckpointError(ImagingError, RuntimeError):
    """A checkpoint does not belong to this training, or cannot be read."""


def training_file(folder):
    """The file in which a folder keeps a training."""
    return Path(folder).expanduser() / "training.pt"


def kept_training(folder):
    """The training that a folder keeps.

    Parameters
    ----------
    folder : path or None
        As the parameter `checkpoint` of a model.

    Returns
    -------
    path : pathlib.Path
    state : dict
        As `read_checkpoint` gives it.

    Raises
    ------
    ValueError
        If no folder is named.
    CheckpointError
        If it keeps none, or the file cannot be read.
    """
    if folder is None:
        raise ValueError("there is no checkpoint to take; name its folder: checkpoint=...")
    path = training_file(folder)
    if not path.is_file():
        raise CheckpointError(f"no training at {str(path)!r}; fit first, or correct the folder")
    return path, read_checkpoint(path)


class Checkpoint(Callback):
    """Write the state of a training after each epoch, and continue from it when it begins.

    Comes after the schedule and early stopping in the list of callbacks, since it puts their state
    back after they have reset it.

    Parameters
    ----------
    path : str or os.PathLike
        One file; its folder is made.
    settings : dict
        Plain values that the training depends on. A file made with others is refused.
    order, draws : torch.Generator
        Of the order of samples and of the augmentation, see `generators`.
    writes : bool, default=True
        Whether this process writes it; of those that train one network, one does.
    """

    def __init__(self, path, settings, order, draws, writes=True):
        self.path = Path(path)
        self.settings = settings
        self.order = order
        self.draws = draws
        self.writes = writes

    def on_train_begin(self, net, **kwargs):
        if not self.path.is_file():
            return
        state = read_checkpoint(self.path)
        _check_settings(self.path, json.loads(state["settings"]), self._plain_settings())
        try:
            self._restore(net, state)
        except CheckpointError:
            raise
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"the checkpoint {str(self.path)!r} is of another training "
                f"({first_line(error)}); delete it to begin again"
            ) from error

    def _restore(self, net, state):
        """Put everything back that a checkpoint holds."""
        net.module_.load_state_dict(state["module"])
        net.optimizer_.load_state_dict(state["optimizer"])
        net.history = History([{**row, "batches": []} for row in json.loads(state["history"])])
        parts = dict(net.callbacks_)
        parts["schedule"].lr_scheduler_.load_state_dict(state["schedule"])
        parts["schedule"].batch_idx_ = state["batches"]
        if "stopping" in parts:
            for name, value in state["stopping"].items():
                setattr(parts["stopping"], name, value)
        self._set_generators(state)
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["random_cuda"])

    def on_epoch_end(self, net, **kwargs):
        if not self.writes:
            return
        parts = dict(net.callbacks_)
        rows = [
            {key: value for key, value in row.items() if key != "batches"}
            for row in net.history.to_list()
        ]
        stopping = parts.get("stopping")
        names = ("misses_", "dynamic_threshold_", "best_epoch_", "best_model_weights_")
        schedule = parts["schedule"].lr_scheduler_.state_dict()
        state = {
            "settings": json.dumps(self._plain_settings()),
            "module": net.module_.state_dict(),
            "optimizer": _plain(net.optimizer_.state_dict()),
            "history": json.dumps(rows, default=float),
            "schedule": {k: v for k, v in _plain(schedule).items() if _is_plain(v)},
            "batches": parts["schedule"].batch_idx_,
            "stopping": {n: _plain(getattr(stopping, n)) for n in names} if stopping else {},
            "generator": self.order.get_state(),
            "draws": None if self.draws is self.order else self.draws.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary:
            torch.save(state, temporary)

    def _set_generators(self, state):
        draws = state.get("draws")
        if (draws is None) != (self.draws is self.order):
            raise CheckpointError(
                f"the checkpoint {str(self.path)!r} was made on another kind of device, whose "
                "random numbers cannot be continued here; go on there, or give another folder"
            )
        self.order.set_state(state["generator"])
        if draws is not None:
            self.draws.set_state(draws)

    def _plain_settings(self):
        return json.loads(json.dumps({**self.settings, "format": FORMAT}, default=repr))


def read_checkpoint(path):
    """What `Checkpoint` wrote, with tensors on the CPU.

    Raises
    ------
    CheckpointError
        If the file is broken or holds anything but tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as file:  # torch reads what is damaged without a word
            damaged = file.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not isinstance(state.get("settings"), str):
            raise ValueError("it holds something else")
        json.loads(state["settings"]).items()
        return state
    except Exception as error:
        raise CheckpointError(
            f"the checkpoint {str(path)!r} cannot be read ({first_line(error)}); delete it to "
            "begin again"
        ) from error


def _check_settings(path, found, expected):
    if found.get("format", 1) != FORMAT:
        raise CheckpointError(
            f"the checkpoint {str(path)!r} was made by another version of this package and cannot "
            "be continued; give another folder (`take_checkpoint` still reads its best network)"
        )
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            raise CheckpointError(
                f"the checkpoint {str(path)!r} was made with {name}={found.get(name)!r}, now it is "
                f"{expected.get(name)!r}; go back to that value, or give another folder"
            )


def _plain(value):
    """Numbers of NumPy, anywhere inside, as numbers of Python, so that nothing is pickled."""
    if isinstance(value, dict):
        return type(value)((key, _plain(one)) for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(one) for one in value)
    if isinstance(value, np.generic):
        return value.item()
    return value


def _is_plain(value):
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))
