"""What a segmentation network is trained on: Dice and cross-entropy, with a gentle start.

Losses keep one value per sample, as all losses of the engine do; targets may be class numbers or
the probabilities of soft labels.
"""

import torch
from torch.nn import functional

__all__ = ["SegmentationLoss"]

WARM_LOGIT = 5.0
SMOOTHING_VOXELS = 1.0


class SegmentationLoss:
    """Dice without the background plus cross-entropy, after a warm start if asked for.

    Dice is smoothed by one voxel, so that a class that is neither there nor predicted costs
    nothing, and one that is predicted where there is none still has a gradient: an image without
    a lesion is a valid sample.

    Parameters
    ----------
    n_classes : int
        With the background, which is class 0.
    lesion_class : int, default=None
        None: the last class.
    lesion_weight : float, default=1.0
        How many times the lesion weighs in Dice and cross-entropy what another class weighs.
    tversky : float, default=0.0
        Weight of a Tversky term on the lesion, added to the other two.
    missed_weight, invented_weight : float, default=0.7, 0.3
        What a missed (false negative) and an invented (false positive) lesion voxel weigh in the
        Tversky term. Published alpha = .7 and beta = .3 are these two, in this order, because
        small lesions are rather missed than invented; MONAI's `alpha` is the false positives'.
    warm_start_steps : int, default=0
        For so many steps the loss is the squared distance of every logit from +5 (its class) or
        -5 (another), lesion voxels weighing `lesion_weight`; then it switches.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Chalcroft et al. 2025, MELBA 2025:014. Salehi et al. 2017, Tversky loss function, MLMI,
    379-387.

    Examples
    --------
    >>> loss = SegmentationLoss(2)
    >>> target = torch.zeros(1, 8, 8, dtype=torch.long)
    >>> target[:, :4] = 1
    >>> logits = 20 * (2 * torch.nn.functional.one_hot(target).movedim(-1, 1).float() - 1)
    >>> loss(logits, target).round(decimals=3), loss(-logits, target).round()
    (tensor([0.]), tensor([41.]))
    """

    def __init__(
        self,
        n_classes,
        lesion_class=None,
        lesion_weight=1.0,
        tversky=0.0,
        missed_weight=0.7,
        invented_weight=0.3,
        warm_start_steps=0,
    ):
        from monai.losses import DiceLoss, TverskyLoss

        lesion_class = n_classes - 1 if lesion_class is None else lesion_class
        if not 0 < lesion_class < n_classes:
            raise ValueError(
                f"lesion_class must be between 1 and {n_classes - 1}, got {lesion_class}"
            )
        if lesion_weight <= 0 or tversky < 0 or warm_start_steps < 0:
            raise ValueError(
                "lesion_weight must be positive, tversky and warm_start_steps at least 0, got "
                f"{lesion_weight}, {tversky}, {warm_start_steps}"
            )
        self.n_classes = n_classes
        self.lesion_class = lesion_class
        self.lesion_weight = lesion_weight
        self.tversky = tversky
        self.warm_start_steps = warm_start_steps
        smooth = {"smooth_nr": SMOOTHING_VOXELS, "smooth_dr": SMOOTHING_VOXELS}
        self._dice = DiceLoss(reduction="none", soft_label=True, **smooth)
        self._tversky = TverskyLoss(
            alpha=invented_weight, beta=missed_weight, reduction="none", soft_label=True, **smooth
        )

    def __call__(self, logits, target, step=None):
        """Loss of every sample.

        Parameters
        ----------
        logits : Tensor of shape (batch, n_classes, *shape), or list of Tensor
            A list is deep supervision's, coarse to fine: from the finest on they weigh 1, .5,
            .25, ..., divided by their sum, and the target is averaged down to each.
        target : Tensor of shape (batch, *shape), integer, or (batch, n_classes, *shape)
            Class numbers, or the probabilities of soft labels.
        step : int, default=None
            Steps of training so far; needed with a warm start only.

        Returns
        -------
        Tensor of shape (batch,)

        Raises
        ------
        ValueError
            If shapes do not fit, or a warm start is asked for and `step` is not given.
        """
        if self.warm_start_steps and step is None:
            raise ValueError("warm_start_steps is set: call the loss with the step of training")
        several = list(logits) if isinstance(logits, (list, tuple)) else [logits]
        target = self._probabilities(target, several[-1])
        warm = self.warm_start_steps and step < self.warm_start_steps
        part = self._distance if warm else self._overlap
        total, weights = 0.0, 0.0
        for i, scale in enumerate(reversed(several)):
            total = total + 0.5**i * part(scale.float(), _averaged(target, scale.shape[2:]))
            weights += 0.5**i
        return total / weights

    def _probabilities(self, target, logits):
        if target.ndim == logits.ndim - 1:
            target = functional.one_hot(target.long(), self.n_classes).movedim(-1, 1)
        if target.shape != logits.shape:
            raise ValueError(
                f"the target has shape {tuple(target.shape)} where the network gave "
                f"{tuple(logits.shape)}"
            )
        return target.float()

    def _class_weights(self, like):
        weights = torch.ones(self.n_classes, device=like.device)
        weights[self.lesion_class] = self.lesion_weight
        return weights

    def _distance(self, logits, target):
        weights = self._class_weights(logits).view(1, -1, *(1,) * (logits.ndim - 2))
        voxels = (target * weights).sum(1)
        squares = ((logits - WARM_LOGIT * (2 * target - 1)) ** 2).mean(1)
        return (voxels * squares).flatten(1).sum(1) / voxels.flatten(1).sum(1)

    def _overlap(self, logits, target):
        weights = self._class_weights(logits)
        probabilities = logits.softmax(1)
        dice = self._dice(probabilities[:, 1:], target[:, 1:]).flatten(1)
        dice = (dice * weights[1:]).sum(1) / weights[1:].sum()
        entropy = functional.cross_entropy(logits, target, weight=weights, reduction="none")
        shares = target.flatten(2).sum(2) @ weights
        loss = dice + entropy.flatten(1).sum(1) / shares
        if self.tversky:
            one = slice(self.lesion_class, self.lesion_class + 1)
            loss = loss + self.tversky * self._tversky(probabilities[:, one], target[:, one])[:, 0]
        return loss


def _averaged(target, shape):
    """Soft labels of a coarser grid, in which small lesions are fainter but never lost."""
    if target.shape[2:] == shape:
        return target
    pool = {2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}[len(shape)]
    return pool(target, tuple(shape))
