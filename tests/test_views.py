"""Views by themselves, a view of one's own, and whatever else can be explained."""

import pickle
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from imaging.grids import Grid
from imaging.learning.rows import ImageRows
from imaging.volumes import read_volume
from prognosis import (
    CohortError,
    FusionClassifier,
    FusionRegressor,
    RoiSymbolClassifier,
    RoiSymbols,
    StitchedSliceClassifier,
    StitchedSlices,
    VolumeClassifier,
    Volumes,
    counterfactuals,
    explain,
    make_stroke_cohort,
)
from prognosis.explanation.counterfactuals.region_masks import region_masks
from prognosis.views.places import Place
from prognosis.views.protocol import View

QUICK = {"epochs": 1, "device": "cpu", "random_state": 0}
VIEWS = {
    "stitched": (StitchedSlices(mosaic_size=30, symbols=["age"]), StitchedSliceClassifier),
    "regions": (
        RoiSymbols(regions=2, mosaic_size=30, symbols={"age": "grey"}),
        RoiSymbolClassifier,
    ),
    "volume": (Volumes(spacing_mm=16), VolumeClassifier),
}


@pytest.fixture(scope="module")
def cohort():
    return make_stroke_cohort(12, spacing_mm=8, random_state=0)


@pytest.mark.parametrize("name", VIEWS)
class TestByThemselves:
    def test_what_is_learnt_is_kept(self, name, cohort):
        X, view = cohort[0], clone(VIEWS[name][0])
        assert isinstance(view, View)
        with pytest.raises(NotFittedError, match="call fit_prepare first"):
            view.prepare(X, ["t1w"])
        seen = view.fit_prepare(X, ["t1w"]).array()
        again = pickle.loads(pickle.dumps(view)).set_params(grid="mni152", allow_empty=True)
        np.testing.assert_array_equal(again.prepare(X[3:], ["t1w"]).array(), seen[3:])
        assert seen.min() >= 0 and seen.max() <= 1

    def test_a_flat_estimator_sees_the_same(self, name, cohort):
        X, y = cohort
        view, flat = VIEWS[name]
        model = flat("t1w", **view.get_params(), **QUICK).fit(X, y)
        np.testing.assert_array_equal(
            model.prepared_images(X), clone(view).fit_prepare(X, ["t1w"]).array()
        )
        assert model.view_.get_params() == view.get_params()
        assert model.grid_ == model.view_.grid_

    def test_the_brain_and_the_symbols_share_the_image(self, name, cohort):
        view = clone(VIEWS[name][0])
        image = view.fit_prepare(cohort[0], ["t1w"]).array()[0, 0]
        kinds = np.zeros(image.shape, int)
        view.brain(kinds)[...] += 1  # a view of the same memory
        for cell in view.symbol_cells().values():
            kinds[cell] += 2
        assert set(np.unique(kinds)) <= {0, 1, 2}
        assert view.place().draw(cohort[0]["t1w"].iloc[0]).shape == view.brain(image).shape
        assert list(view.symbol_cells()) == view.drawn_columns()
        assert view.symbol_values(cohort[0]).shape == (12, len(view.drawn_columns()))

    def test_wrong_parameters_and_other_grids_are_refused(self, name, cohort):
        X, view = cohort[0].copy(), clone(VIEWS[name][0])
        with pytest.raises(ValueError, match=f"'mirror' parameter of {type(view).__name__} must"):
            clone(view).set_params(mirror="left").fit_prepare(X, ["t1w"])
        scan = X["t1w"].iloc[-1]
        other = nib.Nifti1Image(np.asanyarray(scan.dataobj)[:-1], scan.affine)
        X["t1w"] = [*X["t1w"].iloc[:-1], other]
        with pytest.raises(CohortError, match="column 't1w': found a grid"):
            view.fit_prepare(X, ["t1w"])
        assert not [learnt for learnt in vars(view) if learnt.endswith("_")]


# ----------------------------------------------------------------------- one's own


@dataclass(frozen=True)
class SlicePlace(Place):
    grid: Grid
    number: int

    def draw(self, volume):
        return np.asanyarray(volume.dataobj)[:, :, self.number].astype(np.float32)

    def put_back(self, picture):
        volume = np.zeros(self.grid.shape, np.float32)
        volume[:, :, self.number] = picture
        return nib.Nifti1Image(volume, self.grid.affine)

    restore = put_back

    def shown(self):
        return self.put_back(np.ones(self.grid.shape[:2], np.float32))

    @property
    def key(self):
        return repr(self)


class OneSlice(BaseEstimator):
    """Nothing but the protocol: one axial slice of every scan, as it is."""

    def __init__(self, level=0.5):
        self.level = level

    def drawn_columns(self):
        return []

    def fit_prepare(self, X, columns, reading=None):
        self.grid_ = Grid.of(read_volume(X[columns[0]].iloc[0]))
        self.number_ = int(self.level * self.grid_.shape[2])
        return self.prepare(X, columns, reading)

    def prepare(self, X, columns, reading=None):
        place = self.place()
        rows = X[columns].to_numpy(object)
        return ImageRows(
            np.stack([[place.draw(read_volume(cell)) for cell in row] for row in rows])
        )

    def augmentation(self):
        return None

    def place(self):
        return SlicePlace(self.grid_, self.number_)

    def brain(self, images):
        return images

    def region_cells(self):
        return {}

    def symbol_cells(self):
        return {}

    def symbol_values(self, X):
        return np.zeros((len(X), 0))


@pytest.fixture(scope="module")
def fused(cohort):
    view = OneSlice(level=0.4)
    settings = {**QUICK, "epochs": 3}
    model = FusionClassifier("t1w", tabular=["severity"], view=view, fusion="daft", **settings)
    model.fit(*cohort)
    assert not hasattr(view, "grid_")  # it was cloned
    return model


class TestOfOnesOwn:
    def test_it_is_a_view_and_something_else_is_not(self):
        assert isinstance(OneSlice(), View)
        assert not isinstance(BaseEstimator(), View)

    def test_it_trains_and_predicts(self, fused, cohort):
        X, y = cohort
        first = fused.predict_proba(X)
        again = pickle.loads(pickle.dumps(fused))
        np.testing.assert_array_equal(again.predict_proba(X), first)
        np.testing.assert_array_equal(clone(fused).fit(X, y).predict_proba(X), first)
        assert fused.prepared_images(X).shape == (12, *fused.image_shape_)
        fused.set_params(view__level=0.7)
        np.testing.assert_array_equal(fused.predict_proba(X), first)
        fused.set_params(view__level=0.4)

    def test_a_search_reaches_its_parameters(self, fused, cohort):
        search = GridSearchCV(clone(fused), {"view__level": [0.3, 0.6]}, cv=2).fit(*cohort)
        assert search.best_estimator_.view_.level == search.best_params_["view__level"]

    @pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
    def test_it_is_explained(self, fused, cohort, method):
        found = explain(fused, cohort[0][:4], method)
        voxels = found.to_nifti().get_fdata()
        assert set(np.flatnonzero(np.abs(voxels).sum(axis=(0, 1)))) == {fused.view_.number_}
        np.testing.assert_allclose(voxels.sum(), found.picture().sum(), atol=1e-5)
        assert len(found.by_region("aal"))

    def test_its_regions_are_swapped(self, fused, cohort):
        masks = region_masks(fused)
        assert masks and all(mask.shape == fused.image_shape_[1:] for mask in masks.values())
        number = FusionRegressor("t1w", tabular=["severity"], view=OneSlice(), **QUICK)
        X = cohort[0]
        found = counterfactuals(number.fit(X, X["age"]), X[:2], X_reference=X, max_regions=1)
        assert len(found.coefficients) == 2


class Foreign(ClassifierMixin, BaseEstimator):
    """No estimator of this package, but with networks, a view, and inputs."""

    def __init__(self, known):
        self.known = known
        names = ("networks_", "view_", "image_columns_", "image_shape_", "encoder_", "classes_")
        vars(self).update({name: getattr(known, name) for name in names})
        self.device, self.n_threads = "cpu", 1

    def fit(self, X, y):
        return self

    def inputs(self, X):
        return self.known.inputs(X)


def test_whatever_has_networks_a_view_and_inputs_is_explained(fused, cohort):
    X, foreign = cohort[0], Foreign(fused)
    expected, found = explain(fused, X[:3]), explain(foreign, X[:3])
    np.testing.assert_array_equal(found.pictures, expected.pictures)
    pd.testing.assert_frame_equal(found.tabular, expected.tabular)
    assert list(region_masks(foreign)) == list(region_masks(fused))


def test_slices_of_the_brain_only(cohort):
    X, y = cohort
    view = StitchedSlices(mosaic_size=48, extent="brain")
    view.fit_prepare(X, ["t1w"])
    low, high = (-72, 82)  # of the template's brain
    shown = np.asanyarray(nib.as_closest_canonical(view.place().shown()).dataobj)
    affine = nib.as_closest_canonical(X["t1w"].iloc[0]).affine
    levels = affine[2, 2] * np.flatnonzero(shown.any(axis=(0, 1))) + affine[2, 3]
    assert low - 8 <= levels.min() < -56 and 66 < levels.max() <= high + 8
    assert view.recipe_.arguments[0].extent == "brain"
    for given, extent in (
        ({}, "brain"),
        ({"space": "native"}, "volume"),
        ({"first_slice": 2}, "volume"),
        ({"slice_step": 2}, "volume"),
        ({"extent": "volume"}, "volume"),
    ):
        assert StitchedSlices(**given).mosaic().extent == extent
    model = StitchedSliceClassifier("t1w", extent="brain", space="native", **QUICK)
    with pytest.raises(ValueError, match="needs scans in template space"):
        model.fit(X, y)
