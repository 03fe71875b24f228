"""From the scans of a hospital to the template: image columns of a cohort, registered and moved.

What was found of a patient, a transform and its quality, is kept in `memory` or beside the images;
the images themselves are moved from the raw scan in one resampling.
"""

import os
from numbers import Integral

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted, validate_data

from imaging.grids import Grid
from imaging.parameters import POSITIVE, Each, StrOptions, parameter, parameters
from imaging.registration import registering
from imaging.storage.models import ModelFileError

from ..cells import listing
from ..columns import TakesTables, check_cohort, check_training
from ..errors import CohortError
from ..workers import shows_progress
from .lesion_size import load_segmenter
from .measurement import opened_network
from .moving import Job, checked_name, settled

__all__ = ["ToTemplate"]


@parameters
class ToTemplate(TakesTables, TransformerMixin, BaseEstimator):
    """Bring raw scans, and lesion masks with them, to the MNI template.

    The scans of the reference column are registered: brain and tissues are found in any contrast,
    an affine is fitted, then a warp from which the lesion is left out. Other image columns follow
    by the same transform, after a rigid movement between the scans. The table keeps its columns;
    the images in them now lie in template space.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    model_ : object
        What finds the brain.
    segmenter_ : LesionSegmenter or None
    columns_ : list of str
        Image columns that `transform` gives back.
    reference_ : str
        The one of them that is registered.
    masks_ : str or None
        The one of them that holds the masks of the lesions.
    feature_names_in_ : ndarray of str
    n_features_in_ : int

    Notes
    -----
    Nothing is learnt from patients, so nothing can leak between folds. A whole comparison registers
    every patient once, if `memory` or `folder` is given.

    Examples
    --------
    >>> prepare = ToTemplate("flair", lesion="lesion", memory="cache")
    >>> in_template = prepare.fit_transform(X)  # doctest: +SKIP
    >>> prepare.quality(X)[["failure", "reasons"]].head()  # doctest: +SKIP
    """

    image: object = parameter(
        "t1w",
        str,
        Each(str),
        first=True,
        kind="str or sequence of str",
        doc="Image column, or several of the same patients: paths or nibabel images, 3-D, raw.",
    )
    lesion: object = parameter(
        None,
        str,
        os.PathLike,
        HasMethods("predict"),
        None,
        kind="str, path, fitted imaging.LesionSegmenter or None",
        doc="""
        The column with the masks of the lesions, drawn on the reference scan; they are left out of
        what is matched, and brought to the template, too. Or what finds them on the reference scan:
        a segmenter, or the name or file of one; the table then gets a column "lesion". None: there
        are none. A large lesion that is not named here pulls the brain out of its shape.
        """,
    )
    labels: object = parameter(
        None,
        Integral,
        Each(Integral),
        None,
        kind="int, sequence of int or None",
        doc="Where the masks hold labels instead of 0 and 1, those that are lesion.",
    )
    template: str = parameter(
        "MNI152",
        StrOptions({"MNI152"}),
        kind='{"MNI152"}',
        doc="ICBM 2009a, as nilearn brings it along.",
    )
    spacing_mm: float = parameter(1.0, POSITIVE, doc="Voxels of the images in the template.")
    nonlinear: bool = parameter(True, "boolean", doc="False: the affine is all.")
    reference: object = parameter(
        None,
        str,
        None,
        kind="str or None",
        doc="Which image column is registered. None: the first one.",
    )
    failed: str = parameter(
        "refuse",
        StrOptions({"refuse", "missing"}),
        kind='{"refuse", "missing"}',
        doc="""
        What `transform` does when patients failed, after all others are done. "refuse": an error
        that names every one of them. "missing": their images are missing in the table, with a
        warning that names them.
        """,
    )
    model: object = parameter(
        "coordinates",
        str,
        os.PathLike,
        HasMethods("predict"),
        kind="str, path or object with ``predict``",
        doc="What finds brain, tissues and places in the template, see `imaging.register`.",
    )
    folder: object = parameter(
        None,
        str,
        os.PathLike,
        None,
        kind="str, path or None",
        doc="""
        Where images, transforms and quality of every patient are written, so that a run that was
        stopped goes on where it was; the table then holds paths. None: the table holds the images,
        some 35 MB each at 1 mm.
        """,
    )
    memory: object = parameter(
        None,
        str,
        os.PathLike,
        HasMethods("cache"),
        None,
        kind="str, path, joblib.Memory or None",
        doc="""
        Where transforms are kept between calls and sessions; None keeps nothing. The folder holds
        pickles, and opening one runs whatever code it holds: name only folders that nobody else can
        write to.
        """,
    )
    n_jobs: object = parameter(
        None,
        Integral,
        None,
        kind="int or None",
        doc="Patients at once, in threads; each needs up to 2 GB.",
    )
    verbose: object = parameter(
        None,
        Integral,
        "boolean",
        None,
        kind="int, bool or None",
        doc="Whether progress is shown on stderr; None: where it is a terminal.",
    )

    def fit(self, X, y=None):
        """Look at the parameters and the columns of the table; no image is read.

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
            If a column is missing.
        ModelFileError
            If `model` or `lesion` names no model.
        ValueError
            If a parameter has a wrong type or value.
        """
        self._validate_params()
        images = self._images()
        lesion = self._lesion_column(X)
        columns = [*images, *([lesion] if lesion else [])]
        check_cohort(X, columns)
        check_training(X)
        validate_data(self, X, skip_check_array=True)
        if self.reference is not None and self.reference not in images:
            raise CohortError(
                f"reference {self.reference!r} is none of the image columns {listing(images)}"
            )
        self.segmenter_ = None
        if self.lesion is not None and lesion is None:
            self.segmenter_ = self._opened_segmenter(X)
            if "lesion" in X.columns:
                raise CohortError(
                    'a column "lesion" exists already, and the segmenter would replace it; name '
                    'it, lesion="lesion", or drop it'
                )
            columns.append("lesion")
        self.model_ = registering.opened_model(self.model)
        self.columns_, self.reference_ = columns, self._reference()
        self.masks_ = "lesion" if self.segmenter_ is not None else lesion
        return self

    def transform(self, X):
        """Register the patients and bring their images to the template.

        Parameters
        ----------
        X : DataFrame
            The columns that were there during fit.

        Returns
        -------
        DataFrame
            `X` with images in template space: paths with `folder`, else nibabel images, scans
            float32 and masks uint8. `X` itself is not changed.

        Raises
        ------
        CohortError
            If a patient failed and ``failed="refuse"``: the message names each, and why.

        Warns
        -----
        UserWarning
            If patients failed and ``failed="missing"``; the message names each.
        """
        results = self._results(X, moved=True)
        self._tell_failures(X, results)
        moved = X.copy()
        for column in self.columns_:
            cells = np.empty(len(X), dtype=object)
            cells[:] = [None if one.failed else one.images[column] for one in results]
            moved[column] = pd.Series(cells, index=X.index, dtype=object)
        moved.attrs = dict(X.attrs)
        if "cohort" in X.attrs:
            known = X.attrs["cohort"].get("image_columns", [])
            images = list(dict.fromkeys([*known, *self.columns_]))
            moved.attrs["cohort"] = {**X.attrs["cohort"], "image_columns": images}
        return moved

    def registered(self, X):
        """What became of each patient, failures too: transforms, images and quality.

        Parameters
        ----------
        X : DataFrame

        Returns
        -------
        list of prognosis.features.moving.Settled
        """
        return self._results(X, moved=True)

    def quality(self, X):
        """How good each registration is; nobody is left out, whatever failed.

        Parameters
        ----------
        X : DataFrame

        Returns
        -------
        DataFrame, one row per patient
            ``failed``, ``failure`` (0 to 1), ``reasons`` in words, and the numbers of
            `imaging.registration.Quality`.
        """
        rows = [one.row() for one in self._results(X, moved=False)]
        table = pd.DataFrame(rows, index=X.index)
        return table[["failed", "failure", "reasons", *table.columns.drop(list(_FIRST))]]

    def to_native(self, X, maps, *, column=None, interpolation="linear"):
        """Bring images of the template back to the raw scans: maps, masks, regions.

        Parameters
        ----------
        X : DataFrame
            The raw scans, as in `transform`.
        maps : nibabel spatial image, path, or sequence of these
            In template space; one for all patients, or one for each.
        column : str, default=None
            Image column whose scans' voxels are wanted. None: the reference.
        interpolation : {"linear", "nearest", "mask"}, default="linear"
            "nearest" for labels, "mask" for masks of 0 and 1.

        Returns
        -------
        list of nibabel.Nifti1Image
            On the voxels, orientation and affine of each patient's scan; None where `maps` has
            None or the patient failed.

        Raises
        ------
        CohortError
            If there are not as many maps as patients, or a patient failed and
            ``failed="refuse"``.
        """
        column = self._reference() if column is None else column
        if isinstance(maps, (str, os.PathLike)) or hasattr(maps, "affine"):
            maps = [maps] * len(X)
        if len(maps) != len(X):
            raise CohortError(f"{len(maps)} maps were given for {len(X)} patients; give one each")
        if column not in self._images():
            raise CohortError(
                f"column {column!r} is none of the image columns {listing(self._images())}"
            )
        results = self._results(X, moved=False)
        self._tell_failures(X, results)
        back = []
        for one, source, image in zip(results, X[column], maps, strict=True):
            if one.failed or image is None:
                back.append(None)
                continue
            transform = one.transforms[column]
            back.append(transform.to_native(image, Grid.of(source), interpolation=interpolation))
        return back

    def transforms(self, X):
        """The transform of each patient's reference scan.

        Parameters
        ----------
        X : DataFrame

        Returns
        -------
        list of imaging.registration.Transform or None
        """
        reference = self._reference()
        return [
            None if one.error else one.transforms[reference]
            for one in self._results(X, moved=False)
        ]

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of the transformed table.

        Parameters
        ----------
        input_features : None
            Ignored: the names seen during fit are used.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self, "columns_")
        names = list(self.feature_names_in_)
        return np.array([*names, *(c for c in self.columns_ if c not in names)], dtype=object)

    def _opened_segmenter(self, X):
        try:
            return opened_network(
                self.lesion,
                load_segmenter,
                role="segmenter",
                owner="ToTemplate",
                instead="a column, or the name of a pretrained one",
            )
        except ModelFileError as error:
            raise CohortError(
                f"lesion={self.lesion!r} is neither a column of the table nor a model ({error}); "
                f"the columns are {listing(X.columns)}"
            ) from error

    def _images(self):
        return [self.image] if isinstance(self.image, str) else list(self.image)

    def _reference(self):
        return self._images()[0] if self.reference is None else self.reference

    def _lesion_column(self, X):
        """The column of the masks, or None."""
        known = isinstance(X, pd.DataFrame) and isinstance(self.lesion, str)
        return self.lesion if known and self.lesion in X.columns else None

    def _results(self, X, moved):
        check_is_fitted(self, "columns_")
        check_cohort(X, [name for name in self.columns_ if name in self.feature_names_in_])
        validate_data(self, X, reset=False, skip_check_array=True)
        if self.folder is not None:
            for row in X.index:
                checked_name(row)
        job = Job(
            images=tuple(self._images()),
            reference=self._reference(),
            lesion=self.masks_,
            labels=None if self.labels is None else tuple(np.unique(self.labels).tolist()),
            model=self.model_,
            segmenter=self.segmenter_,
            nonlinear=self.nonlinear,
            spacing_mm=float(self.spacing_mm),
            folder=self.folder,
            memory=self.memory,
        )
        wanted = [name for name in self.columns_ if name in self.feature_names_in_]
        patients = zip(X.index, X[wanted].to_dict("records"), strict=True)
        found = Parallel(n_jobs=self.n_jobs, prefer="threads", return_as="generator")(
            delayed(settled)(job, row, cells, moved) for row, cells in patients
        )
        return list(_shown(found, len(X), self.verbose))

    def _tell_failures(self, X, results):
        bad = {row: one.why for row, one in zip(X.index, results, strict=True) if one.failed}
        if not bad:
            return
        said = "; ".join(f"{row!r}: {why}" for row, why in list(bad.items())[:_SHOWN])
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        text = f"{len(bad)} of {len(X)} patients could not be brought to the template: {said}{more}"
        if self.failed == "refuse":
            raise CohortError(
                f"{text}. Look at their scans; drop these rows, or leave their images out with "
                'failed="missing"'
            )
        import warnings

        warnings.warn(text, UserWarning, stacklevel=3)


_FIRST = ("failed", "failure", "reasons")
_SHOWN = 20


def _shown(found, total, verbose):
    if not shows_progress(verbose):
        return found
    from tqdm import tqdm

    return tqdm(found, total=total, desc="to the template", unit="patient")
