"""Attribution: equal to captum's patient by patient, complete, and nothing of the model changes."""

import copy
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from imaging.nets.encoders import LightweightEncoder
from prognosis import (
    FusionClassifier,
    FusionRegressor,
    RoiSymbolClassifier,
    RoiSymbolRegressor,
    RoiSymbols,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
    StitchedSlices,
    VolumeClassifier,
    Volumes,
    explain,
    make_stroke_cohort,
)
from prognosis.explanation.attribution.gradcam import _centre, find_layer
from prognosis.explanation.attribution.methods import Settings, attribute, baselines
from prognosis.explanation.attribution.networks import (
    ScalarOutput,
    explained_network,
    internal_batch_size,
    randomised,
)
from prognosis.explanation.attribution.tabular import encoded_sources, tabular_baseline

TINY = {"epochs": 2, "random_state": 0, "augment": False}
MOSAIC = {"mosaic_size": 48, "rows": 2, "columns": 2}
PICTURE = {**MOSAIC, **TINY}


@pytest.fixture(scope="module")
def cohort():
    X, y = make_stroke_cohort(14, spacing_mm=8, random_state=0)
    X["sex"] = np.where(np.arange(len(X)) % 3, "F", "M")
    return X, y


ESTIMATORS = {
    "stitched": StitchedSliceClassifier("t1w", **PICTURE),
    "stitched, two channels, two seeds, tabular": StitchedSliceClassifier(
        ["t1w", "lesion"], tabular=["severity", "sex"], allow_empty=True, n_seeds=2, **PICTURE
    ),
    "stitched, symbols": StitchedSliceRegressor(
        "t1w", tabular=["severity"], symbols=["severity", "age"], **PICTURE
    ),
    "roi": RoiSymbolClassifier(
        "t1w", tabular=["sex"], regions=3, symbols=["age"], mosaic_size=48, **TINY
    ),
    "roi, number": RoiSymbolRegressor("t1w", regions=3, mosaic_size=48, **TINY),
    "volume": VolumeClassifier("t1w", tabular=["severity"], spacing_mm=12, **TINY),
    "volume, resnet": VolumeClassifier("t1w", architecture="resnet10", **TINY),
    "early, stitched": FusionClassifier(
        "t1w", tabular=["severity", "sex"], view=StitchedSlices(**MOSAIC), **TINY
    ),
    "daft, roi": FusionClassifier(
        "t1w",
        tabular=["severity"],
        view=RoiSymbols(regions=3, mosaic_size=48),
        fusion="daft",
        **TINY,
    ),
    "daft, volume": FusionRegressor(
        "t1w", tabular=["severity"], view=Volumes(), fusion="daft", **TINY
    ),
}


@pytest.fixture(scope="module")
def fitted(cohort):
    """Fitted estimators by name, each fitted once."""
    X, y = cohort
    kept = {}

    def get(name):
        if name not in kept:
            model = ESTIMATORS[name]
            kept[name] = model.fit(X, X["age"] if "Regressor" in type(model).__name__ else y)
        return kept[name]

    return get


@pytest.mark.parametrize("name", ESTIMATORS)
class TestEveryEstimator:
    def test_integrated_gradients_add_up_to_the_prediction(self, fitted, cohort, name):
        X, model = cohort[0], fitted(name)
        found = explain(model, X.iloc[:6])
        wanted = found.outputs["output"] - found.outputs["reference"]
        missed = found.outputs["completeness_error"] * wanted.abs()
        scale = getattr(model, "target_scale_", 1.0)
        assert (missed <= 0.05 * wanted.abs() + 0.026 * scale).all()
        if hasattr(model, "target_scale_"):
            np.testing.assert_allclose(
                found.outputs["output"], model.predict(X.iloc[:6]), rtol=1e-4
            )
        elif model.n_seeds == 1:
            chance = model.predict_proba(X.iloc[:6])
            np.testing.assert_allclose(
                found.outputs["output"], np.log(chance[:, 1] / chance[:, 0]), atol=1e-3
            )
        assert found.pictures.shape[:2] == (6, len(model.image_columns_))
        wanted = set(model.tabular or []) | set(getattr(model, "symbols", None) or [])
        assert set(found.tabular.columns) == wanted

    @pytest.mark.parametrize("method", ["gradient", "smoothgrad", "gradcam", "occlusion"])
    def test_other_methods(self, fitted, cohort, name, method):
        found = explain(fitted(name), cohort[0].iloc[:3], method, n_samples=2)
        assert np.isfinite(found.pictures).all()
        assert np.ptp(found.pictures) > 0
        assert found.to_nifti().shape == cohort[0]["t1w"].iloc[0].shape
        assert np.isnan(found.completeness_error)


def inputs_of(model, X):
    return {name: torch.from_numpy(a).float() for name, a in model.inputs(X).items()}


class TestEqualToCaptum:
    """The reference: captum on the network as it is, one patient at a time."""

    @pytest.fixture
    def setting(self, fitted, cohort):
        model = fitted("early, stitched")
        inputs = tuple(inputs_of(model, cohort[0].iloc[:5]).values())
        network = copy.deepcopy(model.networks_[0]).eval()
        return model, network, inputs, lambda *x: network(*x)[:, 1] - network(*x)[:, 0]

    def patient_by_patient(self, method, inputs, **options):
        with warnings.catch_warnings(action="ignore"):
            found = [
                method.attribute(tuple(v[k : k + 1] for v in inputs), **options)
                for k in range(len(inputs[0]))
            ]
        return [torch.cat(parts).detach().numpy() for parts in zip(*found, strict=True)]

    def ours(self, model, inputs, **settings):
        arrays = {name: v.numpy() for name, v in zip(("image", "tabular"), inputs, strict=True)}
        found = attribute(model, arrays, 1, Settings(**settings))
        return found.image, found.tabular

    def test_gradient(self, setting):
        from captum.attr import Saliency

        model, _, inputs, function = setting
        expected = self.patient_by_patient(Saliency(function), inputs, abs=False)
        for one, other in zip(self.ours(model, inputs, method="gradient"), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())

    @pytest.mark.parametrize("baseline", ["mean", "zero"])
    def test_integrated_gradients(self, setting, baseline):
        from captum.attr import IntegratedGradients

        model, network, inputs, function = setting
        reference = baselines(model, network, baseline)
        expected = self.patient_by_patient(
            IntegratedGradients(function), inputs, baselines=reference, n_steps=8
        )
        found = self.ours(model, inputs, baseline=baseline, n_steps=8, max_steps=8)
        for one, other in zip(found, expected, strict=True):
            # Where a step lies on a kink of the network, rounding decides on which side.
            close = np.isclose(one, other, atol=1e-4 * np.abs(other).max())
            assert close.mean() > 0.995
            np.testing.assert_allclose(one, other, atol=0.05 * np.abs(other).max())

    def test_batches_do_not_matter(self, setting):
        model, _, inputs, _ = setting
        one, several = (self.ours(model, inputs, batch_size=size) for size in (1, 5))
        np.testing.assert_allclose(one[0], several[0], atol=1e-5 * np.abs(one[0]).max())


# the network is hardly trained, so some checks may fail, and say so
@pytest.mark.filterwarnings("ignore::UserWarning")
class TestTheModelIsUntouched:
    @pytest.mark.parametrize("method", ["integrated_gradients", "gradcam", "occlusion"])
    def test_weights_flags_hooks_and_random_state(self, fitted, cohort, method):
        model = fitted("stitched")
        network = model.networks_[0]
        before = {name: value.clone() for name, value in network.state_dict().items()}
        asked = [weight.requires_grad for weight in network.parameters()]
        gradients = [weight.grad for weight in network.parameters()]  # training leaves its last
        state, threads = torch.get_rng_state(), torch.get_num_threads()
        explain(model, cohort[0].iloc[:2], method, checks=True)
        assert torch.equal(state, torch.get_rng_state())
        assert threads == torch.get_num_threads()
        after = network.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())
        assert not network.training
        assert [weight.requires_grad for weight in network.parameters()] == asked
        left = [weight.grad for weight in network.parameters()]
        assert all(one is other for one, other in zip(left, gradients, strict=True))
        assert not any(m._forward_hooks or m._backward_hooks for m in network.modules())

    def test_the_same_twice(self, fitted, cohort):
        one, two, other = (
            explain(fitted("stitched"), cohort[0].iloc[:2], "smoothgrad", random_state=seed)
            for seed in (0, 0, 1)
        )
        assert np.array_equal(one.pictures, two.pictures)
        assert not np.array_equal(one.pictures, other.pictures)


def test_simplified_network_is_the_same_function(fitted, cohort):
    model = fitted("stitched")
    images = inputs_of(model, cohort[0])["image"]
    simple = explained_network(model, model.networks_[0], 1, torch.device("cpu"))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in simple.modules())
    with torch.no_grad():
        outputs = model.networks_[0](images)
        np.testing.assert_allclose(simple(images), outputs[:, 1] - outputs[:, 0], atol=1e-4)


def test_log_odds_against_all_other_classes():
    outputs = torch.tensor([[0.2, -1.0, 3.0]])
    chance = torch.softmax(outputs, dim=1)
    for k in range(3):
        found = ScalarOutput(lambda image: image, k)(outputs)
        torch.testing.assert_close(found, torch.log(chance[:, k] / (1 - chance[:, k])))


def test_randomised_networks_keep_the_mean_image(fitted):
    network = fitted("stitched").networks_[0]
    other, again = randomised(network, 1), randomised(network, 1)
    assert torch.equal(other.image_mean, network.image_mean)
    assert not torch.equal(other.output.weight, network.output.weight)
    assert torch.equal(other.output.weight, again.output.weight)


def test_memory_bounds_the_batch(fitted, cohort):
    model = explained_network(
        fitted("stitched"), fitted("stitched").networks_[0], 1, torch.device("cpu")
    )
    images = inputs_of(fitted("stitched"), cohort[0])["image"]
    assert internal_batch_size(model, (images,)) == 32
    # a head of 160 voxels along each side: activations of hundreds of megabytes
    network = torch.nn.Sequential(LightweightEncoder((160, 160, 160)), torch.nn.LazyLinear(2))
    big = ScalarOutput(network, 1).eval()
    assert internal_batch_size(big, (torch.zeros(1, 1, 160, 160, 160),)) == 1


def test_grad_cam_units_lie_where_they_look(fitted, cohort):
    model = fitted("stitched")
    explained = explained_network(model, model.networks_[0], 1, torch.device("cpu"))
    given = (inputs_of(model, cohort[0])["image"],)
    layer = find_layer(explained, given)
    # 48 pixels: convolution 46, pooling 23, convolution 21, pooling 10, convolution 8 units.
    # Unit k of the third convolution sees pooled pixels k ... k + 2, each 2 x 2 of the second
    # convolution, and so on: 4 k + 8.5 in pixels.
    for unit in (2, 6):
        assert abs(_centre(explained, layer, given, 2, unit) - (4 * unit + 8.5)) < 1.5


class TestTabular:
    def test_every_feature_knows_its_column(self):
        from prognosis import TabularEncoder

        X = pd.DataFrame({"age": [60.0, 70, np.nan], "sex": ["F", "M", "F"], "size": [1.0, 2, 3]})
        encoder = TabularEncoder(["sex", "age", "size"]).fit(X)
        sources, levels = encoded_sources(encoder)
        features = encoder.get_feature_names_out().tolist()
        assert features == ["age", "size", "missingindicator_age", "sex_F", "sex_M"]
        assert sources == ["age", "size", "age", "sex", "sex"]
        assert levels.tolist() == [0, 0, 0, 2, 2]
        assert tabular_baseline(encoder).tolist() == [[0, 0, 0, 0.5, 0.5]]

    def test_a_variable_that_decides_gets_the_attribution(self):
        rng = np.random.default_rng(0)
        grid = np.diag([8.0, 8, 8, 1])
        images = [nib.Nifti1Image(rng.random((10, 12, 8), np.float32), grid) for _ in range(40)]
        X = pd.DataFrame({"scan": images, "a": rng.normal(size=40), "b": rng.normal(size=40)})
        y = (X["a"] > 0).astype(int)
        model = StitchedSliceClassifier("scan", tabular=["a", "b"], **PICTURE).fit(X, y)
        found = explain(model, X)
        strength = found.tabular.abs().mean()
        assert strength["a"] > 5 * strength["b"]
        assert np.corrcoef(found.tabular["a"], X["a"])[0, 1] > 0.95


class TestPlanted:
    """A bright spot lies on the left or on the right; which of them is the outcome."""

    SPOTS = np.s_[1:4, 4:8, 2:6], np.s_[8:11, 4:8, 2:6]

    @pytest.fixture(scope="class")
    @classmethod
    def spots(cls):
        rng = np.random.default_rng(1)
        images, y = [], np.arange(48) % 2
        for label in y:
            data = rng.uniform(0.3, 0.5, (12, 12, 8)).astype(np.float32)
            data[cls.SPOTS[label]] += 0.5
            images.append(nib.Nifti1Image(data, np.diag([8.0, 8, 8, 1])))
        X = pd.DataFrame({"scan": images})
        options = {"mosaic_size": 48, "rows": 2, "columns": 4, "random_state": 0}
        model = StitchedSliceClassifier("scan", epochs=12, augment=False, **options).fit(X, y)
        return model, X, y

    @pytest.mark.parametrize(
        ("method", "times"), [("integrated_gradients", 8), ("gradient", 1.5), ("gradcam", 1.2)]
    )
    def test_found_where_it_is(self, spots, method, times):
        model, X, y = spots
        data = np.abs(explain(model, X[y == 1], method).to_nifti().get_fdata())
        seen = model.mosaic_.coverage(X["scan"].iloc[0]).get_fdata() > 0
        spot = np.zeros(data.shape, bool)
        spot[self.SPOTS[0]] = spot[self.SPOTS[1]] = True
        assert data[spot & seen].mean() > times * data[~spot & seen].mean()

    def test_speaks_for_and_against(self, spots):
        model, X, _ = spots
        found = explain(model, X)
        left, right = found.to_nifti(0).get_fdata(), found.to_nifti(1).get_fdata()
        # patient 0 has the spot of class 0, which speaks against class 1
        assert left[self.SPOTS[0]].sum() < 0 < right[self.SPOTS[1]].sum()
