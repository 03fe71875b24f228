"""How a network is fitted: which data it sees, which network it is, what it is checked on."""

import json
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import torch

from ..learning.checkpoints import CheckpointError, kept_training, training_file
from ..nets.voxelwise import build_voxelwise
from ..parameters import marked
from ..randomness import sample_seed
from ..storage.models import fingerprints
from ..storage.seen import SeenScans
from ..synthesis.recipes import synthetic_chain
from ..synthesis.steps import Step
from .card import built_as
from .samples import PatchStream, RealScans, SyntheticHeads
from .settings import per_axis
from .storage import trained_weights
from .training import FixedScans, train_patches, window_for

__all__ = ["RealData", "fit_network", "network_of_checkpoint", "patch_lengths", "plain_steps"]

# So that validation draws from other numbers than training does.
_VALIDATION = 2**40


class RealData(NamedTuple):
    """Real training data: every sequence of every patient with its target.

    Parameters
    ----------
    images : list of ndarray of shape (*spatial), float32
        Raw intensities on the voxels of the network.
    targets : list of ndarray of shape (channels, *spatial)
    patients : list of int
        To whom an image belongs.
    fingerprints : list of str
    """

    images: list
    targets: list
    patients: list
    fingerprints: list


class _Loss:
    """The loss of a task under training, which knows how far the training is."""

    def __init__(self, task, stream):
        self.parts = task.loss()
        self.stream = stream

    def __call__(self, outputs, target):
        return self.parts(outputs, target, self.stream.step)


def patch_lengths(model):
    """The patch size as one length per axis, which must suit the network."""
    with torch.random.fork_rng():
        divisor = build_voxelwise(**_network_settings(model, 2)).divisor
    return window_for(divisor, model.patch_size, model.spatial_dims)


def fit_network(model, task, real, seed):
    """Train the network of a model.

    Parameters
    ----------
    model : BaseVoxelwise
        The parameters of `Settings` are read, and `patch_size_`.
    task : Task
    real : RealData or None
    seed : int

    Returns
    -------
    network : torch.nn.Module
    history : list of dict
    seen : SeenScans
        The real scans that it has learnt from.
    """
    ours, patch_size = model, model.patch_size_
    network_settings = _network_settings(ours, len(task.outputs))
    initial, seen = None, SeenScans()
    if ours.initial_weights is not None:
        initial, seen = trained_weights(ours.initial_weights, network_settings)
    held_out, checked_on, sources = [], [], []
    if ours.source is not None or real is None:
        share = 1.0 if real is None else 1 - ours.real_share
        sources.append((SyntheticHeads(_chain(ours, task, ours.source), task.scaling), share))
        other = ours.source if ours.validation_source is None else ours.validation_source
        heads = SyntheticHeads(_chain(ours, task, other), task.scaling)
        held_out += [
            heads.draw(sample_seed(_VALIDATION, i)) for i in range(ours.validation_samples)
        ]
        checked_on += [_identity(heads), ours.validation_samples]
    if real is not None:
        seen = seen.and_also(real.fingerprints)
        trained, kept = _hold_out(real, ours.validation_fraction, seed)
        geometry = {"spacing_mm": ours.spacing_mm or 1.0, "mirror": ours.mirror}
        chains, plain = (
            [task.variations(augment=a, signed=signed, **geometry) for signed in (False, True)]
            for a in (ours.augment, False)
        )
        share = 1.0 if ours.source is None else ours.real_share
        scans = RealScans(trained.images, trained.targets, task.scaling, *chains)
        sources.append((scans, share))
        held_out += [
            RealScans([image], [target], task.scaling, *plain).draw(
                sample_seed(_VALIDATION, number)
            )
            for number, (image, target) in enumerate(zip(kept.images, kept.targets, strict=True))
        ]
        checked_on.append(joblib.hash((kept.images, kept.targets)))
    stream = PatchStream(
        sources,
        length=ours.steps_per_epoch * ours.batch_size,
        batch_size=ours.batch_size,
        patch_size=patch_size,
        patches=ours.patches,
        task=task,
        seed=seed,
    )
    settings = {
        "task": type(task).__name__,
        "outputs": list(task.outputs),
        **task.settings(),
        "data": [_identity(source) for source, _ in sources],
        "mixing": ours.real_share,
        "validation": checked_on,
        "patches": ours.patches,
        "precision": ours.precision,
    }
    if initial is not None:
        settings["initial_weights"] = joblib.hash(fingerprints(initial))
        if ours.freeze:
            settings["freeze"] = repr(ours.freeze)
    if seen != SeenScans():
        settings["seen_scans"] = seen.as_card()
    network, history = train_patches(
        stream,
        FixedScans(held_out, task, patch_size) if held_out else None,
        _Loss(task, stream),
        network_settings,
        initial=initial,
        freeze=ours.freeze,
        checkpoint=None if ours.checkpoint is None else training_file(ours.checkpoint),
        settings=settings,
        seed=seed,
        label=type(ours).__name__,
        score_name=task.score_name,
        higher_is_better=task.higher_is_better,
        **marked(ours, "training"),
    )
    return network, history, seen


def network_of_checkpoint(model, task):
    """The best network so far of a training that is kept in a folder, as `fit_network` gives it."""
    path, state = kept_training(model.checkpoint)
    best = state["stopping"].get("best_model_weights_") or state["module"]
    with torch.random.fork_rng():
        network = build_voxelwise(**_network_settings(model, len(task.outputs)))
    weights = {name.removeprefix("network."): tensor for name, tensor in best.items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{str(path)!r} holds another network than {built_as(model)[0]!r} with "
            f"{len(task.outputs)} outputs; give the parameters it was trained with"
        ) from error
    keys = ("train_loss", "score")
    rows = json.loads(state["history"])
    history = [{k: row[k] for k in keys if k in row} for row in rows]
    known = json.loads(state["settings"]).get("seen_scans")
    seen = SeenScans() if known is None else SeenScans.of_card(known)
    return network.eval(), history, seen


def _network_settings(ours, n_outputs):
    architecture, channels = built_as(ours)
    return {
        "architecture": architecture,
        "n_outputs": n_outputs,
        "spatial_dims": ours.spatial_dims,
        "channels": None if channels is None else tuple(channels),
        "deep_supervision": ours.deep_supervision,
        "dropout": ours.dropout,
        "shape": per_axis("patch_size", ours.patch_size, ours.spatial_dims),
    }


def _identity(source):
    """What tells one training set from another: its steps and files, or its voxels."""
    if isinstance(source, RealScans):
        chains = [plain_steps(chain) for chain in (source.chain, source.signed_chain)]
        return joblib.hash((source.images, source.targets, source.scaling, chains))
    return joblib.hash(plain_steps(source.chain))


def plain_steps(value):
    """Steps as nested tables of their parameters, without what they keep in memory."""
    if isinstance(value, Step):
        known = {n: plain_steps(v) for n, v in vars(value).items() if not n.startswith("_")}
        return [type(value).__name__, known]
    if isinstance(value, (list, tuple)):
        return [plain_steps(v) for v in value]
    if hasattr(value, "affine"):
        return np.asanyarray(value.dataobj), value.affine
    return str(value) if isinstance(value, Path) else value


def _chain(ours, task, source):
    """Heads somewhat larger than the patches, so that intensities are those of a whole scan."""
    return synthetic_chain(
        source,
        spacing_mm=ours.spacing_mm,
        patch_size=[n + n // 4 for n in ours.patch_size_],
        contrast=ours.contrast,
        ranges=ours.ranges,
        mirror=ours.mirror,
        spatial_dims=ours.spatial_dims,
        noise=task.scan_noise,
        noise_device="cpu",
        ending=task.ending(),
    )


def _hold_out(real, fraction, seed):
    """Split into training patients and the rest, by a seed of its own; both as `RealData`."""
    patients = list(dict.fromkeys(real.patients))
    count = round(fraction * len(patients))
    if fraction and not 0 < count < len(patients):
        whom, remedy = ("none", "raise") if count == 0 else ("all", "lower")
        raise ValueError(
            f"validation_fraction={fraction} sets aside {whom} of {len(patients)} patients; "
            f"{remedy} it, or give more patients"
        )
    order = np.random.default_rng(seed).permutation(len(patients)).tolist()
    numbers = [[i for i, one in enumerate(real.patients) if one == patient] for patient in patients]
    return [
        RealData(*[[values[i] for place in places for i in numbers[place]] for values in real])
        for places in (order[count:], order[:count])
    ]
