"""Where the lesion is: the fraction of each region of an atlas that it takes.

Together with lesion size this is what conventional, lesion-based prognosis knows of the image.
"""

import numpy as np

from imaging.atlases import load_atlas
from imaging.atlases.loads import loads_of
from imaging.parameters import FROM_ZERO, Each, parameter, parameters
from imaging.storage.caching import Identified

from .measurement import PlacedMeasurement, of_placed_mask

__all__ = ["RegionLoad"]


@parameters
class RegionLoad(PlacedMeasurement):
    """Add the lesion load of each region (0 = spared, 1 = wholly lesioned) to the table.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    atlas_ : imaging.Atlas
    columns_ : list of str
        The columns that `transform` adds: the names of the regions, after `prefix`.
    feature_names_in_ : ndarray of str
    n_features_in_ : int

    Notes
    -----
    The table stays a pandas DataFrame whatever ``set_output`` says but "pandas": image columns
    cannot live in a plain numeric array.

    Examples
    --------
    >>> import pandas as pd
    >>> from imaging import load_atlas
    >>> insula = load_atlas("aal").region_mask("Insula_L")
    >>> X = pd.DataFrame({"lesion": [insula]}, index=["sub-1"])
    >>> RegionLoad(regions=["Insula_L", "Putamen_L"]).fit_transform(X).drop(columns="lesion")
           Insula_L  Putamen_L
    sub-1       1.0        0.0
    """

    image: str = parameter(
        "lesion",
        str,
        first=True,
        doc="""
        Column that holds the lesion masks, in the space of the atlas (MNI for the named ones):
        paths of NIfTI files, or nibabel images. Above 0.5 is lesion.
        """,
    )
    atlas: object = parameter(
        "aal",
        kind="str, path, nilearn Bunch or imaging.Atlas",
        doc="See `imaging.load_atlas`.",
    )
    regions: object = parameter(
        None,
        str,
        Each(str),
        None,
        kind="sequence of str or None",
        doc="""
        Regions to add; None adds all of the atlas. Choosing regions by looking at the outcome
        belongs inside the fold (for example sklearn's SelectKBest after this step).
        """,
    )

    prefix: str = parameter(
        "",
        str,
        doc="""
        Put before the names of the regions, so that a `BlockEncoder` can tell these columns by
        their names: ``prefix="place_"``, ``blocks={"place": "place_*"}``.
        """,
    )
    least_voxels: int = parameter(
        0,
        FROM_ZERO,
        doc="""
        Regions of fewer voxels, on the atlas' own grid, are left out where `regions` is None: one
        voxel of a lesion decides their load.
        """,
    )

    def _prepare(self):
        self.atlas_ = load_atlas(self.atlas)
        if self.regions is None:
            labels = np.asanyarray(self.atlas_.image.dataobj)
            sizes = np.bincount(labels.ravel(), minlength=max(self.atlas_.names) + 1)
            self._regions = [
                name
                for label, name in self.atlas_.names.items()
                if sizes[label] >= self.least_voxels
            ]
        else:
            regions = [self.regions] if isinstance(self.regions, str) else self.regions
            self.atlas_.labels_of(regions)
            self._regions = list(dict.fromkeys(regions))
        return [f"{self.prefix}{name}" for name in self._regions]

    def _keys(self):
        return self._regions

    def _measurement(self):
        checked = self.space == "template" and self.atlas_.in_template
        atlas = Identified(self.atlas_, self.atlas_.identity)
        return _region_load, atlas, self._wanted_labels(), checked


def _region_load(source, identified, labels, checked):
    return of_placed_mask(lambda mask: loads_of(mask, identified.value), source, labels, checked)
