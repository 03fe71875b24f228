"""Heads of whom it is known where in a template they lie: what coordinates are learnt from."""

import nibabel as nib
import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample, one_hot

from ...errors import ImageError
from ...grids import open_image
from ...parameters import Each, parameter, parameters
from ...physics.tissues import TISSUES
from ...storage.recently_used import RecentlyUsed
from ...synthesis.sources import LabelMapSource
from ...synthesis.steps import Step

__all__ = ["COORDINATE_TISSUES", "CoordinateTarget", "Located", "brain_of"]

COORDINATE_TISSUES = TISSUES[:6]  # outside the skull, grey, mixed, white, fluid, lesion
_FLUID, _LESION = TISSUES.index("csf"), TISSUES.index("lesion")
_CLOSED_MM = 4.0  # what lies between two parts of the brain that are so near counts as brain
_KEPT_BYTES = 2**30


@parameters
class Located(Step):
    """A source of heads that also says where in the template their voxels lie.

    Beside what the source gives: ``located``, float32 of shape (4, x, y, z): x, y and z in the
    template in millimetres (right, front and top are positive), and whether a voxel is brain,
    which a skull stripper would keep: grey and white matter, ventricles and narrow sulci, not the
    fluid around it.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> from imaging.synthesis import LabelMapSource
    >>> scene, _ = Located(LabelMapSource(spacing_mm=8)).sample({}, 0)
    >>> x = scene["located"][0]
    >>> x[0, 0, 0] < 0 < x[-1, 0, 0], float(x[1, 0, 0] - x[0, 0, 0])
    (tensor(True), 8.0)
    """

    source: object = parameter(
        None,
        LabelMapSource,
        None,
        kind="LabelMapSource or None",
        doc="None is the head of the MNI template that comes with nilearn.",
        first=True,
    )
    fields: object = parameter(
        None,
        Each(),
        None,
        kind="sequence of path or nibabel image, or None",
        doc="""
        For every label map of the source an image of shape (x, y, z, 3): the template's
        coordinates, in millimetres, on any upright grid. None takes the source's own millimetres,
        which is right for the embedded head alone.""",
        first=True,
    )

    def __post_init__(self):
        super().__post_init__()
        self._source = LabelMapSource() if self.source is None else self.source
        self._kept = RecentlyUsed(_KEPT_BYTES)
        maps, fields = self._source.label_maps, self.fields
        if (maps is None) != (fields is None) or (maps is not None and len(maps) != len(fields)):
            found = [0 if values is None else len(values) for values in (maps, fields)]
            raise ValueError(
                f"found {found[0]} label maps and {found[1]} fields; give one field for each map"
            )

    @property
    def label_maps(self):
        """Those of the source."""
        return self._source.label_maps

    @property
    def spacing_mm(self):
        """Of the embedded head."""
        return self._source.spacing_mm

    def draw(self, draws, scene):
        return self._source.draw(draws, scene)

    def apply(self, scene, parameters):
        scene = self._source.apply(scene, parameters)
        number, labels = parameters["label_map"], scene["labels"]
        affine = self._source._head(number)[1]
        (brain,) = self._kept.get(("brain", number), lambda: (brain_of(labels[0], affine),))
        where = self._where(number, labels.shape[1:], affine)
        located = torch.cat([where, torch.from_numpy(brain)[None].to(where)])
        return {**scene, "located": located.to(labels.device)}

    def _where(self, number, shape, affine):
        """Coordinates of the voxels of a head, (3, *shape)."""
        if self.fields is None:
            edges = [np.arange(n) for n in shape]
            grid = np.stack(np.meshgrid(*edges, indexing="ij"), -1) @ affine[:3, :3].T
            grid = np.moveaxis(grid + affine[:3, 3], -1, 0)
            return torch.from_numpy(grid.astype(np.float32))
        field, its_affine = self._kept.get(("field", number), lambda: self._read(number))
        theta = _unit(np.linalg.inv(its_affine) @ affine, shape, field.shape[1:])
        grid = affine_grid(torch.from_numpy(theta)[None].float(), [1, 1, *shape], False)
        return grid_sample(field[None], grid, padding_mode="border", align_corners=False)[0]

    def _read(self, number):
        image = nib.as_closest_canonical(open_image(self.fields[number]))
        values = np.asanyarray(image.dataobj, dtype=np.float32)
        if values.ndim != 4 or values.shape[3] != 3:
            raise ImageError(
                f"field {number} has the shape {values.shape}; three coordinates at every voxel, "
                "(x, y, z, 3), are expected"
            )
        return torch.from_numpy(np.moveaxis(values, -1, 0).copy()), image.affine


def _unit(matrix, shape, size):
    """The 3 x 4 matrix by which `affine_grid` finds voxels of a grid in one of another size.

    Parameters
    ----------
    matrix : ndarray of shape (4, 4)
        From voxels of `shape` to those of `size`.
    """
    into = np.eye(4)  # unit cube, last axis first, to voxels
    back = np.eye(4)
    for axis, (n, m) in enumerate(zip(shape, size, strict=True)):
        into[axis] = 0
        into[axis, 2 - axis], into[axis, 3] = n / 2, (n - 1) / 2
        back[2 - axis] = 0
        back[2 - axis, axis], back[2 - axis, 3] = 2 / m, 1 / m - 1
    return (back @ matrix @ into)[:3]


def brain_of(labels, affine):
    """What a skull stripper would keep of a head, uint8 of the shape of its labels.

    Parameters
    ----------
    labels : Tensor or ndarray of shape (x, y, z)
        Tissues.
    affine : ndarray of shape (4, 4)

    Examples
    --------
    >>> labels = np.full((30, 30, 30), 4, np.uint8)
    >>> labels[5:14, 5:25, 5:25], labels[16:25, 5:25, 5:25] = 1, 3
    >>> brain = brain_of(labels, np.eye(4))  # the gap is closed, fluid outside is no brain
    >>> int(brain[14, 15, 15]), int(brain[2, 15, 15])
    (1, 0)
    """
    from scipy.ndimage import binary_fill_holes, distance_transform_edt

    labels = np.asarray(labels)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    solid = (labels >= 1) & (labels <= _LESION) & (labels != _FLUID)
    if not solid.any():
        return np.zeros(labels.shape, np.uint8)
    rim = [int(np.ceil(_CLOSED_MM / edge)) + 1 for edge in edges]
    wide = np.pad(solid, [(n, n) for n in rim])
    grown = distance_transform_edt(~wide, sampling=edges) <= _CLOSED_MM
    closed = distance_transform_edt(grown, sampling=edges) > _CLOSED_MM
    inner = closed[tuple(slice(n, -n) for n in rim)] | solid
    return binary_fill_holes(inner).astype(np.uint8)


@parameters
class CoordinateTarget(Step):
    """Make the target of coordinates: ``target``, float32 of shape ``(10, *spatial)``.

    Shares of six tissues (outside the skull, grey, mixed, white, fluid, lesion), whether it is
    brain, and x, y and z in the template. Of a head that was mirrored x is, too, since a template
    has its left on one side only.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> from imaging.synthesis import LabelMapSource
    >>> scene, _ = Located(LabelMapSource(spacing_mm=8)).sample({}, 0)
    >>> target = CoordinateTarget().sample(scene, 0)[0]["target"]
    >>> target.shape[0], bool((target[:6].sum(0) == 1).all())
    (10, True)
    """

    def draw(self, draws, scene):
        return {}

    def apply(self, scene, parameters):
        count = len(COORDINATE_TISSUES)
        if "tissues" in scene:
            inside = scene["tissues"][1:count]
        else:
            labels = scene["labels"][0].long().clamp(max=len(TISSUES) - 1)
            inside = one_hot(labels, len(TISSUES)).movedim(-1, 0)[1:count].float()
        shares = torch.cat([1 - inside.sum(0, keepdim=True), inside]).clamp(0, 1)
        lesion = scene["lesion"][0] > 0
        shares[:, lesion] = 0
        shares[_LESION, lesion] = 1
        where, brain = scene["located"][:3].clone(), scene["located"][3:]
        if _mirrored(where, brain[0] > 0.5):
            where[0] = -where[0]
        return {**scene, "target": torch.cat([shares, brain, where])}


def _mirrored(where, inside):
    """Whether the coordinates of a head are those of its mirror image."""
    inside = inside[:-1, :-1, :-1]
    if not inside.any():
        return False
    here = where[:, :-1, :-1, :-1]
    steps = [where[:, 1:, :-1, :-1], where[:, :-1, 1:, :-1], where[:, :-1, :-1, 1:]]
    slopes = torch.stack([(step - here)[:, inside].mean(1) for step in steps], 1)
    return bool(torch.linalg.det(slopes) < 0)
