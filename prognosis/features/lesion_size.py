"""Lesion size in millilitres, the first number of every stroke prognosis.

It comes from a mask and its affine, so the resolution of the mask does not matter.
"""

import numpy as np

from imaging.volumes import read_mask, voxel_volume_ml

from .measurement import ImageMeasurement

__all__ = ["LesionSize"]


class LesionSize(ImageMeasurement):
    """Add the volume of each patient's lesion to the table.

    Parameters
    ----------
    image : str, default="lesion"
        Column that holds the lesion masks: paths of NIfTI files, or nibabel images. Above 0.5 is
        lesion. An empty mask is a lesion of 0 ml.
    column : str, default="lesion_ml"
        Name of the column to add, in millilitres.
    memory : str, joblib.Memory or None, default=None
        Where measured values are kept between calls and sessions; None keeps nothing.
    n_jobs : int or None, default=None
        Threads that read in parallel.

    Attributes
    ----------
    columns_ : list of str
        The columns that `transform` adds.
    feature_names_in_ : ndarray of str
    n_features_in_ : int

    Notes
    -----
    The table stays a pandas DataFrame whatever ``set_output`` says but "pandas": image columns
    cannot live in a plain numeric array.

    Examples
    --------
    >>> import nibabel as nib, numpy as np, pandas as pd
    >>> mask = nib.Nifti1Image(np.ones((5, 5, 10), np.uint8), np.diag([2, 2, 2, 1]))
    >>> X = pd.DataFrame({"lesion": [mask], "age": [70]}, index=["sub-1"])
    >>> LesionSize().fit_transform(X)[["age", "lesion_ml"]]
           age  lesion_ml
    sub-1   70        2.0
    """

    def __init__(self, image="lesion", *, column="lesion_ml", memory=None, n_jobs=None):
        self.image = image
        self.column = column
        self.memory = memory
        self.n_jobs = n_jobs

    def _prepare(self):
        return [self.column]

    def _keys(self):
        return ["ml"]

    def _measurement(self):
        return (_lesion_size,)


def _lesion_size(source):
    mask = read_mask(source)
    return {"ml": np.count_nonzero(mask.dataobj) * voxel_volume_ml(mask)}
