"""The parameters that all models from voxels to voxels share, each declared once.

What a parameter is used for stands with it: `training` names those that the training engine takes
as they are, `stored` those that results depend on, which a model card therefore keeps ("always",
or "later" where older cards have the default).
"""

import os
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Options

from ..learning.settings import TrainingSettings
from ..nets import ON_PRETRAINED, VOXELWISE
from ..parameters import (
    CHANCE,
    COUNT,
    FROM_ZERO,
    PATCH,
    POSITIVE,
    SHARE,
    SPACING,
    Channels,
    Each,
    Interval,
    StrOptions,
    parameter,
    parameters,
)
from ..physics.ranges import RANGES

__all__ = ["Settings", "per_axis"]


@parameters
class Settings(TrainingSettings, BaseEstimator):
    """Parameters of a model from voxels to voxels.

    Parameters
    ----------
    {parameters}
    """

    architecture: object = parameter(
        "unet-small",
        StrOptions({*VOXELWISE, *ON_PRETRAINED}),
        callable,
        first=True,
        stored="always",
        kind="str or callable",
        doc="""
            "unet", "mde", "mded" (large-kernel attention), "dynunet", "swinunetr", "folded",
            "denoising" (nothing normalised); with "-small" appended, at a size that trains on a
            processor. Or a function of the patch's shape and the number of channels that returns a
            new encoder (see `imaging.nets.encoders`), on which a decoder is put. A pretrained
            encoder as `initial_weights` takes its place, with a decoder on it ("encoder-small");
            "features-small" instead makes a small network that sees the frozen features of the
            encoder "small" beside the scan, either of them dropped at random in training.""",
    )
    channels: tuple | None = parameter(
        None,
        Channels(),
        None,
        stored="always",
        kind="tuple of int",
        doc="Of every level of the network; None takes the architecture's.",
    )
    initial_weights: object = parameter(
        None,
        str,
        os.PathLike,
        HasMethods("transform"),
        None,
        kind="str, path or SequenceInvariantEncoder",
        doc="""
            A trained model, by name or file, whose weights the training begins with instead of
            random ones; layers of another shape (other outputs) begin anew. Or a pretrained
            encoder, as a file or itself (``clone`` forgets what it learnt, unless it was loaded or
            is in a ``sklearn.frozen.FrozenEstimator``): best with its `spacing_mm`. `load` and
            `from_pretrained` fill it in, so that `fit` goes on learning from there, in
            cross-validation too. That is fair only with scans that the model was not trained on.
            The card of a model names its real training scans (a hash of their voxels) and those of
            the model that it began with; `score`, and so ``cross_validate``, warns where it meets
            one of them, and where a card does not say.""",
    )
    freeze: bool | int = parameter(
        False,
        "boolean",
        COUNT,
        kind="bool or int",
        doc="""
            The encoder of `initial_weights` stays as it is, its dropout and its statistics too, and
            the rest learns: True throughout, a number for so many epochs.""",
    )
    spatial_dims: int = parameter(
        3,
        Options(Integral, {2, 3}),
        stored="always",
        kind="{3, 2}",
        doc="2 takes pictures: NIfTI files of one slice, arrays, PNG files.",
    )
    source: object = parameter(
        None,
        HasMethods("sample"),
        None,
        kind="LabelMapSource or other Step",
        doc="""
            Where synthetic scans come from. None embeds a head and lesions, and is used only where
            there are no real scans.""",
    )
    validation_source: object = parameter(
        None,
        HasMethods("sample"),
        None,
        kind="LabelMapSource or other Step",
        doc="""
            For the synthetic scans of the validation set: other heads and lesions. None takes new
            samples of `source`.""",
    )
    contrast: str = parameter(
        "both",
        StrOptions({"both", "mixture", "physics"}),
        kind='{"both", "mixture", "physics"}',
        doc="""
            Of synthetic scans: a random intensity for each tissue, a random protocol of a random
            sequence, or either.""",
    )
    ranges: str = parameter(
        "plausible",
        StrOptions(set(RANGES)),
        kind='{"plausible", "reference", "reference-segmentation"}',
        doc="Of protocols, see `sample_protocol`.",
    )
    real_share: float = parameter(
        0.5,
        Interval(Real, 0, 1, closed="neither"),
        doc="Of real scans among the samples, where both are given; in (0, 1).",
    )
    spacing_mm: float | None = parameter(
        1.0,
        SPACING,
        None,
        stored="always",
        kind="float or None",
        doc="""
            Edge of the voxels that the network sees, .25 to 50 mm; every scan is resized to it.
            None: each scan's own voxels, whatever they are.""",
    )
    patch_size: int | tuple = parameter(
        64,
        PATCH,
        Each(PATCH),
        stored="always",
        kind="int or sequence of int",
        doc="Voxels of a training sample and of a window afterwards.",
    )
    patches: int = parameter(
        1,
        COUNT,
        doc="Cut from each scan that was made or read, the first through what is sought.",
    )
    mirror: float | tuple = parameter(
        0.5,
        CHANCE,
        Each(CHANCE),
        stored="always",
        kind="float or sequence of float",
        doc="Chance to mirror each axis (left-right, back-front, bottom-top) of a training scan.",
    )
    augment: bool = parameter(
        True,
        "boolean",
        doc="""
            Also vary the geometry, grey scale and noise of real training scans. Noise is Rician,
            and Gaussian for scans that are no magnitudes, such as those with negative voxels.""",
    )
    deep_supervision: bool = parameter(
        False,
        "boolean",
        stored="always",
        doc="Also score the coarser stages of the network in training.",
    )
    dropout: float = parameter(
        0.0, SHARE, stored="always", doc="Needed for uncertainties by Monte-Carlo dropout."
    )
    steps_per_epoch: int = parameter(100, COUNT, doc="Batches of an epoch.")
    batch_size: int = parameter(2, COUNT, training=True, doc="Scans of a step.")
    learning_rate: float = parameter(
        1e-3,
        POSITIVE,
        training=True,
        doc="Of AdamW, with one epoch of warm-up, then a cosine schedule over `epochs`.",
    )
    validation_samples: int = parameter(
        16,
        FROM_ZERO,
        doc="""
            Synthetic scans, made once, on which the score of every epoch is measured; the network
            of the best epoch is kept. 0 for none.""",
    )
    validation_fraction: float = parameter(
        0.0,
        SHARE,
        doc="""
            Of the patients with real scans, set aside for the same purpose: all entries of `X` with
            one label of `groups`, or one entry with all its sequences.""",
    )
    overlap: float = parameter(
        0.5,
        Interval(Real, 0, 0.9, closed="both"),
        stored="later",
        doc="Of neighbouring windows, at most .9, which are averaged with Gaussian weights.",
    )
    test_time_mirroring: bool | tuple = parameter(
        False,
        "boolean",
        Each(Interval(Integral, 0, 2, closed="both"), least=0),
        stored="later",
        kind="bool or sequence of int",
        doc="""
            Average over mirrored copies of a scan: True for all axes that training mirrored (8
            copies for three axes), or the axes.""",
    )

    def _check_parameters(self):
        """Refuse parameters that cannot be, each by itself and with the number of axes."""
        self._validate_params()
        for name in ("patch_size", "mirror"):
            per_axis(name, getattr(self, name), self.spatial_dims)
        axes = () if np.ndim(self.test_time_mirroring) == 0 else tuple(self.test_time_mirroring)
        if len(set(axes)) < len(axes) or not set(axes) <= set(range(self.spatial_dims)):
            raise ValueError(
                f"test_time_mirroring names axes {axes}; give True, or different axes below "
                f"{self.spatial_dims}"
            )


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
