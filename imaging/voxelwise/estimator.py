"""What both segmenters share: their parameters, fitting, going through scans, and files."""

from numbers import Integral
from pathlib import Path
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..errors import ImageError
from ..learning.refitting import refitting
from .parameters import CONSTRAINTS, per_axis
from .seen import SeenScans, warn_of_seen
from .storage import StoredModel

__all__ = ["BaseSegmenter"]


class BaseSegmenter(StoredModel, BaseEstimator):
    """Base of `LesionSegmenter` and `TissueSegmenter`, where the parameters are explained.

    A subclass names its classes (`_class_names`), says which of them are returned (`_kept`) and
    scored (`_scored`), and turns probabilities into a mask (`_decide`).
    """

    _parameter_constraints: ClassVar = CONSTRAINTS
    seen_scans_ = SeenScans()  # none, as long as nothing was fitted or loaded

    def __init__(
        self,
        architecture="unet-small",
        *,
        channels=None,
        initial_weights=None,
        spatial_dims=3,
        source=None,
        validation_source=None,
        contrast="both",
        ranges="plausible",
        real_share=0.5,
        spacing_mm=1.0,
        patch_size=64,
        patches=1,
        mirror=0.5,
        augment=True,
        ct=False,
        lesion_weight=2.0,
        tversky=0.0,
        warm_start_steps=0,
        deep_supervision=False,
        dropout=0.0,
        epochs=100,
        steps_per_epoch=100,
        batch_size=2,
        learning_rate=1e-3,
        weight_decay=1e-2,
        validation_samples=16,
        validation_fraction=0.0,
        overlap=0.5,
        test_time_flips=False,
        precision="auto",
        device="auto",
        n_threads=1,
        checkpoint=None,
        random_state=None,
        verbose=0,
    ):
        self.architecture = architecture
        self.channels = channels
        self.initial_weights = initial_weights
        self.spatial_dims = spatial_dims
        self.source = source
        self.validation_source = validation_source
        self.contrast = contrast
        self.ranges = ranges
        self.real_share = real_share
        self.spacing_mm = spacing_mm
        self.patch_size = patch_size
        self.patches = patches
        self.mirror = mirror
        self.augment = augment
        self.ct = ct
        self.lesion_weight = lesion_weight
        self.tversky = tversky
        self.warm_start_steps = warm_start_steps
        self.deep_supervision = deep_supervision
        self.dropout = dropout
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_samples = validation_samples
        self.validation_fraction = validation_fraction
        self.overlap = overlap
        self.test_time_flips = test_time_flips
        self.precision = precision
        self.device = device
        self.n_threads = n_threads
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X=None, y=None, groups=None):
        """Train the network.

        Parameters
        ----------
        X : sequence of scans, or None
            Each a path or nibabel image (a 2-D network also takes arrays and picture files), or a
            list of the sequences of one patient, which then become samples of their own. None
            trains on synthetic scans only; with `source`, real and synthetic ones are mixed.
        y : sequence of masks, or None
            One for each scan: its mask, or for tissues a map of the classes' numbers.
        groups : sequence of labels, or None
            One for each entry of `X`: of which patient it is, where patients have several. None:
            every entry is a patient of its own. What is set aside by `validation_fraction` are
            whole patients.

        Returns
        -------
        self

        Raises
        ------
        ImageError
            If a scan or mask cannot be used: the message names its place in `X`.
        ValueError
            If a parameter is out of its range, or `X`, `y` and `groups` do not go together.
        TrainingError
            If the network gives no numbers on a validation scan, or the loss is none.
        ModelFileError
            If `initial_weights` is no trained model, or one of another network.
        CheckpointError
            If `checkpoint` holds another training.
        """
        from .fitting import fit_network

        with refitting(self):
            self._prepare_fit(X)
            real = self._real_data(X, y, groups)
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            fitted = fit_network(self, real, len(self.classes_), seed)
            self.network_, self.history_, self.seen_scans_ = fitted
        return self

    def take_checkpoint(self):
        """Take the best network so far of a training that `checkpoint` keeps, and train no more.

        Returns
        -------
        self

        Raises
        ------
        CheckpointError
            If there is none, or it holds another network.
        """
        from .fitting import network_of_checkpoint

        with refitting(self):
            self._prepare_fit(None)
            fitted = network_of_checkpoint(self, len(self.classes_))
            self.network_, self.history_, self.seen_scans_ = fitted
        return self

    def predict(self, X):
        """Segment scans.

        Parameters
        ----------
        X : sequence of scans
            As in `fit`. Probabilities of several sequences of one patient are averaged on the
            voxels of the first.

        Returns
        -------
        list of nibabel.Nifti1Image, uint8
            On each scan's own voxels, in its own orientation and affine; arrays for arrays and
            picture files.

        Raises
        ------
        ImageError
            If a scan cannot be used: the message names its place in `X`.
        """
        return [
            prepared.restore(self._decide(prepared, per_class))
            for prepared, per_class, _ in self._through(X)
        ]

    def predict_proba(self, X):
        """Probabilities at every voxel.

        Parameters
        ----------
        X : sequence of scans

        Returns
        -------
        list of nibabel.Nifti1Image, float32
            Of the lesion, on the voxels of the scan; of every class, along a last axis, for
            tissues. Arrays for arrays and picture files.
        """
        found = []
        for prepared, per_class, _ in self._through(X):
            maps = [prepared.back(one) for one in per_class]
            found.append(prepared.restore(maps[0] if len(maps) == 1 else np.stack(maps, -1)))
        return found

    def predict_uncertainty(self, X, n_draws=10):
        """How much probabilities vary when features are dropped at random (Monte-Carlo dropout).

        Parameters
        ----------
        X : sequence of scans
        n_draws : int, default=10
            2 or more.

        Returns
        -------
        list of nibabel.Nifti1Image, float32
            Standard deviation of the probability, of the lesion or the largest of all classes.

        Raises
        ------
        ValueError
            If the network drops nothing, since it was trained with ``dropout=0``, or `n_draws` is
            too small.

        References
        ----------
        Gal and Ghahramani, ICML 2016, arXiv 1506.02142.
        """
        from .windows import dropout_layers

        check_is_fitted(self, "network_")
        if not isinstance(n_draws, Integral) or n_draws < 2:
            raise ValueError(f"n_draws must be a whole number from 2, found {n_draws!r}")
        if not dropout_layers(self.network_):
            raise ValueError("the network has no dropout to draw from; fit it with dropout=0.1")
        return [
            prepared.restore(prepared.back(np.sqrt(variance.max(0))))
            for prepared, _, variance in self._through(X, draws=n_draws)
        ]

    def score(self, X, y):
        """Mean Dice over scans; two empty masks agree (1), one that is not empty does not (0).

        Parameters
        ----------
        X, y : as in `fit`

        Returns
        -------
        float
            For tissues the mean over all classes without background.

        Warns
        -----
        UserWarning
            If the network, or the one that its training began with, has learnt from one of these
            scans, or may have: see `initial_weights`.
        """
        check_is_fitted(self, "network_")
        self._check_parameters()
        _check_scans(X)
        if len(X) != len(y) or len(X) == 0:
            raise ValueError(f"found {len(X)} scans and {len(y)} masks; give one mask per scan")
        scores, scored = [], []
        for number, (scan, truth) in enumerate(zip(X, y, strict=True)):
            sequences, per_class, _ = self._one(number, scan)
            scored.append([sequence.fingerprint for sequence in sequences])
            found = self._decide(sequences[0], per_class)
            with _naming(number):
                scores.append(self._dice(found, truth, sequences[0]))
        warn_of_seen(self.seen_scans_, scored)
        return float(np.mean(scores))

    def _check_parameters(self):
        """Refuse parameters that cannot be, each by itself and with the number of axes."""
        self._validate_params()
        for name in ("patch_size", "mirror"):
            per_axis(name, getattr(self, name), self.spatial_dims)
        flips = () if np.ndim(self.test_time_flips) == 0 else tuple(self.test_time_flips)
        if len(set(flips)) < len(flips) or not set(flips) <= set(range(self.spatial_dims)):
            raise ValueError(
                f"test_time_flips names axes {flips}; give True, or different axes below "
                f"{self.spatial_dims}"
            )

    def _prepare_fit(self, X):
        from .fitting import patch_lengths

        self._check_parameters()
        self.patch_size_ = patch_lengths(self)
        self.classes_ = self._class_names(X is not None)

    def _real_data(self, X, y, groups):
        """Raw scans and targets on the voxels of the network, or None."""
        if X is None and y is None and groups is None:
            return None
        _check_scans(X)
        scans, masks = ("no" if given is None else len(given) for given in (X, y))
        if scans != masks or not scans or X is None:
            raise ValueError(
                f"found {scans} scans and {masks} masks; give one mask for each scan, or neither "
                "(and no groups) to train on synthetic scans"
            )
        from ..segmentation.targets import RealData, training_pairs

        real = RealData([], [], [], [])
        for number, (scan, mask, patient) in enumerate(
            zip(X, y, _patient_numbers(groups, len(X)), strict=True)
        ):
            with _naming(number):
                if not _sequences(scan):
                    raise ImageError("found a patient without any scan; give at least one")
                for image, target, known_by in training_pairs(self, _sequences(scan), mask):
                    for values, value in zip(real, (image, target, patient, known_by), strict=True):
                        values.append(value)
        return real

    def _through(self, X, draws=0):
        """Each scan (of several sequences the first), its probabilities, and their variance."""
        check_is_fitted(self, "network_")
        self._check_parameters()
        _check_scans(X)
        for number, scan in enumerate(X):
            sequences, *maps = self._one(number, scan, draws)
            yield sequences[0], *maps

    def _one(self, number, scan, draws=0):
        """Prepared sequences, and the probabilities of the kept classes on the first's voxels."""
        from .sequences import patient_probabilities

        with _naming(number):
            return patient_probabilities(self, _sequences(scan), draws)


def _sequences(scan):
    return list(scan) if isinstance(scan, (list, tuple)) else [scan]


def _check_scans(X):
    if isinstance(X, (str, Path)) or hasattr(X, "affine"):
        raise ImageError("found one scan where a list of scans was expected; give [scan]")


def _patient_numbers(groups, count):
    """The patient of every entry as a number, in order of first appearance."""
    if groups is None:
        return list(range(count))
    groups = list(groups)
    if len(groups) != count:
        raise ValueError(f"found {count} scans and {len(groups)} groups; give one label per scan")
    missing = [n for n, label in enumerate(groups) if label is None or label != label]
    if missing:
        raise ValueError(f"groups names no patient for scan {missing[0]}; give a label for each")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(groups))}
    return [numbers[label] for label in groups]


class _naming:
    """Says which scan an error is about."""

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, ImageError):
            raise ImageError(f"scan {self.number}: {error}") from error
