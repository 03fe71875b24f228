"""Where the lesion is: the fraction of each region of an atlas that it takes.

Together with lesion size this is what conventional, lesion-based prognosis knows of the image.
"""

from imaging.atlases import load_atlas, region_load
from imaging.storage.caching import Identified

from .measurement import ImageMeasurement

__all__ = ["RegionLoad"]


class RegionLoad(ImageMeasurement):
    """Add the lesion load of each region (0 = spared, 1 = wholly lesioned) to the table.

    Parameters
    ----------
    image : str, default="lesion"
        Column that holds the lesion masks, in the space of the atlas (MNI for the named ones):
        paths of NIfTI files, or nibabel images. Above 0.5 is lesion.
    atlas : str, path, nilearn Bunch or imaging.Atlas, default="aal"
        See `imaging.load_atlas`.
    regions : sequence of str or None, default=None
        Regions to add; None adds all of the atlas. Choosing regions by looking at the outcome
        belongs inside the fold (for example sklearn's SelectKBest after this step).
    memory : str, joblib.Memory or None, default=None
        Where measured values are kept between calls and sessions; None keeps nothing. The folder
        holds pickles, and opening one runs whatever code it holds: name only folders that nobody
        else can write to. Damaged entries are computed again.
    n_jobs : int or None, default=None
        Threads that read in parallel.

    Attributes
    ----------
    atlas_ : imaging.Atlas
    columns_ : list of str
        The columns that `transform` adds: the names of the regions.
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

    def __init__(self, image="lesion", *, atlas="aal", regions=None, memory=None, n_jobs=None):
        self.image = image
        self.atlas = atlas
        self.regions = regions
        self.memory = memory
        self.n_jobs = n_jobs

    def _prepare(self):
        self.atlas_ = load_atlas(self.atlas)
        if self.regions is None:
            return self.atlas_.regions
        regions = [self.regions] if isinstance(self.regions, str) else self.regions
        self.atlas_.labels_of(regions)
        return list(dict.fromkeys(regions))

    def _keys(self):
        return self.columns_

    def _measurement(self):
        return _region_load, Identified(self.atlas_, self.atlas_.identity)


def _region_load(source, identified):
    return region_load(source, identified.value)
