"""Cross-sections of a scan, stitched into one picture per patient; 2-D pictures as they are.

Needs no lesion map: the network looks at the scan itself (Roohani et al. 2018, arXiv 1811.10520).
"""

from numbers import Integral

import joblib

from imaging.grids import Grid, open_image
from imaging.intensity import rescale_intensity
from imaging.mosaics import EXTENTS, SliceMosaic
from imaging.parameters import COUNT, StrOptions, parameter, parameters
from imaging.resizing import resize_picture
from imaging.storage.bank import Recipe
from imaging.volumes import is_picture, is_raster, read_picture

from .canvas import CanvasParameters, CanvasView
from .scans import open_grid, read_on_grid

__all__ = ["StitchedParameters", "StitchedSlices"]


@parameters
class StitchedParameters(CanvasParameters):
    """Which cross-sections are stitched."""

    rows: int = parameter(
        4,
        COUNT,
        doc="""
        Tiles down, for each plane. Ignored for 2-D pictures, as are `columns`, `first_slice`,
        `plane` and `slice_step`.
        """,
    )
    columns: int = parameter(4, COUNT, doc="Tiles across, for each plane.")
    first_slice: int | None = parameter(
        None,
        Integral,
        None,
        kind="int",
        doc="""
        In voxels of the canonical (RAS+) image; None spreads or centres the slices (see `extent`
        and `imaging.SliceMosaic`).
        """,
    )
    extent: str = parameter(
        "auto",
        StrOptions({"auto", *EXTENTS}),
        kind='{"auto", "volume", "brain"}',
        doc="""
        What the slices are spread over. "brain": where the template's brain lies, so that no tile
        is spent on neck and air; for scans in template space. "auto": "brain" there, unless
        `first_slice` or `slice_step` says which slices to show.
        """,
    )


@parameters
class StitchedSlices(StitchedParameters, CanvasView):
    """See cross-sections, stitched into one picture.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    grid_ : Grid
        Of the training images.
    mosaic_ : SliceMosaic
        The layout of the brain's picture.
    cells_ : dict of str to (slice, slice)
        Where the brain and the symbols lie in the picture, for `imaging.show_canvas`.
    scaler_ : SymbolScaler
        Where there are symbols.
    symbol_rows_ : int
        Rows of pixels below the brain that hold symbols.

    References
    ----------
    Roohani et al. 2018, arXiv 1811.10520.

    Examples
    --------
    >>> from prognosis import StitchedSlices, make_stroke_cohort
    >>> X, _ = make_stroke_cohort(3, spacing_mm=8, random_state=0)
    >>> view = StitchedSlices(mosaic_size=64, symbols=["age"])
    >>> view.fit_prepare(X, ["t1w"]).array().shape, list(view.cells_)
    ((3, 1, 88, 64), ['brain', 'age'])
    """

    def mosaic(self):
        """The layout that these parameters describe: `imaging.SliceMosaic`."""
        if self.extent == "brain" and self.space == "native":
            raise ValueError(
                'extent="brain" needs scans in template space, where it is known where the brain '
                'lies; with space="native" give first_slice and slice_step instead'
            )
        free = self.space == "template" and self.first_slice is None and self.slice_step is None
        return SliceMosaic(
            plane=self.plane,
            rows=self.rows,
            columns=self.columns,
            first_slice=self.first_slice,
            slice_step=self.slice_step,
            extent=("brain" if free else "volume") if self.extent == "auto" else self.extent,
            size=self.mosaic_size,
        )

    def recipe(self):
        """How one scan becomes a picture."""
        arguments = (self.mosaic(), open_grid(self.grid), self.allow_empty)
        return Recipe(_read_mosaic, arguments, joblib.hash(arguments))

    def augmentation(self):
        """Tiles turn, shift, grow and brighten a little; symbols stay."""
        from imaging.learning.augmentation import TileAugmentation

        volume = self.grid_.affine is not None
        if self.mirror and volume and "sagittal" in self.mosaic_.plane:
            raise ValueError(
                "mirror=True: sagittal tiles cannot be mirrored, since their left and right are "
                'front and back; use plane="axial" or "coronal"'
            )
        tiles = self.mosaic_.tiles if volume else (1, 1)
        return TileAugmentation(tiles=tiles, mirror=self.mirror, fixed_rows=self.symbol_rows_)


def _read_mosaic(source, mosaic, grid, allow_empty):
    """One scan as a picture in [0, 1], with the grid it had, and a note on its space."""
    if not is_raster(source):
        source = open_image(source)  # once, for all that follows
    if is_picture(source):
        picture = read_picture(source)
        place = Grid(picture.shape)
        if mosaic.size is not None:
            picture = resize_picture(picture, mosaic.size)
        return rescale_intensity(picture), place
    volume, note = read_on_grid(source, grid, allow_empty)
    return rescale_intensity(mosaic.stitch(volume)), Grid.of(volume), note
