"""Segmenters in scikit-learn's manner: of lesions, and of tissues.

They learn from real scans with masks, from synthetic ones, or from both, and give masks on the
voxels that each scan came with.
"""

import inspect
from typing import ClassVar

import numpy as np

from ..metrics import dice
from ..parameters import CHANCE
from ..physics.tissues import TISSUES
from ..voxelwise.estimator import BaseSegmenter
from ..voxelwise.parameters import CONSTRAINTS, PARAMETERS
from .targets import upright_target

__all__ = ["LESION_CLASSES", "TISSUE_CLASSES", "LesionSegmenter", "TissueSegmenter"]

LESION_CLASSES = ("background", "lesion")
TISSUE_CLASSES = TISSUES[:6]


def _documented(cls):
    cls.__doc__ = inspect.cleandoc(cls.__doc__).replace("{parameters}", PARAMETERS)
    return cls


@_documented
class LesionSegmenter(BaseSegmenter):
    """Segment lesions on scans of any sequence.

    Parameters
    ----------
    {parameters}
    learn_tissues : bool, default=True
        Without real scans, also learn the tissues around the lesion, which helps to find it; the
        masks show the lesion only.
    threshold : float, default=0.5
        Probability above which a voxel is lesion.

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
    _parameter_constraints: ClassVar = {
        **CONSTRAINTS,
        "learn_tissues": ["boolean"],
        "threshold": [CHANCE],
    }

    def __init__(
        self,
        architecture="unet-small",
        *,
        learn_tissues=True,
        threshold=0.5,
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
        given = dict(locals())
        for name in ("self", "__class__", "learn_tissues", "threshold"):
            given.pop(name)
        super().__init__(**given)
        self.learn_tissues = learn_tissues
        self.threshold = threshold

    def _class_names(self, has_real):
        return TISSUE_CLASSES if self.learn_tissues and not has_real else LESION_CLASSES

    def _kept(self):
        return [len(self.classes_) - 1]

    def _scored(self):
        return [len(self.classes_) - 1]

    def _decide(self, prepared, per_class):
        return (prepared.back(per_class[0]) > self.threshold).astype(np.uint8)

    def _dice(self, found, truth, prepared):
        truth = upright_target(truth, prepared, 2)
        return dice(found, truth)


@_documented
class TissueSegmenter(BaseSegmenter):
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

    References
    ----------
    Chalcroft et al., MELBA 2025:014, arXiv 2404.01946.
    """

    _known_classes = (TISSUE_CLASSES,)

    def _class_names(self, has_real):
        return TISSUE_CLASSES

    def _kept(self):
        return range(len(self.classes_))

    def _scored(self):
        return range(1, len(self.classes_))

    def _decide(self, prepared, per_class):
        best = np.full(prepared.upright.shape, -1.0, np.float32)
        found = np.zeros(prepared.upright.shape, np.uint8)
        for number, probability in enumerate(per_class):
            here = prepared.back(probability)
            more = here > best
            found[more], best[more] = number, here[more]
        return found

    def _dice(self, found, truth, prepared):
        truth = upright_target(truth, prepared, len(self.classes_))
        return float(np.mean([dice(found == k, truth == k) for k in self._scored()]))
