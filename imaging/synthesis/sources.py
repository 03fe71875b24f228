"""Where scenes begin: a label map of one head, and lesions of other patients fitted to it."""

import numpy as np
import torch

from ..physics.tissues import TISSUES
from .label_maps import FREESURFER_TISSUES, read_label_map, template_label_map
from .lesion_masks import blob_mask, fit_mask, read_lesion
from .steps import Step

__all__ = ["LabelMapSource"]

_BRAIN = tuple(TISSUES.index(name) for name in ("grey matter", "white matter"))
_LESION = TISSUES.index("lesion")
_WHITE = TISSUES.index("white matter")
_CSF = TISSUES.index("csf")


class LabelMapSource(Step):
    """Draw a label map and the lesions that go into it.

    The first step of a chain. Gives ``labels`` (tissue numbers, see `TISSUES`) and ``lesion`` (0,
    or the number of a lesion), both uint8 of shape (1, x, y, z), cropped to the head.

    Parameters
    ----------
    label_maps : sequence of path or nibabel image, or None
        None is the head built from the MNI template inside nilearn.
    lesions : sequence of path or nibabel image, or None
        Lesion masks of other patients, in MNI space or that of the label maps. None makes shapes
        from smooth noise.
    table : mapping of int to str
        From codes of the label maps to tissues.
    lesion_probability : float
        Chance that a sample has a lesion at all.
    most_lesions : int
        Most masks in one sample.
    mirror_lesions : float
        Chance to move a lesion to the other side; the default keeps its side.
    fit : {"brain", "world"}
        "brain" stretches the box of the MNI brain to that of the label map's brain; "world" trusts
        the affines.
    fill_holes : bool
        Fill holes inside lesion masks.
    spacing_mm : int
        Of the embedded head, whole millimetres.
    device : str or torch.device

    Notes
    -----
    Lesions are kept only where there is brain. Label maps are kept in memory (some 7 MB for a head
    at 1 mm) after they were read once. Codes that the label maps themselves give to a lesion are
    painted as white matter under lesion number 1.

    Examples
    --------
    >>> source = LabelMapSource(spacing_mm=4)
    >>> scene, history = source.sample({}, 3)
    >>> scene["labels"].dtype, scene["labels"].shape == scene["lesion"].shape
    (torch.uint8, True)
    """

    def __init__(
        self,
        label_maps=None,
        lesions=None,
        table=None,
        lesion_probability=0.9,
        most_lesions=2,
        mirror_lesions=0.0,
        fit="brain",
        fill_holes=True,
        spacing_mm=1,
        device="cpu",
    ):
        if fit not in ("brain", "world"):
            raise ValueError(f'found fit={fit!r}; give "brain" or "world"')
        for name, files in (("label_maps", label_maps), ("lesions", lesions)):
            if files is not None and len(files) == 0:
                raise ValueError(f"{name} is empty; give files, or None for the embedded ones")
        self.label_maps = label_maps
        self.lesions = lesions
        self.table = FREESURFER_TISSUES if table is None else table
        self.lesion_probability = lesion_probability
        self.most_lesions = most_lesions
        self.mirror_lesions = mirror_lesions
        self.fit = fit
        self.fill_holes = fill_holes
        self.spacing_mm = spacing_mm
        self.device = device
        self._heads = {}
        self._masks = {}

    def draw(self, draws, scene):
        head = draws.integer(0, len(self.label_maps) - 1) if self.label_maps else 0
        lesions = []
        if draws.chance(self.lesion_probability):
            for _ in range(draws.integer(1, self.most_lesions)):
                mask = draws.integer(0, len(self.lesions) - 1) if self.lesions else draws.seed()
                lesions.append({"mask": mask, "mirrored": draws.chance(self.mirror_lesions)})
        return {"label_map": head, "lesions": lesions}

    def apply(self, scene, parameters):
        labels, affine, box, own = self._head(parameters["label_map"])
        # Memory from NumPy is zero without being written; most of it never is.
        empty = torch.from_numpy(np.zeros(labels.shape, np.uint8)).to(labels.device)
        lesion = empty if own is None else own.clone()
        for number, entry in enumerate(parameters["lesions"], start=1 if own is None else 2):
            mask, mask_affine = self._mask(entry["mask"])
            place, inside = fit_mask(
                mask,
                mask_affine,
                labels.shape[1:],
                affine,
                box,
                mirrored=entry["mirrored"],
            )
            if place is None:
                continue
            tissue = labels[0][place]
            here = torch.from_numpy(inside).to(tissue.device) & (tissue >= 1) & (tissue <= _CSF)
            lesion[0][place][here] = number
        return {**scene, "labels": labels, "lesion": lesion}

    def _head(self, number):
        """Tissues, affine, the brain's box in mm, and lesions that the map itself holds."""
        if number not in self._heads:
            box = None  # the embedded head is in MNI space
            if self.label_maps:
                tissues, affine = read_label_map(self.label_maps[number], self.table)
                box = _brain_box(tissues, affine) if self.fit == "brain" else None
            else:
                tissues, affine = template_label_map(self.spacing_mm)
            own = None
            if (tissues == _LESION).any():
                own = torch.from_numpy((tissues == _LESION).astype(np.uint8))[None].to(self.device)
                tissues = np.where(tissues == _LESION, np.uint8(_WHITE), tissues)
            labels = torch.from_numpy(tissues)[None].to(self.device)
            self._heads[number] = labels, affine, box, own
        return self._heads[number]

    def _mask(self, number):
        if not self.lesions:
            return blob_mask(number)
        if number not in self._masks:
            self._masks[number] = read_lesion(self.lesions[number], self.fill_holes)
        return self._masks[number]


def _brain_box(tissues, affine):
    """Lowest and highest millimetres of grey and white matter along each axis, shape (2, 3)."""
    brain = np.isin(tissues, _BRAIN)
    ends = []
    for axis in range(3):
        filled = np.flatnonzero(brain.any(tuple(a for a in range(3) if a != axis)))
        ends.append((filled[0], filled[-1]) if len(filled) else (0, tissues.shape[axis] - 1))
    low, high = np.array(ends, float).T
    return np.stack([affine[:3, :3] @ p + affine[:3, 3] for p in (low, high)])
