"""Intensities: noise with its known means, and each fast operation against the simple formula."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d, zoom

from imaging.synthesis import (
    Acquisition,
    BiasField,
    Blur,
    CoarseDropout,
    Gamma,
    Gibbs,
    IntensityMixture,
    LowResolution,
    Rescale,
    RicianNoise,
    SkullStrip,
    ZScore,
    smooth_field,
    texture,
    white_noise,
)
from imaging.synthesis.intensity import quantiles
from imaging.synthesis.noise import add_noise
from imaging.synthesis.separable import (
    FWHM,
    along_axes,
    downsampling,
    gaussian,
    spline_basis,
    truncation,
    upsampling,
)


def picture(shape=(24, 30, 28), seed=0):
    return torch.rand((1, *shape), generator=torch.Generator().manual_seed(seed))


def noise(**changes):
    return {"sd": 0.1, "coils": 1, "g_factor": 0.0, "seed": 3, "noise_device": "cpu"} | changes


def test_rician_noise_without_signal_has_its_mean():
    empty = torch.zeros(1, 64, 64, 64)
    empty[0, 0, 0, 0] = 10.0  # sets the scale: sigma = 1
    values = add_noise(empty, noise())[0, 1:]
    assert abs(float(values.mean()) - math.sqrt(math.pi / 2)) < 0.01
    assert abs(float(values.var()) - (2 - math.pi / 2)) < 0.01


def test_rician_noise_far_above_it_is_gaussian():
    bright = torch.full((1, 64, 64, 64), 100.0)
    values = add_noise(bright, noise(sd=0.01))
    # The mean exceeds the signal by sigma²/2S.
    assert abs(float(values.mean()) - (100 + 1 / 200)) < 0.02
    assert abs(float(values.std()) - 1) < 0.01


def test_noise_of_several_coils_is_chi():
    empty = torch.zeros(1, 48, 48, 48)
    empty[0, 0, 0, 0] = 10.0
    values = add_noise(empty, noise(coils=4))[0, 1:]
    expected = math.sqrt(2) * math.gamma(4.5) / math.gamma(4)
    assert abs(float(values.mean()) - expected) < 0.01


def test_a_g_factor_makes_noise_uneven():
    bright = torch.full((1, 40, 40, 40), 100.0)
    even, uneven = (add_noise(bright, noise(sd=0.01, g_factor=g)) - 100 for g in (0.0, 0.8))
    spread = [v.reshape(20, -1).std(1) for v in (even, uneven)]
    assert spread[1].max() / spread[1].min() > 1.3 * spread[0].max() / spread[0].min()


@pytest.mark.parametrize("width", [0.5, 1.2, 3.0, 8.0])
def test_texture_has_unit_variance_and_its_width(width):
    fields = torch.stack([texture(seed, width, (40, 40, 40), "cpu")[0] for seed in range(30)])
    assert abs(float(fields.mean())) < 0.1
    assert abs(float(fields.var(0).mean()) - 1) < 0.1
    if width > 2:
        # Noise through a Gaussian of this FWHM has the autocorrelation exp(-d² / 4 sigma²).
        step = round(width / 2)
        r = (fields[:, step:] * fields[:, :-step]).mean()
        assert abs(float(r) - math.exp(-((step * FWHM / width) ** 2) / 4)) < 0.1


def test_white_noise_is_that_of_its_seed():
    state = torch.get_rng_state()
    assert torch.equal(white_noise(5, (9, 9), "cpu"), white_noise(5, (9, 9), "cpu", "cpu"))
    assert not torch.equal(white_noise(5, (9, 9), "cpu"), white_noise(6, (9, 9), "cpu"))
    assert torch.equal(state, torch.get_rng_state())
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match='noise_device="cpu"'):
            white_noise(5, (9, 9), "cpu", "cuda")


@pytest.mark.parametrize("fwhm", [1.5, 3.0])
def test_blur_equals_a_gaussian_filter(fwhm):
    image = picture()
    ours = along_axes(image, [gaussian(n, fwhm) for n in image.shape[1:]])[0]
    weights = gaussian(41, fwhm)[20].numpy()
    # The share of a Gaussian that falls into voxels has its variance and that of a voxel.
    variance = (weights * (np.arange(41) - 20.0) ** 2).sum()
    assert abs(variance - ((fwhm / FWHM) ** 2 + 1 / 12)) < 0.01
    simple = image[0].numpy()
    for axis in range(3):
        simple = convolve1d(simple, weights, axis=axis, mode="nearest")
    assert np.abs(ours.numpy() - simple).max() < 1e-5


def test_truncation_equals_the_fourier_transform():
    for size, kept in ((32, 0.6), (33, 0.8)):
        row = picture((size,))[0].numpy()
        spectrum = np.fft.fft(row)
        highest = min((size - 1) // 2, round(kept * size / 2))
        spectrum[np.abs(np.fft.fftfreq(size, 1 / size)) > highest + 0.5] = 0
        expected = np.fft.ifft(spectrum).real
        assert (
            np.abs((truncation(size, kept) @ torch.from_numpy(row)).numpy() - expected).max() < 1e-5
        )


def test_slices_are_averaged_and_interpolated_linearly():
    ramp = torch.arange(12.0)
    slices = downsampling(12, 3.0) @ ramp
    torch.testing.assert_close(slices, torch.tensor([1.0, 4, 7, 10]))
    back = upsampling(12, 4) @ slices
    torch.testing.assert_close(back[1:-1], ramp[1:-1])
    assert abs(float((downsampling(100, 3.7).sum(1) - 1).abs().max())) < 1e-6
    one = zoom(np.arange(4.0), 3, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose((upsampling(12, 4) @ torch.arange(4.0)).numpy(), one, atol=1e-6)


def test_spline_fields_are_smooth_and_keep_constants():
    assert torch.allclose(spline_basis(30, 7).sum(1), torch.ones(30))
    field = smooth_field(2, (6, 6), (60, 60), "cpu")[0]
    assert field.diff(dim=0).abs().max() < 0.5
    with pytest.raises(ValueError, match="4 control points"):
        spline_basis(30, 3)


@pytest.mark.parametrize("shape", [(24, 30, 28), (36, 40)])
def test_one_acquisition_equals_its_steps(shape):
    """Without noise, one matrix per axis is the chain of blur, ringing and slices."""
    image = {"image": picture(shape)}
    whole = Acquisition(Blur(3.0), LowResolution(), Gibbs(), RicianNoise(probability=0.0))
    after, history = whole.sample(image, 5)
    drawn = history[0]["parameters"]
    steps = Blur().apply(image, drawn["blur"])
    steps = Gibbs().apply(steps, drawn["gibbs"])
    steps = LowResolution().apply(steps, drawn["resolution"])
    torch.testing.assert_close(after["image"], steps["image"], atol=1e-5, rtol=0)
    assert drawn["noise"] is None


def test_noise_comes_at_the_resolution_of_the_scan():
    image = {"image": torch.ones(1, 40, 40, 40)}
    step = Acquisition(Blur(0), LowResolution(), Gibbs(), RicianNoise())
    parameters = {
        "blur": None,
        "gibbs": None,
        "resolution": {"thickness": [1.0, 1.0, 8.0]},
        "noise": noise(),
    }
    after = step.apply(image, parameters)["image"][0]
    assert after.diff(dim=2).abs().mean() < 0.4 * after.diff(dim=0).abs().mean()


def test_gamma_keeps_the_range_and_the_order():
    image = {"image": 5 + 3 * picture()}
    after, history = Gamma().sample(image, 1)
    low, high = image["image"].aminmax()
    assert torch.allclose(torch.stack(after["image"].aminmax()), torch.stack([low, high]))
    expected = ((image["image"] - low) / (high - low)) ** history[0]["parameters"]["gamma"]
    torch.testing.assert_close(after["image"], expected * (high - low) + low)
    flat = Gamma().sample({"image": torch.ones(1, 4, 4)}, 0)[0]["image"]
    assert torch.isfinite(flat).all()


def test_bias_is_smooth_and_multiplies():
    image = {"image": torch.ones(1, 40, 40, 40)}
    after, history = BiasField(strength=0.5).sample(image, 3)
    field = after["image"]
    assert field.min() > 0 and field.diff(dim=1).abs().max() < 0.2
    assert 0.2 < float(field.log().std() / history[0]["parameters"]["strength"]) < 3
    double = BiasField().apply({"image": 2 * image["image"]}, history[0]["parameters"])
    torch.testing.assert_close(double["image"], 2 * field)


def test_rescaling_and_standardising():
    values = torch.arange(10001.0).reshape(1, 73, 137)
    low, high = quantiles(values[0], 0.01, 0.99)
    assert (float(low), float(high)) == (100, 9900)
    big = torch.randn((100, 100, 100), generator=torch.Generator().manual_seed(1))
    for share, q in zip((0.01, 0.5, 0.99), quantiles(big, 0.01, 0.5, 0.99), strict=True):
        assert abs(float((big < q).float().mean()) - share) < 0.002
    after, _ = Rescale().sample({"image": values}, 0)
    assert after["image"].min() == 0 and after["image"].max() == 1
    after, _ = ZScore().sample({"image": values}, 0)
    assert abs(float(after["image"].mean())) < 1e-4
    assert abs(float(after["image"].std()) - 1) < 1e-3
    assert torch.isfinite(ZScore().sample({"image": torch.ones(1, 3, 3)}, 0)[0]["image"]).all()
    with pytest.raises(ValueError, match="must be below 'high'"):
        Rescale(0.9, 0.1)


def test_mixture_follows_its_draws():
    labels = torch.randint(0, 4, (1, 40, 40, 40), generator=torch.Generator().manual_seed(0))
    scene = {"labels": labels.to(torch.uint8)}
    step = IntensityMixture(classes=4, texture_width=0.9, background=0)
    after, history = step.sample(scene, 2)
    drawn = history[0]["parameters"]
    for k in range(4):
        values = after["image"][labels == k]
        assert abs(float(values.mean()) - drawn["means"][k][0]) < 0.5
        assert abs(float(values.std()) - drawn["sds"][k][0]) < 0.5
    assert drawn["means"][0] == [0.0]
    every = IntensityMixture(classes=4, background=None).sample(scene, 2)[1][0]["parameters"]
    assert every["means"][0][0] > 0
    with pytest.raises(ValueError, match="raise classes to 4"):
        IntensityMixture(classes=3).sample(scene, 2)


def test_soft_labels_mix_intensities():
    hard = torch.randint(0, 3, (30, 30), generator=torch.Generator().manual_seed(0))
    soft = torch.nn.functional.one_hot(hard, 3).permute(2, 0, 1).float()
    step = IntensityMixture(classes=3)
    one, history = step.sample({"labels": hard[None].to(torch.uint8)}, 4)
    two = step.apply({"tissues": soft}, history[0]["parameters"])
    torch.testing.assert_close(one["image"], two["image"])
    half = step.apply(
        {"tissues": (soft + soft.flip(0)) / 2}, history[0]["parameters"] | {"seed": 1}
    )
    assert torch.isfinite(half["image"]).all()


def test_holes_and_skulls():
    scene = {
        "image": picture((40, 40, 40)),
        "labels": torch.zeros(1, 40, 40, 40, dtype=torch.uint8),
    }
    after, history = CoarseDropout(holes=(2, 2)).sample(scene, 1)
    changed = after["image"] != scene["image"]
    (a, b), (c, d), (e, f) = history[0]["parameters"]["boxes"][0]
    assert changed[0, a:b, c:d, e:f].float().mean() > 0.99
    assert 5 <= b - a <= 10
    assert 0 < changed.float().mean() < 0.05
    scene["labels"][0, 10:30, 10:30, 10:30] = 3
    scene["labels"][0, 5:10] = 7
    strip = SkullStrip()
    for growth in (-2, 0, 2):
        kept = strip.apply(scene, {"growth": growth})["image"][0] != 0
        assert int(kept.sum()) == (20 + 2 * growth) ** 3
    soft = {"image": scene["image"], "tissues": torch.zeros(12, 40, 40, 40)}
    soft["tissues"][3] = scene["labels"][0] == 3
    same = strip.apply(soft, {"growth": 0})["image"]
    assert torch.equal(same, strip.apply(scene, {"growth": 0})["image"])
