"""How an encoder is pretrained: on whom, with which heads on it, by the one training engine."""

import json
import math

import joblib
import numpy as np
import torch

from ..errors import ImageError
from ..learning.checkpoints import CheckpointError, kept_training, training_file
from ..learning.engine import train_network
from ..nets.pretraining import (
    DenseHead,
    PretrainingNet,
    Projector,
    ReconstructionHead,
    build_pretraining_encoder,
)
from ..nets.shapes import Spread
from ..parameters import marked
from ..physics.maps import QuantitativeMaps
from ..storage.seen import SeenScans
from ..synthesis.sources import LabelMapSource
from ..voxelwise.fitting import plain_steps
from ..voxelwise.geometry import prepare
from ..voxelwise.scaling import from_zero
from ..voxelwise.sequences import check_scans, naming, sequences_of
from ..voxelwise.settings import per_axis
from .objectives import OBJECTIVES, ContrastLoss, DenseLoss, MaskedLoss, ShapeLoss
from .people import KeptPeople, LabelledPeople, MappedPeople, ScannedPeople, prepared_maps
from .views import Views, ViewStream

__all__ = [
    "build_network",
    "fit_encoder",
    "network_of_checkpoint",
    "patch_lengths",
    "people_of",
    "view_stream",
]

_HEAD_MM = {3: (192, 256, 192), 2: (256, 256)}  # that hold most heads
_MULTIPLE = 16
_PUBLISHED_PATCH = 96


def patch_lengths(model):
    """The shape of a view as one length per axis, which must suit the encoder."""
    size = model.patch_size
    if size is None:
        size = _PUBLISHED_PATCH
        if model.encoder in ("small", "shape"):
            voxels = [mm / model.spacing_mm for mm in _HEAD_MM[model.spatial_dims]]
            size = [max(2, math.ceil(n / _MULTIPLE - 1e-9)) * _MULTIPLE for n in voxels]
    lengths = tuple(int(n) for n in per_axis("patch_size", size, model.spatial_dims))
    with torch.random.fork_rng(), torch.device("meta"):
        levels = build_encoder(model, lengths).channels
    if model.map_level >= len(levels):
        raise ValueError(
            f"map_level={model.map_level} is beyond the {len(levels)} levels of this encoder, "
            f"which are numbered from 0; give {len(levels) - 1} or less"
        )
    return lengths


def build_encoder(model, shape):
    """A new encoder of a model, with random weights."""
    channels = None if model.channels is None else tuple(model.channels)
    return build_pretraining_encoder(model.encoder, shape, channels=channels, dropout=model.dropout)


def build_network(model):
    """A new encoder with the heads that the objective of a model needs."""
    encoder = build_encoder(model, model.patch_size_)
    dims, heads = model.spatial_dims, {}
    if model.objective in ("base", "seq_aug", "seq_inv"):
        heads["projector"] = Projector(encoder.n_features)
    if model.objective == "masked" or ("projector" in heads and model.reconstruction_weight):
        steps = encoder.divisor.bit_length() - 1
        heads["reconstruction"] = ReconstructionHead(dims, encoder.n_maps, steps)
    if model.objective == "dense":
        heads["dense"] = DenseHead(dims, encoder.channels)
    if model.objective == "shape":
        heads["spread"] = Spread(encoder.n_measures)
    return PretrainingNet(encoder, **heads)


def fit_encoder(model, X, seed):
    """Pretrain the network of a model.

    Parameters
    ----------
    model : SequenceInvariantEncoder
        Its parameters are read, and `patch_size_`.
    X : sequence or None
        As `fit` takes it.
    seed : int

    Returns
    -------
    network : PretrainingNet
        In evaluation mode, on the CPU.
    history : list of dict
    seen : SeenScans
    """
    initial, seen = None, SeenScans()
    if model.initial_weights is not None:
        from .files import initial_encoder

        initial, seen = initial_encoder(model)
    people, prints = people_of(model, X)
    seen = seen.and_also(prints)
    stream = view_stream(model, people, seed)

    def new():
        network = build_network(model)
        if initial is not None:
            network.encoder.load_state_dict(initial)
        return network

    network, history = train_network(
        new,
        stream,
        loss=_loss(model),
        checkpoint=None if model.checkpoint is None else training_file(model.checkpoint),
        settings={
            **marked(model, "stored"),
            "patch_size": list(model.patch_size_),
            **{name: getattr(model, name) for name in _OF_TRAINING},
            "data": _identity(people),
            "initial": None if initial is None else joblib.hash(initial),
            "seen_scans": seen.as_card(),
        },
        seed=seed,
        label=f"{type(model).__name__} {model.objective}",
        **marked(model, "training"),
    )
    return _finished(network), history, seen


def _finished(network):
    """The network of a training as it is used: a vector of shapes is solved for at the end."""
    if network.spread is not None:
        network.encoder.learn(network.spread)
    return network.eval()


def view_stream(model, people, seed):
    """The views that the objective of a model wants of people, for the training engine."""
    objective = OBJECTIVES[model.objective]
    target = objective.target
    if target == "clean" and not model.reconstruction_weight:
        target = "none"
    views = Views(
        people,
        contrasts=objective.contrasts,
        poses=objective.poses,
        count=objective.count,
        contrast="physics" if model.objective == "base" else model.contrast,
        rotation_deg=model.rotation_deg,
        shift_mm=model.shift_mm,
        clean=target in ("clean", "masked"),
        places=target == "places",
    )
    length = model.steps_per_epoch * model.batch_size
    return ViewStream(views, length=length, target=target, seed=seed)


_OF_TRAINING = (
    "contrast",
    "ranges",
    "rotation_deg",
    "shift_mm",
    "mirror",
    "loss",
    "temperature",
    "reconstruction_weight",
    "dropout",
    "steps_per_epoch",
)


def network_of_checkpoint(model):
    """The network of a training that is kept in a folder, as `fit_encoder` gives it."""
    path, state = kept_training(model.checkpoint)
    with torch.random.fork_rng():
        network = build_network(model)
    try:
        network.load_state_dict(state["module"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{str(path)!r} holds another network than encoder={model.encoder!r} for "
            f"{model.objective!r}; give the parameters it was trained with"
        ) from error
    keys = ("train_loss", *_loss(model).parts)
    rows = json.loads(state["history"])
    history = [{key: row[key] for key in keys if key in row} for row in rows]
    seen = SeenScans.of_card(json.loads(state["settings"])["seen_scans"])
    return _finished(network), history, seen


def _loss(model):
    if model.objective == "dense":
        return DenseLoss()
    if model.objective == "masked":
        return MaskedLoss()
    if model.objective == "shape":
        return ShapeLoss()
    return ContrastLoss(model.loss, model.temperature, model.reconstruction_weight)


def people_of(model, X=None):
    """Whom views are made of, and fingerprints of their real scans."""
    grid = {"shape": model.patch_size_, "spacing_mm": model.spacing_mm, "mirror": model.mirror}
    physics = {"ranges": model.ranges, "sequences": OBJECTIVES[model.objective].sequences}
    if X is not None:
        check_scans(X)
        if len(X) == 0:
            raise ValueError("found no scan to learn from; give some, or fit() for synthetic heads")
        mapped = [isinstance(one, QuantitativeMaps) for one in X]
        if any(mapped):
            if not all(mapped):
                raise ImageError(
                    f"scan {mapped.index(False)} is no QuantitativeMaps while others are; fit one "
                    "kind at a time"
                )
            _check_unlabelled(model)
            heads = []
            for number, one in enumerate(X):
                with naming(number):
                    heads.append(prepared_maps(one, model.spacing_mm))
            return MappedPeople(heads, **grid, **physics), []
        if model.content == "scans":
            return _scanned(model, X, grid)
    source = model.source
    if X is not None:
        source = LabelMapSource([*X])
    elif source is None:
        source = LabelMapSource(spacing_mm=max(1, int(model.spacing_mm / 2)))
    contrast = "physics" if model.objective == "base" else model.contrast
    people = LabelledPeople(source, **grid, **physics, contrast=contrast)
    return (people if model.n_people is None else KeptPeople(people, model.n_people)), []


def _check_unlabelled(model):
    if OBJECTIVES[model.objective].target in ("labels", "places"):
        raise ValueError(
            f'objective="{model.objective}" needs label maps; give content="label maps"'
        )


def _scanned(model, X, grid):
    _check_unlabelled(model)
    scans, prints = [], []
    for number, scan in enumerate(X):
        with naming(number):
            for sequence in sequences_of(scan):
                prepared = prepare(sequence, model.spacing_mm, model.spatial_dims)
                scans.append(from_zero(prepared.array)[0])
                prints.append(prepared.fingerprint)
    if not scans:
        raise ImageError("found no scan of any patient; give at least one")
    return ScannedPeople(scans, **grid, bend=model.objective != "base"), prints


def _identity(people):
    """What tells one training set from another: its steps and files, or its voxels."""
    if isinstance(people, KeptPeople):
        return joblib.hash((people.count, _identity(people.people)))
    known = {n: v for n, v in vars(people).items() if n != "grid"}
    for name in ("heads", "scans"):
        if name in known:
            known[name] = [np.asarray(one) for one in known[name]]
    return joblib.hash({name: plain_steps(value) for name, value in known.items()})
