"""Brain, tissues and template coordinates of a head, whatever the contrast of its scan."""

import copy
from functools import cached_property

import nibabel as nib
import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ...errors import ImageError
from ...learning.device import private_torch_state, resolve_device
from ...parameters import marked, parameter, parameters
from ...storage.models import ModelFileError
from ...voxelwise.estimator import BaseVoxelwise
from ...voxelwise.geometry import prepare
from ...voxelwise.sequences import naming
from ...voxelwise.windows import head_box
from ..affines import turns
from .located import COORDINATE_TISSUES
from .robust import fit_affine
from .shape import head_measures
from .tasks import COORDINATE_OUTPUTS, CoordinateParameters, CoordinateTask

__all__ = ["CoordinateModel", "HeadCoordinates"]

_LEAST_VOXELS = 50  # of brain, below which no affine is fitted
_MOST_POINTS = 6000  # that an affine is fitted to
_N = len(COORDINATE_TISSUES)


class HeadCoordinates:
    """What a `CoordinateModel` says of one scan.

    Images lie on the voxels of the scan, in its own orientation, and are made when they are first
    asked for.

    Attributes
    ----------
    brain : nibabel.Nifti1Image, float32
        Probability that a voxel is brain: grey and white matter, ventricles and narrow sulci.
    tissues : nibabel.Nifti1Image of shape (x, y, z, 3), float32
        Shares of grey matter, white matter and fluid.
    lesion : nibabel.Nifti1Image, float32
        Probability of a lesion.
    coordinates : nibabel.Nifti1Image of shape (x, y, z, 3), float32
        Where a voxel lies in the MNI template, millimetres; of meaning inside the skull only.
    affine : ndarray of shape (4, 4)
        From the millimetres of the scan to those of the template: a robust fit to the coordinates
        of the brain.
    residual_mm : float
        Median distance between coordinates of the brain and what `affine` gives for them.
    brain_ml : float
        Volume of the brain.

    Examples
    --------
    What a head is said to be where every output is known, here from the template itself:

    >>> import nibabel as nib
    >>> from imaging.registration import CoordinateTarget, Located
    >>> from imaging.synthesis import LabelMapSource
    >>> scene, _ = Located(LabelMapSource(spacing_mm=8)).sample({}, 0)
    >>> maps = CoordinateTarget().sample(scene, 0)[0]["target"].numpy()
    >>> scan = nib.Nifti1Image(maps[3] + 0.1, np.diag([8.0, 8, 8, 1]))
    >>> everything = tuple(slice(0, n) for n in scan.shape)
    >>> head = HeadCoordinates(prepare(scan, 8), maps, everything)
    >>> bool(np.allclose(head.affine[:3, :3], np.eye(3))), round(head.residual_mm, 3)
    (True, 0.0)
    >>> head.tissues.shape[3], head.coordinates.shape[3]
    (3, 3)
    """

    def __init__(self, prepared, values, box):
        self._prepared, self._values, self._box = prepared, values, box
        brain = values[_N]
        inside = brain > 0.5
        to_world = _world(prepared)
        voxel_ml = abs(np.linalg.det(to_world[:3, :3])) / 1000
        self.brain_ml = float(brain.sum() * voxel_ml)
        if int(inside.sum()) < _LEAST_VOXELS:
            raise ImageError(
                f"found {self.brain_ml:.0f} ml of brain in the scan, too little to place it in the "
                "template; check that it shows a head"
            )
        some = np.argwhere(inside)
        some = some[:: -(-len(some) // _MOST_POINTS)]
        points = nib.affines.apply_affine(to_world, some + np.array([part.start for part in box]))
        where = values[(slice(_N + 1, None), *some.T)].T
        try:
            self.affine, self.residual_mm = fit_affine(points, where, brain[tuple(some.T)])
        except ValueError as error:
            raise ImageError(f"the brain cannot be placed in the template: {error}") from error

    @cached_property
    def brain(self):
        return self._image(self._whole(self._values[_N]))

    @cached_property
    def lesion(self):
        return self._image(self._whole(self._values[_N - 1]))

    @cached_property
    def tissues(self):
        _, grey, mixed, white, fluid, _ = self._values[:_N]
        parts = grey + mixed / 2, white + mixed / 2, fluid
        return self._image(np.stack([self._whole(part) for part in parts], -1))

    @cached_property
    def coordinates(self):
        shape, to_template = self._prepared.array.shape, self.affine @ _world(self._prepared)
        axes = [np.arange(n, dtype=np.float32) for n in shape]
        grid = np.meshgrid(*axes, indexing="ij", sparse=True)
        maps = []
        for row, values in zip(to_template[:3], self._values[_N + 1 :], strict=True):
            whole = sum(np.float32(a) * g for a, g in zip(row, grid)) + np.float32(row[3])
            whole[self._box] = values  # beyond what was looked at the affine counts
            maps.append(self._prepared.back(whole))
        return self._image(np.stack(maps, -1))

    def _whole(self, values):
        whole = np.zeros(self._prepared.array.shape, np.float32)
        whole[self._box] = values
        return self._prepared.back(whole)

    def _image(self, values):
        return self._prepared.restore(values.astype(np.float32, copy=False))


def _codes(order, signs):
    """What the axes of a scan show, where they had to be ordered and turned like this to be RAS."""
    codes = [""] * 3
    for pair, axis, sign in zip(("RL", "AP", "SI"), order, signs, strict=True):
        codes[axis] = pair[0] if sign > 0 else pair[1]
    return "".join(codes)


def _world(prepared):
    """From voxels of the network to millimetres of the scan."""
    scale = np.divide(prepared.upright.shape, prepared.array.shape)
    voxels = np.diag([*scale, 1.0])
    voxels[:3, 3] = (scale - 1) / 2
    return prepared.image.affine @ voxels


@parameters
class CoordinateModel(CoordinateParameters, BaseVoxelwise):
    """Brain, tissues and MNI coordinates of every voxel, on heads of any contrast.

    One network of coarse voxels sees the whole head at once and learns from simulated heads whose
    coordinates are known (`Located`). What it says is the first step to a template: a mask, an
    affine, and a number by which a scan that went wrong is noticed.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    outputs_ : tuple of str
    network_ : torch.nn.Module
        On the CPU.
    history_ : list of dict
        Per epoch: "train_loss" and, with a validation set, "score", the mean error in millimetres
        inside the skull. Not there after `load`.
    patch_size_ : tuple of int
    card_ : dict
        The model card, after `load`.
    seen_scans_ : SeenScans

    Notes
    -----
    Scans are seen in the orientation that their header says; `orientation` tells whether it is
    right. `fit` takes no real scans. The model that comes with the package sees voxels of 4 mm and
    was trained on simulated heads alone; its card (``card_["scores"]``) says how far off it is.

    References
    ----------
    Gopinath, Hu, Hoffmann, Puonti and Iglesias, Registration by regression, WBIR 2024,
    arXiv 2405.11633, for coordinates by regression; Billot et al., Med Image Anal 86:102789 (2023),
    for learning from label maps.

    Examples
    --------
    >>> import nibabel as nib
    >>> from imaging.registration import Located
    >>> from imaging.synthesis import LabelMapSource
    >>> model = CoordinateModel(
    ...     channels=(8, 8, 8), source=Located(LabelMapSource(spacing_mm=8)), spacing_mm=8,
    ...     patch_size=32, epochs=2, steps_per_epoch=4, validation_samples=1, random_state=0,
    ... ).fit()
    >>> scan = nib.Nifti1Image(np.random.default_rng(0).random((20, 24, 18)), np.diag([8, 8, 8, 1]))
    >>> model.maps(scan).shape
    (10, 20, 24, 18)
    >>> CoordinateModel.from_pretrained().spacing_mm
    4.0
    """

    architecture: object = parameter(
        "folded-small", str, first=True, stored="always", kind="str", doc="See `build_voxelwise`."
    )

    @classmethod
    def from_pretrained(cls, name="coordinates", **parameters):
        """A model that comes with the package; parameters and errors as `load`."""
        return super().from_pretrained(name, **parameters)

    def predict(self, X):
        """Where scans lie, and what they show.

        Parameters
        ----------
        X : scan or list of scans
            Each a path or nibabel image.

        Returns
        -------
        HeadCoordinates, or list of these
            One for a single scan.

        Raises
        ------
        ImageError
            If a scan cannot be read or shows next to no brain: the message names its place.
        """
        if not isinstance(X, (list, tuple)):
            return self._head(X)
        found = []
        for number, scan in enumerate(X):
            with naming(number):
                found.append(self._head(scan))
        return found

    def maps(self, scan):
        """All outputs for one scan on the voxels of the network.

        Parameters
        ----------
        scan : path or nibabel image

        Returns
        -------
        ndarray of shape ``(10, *spatial)``, float32
            Shares of six tissues, probability of brain, x, y and z in the template.
        """
        prepared, values, box = self._run(scan)
        whole = np.zeros((len(values), *prepared.array.shape), np.float32)
        whole[0] = 1
        whole[(slice(None), *box)] = values
        return whole

    def orientation(self, scan):
        """Which way up a scan really is, whatever its header says.

        The scan is looked at in all 24 ways in which a box can be turned; where it lies right the
        coordinates fit an affine best. A swap of left and right alone is not noticed: heads are
        too much alike on both sides.

        Parameters
        ----------
        scan : path or nibabel image

        Returns
        -------
        axes : str
            Of the scan in the orientation that its header calls RAS: "RAS" where the header is
            right; "LPS" where right and left as well as front and back are the other way round.
        residuals : dict of str to float
            Median distance from an affine, millimetres, by orientation; infinite where no brain
            was seen.

        Examples
        --------
        See `CoordinateModel`; ``model.orientation(scan)[0] == "RAS"`` says that a header is right.
        """
        prepared = prepare(scan, self.spacing_mm)
        residuals, edges = {}, np.diag([*[self.spacing_mm] * 3, 1.0])
        for order, signs in turns():
            codes = _codes(order, signs)
            turned = prepared.array.transpose(order)[tuple(slice(None, None, s) for s in signs)]
            grid = nib.Nifti1Image(np.ascontiguousarray(turned), edges)
            try:
                residuals[codes] = self._head(grid).residual_mm
            except ImageError:
                residuals[codes] = float("inf")
        return min(residuals, key=residuals.get), residuals

    def measures(self, scan):
        """What the head of one scan measures, see `head_measures`: shape (202,), float32.

        Raises
        ------
        ImageError
            If the scan cannot be read or shows next to no brain.
        """
        prepared = prepare(scan, self.spacing_mm)
        return self._measured(prepared.array, _world(prepared))

    def _measured(self, array, to_mm):
        """Measures of a scan that lies on the network's voxels."""
        values, box = self._seen(array)
        first = np.eye(4)
        first[:3, 3] = [part.start for part in box]
        try:
            return head_measures(values, to_mm @ first)
        except ValueError as error:
            raise ImageError(f"{error}; check that it shows a head") from error

    def _head(self, scan):
        return HeadCoordinates(*self._run(scan))

    def _run(self, scan):
        prepared = prepare(scan, self.spacing_mm)
        return prepared, *self._seen(prepared.array)

    def _seen(self, array):
        """Outputs in the box of the head, and the box; `array` is raw, on the network's voxels."""
        check_is_fitted(self, "network_")
        self._check_parameters()
        array = self.task_.scaling.scaled(array)
        box = head_box(array)
        inside = array[box]
        divisor, least = self.network_.divisor, self.patch_size_
        shape = [max(-(-n // divisor) * divisor, m) for n, m in zip(inside.shape, least)]
        frame = np.full(shape, array.min(), np.float32)
        place = [slice((m - n) // 2, (m - n) // 2 + n) for n, m in zip(inside.shape, shape)]
        frame[tuple(place)] = inside
        device = resolve_device(self.device)
        network = self.network_
        network = network if device.type == "cpu" else copy.deepcopy(network).to(device)
        with private_torch_state(None, self.n_threads), torch.inference_mode():
            image = torch.from_numpy(frame)[None, None].to(device)
            image = image.contiguous(memory_format=torch.channels_last_3d)
            found = self.task_.activated(network.eval()(image).float())[0].cpu().numpy()
        return found[(slice(None), *place)], box

    def _task(self, real):
        if real:
            raise ValueError("CoordinateModel learns from simulated heads only; call fit()")
        return self._task_of(COORDINATE_OUTPUTS)

    def _task_of(self, outputs):
        if tuple(outputs) != COORDINATE_OUTPUTS:
            raise ModelFileError(
                f"it has the outputs {', '.join(map(str, outputs))}; CoordinateModel needs "
                f"{', '.join(COORDINATE_OUTPUTS)}"
            )
        return CoordinateTask(outputs, **marked(self, "task"))
