"""What every transformer shares that measures an image column and adds the numbers to the table.

Images are measured one by one, in threads, and what was measured is kept in `memory`; within a
comparison all folds and models share it.
"""

import copy
import os
from numbers import Integral
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted, validate_data

from imaging.parameters import Each, StrOptions, parameter, parameters
from imaging.storage.bank import keeping
from imaging.storage.caching import as_memory

from ..cells import listing
from ..columns import TakesTables, check_cohort, check_training, map_images
from ..errors import CohortError
from ..spaces import ReadsTemplate, judge_spaces

__all__ = [
    "AddsColumns",
    "ImageMeasurement",
    "MaskMeasurement",
    "PlacedMeasurement",
    "measuring_steps",
    "opened_network",
]


@parameters
class AddsColumns:
    """What is given back: the table with new columns at its end, or these alone."""

    output: str = parameter(
        "table",
        StrOptions({"table", "added"}),
        kind='{"table", "added"}',
        doc="""
        "table": `transform` gives the whole table, the new columns at its end, for the next step
        that reads it. "added": the new columns alone, for a step that takes numbers only
        (``make_pipeline(RegionLoad(output="added"), Ridge())``) and for `ColumnTransformer`.
        """,
    )

    def _beside(self, X, values):
        """The table with the new columns at its end, or these alone."""
        added = pd.DataFrame(values, index=X.index, columns=self.columns_)
        together = added if self.output == "added" else pd.concat([X, added], axis=1)
        together.attrs = dict(X.attrs)
        return together

    def _names_out(self, before):
        names = self.columns_ if self.output == "added" else [*before, *self.columns_]
        return np.array(names, dtype=object)

    def _refuse_taken(self, X, columns, remedy=""):
        taken = [name for name in columns if name in X.columns]
        if taken and self.output == "table":
            raise CohortError(
                f"column {taken[0]!r} exists already, and {type(self).__name__} would add it; "
                f"drop it first: X = X.drop(columns={taken[:3]!r}){remedy}"
            )


@parameters
class ImageMeasurement(AddsColumns, TakesTables, TransformerMixin, BaseEstimator):
    """Base: read every image of one column, add the numbers as columns, keep all others.

    A subclass declares the column that it measures (`image`), names the added columns (`_prepare`)
    and gives the function that measures one image, with its further arguments (`_measurement`);
    that returns a dict, of which `_keys` go into the columns.

    Parameters
    ----------
    {parameters}
    """

    # Whether `fit` looks at the parameters alone; a subclass that learns from patients says no.
    only_measures: ClassVar = True

    memory: object = parameter(
        None,
        str,
        os.PathLike,
        HasMethods("cache"),
        None,
        kind="str, path, joblib.Memory or None",
        doc="""
        Where measured values are kept between calls and sessions; None keeps nothing. The folder
        holds pickles, and opening one runs whatever code it holds: name only folders that nobody
        else can write to. Damaged entries are computed again. How large it may grow,
        `imaging.CacheFolder` and ``prognosis cache`` say.
        """,
    )
    n_jobs: object = parameter(
        None, Integral, None, kind="int or None", doc="Threads that read in parallel."
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
            If the image column is missing, or a column to be added exists already.
        ValueError
            If a parameter has a wrong type or value.
        """
        self._validate_params()
        check_cohort(X, [self.image])
        check_training(X)
        validate_data(self, X, skip_check_array=True)
        columns = self._prepare()
        self._refuse_taken(X, columns)
        self.columns_ = columns
        return self

    def transform(self, X):
        """Measure the images.

        Parameters
        ----------
        X : DataFrame
            The columns that were there during fit.

        Returns
        -------
        DataFrame
            `X` with the new columns at its end (float64), or these alone, see `output`. `X` itself
            is not changed.

        Raises
        ------
        CohortError
            If an image is missing or cannot be read: the message names its row.
        """
        self._check_again(X)
        keys = self._keys()
        rows = [[measured[key] for key in keys] for measured in self._measured(X)]
        return self._beside(X, np.array(rows, dtype=float).reshape(len(X), len(keys)))

    def _check_again(self, X):
        check_is_fitted(self, "columns_")
        check_cohort(X, [self.image])
        known = self.feature_names_in_ if hasattr(self, "feature_names_in_") else X.columns
        missing = [name for name in known if name not in X.columns]
        added = [name for name in X.columns if name not in set(known)]
        if missing or added:
            said = [f"{listing(missing)} missing"] if missing else []
            said += [f"{listing(added)} new"] if added else []
            raise CohortError(
                f"the columns are not those that {type(self).__name__} was fitted on "
                f"({', '.join(said)}), and feature names must match; give the table as in fit"
            )
        validate_data(self, X, reset=False, skip_check_array=True)

    def _measured(self, X):
        """What the function of `_measurement` returns for every image, in the order of the rows."""
        measure, *arguments = self._measurement()
        measure = self._kept(measure)

        def one(cell):
            return measure(cell, *arguments)

        return map_images(one, X, self.image, n_jobs=self.n_jobs)

    def _kept(self, measure):
        """A function of one image whose results are kept."""
        return keeping(as_memory(self.memory), measure)

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
        return self._names_out(self.feature_names_in_)


@parameters
class MaskMeasurement(ImageMeasurement):
    """Base of what measures lesion masks."""

    labels: object = parameter(
        None,
        Integral,
        Each(Integral),
        None,
        kind="int, sequence of int or None",
        doc="""
        Where the images hold labels instead of 0 and 1, those that are lesion: ``labels=[1, 4]``.
        """,
    )

    def _wanted_labels(self):
        return None if self.labels is None else tuple(np.unique(self.labels).tolist())


@parameters
class PlacedMeasurement(ReadsTemplate, MaskMeasurement):
    """Base of what measures where lesions are; the function of `_measurement` says so of each.

    It returns what it measured, and a `SpaceVerdict` (None where none is asked for).
    """

    def _measured(self, X):
        found = super()._measured(X)
        judge_spaces(X, self.image, [verdict for _, verdict in found], stacklevel=4)
        return [measured for measured, _ in found]


def measuring_steps(pipeline, counts=lambda step: True):
    """How many of the first steps of a pipeline measure images; the last one is never among them.

    Parameters
    ----------
    pipeline : Pipeline
    counts : callable
        Whether an `ImageMeasurement` is one of those that are meant.
    """
    number = 0
    for _, step in pipeline.steps[:-1]:
        if not (isinstance(step, ImageMeasurement) and counts(step)):
            break
        number += 1
    return number


def opened_network(given, load, *, role, owner, instead):
    """What was given as a trained network of `imaging`, loaded or unwrapped.

    Parameters
    ----------
    given : str, os.PathLike, fitted estimator, or a FrozenEstimator of one
    load : callable
        Takes the path of a model file.
    role, owner : str
        What the network is to whom, for the error.
    instead : str
        What to give instead, for the error.

    Raises
    ------
    CohortError
        If it is not fitted.
    ModelFileError
        If it names no model.
    """
    if isinstance(given, (str, os.PathLike)):
        from imaging.storage.models import model_path

        return load(model_path(given))
    given = getattr(given, "estimator", given)  # of a FrozenEstimator
    try:
        check_is_fitted(given, "network_")
    except NotFittedError as error:
        if getattr(given, "frozen", False):  # it was loaded, then cloned: it loads itself again
            return copy.copy(given).fit()
        raise CohortError(
            f"the {role} of {owner} is not fitted, or was cloned; give {instead}, or "
            f"sklearn.frozen.FrozenEstimator({role})"
        ) from error
    return given
