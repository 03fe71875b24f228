"""Tissues, brain and coordinates at every voxel as one task."""

import torch
from torch.nn import functional

from ...parameters import POSITIVE, parameter, parameters
from ...voxelwise.scaling import Standardised
from ...voxelwise.task import Task
from .located import COORDINATE_TISSUES, CoordinateTarget

__all__ = ["COORDINATE_OUTPUTS", "CoordinateParameters", "CoordinateTask"]

COORDINATE_OUTPUTS = (*COORDINATE_TISSUES, "brain", "x", "y", "z")
_TISSUES = slice(0, len(COORDINATE_TISSUES))
_BRAIN = slice(_TISSUES.stop, _TISSUES.stop + 1)
_WHERE = slice(_BRAIN.stop, _BRAIN.stop + 3)
_SCALE_MM = 50.0  # of the network's outputs: coordinates are of the order of 1
_UNIT_MM = 10.0  # an error of so many millimetres costs as much as a tissue that is not known


@parameters
class CoordinateParameters:
    """Parameters that a model of coordinates hands on to its task, which has them too (`task`)."""

    ct: bool = parameter(
        False,
        "boolean",
        stored="always",
        task=True,
        doc="Clip scans to 0-80 Hounsfield units, before anything else is done to them.",
    )
    coordinate_weight: float = parameter(
        1.0, POSITIVE, task=True, doc="Of the coordinates in the loss, over that of the tissues."
    )
    tolerance_mm: float = parameter(
        3.0,
        POSITIVE,
        task=True,
        doc="Errors of a coordinate above it cost in proportion, those below by their square.",
    )


@parameters
class CoordinateTask(CoordinateParameters, Task):
    """What tissue a voxel is, whether it is brain, and where in the template it lies.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> task = CoordinateTask()
    >>> task.outputs[-3:], task.target_name
    (('x', 'y', 'z'), 'coordinates')
    >>> outputs = torch.zeros(1, 10, 2, 2, 2)
    >>> round(float(task.activated(outputs)[0, 0].mean()), 3)  # each of six tissues
    0.167
    """

    target_name = "coordinates"
    score_name = "mm"
    higher_is_better = False

    outputs: tuple = parameter(COORDINATE_OUTPUTS, first=True, doc="What the network gives.")

    @property
    def scaling(self):
        return Standardised(ct=self.ct)

    def ending(self):
        from ...synthesis.steps import Keep

        return CoordinateTarget(), Keep("image", "target")

    def loss(self):
        """Cross-entropies of tissues and brain, and Huber's loss of coordinates in the skull."""

        def of_level(outputs, target):
            outputs, count = outputs.float(), outputs.shape[0]
            tissues = -(target[:, _TISSUES] * outputs[:, _TISSUES].log_softmax(1)).sum(1)
            brain = functional.binary_cross_entropy_with_logits(
                outputs[:, _BRAIN], target[:, _BRAIN].clamp(0, 1), reduction="none"
            )
            inside = 1 - target[:, :1]
            away = functional.huber_loss(
                _SCALE_MM * outputs[:, _WHERE],
                target[:, _WHERE],
                reduction="none",
                delta=self.tolerance_mm,
            )
            away = (away * inside).reshape(count, -1).sum(1) / (self.tolerance_mm * _UNIT_MM)
            away = away / (3 * inside.reshape(count, -1).sum(1)).clamp(min=1)
            known = tissues.reshape(count, -1).mean(1) + brain.reshape(count, -1).mean(1)
            return known + self.coordinate_weight * away

        def loss(outputs, target, step=0):
            if not isinstance(outputs, (list, tuple)):
                return of_level(outputs, target)
            found = 0.0
            for level in outputs:  # coarse to fine
                shape = level.shape[2:]
                smaller = target
                if shape != target.shape[2:]:
                    smaller = functional.interpolate(target, shape, mode="area")
                found = found + of_level(level, smaller)
            return found / len(outputs)

        return loss

    def score(self, outputs, target):
        """Mean distance of the coordinates from the true ones inside the skull, millimetres."""
        target = torch.as_tensor(target).float()
        inside = target[0] < 0.5
        if not inside.any():
            return [0.0]
        away = _SCALE_MM * outputs[_WHERE].float().cpu() - target[_WHERE]
        return [float(away.norm(dim=0)[inside].mean())]

    def activated(self, outputs):
        parts = outputs[:, _TISSUES].softmax(1), outputs[:, _BRAIN].sigmoid()
        return torch.cat([*parts, _SCALE_MM * outputs[:, _WHERE]], 1)
