"""Train a network from voxels to voxels on patches, by the one training engine."""

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from ..learning.engine import TrainingError, train_network
from ..nets.freezing import frozen_epochs
from ..nets.pretrained import BesideFeatures
from ..nets.voxelwise import build_voxelwise
from .samples import cut_patch
from .settings import per_axis

__all__ = ["FixedScans", "Outputs", "plain_network", "train_patches", "window_for"]


class Outputs(nn.Module):
    """A network with the memory layout in which convolutions on a processor are fastest.

    Parameters
    ----------
    network : torch.nn.Module
    """

    def __init__(self, network):
        super().__init__()
        self.network = network
        volume = network.spatial_dims == 3
        self.layout = torch.channels_last_3d if volume else torch.channels_last
        self.to(memory_format=self.layout)

    def forward(self, image):
        """Outputs, or a list of them, of shape (batch, n_outputs, *spatial)."""
        return self.network(image.contiguous(memory_format=self.layout))


class FixedScans:
    """A validation set that is made once: the mean score of a network on it, always the same way.

    Parameters
    ----------
    heads : list of (image, target)
        As `SyntheticHeads.draw` gives them.
    task : Task
    patch_size : sequence of int

    Raises
    ------
    ValueError
        If there is no scan.
    """

    def __init__(self, heads, task, patch_size):
        if not heads:
            raise ValueError("there is no validation scan to score a network on; give one or more")
        self.heads = heads
        self.task = task
        self.patch_size = tuple(patch_size)

    def __call__(self, network):
        """Mean of what the task scores over all scans.

        Raises
        ------
        TrainingError
            If the network gives no numbers.
        """
        device = next(network.parameters()).device
        scores = []
        for place, (image, target) in enumerate(self.heads):
            shape = image.shape[1:]
            size = [max(n, p) for n, p in zip(shape, self.patch_size, strict=True)]
            middle = [(n - 1) / 2 for n in shape]
            image = torch.from_numpy(cut_patch(image, middle, size))[None].to(device)
            outputs = sliding_window_inference(
                image, self.patch_size, 4, network, overlap=0.25, mode="gaussian"
            )
            if not bool(torch.isfinite(outputs).all()):
                raise TrainingError(
                    f"the network gives NaN or infinite values on validation scan {place}, so it "
                    "cannot be scored; lower learning_rate, or look for extreme values in the scan"
                )
            truth = cut_patch(target, middle, size, fill=self.task.target_fill)
            scores.append(self.task.score(outputs[0].float(), truth))
        return float(np.mean([np.mean(column) for column in zip(*scores, strict=True)]))


def window_for(network_divisor, patch_size, spatial_dims):
    """The patch as one length per axis, each a multiple of what the network needs.

    Raises
    ------
    ValueError
        If it is not.
    """
    size = per_axis("patch_size", patch_size, spatial_dims)
    wrong = [n for n in size if n % network_divisor or n < 2 * network_divisor]
    if wrong:
        raise ValueError(
            f"patch_size {size} does not suit this network: every length must be a multiple of "
            f"{network_divisor} and at least {2 * network_divisor}"
        )
    return tuple(int(n) for n in size)


def train_patches(
    stream,
    validation,
    loss,
    network_settings,
    *,
    initial=None,
    freeze=False,
    settings=None,
    **engine,
):
    """Train on a `PatchStream` and return the network of the best epoch.

    Parameters
    ----------
    stream : PatchStream
    validation : FixedScans or None
    loss : callable
        (outputs, targets) -> loss of each sample, or their mean.
    network_settings : dict
        For `build_voxelwise`.
    initial : dict of str to Tensor, default=None
        Weights to begin with, but for layers of another shape.
    freeze : bool or int, default=False
        Whether the encoder learns nothing, or for how many epochs.
    settings : dict, default=None
        What else the training depends on, for its checkpoint.
    **engine
        For `train_network`.

    Returns
    -------
    network : torch.nn.Module
        In evaluation mode, on the CPU.
    history : list of dict
    """

    def new():
        network = build_voxelwise(**network_settings)
        if initial is not None:
            fresh = network.state_dict()
            same = {n: t for n, t in initial.items() if n in fresh and fresh[n].shape == t.shape}
            network.load_state_dict(fresh | same)
        frozen, epochs = frozen_epochs(freeze)
        if frozen and not isinstance(network.body, BesideFeatures):  # which is frozen anyway
            network.freeze(network.encoder_part, epochs=epochs)
        return Outputs(network)

    network, history = train_network(
        new,
        stream,
        loss=loss,
        score=validation,
        settings={
            **plain_network(network_settings),
            "patch_size": stream.patch_size,
            "scans": len(stream),
            **(settings or {}),
        },
        **engine,
    )
    return network.network, history


def plain_network(settings):
    """Settings of a network as plain values; a function is known by its name."""
    architecture, shape = settings["architecture"], settings["shape"]
    plain = {name: value for name, value in settings.items() if name != "shape"}
    if callable(architecture):
        plain |= {"architecture": f"{architecture.__module__}.{architecture.__qualname__}"}
        plain |= {"shape": shape}
    return plain
