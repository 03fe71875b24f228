"""What encoders are pretrained for, and the losses of it.

Every objective says what its views share, which heads the encoder needs, and what is minimised.
The parts of a loss are kept, so that their means can be shown beside it.
"""

from typing import NamedTuple

import torch
from torch.nn import functional

from ..learning.processes import gathered
from ..nets.shapes import N_TISSUES

__all__ = ["OBJECTIVES", "ContrastLoss", "DenseLoss", "MaskedLoss", "Objective", "ShapeLoss"]

_SAMPLED = 512  # voxels of each level and batch that the dense contrast compares
_DENSE_TEMPERATURE = 0.07


class Objective(NamedTuple):
    """How views are made for an objective, and what becomes of them.

    Parameters
    ----------
    contrasts, poses : {"own", "shared"}
        As in `Views`.
    count : int
        Of views.
    target : {"clean", "labels", "masked", "places"}
        As in `ViewStream`.
    sequences : tuple of str, default=None
        Those that are scanned; None takes all.
    """

    contrasts: str = "own"
    poses: str = "own"
    count: int = 2
    target: str = "clean"
    sequences: tuple | None = None


OBJECTIVES = {
    "base": Objective(contrasts="shared", sequences=("mprage",)),
    "seq_aug": Objective(contrasts="shared"),
    "seq_inv": Objective(),
    "dense": Objective(poses="shared", target="labels"),
    "masked": Objective(count=1, target="masked"),
    "shape": Objective(target="places"),
}


class _Parts:
    """Means of the parts of a loss since they were last asked for.

    Attributes
    ----------
    parts : tuple of str
        Their names.
    """

    parts = ()

    def __init__(self):
        self._sums, self._count = {}, 0

    def mean_parts(self):
        """The means by name, forgotten afterwards; nothing where nothing was computed."""
        found = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return found

    def _keep(self, **values):
        if not torch.is_grad_enabled():
            return
        self._count += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)


class ContrastLoss(_Parts):
    """Two views of a head are to be projected to the same place, those of others elsewhere.

    Parameters
    ----------
    kind : {"nt-xent", "barlow-twins"}
        NT-Xent takes the other heads of the batch as negatives and so needs many; Barlow Twins
        asks that the numbers of a projection agree between views and not with each other.
    temperature : float
        Of NT-Xent.
    reconstruction : float
        Weight of the mean absolute difference of what is reconstructed; 0: nothing is.

    References
    ----------
    Chen et al., ICML 2020, arXiv 2002.05709 (NT-Xent); Zbontar et al., ICML 2021, arXiv
    2103.03230 (Barlow Twins).

    Examples
    --------
    >>> loss = ContrastLoss()
    >>> apart = torch.eye(4)[:, None].expand(4, 2, 4)  # both views of four heads
    >>> same = torch.ones(4, 2, 4)
    >>> bool(loss([apart], None) < loss([same], None)), loss.mean_parts()["matched"]
    (True, 0.625)
    """

    def __init__(self, kind="nt-xent", temperature=0.5, reconstruction=0.0):
        from monai.losses import BarlowTwinsLoss, ContrastiveLoss

        super().__init__()
        self.between = (
            ContrastiveLoss(temperature) if kind == "nt-xent" else BarlowTwinsLoss(lambd=5e-3)
        )
        self.reconstruction = reconstruction
        self.parts = ("contrast", "matched", *(["reconstruction"] if reconstruction else []))

    def __call__(self, outputs, target):
        one, other = gathered(outputs[0]).unbind(1)
        contrast = self.between(one, other)
        kept = {"contrast": contrast.detach(), "matched": matched(one.detach(), other.detach())}
        if not self.reconstruction:
            self._keep(**kept)
            return contrast
        apart = (outputs[1] - target).abs().mean()
        self._keep(**kept, reconstruction=apart.detach())
        return contrast + self.reconstruction * apart


class ShapeLoss(_Parts):
    """Every place is to be known for its tissue, and the brain for where in it a place lies.

    Cross-entropy with the shares of tissues, and the smooth absolute difference of places (in
    standard deviations of the brain) over the brain.

    Examples
    --------
    >>> target = torch.zeros(2, 2, 3, 8, 8)  # two views of two heads: labels, and places along x, y
    >>> target[:, :, 0, 2:6, 2:6] = 3
    >>> outputs = torch.zeros(2, 2, 6 + 2, 4, 4)
    >>> loss = ShapeLoss()
    >>> round(float(loss([outputs], target)), 3)  # of six tissues, none is preferred
    1.792
    """

    parts = ("tissues", "places")

    def __call__(self, outputs, target):
        target, found = target.flatten(0, 1), outputs[0].flatten(0, 1)
        pool = {4: functional.avg_pool2d, 5: functional.avg_pool3d}[target.dim()]
        labels = target[:, 0].long()
        labels = torch.where(labels < N_TISSUES, labels, 0)
        shares = pool(functional.one_hot(labels, N_TISSUES).movedim(-1, 1).float(), 2)
        tissues = -(found[:, :N_TISSUES].log_softmax(1) * shares).sum(1).mean()
        brain = 1 - shares[:, :1]
        apart = functional.smooth_l1_loss(
            found[:, N_TISSUES:], pool(target[:, 1:], 2), beta=0.2, reduction="none"
        )
        places = (apart * brain).sum() / (brain.sum().clamp(min=1) * apart.shape[1])
        self._keep(tissues=tissues.detach(), places=places.detach())
        return tissues + places


class MaskedLoss(_Parts):
    """What was hidden of a view is to be reconstructed: mean absolute difference there."""

    parts = ("reconstruction",)

    def __call__(self, outputs, target):
        clean, mask = target[:, :1], target[:, 1:]
        apart = ((outputs[0] - clean).abs() * mask).sum() / mask.sum().clamp(min=1)
        self._keep(reconstruction=apart.detach())
        return apart


class DenseLoss(_Parts):
    """Voxels of one tissue are to have the same features in both views, other tissues others.

    At every level that has enough voxels, some hundred of all heads are compared: positives are
    voxels with one label, in the other view too; a lesion is a tissue of its own.

    References
    ----------
    Khosla et al., NeurIPS 2020, arXiv 2004.11362 (supervised contrast); Dey et al., ICLR 2025,
    arXiv 2411.02372 (on random contrasts, temperature .07).
    """

    parts = ("contrast",)

    def __call__(self, outputs, target):
        total, levels = 0.0, [maps for maps in outputs if maps.shape[3:].numel() >= 64]
        for maps in levels:
            shape = maps.shape[3:]
            labels = functional.interpolate(target.float(), shape, mode="nearest").long()
            total = total + self._of_level(maps, labels)
        total = total / len(levels)
        self._keep(contrast=total.detach())
        return total

    def _of_level(self, maps, labels):
        """Supervised contrast of voxels, as many of every tissue as there are."""
        flat = maps.movedim(2, -1).flatten(0, -2)
        tissues = labels.flatten()
        picked = []
        for tissue in tissues.unique().tolist():
            here = (tissues == tissue).nonzero()[:, 0]
            # The same for the same maps: torch's random state is that of the training.
            order = torch.randperm(len(here))[: _SAMPLED // 8]
            picked.append(here[order.to(here.device)])
        picked = torch.cat(picked)
        features, tissues = flat[picked], tissues[picked]
        alike = features @ features.T / _DENSE_TEMPERATURE
        own = torch.eye(len(picked), dtype=torch.bool, device=alike.device)
        alike = alike.masked_fill(own, -torch.inf)
        positive = (tissues[:, None] == tissues) & ~own
        chance = alike.log_softmax(1).masked_fill(~positive, 0.0)
        counts = positive.sum(1)
        return -(chance.sum(1) / counts.clamp(min=1))[counts > 0].mean()


def matched(one, other):
    """Share of heads whose second view is nearer to the first than that of any other head.

    Parameters
    ----------
    one, other : Tensor of shape (n, features)

    Returns
    -------
    float
    """
    alike = functional.normalize(one, dim=1) @ functional.normalize(other, dim=1).T
    return float((alike.argmax(1) == torch.arange(len(alike), device=alike.device)).float().mean())
