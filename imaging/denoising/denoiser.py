"""The denoiser, scikit-learn style: it learns from scans to which noise is added."""

import nibabel as nib
import numpy as np

from ..errors import ImageError
from ..metrics import psnr
from ..parameters import fields_of, marked, parameter, parameters
from ..randomness import sample_seed
from ..storage.models import ModelFileError
from ..storage.seen import warn_of_seen
from ..voxelwise.estimator import BaseVoxelwise
from ..voxelwise.geometry import prepare
from ..voxelwise.sequences import check_scans, naming
from .tasks import DenoisingTask, NoiseParameters

__all__ = ["Denoiser"]

_SCORING = 0  # seed of the noise that `score` adds


def _allowed(name):
    return fields_of(BaseVoxelwise)[name].metadata["allowed"]


@parameters
class Denoiser(NoiseParameters, BaseVoxelwise):
    """Take the noise off scans of any sequence, on their own voxels and in their own units.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    outputs_ : tuple of str
        ``("noise",)``.
    network_ : torch.nn.Module
        On the CPU.
    history_ : list of dict
        Per epoch: "train_loss" and, with a validation set, "score": by how many decibels the noise
        is less. Not there after `load`.
    patch_size_ : tuple of int
    card_ : dict
        The model card, after `load`.
    seen_scans_ : SeenScans
        Fingerprints of the real scans that the network has learnt from.

    Notes
    -----
    What a denoiser has not learnt it may take for noise: look at what was taken off
    (``scan - denoised``), above all around lesions, before anything is concluded from a denoised
    scan.

    Where the noise is even over the scan and neighbours' noise is independent, as scanners of one
    coil make it, that is what is learnt here; scans that were resampled or filtered have other
    noise.

    References
    ----------
    Zhang et al., IEEE Trans Image Process 26:3142 (2017), doi 10.1109/TIP.2017.2662206, for the
    noise as what is learnt; Gudbjartsson and Patz, Magn Reson Med 34:910 (1995), for Rician noise.

    Examples
    --------
    On simulated heads, for a few seconds:

    >>> from imaging.synthesis import LabelMapSource
    >>> denoiser = Denoiser(
    ...     channels=(8, 8), source=LabelMapSource(spacing_mm=8), patch_size=16, batch_size=4,
    ...     epochs=1, steps_per_epoch=2, validation_samples=1, random_state=0,
    ... ).fit()
    >>> voxels = np.random.default_rng(0).random((20, 24, 18))
    >>> scan = nib.Nifti1Image(voxels, np.diag([-8, 8, 8, 1]))
    >>> (clean,) = denoiser.predict([scan])
    >>> clean.shape, clean.get_data_dtype(), nib.aff2axcodes(clean.affine)
    ((20, 24, 18), dtype('<f4'), ('L', 'A', 'S'))
    """

    architecture: object = parameter(
        "denoising-small",
        *_allowed("architecture"),
        first=True,
        stored="always",
        kind="str or callable",
        doc="""
            "denoising" normalises nothing, which suits noise, and begins with what differs from its
            surroundings; with "-small" appended, at a size that trains on a processor. Others as
            in `VoxelwiseModel`.""",
    )
    spacing_mm: float | None = parameter(
        None,
        *_allowed("spacing_mm"),
        stored="always",
        kind="float or None",
        doc="""
            Leave it None: each scan's own voxels. On others, noise is no longer what it was.""",
    )
    patch_size: int | tuple = parameter(
        32,
        *_allowed("patch_size"),
        stored="always",
        kind="int or sequence of int",
        doc="Voxels of a training sample and of a window afterwards.",
    )

    def fit(self, X=None, y=None, groups=None):
        """Train the network on scans, to which noise is added.

        Parameters
        ----------
        X : sequence of scans, or None
            As clean as can be had: what noise they have is learnt to be kept. Each a path or
            nibabel image (2-D: arrays and picture files too), or a list of the sequences of one
            patient, which then become samples of their own. None trains on simulated heads; with
            `source`, both are mixed.
        y : None
            Noise is added here; there is nothing else to be learnt from.
        groups : sequence of labels, or None
            Which patient each entry of `X` is of, see `validation_fraction`.

        Returns
        -------
        self

        Raises
        ------
        ImageError
            If a scan cannot be used: the message names its place in `X`.
        ValueError
            If a parameter is out of its range, or something is given as `y`.
        TrainingError, ModelFileError, CheckpointError
            As in `LesionSegmenter.fit`.
        """
        if y is not None:
            raise ValueError(
                "a denoiser adds noise to scans itself, and found y; give clean scans as X alone"
            )
        if X is not None:
            check_scans(X)
            y = [None] * len(X)
        return super().fit(X, y, groups)

    def score(self, X, y=None):
        """Mean peak signal-to-noise ratio of denoised scans, in decibels.

        Parameters
        ----------
        X : sequence of scans
        y : sequence of scans, or None
            The same without noise. None takes `X` for these, and adds noise to them: Gaussian, of
            the middle of `noise_range` (as factors), always the same.

        Returns
        -------
        float
            See `imaging.metrics.psnr`.

        Warns
        -----
        UserWarning
            If the network has learnt from one of these scans, see `initial_weights`.
        """
        check_scans(X)
        self._check_parameters()
        if len(X) == 0 or (y is not None and len(y) != len(X)):
            count = "no" if y is None else len(y)
            raise ValueError(f"found {len(X)} scans and {count} clean ones; give one for each")
        scores, seen = [], []
        for number, scan in enumerate(X):
            with naming(number):
                prepared = prepare(scan, None, self.spatial_dims)
                clean, noisy, known = prepared.upright, scan, None
                if y is None:
                    noisy, known = _with_noise(prepared, self.noise_range, number)
                else:
                    clean = prepare(y[number], None, self.spatial_dims).upright
                    if clean.shape != prepared.upright.shape:
                        raise ImageError(
                            f"found {prepared.upright.shape} voxels with noise and {clean.shape} "
                            "without; give both on the same grid"
                        )
                seen.append([prepared.fingerprint])
            task = self.task_
            if known is not None and self.noise_sd is not None:
                task.noise_sd = known  # that of `X` is not that which was added
            (first, *_), values, _ = self._one(number, noisy)
            scores.append(psnr(task.finished(first, values), clean))
        warn_of_seen(self.seen_scans_, seen)
        return float(np.mean(scores))

    @classmethod
    def from_pretrained(cls, name="denoiser-small", **parameters):
        """A denoiser that comes with the package; parameters and errors as `load`."""
        return super().from_pretrained(name, **parameters)

    def _one(self, number, scan, draws=0):
        if isinstance(scan, (list, tuple)):
            raise ImageError(
                f"scan {number}: found {len(scan)} sequences, whose noise cannot be averaged; give "
                "each as a scan of its own"
            )
        return super()._one(number, scan, draws)

    def _task(self, real):
        return self._task_of(DenoisingTask.outputs)

    def _task_of(self, outputs):
        if tuple(outputs) != DenoisingTask.outputs:
            raise ModelFileError(
                f"it has the outputs {', '.join(map(str, outputs))}; Denoiser needs noise"
            )
        return DenoisingTask(**marked(self, "task"))


def _with_noise(prepared, levels, number):
    """A scan with noise of a seed, and its standard deviation."""
    clean = prepared.upright
    head = clean[clean > clean.mean(dtype=np.float64)]
    sd = float(np.sqrt(levels[0] * levels[1]) * (head.std() if head.size else 0.0))
    rng = np.random.default_rng(sample_seed(_SCORING, number))
    noisy = clean + rng.normal(0, sd, clean.shape).astype(np.float32)
    if prepared.image is None or clean.ndim == 2:
        return noisy, sd
    return nib.Nifti1Image(noisy, prepared.image.affine), sd
