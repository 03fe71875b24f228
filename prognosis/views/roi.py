"""Regions of an atlas, each in a cell of its own, packed into one picture per patient.

The published hybrid of White et al. 2024 draws tabular values as symbols below them.
"""

from numbers import Integral

import joblib

from imaging.atlases import load_atlas
from imaging.grids import Grid
from imaging.intensity import rescale_intensity
from imaging.parameters import parameter, parameters
from imaging.roi_mosaics import RoiMosaic
from imaging.storage.bank import Recipe

from ..errors import CohortError
from .canvas import CanvasParameters, CanvasView
from .choosing import choose_regions, has_published
from .scans import open_grid, read_on_grid

__all__ = ["RoiParameters", "RoiSymbols"]


@parameters
class RoiParameters(CanvasParameters):
    """Which regions are packed."""

    atlas: object = parameter(
        "aal",
        kind="str, path, nilearn Bunch or imaging.Atlas",
        doc="See `imaging.load_atlas`; scans must be in its space.",
    )
    regions: list | int = parameter(
        8,
        kind="list of str or int",
        doc="""
        Regions to show, each in its own cell; a number takes the first so many of
        `imaging.LANGUAGE_REGIONS`, or, of an atlas that has not these, those that are lesioned most
        often in the training patients (see `lesion`); a warning and ``regions_`` say which.
        Choosing regions by looking at the outcome belongs inside the fold.
        """,
    )
    lesion: str | None = parameter(
        None,
        str,
        None,
        kind="str or None",
        doc="""
        Column of lesion masks by which regions of another atlas are chosen where `regions` is a
        number. None: the image column itself, if it may be empty as masks may (`allow_empty`); else
        the largest regions are shown.
        """,
    )


@parameters
class RoiSymbols(RoiParameters, CanvasView):
    """See regions of an atlas, packed into one picture, and symbols below them.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    grid_ : Grid
        Of the training images.
    mosaic_ : RoiMosaic
        The layout of the brain's picture.
    regions_ : list of str
        Those that are shown.
    cells_ : dict of str to (slice, slice)
        Where regions and symbols lie in the picture, for `imaging.show_canvas`.
    scaler_ : SymbolScaler
        Where there are symbols.
    symbol_rows_ : int
        Rows of pixels below the brain that hold symbols.

    References
    ----------
    White et al. 2024, NeuroImage: Clinical 43:103638, arXiv 2310.19174.

    Examples
    --------
    >>> from prognosis import RoiSymbols, make_stroke_cohort
    >>> X, _ = make_stroke_cohort(3, spacing_mm=8, random_state=0)
    >>> view = RoiSymbols(regions=2, mosaic_size=64, symbols=["age"])
    >>> view.fit_prepare(X, ["t1w"]).array().shape, list(view.cells_)
    ((3, 1, 88, 64), ['Temporal_Sup_L', 'Temporal_Mid_L', 'age'])
    """

    def mosaic(self):
        """The layout that these parameters describe: `imaging.RoiMosaic`."""
        return RoiMosaic(
            self.atlas,
            self._named_regions(),
            plane=self.plane,
            slice_step=self.slice_step or 1,
            size=self.mosaic_size,
        )

    def candidates(self, X, columns, reading=None):
        """The regions that `fit_prepare` would show of these patients: list of str.

        Parameters and errors are those of `fit_prepare`.
        """
        atlas, count = load_atlas(self.atlas), self.regions
        if not _chosen_in_fit(atlas, count):
            return list(RoiMosaic(atlas, count).regions)
        lesion = self.lesion or (columns[0] if self.allow_empty else None)
        return choose_regions(
            atlas, count, X, lesion, space=self.space, reading=reading, stacklevel=8
        )

    def _learn_layout(self, X, columns, reading):
        self.regions_ = self.candidates(X, columns, reading)

    def _named_regions(self):
        """What was chosen in `fit_prepare`, else the parameter, if that is clear before it."""
        if hasattr(self, "regions_"):
            return self.regions_
        atlas = load_atlas(self.atlas)
        if _chosen_in_fit(atlas, self.regions):
            raise CohortError(
                f"regions={self.regions} of atlas {atlas.name!r}, which has not the published "
                "ones, are chosen in fit by the training patients' lesions; fit first, or name "
                "the regions"
            )
        return self.regions

    def recipe(self):
        """How one scan becomes a picture."""
        mosaic = self.mosaic()
        layout = (mosaic.regions, mosaic.plane, mosaic.slice_step, mosaic.size)
        others = (open_grid(self.grid), self.allow_empty)
        identity = joblib.hash((mosaic.atlas.identity, layout, others))
        return Recipe(_read_regions, (mosaic, *others), identity)

    def augmentation(self):
        """The picture shifts and brightens a little; symbols stay."""
        from imaging.learning.augmentation import TileAugmentation

        if self.mirror:
            raise ValueError(
                "mirror=True: packed regions cannot be mirrored, since they lie on one side of the "
                "brain; leave it off"
            )
        # Pieces are not parts of one cross-section: turning the canvas would move far ones most.
        return TileAugmentation(rotation_deg=0, zoom=0, shift=0.01, fixed_rows=self.symbol_rows_)

    def asks_for_template(self):
        """Whether what lies where matters: it does if the atlas is one of template space."""
        return self.space == "template" and self.mosaic_.atlas.in_template

    def region_cells(self):
        """Where each region lies in the picture, name to (slice, slice)."""
        return self.mosaic_.cells(self.grid_)


def _chosen_in_fit(atlas, regions):
    """Whether `regions` is a number, and the atlas has not the published ones."""
    return isinstance(regions, Integral) and regions > 0 and not has_published(atlas, regions)


def _read_regions(source, mosaic, grid, allow_empty):
    """The regions of one scan as a picture in [0, 1], the grid it had, and a note on its space."""
    volume, note = read_on_grid(source, grid, allow_empty, stored=True)
    return rescale_intensity(mosaic.pack(volume)), Grid.of(volume), note
