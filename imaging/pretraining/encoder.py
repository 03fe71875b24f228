"""The scikit-learn shell of pretrained encoders: from raw scans to vectors and to maps."""

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..learning.refitting import refitting
from ..parameters import parameters
from ..storage.seen import SeenScans
from ..voxelwise.sequences import naming
from .files import StoredEncoder
from .scans import mean_vectors, scan_list
from .settings import Settings

__all__ = ["SequenceInvariantEncoder"]


@parameters
class SequenceInvariantEncoder(
    StoredEncoder, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Settings
):
    """A vector for every scan that hangs on the head and not on how it was scanned.

    Learnt without any outcome: of one head two scans are simulated, in other contrasts, poses and
    qualities, and their vectors are to be nearer to each other than to those of other heads.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    network_ : torch.nn.Module
        On the CPU; ``network_.encoder`` is an `imaging.nets.encoders.Encoder`.
    history_ : list of dict
        Per epoch: "train_loss" and its parts, "contrast", "reconstruction" and "matched", the share
        of heads that are found again in the other view among those of a batch. Not after `load`.
    patch_size_ : tuple of int
    card_ : dict
        After `load`.
    seen_scans_ : SeenScans
        Fingerprints of the real scans that were learnt from.

    Notes
    -----
    A linear probe is ``make_pipeline(encoder, LogisticRegression())``. Of a pretrained encoder
    nothing is trained there, since `load` sets ``frozen=True``. One that was just fitted would be
    fitted again: put ``sklearn.frozen.FrozenEstimator(encoder)`` there, or save and load it.

    With ``objective="shape"`` nothing is compared: a network tells tissues and places in the brain,
    and the vector is what the brain measures, along those directions in which people differ most.

    Every scan is turned to the canonical orientation, resized to `spacing_mm`, standardised, and
    seen through a window of `patch_size` about the middle of the head ("cnn": the whole head). What
    a scan gets does not depend on the others.

    `prognosis.search_space` has learning rate, weight decay, `temperature` and
    `reconstruction_weight` ready for `prognosis.OptunaSearch`, for an encoder that is not frozen,
    in a pipeline whose last step is scored. Each trial then pretrains in each fold: a long time.

    References
    ----------
    Chalcroft et al. 2025, arXiv 2501.12057.

    Examples
    --------
    >>> import nibabel as nib
    >>> from imaging.synthesis import LabelMapSource
    >>> encoder = SequenceInvariantEncoder(
    ...     channels=(4, 4, 8), source=LabelMapSource(spacing_mm=8), spacing_mm=8, patch_size=16,
    ...     batch_size=2, steps_per_epoch=2, epochs=1, random_state=0,
    ... ).fit()
    >>> scan = nib.Nifti1Image(np.random.default_rng(0).random((20, 24, 18)), np.diag([8, 8, 8, 1]))
    >>> encoder.transform([scan]).shape, sorted(encoder.history_[0])
    ((1, 64), ['contrast', 'matched', 'reconstruction', 'train_loss'])
    >>> (features,) = encoder.transform_map([scan])
    >>> features.shape
    (20, 24, 18, 4)
    """

    seen_scans_ = SeenScans()  # none, as long as nothing was fitted or loaded

    @property
    def _n_features_out(self):
        return self.network_.encoder.n_features

    def fit(self, X=None, y=None):
        """Pretrain the encoder, or take `initial_weights` as they are where it is `frozen`.

        Parameters
        ----------
        X : sequence, or None
            `QuantitativeMaps`, label maps (``content="label maps"``), or scans: each a path or
            nibabel image (2-D: arrays and picture files too), or a list of the sequences of one
            patient. The contrasts of scans are made by bending their grey scale, which is less
            than physics. None simulates heads of `source`.
        y : None
            Ignored: nothing is learnt of any outcome.

        Returns
        -------
        self

        Raises
        ------
        ImageError
            If a scan cannot be used: the message names its place in `X`.
        ValueError
            If a parameter is out of its range or does not suit the others.
        TrainingError
            If the loss is no number.
        ModelFileError
            If `initial_weights` is no pretrained encoder, or one of another network.
        CheckpointError
            If `checkpoint` holds another training.
        """
        from .fitting import fit_encoder

        if self.frozen:
            if self.initial_weights is None:
                raise ValueError(
                    "frozen=True needs an encoder to take: give initial_weights, or frozen=False"
                )
            with refitting(self):
                return self._thaw()
        with refitting(self):
            self._prepare_fit()
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            X = None if X is None else scan_list(X)
            self.network_, self.history_, self.seen_scans_ = fit_encoder(self, X, seed)
        return self

    def take_checkpoint(self):
        """Take the network of a training that `checkpoint` keeps, and train no more.

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
            self._prepare_fit()
            self.network_, self.history_, self.seen_scans_ = network_of_checkpoint(self)
        return self

    def transform(self, X):
        """The vector of every scan.

        Parameters
        ----------
        X : sequence of scans
            A list, an array, or one column of a table. Several sequences of one patient, as a list,
            give the mean of their vectors.

        Returns
        -------
        ndarray of shape (n_scans, n_features), float32

        Raises
        ------
        ImageError
            If a scan cannot be used: the message names its place in `X`.
        """
        from .applying import summary

        check_is_fitted(self, "network_")
        self._validate_params()
        rows = mean_vectors(X, lambda scan: summary(self, scan))
        return np.array(rows, np.float32).reshape(len(rows), self._n_features_out)

    def transform_map(self, X):
        """Features at every voxel, of unit length.

        Parameters
        ----------
        X : sequence of scans

        Returns
        -------
        list of nibabel.Nifti1Image, float32
            On each scan's own voxels, in its own orientation and affine, features along a last
            axis; arrays for arrays and picture files. A scan of 1 mm with 32 features takes 1 GB.

        Raises
        ------
        ImageError
            If a scan cannot be used: the message names its place in `X`.
        """
        from .applying import feature_map

        check_is_fitted(self, "network_")
        self._validate_params()
        found = []
        for number, scan in enumerate(scan_list(X)):
            with naming(number):
                found.append(feature_map(self, scan))
        return found

    def new_encoder(self, shape, in_channels=1):
        """A copy of the encoder for another network, to be trained further or not.

        To be given as ``architecture=encoder.new_encoder`` to models from voxels to voxels. Simpler
        is ``initial_weights=encoder`` there, which files hold, too, and in image estimators.

        Parameters
        ----------
        shape : tuple of int
            Of the images there.
        in_channels : int

        Returns
        -------
        imaging.nets.encoders.Encoder

        Raises
        ------
        ValueError
            If there is more than one channel, or another number of dimensions.
        """
        import copy

        check_is_fitted(self, "network_")
        if in_channels != 1 or len(shape) != self.spatial_dims:
            raise ValueError(
                f"the encoder sees one channel of {self.spatial_dims} dimensions, asked for are "
                f"{in_channels} of {len(shape)}; give images of one contrast"
            )
        return copy.deepcopy(self.network_.encoder)

    def _prepare_fit(self):
        from .fitting import patch_lengths

        self._validate_params()
        self.patch_size_ = patch_lengths(self)
        if self.objective in ("base", "seq_aug", "seq_inv") and self.batch_size < 2:
            raise ValueError(
                f"batch_size={self.batch_size} leaves no other head to tell views from; give 2 or "
                "more, better 64"
            )
        if (self.objective == "shape") != (self.encoder == "shape"):
            raise ValueError(
                f"found objective={self.objective!r} with encoder={self.encoder!r}; "
                'objective="shape" and encoder="shape" go with each other only'
            )
