"""Views that make one picture of a patient, below which tabular values can be drawn as symbols.

Symbols are scaled inside `fit`, and apart from the brain.
"""

import warnings
from numbers import Integral

from imaging.parameters import COUNT, Interval, parameter, parameters
from imaging.symbols import symbol_cells

from ..cells import listing
from ..symbols import SymbolScaler
from .collecting import Strip
from .places import MosaicPlace, PicturePlace
from .protocol import Reading
from .scans import ScanParameters, ScanView

__all__ = ["CanvasParameters", "CanvasView"]

LEAST_SYMBOL = 24  # pixels


@parameters
class CanvasParameters(ScanParameters):
    """What pictures of the brain look like, and the symbols below them."""

    plane: str | tuple = parameter(
        "axial",
        kind='{"axial", "coronal", "sagittal"} or tuple of these',
        doc="Several planes are for stitched slices only.",
    )
    slice_step: int | None = parameter(
        None,
        COUNT,
        None,
        kind="int",
        doc="In voxels. None spreads stitched slices evenly, and shows regions in all slices.",
    )
    mosaic_size: int | tuple | None = parameter(
        128,
        kind="int, (height, width) or None",
        doc="Pixels of the picture of the brain; a 2-D picture is resized to fit into it.",
    )
    symbols: object = parameter(
        None,
        "array-like",
        dict,
        None,
        kind="list of str, dict of str to str, or None",
        doc="""
        Columns drawn as symbols below the brain, with the look of each if it is a dict (see
        `SymbolScaler`); they are scaled inside `fit`, and apart from the brain.
        """,
    )
    symbol_limits: dict | None = parameter(
        None,
        dict,
        None,
        kind="dict of str to (low, high)",
        doc="Ends of the scales of continuous symbols, in units of the column.",
    )
    symbol_size: int | None = parameter(
        None,
        Interval(Integral, 8, None, closed="left"),
        None,
        kind="int",
        doc="""
        Pixels of a symbol's cell. None: as large as one cell of the last feature maps of the
        network, and at least 24; smaller symbols share a cell with what is beside them, as small
        regions do, which a warning names.
        """,
    )


class CanvasView(CanvasParameters, ScanView):
    """Base of the views that make one picture; a subclass says how, by its `mosaic`.

    The first argument of its `recipe` is that mosaic.

    Attributes
    ----------
    picture_shape_ : (int, int)
        Height and width in pixels, with the symbols.
    symbol_rows_ : int
        Rows of pixels below the brain that hold symbols.
    scaler_ : SymbolScaler
        Where there are symbols.
    """

    def mosaic(self):
        """The layout of the brain's picture that these parameters describe."""
        raise NotImplementedError

    @property
    def mosaic_(self):
        """The layout of the brain's picture, as it was in `fit_prepare`."""
        return self.recipe_.arguments[0]

    @property
    def cells_(self):
        """Where everything lies in the picture, for `imaging.show_canvas`: name to (slice, slice).

        Regions (or "brain"), then one cell per symbol.
        """
        height, width = self.picture_shape_
        brain = {"brain": (slice(0, height - self.symbol_rows_), slice(0, width))}
        return {**(self.region_cells() or brain), **self.symbol_cells()}

    def drawn_columns(self):
        """Columns drawn as symbols."""
        return [] if self.symbols is None else list(self.symbols)

    def fit_prepare(self, X, columns, reading=None):
        reading = reading or Reading()
        images = super().fit_prepare(X, columns, reading)
        self.picture_shape_ = images.shape[1:]
        self._warn_of_small_cells(reading)
        return images

    def place(self):
        """Where the picture lies in the brain; 2-D pictures lie nowhere."""
        if self.grid_.affine is None:
            return PicturePlace(self.grid_)
        return MosaicPlace(self.mosaic_, self.grid_)

    def brain(self, images):
        """Pictures without the rows that hold symbols."""
        return images[..., : images.shape[-2] - self.symbol_rows_, :]

    def symbol_cells(self):
        """Where each symbol lies in the picture, name to (slice, slice)."""
        if not self.symbol_rows_:
            return {}
        height, width = self.picture_shape_
        top, names = height - self.symbol_rows_, [each.name for each in self.scaler_.symbols_]
        return {
            name: (slice(top + down.start, top + down.stop), across)
            for name, (down, across) in symbol_cells(names, (self.symbol_rows_, width)).items()
        }

    def symbol_values(self, X):
        """Positions on the scales of the symbols, ndarray of shape (n_patients, n_symbols)."""
        return self.scaler_.transform(X) if self.symbol_rows_ else super().symbol_values(X)

    def _strip(self, X, shape, reading, fitting):
        width = shape[-1]
        if fitting:
            self.symbol_rows_ = 0
            if self.symbols is not None:
                self.scaler_ = SymbolScaler(self.symbols, limits=self.symbol_limits).fit(X)
                size = self.symbol_size or max(LEAST_SYMBOL, _cell_pixels(reading, shape))
                per_row = max(1, width // size)
                count = len(self.scaler_.symbols_)
                self.symbol_rows_ = size * -(-count // per_row)
        if not self.symbol_rows_:
            return None
        values = self.scaler_.transform(X)
        return Strip(values, self.scaler_.symbols_, (self.symbol_rows_, width))

    def _warn_of_small_cells(self, reading):
        """Say which regions and symbols are too small for the network to tell their place."""
        pixels = _cell_pixels(reading, self.picture_shape_)
        small = [
            name
            for name, (down, across) in self.cells_.items()
            if (down.stop - down.start) * (across.stop - across.start) < pixels**2
        ]
        if small:
            warnings.warn(
                f"{listing(small)}: smaller than one cell of this network's last feature maps "
                f"({pixels} x {pixels} pixels), so each shares a cell with what is beside it; "
                "raise mosaic_size (or symbol_size), or show fewer regions",
                UserWarning,
                stacklevel=8,
            )


def _cell_pixels(reading, shape):
    """Pixels that one cell of the network's last feature maps stands for; 0 if nobody knows."""
    return 0 if reading.cell_pixels is None else reading.cell_pixels(shape) or 0
