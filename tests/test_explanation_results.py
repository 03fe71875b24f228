"""Results: tables, averages over folds, what is unwrapped and refused, figures and trust checks."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, RepeatedKFold, cross_validate
from sklearn.pipeline import make_pipeline

from imaging import load_atlas
from prognosis import (
    CohortError,
    LesionSize,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
    TemperatureScaled,
    explain,
    make_stroke_cohort,
)
from prognosis.explanation.attribution.regions import region_table
from prognosis.explanation.attribution.trust import _same_spectrum

TINY = {"epochs": 2, "random_state": 0, "mosaic_size": 48, "augment": False}
SLICES = {"rows": 2, "columns": 2, **TINY}


@pytest.fixture(scope="module")
def cohort():
    return make_stroke_cohort(18, spacing_mm=8, random_state=0)


@pytest.fixture(scope="module")
def model(cohort):
    return StitchedSliceClassifier("t1w", tabular=["severity"], **SLICES).fit(*cohort)


@pytest.fixture(scope="module")
def found(model, cohort):
    return explain(model, cohort[0])


class TestMaps:
    def test_of_a_patient_and_their_mean(self, found, cohort):
        maps = [found.to_nifti(patient).get_fdata() for patient in found.patients]
        np.testing.assert_allclose(found.to_nifti().get_fdata(), np.mean(maps, axis=0), atol=1e-6)
        scan = cohort[0]["t1w"].iloc[0]
        assert found.to_nifti().shape == scan.shape
        np.testing.assert_allclose(found.to_nifti().affine, scan.affine)

    def test_they_add_up_with_the_table(self, found):
        total = [found.to_nifti(patient).get_fdata().sum() for patient in found.patients]
        difference = found.outputs["output"] - found.outputs["reference"]
        missed = np.abs(total + found.tabular.sum(axis=1) - difference)
        np.testing.assert_allclose(
            missed, found.outputs["completeness_error"] * difference.abs(), atol=1e-3
        )

    def test_unknown_patient_and_column(self, found):
        with pytest.raises(CohortError, match="patient 'nobody' is not explained here"):
            found.to_nifti("nobody")
        with pytest.raises(CohortError, match="column 'flair' is no image here"):
            found.by_region(column="flair")

    def test_columns_of_two_channels_add_up(self, cohort):
        model = StitchedSliceClassifier(["t1w", "lesion"], allow_empty=True, **SLICES)
        found = explain(model.fit(*cohort), cohort[0].iloc[:4])
        parts = [found.region_sums(column=name) for name in ("t1w", "lesion")]
        np.testing.assert_allclose(found.region_sums(), parts[0] + parts[1], atol=1e-5)

    def test_it_can_be_kept(self, found):
        kept = pickle.loads(pickle.dumps(found))
        pd.testing.assert_frame_equal(kept.by_region(), found.by_region())


class TestRegions:
    def test_sums_are_those_of_the_voxels(self, found):
        labels = load_atlas("aal").labels_on(found.to_nifti())
        sums, sizes = found.region_sums(), found.by_region()["volume_ml"]
        voxels = found.to_nifti(found.patients[3]).get_fdata()
        for region in ("Temporal_Mid_L", "Precuneus_R"):
            inside = labels == 1 + load_atlas("aal").regions.index(region)
            assert sums[region].iloc[3] == pytest.approx(voxels[inside].sum(), abs=1e-5)
            assert 0 < sizes[region] <= inside.sum() * 0.512 + 1e-9

    def test_table(self):
        net = pd.DataFrame({"a": [1.0, 2, 3], "b": [-6.0, 0, 1], "c": [0.1, 0.0, 0.0]})
        table = region_table(net, 2 * net.abs(), np.array([1.0, 10, 1]))
        assert table.index.tolist() == ["b", "a", "c"]  # strength: 7/3, 2, 0.03
        assert table["sign"].tolist() == [-1, 1, 1]
        assert table["share"].sum() == pytest.approx(1)
        low, high = stats.ttest_1samp(net["a"], 0).confidence_interval(0.95)
        assert table.loc["a", ["low", "high"]].tolist() == pytest.approx([low, high])
        assert table.loc["b", "density"] == pytest.approx(7 / 30)
        by_density = region_table(net, net.abs(), np.array([1.0, 10, 1]), rank_by="density")
        assert by_density.index[0] == "a"

    def test_one_patient_has_no_interval(self, model, cohort):
        table = explain(model, cohort[0].iloc[:1]).by_region()
        assert table["low"].isna().all()
        assert table["attribution"].notna().all()

    def test_unknown_ranking(self, found):
        with pytest.raises(ValueError, match="rank_by must be among"):
            found.by_region(rank_by="size")

    def test_occlusion_is_what_is_lost(self, model, cohort):
        """By hand: replace the pixels of a region by the mean image and predict again."""
        import torch

        X = cohort[0].iloc[:2]
        found = explain(model, X, "occlusion")
        values = found.region_values
        np.testing.assert_allclose(
            found.region_sums("aal")["Temporal_Mid_L"], values["Temporal_Mid_L"]
        )
        from prognosis.explanation.attribution.occlusion import occlusion_features

        features, names = occlusion_features(model.view_, model.image_shape_, load_atlas("aal"))
        inputs = {name: torch.from_numpy(array).float() for name, array in model.inputs(X).items()}
        network = model.networks_[0]
        hidden = torch.from_numpy(features == names.index("Temporal_Mid_L"))
        images = torch.where(hidden, network.image_mean, inputs["image"])
        with torch.no_grad():
            before, after = (
                network(image, inputs["tabular"]) for image in (inputs["image"], images)
            )
        lost = (before - after) @ torch.tensor([-1.0, 1.0])
        np.testing.assert_allclose(values["Temporal_Mid_L"], lost, atol=1e-4)


class TestFolds:
    def test_everybody_is_explained_by_the_model_that_did_not_see_them(self, cohort):
        X = cohort[0]
        folds = cross_validate(
            StitchedSliceClassifier("t1w", **SLICES),
            *cohort,
            cv=KFold(3, shuffle=True, random_state=0),
            return_estimator=True,
            return_indices=True,
        )
        found = explain(folds, X)
        assert found.patients.equals(X.index)
        for fitted, rows in zip(folds["estimator"], folds["indices"]["test"], strict=True):
            alone = explain(fitted, X.iloc[rows])
            np.testing.assert_allclose(found.pictures[rows], alone.pictures, atol=1e-5)
        assert (found.outputs["n_models"] == 1).all()

    def test_repeats_are_averaged(self, cohort):
        X, y = cohort
        cv = RepeatedKFold(n_splits=2, n_repeats=2, random_state=0)
        folds = cross_validate(
            StitchedSliceClassifier("t1w", tabular=["severity"], **SLICES),
            X,
            y,
            cv=cv,
            return_estimator=True,
            return_indices=True,
        )
        found = explain(folds, X)
        assert (found.outputs["n_models"] == 2).all()
        alone = []
        for fitted, rows in zip(folds["estimator"], folds["indices"]["test"], strict=True):
            if 0 in rows:
                alone.append(explain(fitted, X.iloc[[0]]))
        np.testing.assert_allclose(
            found.pictures[0], np.mean([one.pictures[0] for one in alone], axis=0), atol=1e-5
        )
        expected = np.mean([one.tabular["severity"].iloc[0] for one in alone])
        assert found.tabular["severity"].iloc[0] == pytest.approx(expected, abs=1e-5)

    def test_folds_with_other_regions_meet_in_voxels(self, cohort):
        X, y = cohort
        models = [
            RoiSymbolClassifier("t1w", regions=names, **TINY).fit(X, y)
            for names in (["Temporal_Sup_L"], ["Temporal_Sup_L", "Insula_L"])
        ]
        half = np.arange(9)
        folds = {"estimator": models, "indices": {"test": [half, half + 9]}}
        found = explain(folds, X)
        assert found.to_nifti().shape == X["t1w"].iloc[0].shape
        alone = [explain(one, X.iloc[rows]) for one, rows in zip(models, folds["indices"]["test"])]
        expected = pd.concat([one.region_sums()["Temporal_Sup_L"] for one in alone])
        np.testing.assert_allclose(found.region_sums()["Temporal_Sup_L"], expected, atol=1e-4)
        assert (found.region_sums()["Insula_L"].iloc[:9] == 0).all()

    def test_without_estimators_or_indices(self, cohort):
        with pytest.raises(ValueError, match="return_indices=True"):
            explain({"estimator": []}, cohort[0])

    def test_another_table(self, model, cohort):
        folds = {"estimator": [model], "indices": {"test": [np.array([99])]}}
        with pytest.raises(CohortError, match="tests row number 99, but X has 18 rows"):
            explain(folds, cohort[0])


class TestWhatIsUnwrapped:
    def test_pipeline(self, cohort):
        X, y = cohort
        model = make_pipeline(
            LesionSize(), StitchedSliceClassifier("t1w", tabular=["lesion_ml"], **SLICES)
        ).fit(X, y)
        found = explain(model, X.iloc[:3])
        assert found.tabular.columns.tolist() == ["lesion_ml"]

    def test_wrapped(self, cohort):
        X, y = cohort
        wrapped = TemperatureScaled(StitchedSliceClassifier("t1w", **SLICES), cv=2).fit(X, y)
        inside = explain(wrapped.estimator_, X.iloc[:2])
        assert np.array_equal(explain(wrapped, X.iloc[:2]).pictures, inside.pictures)

    def test_refusals(self, cohort, model):
        X, y = cohort
        with pytest.raises(TypeError, match="found LogisticRegression where an image estimator"):
            explain(LogisticRegression(), X)
        blind = StitchedSliceClassifier(tabular=["age"], epochs=1).fit(X, y)
        with pytest.raises(ValueError, match="sees no image"):
            explain(blind, X)
        with pytest.raises(ValueError, match="method must be among"):
            explain(model, X, "magic")
        with pytest.raises(ValueError, match="baseline must be among"):
            explain(model, X, baseline="noise")
        with pytest.raises(ValueError, match="n_steps must be a whole number from 1"):
            explain(model, X, n_steps=0)
        with pytest.raises(ValueError, match="target=7 is no class"):
            explain(model, X, target=7)
        with pytest.raises(CohortError, match="column 't1w' not found"):
            explain(model, X[["age", "severity"]])

    def test_targets(self, cohort, model):
        X = cohort[0]
        one, other = (explain(model, X.iloc[:3], target=target) for target in (1, 0))
        np.testing.assert_allclose(one.pictures, -other.pictures, atol=1e-5)
        three = StitchedSliceClassifier("t1w", **SLICES).fit(X, np.arange(len(X)) % 3)
        with pytest.raises(ValueError, match="there are 3 classes; set target"):
            explain(three, X)
        found = explain(three, X.iloc[:3], target=2)
        chance = three.predict_proba(X.iloc[:3])[:, 2]
        np.testing.assert_allclose(
            found.outputs["output"], np.log(chance / (1 - chance)), atol=1e-4
        )
        number = StitchedSliceRegressor("t1w", **SLICES).fit(X, X["age"])
        with pytest.raises(ValueError, match="a regressor has no classes"):
            explain(number, X, target=1)


class TestPictures:
    @pytest.fixture
    def pictures(self):
        from nibabel import Nifti1Image

        rng = np.random.default_rng(0)
        scans = [Nifti1Image(rng.random((40, 30, 1), np.float32), np.eye(4)) for _ in range(12)]
        X = pd.DataFrame({"slice": scans})
        return StitchedSliceClassifier("slice", epochs=1, mosaic_size=32).fit(
            X, np.arange(12) % 2
        ), X

    @pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
    def test_stay_pictures(self, pictures, method):
        found = explain(*pictures, method)
        assert found.picture().shape == pictures[0].image_shape_[1:]
        assert len(found.plot().axes) >= 2
        with pytest.raises(CohortError, match="2-D pictures without a place"):
            found.to_nifti()


class TestTrust:
    def test_checks(self, model, cohort):
        found = explain(model, cohort[0], checks=True)
        checks = found.checks()
        assert checks["completeness_error"] == pytest.approx(found.completeness_error)
        assert 0 <= checks["randomisation_correlation"] <= 0.3
        assert checks["n_patients"] == 18
        assert checks is found.checks()

    def test_curves_run_from_the_patient_to_the_baseline(self, model, cohort):
        curves = explain(model, cohort[0], "gradient").insertion_deletion(6)
        assert curves["deletion"].index.tolist() == pytest.approx(np.linspace(0, 1, 11))
        for name in ("map", "random"):
            assert curves["deletion"].loc[0, name] == pytest.approx(1)
            assert curves["deletion"][name].iloc[-1] == pytest.approx(0, abs=1e-4)
            assert curves["insertion"].loc[0, name] == pytest.approx(0, abs=1e-4)
            assert curves["insertion"][name].iloc[-1] == pytest.approx(1)

    @pytest.mark.filterwarnings("ignore:in ")
    def test_maps_that_show_the_image_are_found_out(self, model, cohort, monkeypatch):
        """An edge detector in place of an attribution: the same whatever the weights."""
        from prognosis.explanation.attribution import methods

        def edges(model, given, reference, settings, batch):
            return (given[0].diff(dim=3, append=given[0][..., -1:]), given[1] * 0), 0

        monkeypatch.setattr(methods, "_gradient", edges)
        with pytest.warns(UserWarning, match="the maps show the images rather than what was"):
            found = explain(model, cohort[0], "gradient", checks=True)
        assert found.checks()["randomisation_correlation"] == pytest.approx(1)

    def test_hiding_what_counts_hides_the_prediction(self, found):
        curves = found.insertion_deletion()
        assert curves["deletion"].attrs["gain"] > 0
        assert curves["insertion"].attrs["gain"] > 0

    def test_random_map_has_the_same_spectrum(self):
        rng = np.random.default_rng(0)
        values = rng.normal(size=(16, 20)).cumsum(axis=1)
        other = _same_spectrum(values, rng)
        np.testing.assert_allclose(
            np.abs(np.fft.rfft2(other))[1:8, 1:9], np.abs(np.fft.rfft2(values))[1:8, 1:9], rtol=1e-6
        )
        assert abs(np.corrcoef(values.ravel(), other.ravel())[0, 1]) < 0.9


class TestDrawing:
    def test_plot_and_view(self, found):
        from matplotlib.figure import Figure

        for figure in (found.plot(n_slices=3), found.plot(found.patients[0], smoothing_mm=0)):
            assert isinstance(figure, Figure)
            assert "SIMULATED" in figure.get_suptitle()
        assert "<html" in found.view().html

    def test_repr(self, found):
        assert "18 SIMULATED patients" in repr(found)
        assert "log odds of 1" in repr(found)
