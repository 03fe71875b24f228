"""What a pretrained encoder sees in a scan, as columns: no outcome has taught it anything."""

import os
from dataclasses import MISSING
from typing import ClassVar

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils._param_validation import HasMethods

from imaging.parameters import COUNT, parameter, parameters
from imaging.storage.caching import Identified

from ..errors import CohortError
from .measurement import ImageMeasurement, opened_network

__all__ = ["ScanEmbedding"]


@parameters
class ScanEmbedding(ImageMeasurement):
    """Add the vector that a pretrained encoder gives of each scan to the table.

    The encoder is taken as it is; principal components of its vectors, where they are wanted, are
    learnt from the training patients.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    columns_ : list of str
        The columns that `transform` adds.
    encoder_ : SequenceInvariantEncoder
    pca_ : sklearn.decomposition.PCA or None
    feature_names_in_ : ndarray of str
    n_features_in_ : int

    Notes
    -----
    Other than `ImageEmbedding`, whose networks are trained on the outcome and therefore
    cross-fitted, this gives a scan the same vector in every fold. The table stays a
    pandas DataFrame whatever ``set_output`` says but "pandas". A linear probe is
    ``make_pipeline(ScanEmbedding("t1w", encoder=..., output="added"), LogisticRegression())``.

    Examples
    --------
    An encoder of a few weights, hardly trained, on simulated heads:

    >>> from imaging import LabelMapSource, SequenceInvariantEncoder
    >>> from prognosis import make_stroke_cohort
    >>> X, y = make_stroke_cohort(4, spacing_mm=8, random_state=0)
    >>> encoder = SequenceInvariantEncoder(
    ...     channels=(4, 4), source=LabelMapSource(spacing_mm=8), spacing_mm=8, patch_size=16,
    ...     batch_size=2, steps_per_epoch=1, epochs=1, random_state=0,
    ... ).fit()
    >>> ScanEmbedding("t1w", encoder=encoder, n_components=2).fit_transform(X).columns[-2:].tolist()
    ['scan_0', 'scan_1']
    """

    only_measures: ClassVar = False

    image: str = parameter(
        "t1w",
        str,
        first=True,
        doc="""
        Column that holds the scans: paths of NIfTI files or nibabel images, of any contrast and
        orientation, as the scanner made them.
        """,
    )
    encoder: object = parameter(
        MISSING,
        str,
        os.PathLike,
        HasMethods("transform"),
        kind="str, path or fitted imaging.SequenceInvariantEncoder",
        doc="""
        A file that `SequenceInvariantEncoder.save` wrote, the name of a pretrained one, or an
        encoder. ``clone`` and so ``cross_validate`` forget what an encoder learnt that was just
        fitted (one that was loaded stays what it is): wrap it,
        ``sklearn.frozen.FrozenEstimator(encoder)``.
        """,
    )
    n_components: object = parameter(
        None,
        COUNT,
        None,
        kind="int or None",
        doc="""
        Principal components of the training patients' vectors to add instead of the vectors: some
        hundred numbers are many for a few hundred patients. None adds the vectors.
        """,
    )
    prefix: str = parameter("scan_", str, doc="Put before the number of each added column.")

    def fit(self, X, y=None):
        """Load the encoder; learn principal components where they are wanted.

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
            If a column or an image is missing or wrong, or there are fewer patients than
            components.
        ModelFileError
            If `encoder` names no encoder.
        ValueError
            If a parameter has a wrong type or value.
        """
        super().fit(X)
        self.pca_ = None
        if self.n_components is not None:
            vectors = self._vectors(X)
            if self.n_components > min(vectors.shape):
                raise CohortError(
                    f"n_components={self.n_components} of {len(X)} patients with "
                    f"{vectors.shape[1]} features; give {min(vectors.shape)} or less"
                )
            self.pca_ = PCA(self.n_components, svd_solver="full").fit(vectors)
        return self

    def transform(self, X):
        """Add the vectors, or their components.

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
            If an image is missing or cannot be read: the message names its row.
        """
        self._check_again(X)
        vectors = self._vectors(X)
        return self._beside(X, vectors if self.pca_ is None else self.pca_.transform(vectors))

    def _prepare(self):
        self.encoder_ = opened_network(
            self.encoder, _load_encoder, role="encoder", owner="ScanEmbedding", instead="a file"
        )
        count = self.n_components or self.encoder_.network_.encoder.n_features
        return [f"{self.prefix}{number}" for number in range(count)]

    def _vectors(self, X):
        return np.array([measured["vector"] for measured in self._measured(X)], dtype=float)

    def _measurement(self):
        return _vector, Identified(self.encoder_, self.encoder_.identity())


def _vector(source, encoder):
    # An error names the place in a list, which here holds one scan.
    from imaging.pretraining.applying import summary

    return {"vector": summary(encoder.value, source)}


def _load_encoder(path):
    from imaging.pretraining import SequenceInvariantEncoder

    return SequenceInvariantEncoder.load(path)
