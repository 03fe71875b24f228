"""Noise of scans: estimated, and taken off; structure is left, and other units change nothing."""

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, zoom
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from imaging import Denoiser, ImageError, LabelMapSource, ModelFileError, noise_sd, psnr
from imaging.denoising.noise import AddedNoise
from imaging.denoising.tasks import DenoisingTask
from imaging.segmentation import LesionSegmenter

HEADS = LabelMapSource(spacing_mm=4)
QUICK = {"source": HEADS, "patch_size": 16, "channels": (16, 16), "batch_size": 2, "patches": 8}
QUICK |= {"validation_samples": 0, "learning_rate": 3e-3, "weight_decay": 0, "random_state": 0}
TINY = {"channels": (4, 4), "patch_size": 16, "epochs": 1, "steps_per_epoch": 1, "batch_size": 1}
TINY |= {"validation_samples": 0, "random_state": 0}


def head(shape=(30, 36, 28), scale=100.0):
    """A smooth head of three tissues, air around it."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    away = sum(axis**2 for axis in axes)
    tissues = 1.0 * (away < 0.8) + 0.6 * (away < 0.5) - 0.9 * (away < 0.1)
    return (scale * gaussian_filter(tissues, 0.7)).astype(np.float32)


def noisy(clean, sd, seed=0):
    return clean + np.random.default_rng(seed).normal(0, sd, clean.shape).astype(np.float32)


def image(array, affine=None):
    return nib.Nifti1Image(array, np.diag([-2, 2, 2, 1.0]) if affine is None else affine)


@pytest.fixture(scope="module")
def denoiser():
    return Denoiser(**QUICK, epochs=2, steps_per_epoch=6).fit()


# ------------------------------------------------------------------ how much there is


@pytest.mark.parametrize("sd", [2.0, 5.0, 15.0])
@pytest.mark.parametrize("shape", [(40, 44, 36), (120, 100)])
def test_the_noise_is_estimated(sd, shape):
    clean = head(shape)
    found = [noise_sd(noisy(clean, sd, seed)) for seed in range(3)]
    assert np.mean(found) == pytest.approx(sd, rel=0.1)
    rng = np.random.default_rng(0)
    magnitude = np.hypot(noisy(clean, sd), rng.normal(0, sd, shape))
    if sd < 10:  # well below the signal
        assert noise_sd(magnitude) == pytest.approx(sd, rel=0.12)


def test_the_estimate_is_in_the_units_of_the_scan_and_reads_only_the_head():
    scan = noisy(head(), 4.0)
    assert noise_sd(7 * scan + 30) == pytest.approx(7 * noise_sd(scan), rel=1e-4)
    assert noise_sd(np.where(head() > 5, scan, 0)) == pytest.approx(4.0, rel=0.12)
    assert noise_sd(image(scan)) == pytest.approx(noise_sd(scan), rel=1e-5)
    outlier = scan.copy()
    outlier[10:12, 10:12, 10:12] = 1e5
    assert noise_sd(outlier) < 6
    assert noise_sd(head((8, 8, 8)) * 0 + 3) == 0.0
    assert noise_sd(zoom(scan, 2, order=1)) < 3  # what was resampled, as it is said


def test_what_has_no_estimate_is_refused():
    with pytest.raises(ImageError, match="at least 4 voxels"):
        noise_sd(np.zeros((3, 9, 9)))
    with pytest.raises(ImageError, match="not finite"):
        noise_sd(np.full((9, 9), np.nan))


# --------------------------------------------------------------------- what is learnt


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_the_target_is_the_noise_in_its_own_units(noise):
    scan = torch.from_numpy(head())[None]
    step = AddedNoise(noise, noise_range=(0.2, 0.2))
    scene, ((_, _),) = (lambda s, h: (s, [tuple(h[0].items())]))(*step.sample({"image": scan}, 1))
    bright = scan > 0.5 * scan.max()
    assert float(scene["target"][bright].std()) == pytest.approx(1.0, rel=0.05)
    clean = scene["image"] - scene["target"]
    flat = np.corrcoef(clean.flatten(), scan.flatten())[0, 1]
    assert flat == pytest.approx(1.0, abs=1e-4)
    air = scan < 0.01 * scan.max()
    if noise == "rician":  # air has a mean of sd * sqrt(pi / 2), or was cut away
        mean = float(scene["image"][air].mean())
        assert mean == pytest.approx(np.sqrt(np.pi / 2), rel=0.05) or mean < 0.1
        assert float(scene["image"].min()) >= 0
    again, _ = step.sample({"image": 50 * scan}, 1)
    torch.testing.assert_close(again["image"], scene["image"], atol=1e-3, rtol=1e-3)


def test_it_takes_noise_off_and_leaves_the_head(denoiser):
    clean = head()
    scan = noisy(clean, 20.0)
    (found,) = denoiser.predict([image(scan)])
    found = np.asanyarray(found.dataobj)
    assert psnr(found, clean) > psnr(scan, clean) + 3
    # what is taken off is no head
    assert abs(np.corrcoef((scan - found).ravel(), clean.ravel())[0, 1]) < 0.2


def test_units_offsets_and_orientation_are_the_scans_own(denoiser):
    scan = noisy(head(), 15.0)
    scan -= scan.min()
    (one,) = denoiser.predict([image(scan)])
    (other,) = denoiser.predict([image(1000 * scan)])
    np.testing.assert_allclose(
        np.asanyarray(other.dataobj), 1000 * np.asanyarray(one.dataobj), rtol=1e-3, atol=2
    )
    assert one.shape == scan.shape and nib.aff2axcodes(one.affine) == ("L", "A", "S")
    turned = image(scan[:, ::-1], one.affine @ np.diag([1, -1, 1, 1]))
    assert np.asanyarray(denoiser.predict([turned])[0].dataobj).shape == scan.shape
    assert np.asanyarray(one.dataobj).min() >= 0  # a magnitude stays one
    again = denoiser.predict([image(scan)])[0]
    np.testing.assert_array_equal(again.dataobj, one.dataobj)


def test_a_given_level_counts(denoiser):
    scan = noisy(head(), 15.0)
    known = clone(denoiser).set_params(noise_sd=15.0)
    known.__dict__.update({n: v for n, v in vars(denoiser).items() if n.endswith("_")})
    taken = [
        float(np.std(scan - np.asanyarray(model.predict([image(scan)])[0].dataobj)))
        for model in (known, denoiser)
    ]
    assert taken[0] == pytest.approx(taken[1], rel=0.25)
    known.set_params(noise_sd=1.5)
    little = np.std(scan - np.asanyarray(known.predict([image(scan)])[0].dataobj))
    assert little < 0.5 * taken[0]


def test_a_scan_without_noise_stays_as_it_is(denoiser):
    blocks = np.zeros((16, 16, 16), np.float32)
    blocks[4:12, 4:12, 4:12] = 3
    (found,) = denoiser.predict([image(blocks)])
    np.testing.assert_array_equal(found.dataobj, blocks)


def test_files(denoiser, tmp_path):
    path = denoiser.save(tmp_path / "denoiser.safetensors", training_data="synthetic scans only")
    loaded = Denoiser.load(path)
    assert loaded.spacing_mm is None and loaded.identity() == denoiser.identity()
    scan = image(noisy(head(), 10.0))
    one, other = (m.predict([scan])[0].dataobj for m in (denoiser, loaded))
    np.testing.assert_array_equal(one, other)
    assert Denoiser.load(path, noise_sd=2.0).noise_sd == 2.0
    with pytest.raises(ModelFileError, match="has the classes noise"):
        LesionSegmenter.load(path)
    with pytest.raises(ModelFileError, match="no pretrained model"):
        Denoiser.from_pretrained("nothing")


# -------------------------------------------------------------------------- real scans


def test_real_scans_and_cross_validation(tmp_path):
    scans = [image(head(scale=s)) for s in (50, 90, 200, 400)]
    model = Denoiser(**TINY)
    assert np.isfinite(cross_val_score(model, scans, cv=2, error_score="raise")).all()
    fitted = Denoiser(**TINY, noise="rician", validation_fraction=0.25).fit(scans)
    assert "score" in fitted.history_[0]
    pairs = [image(noisy(head(scale=s), 0.1 * s)) for s in (50, 90, 200, 400)]
    assert np.isfinite(fitted.score(pairs, scans))
    with pytest.warns(UserWarning, match="was trained on scans"):
        fitted.score(scans)


def test_it_learns_from_pictures():
    pictures = [head((44, 40)), 3 * head((48, 44)), head((40, 52), 20.0)]
    settings = {**TINY, "spatial_dims": 2, "channels": (16, 16), "noise_range": (0.2, 0.6)}
    settings |= {"noise": "gaussian", "batch_size": 8, "weight_decay": 0}
    before = Denoiser(**{**settings, "learning_rate": 1e-9}).fit(pictures[:2])
    after = Denoiser(**{**settings, "learning_rate": 3e-3, "epochs": 4, "steps_per_epoch": 30})
    after.fit(pictures[:2])
    assert after.score(pictures[2:]) > before.score(pictures[2:]) + 0.7
    found = after.predict([noisy(pictures[0], 5.0)])[0]
    assert found.shape == (44, 40) and found.dtype == np.float32


def test_refusals(denoiser):
    scan = image(head())
    with pytest.raises(ValueError, match="adds noise to scans itself, and found y"):
        Denoiser(**TINY).fit([scan], [scan])
    with pytest.raises(ImageError, match="scan 0: found 2 sequences, whose noise"):
        denoiser.predict([[scan, scan]])
    with pytest.raises(ImageError, match="scan 0: no file at 'gone"):
        denoiser.predict(["gone.nii"])
    with pytest.raises(ImageError, match="voxels with noise and"):
        denoiser.score([scan, scan], [scan, image(head((20, 20, 20)))])
    with pytest.raises(ValueError, match="found 2 scans and 1 clean ones"):
        denoiser.score([scan, scan], [scan])
    for wrong in ({"noise": "salt"}, {"noise_range": (0.0, 1.0)}, {"noise_sd": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Denoiser(**{**TINY, **wrong}).fit([scan])


def test_the_task_says_what_it_is():
    task = DenoisingTask(noise_sd=2.0)
    assert "noise_sd" not in task.settings() and task.kept == (0,)
    np.testing.assert_allclose(task.scaling.undone(np.ones(3), np.zeros(3)), 2.0)
    with pytest.raises(ImageError, match="one shape"):
        psnr(np.zeros(3), np.zeros(4))
    with pytest.raises(ImageError, match="give data_range"):
        psnr(np.zeros(3), np.zeros(3))
