"""A transform from a scan to the template, with its inverse: how images, masks and points travel.

It is an affine, then a warp within the template; its inverse is kept beside it, so that every
way has its way back. Points are world coordinates (RAS, mm).
"""

from dataclasses import dataclass, field

import nibabel as nib
import numpy as np
from scipy.ndimage import map_coordinates

from ..errors import ImageError
from ..grids import Grid, open_image

__all__ = ["Transform", "Warp"]

_ORDERS = {"linear": 1, "nearest": 0, "mask": 1}
_SLAB = 2_000_000  # points at once, which bounds memory


@dataclass(frozen=True, eq=False)
class Warp:
    """A warp within the template's space, and its inverse: vectors on one grid, mm, RAS.

    Outside of the grid nothing moves.

    Parameters
    ----------
    grid : Grid
    to_scan, to_template : ndarray of shape (x, y, z, 3)
        What is added to a point of the template to find where it lies on the scan after the affine,
        and the other way round. Kept as float16, which is exact to a sixty-fourth of a millimetre
        for what a warp moves.

    Examples
    --------
    >>> grid = Grid((2, 2, 2), tuple(map(tuple, np.eye(4).tolist())))
    >>> away = np.full((2, 2, 2, 3), 0.5)
    >>> Warp(grid, away, -away).moved(np.array([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]]), "to_scan")
    array([[0.5, 0.5, 0.5],
           [9. , 9. , 9. ]])
    """

    grid: Grid
    to_scan: np.ndarray
    to_template: np.ndarray

    def __post_init__(self):
        for name in ("to_scan", "to_template"):
            vectors = np.asarray(getattr(self, name))
            if vectors.shape != (*self.grid.shape, 3):
                raise ImageError(
                    f"a warp of shape {vectors.shape} does not fit {self.grid}; give vectors of "
                    f"shape {(*self.grid.shape, 3)}"
                )
            object.__setattr__(self, name, vectors.astype(np.float16))

    def moved(self, points, name):
        """Points (n, 3) moved by one of the two fields."""
        inverse = np.linalg.inv(self.grid.affine)
        at = (points @ inverse[:3, :3].T + inverse[:3, 3]).T
        vectors = getattr(self, name)
        away = [
            map_coordinates(vectors[..., k].astype(np.float32), at, order=1, output=np.float32)
            for k in range(3)
        ]
        return points + np.stack(away, axis=-1)

    def jacobian(self):
        """How much a small volume of the template grows on its way to the scan, after the affine.

        Returns
        -------
        ndarray of shape (x, y, z), float32
            Determinants; 1 changes nothing, 0 or less is a fold.
        """
        spacing = np.linalg.norm(self.grid.affine[:3, :3], axis=0)
        rows = [
            np.gradient(self.to_scan[..., k].astype(np.float32), *spacing, axis=(0, 1, 2))
            for k in range(3)
        ]
        turned = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
        return np.linalg.det(turned + np.eye(3, dtype=np.float32)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Transform:
    """The way from one scan to the template and back.

    Parameters
    ----------
    affine : ndarray of shape (4, 4)
        From world coordinates of the scan to those of the template, mm.
    warp : Warp or None, default=None
        What follows it. None: the affine is all.
    about : dict, default={}
        How it was made: plain values, kept in the file.

    Examples
    --------
    >>> moved = Transform(nib.affines.from_matvec(np.eye(3), [0, 10, 0]))
    >>> moved.points_to_template([[1.0, 2.0, 3.0]]).tolist()
    [[1.0, 12.0, 3.0]]
    >>> moved.points_to_native([[1.0, 12.0, 3.0]]).tolist()
    [[1.0, 2.0, 3.0]]
    """

    affine: np.ndarray
    warp: Warp | None = None
    about: dict = field(default_factory=dict)

    def __post_init__(self):
        affine = np.asarray(self.affine, dtype=float)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ImageError(f"an affine has shape (4, 4) and finite values, got {affine!r}")
        if abs(np.linalg.det(affine)) < 1e-6:
            raise ImageError("the affine cannot be inverted; register the scan again")
        object.__setattr__(self, "affine", affine)

    def points_to_template(self, points):
        """Where points of the scan lie in the template.

        Parameters
        ----------
        points : array-like of shape (..., 3)
            World coordinates of the scan, mm.

        Returns
        -------
        ndarray of shape (..., 3)
        """
        points = np.asarray(points, dtype=float)
        placed = nib.affines.apply_affine(self.affine, points.reshape(-1, 3))
        if self.warp is not None:
            placed = self.warp.moved(placed, "to_template")
        return placed.reshape(points.shape)

    def points_to_native(self, points):
        """Where points of the template lie on the scan; as `points_to_template`."""
        points = np.asarray(points, dtype=float)
        placed = points.reshape(-1, 3)
        if self.warp is not None:
            placed = self.warp.moved(placed, "to_scan")
        return nib.affines.apply_affine(np.linalg.inv(self.affine), placed).reshape(points.shape)

    def to_template(self, image, grid, *, interpolation="linear"):
        """Bring an image of the scan's space to the template, in one resampling.

        Parameters
        ----------
        image : str, os.PathLike or nibabel spatial image, 3-D
        grid : Grid or nibabel spatial image
            Where in the template.
        interpolation : {"linear", "nearest", "mask"}, default="linear"
            "nearest" for labels; "mask" for a mask of 0 and 1: linear, then what is above one half.

        Returns
        -------
        nibabel.Nifti1Image
            float32; labels keep their type, masks are uint8. 0 outside of the image.
        """
        return _resampled(image, grid, self.points_to_native, interpolation)

    def to_native(self, image, grid, *, interpolation="linear"):
        """Bring an image of the template back to the scan: a map, a mask, regions.

        Parameters
        ----------
        image : str, os.PathLike or nibabel spatial image, 3-D
            In template space.
        grid : Grid, path or nibabel spatial image
            Of the scan.
        interpolation : {"linear", "nearest", "mask"}, default="linear"

        Returns
        -------
        nibabel.Nifti1Image
            As `to_template`.
        """
        return _resampled(image, grid, self.points_to_template, interpolation)

    def after(self, matrix):
        """The transform of another scan, whose world coordinates a matrix takes to this one's.

        Parameters
        ----------
        matrix : ndarray of shape (4, 4)

        Returns
        -------
        Transform
        """
        return Transform(self.affine @ np.asarray(matrix, dtype=float), self.warp, self.about)

    def save(self, stem):
        """Write the transform as files that ANTs, ITK and 3D Slicer read, see `files`."""
        from .files import save_transform

        return save_transform(self, stem)

    @staticmethod
    def load(stem):
        """Read what `save` wrote."""
        from .files import load_transform

        return load_transform(stem)


def _resampled(image, grid, back, interpolation):
    """An image on another grid; `back` takes points of that grid to the image's world."""
    if interpolation not in _ORDERS:
        raise ValueError(
            f'interpolation must be "linear", "nearest" or "mask", got {interpolation!r}'
        )
    image = open_image(image)
    grid = grid if isinstance(grid, Grid) else Grid.of(grid)
    data = np.asanyarray(image.dataobj)
    data = data.reshape(data.shape[:3]) if data.ndim > 3 and data.size else data
    if data.ndim != 3:
        raise ImageError(f"an image of shape {image.shape} was found where a 3-D one was expected")
    if interpolation != "nearest":
        data = data.astype(np.float32, copy=False)
    kind = data.dtype if interpolation != "linear" else np.float32
    placed = np.zeros(grid.shape, np.float32 if interpolation == "mask" else kind)
    inverse = np.linalg.inv(image.affine)
    per_slice = grid.shape[1] * grid.shape[2]
    step = max(1, _SLAB // per_slice)
    for first in range(0, grid.shape[0], step):
        rows = np.arange(first, min(grid.shape[0], first + step))
        index = np.stack(
            np.meshgrid(rows, np.arange(grid.shape[1]), np.arange(grid.shape[2]), indexing="ij"), -1
        ).reshape(-1, 3)
        points = back(nib.affines.apply_affine(grid.affine, index))
        at = nib.affines.apply_affine(inverse, points).T
        # Rounded, so that a place on the border is on it whatever the last digits say.
        found = map_coordinates(data, np.round(at, 4), order=_ORDERS[interpolation])
        placed[rows] = found.reshape(len(rows), *grid.shape[1:])
    if interpolation == "mask":
        placed = (placed >= 0.5).astype(np.uint8)
    return nib.Nifti1Image(placed, grid.affine)
