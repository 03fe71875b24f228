"""Lesions and tissues as tasks: classes at every voxel, and how right they are."""

import numpy as np

from ..metrics import dice
from ..parameters import CHANCE, FROM_ZERO, NOT_NEGATIVE, POSITIVE, parameter, parameters
from ..physics.tissues import TISSUES
from ..voxelwise.scaling import Standardised
from ..voxelwise.task import Task
from .targets import resized_labels, upright_target

__all__ = [
    "LESION_CLASSES",
    "TISSUE_CLASSES",
    "ClassParameters",
    "LesionParameters",
    "LesionTask",
    "TissueTask",
]

LESION_CLASSES = ("background", "lesion")
TISSUE_CLASSES = TISSUES[:6]


@parameters
class ClassParameters:
    """Parameters that segmenters hand on to their tasks, which have them too (`task`)."""

    ct: bool = parameter(
        False,
        "boolean",
        stored="always",
        task=True,
        doc="Clip scans to 0-80 Hounsfield units, before anything else is done to them.",
    )
    lesion_weight: float = parameter(
        2.0,
        POSITIVE,
        task=True,
        doc="Of the lesion in the loss, over that of every other class.",
    )
    tversky: float = parameter(
        0.0,
        NOT_NEGATIVE,
        task=True,
        doc="""
            Weight of a further Tversky loss of the lesion, which forgives invented voxels sooner
            than missed ones. See `SegmentationLoss`.""",
    )
    warm_start_steps: int = parameter(
        0,
        FROM_ZERO,
        task=True,
        doc="First steps, in which the loss is the squared distance of the logits from +5 or -5.",
    )


@parameters
class LesionParameters(ClassParameters):
    """Those of lesions alone, too."""

    threshold: float = parameter(
        0.5,
        CHANCE,
        stored="later",
        task=True,
        doc="Probability above which a voxel is lesion.",
    )


@parameters
class _Classes(ClassParameters, Task):
    """Classes at every voxel, the background first and the lesion last."""

    target_name = "mask"
    score_name = "Dice"

    outputs: tuple = parameter(first=True, doc="The classes.")

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


@parameters
class LesionTask(LesionParameters, _Classes):
    """The lesion, alone or among the tissues around it, as a mask.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> LesionTask().kept, LesionTask(TISSUE_CLASSES).kept  # the lesion alone
    ((1,), (5,))
    """

    outputs: tuple = parameter(LESION_CLASSES, first=True, doc="The classes.")

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


@parameters
class TissueTask(_Classes):
    """Tissues and lesion, as a map of the classes' numbers.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> task = TissueTask()
    >>> [TISSUE_CLASSES[k] for k in task.scored][0], task.outside[0]
    ('grey matter', 1.0)
    """

    outputs: tuple = parameter(TISSUE_CLASSES, first=True, doc="The classes.")

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
