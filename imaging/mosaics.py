"""2-D summaries of a volume that a 2-D network can read, and the way back to the volume.

A `SliceMosaic` stitches cross-sections into one picture; `unstitch` puts a picture of the same
layout (a saliency map, say) back into the volume it came from.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import nibabel as nib
import numpy as np

from .errors import ImageError
from .resizing import resizing_matrix
from .spaces.template import brain_bounds_mm
from .volumes import restore_grid

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
EXTENTS = ("volume", "brain")

__all__ = ["SliceMosaic"]


@dataclass(frozen=True)
class SliceMosaic:
    """Cross-sections of a volume, stitched row by row into one picture.

    Axial and coronal tiles show the patient's left on the left, sagittal tiles the front on the
    right; up is anterior in axial tiles and superior in the others. Slices count in the canonical
    orientation (RAS+), from 0 at the most inferior, posterior or left slice, whatever the
    orientation on disk. A tile whose slice lies outside the volume is black.

    Parameters
    ----------
    plane : {"axial", "coronal", "sagittal"} or tuple of these, default="axial"
        Several planes are stacked from top to bottom, each with `rows` x `columns` tiles.
    rows, columns : int, default=4
    first_slice : int, default=None
        Index of the first slice. None centres the slices in the volume.
    slice_step : int, default=None
        Voxels from one slice to the next. None spreads the slices evenly over the volume (or, with
        `first_slice`, over what lies above it).
    extent : {"volume", "brain"}, default="volume"
        What the slices are spread over or centred in: "brain" is where the template's brain lies in
        world coordinates, so that no tile shows neck or air above the head. For volumes in template
        (MNI) space; not with `first_slice`.
    size : int, (height, width) or None, default=None
        Size of the picture in pixels. Tiles are resized one by one, with square pixels in mm, by
        area averages when they shrink and linearly when they grow, and centred. None keeps one
        pixel per voxel; then `unstitch` inverts `stitch` exactly on the slices shown.

    References
    ----------
    Roohani et al. 2018, "Deep learning on stitched cross-sections of MRI", arXiv 1811.10520.

    Examples
    --------
    >>> import nibabel as nib, numpy as np
    >>> volume = np.random.default_rng(0).random((10, 12, 8)).astype("float32")
    >>> image = nib.Nifti1Image(volume, np.eye(4))
    >>> mosaic = SliceMosaic(rows=2, columns=4, first_slice=0, slice_step=1)
    >>> picture = mosaic.stitch(image)
    >>> picture.shape
    (24, 40)
    >>> np.array_equal(mosaic.unstitch(picture, image).get_fdata(), volume)
    True
    """

    plane: str | tuple = "axial"
    rows: int = 4
    columns: int = 4
    first_slice: int | None = None
    slice_step: int | None = None
    extent: str = "volume"
    size: int | tuple | None = None

    def __post_init__(self):
        planes = (self.plane,) if isinstance(self.plane, str) else tuple(self.plane)
        unknown = [plane for plane in planes if plane not in PLANES]
        if unknown or not planes:
            raise ValueError(f"plane must be among {sorted(PLANES)}, got {self.plane!r}")
        for name in ("rows", "columns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.slice_step is not None and self.slice_step < 1:
            raise ValueError(f"slice_step must be at least 1 voxel, got {self.slice_step!r}")
        if self.extent not in EXTENTS:
            raise ValueError(f"extent must be among {sorted(EXTENTS)}, got {self.extent!r}")
        if self.extent == "brain" and self.first_slice is not None:
            raise ValueError(
                f'extent="brain" says where the slices begin; leave first_slice={self.first_slice}'
            )
        size = (self.size, self.size) if isinstance(self.size, (int, np.integer)) else self.size
        object.__setattr__(self, "plane", planes)
        object.__setattr__(self, "size", None if size is None else tuple(int(n) for n in size))
        if size is not None:
            tile_height = self.size[0] // (self.rows * len(planes))
            if min(tile_height, self.size[1] // self.columns) < 4:
                raise ValueError(
                    f"size {self.size} leaves less than 4 pixels for each of {self.rows} x "
                    f"{self.columns} tiles; enlarge size or show fewer tiles"
                )

    @property
    def tiles(self):
        """Number of tiles down and across the whole picture."""
        return self.rows * len(self.plane), self.columns

    def slice_indices(self, n_slices, span=None):
        """Canonical voxel indices of the tiles of one plane, in reading order.

        Parameters
        ----------
        n_slices : int
            Slices of the volume along the axis of the plane.
        span : (int, int), default=None
            First slice to show and the one after the last; None is the whole volume.

        Returns
        -------
        ndarray of int, shape (rows * columns,)
            Indices outside 0 ... n_slices - 1 are black tiles.
        """
        count = self.rows * self.columns
        first, step = self.first_slice, self.slice_step
        low, high = span or (0, n_slices)
        if step is None:
            start = low if first is None else first
            return start + ((np.arange(count) + 0.5) * (high - start) / count).astype(int)
        if first is None:
            first = low + (high - low - 1 - (count - 1) * step) // 2
        return first + step * np.arange(count)

    def stitch(self, image):
        """Stitch the slices of a volume.

        Parameters
        ----------
        image : nibabel spatial image, 3-D

        Returns
        -------
        ndarray of shape (height, width), float32
        """
        canonical = nib.as_closest_canonical(image)
        data = np.asanyarray(canonical.dataobj)
        layout = self._layout(canonical)
        picture = np.zeros(layout.shape, np.float32)
        for tile in layout.tiles:
            section = _section(data, tile.axis, tile.index).T[::-1]
            picture[tile.place] = tile.down @ section.astype(np.float32) @ tile.across.T
        return picture

    def unstitch(self, picture, grid):
        """Put a picture of this layout back into a volume: values are interpolated.

        Parameters
        ----------
        picture : ndarray of shape (height, width)
        grid : nibabel spatial image
            The volume that was stitched, or any image on the same grid; only its shape and affine
            are used.

        Returns
        -------
        nibabel.Nifti1Image
            On the grid of `grid`, float32; voxels that no tile shows are zero, voxels that several
            planes show get the mean.
        """
        return self._put_back(
            picture, grid, lambda matrix: resizing_matrix(matrix.shape[0], matrix.shape[1])
        )

    def unstitch_attribution(self, picture, grid):
        """Put an attribution back into a volume: each pixel's share goes to the voxels it averaged.

        The adjoint of `stitch`: the sum over voxels equals the sum over the tiles' pixels, and the
        gradient with respect to the mosaic becomes the gradient with respect to the volume.
        Parameters and result as `unstitch`; voxels that several planes show get the sum.
        """
        return self._put_back(picture, grid, np.transpose, average=False)

    def coverage(self, grid):
        """The mask of voxels that some tile shows, as a uint8 image on the grid of `grid`."""
        shown = self._put_back(None, grid, None)
        return nib.Nifti1Image((np.asanyarray(shown.dataobj) > 0).astype(np.uint8), shown.affine)

    def _put_back(self, picture, grid, invert, average=True):
        canonical = nib.as_closest_canonical(
            nib.Nifti1Image(np.broadcast_to(np.float32(0), grid.shape[:3]), grid.affine)
        )
        layout = self._layout(canonical)
        if picture is not None and np.shape(picture) != layout.shape:
            raise ImageError(
                f"the picture has shape {np.shape(picture)} where this mosaic of a "
                f"{canonical.shape} volume has {layout.shape}; give a picture of the same mosaic"
            )
        total = np.zeros(canonical.shape, np.float32)
        count = np.zeros(canonical.shape, np.float32)
        for tile in layout.tiles:
            target = _section(total, tile.axis, tile.index).T[::-1]
            if picture is not None:
                content = np.asarray(picture, np.float32)[tile.place]
                target += invert(tile.down) @ content @ invert(tile.across).T
            _section(count, tile.axis, tile.index)[...] += 1
        if picture is None:
            total = count
        elif average:
            total /= np.maximum(count, 1)
        return restore_grid(nib.Nifti1Image(total, canonical.affine), grid)

    def _layout(self, canonical):
        spacing = tuple(np.round(np.linalg.norm(canonical.affine[:3, :3], axis=0), 4).tolist())
        shape = tuple(int(n) for n in canonical.shape[:3])
        spans = tuple((0, n) for n in shape)
        if self.extent == "brain":
            spans = _brain_spans(canonical.affine, shape)
        return _layout(self, shape, spacing, spans)


@dataclass(frozen=True)
class _Tile:
    axis: int
    index: int
    place: tuple
    down: np.ndarray
    across: np.ndarray


@dataclass(frozen=True)
class _Layout:
    shape: tuple
    tiles: tuple


def _brain_spans(affine, shape):
    """Along every axis, the slices of a volume in template space that hold its brain."""
    corners = np.array(list(itertools.product(*brain_bounds_mm())))
    places = nib.affines.apply_affine(np.linalg.inv(affine), corners)
    low = np.clip(np.floor(places.min(axis=0) + 0.5), 0, shape).astype(int)
    high = np.clip(np.ceil(places.max(axis=0) + 0.5), 0, shape).astype(int)
    if (low >= high).any():
        raise ImageError(
            f"a volume of {shape} voxels does not hold the template's brain, of which "
            'extent="brain" shows slices; register it to the template, or leave extent="volume"'
        )
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


@lru_cache(maxsize=64)
def _layout(mosaic, shape, spacing, spans):
    """Where each slice goes and by which matrices its rows and columns are resized."""
    axes = [PLANES[plane] for plane in mosaic.plane]
    sections = {axis: [n for n in range(3) if n != axis] for axis in axes}
    if mosaic.size is None:
        tile_height = max(shape[up] for _, up in sections.values())
        tile_width = max(shape[right] for right, _ in sections.values())
        height, width = tile_height * mosaic.tiles[0], tile_width * mosaic.tiles[1]
    else:
        height, width = mosaic.size
        tile_height, tile_width = height // mosaic.tiles[0], width // mosaic.tiles[1]
    tiles = []
    for block, axis in enumerate(axes):
        right, up = sections[axis]
        if mosaic.size is None:
            content_height, content_width = shape[up], shape[right]
        else:
            extent_up, extent_right = shape[up] * spacing[up], shape[right] * spacing[right]
            scale = min(tile_height / extent_up, tile_width / extent_right)
            content_height = min(tile_height, max(1, round(extent_up * scale)))
            content_width = min(tile_width, max(1, round(extent_right * scale)))
        down = resizing_matrix(shape[up], content_height)
        across = resizing_matrix(shape[right], content_width)
        for number, index in enumerate(mosaic.slice_indices(shape[axis], spans[axis])):
            if not 0 <= index < shape[axis]:
                continue
            row, column = divmod(number, mosaic.columns)
            top = (block * mosaic.rows + row) * tile_height + (tile_height - content_height) // 2
            left = column * tile_width + (tile_width - content_width) // 2
            place = (slice(top, top + content_height), slice(left, left + content_width))
            tiles.append(_Tile(axis, int(index), place, down, across))
    if not tiles:
        raise ImageError(
            f"no slice of the mosaic lies inside a volume of {shape} voxels; "
            f"change first_slice ({mosaic.first_slice}) or slice_step ({mosaic.slice_step})"
        )
    return _Layout((height, width), tuple(tiles))


def _section(data, axis, index):
    return data[(slice(None),) * axis + (index,)]
