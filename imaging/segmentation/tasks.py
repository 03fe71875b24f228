"""Lesions and tissues as tasks: classes at every voxel, and how right they are."""

import numpy as np

from ..metrics import dice
from ..physics.tissues import TISSUES
from ..voxelwise.scaling import Standardised
from ..voxelwise.task import Task
from .targets import resized_labels, upright_target

__all__ = ["LESION_CLASSES", "TISSUE_CLASSES", "LesionTask", "TissueTask"]

LESION_CLASSES = ("background", "lesion")
TISSUE_CLASSES = TISSUES[:6]


class _Classes(Task):
    """Classes at every voxel, the background first and the lesion last.

    Parameters
    ----------
    outputs : tuple of str
        The classes.
    ct : bool, default=False
        See `Standardised`.
    lesion_weight : float, default=2
    tversky : float, default=0
    warm_start_steps : int, default=0
        See `SegmentationLoss`.
    """

    score_name = "Dice"

    def __init__(self, outputs, *, ct=False, lesion_weight=2.0, tversky=0.0, warm_start_steps=0):
        self.outputs = outputs
        self.ct = ct
        self.lesion_weight = lesion_weight
        self.tversky = tversky
        self.warm_start_steps = warm_start_steps

    @property
    def lesion(self):
        """Number of the class."""
        return len(self.outputs) - 1

    @property
    def scored(self):
        """Numbers of the classes whose Dice counts."""
        return tuple(range(1, len(self.outputs)))

    @property
    def scaling(self):
        return Standardised(ct=self.ct)

    @property
    def outside(self):
        return (1.0, *(0.0 for _ in self.outputs[1:]))  # air is background

    def ending(self):
        from ..synthesis.scans import Target
        from ..synthesis.steps import Keep

        kind = "lesion" if len(self.outputs) == 2 else "tissues"
        return Target(kind), Keep("image", "target")

    def loss(self):
        from .losses import SegmentationLoss

        parts = SegmentationLoss(
            len(self.outputs),
            lesion_weight=self.lesion_weight,
            tversky=self.tversky,
            warm_start_steps=self.warm_start_steps,
        )
        return lambda outputs, target, step: parts(outputs, target[:, 0], step=step)

    def score(self, outputs, target):
        """Dice of every class that counts.

        A class that a scan has not counts 1 where the network does not find it, and 0 where it
        does, so that false alarms on healthy scans cost as much as missed lesions.
        """
        found = outputs.argmax(0).cpu().numpy()
        return [dice(found == number, target[0] == number) for number in self.scored]

    def activated(self, outputs):
        return outputs.softmax(1)

    def centres(self, target):
        return np.flatnonzero(target[0] == self.lesion)

    def real_target(self, given, prepared):
        truth = upright_target(given, prepared, len(self.outputs))
        return resized_labels(truth, prepared.array.shape, len(self.outputs))[None]


class LesionTask(_Classes):
    """The lesion, alone or among the tissues around it, as a mask.

    Parameters
    ----------
    threshold : float, default=0.5
        Probability above which a voxel is lesion.
    outputs, ct, lesion_weight, tversky, warm_start_steps
        As in every task of classes.

    Examples
    --------
    >>> LesionTask().kept, LesionTask(TISSUE_CLASSES).kept  # the lesion alone
    ((1,), (5,))
    """

    def __init__(
        self,
        outputs=LESION_CLASSES,
        *,
        threshold=0.5,
        ct=False,
        lesion_weight=2.0,
        tversky=0.0,
        warm_start_steps=0,
    ):
        super().__init__(
            outputs,
            ct=ct,
            lesion_weight=lesion_weight,
            tversky=tversky,
            warm_start_steps=warm_start_steps,
        )
        self.threshold = threshold

    @property
    def kept(self):
        return (self.lesion,)

    @property
    def scored(self):
        return (self.lesion,)

    def settings(self):
        return {n: v for n, v in super().settings().items() if n != "threshold"}

    def finished(self, prepared, values):
        return (prepared.back(values[0]) > self.threshold).astype(np.uint8)

    def real_score(self, found, given, prepared):
        return dice(found, upright_target(given, prepared, 2))


class TissueTask(_Classes):
    """Tissues and lesion, as a map of the classes' numbers.

    Parameters
    ----------
    outputs, ct, lesion_weight, tversky, warm_start_steps
        As in every task of classes.

    Examples
    --------
    >>> task = TissueTask(TISSUE_CLASSES)
    >>> [TISSUE_CLASSES[k] for k in task.scored][0], task.outside[0]
    ('grey matter', 1.0)
    """

    def finished(self, prepared, values):
        best = np.full(prepared.upright.shape, -1.0, np.float32)
        found = np.zeros(prepared.upright.shape, np.uint8)
        for number, probability in enumerate(values):
            here = prepared.back(probability)
            more = here > best
            found[more], best[more] = number, here[more]
        return found

    def real_score(self, found, given, prepared):
        truth = upright_target(given, prepared, len(self.outputs))
        return float(np.mean([dice(found == k, truth == k) for k in self.scored]))
