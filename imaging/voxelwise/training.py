"""Train a segmentation network on patches, by the one training engine."""

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from ..learning.engine import TrainingError, train_network
from ..metrics import dice
from ..nets.segmenters import build_segmenter
from .parameters import per_axis
from .samples import cut_patch

__all__ = ["FixedScans", "Logits", "train_patches", "window_for"]


class Logits(nn.Module):
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
        """Logits, or a list of them, of shape (batch, classes, *spatial)."""
        return self.network(image.contiguous(memory_format=self.layout))


class FixedScans:
    """A validation set that is made once: the mean Dice of a network on it, always by the same way.

    A class that a scan has not counts 1 where the network does not find it, and 0 where it does,
    so that false alarms on healthy scans cost as much as missed lesions.

    Parameters
    ----------
    heads : list of (image, target)
        As `SyntheticHeads.draw` gives them.
    classes : sequence of int
        That are scored.
    patch_size : sequence of int

    Raises
    ------
    ValueError
        If there is no scan.
    """

    def __init__(self, heads, classes, patch_size):
        if not heads:
            raise ValueError("there is no validation scan to score a network on; give one or more")
        self.heads = heads
        self.classes = classes
        self.patch_size = tuple(patch_size)

    def __call__(self, network):
        """Mean Dice over scans and classes, from 0 to 1.

        Raises
        ------
        TrainingError
            If the network gives no numbers.
        """
        device = next(network.parameters()).device
        per_class = {number: [] for number in self.classes}
        for place, (image, target) in enumerate(self.heads):
            size = [max(n, p) for n, p in zip(target.shape, self.patch_size, strict=True)]
            middle = [(n - 1) / 2 for n in target.shape]
            image = torch.from_numpy(cut_patch(image, middle, size))[None].to(device)
            logits = sliding_window_inference(
                image, self.patch_size, 4, network, overlap=0.25, mode="gaussian"
            )
            if not bool(torch.isfinite(logits).all()):
                raise TrainingError(
                    f"the network gives NaN or infinite values on validation scan {place}, so it "
                    "cannot be scored; lower learning_rate, or look for extreme values in the scan"
                )
            found = logits[0].float().argmax(0).cpu().numpy()
            truth = cut_patch(target[None], middle, size, fill=0)[0]
            for number, scores in per_class.items():
                scores.append(dice(found == number, truth == number))
        return float(np.mean([np.mean(scores) for scores in per_class.values()]))


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
    stream, validation, loss, network_settings, *, initial=None, settings=None, **engine
):
    """Train on a `PatchStream` and return the network of the best epoch.

    Parameters
    ----------
    stream : PatchStream
    validation : FixedScans or None
    loss : callable
        (logits, targets) -> loss of each sample, or their mean.
    network_settings : dict
        For `build_segmenter`.
    initial : dict of str to Tensor, default=None
        Weights to begin with, but for layers of another shape.
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
        network = build_segmenter(**network_settings)
        if initial is not None:
            fresh = network.state_dict()
            same = {n: t for n, t in initial.items() if n in fresh and fresh[n].shape == t.shape}
            network.load_state_dict(fresh | same)
        return Logits(network)

    network, history = train_network(
        new,
        stream,
        loss=loss,
        score=validation,
        settings={
            **network_settings,
            "patch_size": stream.patch_size,
            "scans": len(stream),
            **(settings or {}),
        },
        **engine,
    )
    return network.network, history
