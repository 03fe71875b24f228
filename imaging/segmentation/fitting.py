"""How a segmenter is fitted: which data it sees, which network it trains, what it is checked on."""

import numpy as np
import torch

from ..learning.device import resolve_device
from ..physics.draws import sample_seed
from .recipes import real_chain, segmentation_chain
from .samples import PatchStream, RealScans, SyntheticHeads
from .training import FixedScans, train_patches, window_for

__all__ = ["fit_network", "training_loss"]

# So that validation draws from other numbers than training does.
_VALIDATION = 2**40


def training_loss(parameters):
    """Dice and cross-entropy, the lesion weighing `lesion_weight` times the other classes."""
    from monai.losses import DiceCELoss

    n_classes = parameters["n_classes"]
    weight = torch.ones(n_classes)
    weight[-1] = parameters["lesion_weight"]
    parts = DiceCELoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        weight=weight,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )
    return lambda logits, target: parts(logits, target[:, None].long())


def fit_network(segmenter, real, n_classes, seed):
    """Train the network of a segmenter.

    Parameters
    ----------
    segmenter : LesionSegmenter or TissueSegmenter
        Its parameters are read.
    real : (images, targets) or None
        Arrays on the grid of the segmenter.
    n_classes : int
    seed : int

    Returns
    -------
    network, history, patch_size
    """
    from ..nets.segmenters import build_segmenter

    ours = segmenter
    settings = {
        "architecture": ours.architecture,
        "n_classes": n_classes,
        "spatial_dims": ours.spatial_dims,
        "channels": None if ours.channels is None else tuple(ours.channels),
        "deep_supervision": ours.deep_supervision,
        "dropout": ours.dropout,
    }
    divisor = build_segmenter(**settings).divisor
    patch_size = window_for(divisor, ours.patch_size, ours.spatial_dims)
    mirror = ours.mirror
    held_out, sources = [], []
    if ours.source is not None or real is None:
        share = 1.0 if real is None else 1 - ours.real_share
        sources.append((SyntheticHeads(_chain(ours, ours.source, patch_size, n_classes)), share))
        other = ours.source if ours.validation_source is None else ours.validation_source
        heads = SyntheticHeads(_chain(ours, other, patch_size, n_classes))
        held_out += [
            heads.draw(sample_seed(_VALIDATION, i)) for i in range(ours.validation_samples)
        ]
    if real is not None:
        images, targets, kept = _hold_out(*real, ours.validation_fraction, seed)
        chain = real_chain(spacing_mm=ours.spacing_mm, mirror=mirror) if ours.augment else None
        share = 1.0 if ours.source is None else ours.real_share
        sources.append((RealScans(images, targets, chain, ct=ours.ct), share))
        held_out += [RealScans([i], [t], ct=ours.ct).draw(0) for i, t in zip(*kept, strict=True)]
    stream = PatchStream(
        sources,
        length=ours.steps_per_epoch * ours.batch_size,
        patch_size=patch_size,
        patches=ours.patches,
        lesion_class=n_classes - 1,
        seed=seed,
    )
    scored = [n_classes - 1] if ours.scores_lesion else range(1, n_classes)
    loss = training_loss({"n_classes": n_classes, "lesion_weight": ours.lesion_weight})
    network, history = train_patches(
        stream,
        FixedScans(held_out, scored, patch_size) if held_out else None,
        loss,
        settings,
        checkpoint=ours.checkpoint,
        epochs=ours.epochs,
        batch_size=ours.batch_size,
        learning_rate=ours.learning_rate,
        weight_decay=ours.weight_decay,
        device=resolve_device(ours.device).type if ours.device == "auto" else ours.device,
        precision=ours.precision,
        n_threads=ours.n_threads,
        seed=seed,
        verbose=ours.verbose,
        label=type(ours).__name__,
    )
    return network, history, patch_size


def _chain(ours, source, patch_size, n_classes):
    """Heads somewhat larger than the patches, so that intensities are those of a whole scan."""
    return segmentation_chain(
        source,
        spacing_mm=ours.spacing_mm,
        field_of_view=[n + n // 4 for n in patch_size],
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
