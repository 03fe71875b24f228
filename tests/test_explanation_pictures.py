"""Pictures of attribution: in the brain, per millilitre, smooth across gaps, and said in words."""

import nibabel as nib
import numpy as np
import pytest
from matplotlib.figure import Figure
from nilearn.datasets import load_mni152_brain_mask

from prognosis import (
    LesionSize,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
    explain,
    make_stroke_cohort,
)
from prognosis.explanation.attribution.combining import outcome_in_words
from prognosis.explanation.attribution.painting import paint

TINY = {"epochs": 1, "random_state": 0, "mosaic_size": 48, "augment": False}


@pytest.fixture(scope="module")
def cohort():
    X, y = make_stroke_cohort(14, spacing_mm=8, random_state=0)
    return LesionSize().fit_transform(X), y


@pytest.fixture(scope="module")
def found(cohort):
    model = StitchedSliceClassifier("t1w", tabular=["lesion_ml"], rows=2, columns=3, **TINY)
    return explain(model.fit(*cohort), cohort[0].iloc[:5], "gradient")


def test_painted_in_the_brain_only(found):
    painting = paint(found)
    brain = nib.as_closest_canonical(load_mni152_brain_mask(resolution=2))
    assert painting.values.shape == brain.shape
    inside = np.asanyarray(brain.dataobj) > 0
    assert np.isnan(painting.values[~inside]).all()
    assert np.isfinite(painting.values[inside]).mean() > 0.5
    assert 0 < painting.outside < 1  # a network on whole heads sees more than the brain


def test_gaps_between_slices_are_bridged_and_do_not_count_as_zero(found):
    """A network that sees six slices, with the same attribution everywhere it sees."""
    image = found.place.shown()
    seen = np.asanyarray(image.dataobj) > 0
    assert 0 < seen.mean() < 0.9
    flat = _Constant(found, seen.astype(np.float32))
    painting = paint(flat, smoothing_mm=16.0)
    known = painting.values[np.isfinite(painting.values)]
    per_ml = 1 / (8**3 / 1000)
    assert np.median(known) == pytest.approx(per_ml, rel=1e-3)
    assert known.max() == pytest.approx(per_ml, rel=1e-3)
    assert known.size > np.isfinite(paint(flat, smoothing_mm=0).values).sum()


class _Constant:
    """An explanation that gives every voxel it sees the same."""

    def __init__(self, found, values):
        self.place, self.metadata, self.values = found.place, found.metadata, values

    def to_nifti(self, patient=None, column=None):
        return nib.Nifti1Image(self.values, self.place.grid.affine)


def test_the_figure_says_what_it_shows(found):
    figure = found.plot(found.patients[0], n_slices=3)
    assert isinstance(figure, Figure)
    text = [each.get_text() for each in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any("SIMULATED" in one and "aphasia" in one for one in text)
    assert "speaks for aphasia" in text and "speaks against aphasia" in text
    assert any("log odds per ml" in one for one in text)
    assert any("outside the brain" in one for one in text)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 3 + 2


def test_images_in_native_space_have_their_own_anatomy(cohort):
    X, _ = cohort
    model = StitchedSliceRegressor("t1w", rows=2, columns=2, space="native", **TINY)
    found = explain(model.fit(X, X["age"]), X.iloc[:3], "gradient")
    painting = paint(found)
    assert painting.values.shape == X["t1w"].iloc[0].shape
    assert painting.outside == 0
    assert found.metadata["speaks_for"] == "a higher age"
    assert paint(found, background="mni152").values.shape != painting.values.shape


def test_a_notebook_shows_map_and_table(found):
    piece = found._repr_html_()
    assert "SIMULATED" in piece and "data:image/png;base64," in piece
    assert "<table" in piece  # of what the tabular values add; empty for gradients of images alone


@pytest.mark.parametrize(
    ("outcome", "label", "classes", "words"),
    [
        ("poor_outcome", True, [False, True], "poor outcome"),
        ("aphasia", 0, [0, 1], "no aphasia"),
        (None, 1, [0, 1], "1"),
        ("grade", "II", ["I", "II", "III"], "grade = II"),
    ],
)
def test_outcomes_in_words(outcome, label, classes, words):
    assert outcome_in_words(outcome, label, classes) == words
