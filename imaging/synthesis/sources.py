"""Where scenes begin: a label map of one head, and lesions of other patients fitted to it."""

from collections.abc import Mapping
from numbers import Integral
from typing import ClassVar

import numpy as np
import torch

from ..parameters import CHANCE, COUNT, Each, Interval, StrOptions, parameter, parameters
from ..physics.tissues import TISSUES
from ..storage.recently_used import RecentlyUsed
from .label_maps import FREESURFER_TISSUES, read_label_map, template_label_map
from .lesion_masks import blob_mask, fit_mask, read_lesion
from .lesions import LARGEST_NUMBER
from .steps import Step, shown_without

__all__ = ["KEPT_BYTES", "LabelMapSource"]

_BRAIN = tuple(TISSUES.index(name) for name in ("grey matter", "white matter"))
_LESION = TISSUES.index("lesion")
_WHITE = TISSUES.index("white matter")
_CSF = TISSUES.index("csf")

KEPT_BYTES = 512 * 2**20


@parameters
class LabelMapSource(Step):
    """Draw a label map and the lesions that go into it.

    The first step of a chain. Gives ``labels`` (tissue numbers, see `TISSUES`) and ``lesion`` (0,
    or the number of a lesion), both uint8 of shape (1, x, y, z), cropped to the head.

    Parameters
    ----------
    {parameters}

    Notes
    -----
    Lesions are kept only where there is brain. Codes that the label maps themselves give to a
    lesion are painted as white matter under lesion number 1.

    Label maps (some 7 MB for a head at 1 mm) and lesions are kept in memory after they were read,
    up to `KEPT_BYTES` (512 MiB) for each source; what was not used for longest goes first. They
    are neither pickled nor copied by ``copy.deepcopy`` and ``sklearn.base.clone``, and samples do
    not depend on what is kept.

    Examples
    --------
    >>> source = LabelMapSource(spacing_mm=4)
    >>> scene, history = source.sample({}, 3)
    >>> scene["labels"].dtype, scene["labels"].shape == scene["lesion"].shape
    (torch.uint8, True)
    """

    probability: ClassVar = 1.0  # there is no scene without it
    label_maps: object = parameter(
        None,
        Each(),
        None,
        kind="sequence of path or nibabel image, or None",
        doc="None is the head built from the MNI template inside nilearn.",
        first=True,
    )
    lesions: object = parameter(
        None,
        Each(),
        None,
        kind="sequence of path or nibabel image, or None",
        doc="""
        Lesion masks of other patients, in MNI space or that of the label maps. None makes shapes
        from smooth noise.
        """,
        first=True,
    )
    table: Mapping = parameter(
        None,
        Mapping,
        kind="mapping of int to str, or None",
        doc="From codes of the label maps to tissues; None is `FREESURFER_TISSUES`.",
    )
    lesion_probability: float = parameter(
        0.9, CHANCE, doc="Chance that a sample has a lesion at all."
    )
    most_lesions: int = parameter(
        2, Interval(Integral, 1, LARGEST_NUMBER, closed="both"), doc="Most masks in one sample."
    )
    mirror_lesions: float = parameter(
        0.0, CHANCE, doc="Chance to move a lesion to the other side; the default keeps its side."
    )
    fit: str = parameter(
        "brain",
        StrOptions({"brain", "world"}),
        kind='{"brain", "world"}',
        doc="""
        "brain" stretches the box of the MNI brain to that of the label map's brain; "world" trusts
        the affines.
        """,
    )
    fill_holes: bool = parameter(True, "boolean", doc="Fill holes inside lesion masks.")
    spacing_mm: int = parameter(1, COUNT, doc="Of the embedded head, whole millimetres.")
    device: object = parameter(
        "cpu", str, torch.device, kind="str or torch.device", doc="Where scenes begin."
    )

    def __post_init__(self):
        self.table = FREESURFER_TISSUES if self.table is None else self.table
        super().__post_init__()
        self._kept = RecentlyUsed(KEPT_BYTES)

    def __repr__(self):
        return shown_without(self, table=FREESURFER_TISSUES)

    def draw(self, draws, scene):
        head = draws.integer(0, len(self.label_maps) - 1) if self.label_maps is not None else 0
        lesions = []
        if draws.chance(self.lesion_probability):
            for _ in range(draws.integer(1, self.most_lesions)):
                made_up = self.lesions is None
                mask = draws.seed() if made_up else draws.integer(0, len(self.lesions) - 1)
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
        head = self.spacing_mm if self.label_maps is None else self.label_maps[number]
        # All that it depends on, so that a source that was changed does not find what was before.
        key = ("head", head, tuple(self.table.items()), self.fit, str(self.device))
        return self._kept.get(key, lambda: self._read_head(head))

    def _read_head(self, head):
        box = None  # the embedded head is in MNI space
        if self.label_maps is None:
            tissues, affine = template_label_map(head)
        else:
            tissues, affine = read_label_map(head, self.table)
            box = _brain_box(tissues, affine) if self.fit == "brain" else None
        own = None
        if (tissues == _LESION).any():
            own = torch.from_numpy((tissues == _LESION).astype(np.uint8))[None].to(self.device)
            tissues = np.where(tissues == _LESION, np.uint8(_WHITE), tissues)
        return torch.from_numpy(tissues)[None].to(self.device), affine, box, own

    def _mask(self, number):
        if self.lesions is None:
            return blob_mask(number)
        lesion = self.lesions[number]
        key = ("lesion", lesion, self.fill_holes)
        return self._kept.get(key, lambda: read_lesion(lesion, self.fill_holes))


def _brain_box(tissues, affine):
    """Lowest and highest millimetres of grey and white matter along each axis, shape (2, 3)."""
    brain = np.isin(tissues, _BRAIN)
    ends = []
    for axis in range(3):
        filled = np.flatnonzero(brain.any(tuple(a for a in range(3) if a != axis)))
        ends.append((filled[0], filled[-1]) if len(filled) else (0, tissues.shape[axis] - 1))
    low, high = np.array(ends, float).T
    return np.stack([affine[:3, :3] @ p + affine[:3, 3] for p in (low, high)])
