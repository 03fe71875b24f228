"""How many lesions a patient has: one large infarct is not the same as ten small ones.

In acute stroke the number says what the volume does not, that emboli came more than once; it is
counted while the volume is measured, so each mask is read once for both.
"""

import numpy as np

from imaging.metrics import count_lesions
from imaging.parameters import NOT_NEGATIVE, POSITIVE, parameter, parameters
from imaging.volumes import mask_volume_ml, read_mask, to_spacing

from ..cells import as_numbers
from ..errors import CohortError
from .measurement import MaskMeasurement

__all__ = ["LesionCount"]

_SAME_ML, _SAME_SHARE = 0.01, 0.01  # by which volumes may differ that count as the same


@parameters
class LesionCount(MaskMeasurement):
    """Add the number of each patient's lesions to the table, and their volume if wanted.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    columns_ : list of str
        The columns that `transform` adds.
    feature_names_in_ : ndarray of str
    n_features_in_ : int

    Notes
    -----
    The count depends on how the masks came about, more than the volume does. Who draws generously
    joins what another leaves apart; a threshold on diffusion images leaves specks that a hand would
    not draw; resampling with nearest neighbours tears thin bridges, and linear resampling followed
    by a threshold at 0.5 wipes out single voxels. Compare counts within one data set only, whose
    masks were made in one way, and do not carry a model that uses them to masks of another origin
    without a look at the distribution of the counts there. `least_mm3` makes the count more robust
    against specks; with it the lacunes go that are as small.

    The table stays a pandas DataFrame whatever ``set_output`` says but "pandas": image columns
    cannot live in a plain numeric array.

    Examples
    --------
    >>> import nibabel as nib, numpy as np, pandas as pd
    >>> data = np.zeros((20, 20, 20), np.uint8)
    >>> data[2:12, 2:12, 2:12] = data[15, 15, 15] = 1
    >>> X = pd.DataFrame({"lesion": [nib.Nifti1Image(data, np.eye(4))]}, index=["sub-1"])
    >>> LesionCount(volume="lesion_ml").fit_transform(X).drop(columns="lesion")
           lesion_count  lesion_ml
    sub-1           2.0      1.001
    >>> LesionCount(least_mm3=20, log=True).fit_transform(X)["log_lesion_count"].round(3).item()
    0.693
    """

    image: str = parameter(
        "lesion",
        str,
        first=True,
        doc="""
        Column that holds the lesion masks: paths of NIfTI files, or nibabel images. Above 0.5 is
        lesion. An empty mask holds 0 lesions.
        """,
    )
    log: bool = parameter(
        False,
        "boolean",
        doc="""
        Add ``log(1 + count)`` instead of the count: the step from one lesion to two counts for
        more than that from eleven to twelve.
        """,
    )
    least_mm3: float = parameter(
        0.0,
        NOT_NEGATIVE,
        doc="Lesions of a smaller volume are not counted, mm³ (voxels, at 1 mm); 0 counts all.",
    )
    spacing_mm: object = parameter(
        1.0,
        POSITIVE,
        None,
        kind="float or None",
        doc="""
        Size of the voxels on which lesions are counted; masks of another size are resampled first
        (nearest neighbour). None counts on each mask's own voxels: only for masks that all have
        the same.
        """,
    )
    column: object = parameter(
        None,
        str,
        None,
        kind="str or None",
        doc='Name of the column to add; None: "lesion_count", with `log` "log_lesion_count".',
    )
    volume: object = parameter(
        None,
        str,
        None,
        kind="str or None",
        doc="""
        Name of a second column to add, the volume of the lesion in ml as `LesionSize` gives it,
        from the same reading of the mask; None adds none. A column of this name that is there
        already stays, if it says the same.
        """,
    )

    def fit(self, X, y=None):
        """Check the table; nothing is learnt from the images. See `ImageMeasurement.fit`."""
        super().fit(X, y)
        if self.output == "table" and self.volume in X.columns:
            self.columns_ = self.columns_[:1]
        return self

    def _prepare(self):
        counted = self.column or ("log_lesion_count" if self.log else "lesion_count")
        return [counted] if self.volume is None else [counted, self.volume]

    def _keys(self):
        counted = "log1p_count" if self.log else "count"
        return [counted] if self.volume is None else [counted, "ml"]

    def _refuse_taken(self, X, columns, remedy=""):
        super()._refuse_taken(X, columns[:1], remedy)

    def _beside(self, X, values):
        if len(self.columns_) < values.shape[1]:
            self._check_volumes(X, values[:, 1])
        return super()._beside(X, values[:, : len(self.columns_)])

    def _check_volumes(self, X, measured):
        given = as_numbers(X[self.volume]).to_numpy(dtype=float)
        apart = ~(np.abs(given - measured) <= np.maximum(_SAME_ML, _SAME_SHARE * measured))
        if apart.any():
            row = int(np.flatnonzero(apart)[0])
            raise CohortError(
                f"row {X.index[row]!r}: column {self.volume!r} says {given[row]:.4g} ml, and the "
                f"mask in {self.image!r} has {measured[row]:.4g} ml; drop the column: "
                f"X = X.drop(columns={self.volume!r})"
            )

    def _measurement(self):
        # Whatever the columns, all of it is measured: a change of `log` or `volume` reads no file.
        spacing = None if self.spacing_mm is None else float(self.spacing_mm)
        return _lesion_count, float(self.least_mm3), spacing, self._wanted_labels()


def _lesion_count(source, least_mm3, spacing_mm, labels):
    mask = read_mask(source, labels=labels)
    counted = mask if spacing_mm is None else to_spacing(mask, spacing_mm)
    count = count_lesions(counted, least_mm3=least_mm3)
    return {"count": count, "log1p_count": float(np.log1p(count)), "ml": mask_volume_ml(mask)}
