"""The scikit-learn shell of all models from voxels to voxels: fit, predict, score, and files."""

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..errors import ImageError
from ..learning.refitting import refitting
from ..parameters import parameter, parameters
from ..storage.models import ModelFileError
from ..storage.seen import SeenScans, warn_of_seen
from .sequences import check_scans, naming, patient_numbers, patient_results, sequences_of
from .settings import Settings
from .storage import StoredModel, architecture_of
from .task import Task

__all__ = ["BaseVoxelwise", "VoxelwiseModel"]


class BaseVoxelwise(StoredModel, Settings):
    """Base of `VoxelwiseModel` and of models that make their task themselves.

    A subclass says which task it has: when it is fitted (`_task`), and for the outputs that a file
    names (`_task_of`).
    """

    seen_scans_ = SeenScans()  # none, as long as nothing was fitted or loaded

    @property
    def task_(self):
        """The task of the fitted network, with the parameters as they are now."""
        return self._task_of(self.outputs_)

    def fit(self, X=None, y=None, groups=None):
        """Train the network.

        Parameters
        ----------
        X : sequence of scans, or None
            Each a path or nibabel image (a 2-D network also takes arrays and picture files), or a
            list of the sequences of one patient, which then become samples of their own. None
            trains on synthetic scans only; with `source`, real and synthetic ones are mixed.
        y : sequence, or None
            The target of each scan: its mask; for tissues a map of the classes' numbers.
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
            If a scan or target cannot be used: the message names its place in `X`.
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
            fitted = fit_network(self, self.task_, real, seed)
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
            fitted = network_of_checkpoint(self, self.task_)
            self.network_, self.history_, self.seen_scans_ = fitted
        return self

    def predict(self, X):
        """Results on scans.

        Parameters
        ----------
        X : sequence of scans
            As in `fit`. Results of several sequences of one patient are averaged on the voxels of
            the first.

        Returns
        -------
        list of nibabel.Nifti1Image
            On each scan's own voxels, in its own orientation and affine; arrays for arrays and
            picture files. Masks are uint8.

        Raises
        ------
        ImageError
            If a scan cannot be used: the message names its place in `X`.
        """
        return [
            prepared.restore(self.task_.finished(prepared, values))
            for prepared, values, _ in self._through(X)
        ]

    def score(self, X, y):
        """Mean over scans of how right the results are, as the task says; for masks Dice.

        Parameters
        ----------
        X, y : as in `fit`

        Returns
        -------
        float

        Warns
        -----
        UserWarning
            If the network, or the one that its training began with, has learnt from one of these
            scans, or may have: see `initial_weights`.
        """
        check_is_fitted(self, "network_")
        self._check_parameters()
        check_scans(X)
        if len(X) != len(y) or len(X) == 0:
            name = self.task_.target_name
            raise ValueError(f"found {len(X)} scans and {len(y)} {name}s; give one {name} per scan")
        scores, scored = [], []
        for number, (scan, truth) in enumerate(zip(X, y, strict=True)):
            sequences, values, _ = self._one(number, scan)
            scored.append([sequence.fingerprint for sequence in sequences])
            found = self.task_.finished(sequences[0], values)
            with naming(number):
                scores.append(self.task_.real_score(found, truth, sequences[0]))
        warn_of_seen(self.seen_scans_, scored)
        return float(np.mean(scores))

    def _task(self, real):
        """The task of a training, with real scans or without."""
        raise NotImplementedError

    def _task_of(self, outputs):
        """The task with these outputs; raises ModelFileError where this model has none."""
        raise NotImplementedError

    def _prepare_fit(self, X):
        from .fitting import patch_lengths

        self._check_parameters()
        if self.freeze and self.initial_weights is None:
            raise ValueError(
                f"freeze={self.freeze!r} would keep random weights as they are; give "
                "initial_weights, a pretrained encoder for instance, or freeze=False"
            )
        for name in ("architecture_", "channels_"):
            vars(self).pop(name, None)
        found = architecture_of(self)
        if found != (self.architecture, self.channels):  # it begins with an encoder
            self.architecture_, self.channels_ = found
        self.patch_size_ = patch_lengths(self)
        self.outputs_ = tuple(self._task(X is not None).outputs)

    def _real_data(self, X, y, groups):
        """Raw scans and targets on the voxels of the network, or None."""
        if X is None and y is None and groups is None:
            return None
        check_scans(X)
        scans, targets = ("no" if given is None else len(given) for given in (X, y))
        if scans != targets or not scans or X is None:
            name = self.task_.target_name
            raise ValueError(
                f"found {scans} scans and {targets} {name}s; give one {name} for each scan, or "
                "neither (and no groups) to train on synthetic scans"
            )
        from .fitting import RealData
        from .geometry import prepare

        real = RealData([], [], [], [])
        for number, (scan, given, patient) in enumerate(
            zip(X, y, patient_numbers(groups, len(X)), strict=True)
        ):
            with naming(number):
                if not sequences_of(scan):
                    raise ImageError("found a patient without any scan; give at least one")
                for sequence in sequences_of(scan):
                    prepared = prepare(sequence, self.spacing_mm, self.spatial_dims)
                    target = self.task_.real_target(given, prepared)
                    row = (prepared.array, target, patient, prepared.fingerprint)
                    for values, value in zip(real, row, strict=True):
                        values.append(value)
        return real

    def _through(self, X, draws=0):
        """Each scan (of several sequences the first), its results, and their variance."""
        check_is_fitted(self, "network_")
        self._check_parameters()
        check_scans(X)
        for number, scan in enumerate(X):
            sequences, *maps = self._one(number, scan, draws)
            yield sequences[0], *maps

    def _one(self, number, scan, draws=0):
        """Prepared sequences, and the results on the first's voxels."""
        with naming(number):
            return patient_results(self, sequences_of(scan), draws)


@parameters
class VoxelwiseModel(BaseVoxelwise):
    """A network from voxels to voxels that learns whatever a task says.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    outputs_ : tuple of str
        Of the network, in order.
    task_ : Task
    network_ : torch.nn.Module
        On the CPU.
    history_ : list of dict
        Per epoch: "train_loss" and, with a validation set, "score". Not there after `load`.
    patch_size_ : tuple of int
    card_ : dict
        The model card, after `load`.
    seen_scans_ : SeenScans
        Fingerprints of the real scans that the network has learnt from, those of the model that
        its training began with among them.

    Notes
    -----
    `prognosis.search_space` has learning rate, weight decay, dropout and, with a `source`,
    `real_share` ready for `prognosis.OptunaSearch`.

    Examples
    --------
    Whether a voxel is brain, from synthetic scans:

    >>> import nibabel as nib, numpy as np, torch
    >>> from imaging.synthesis import Keep, LabelMapSource, Target
    >>> class Brain(Task):
    ...     outputs = ("brain",)
    ...
    ...     def ending(self):
    ...         return Target("tissues"), Keep("image", "target")
    ...
    ...     def loss(self):
    ...         distance = torch.nn.functional.binary_cross_entropy_with_logits
    ...         return lambda outputs, target, step: distance(outputs, (target > 0).float())
    ...
    ...     def score(self, outputs, target):
    ...         return [float(((outputs > 0).cpu().numpy() == (target > 0)).mean())]
    ...
    ...     def activated(self, outputs):
    ...         return outputs.sigmoid()
    >>> model = VoxelwiseModel(
    ...     task=Brain(), channels=(4, 8, 8), source=LabelMapSource(spacing_mm=8), spacing_mm=8,
    ...     patch_size=16, epochs=1, steps_per_epoch=2, validation_samples=1, random_state=0,
    ... ).fit()
    >>> scan = nib.Nifti1Image(np.random.default_rng(0).random((20, 24, 18)), np.diag([8, 8, 8, 1]))
    >>> (brain,) = model.predict([scan])
    >>> brain.shape, model.history_[0].keys()
    ((20, 24, 18), dict_keys(['train_loss', 'score']))
    """

    task: Task = parameter(kind="Task", doc="What the network is to learn.")

    def _task(self, real):
        return self.task

    def _task_of(self, outputs):
        if outputs != tuple(self.task.outputs):
            raise ModelFileError(
                f"the model has the outputs {', '.join(map(str, outputs))}; this task has "
                f"{', '.join(self.task.outputs)}"
            )
        return self.task
