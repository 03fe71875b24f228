"""What an explanation holds: maps of every patient, tables beside them, and how to look at both."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from imaging.atlases import load_atlas

from ...errors import CohortError
from .regions import region_table

__all__ = ["Explanation"]


@dataclass(eq=False, repr=False)
class Explanation:
    """Attribution of what a model predicts, patient by patient.

    Attributes
    ----------
    pictures : ndarray of shape (n_patients, n_columns, ...), float32
        Attribution of every number that the networks see, before it goes back into the brain:
        pixels of the mosaic or the coarse volume, without symbols; one channel per image column.
    tabular : DataFrame
        One row per patient, one column per tabular variable (encoded columns, indicators and
        symbols of a variable together). Empty columns where the model sees none.
    outputs : DataFrame
        One row per patient: ``output``, what is explained (log odds of the class, or the predicted
        value); ``reference``, the same for the baseline; ``completeness_error``, by how much the
        attributions of the patient miss their difference, relative to it; ``n_steps``; ``n_models``
        that explained the patient. The error is NaN for methods whose attributions need not add up.
    place : object
        The geometry of the pictures.
    columns : list of str
        Image columns, in the order of the channels.
    background : ndarray of shape (n_columns, ...)
        Mean training image as the networks see it.
    metadata : dict
        ``method``, ``target``, ``unit``, ``speaks_for`` (the outcome in words), ``baseline`` and
        ``cohort``, which says whether the patients are simulated.
    region_values : DataFrame or None
        For occlusion: what every region of the atlas adds, one row per patient.
    study : tuple
        The models with their inputs and the settings, which the checks need.

    Examples
    --------
    >>> from prognosis import StitchedSliceClassifier, explain, make_stroke_cohort
    >>> X, y = make_stroke_cohort(12, spacing_mm=8, random_state=0)
    >>> cnn = StitchedSliceClassifier("t1w", mosaic_size=48, epochs=1, random_state=0).fit(X, y)
    >>> found = explain(cnn, X[:3], "gradient")
    >>> found
    <Explanation of log odds of 1 by gradient: 3 SIMULATED patients, images t1w>
    >>> found.picture(X.index[0]).shape
    (48, 48)
    >>> found.to_nifti(X.index[0]).shape == X["t1w"].iloc[0].shape
    True
    """

    pictures: np.ndarray
    tabular: pd.DataFrame
    outputs: pd.DataFrame
    place: object
    columns: list
    background: np.ndarray
    metadata: dict
    region_values: pd.DataFrame | None = None
    study: object = field(default=None, repr=False)
    _weights: dict = field(default_factory=dict, init=False, repr=False)
    _kept: dict = field(default_factory=dict, init=False, repr=False)

    def __repr__(self):
        about = self.metadata
        simulated = "SIMULATED " if self.simulated else ""
        return (
            f"<Explanation of {about['target']} by {about['method'].replace('_', ' ')}: "
            f"{len(self.patients)} {simulated}patients, images {', '.join(self.columns)}>"
        )

    @property
    def patients(self):
        """Index of the patients."""
        return self.outputs.index

    @property
    def simulated(self):
        """Whether these are simulated patients."""
        return bool(self.metadata.get("cohort", {}).get("simulated"))

    def picture(self, patient=None, column=None):
        """Attribution as the network sees it: of one patient, or the mean.

        Parameters
        ----------
        patient : index label, default=None
            None: the mean over patients.
        column : str, default=None
            An image column; None adds all of them up.

        Returns
        -------
        ndarray of shape (height, width) or (x, y, z), float32
        """
        whole = self._channels(column)
        if patient is None:
            return whole.mean(axis=0, dtype=np.float64).astype(np.float32)
        if patient not in self.patients:
            raise CohortError(
                f"patient {patient!r} is not explained here; the patients are "
                f"{', '.join(map(repr, self.patients[:3]))}, ..."
            )
        return whole[self.patients.get_loc(patient)]

    def to_nifti(self, patient=None, column=None):
        """The map as an image in the patient's (or the template's) space.

        Parameters
        ----------
        patient : index label, default=None
            None: the mean over patients.
        column : str, default=None
            An image column; None adds all of them up.

        Returns
        -------
        nibabel.Nifti1Image, float32
            On the grid of the scans (canonical orientation). Its sum is the sum of the attribution
            in the picture; voxels that the network does not see are zero.

        Raises
        ------
        CohortError
            If there is no such patient or column, or the images are 2-D pictures.
        """
        return self.place.put_back(self.picture(patient, column))

    def background_image(self, column=None):
        """Mean training image of a column (the first by default), in the same space."""
        number = 0 if column is None else self._number(column)
        return self.place.restore(self.background[number])

    def region_sums(self, atlas="aal", *, column=None, absolute=False):
        """Attribution of every patient, summed over the regions of an atlas.

        Parameters
        ----------
        atlas : Atlas, or whatever `imaging.load_atlas` opens, default="aal"
        column : str, default=None
            An image column; None adds all of them up.
        absolute : bool, default=False
            Sum absolute values.

        Returns
        -------
        DataFrame, patients x regions
            Regions that the network does not see are left out.
        """
        atlas = load_atlas(atlas)
        regions = self._region_weights(atlas)
        if self._occluded(atlas, column):
            values = self.region_values.reindex(columns=regions.names, fill_value=0.0)
            return values.abs() if absolute else values
        flat = self._channels(column).reshape(len(self.patients), -1)
        sums = (np.abs(flat) if absolute else flat) @ regions.weights
        return pd.DataFrame(np.asarray(sums, np.float64), self.patients, regions.names)

    def by_region(self, atlas="aal", *, column=None, rank_by="strength", confidence=0.95):
        """Regions of an atlas, the most important first.

        Parameters
        ----------
        atlas : Atlas, or whatever `imaging.load_atlas` opens, default="aal"
        column : str, default=None
            An image column; None adds all of them up.
        rank_by : str, default="strength"
            Column of the result to sort by.
        confidence : float, default=0.95
            Of the interval.

        Returns
        -------
        DataFrame, indexed by region
            ``attribution``: mean over patients of the region's sum, in units of what is explained
            (log odds, say), with ``low`` and ``high``, limits of its confidence interval over
            patients (Student's t), and ``sign``; ``strength``: mean over patients of the absolute
            value of that sum, which does not cancel between patients for whom the region speaks
            for and against; ``absolute``: mean of the sum of absolute values over voxels, which
            does not cancel inside the region either, and its ``share`` of all regions;
            ``density``: strength per millilitre, since large regions collect more; ``volume_ml``
            that is seen.

        Raises
        ------
        ValueError
            If `rank_by` is no column.
        CohortError
            If the images are 2-D pictures, or there is no such column.
        AtlasError
            If the atlas is unknown, or none of its regions lies in the images.

        Examples
        --------
        See `prognosis.explain`.
        """
        atlas = load_atlas(atlas)
        return region_table(
            self.region_sums(atlas, column=column),
            self.region_sums(atlas, column=column, absolute=True),
            self._region_weights(atlas).volume_ml,
            confidence=confidence,
            rank_by=rank_by,
        )

    @property
    def completeness_error(self):
        """By how much the attributions miss what they should add up to: 0.05 is 5 %.

        Sum over patients of ``|sum of attributions - (f(x) - f(baseline))|``, over the sum of
        ``|f(x) - f(baseline)|``. NaN for methods whose attributions need not add up.
        """
        difference = (self.outputs["output"] - self.outputs["reference"]).abs()
        missed = self.outputs["completeness_error"] * difference
        return float(missed.sum(skipna=False) / max(difference.sum(), 1e-12))

    def plot(self, patient=None, column=None, **options):
        """Slices of the map on anatomy, smooth and in the brain; returns the matplotlib Figure.

        Parameters
        ----------
        patient : index label, default=None
            None: the mean over patients.
        column : str, default=None
        **options
            ``smoothing_mm``, ``n_slices``, ``background``: see
            `prognosis.explanation.attribution.drawing.draw_map`.
        """
        from .drawing import draw_map

        return draw_map(self, patient, column, **options)

    def _repr_html_(self):
        """The mean map and what the table adds, for notebooks."""
        from .drawing import as_html

        return as_html(self)

    def view(self, patient=None, column=None, **options):
        """The map in a page to click through (nilearn's HTML view).

        Parameters are those of `plot`, without `n_slices`; ``.save_as_html(path)`` writes it.
        """
        from .drawing import view_map

        return view_map(self, patient, column, **options)

    def randomisation_correlation(self, n_patients=20):
        """How alike the maps are to those of networks with random weights; see `checks`."""
        from .trust import randomisation

        return self._once(("randomisation", n_patients), lambda: randomisation(self, n_patients))

    def insertion_deletion(self, n_patients=20):
        """Curves of hiding and showing what the maps point at; see `checks`."""
        from .trust import insertion_deletion

        return self._once(("curves", n_patients), lambda: insertion_deletion(self, n_patients))

    def checks(self, n_patients=20):
        """Whether to trust the maps: see `prognosis.explanation.attribution.trust.trust_checks`."""
        from .trust import trust_checks

        return self._once(("checks", n_patients), lambda: trust_checks(self, n_patients))

    def _once(self, key, compute):
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def _number(self, column):
        if column not in self.columns:
            raise CohortError(f"column {column!r} is no image here; they are {self.columns}")
        return self.columns.index(column)

    def _channels(self, column):
        if column is None:
            return self.pictures.sum(axis=1)
        return self.pictures[:, self._number(column)]

    def _region_weights(self, atlas):
        if atlas.identity not in self._weights:
            self._weights[atlas.identity] = self.place.region_weights(atlas)
        return self._weights[atlas.identity]

    def _occluded(self, atlas, column):
        same = self.region_values is not None and column is None
        return same and self.metadata.get("atlas") == atlas.identity
