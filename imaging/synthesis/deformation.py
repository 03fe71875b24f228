"""Move anatomy: rotation, shear, zoom, elastic deformation, mirroring, and the choice of a patch.

Image, labels and target move together; what was drawn can be undone.
"""

from numbers import Integral, Real

import torch

from ..parameters import (
    CHANCE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Each,
    Interval,
    StrOptions,
    parameter,
    parameters,
)
from .geometry import affine_matrix, output_positions, pulled_positions
from .resampling import resample_scene
from .slabs import plain
from .steps import Step

__all__ = ["Deformation"]


@parameters
class Deformation(Step):
    """A random affine and elastic deformation, sampled on a patch.

    Parameters
    ----------
    {parameters}

    Notes
    -----
    The parameters of one sample are a *geometry*: ``shape``, ``matrix`` (from output to input
    voxels), ``centre`` (the input position of the middle of the output) and ``elastic``.

    Examples
    --------
    >>> import torch
    >>> batch = {"labels": torch.zeros(1, 1, 20, 24, dtype=torch.uint8)}
    >>> moved, histories = Deformation(patch_size=16)(batch, seed=1)
    >>> tuple(moved["labels"].shape), moved["labels"].dtype
    ((1, 1, 16, 16), torch.uint8)
    """

    rotation_deg: float = parameter(
        15.0, NOT_NEGATIVE, doc="Largest rotation about every axis, degrees."
    )
    shear: float = parameter(0.012, NOT_NEGATIVE, doc="Largest shear of every pair of axes.")
    zoom: float = parameter(0.15, SHARE, doc="Largest change of size along every axis, as a share.")
    elastic: float = parameter(
        0.05, NOT_NEGATIVE, doc="Largest displacement, as a share of the field of view."
    )
    control_points: int = parameter(
        7,
        Interval(Integral, 4, None, closed="left"),
        doc="Of the elastic field, along each axis.",
    )
    patch_size: object = parameter(
        None,
        COUNT,
        Each(COUNT),
        None,
        kind="int, sequence of int or None",
        doc="Shape of the output in voxels; None keeps the shape.",
    )
    spacing: float = parameter(
        1.0, POSITIVE, doc="Voxel size of the output over that of the input."
    )
    centre_on: str = parameter(
        "middle",
        StrOptions({"middle", "random", "lesion"}),
        kind='{"middle", "random", "lesion"}',
        doc="""
        Where the patch is: in the middle; anywhere inside the scene; or so that it holds a voxel
        of a lesion, where there is one ("random" where there is none).
        """,
    )
    mirror: object = parameter(
        0.0,
        CHANCE,
        Each(CHANCE),
        kind="float or sequence of float",
        doc="Chance to mirror each axis. The default keeps left and right.",
    )

    def draw(self, draws, scene):
        first = next(iter(scene.values()))
        size = tuple(first.shape[1:])
        dims = len(size)
        shape = self._along_axes("patch_size", size)
        if shape is None:
            shape = tuple(max(1, round(n / self.spacing)) for n in size)
        planes = 1 if dims == 2 else 3
        zoom = [1 + draws.uniform(-self.zoom, self.zoom) for _ in range(dims)]
        matrix = affine_matrix(
            [draws.uniform(-self.rotation_deg, self.rotation_deg) for _ in range(planes)],
            [draws.uniform(-self.shear, self.shear) for _ in range(planes)],
            zoom,
        )
        chances = self._along_axes("mirror", size)
        mirrored = torch.tensor([-1.0 if draws.chance(p) else 1.0 for p in chances])
        matrix = self.spacing * matrix @ torch.diag(mirrored.double())
        elastic = {
            "amplitude": draws.uniform(0, self.elastic) * max(shape),
            "points": [max(4, min(self.control_points, n // 4)) for n in shape],
            "seed": draws.seed(),
        }
        return {
            "shape": [int(n) for n in shape],
            "matrix": matrix.tolist(),
            "centre": self._centre(draws, scene, size, shape),
            "elastic": elastic,
        }

    def apply(self, scene, parameters):
        return resample_scene(scene, parameters)

    def input_positions(self, parameters, points):
        """Input voxel positions, shape (n, D), of output voxel positions."""
        return pulled_positions(parameters, torch.as_tensor(points, dtype=torch.float64))

    def output_positions(self, parameters, points):
        """Output voxel positions, shape (n, D), of input voxel positions: the inverse."""
        return output_positions(parameters, torch.as_tensor(points, dtype=torch.float64))

    def _along_axes(self, name, size):
        """A parameter that is one number, or one for each axis of the scene, as the latter."""
        value = getattr(self, name)
        if value is None or isinstance(value, Real):
            return None if value is None else (value,) * len(size)
        if len(value) != len(size):
            raise ValueError(
                f"{name} {tuple(value)} has {len(value)} axes for a scene of {len(size)}; give "
                "one number, or one for each axis"
            )
        return tuple(value)

    def _centre(self, draws, scene, size, shape):
        middle = [(n - 1) / 2 for n in size]
        if self.centre_on == "middle":
            return middle
        half = [n * self.spacing / 2 for n in shape]
        voxel = None
        if self.centre_on == "lesion" and "lesion" in scene:
            voxel = _voxel_of(scene["lesion"][0], [draws.uniform() for _ in size])
        centre = []
        for d, (n, h) in enumerate(zip(size, half, strict=True)):
            # Between these the patch lies inside the scene, before it is turned.
            low, high = h - 0.5, n - 0.5 - h
            if low >= high:
                low = high = middle[d]
            if voxel is None:
                centre.append(draws.uniform(low, high))
            else:
                # The voxel comes anywhere within the inner half of the patch.
                near = voxel[d] + draws.uniform(-h, h) / 2
                centre.append(min(max(near, low), high))
        return centre


def _voxel_of(mask, shares):
    """One voxel of a mask, chosen axis by axis among the rows that hold any; None if empty."""
    mask, voxel = plain(mask), []
    for share in shares:
        filled = mask
        for other in range(len(mask.shape) - 1, 0, -1):
            filled = filled.any(other)
        rows = filled.nonzero()
        rows = rows[0] if isinstance(rows, tuple) else rows
        if len(rows) == 0:
            return None
        voxel.append(int(rows[int(share * len(rows))]))
        mask = mask[voxel[-1]]
    return voxel
