"""The parameters of a pretrained encoder, each declared once.

`stored` marks those that results depend on, which a card keeps; `training` those that the training
engine takes as they are.
"""

import os
from numbers import Integral

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Options

from ..learning.settings import TrainingSettings
from ..nets import PRETRAINING
from ..parameters import (
    CHANCE,
    COUNT,
    FROM_ZERO,
    NOT_NEGATIVE,
    PATCH,
    POSITIVE,
    SHARE,
    SPACING,
    Channels,
    Each,
    StrOptions,
    parameter,
    parameters,
)
from ..physics.ranges import RANGES

__all__ = ["Settings"]


@parameters
class Settings(TrainingSettings, BaseEstimator):
    """Parameters of `SequenceInvariantEncoder`.

    Parameters
    ----------
    {parameters}
    """

    objective: str = parameter(
        "seq_inv",
        StrOptions({"base", "seq_aug", "seq_inv", "dense", "masked", "shape"}),
        kind='{"base", "seq_aug", "seq_inv", "dense", "masked", "shape"}',
        stored=True,
        first=True,
        doc="""
            What is learnt. Two views of a head, in poses of their own, are to be told from those
            of other heads: "base", views of one MPRAGE; "seq_aug", of one contrast of any kind;
            "seq_inv", each of another contrast. "dense": voxels of a tissue are to look alike in
            two contrasts. "masked": hidden blocks of a scan are to be reconstructed. "shape", with
            the encoder of that name: tissues and places in the brain are to be known in any
            contrast; the vector is what the brain measures.""",
    )
    encoder: str = parameter(
        "small",
        StrOptions(set(PRETRAINING)),
        kind='{"small", "shape", "cnn", "vit"}',
        stored=True,
        doc="""
            "small" sees whole heads of coarse voxels and trains on a processor, as does "shape",
            for the objective of that name; "cnn" and "vit" are the published ones.""",
    )
    channels: tuple | None = parameter(
        None,
        Channels(),
        None,
        kind="tuple of int",
        stored=True,
        doc="Of every level of the encoder; None takes its own.",
    )
    spatial_dims: int = parameter(
        3,
        Options(Integral, {2, 3}),
        kind="{3, 2}",
        stored=True,
        doc="2 takes pictures: NIfTI files of one slice, arrays, PNG files.",
    )
    spacing_mm: float = parameter(
        4.0, SPACING, stored=True, doc="Edge of the voxels that the encoder sees, 0.25 to 50 mm."
    )
    patch_size: int | tuple | None = parameter(
        None,
        PATCH,
        Each(PATCH),
        None,
        kind="int or sequence of int",
        stored=True,
        doc="""
            Voxels of a view. None: for "small" and "shape" a whole head, 192 x 256 x 192 mm (in 2-D
            256 x 256), at 4 mm (48, 64, 48) voxels; 96 along every axis for the published ones.""",
    )
    map_level: int = parameter(
        1,
        FROM_ZERO,
        stored=True,
        doc="""
            Level of the encoder, 0 the finest, whose features `transform_map` gives; the "dense"
            objective has features of all levels.""",
    )
    source: object = parameter(
        None,
        HasMethods("sample"),
        None,
        kind="LabelMapSource or other Step",
        doc="""
            Where heads come from if `fit` is given none: label maps and lesions. None embeds a
            head.""",
    )
    n_people: int | None = parameter(
        None,
        COUNT,
        None,
        kind="int",
        doc="""
            Heads that are made of label maps, each once, and kept in memory (2 MB at 4 mm), the
            same for every `random_state`; poses and contrasts are new each time. None makes another
            head whenever one is needed.""",
    )
    content: str = parameter(
        "scans",
        StrOptions({"scans", "label maps"}),
        kind='{"scans", "label maps"}',
        doc="What `fit` is given, where it is no `QuantitativeMaps`.",
    )
    contrast: str = parameter(
        "both",
        StrOptions({"both", "mixture", "physics"}),
        kind='{"both", "mixture", "physics"}',
        doc="""
            Of simulated scans: a random intensity for each tissue, a random protocol of a random
            sequence, or either. "base" is of physics always.""",
    )
    ranges: str = parameter(
        "plausible",
        StrOptions(set(RANGES)),
        kind='{"plausible", "reference", "reference-segmentation"}',
        doc="Of protocols, see `sample_protocol`.",
    )
    rotation_deg: float = parameter(15.0, NOT_NEGATIVE, doc="Largest turn of a view, every axis.")
    shift_mm: float = parameter(20.0, NOT_NEGATIVE, doc="Largest shift of a view, every axis.")
    mirror: float = parameter(
        0.5, CHANCE, doc="Chance to mirror a head, all its views alike, from left to right."
    )
    loss: str = parameter(
        "nt-xent",
        StrOptions({"nt-xent", "barlow-twins"}),
        kind='{"nt-xent", "barlow-twins"}',
        doc="""
            Between views. "nt-xent" takes the other heads of a batch as negatives and wants 64 or
            more; "barlow-twins" needs none.""",
    )
    temperature: float = parameter(0.5, POSITIVE, doc='Of "nt-xent".')
    reconstruction_weight: float = parameter(
        1.0,
        NOT_NEGATIVE,
        doc="""
            Of the mean absolute difference between each view without its faults and what is
            reconstructed of it; 0 for none. "dense" reconstructs nothing, "masked" nothing else.
            """,
    )
    dropout: float | None = parameter(
        None,
        SHARE,
        None,
        kind="float",
        doc='In the encoder while it is trained; None takes .2 for "cnn", none for others.',
    )
    initial_weights: object = parameter(
        None,
        str,
        os.PathLike,
        None,
        kind="str or path",
        doc="""
            A pretrained encoder, by name or file, that the training begins with. `load` and
            `from_pretrained` fill it in.""",
    )
    frozen: bool = parameter(
        False,
        "boolean",
        doc="""
            `fit` trains nothing and takes `initial_weights` as they are. `load` and
            `from_pretrained` set it, so that a loaded encoder in a Pipeline or a cross-validation
            stays what it is.""",
    )
    steps_per_epoch: int = parameter(20, COUNT, doc="Batches of an epoch.")
    batch_size: int = parameter(64, COUNT, training=True, doc="Heads of a step.")
    learning_rate: float = parameter(
        1e-3,
        POSITIVE,
        SHARE,
        training=True,
        doc="""
            Of AdamW, with one epoch of warm-up, then, step by step, a cosine schedule over
            `epochs`; gradients are clipped.""",
    )
