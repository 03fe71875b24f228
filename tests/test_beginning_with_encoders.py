"""Networks that begin with a pretrained encoder: what is frozen, and for how long."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from imaging import Denoiser, LabelMapSource, LesionSegmenter, ModelFileError, TissueSegmenter
from imaging import SequenceInvariantEncoder as Encoder
from imaging.learning.batches import Samples
from imaging.learning.engine import train_network
from imaging.learning.pretrained import open_encoder
from imaging.nets.classifiers import ImageTabularNet
from imaging.nets.encoders import Encoder as EncoderProtocol
from imaging.nets.pretrained import standardised
from imaging.nets.voxelwise import build_voxelwise
from imaging.voxelwise import fitting
from imaging.voxelwise.scaling import standardise
from prognosis import (
    FusionClassifier,
    RoiSymbolClassifier,
    ScanEmbedding,
    StitchedSliceClassifier,
    VolumeClassifier,
    VolumeRegressor,
    Volumes,
    make_stroke_cohort,
)

HEADS = LabelMapSource(spacing_mm=8)
QUICK = {"source": HEADS, "spacing_mm": 8, "patch_size": 16, "validation_samples": 0}
QUICK |= {"epochs": 2, "steps_per_epoch": 2, "random_state": 0, "learning_rate": 0.01}


def pretrained(**changes):
    settings = {"channels": (4, 8), "source": HEADS, "spacing_mm": 8, "patch_size": 16}
    settings |= {"batch_size": 2, "steps_per_epoch": 1, "epochs": 1, "random_state": 0}
    return Encoder(**{**settings, **changes}).fit()


@pytest.fixture(scope="module")
def encoder():
    return pretrained()


@pytest.fixture(scope="module")
def flat():
    """An encoder of pictures."""
    return pretrained(spatial_dims=2)


@pytest.fixture(scope="module")
def path(encoder, tmp_path_factory):
    return encoder.save(tmp_path_factory.mktemp("encoders") / "encoder.safetensors")


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    affine = np.diag([8, 8, 8, 1.0])
    scans = [nib.Nifti1Image(rng.random((18, 22, 18), np.float32), affine) for _ in range(12)]
    masks = [
        nib.Nifti1Image((rng.random((18, 22, 18)) > 0.9).astype(np.uint8), affine) for _ in scans
    ]
    X = pd.DataFrame({"t1w": scans, "lesion": masks, "age": rng.normal(60, 9, 12)})
    return X, pd.Series([0, 1] * 6)


def inside(model):
    return model.network_.get_submodule("body.encoder").state_dict()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_segmenter_begins_with_the_encoder_and_goes_to_a_file(encoder, path, tmp_path):
    weights = encoder.network_.encoder.state_dict()
    for given in (path, FrozenEstimator(encoder), Encoder.load(path)):
        model = clone(LesionSegmenter(initial_weights=given, freeze=True, **QUICK)).fit()
        assert same(inside(model), weights)
    assert not same(inside(LesionSegmenter(initial_weights=path, **QUICK).fit()), weights)
    loaded = LesionSegmenter.load(model.save(tmp_path / "segmenter.safetensors"))
    assert loaded.architecture == "encoder-small" and loaded.identity() == model.identity()
    scan = nib.Nifti1Image(np.random.default_rng(0).random((18, 20, 17)), np.diag([8, 8, 8, 1]))
    one, other = (m.predict_proba([scan])[0].get_fdata() for m in (model, loaded))
    np.testing.assert_array_equal(one, other)
    further = loaded.set_params(epochs=1, freeze=True, source=HEADS, steps_per_epoch=1)
    assert same(inside(further.fit()), weights)  # its own encoder


def test_tissues_and_noise_begin_with_it_too(path):
    weights = open_encoder(path).network.state_dict()
    assert same(inside(TissueSegmenter(initial_weights=path, freeze=True, **QUICK).fit()), weights)
    model = Denoiser(initial_weights=path, freeze=True, **{**QUICK, "spacing_mm": None}).fit()
    assert same(inside(model), weights) and model.architecture_ == "encoder-small"


@pytest.mark.parametrize("epochs", [1, 2])
def test_it_thaws_after_so_many_epochs(path, epochs):
    weights = open_encoder(path).network.state_dict()
    model = LesionSegmenter(initial_weights=path, freeze=epochs, **QUICK).fit()
    assert same(inside(model), weights) == (epochs == 2)


def test_a_training_goes_on_frozen_or_thawed_as_it_was(path, tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch, row):
        raise Stop

    settings = {**QUICK, "epochs": 3, "freeze": 2, "initial_weights": path}
    whole = LesionSegmenter(**settings).fit()
    train = fitting.train_patches
    for after in (1, 2):
        folder = tmp_path / str(after)
        broken = LesionSegmenter(**settings, checkpoint=folder)

        def stopped(*args, after=after, **more):
            def on_epoch(epoch, row):
                if epoch == after + 1:  # the epoch before is kept
                    raise Stop

            return train(*args, on_epoch=on_epoch, **more)

        fitting.train_patches = stopped
        try:
            with pytest.raises(Stop):
                broken.fit()
        finally:
            fitting.train_patches = train
        again = LesionSegmenter(**settings, checkpoint=folder).fit()
        assert same(whole.network_.state_dict(), again.network_.state_dict())


class Normalised(EncoderProtocol):
    """An encoder with all that could move without learning: statistics, and dropout."""

    channels = (4,)

    def __init__(self):
        super().__init__()
        self.steps = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5)
        )

    def levels(self, image):
        return [self.steps(image)]


def test_what_is_frozen_is_frozen_to_the_bit():
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(16, 1, 8, 8, generator=rng)
    samples = Samples({"image": image}, torch.rand(16, generator=rng), torch.ones(16))

    def trained(freeze, epochs):
        def new():
            network = ImageTabularNet(Normalised(), 0, 1, dropout=0.0)
            if freeze:
                network.freeze("encoder", epochs=epochs)
            first.update({n: t.clone() for n, t in network.encoder.state_dict().items()})
            return network

        first = {}
        network, _ = train_network(
            new,
            samples,
            loss=lambda outputs, y: (outputs[:, 0] - y).square(),
            epochs=3,
            batch_size=8,
            device="cpu",
        )
        return first, network

    before, network = trained(True, None)
    after = network.encoder.state_dict()
    assert set(after) == set(before) and same(before, after)  # num_batches_tracked, too
    network.train()
    assert torch.equal(network.encoder(image), network.encoder(image))  # nothing is dropped
    assert network.reduce.training
    for freeze, epochs in ((False, None), (True, 2)):
        before, network = trained(freeze, epochs)
        after = network.encoder.state_dict()
        assert not torch.equal(before["steps.0.weight"], after["steps.0.weight"])
        assert int(after["steps.1.num_batches_tracked"]) == (6 if epochs is None else 2)


def test_features_beside_the_intensities(path):
    weights = open_encoder(path).network.state_dict()
    model = LesionSegmenter("features-small", initial_weights=path, **QUICK).fit()
    network = model.network_
    assert same(network.body.features.state_dict(), weights)
    image = torch.rand(2, 1, 16, 16, 16)
    assert torch.equal(network(image), network(image))
    network.train()
    assert not network.body.features.training
    torch.manual_seed(0)
    outputs = torch.stack([network(image[:1]) for _ in range(12)])
    assert 1 < len({round(float(one.detach().sum()), 3) for one in outputs}) <= 3  # both, either
    network.body.drop = 0.0
    assert torch.allclose(network(image), network.eval()(image), atol=1e-5)


def test_a_volume_with_a_mask_beside_it(encoder, path, cohort):
    X, y = cohort
    settings = {"spacing_mm": 8, "epochs": 1, "random_state": 0, "space": "native"}
    model = VolumeClassifier(
        ["t1w", "lesion"], allow_empty=True, initial_weights=path, tabular=["age"], **settings
    ).fit(X, y)
    inner = model.networks_[0].encoder
    assert same(inner.inside.state_dict(), encoder.network_.encoder.state_dict())
    seen = torch.from_numpy(model.prepared_images(X))
    found = inner(seen)
    assert found.shape == (12, inner.inside.n_features + 64)
    # the vector is that of the scan, whatever its units; the mask's share adds up
    np.testing.assert_allclose(found[:, : inner.inside.n_features], inner.inside(inner._seen(seen)))
    shares = found[:, inner.inside.n_features :].detach().numpy()
    assert np.corrcoef(shares.mean(1), seen[:, 1].mean((1, 2, 3)))[0, 1] > 0.8
    brighter = seen * torch.tensor([7.0, 1.0])[:, None, None, None]
    torch.testing.assert_close(inner(brighter), found, atol=1e-4, rtol=1e-3)
    thawed = VolumeRegressor("t1w", initial_weights=path, freeze=False, **settings)
    thawed.fit(X, X["age"])
    assert not same(thawed.networks_[0].encoder.inside.state_dict(), inner.inside.state_dict())
    fused = FusionClassifier(
        "t1w", tabular=["age"], view=Volumes(spacing_mm=8, space="native"), fusion="daft",
        initial_weights=path, epochs=1,
    )  # fmt: skip
    assert fused.fit(X, y).predict_proba(X).shape == (12, 2)


def test_pictures_begin_with_encoders_of_pictures(flat):
    X, y = make_stroke_cohort(12, spacing_mm=8, random_state=0)
    settings = {"mosaic_size": 32, "epochs": 1, "random_state": 0, "symbols": ["age"]}
    settings |= {"initial_weights": FrozenEstimator(flat)}
    for model in (
        StitchedSliceClassifier("t1w", rows=2, columns=2, **settings),
        RoiSymbolClassifier("lesion", allow_empty=True, regions=2, **settings),
    ):
        fitted = clone(model).fit(X, y)
        inner = fitted.networks_[0].encoder
        assert same(inner.inside.state_dict(), flat.network_.encoder.state_dict())
        assert fitted.predict_proba(X).shape == (12, 2)
        assert inner.n_features == 8 * 64  # cells of the picture, not the vector of a head
    with pytest.raises(ValueError, match="begins with one of them"):
        model.set_params(pretrain="drawn").fit(X, y)


def test_scans_are_scaled_as_in_pretraining():
    rng = np.random.default_rng(0)
    scans = rng.gamma(2.0, size=(3, 1, 12, 14, 10)).astype(np.float32)
    found = standardised(torch.from_numpy(scans)).numpy()
    np.testing.assert_allclose(found[1, 0], standardise(scans[1, 0]), atol=2e-5)
    np.testing.assert_allclose(found[2, 0], standardise(5 * scans[2, 0]), atol=2e-5)
    flat = torch.zeros(1, 1, 4, 4)
    assert torch.equal(standardised(flat), flat)


def test_a_linear_probe(path, cohort):
    X, y = cohort
    for encoder in (path, Encoder.load(path)):
        probe = make_pipeline(
            ScanEmbedding("t1w", encoder=encoder, output="added"), LogisticRegression()
        )
        assert np.isfinite(cross_val_score(probe, X, y, cv=2, error_score="raise")).all()


def test_refusals(encoder, flat, path, cohort, tmp_path):
    X, y = cohort
    with pytest.raises(ValueError, match="would keep random weights"):
        LesionSegmenter(freeze=True, **QUICK).fit()
    with pytest.raises(ModelFileError, match="not fitted, or was cloned"):
        clone(LesionSegmenter(initial_weights=encoder, **QUICK)).fit()
    with pytest.raises(ModelFileError, match="sees 2 dimensions and this model 3"):
        LesionSegmenter(initial_weights=flat, **QUICK).fit()
    with pytest.raises(ModelFileError, match="give them the same name"):
        LesionSegmenter("features-cnn", initial_weights=path, **QUICK).fit()
    with pytest.raises(ValueError, match="no encoder that stands by itself"):
        network = build_voxelwise("unet-small", 2)
        network.freeze(network.encoder_part)
    with pytest.raises(ValueError, match="sees 2 dimensions and the images here have 3"):
        VolumeClassifier("t1w", initial_weights=FrozenEstimator(flat), space="native").fit(X, y)
    with pytest.warns(UserWarning, match="set spacing_mm=8"):
        model = VolumeClassifier("t1w", initial_weights=path, spacing_mm=10, space="native")
        model.set_params(epochs=1).fit(X, y)
    segmenter = LesionSegmenter(initial_weights=path, **QUICK).fit()
    file = segmenter.save(tmp_path / "segmenter.safetensors")
    with pytest.raises(ModelFileError, match="holds no pretrained encoder"):
        VolumeClassifier("t1w", initial_weights=file, space="native").fit(X, y)
