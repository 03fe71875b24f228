"""How a segmenter is fitted: which data it sees, which network it trains, what it is checked on."""

import json
from pathlib import Path

import joblib
import numpy as np
import torch

from ..learning.checkpoints import CheckpointError, read_checkpoint
from ..learning.segmentation_losses import SegmentationLoss
from ..nets.segmenters import build_segmenter
from ..physics.draws import sample_seed
from ..synthesis.steps import Step
from .model_files import fingerprints, trained_weights
from .recipes import real_chain, segmentation_chain
from .samples import PatchStream, RealScans, SyntheticHeads
from .training import FixedScans, train_patches, window_for

__all__ = ["check_parameters", "fit_network", "network_of_checkpoint"]

# So that validation draws from other numbers than training does.
_VALIDATION = 2**40


class _Loss:
    """The loss of a network under training, which knows how far the training is."""

    def __init__(self, segmenter, n_classes, stream):
        self.parts = SegmentationLoss(
            n_classes,
            lesion_weight=segmenter.lesion_weight,
            tversky=segmenter.tversky,
            warm_start_steps=segmenter.warm_start_steps,
        )
        self.stream = stream

    def __call__(self, logits, target):
        return self.parts(logits, target, step=self.stream.step)


def check_parameters(segmenter):
    """Refuse parameters that cannot be; returns the patch size as one length per axis."""
    ours = segmenter
    for name in ("epochs", "steps_per_epoch", "batch_size", "patches", "n_threads"):
        if not (isinstance(getattr(ours, name), (int, np.integer)) and getattr(ours, name) >= 1):
            raise ValueError(f"{name} must be a whole number from 1, got {getattr(ours, name)!r}")
    for name in ("spacing_mm", "learning_rate", "lesion_weight"):
        if not getattr(ours, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(ours, name)!r}")
    for name in ("real_share", "validation_fraction", "overlap", "dropout"):
        if not 0 <= getattr(ours, name) < 1:
            raise ValueError(f"{name} must be in [0, 1), got {getattr(ours, name)!r}")
    with torch.random.fork_rng():
        divisor = build_segmenter(**_network_settings(ours, 2)).divisor
    return window_for(divisor, ours.patch_size, ours.spatial_dims)


def fit_network(segmenter, real, n_classes, seed):
    """Train the network of a segmenter.

    Parameters
    ----------
    segmenter : BaseSegmenter
        Its parameters are read.
    real : (images, targets) or None
        Arrays on the voxels of the network.
    n_classes : int
    seed : int

    Returns
    -------
    network : torch.nn.Module
    history : list of dict
    """
    ours, patch_size = segmenter, segmenter.patch_size_
    network_settings, initial = _network_settings(ours, n_classes), None
    if ours.initial_weights is not None:
        initial = trained_weights(ours.initial_weights, network_settings)
    held_out, sources = [], []
    if ours.source is not None or real is None:
        share = 1.0 if real is None else 1 - ours.real_share
        sources.append((SyntheticHeads(_chain(ours, ours.source, n_classes)), share))
        other = ours.source if ours.validation_source is None else ours.validation_source
        heads = SyntheticHeads(_chain(ours, other, n_classes))
        held_out += [
            heads.draw(sample_seed(_VALIDATION, i)) for i in range(ours.validation_samples)
        ]
    if real is not None:
        images, targets, kept = _hold_out(*real, ours.validation_fraction, seed)
        chain = None
        if ours.augment:
            chain = real_chain(spacing_mm=ours.spacing_mm, mirror=ours.mirror)
        share = 1.0 if ours.source is None else ours.real_share
        sources.append((RealScans(images, targets, chain, ct=ours.ct), share))
        held_out += [RealScans([i], [t], ct=ours.ct).draw(0) for i, t in zip(*kept, strict=True)]
    stream = PatchStream(
        sources,
        length=ours.steps_per_epoch * ours.batch_size,
        batch_size=ours.batch_size,
        patch_size=patch_size,
        patches=ours.patches,
        lesion_class=n_classes - 1,
        seed=seed,
    )
    settings = {
        "data": [_identity(source) for source, _ in sources],
        "mixing": ours.real_share,
        "patches": ours.patches,
        "loss": [ours.lesion_weight, ours.tversky, ours.warm_start_steps],
        "precision": ours.precision,
    }
    if initial is not None:
        settings["initial_weights"] = joblib.hash(fingerprints(initial))
    return train_patches(
        stream,
        FixedScans(held_out, list(ours._scored()), patch_size) if held_out else None,
        _Loss(ours, n_classes, stream),
        network_settings,
        initial=initial,
        checkpoint=None if ours.checkpoint is None else _state_file(ours),
        settings=settings,
        epochs=ours.epochs,
        batch_size=ours.batch_size,
        learning_rate=ours.learning_rate,
        weight_decay=ours.weight_decay,
        device=ours.device,
        precision=ours.precision,
        n_threads=ours.n_threads,
        seed=seed,
        verbose=ours.verbose,
        label=type(ours).__name__,
    )


def network_of_checkpoint(segmenter, n_classes):
    """The best network so far and the history of a training that is kept in a folder."""
    if segmenter.checkpoint is None:
        raise ValueError("there is no checkpoint to take; name its folder: checkpoint=...")
    path = _state_file(segmenter)
    if not path.is_file():
        raise CheckpointError(f"no training at {str(path)!r}; fit first, or correct the folder")
    state = read_checkpoint(path)
    best = state["stopping"].get("best_model_weights_") or state["module"]
    with torch.random.fork_rng():
        network = build_segmenter(**_network_settings(segmenter, n_classes))
    weights = {name.removeprefix("network."): tensor for name, tensor in best.items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{str(path)!r} holds another network than {segmenter.architecture!r} with "
            f"{n_classes} classes; give the parameters it was trained with"
        ) from error
    keys = ("train_loss", "score")
    rows = json.loads(state["history"])
    return network.eval(), [{k: row[k] for k in keys if k in row} for row in rows]


def _state_file(segmenter):
    return Path(segmenter.checkpoint).expanduser() / "training.pt"


def _network_settings(ours, n_classes):
    return {
        "architecture": ours.architecture,
        "n_classes": n_classes,
        "spatial_dims": ours.spatial_dims,
        "channels": None if ours.channels is None else tuple(ours.channels),
        "deep_supervision": ours.deep_supervision,
        "dropout": ours.dropout,
    }


def _identity(source):
    """What tells one training set from another: its steps and files, or its voxels."""
    if isinstance(source, RealScans):
        return joblib.hash((source.images, source.targets, source.ct, source.chain is None))
    return joblib.hash(_parameters_of(source.chain))


def _parameters_of(value):
    """Steps as nested tables of their parameters, without what they keep in memory."""
    if isinstance(value, Step):
        known = {n: _parameters_of(v) for n, v in vars(value).items() if not n.startswith("_")}
        return [type(value).__name__, known]
    if isinstance(value, (list, tuple)):
        return [_parameters_of(v) for v in value]
    if hasattr(value, "affine"):
        return np.asanyarray(value.dataobj), value.affine
    return str(value) if isinstance(value, Path) else value


def _chain(ours, source, n_classes):
    """Heads somewhat larger than the patches, so that intensities are those of a whole scan."""
    return segmentation_chain(
        source,
        spacing_mm=ours.spacing_mm,
        field_of_view=[n + n // 4 for n in ours.patch_size_],
        contrast=ours.contrast,
        ranges=ours.ranges,
        classes="lesion" if n_classes == 2 else "tissues",
        mirror=ours.mirror,
        spatial_dims=ours.spatial_dims,
    )


def _hold_out(images, targets, fraction, seed):
    """Split into training scans and the rest, by a seed of its own."""
    count = round(fraction * len(images))
    if count >= len(images):
        raise ValueError(
            f"validation_fraction={fraction} leaves none of {len(images)} scans to train on; "
            "lower it"
        )
    order = np.random.default_rng(seed).permutation(len(images)).tolist()
    kept, rest = order[:count], order[count:]
    return (
        [images[i] for i in rest],
        [targets[i] for i in rest],
        ([images[i] for i in kept], [targets[i] for i in kept]),
    )
