"""Lesion size in millilitres, the first number of every stroke prognosis.

It comes from a mask and its affine, so the resolution of the mask does not matter. Where there are
scans only, a segmenter makes the mask first.
"""

import os

from sklearn.utils._param_validation import HasMethods

from imaging.parameters import parameter, parameters
from imaging.storage.caching import Identified
from imaging.volumes import mask_volume_ml, read_mask

from .measurement import MaskMeasurement, opened_network

__all__ = ["LesionSize", "load_segmenter"]


@parameters
class LesionSize(MaskMeasurement):
    """Add the volume of each patient's lesion to the table.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    columns_ : list of str
        The columns that `transform` adds.
    segmenter_ : LesionSegmenter or None
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

    image: str = parameter(
        "lesion",
        str,
        first=True,
        doc="""
        Column that holds the lesion masks: paths of NIfTI files, or nibabel images. Above 0.5 is
        lesion. An empty mask is a lesion of 0 ml. With a segmenter, the column with the scans.
        """,
    )
    segmenter: object = parameter(
        None,
        str,
        os.PathLike,
        HasMethods("predict"),
        None,
        kind="str, path, fitted imaging.LesionSegmenter or None",
        doc="""
        Segments the scans: the name of a pretrained model ("synthetic-small"), a file that
        `LesionSegmenter.save` wrote, or a segmenter. ``clone`` and so ``cross_validate`` forget
        what a bare segmenter learnt: wrap it, ``sklearn.frozen.FrozenEstimator(segmenter)``, and
        never give one that was trained on the patients it is to segment. Give `memory`, too, and
        no patient is segmented twice.
        """,
    )
    column: str = parameter("lesion_ml", str, doc="Name of the column to add, in millilitres.")

    def _prepare(self):
        self.segmenter_ = self.segmenter and opened_network(
            self.segmenter,
            load_segmenter,
            role="segmenter",
            owner="LesionSize",
            instead="the name of a pretrained one",
        )
        return [self.column]

    def _keys(self):
        return ["ml"]

    def _measurement(self):
        if self.segmenter_ is None:
            return _lesion_size, self._wanted_labels()
        return _segmented_size, Identified(self.segmenter_, self.segmenter_.identity())


def _lesion_size(source, labels):
    return {"ml": mask_volume_ml(read_mask(source, labels=labels))}


def _segmented_size(source, segmenter):
    (mask,) = segmenter.value.predict([source])
    return {"ml": mask_volume_ml(mask)}


def load_segmenter(path):
    """The segmenter in a file."""
    from imaging.segmentation import LesionSegmenter

    return LesionSegmenter.load(path)
