"""What both segmenters share of their parameters: one wording, and what they may be."""

import os
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import HasMethods, Options

from ..nets import SEGMENTERS
from ..parameters import (
    CHANCE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    Each,
    Interval,
    StrOptions,
)
from ..physics.ranges import RANGES

__all__ = ["CONSTRAINTS", "PARAMETERS", "per_axis"]

_SHARE = Interval(Real, 0, 1, closed="left")
_FROM_ZERO = Interval(Integral, 0, None, closed="left")

CONSTRAINTS = {
    "architecture": [StrOptions(set(SEGMENTERS))],
    "channels": [Each(COUNT), None],
    "initial_weights": [str, os.PathLike, None],
    "spatial_dims": [Options(Integral, {2, 3})],
    "source": [HasMethods("sample"), None],
    "validation_source": [HasMethods("sample"), None],
    "contrast": [StrOptions({"both", "mixture", "physics"})],
    "ranges": [StrOptions(set(RANGES))],
    "real_share": [Interval(Real, 0, 1, closed="neither")],
    "spacing_mm": [POSITIVE],
    "patch_size": [COUNT, Each(COUNT)],
    "patches": [COUNT],
    "mirror": [CHANCE, Each(CHANCE)],
    "augment": ["boolean"],
    "ct": ["boolean"],
    "lesion_weight": [POSITIVE],
    "tversky": [NOT_NEGATIVE],
    "warm_start_steps": [_FROM_ZERO],
    "deep_supervision": ["boolean"],
    "dropout": [_SHARE],
    "epochs": [COUNT],
    "steps_per_epoch": [COUNT],
    "batch_size": [COUNT],
    "learning_rate": [POSITIVE],
    "weight_decay": [NOT_NEGATIVE],
    "validation_samples": [_FROM_ZERO],
    "validation_fraction": [_SHARE],
    "overlap": [_SHARE],
    "test_time_flips": ["boolean", Each(Interval(Integral, 0, 2, closed="both"), least=0)],
    "precision": [StrOptions({"auto", "float32", "bf16"})],
    "device": [str],
    "n_threads": [COUNT],
    "checkpoint": [str, os.PathLike, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


def per_axis(name, value, spatial_dims):
    """A parameter that is one number, or one for each axis, as the latter.

    Raises
    ------
    ValueError
        If there are more or fewer than axes.

    Examples
    --------
    >>> per_axis("mirror", 0.5, 3), per_axis("mirror", [0.5, 0], 2)
    ((0.5, 0.5, 0.5), (0.5, 0))
    """
    values = (value,) * spatial_dims if np.ndim(value) == 0 else tuple(value)
    if len(values) != spatial_dims:
        raise ValueError(
            f"{name} {values} has {len(values)} numbers for {spatial_dims} axes; give one, or one "
            "for each axis"
        )
    return values


PARAMETERS = """\
architecture : str, default="unet-small"
        "unet", "mde", "mded" (large-kernel attention), "dynunet", "swinunetr"; with "-small"
        appended, at a size that trains on a processor. See `build_segmenter`.
    channels : tuple of int, default=None
        Of every level of the network; None takes the architecture's.
    initial_weights : str or path, default=None
        A trained model, by name or file, whose weights the training begins with instead of random
        ones; layers of another shape (other classes) begin anew. `load` and `from_pretrained` fill
        it in, so that `fit` goes on learning from there, in cross-validation too. That is fair only
        with scans that the model was not trained on. The card of a model names its real training
        scans (a hash of their voxels) and those of the model that it began with; `score`, and so
        ``cross_validate``, warns where it meets one of them, and where a card does not say.
    spatial_dims : {3, 2}, default=3
        2 segments pictures: NIfTI files of one slice, arrays, PNG files.
    source : LabelMapSource or other Step, default=None
        Where synthetic scans come from. None embeds a head and lesions, and is used only where
        there are no real scans.
    validation_source : LabelMapSource or other Step, default=None
        For the synthetic scans of the validation set: other heads and lesions. None takes new
        samples of `source`.
    contrast : {"both", "mixture", "physics"}, default="both"
        Of synthetic scans: a random intensity for each tissue, a random protocol of a random
        sequence, or either.
    ranges : {"plausible", "reference", "reference-segmentation"}, default="plausible"
        Of protocols, see `sample_protocol`.
    real_share : float, default=0.5
        Of real scans among the samples, where both are given; in (0, 1).
    spacing_mm : float, default=1
        Edge of the voxels that the network sees; every scan is resized to it.
    patch_size : int or sequence of int, default=64
        Voxels of a training sample and of a window afterwards.
    patches : int, default=1
        Cut from each scan that was made or read, the first through its lesion.
    mirror : float or sequence of float, default=0.5
        Chance to mirror each axis (left-right, back-front, bottom-top) of a training scan.
    augment : bool, default=True
        Also vary the geometry, grey scale and noise of real training scans. Noise is Rician, and
        Gaussian for scans that are no magnitudes: with ``ct``, or with negative voxels.
    ct : bool, default=False
        Clip scans to 0-80 Hounsfield units, before anything else is done to them.
    lesion_weight : float, default=2
        Of the lesion in the loss, over that of every other class.
    tversky : float, default=0
        Weight of a further Tversky loss of the lesion, which forgives invented voxels sooner than
        missed ones. See `SegmentationLoss`.
    warm_start_steps : int, default=0
        First steps, in which the loss is the squared distance of the logits from +5 or -5.
    deep_supervision : bool, default=False
        Also score the coarser stages of the network in training.
    dropout : float, default=0
        Needed for `predict_uncertainty`.
    epochs, steps_per_epoch : int, default=100
    batch_size : int, default=2
        Scans of a step.
    learning_rate : float, default=1e-3
        Of AdamW, with one epoch of warm-up, then a cosine schedule over `epochs`.
    weight_decay : float, default=1e-2
    validation_samples : int, default=16
        Synthetic scans, made once, on which the Dice of every epoch is measured; the network of
        the best epoch is kept. 0 for none.
    validation_fraction : float, default=0
        Of the patients with real scans, set aside for the same purpose: all entries of `X` with
        one label of `groups`, or one entry with all its sequences.
    overlap : float, default=0.5
        Of neighbouring windows, which are averaged with Gaussian weights.
    test_time_flips : bool or sequence of int, default=False
        Average over mirrored copies of a scan: True for all axes that training mirrored (8 copies
        for three axes), or the axes.
    precision : {"auto", "float32", "bf16"}, default="auto"
        Of training; masks are always made in float32. "auto" takes bfloat16 where the hardware has
        it (3-D networks on GPUs only).
    device : str, default="auto"
        "auto" uses a GPU when there is one.
    n_threads : int, default=1
        CPU threads.
    checkpoint : path, default=None
        Folder that keeps the state of the training. Killed at any moment, the next `fit` goes on
        after the last whole epoch, to the same result as without the break.
    random_state : int, RandomState instance or None, default=None
    verbose : int, default=0
        1 shows a progress bar on stderr."""
