"""Regions of interest packed into one 2-D picture, and the way back to the volume.

Where a `SliceMosaic` shows whole cross-sections, a `RoiMosaic` shows named regions only, each in a
cell of its own, so that a 2-D network sees all of them in few pixels.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import nibabel as nib
import numpy as np
from scipy import ndimage, sparse

from .atlases import load_atlas
from .errors import AtlasError, ImageError
from .grids import Grid
from .mosaics import PLANES
from .resizing import pixel_shares, resizing_matrix
from .volumes import restore_grid

__all__ = ["LANGUAGE_REGIONS", "RoiMosaic"]

LANGUAGE_REGIONS = (
    "Temporal_Sup_L",
    "Temporal_Mid_L",
    "Frontal_Inf_Tri_L",
    "Postcentral_L",
    "SupraMarginal_L",
    "Frontal_Inf_Oper_L",
    "Insula_L",
    "Caudate_L",
    "Temporal_Pole_Sup_L",
    "Parietal_Inf_L",
    "Frontal_Mid_2_L",
    "Hippocampus_L",
)
"""Regions of atlas "aal", most important first, after White et al. 2024."""

GAP = 1  # pixels between pieces, so that neighbours do not run into each other
_CANVAS_WIDTHS = (1.0, 1.1, 1.2, 1.35, 1.5)  # tried, in units of the ideal width


@dataclass(frozen=True)
class RoiMosaic:
    """Regions of an atlas, cut slice by slice into connected pieces and packed into one picture.

    Every region has a rectangular cell; in it lie its pieces from all slices, the tallest first.
    How many cells share a row is computed: of the layouts tried, the one that needs the smallest
    canvas is taken. The layout depends on the grid, the atlas and the regions only, so the same
    pixel shows the same voxel in every patient. Pieces lie as in `SliceMosaic`: in axial pieces
    the patient's left is on the left and anterior is up. What is not shown is black.

    Parameters
    ----------
    atlas : Atlas, or whatever `load_atlas` opens, default="aal"
        It is brought to the voxels of the image, never the reverse.
    regions : sequence of str or int, default=8
        Names of regions, in the order of their cells; a number takes the first so many of
        `LANGUAGE_REGIONS`.
    plane : {"axial", "coronal", "sagittal"}, default="axial"
    slice_step : int, default=1
        Show every so many-th slice of a region, at least one of each.
    size : int, (height, width) or None, default=None
        Size of the picture in pixels. A canvas that does not fit shrinks by area averages, a
        smaller one is centred and not enlarged. None keeps one pixel per voxel on the smallest
        canvas that is about square; whenever nothing shrinks, `unpack` inverts `pack` exactly.

    Raises
    ------
    AtlasError
        If a region is unknown to the atlas; when packing, if it has no voxel in the image.
    ValueError
        If there is no region, one occurs twice, or another parameter is out of range.

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638, arXiv 2310.19174.

    Examples
    --------
    >>> from imaging import load_atlas
    >>> mosaic = RoiMosaic("aal", ["Insula_L", "Putamen_L"])
    >>> image = load_atlas("aal").image
    >>> picture = mosaic.pack(image)
    >>> sorted(set(picture.ravel().tolist()))  # the two labels of these regions, and black
    [0.0, 3001.0, 7011.0]
    >>> back = mosaic.unpack(picture, image)
    >>> int((back.get_fdata() == 3001).sum()) == int((image.get_fdata() == 3001).sum())
    True
    """

    atlas: object = "aal"
    regions: tuple | int = 8
    plane: str = "axial"
    slice_step: int = 1
    size: int | tuple | None = None

    def __post_init__(self):
        object.__setattr__(self, "atlas", load_atlas(self.atlas))
        object.__setattr__(self, "regions", _named(self.regions))
        self.atlas.labels_of(self.regions)
        if self.plane not in PLANES:
            raise ValueError(f"plane must be among {sorted(PLANES)}, got {self.plane!r}")
        if self.slice_step < 1:
            raise ValueError(f"slice_step must be at least 1 slice, got {self.slice_step!r}")
        if self.size is not None:
            size = (self.size, self.size) if isinstance(self.size, (int, np.integer)) else self.size
            object.__setattr__(self, "size", tuple(int(n) for n in size))
            if min(self.size) < 8:
                raise ValueError(f"size must be at least 8 pixels, got {self.size}")

    def pack(self, image):
        """Pack the regions of a volume into a picture.

        Parameters
        ----------
        image : nibabel spatial image, 3-D, in the space of the atlas
            Of any kind: a scan, a lesion mask, a map.

        Returns
        -------
        ndarray of shape (height, width), float32
        """
        canonical = nib.as_closest_canonical(image)
        layout = self._layout(canonical)
        values = _gather(np.asanyarray(canonical.dataobj), layout).astype(np.float32, copy=False)
        picture = np.zeros(layout.shape, np.float32)
        content = picture[layout.place]
        if layout.shares is None:
            content[layout.pixels] = values
        else:
            content[...] = (layout.shares @ values).reshape(content.shape)
        return picture

    def unpack(self, picture, grid):
        """Put a picture of this layout back into a volume.

        Parameters
        ----------
        picture : ndarray of shape (height, width)
        grid : nibabel spatial image or Grid
            The volume that was packed, or anything on the same grid.

        Returns
        -------
        nibabel.Nifti1Image
            On the grid of `grid`, float32; voxels that are not shown are zero.
        """

        def enlarge(content, layout):
            down, across = map(resizing_matrix, content.shape, layout.canvas)
            return (down @ content @ across.T)[layout.pixels]

        return self._put_back(picture, grid, enlarge)

    def unpack_attribution(self, picture, grid):
        """Put an attribution back into a volume: each pixel's share goes to the voxels it averaged.

        The adjoint of `pack`: the gradient with respect to the picture becomes the gradient with
        respect to the volume. Parameters and result as `unpack`.
        """
        return self._put_back(
            picture, grid, lambda content, layout: layout.shares.T @ content.ravel()
        )

    def coverage(self, grid):
        """The mask of voxels that are shown, as a uint8 image on the grid of `grid`."""
        grid = grid.image() if isinstance(grid, Grid) else grid
        canonical = _canonical(grid)
        shown = np.zeros(canonical.shape, np.uint8)
        shown[self._layout(canonical).voxels] = 1
        return restore_grid(nib.Nifti1Image(shown, canonical.affine), grid)

    def cells(self, grid):
        """Where each region lies in the picture.

        Parameters
        ----------
        grid : nibabel spatial image or Grid

        Returns
        -------
        dict of str to (slice, slice)
            Name of the region to its rows and columns in the picture.
        """
        grid = grid.image() if isinstance(grid, Grid) else grid
        return dict(zip(self.regions, self._layout(_canonical(grid)).cells, strict=True))

    def _put_back(self, picture, grid, undo_shrinking):
        grid = grid.image() if isinstance(grid, Grid) else grid
        canonical = _canonical(grid)
        layout = self._layout(canonical)
        if np.shape(picture) != layout.shape:
            raise ImageError(
                f"the picture has shape {np.shape(picture)} where this mosaic of a "
                f"{canonical.shape} volume has {layout.shape}; give a picture of the same mosaic"
            )
        content = np.asarray(picture, np.float32)[layout.place]
        if layout.shares is None:
            values = content[layout.pixels]
        else:
            values = undo_shrinking(content, layout)
        volume = np.zeros(canonical.shape, np.float32)
        volume[layout.voxels] = values
        return restore_grid(nib.Nifti1Image(volume, canonical.affine), grid)

    def _layout(self, canonical):
        rows = tuple(map(tuple, np.round(canonical.affine, 4).tolist()))
        return _layout(self, tuple(int(n) for n in canonical.shape[:3]), rows)


@dataclass(frozen=True)
class _Layout:
    """Which pixel of the canvas shows which voxel, and how the canvas becomes the picture.

    `shares` (pixels of the content by voxels) averages the canvas, where it has to shrink: most of
    it is zeros, so one sparse product takes the place of two with whole matrices.
    """

    shape: tuple
    canvas: tuple
    pixels: tuple
    voxels: tuple
    place: tuple
    shares: sparse.csr_array | None
    cells: tuple
    addresses: dict = field(default_factory=dict)


@dataclass(frozen=True)
class _Piece:
    """A connected part of a region in one slice: its bounding box and its pixels inside that."""

    height: int
    width: int
    pixels: tuple
    voxels: tuple


def _gather(data, layout):
    """The voxels of a layout; in one step of memory addresses where the array allows it.

    That is many times faster than three indices per voxel. Turning axes to the canonical
    orientation leaves arrays with negative strides, which are undone first.
    """
    flips = tuple(slice(None, None, -1 if step < 0 else 1) for step in data.strides)
    straight = data[flips]
    order = "F" if straight.flags.f_contiguous else "C"
    if not straight.flags[f"{order}_CONTIGUOUS"]:
        return data[layout.voxels]
    key = (order, tuple(step < 0 for step in data.strides))
    if key not in layout.addresses:
        voxels = [
            data.shape[axis] - 1 - layout.voxels[axis] if key[1][axis] else layout.voxels[axis]
            for axis in range(3)
        ]
        layout.addresses[key] = np.ravel_multi_index(voxels, data.shape, order=order)
    return straight.reshape(-1, order=order).take(layout.addresses[key])


def _named(regions):
    if isinstance(regions, (int, np.integer)):
        if not 1 <= regions <= len(LANGUAGE_REGIONS):
            raise ValueError(
                f"regions must be 1 to {len(LANGUAGE_REGIONS)} of the published ones, or a list "
                f"of names; got {regions!r}"
            )
        return LANGUAGE_REGIONS[:regions]
    regions = (regions,) if isinstance(regions, str) else tuple(regions)
    if not regions:
        raise ValueError("regions is empty; name at least one region of the atlas")
    doubled = [name for name in regions if regions.count(name) > 1]
    if doubled:
        raise ValueError(f"regions names {doubled[0]!r} twice; every region has one cell")
    return regions


def _canonical(grid):
    return nib.as_closest_canonical(
        nib.Nifti1Image(np.broadcast_to(np.uint8(0), grid.shape[:3]), grid.affine)
    )


@lru_cache(maxsize=16)
def _layout(mosaic, shape, affine):
    """Which voxel every pixel of the canvas shows; made once per grid."""
    labels = mosaic.atlas.labels_on(Grid(shape, affine))
    order = {name: number for number, name in enumerate(mosaic.atlas.regions, start=1)}
    boxes = ndimage.find_objects(labels)
    pieces = []
    for region in mosaic.regions:
        number = order[region]
        box, found = boxes[number - 1] if number <= len(boxes) else None, []
        if box is not None:
            corner = [each.start for each in box]
            axis = PLANES[mosaic.plane]
            found = _pieces(labels[box] == number, corner, axis, mosaic.slice_step)
        if not found:
            raise AtlasError(
                f"region {region!r} of atlas {mosaic.atlas.name!r} has no voxel in an image of "
                f"{shape} voxels; bring the image into the atlas' space or drop the region"
            )
        pieces.append(found)
    height, width, cells, corners = _arrange(pieces, mosaic.size or (1, 1))
    places = [
        (top + y, left + x, piece)
        for found, (top, left, _, _), inside in zip(pieces, cells, corners, strict=True)
        for piece, (y, x) in zip(found, inside, strict=True)
    ]
    pixels = tuple(
        np.concatenate([corner[axis] + corner[2].pixels[axis] for corner in places])
        for axis in (0, 1)
    )
    voxels = tuple(
        np.concatenate([piece.voxels[axis] for *_, piece in places]) for axis in range(3)
    )
    canvas = (height, width)
    if mosaic.size is None:
        picture, start, scale = canvas, (0, 0), 1.0
        content, shares = canvas, None
    else:
        picture = mosaic.size
        scale = min(1.0, picture[0] / height, picture[1] / width)
        content = tuple(max(1, round(n * scale)) for n in canvas)
        start = tuple((whole - part) // 2 for whole, part in zip(picture, content, strict=True))
        shares = None if content == canvas else pixel_shares(canvas, content, pixels)
    place = tuple(slice(a, a + n) for a, n in zip(start, content, strict=True))
    in_picture = tuple(
        tuple(
            slice(start[axis] + round(scale * cell[axis]), start[axis] + round(scale * end))
            for axis, end in ((0, cell[0] + cell[2]), (1, cell[1] + cell[3]))
        )
        for cell in cells
    )
    return _Layout(picture, canvas, pixels, voxels, place, shares, in_picture)


def _pieces(mask, corner, axis, step):
    """The connected pieces of a region in its slices, the tallest first.

    `mask` is the part of a volume, from `corner` on, that holds the region.
    """
    right, up = (n for n in range(3) if n != axis)
    present = np.flatnonzero(mask.any(axis=(right, up)))
    pieces = []
    for index in present[(len(present) - 1) % step // 2 :: step]:
        # as in SliceMosaic: the second axis points up, the first one right
        section = np.take(mask, index, axis=axis).T[::-1]
        numbered, _ = ndimage.label(section, structure=np.ones((3, 3)))
        for number, box in enumerate(ndimage.find_objects(numbered), start=1):
            down, across = np.nonzero(numbered[box] == number)
            voxel = [None] * 3
            voxel[axis] = np.full(len(down), index + corner[axis])
            voxel[up] = section.shape[0] - 1 - (down + box[0].start) + corner[up]
            voxel[right] = across + box[1].start + corner[right]
            size = (box[0].stop - box[0].start, box[1].stop - box[1].start)
            pieces.append(_Piece(*size, (down, across), tuple(voxel)))
    return sorted(pieces, key=lambda piece: (-piece.height, -piece.width))  # ties: slice order


def _arrange(pieces, size):
    """The best layout of the cells: canvas height and width, cells, corners of the pieces in them.

    Regions fill rows in their order; the number of rows and the width of the canvas are tried out,
    and within a row the width of a cell follows the area of its pieces.
    """
    areas = np.array(
        [sum((piece.height + GAP) * (piece.width + GAP) for piece in found) for found in pieces]
    )
    ideal = np.sqrt(areas.sum() * size[1] / size[0])
    middle = (np.cumsum(areas) - areas / 2) / areas.sum()
    tries = []
    for n_rows in range(1, len(pieces) + 1):
        rows = (middle * n_rows).astype(int)
        members = [np.flatnonzero(rows == row) for row in np.unique(rows)]
        tries += [(members, round(factor * ideal)) for factor in _CANVAS_WIDTHS]
    widest = np.array([max(piece.width for piece in found) + GAP for found in pieces])
    tallest = np.array([found[0].height + GAP for found in pieces])
    bounds = [_least(areas, widest, tallest, *each) for each in tries]
    hopes = [min(size[0] / height, size[1] / width) for height, width in bounds]
    kept = {}

    def tried(number):
        layout = _in_rows(pieces, areas, widest, *tries[number], kept)
        return layout, min(size[0] / layout[0], size[1] / layout[1])

    # What the most hopeful layout reaches, others must be able to reach, or they are not packed.
    floor = tried(int(np.argmax(hopes)))[1] * (1 - 1e-6)
    best, best_scale = None, 0.0
    for number in np.flatnonzero(np.array(hopes) >= floor):
        layout, scale = tried(number)
        if scale > best_scale * (1 + 1e-9):
            best, best_scale = layout, scale
    return best


def _least(areas, widest, tallest, rows, width):
    """Height and width of a canvas below which no packing of these rows of cells comes."""
    height, whole = 0, 0
    for members in rows:
        cells = _cell_widths(areas, widest, members, width)
        height += np.maximum(tallest[members], areas[members] / cells).max()
        whole = max(whole, int(cells.sum()))
    return height, whole


def _cell_widths(areas, widest, members, width):
    shares = np.round(width * areas[members] / areas[members].sum()).astype(int)
    return np.maximum(shares, widest[members])


def _in_rows(pieces, areas, widest, rows, width, kept):
    cells, corners, top, whole = [], [], 0, 0
    for members in rows:
        left, packed = 0, []
        widths = _cell_widths(areas, widest, members, width).tolist()
        for member, cell_width in zip(members.tolist(), widths, strict=True):
            key = (member, cell_width)
            if key not in kept:
                kept[key] = _shelves(pieces[member], cell_width)
            inside, cell_height = kept[key]
            packed.append((left, cell_width, cell_height))
            corners.append(inside)
            left += cell_width
        height = max(cell_height for *_, cell_height in packed)
        cells += [(top, cell_left, height, cell_width) for cell_left, cell_width, _ in packed]
        top, whole = top + height, max(whole, left)
    return top, whole, cells, corners


def _shelves(pieces, width):
    """First-fit shelf packing of pieces that are sorted by height; corners and height needed."""
    free, tops, corners, bottom = [], [], [], 0
    for piece in pieces:
        needed = piece.width + GAP
        number = next((k for k, room in enumerate(free) if room >= needed), len(free))
        if number == len(free):
            free.append(width)
            tops.append(bottom)
            bottom += piece.height + GAP
        corners.append((tops[number], width - free[number]))
        free[number] -= needed
    return corners, bottom
