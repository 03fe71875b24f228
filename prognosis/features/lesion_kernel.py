"""The whole lesion as features: masks in coarse cubes, compared between patients.

For large lesions no atlas is needed: what counts is which parts of the brain are gone, and a linear
model of all cubes with a ridge penalty says it. Patients being fewer than cubes, it is as well
written in the patients' coordinates, which any learner takes.
"""

from typing import ClassVar

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from imaging.cubes import cube_image, shares_of
from imaging.parameters import COUNT, POSITIVE, parameter, parameters
from imaging.spaces.checking import of_placed_mask

from .measurement import PlacedMeasurement

__all__ = ["LesionKernel"]

_LEAST_SHARE = 1e-10  # of the largest eigenvalue: below it is rounding


@parameters
class LesionKernel(PlacedMeasurement):
    """Add coordinates in which distances between patients are those between their lesion masks.

    Masks are averaged over cubes, centred by their training mean and scaled by one number. The
    added columns are the scores on all their principal components, so their products are the
    linear kernel: ridge regression on them is ridge regression on the cubes.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    cubes_ : ndarray of shape (n_cubes,), int
        The cubes that training patients' lesions touch; others can tell nothing.
    mean_ : ndarray of shape (n_cubes,)
    scale_ : float
    columns_ : list of str
        The columns that `transform` adds.
    feature_names_in_ : ndarray of str
    n_features_in_ : int

    Notes
    -----
    `search_space` has `length` ready for `OptunaSearch`.

    Made for large chronic lesions (ridge over ``alpha`` from 10^-3 to 10^4 on all components). In
    acute stroke with small lesions it adds nothing to size and severity; region loads as a block
    do. A fitted transformer holds the training patients' masks in coarse cubes: treat a pickle of
    it as data of patients.

    Examples
    --------
    >>> import pandas as pd
    >>> from imaging import load_atlas
    >>> aal = load_atlas("aal")
    >>> regions = ["Insula_L", "Insula_R", "Thalamus_L"]
    >>> X = pd.DataFrame({"lesion": [aal.region_mask(name) for name in regions]})
    >>> features = LesionKernel().fit_transform(X).drop(columns="lesion")
    >>> features.shape, round(float((features**2).sum(axis=1).mean() ** 0.5), 3)
    ((3, 2), 3.2)
    """

    only_measures: ClassVar = False

    image: str = parameter(
        "lesion",
        str,
        first=True,
        doc="""
        Column that holds the lesion masks, in template (MNI) space: paths of NIfTI files, or
        nibabel images. Above 0.5 is lesion.
        """,
    )
    cube_mm: float = parameter(4.0, POSITIVE, doc="Edge of the cubes, mm.")
    length: float = parameter(
        3.2, POSITIVE, doc="Root mean square length of the training rows, as of `BlockScaler`."
    )
    n_components: object = parameter(
        None,
        COUNT,
        None,
        kind="int or None",
        doc="Components to keep; None keeps all, and with fewer information is lost.",
    )
    prefix: str = parameter(
        "kernel_", str, doc="The added columns are ``<prefix>1``, ``<prefix>2``, ... ."
    )

    def fit(self, X, y=None):
        """Read the training patients' masks and learn centre, scale and components.

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
            If the image column is missing, a column to be added exists already, or a mask is
            missing, cannot be read, or lies outside the template.
        ValueError
            If a parameter has a wrong type or value.
        """
        self._learn(X)
        return self

    def fit_transform(self, X, y=None):
        """`fit`, then `transform` of the same patients, whose masks are read once."""
        return self._beside(X, self._scores(self._learn(X)))

    def transform(self, X):
        """Coordinates of patients.

        Parameters
        ----------
        X : DataFrame
            The columns that were there during fit.

        Returns
        -------
        DataFrame
            `X` with the new columns at its end (float64). `X` itself is not changed.

        Raises
        ------
        CohortError
            As `fit`.
        """
        self._check_again(X)
        return self._beside(X, self._scores(self._measured(X)))

    def coefficient_image(self, coefficients):
        """Where linear coefficients of the added columns lie in the brain.

        Parameters
        ----------
        coefficients : array-like of shape (n_added_columns,)
            Of a linear model on the columns as they come, in their order.

        Returns
        -------
        nibabel.Nifti1Image, float32
            What a wholly lesioned cube adds to the prediction; 0 where no training patient has a
            lesion.
        """
        check_is_fitted(self, "columns_")
        weights = self._dual @ np.asarray(coefficients, dtype=float)
        values = self._rows.T @ weights - self.mean_ * weights.sum()
        return cube_image(self.cubes_, values / self.scale_**2, self.cube_mm)

    def _prepare(self):
        return []

    def _measurement(self):
        return _cubes, float(self.cube_mm), self._wanted_labels(), self.space == "template"

    def _learn(self, X):
        super().fit(X)
        seen = self._measured(X)
        self.cubes_ = np.unique(np.concatenate([cubes for cubes, _ in seen]))
        self._rows = self._sparse(seen)
        self.mean_ = np.asarray(self._rows.mean(axis=0)).ravel()
        kernel = self._products(self._rows)
        self.scale_ = float(np.sqrt(kernel.trace() / len(seen)) / self.length) or 1.0
        values, vectors = np.linalg.eigh(kernel / self.scale_**2)
        kept = np.flatnonzero(values > _LEAST_SHARE * max(values[-1], 0))[::-1]
        kept = kept[: self.n_components]
        vectors = vectors[:, kept]
        # Eigenvectors have no sign of their own: the largest entry is made positive.
        largest = np.abs(vectors).argmax(axis=0)
        vectors = vectors * np.sign(vectors[largest, np.arange(len(kept))])
        self._dual = vectors / np.sqrt(values[kept])
        columns = [f"{self.prefix}{k + 1}" for k in range(len(kept))]
        self._refuse_taken(X, columns)
        self.columns_ = columns
        return seen

    def _scores(self, seen):
        return self._products(self._sparse(seen)) / self.scale_**2 @ self._dual

    def _sparse(self, seen):
        """Rows of shares over the training patients' cubes."""
        numbers, shares, ends = [], [], [0]
        for cubes, share in seen:
            places = np.searchsorted(self.cubes_, cubes)
            places[places == len(self.cubes_)] = 0
            known = self.cubes_[places] == cubes if len(self.cubes_) else np.zeros(0, bool)
            numbers.append(places[known])
            shares.append(np.asarray(share, dtype=float)[known])
            ends.append(ends[-1] + len(numbers[-1]))
        parts = np.concatenate(shares), np.concatenate(numbers), ends
        return sparse.csr_matrix(parts, shape=(len(seen), len(self.cubes_)))

    def _products(self, rows):
        """Products of patients' centred rows with the centred ones of the training patients."""
        raw = (rows @ self._rows.T).toarray()
        new, old = rows @ self.mean_, self._rows @ self.mean_
        return raw - new[:, None] - old[None, :] + self.mean_ @ self.mean_


def _cubes(source, cube_mm, labels, checked):
    return of_placed_mask(lambda mask: shares_of(mask, cube_mm), source, labels, checked)
