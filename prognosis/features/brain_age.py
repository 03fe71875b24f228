"""How old a brain looks beside how old it is, as a column.

A brain that looks older than its years (wide ventricles, much fluid, bright white matter) may have
less to spare when a stroke comes; what looks its age says nothing that age does not.
"""

from numbers import Integral
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from imaging.parameters import (
    COUNT,
    FROM_ZERO,
    POSITIVE,
    Each,
    Interval,
    StrOptions,
    parameter,
    parameters,
)
from imaging.sections.describing import describe_sections, picture_panes
from imaging.sections.panes import as_panes
from imaging.sections.reading import lesion_sections
from imaging.spaces.checking import check_space, read_placed_mask
from imaging.spaces.verdicts import WRONG
from imaging.volumes import is_picture, read_stored

from ..cells import NUMBER, as_numbers, column_kind
from ..columns import check_cohort, map_images
from ..errors import CohortError
from ..grouping import find_groups
from ..spaces import ReadsTemplate, judge_spaces
from ..splits import make_splits
from .measurement import ImageMeasurement

__all__ = ["BrainAgeGap"]

_SCORES_SD = 3.0  # of the first component, beside numbers of SD 1


@parameters
class BrainAgeGap(ReadsTemplate, ImageMeasurement):
    """Add the brain-age gap: the age that a model reads in the brain, beside the patient's age.

    Ridge regression of age on principal components of smoothed sections of the brain and on a few
    numbers (ventricles, fluid, bright white matter), learnt from the training patients. The gap is
    the predicted age minus its straight-line fit on age, in years: above 0, the brain looks older
    than those of training patients of this age.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    columns_ : list of str
        The columns that are added.
    correlation_ : float
        Of predicted age with age, cross-fitted, in training patients. Where it is low the model
        knows no age, and the gap means nothing.
    mean_absolute_error_ : float
        Years, of the same predictions.
    line_ : tuple of float
        Intercept and slope of the predictions' fit on age. A slope below 1 is the rule: predictions
        lean to the mean age.
    n_learnt_from_ : int
        Training patients with an age.
    feature_names_in_ : ndarray of str
    n_features_in_ : int

    Notes
    -----
    ``fit_transform`` gives training patients predictions of models that did not learn from them
    (`cv` folds, in which everything is learnt anew); ``transform`` gives new patients that of the
    model of all training patients. So ``fit(X).transform(X)`` is not ``fit_transform(X)``, and on
    training patients only the latter is honest. A Pipeline does the right thing by itself. On
    training patients the gap is uncorrelated with age by construction; on new ones about so (r =
    .03 in the mean of 20 random halves of the patients below, SD .10).

    Patients without an age teach nothing; they get a predicted age, and a gap of NaN, which
    `TabularEncoder` and `BlockEncoder` impute. Every patient needs a picture, and a mask where
    `lesion` is given.

    *Evidence: suggestive.* In 708 patients of the Stroke Outcome Optimization Project (three
    sections of raw FLAIR, acute infarcts masked) cross-fitted predictions correlate with age at
    r = .77 (mean error 7 years). Added to size, number and place of lesions, NIHSS and age, the gap
    brought the AUC for a poor outcome (464 patients, 5 folds x 4) from .842 to .846, without NIHSS
    from .822 to .826: gains that chance explains as well (DeLong p = .4, .6). See
    ``benchmarks/brain_age.py``.

    *What it is not*: a norm. It says how a brain looks among the patients it learnt from, who here
    have a stroke; with other scanners, sequences or preparation of images, gaps shift. It is no
    measure of "brain reserve" that anybody has validated, and the age of "89+" is 89. The age that
    a mass, an old infarct outside of the mask, or motion adds is no ageing.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from prognosis import BrainAgeGap, TabularEncoder, make_stroke_cohort
    >>> X, y = make_stroke_cohort(20, spacing_mm=8, random_state=0)  # age has no effect on these
    >>> gap = BrainAgeGap("t1w", lesion="lesion", random_state=0)
    >>> gap.fit_transform(X).columns.tolist()[-2:]
    ['age', 'brain_age_gap']
    >>> encoder = TabularEncoder(["age", "severity", "brain_age_gap"])
    >>> model = make_pipeline(gap, encoder, LogisticRegression()).fit(X, y)
    >>> model.predict(X).shape
    (20,)

    On real FLAIR:

    >>> gap = BrainAgeGap("flair", lesion="lesion", random_state=0)
    >>> gap.fit(load_soop()[0]).correlation_  # doctest: +SKIP
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    only_measures: ClassVar = False

    image: str = parameter(
        "flair",
        str,
        first=True,
        doc="""
        Column that holds the images, FLAIR or T1w: volumes in template (MNI) space, best without
        the skull, or pictures with sections side by side, as those of `load_soop`. One kind of
        contrast for all patients.
        """,
    )
    age: str = parameter("age", str, doc="Column that holds the age in years.")
    lesion: object = parameter(
        None,
        str,
        None,
        kind="str or None",
        doc="""
        Column that holds lesion masks, in template space or as pictures in the layout of `panes`;
        what they cover, and 3 mm around, counts as average brain. None: the lesion is part of the
        looks, unless it is painted in red over the pictures, which is undone.
        """,
    )
    panes: object = parameter(
        "soop",
        StrOptions({"soop"}),
        dict,
        Each(),
        kind='"soop", dict, or sequence of tuples',
        doc="""
        Which sections are looked at. "soop": axial z = 18, sagittal x = -39, coronal y = -18 mm,
        cut of volumes, or in pictures where those of `load_soop` have them. A dict says where
        volumes are cut, plane to one place or several in mm: ``{"axial": [0, 18], "coronal": -18}``
        Tuples ``(plane, (top, bottom), (left, right))`` say where sections lie in pictures of one's
        own, which should have pixels of 1 mm: first row and column, and last + 1. The middle column
        of axial and coronal sections is taken for the midline.
        """,
    )
    n_components: int = parameter(
        80, COUNT, doc="Principal components of the sections; fewer where patients are fewer."
    )
    alpha: float = parameter(
        300.0,
        POSITIVE,
        doc="""
        Ridge penalty. The numbers have SD 1, the scores that of the first component made 3.
        """,
    )
    cv: object = parameter(
        5,
        Interval(Integral, 2, None, closed="left"),
        HasMethods("split"),
        kind="int or scikit-learn splitter",
        doc="""
        Folds of the cross-fitting; a number keeps rows of one patient together where `fit` is given
        `groups` or `patient` is declared. Every row must be tested.
        """,
    )
    patient: object = parameter(
        None,
        str,
        None,
        kind="str or None",
        doc="Column that names the patient, when a patient has several rows.",
    )
    column: str = parameter("brain_age_gap", str, doc="Name of the column to add, years.")
    predicted: object = parameter(
        None,
        str,
        None,
        kind="str or None",
        doc="""
        Name of a second column to add, the predicted age itself, years; None adds none. It leans
        to the mean age: see `line_`.
        """,
    )
    random_state: object = parameter(
        None, FROM_ZERO, None, kind="int or None", doc="Draws the folds."
    )

    def fit(self, X, y=None, *, groups=None):
        """Learn from the training patients how brains look at each age.

        Parameters
        ----------
        X : DataFrame
            One row per patient.
        y : None
            Ignored: no outcome is looked at.
        groups : array-like of shape (n_patients,), default=None
            Rows of one group (patient) stay together in every fold. By default the column that
            `patient` declares.

        Returns
        -------
        self

        Raises
        ------
        CohortError
            If a column is missing, a column to be added exists already, an image or mask is
            missing, cannot be read or shows no brain, an age is no number, too few patients have
            one, or `cv` tears a group apart.
        ValueError
            If a parameter has a wrong type or value.
        """
        self._learn(X, groups)
        return self

    def fit_transform(self, X, y=None, *, groups=None):
        """`fit`, and what models that did not learn from them say of the same patients.

        Parameters and errors as in `fit`.

        Returns
        -------
        DataFrame
            `X` with the new columns at its end.
        """
        predicted, age = self._learn(X, groups)
        return self._added(X, predicted, age)

    def transform(self, X):
        """The gap of patients who were not in training.

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
        check_cohort(X, self._declared())
        age = self._ages(X)
        return self._added(X, self._model.predict(*self._looks(X)), age)

    def weight_pictures(self):
        """What the sections tell of age, pixel by pixel.

        Returns
        -------
        list of ndarray of shape (rows / 4, columns / 4), rounded up
            One for each section: years that the predicted age rises where the (smoothed) pixel is
            brighter by the commonest grey value of tissue. The numbers have weights of their own.
        """
        check_is_fitted(self, "columns_")
        return picture_panes(self._model.of_pictures, as_panes(self.panes))

    def _prepare(self):
        return [self.column] if self.predicted is None else [self.column, self.predicted]

    def _declared(self):
        further = [self.lesion, self.patient]
        return [self.image, self.age, *(name for name in further if name is not None)]

    def _learn(self, X, groups):
        """Fit; cross-fitted predictions and ages of all rows."""
        super().fit(X)
        as_panes(self.panes)
        check_cohort(X, self._declared())
        age = self._ages(X)
        known = np.flatnonzero(~np.isnan(age))
        if len(known) < 3:
            raise CohortError(
                f"column {self.age!r} holds {len(known)} ages in {len(X)} rows, too few to learn "
                "from; give the patients' ages in years"
            )
        groups = find_groups(self, X, groups)
        rows = X.iloc[known]
        splits = make_splits(
            self.cv,
            rows,
            pd.Series(age[known], rows.index),
            classification=False,
            groups=None if groups is None else groups[known],
            random_state=self.random_state,
        )
        pictures, numbers = self._looks(X)
        predicted = np.full(len(X), np.nan)
        for split in splits:
            train, test = known[split.train], known[split.test]
            model = self._fitted(pictures[train], numbers[train], age[train])
            predicted[test] = model.predict(pictures[test], numbers[test])
        honest = predicted[known]
        if np.isnan(honest).any():
            row = rows.index[np.isnan(honest)].tolist()[0]
            raise CohortError(
                f"row {row!r} is in no test fold of cv, so it has no honest prediction; give a cv "
                "that tests every row"
            )
        self._model = self._fitted(pictures[known], numbers[known], age[known])
        without = np.isnan(predicted)
        if without.any():
            predicted[without] = self._model.predict(pictures[without], numbers[without])
        centred = age[known] - age[known].mean()
        squares = centred @ centred
        slope = float(centred @ honest / squares) if squares > 0 else 0.0
        spread = squares * np.sum((honest - honest.mean()) ** 2)
        self.line_ = (float(honest.mean() - slope * age[known].mean()), slope)
        self.correlation_ = float(centred @ honest / np.sqrt(spread)) if spread > 0 else 0.0
        self.mean_absolute_error_ = float(np.abs(honest - age[known]).mean())
        self.n_learnt_from_ = len(known)
        return predicted, age

    def _ages(self, X):
        ages = X[self.age]
        if column_kind(ages) != NUMBER:
            words = [(row, cell) for row, cell in ages.items() if isinstance(cell, str)]
            if words:
                row, cell = words[0]
                raise CohortError(
                    f"row {row!r}, column {self.age!r}: found {cell!r} where an age in years was "
                    f"expected; make it a number: X[{self.age!r}] = "
                    f'pd.to_numeric(X[{self.age!r}].astype(str).str.rstrip("+"), "coerce")'
                )
        return as_numbers(ages).to_numpy(dtype=float)

    def _looks(self, X):
        """Pictures and numbers of every row."""
        panes, checked = as_panes(self.panes), self.space == "template"
        lesions = [None] * len(X)
        if self.lesion is not None:
            cut = self._kept(_cut_lesion)
            found = map_images(
                lambda cell: cut(cell, panes, checked), X, self.lesion, n_jobs=self.n_jobs
            )
            judge_spaces(X, self.lesion, [verdict for _, verdict in found], stacklevel=4)
            lesions = [sections for sections, _ in found]
        describe = self._kept(_described)
        found = map_images(
            lambda cell, number: describe(cell, panes, lesions[number], checked),
            X,
            self.image,
            n_jobs=self.n_jobs,
            numbered=True,
        )
        judge_spaces(X, self.image, [verdict for _, verdict in found], stacklevel=4)
        return tuple(np.stack([one[name] for one, _ in found]) for name in ("picture", "numbers"))

    def _fitted(self, pictures, numbers, age):
        return _AgeModel.learn(pictures, numbers, age, self.n_components, self.alpha)

    def _added(self, X, predicted, age):
        intercept, slope = self.line_
        gap = predicted - (intercept + slope * age)
        values = [gap] if self.predicted is None else [gap, predicted]
        return self._beside(X, np.column_stack(values))


class _AgeModel(NamedTuple):
    """Ridge regression on components of pictures and on numbers: as weights of both, linear."""

    intercept: float
    of_pictures: np.ndarray
    of_numbers: np.ndarray

    @classmethod
    def learn(cls, pictures, numbers, age, n_components, alpha):
        mean, middle, spread = pictures.mean(axis=0), numbers.mean(axis=0), numbers.std(axis=0)
        centred = (pictures - mean).astype(float)
        # What is the same in all, but for rounding, is not to be multiplied in a new patient.
        spread = np.where(spread > 1e-9 * np.maximum(1, np.abs(middle)), spread, 1.0)
        # Patients are fewer than pixels, so the components come from the products of patients.
        values, vectors = np.linalg.eigh(centred @ centred.T)
        values, vectors = values[::-1][:n_components], vectors[:, ::-1][:, :n_components]
        kept = values > 1e-9 * max(values[0], 1e-30)
        turn = vectors[:, kept] / np.sqrt(values[kept])
        scores = vectors[:, kept] * np.sqrt(values[kept])
        scale = _SCORES_SD / scores[:, 0].std() if kept.any() else 1.0
        ridge = Ridge(alpha=alpha).fit(
            np.hstack([scores * scale, (numbers - middle) / spread]), age
        )
        count = np.count_nonzero(kept)
        of_pictures = centred.T @ (turn @ ridge.coef_[:count]) * scale
        of_numbers = ridge.coef_[count:] / spread
        intercept = ridge.intercept_ - mean @ of_pictures - middle @ of_numbers
        return cls(float(intercept), of_pictures, of_numbers)

    def predict(self, pictures, numbers):
        return self.intercept + pictures @ self.of_pictures + numbers @ self.of_numbers


def _described(source, panes, lesion, checked):
    """`describe_sections`, and what the space check says of a volume."""
    verdict = None
    if checked and not is_picture(source):
        image, source = source, read_stored(source)
        verdict = check_space(image, volume=source, kind="scan")
        if verdict.verdict == WRONG:  # there is perhaps no brain to be described
            return None, verdict
    return describe_sections(source, panes, lesion), verdict


def _cut_lesion(source, panes, checked):
    """`lesion_sections`, and what the space check says of a volume."""
    verdict = None
    if checked and not is_picture(source):
        source, verdict = read_placed_mask(source)
    return lesion_sections(source, panes), verdict
