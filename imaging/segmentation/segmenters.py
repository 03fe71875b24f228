"""Segmenters of lesions and of tissues, scikit-learn style.

Both learn from synthetic scans, from real scans with masks, or from both, and give masks on the
voxels that each scan came with.
"""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..parameters import marked, parameter, parameters
from ..storage.models import ModelFileError
from ..voxelwise.estimator import BaseVoxelwise
from .tasks import (
    LESION_CLASSES,
    TISSUE_CLASSES,
    ClassParameters,
    LesionParameters,
    LesionTask,
    TissueTask,
)

__all__ = ["LesionSegmenter", "TissueSegmenter"]


@parameters
class _Segmenter(ClassParameters, BaseVoxelwise):
    """What both share."""

    @property
    def classes_(self):
        """Classes of the network's outputs, in order."""
        return self.outputs_

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
        from ..voxelwise.windows import dropout_layers

        check_is_fitted(self, "network_")
        if not isinstance(n_draws, Integral) or n_draws < 2:
            raise ValueError(f"n_draws must be a whole number from 2, found {n_draws!r}")
        if not dropout_layers(self.network_):
            raise ValueError("the network has no dropout to draw from; fit it with dropout=0.1")
        return [
            prepared.restore(prepared.back(np.sqrt(variance.max(0))))
            for prepared, _, variance in self._through(X, draws=n_draws)
        ]

    def _task_of(self, outputs):
        if outputs not in self._known_classes:
            known = " or ".join(map(str, self._known_classes))
            raise ModelFileError(
                f"it has the classes {', '.join(map(str, outputs))}; {type(self).__name__} needs "
                f"{known}"
            )
        return self._task_kind(outputs, **marked(self, "task"))


@parameters
class LesionSegmenter(LesionParameters, _Segmenter):
    """Segment lesions on scans of any sequence.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : tuple of str
        Of the network's outputs, in order.
    network_ : torch.nn.Module
        On the CPU.
    history_ : list of dict
        Per epoch: "train_loss" and, with a validation set, "score", its mean Dice. Not there after
        `load`.
    patch_size_ : tuple of int
    card_ : dict
        The model card, after `load`.
    seen_scans_ : SeenScans
        Fingerprints of the real scans that the network has learnt from, those of the model that
        its training began with among them.

    Notes
    -----
    `prognosis.search_space` has learning rate, weight decay, dropout, `tversky` and, with a
    `source`, `real_share` ready for `prognosis.OptunaSearch`: ``OptunaSearch(segmenter, cv=3)``
    takes scans and masks as `fit` does.

    References
    ----------
    Chalcroft et al., MELBA 2025:014, arXiv 2404.01946.

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> from imaging.synthesis import LabelMapSource
    >>> segmenter = LesionSegmenter(
    ...     channels=(4, 8, 8), source=LabelMapSource(spacing_mm=8), spacing_mm=8, patch_size=16,
    ...     epochs=1, steps_per_epoch=2, validation_samples=1, random_state=0,
    ... ).fit()
    >>> voxels = np.random.default_rng(0).random((20, 24, 18))
    >>> scan = nib.Nifti1Image(voxels, np.diag([-8, 8, 8, 1]))
    >>> (mask,) = segmenter.predict([scan])
    >>> mask.shape, mask.get_data_dtype(), nib.aff2axcodes(mask.affine)
    ((20, 24, 18), dtype('uint8'), ('L', 'A', 'S'))
    """

    _known_classes = (LESION_CLASSES, TISSUE_CLASSES)
    _task_kind = LesionTask

    learn_tissues: bool = parameter(
        True,
        "boolean",
        stored="later",
        doc="""
            Without real scans, also learn the tissues around the lesion, which helps to find it;
            the masks show the lesion only.""",
    )

    def _task(self, real):
        tissues = self.learn_tissues and not real
        return self._task_of(TISSUE_CLASSES if tissues else LESION_CLASSES)


@parameters
class TissueSegmenter(_Segmenter):
    """Segment grey and white matter, fluid and lesions on scans of any sequence.

    Masks hold 0 background, 1 grey matter, 2 grey/white partial volume, 3 white matter, 4
    cerebrospinal fluid, 5 lesion.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : tuple of str
    network_ : torch.nn.Module
    history_ : list of dict
    patch_size_ : tuple of int
    card_ : dict
    seen_scans_ : SeenScans
        As in `LesionSegmenter`.

    Notes
    -----
    `prognosis.search_space` has learning rate, weight decay, dropout and, with a `source`,
    `real_share` ready for `prognosis.OptunaSearch`.

    References
    ----------
    Chalcroft et al., MELBA 2025:014, arXiv 2404.01946.

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> from imaging.synthesis import LabelMapSource
    >>> segmenter = TissueSegmenter(
    ...     channels=(4, 8, 8), source=LabelMapSource(spacing_mm=8), spacing_mm=8, patch_size=16,
    ...     epochs=1, steps_per_epoch=2, validation_samples=0, random_state=0,
    ... ).fit()
    >>> scan = nib.Nifti1Image(np.random.default_rng(0).random((20, 24, 18)), np.diag([8, 8, 8, 1]))
    >>> (tissues,) = segmenter.predict_proba([scan])
    >>> tissues.shape, bool(np.allclose(tissues.get_fdata().sum(-1), 1, atol=1e-5))
    ((20, 24, 18, 6), True)
    """

    _known_classes = (TISSUE_CLASSES,)
    _task_kind = TissueTask

    def _task(self, real):
        return self._task_of(TISSUE_CLASSES)
