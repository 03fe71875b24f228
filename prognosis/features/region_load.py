"""Where the lesion is: the fraction of each region of an atlas that it takes.

Together with lesion size this is what conventional, lesion-based prognosis knows of the image.
"""

import numpy as np
import pandas as pd

from imaging.atlases import load_atlas
from imaging.atlases.loads import loads_of
from imaging.parameters import FROM_ZERO, Each, StrOptions, parameter, parameters
from imaging.spaces.checking import of_placed_mask
from imaging.storage.caching import Identified

from ..errors import CohortError
from .measurement import PlacedMeasurement

__all__ = ["RegionLoad"]

_ROOTS = {"square": np.sqrt, "cube": np.cbrt}


@parameters
class RegionLoad(PlacedMeasurement):
    """Add the lesion load of each region (0 = spared, 1 = wholly lesioned) to the table.

    Loads are shares of regions and have one scale, so they need no other: standardised one by one,
    a region that three patients have lesioned weighs as much as the internal capsule. Learners with
    a penalty take them as they are (``Ridge``), as one block (`BlockEncoder`), or ready made as
    `region_model`.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    atlas_ : imaging.Atlas
    columns_ : list of str
        The columns that `transform` adds: the names of the regions, after `prefix`.
    patients_ : Series or None
        How many training patients have a lesion in each region, of all regions that there were to
        choose from; None where `minimum_patients` is 0.
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

    Before any learner of scikit-learn:

    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from prognosis import make_stroke_cohort
    >>> X, y = make_stroke_cohort(12, spacing_mm=8, random_state=0)
    >>> loads = RegionLoad(root="square", minimum_patients=3, output="added")
    >>> make_pipeline(loads, Ridge()).fit(X, X["severity"]).predict(X).shape
    (12,)
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

    minimum_patients: int = parameter(
        0,
        FROM_ZERO,
        doc="""
        Regions in which fewer training patients have a lesion are left out: from them there is
        little to learn. It is counted in `fit`, and so inside the fold; the outcome is not looked
        at. 0 takes all, and `fit` then reads no mask.
        """,
    )
    root: object = parameter(
        None,
        StrOptions({"square", "cube"}),
        None,
        kind='{"square", "cube"} or None',
        doc="""
        Taken of every load: from nothing to a tenth of a region the outcome changes more than from
        half of it to six tenths.
        """,
    )

    def fit(self, X, y=None):
        """Look at the parameters and the columns; with `minimum_patients`, read the masks too.

        Parameters
        ----------
        X : DataFrame
            One row per patient.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        CohortError
            If the image column is missing, a column to be added exists already, or no region is
            lesioned in `minimum_patients`; with these, also as `transform`.
        ValueError
            If a parameter has a wrong type or value.
        """
        self._learn(X)
        return self

    def fit_transform(self, X, y=None):
        """`fit`, then `transform` of the same patients, whose masks are read once."""
        measured = self._learn(X)
        return self.transform(X) if measured is None else self._beside(X, self._values(measured))

    def transform(self, X):
        self._check_again(X)
        return self._beside(X, self._values(self._measured(X)))

    transform.__doc__ = PlacedMeasurement.transform.__doc__

    def _learn(self, X):
        super().fit(X)
        self.patients_ = None
        if not self.minimum_patients:
            return None
        measured = self._measured(X)
        names = self._regions
        counts = [sum(loads[name] > 0 for loads in measured) for name in names]
        self.patients_ = pd.Series(counts, index=names, name="patients")
        self._regions = [name for name in names if self.patients_[name] >= self.minimum_patients]
        if not self._regions:
            raise CohortError(
                f"column {self.image!r}: no region of atlas {self.atlas_.name!r} is lesioned in "
                f"{self.minimum_patients} of {len(X)} patients (at most in "
                f"{self.patients_.max()}); lower minimum_patients"
            )
        self.columns_ = [f"{self.prefix}{name}" for name in self._regions]
        return measured

    def _values(self, measured):
        rows = [[loads[name] for name in self._regions] for loads in measured]
        values = np.array(rows, dtype=float).reshape(len(rows), len(self._regions))
        return values if self.root is None else _ROOTS[self.root](values)

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

    def _measurement(self):
        checked = self.space == "template" and self.atlas_.in_template
        atlas = Identified(self.atlas_, self.atlas_.identity)
        return _region_load, atlas, self._wanted_labels(), checked


def _region_load(source, identified, labels, checked):
    return of_placed_mask(lambda mask: loads_of(mask, identified.value), source, labels, checked)
