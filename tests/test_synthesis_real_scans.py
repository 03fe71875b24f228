"""Real scans that are varied keep what is to be seen on them, whatever their unit and sign."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from imaging.synthesis import (
    Acquisition,
    Blur,
    Chain,
    Gibbs,
    LowResolution,
    RicianNoise,
    SyntheticScans,
)
from imaging.synthesis.noise import add_noise
from imaging.synthesis.recipes import real_chain
from imaging.voxelwise import scaling
from imaging.voxelwise.samples import RealScans
from imaging.voxelwise.scaling import Standardised, from_zero, standardise

SHAPE = (32, 36, 32)
NOTHING = np.zeros((1, *SHAPE), np.uint8)


def _ball(radius):
    grid = np.indices(SHAPE) - (np.reshape(SHAPE, (3, 1, 1, 1)) - 1) / 2
    return np.sqrt((grid**2).sum(0)) < radius


def _ct():
    """Air, skull, brain of 35 HU, and a bleeding of 65 HU in it."""
    scan = np.full(SHAPE, -1000.0, np.float32)
    for radius, value in ((14, 1000), (12, 35), (6, 65)):
        scan[_ball(radius)] = value
    return scan + np.random.default_rng(0).normal(0, 2, SHAPE).astype(np.float32)


def _scans(scan, **settings):
    target = _ball(6).astype(np.uint8)[None]
    chains = [real_chain(signed=signed) for signed in (False, True)]
    return RealScans([scan], [target], Standardised(**settings), *chains)


def test_computed_tomography_keeps_its_contrast_in_every_draw():
    scans = _scans(_ct(), ct=True)
    clean, target = RealScans(scans.images, scans.targets, Standardised(ct=True)).draw(0)
    rim = _ball(11) & ~_ball(8)
    expected = clean[target > 0].mean() - clean[0][rim].mean()
    for seed in range(40):
        image, moved = scans.draw(seed)
        # The rim moves with the head: what is near the lesion and as dark as brain was there.
        inside = image[moved > 0]
        near = torch.nn.functional.max_pool3d(torch.from_numpy(moved.astype("f4")), 7, 1, 3)
        around = image[(near.numpy() > 0) & (moved == 0)]
        assert inside.mean() - np.median(around) > 0.35 * expected, seed


def test_a_window_that_was_cut_and_moved_gives_the_same(monkeypatch):
    scan = _ct()
    moved, signed = from_zero(scan, ct=True)
    assert signed and moved.min() == 0
    np.testing.assert_array_equal(standardise(moved), standardise(scan, ct=True))
    monkeypatch.setattr(scaling, "HOUNSFIELD_RANGE", (-50.0, 120.0))
    moved, _ = from_zero(scan, ct=True)
    assert moved.min() == 0 and moved.max() == 170
    np.testing.assert_allclose(standardise(moved), standardise(scan, ct=True), atol=1e-5)
    np.testing.assert_array_equal(
        RealScans([scan], [NOTHING], Standardised(ct=True)).draw(0)[0][0],
        standardise(scan, ct=True),
    )


@pytest.mark.parametrize("kind", ["z-scored", "all negative"])
def test_scans_with_a_sign_keep_their_order(kind):
    head = np.where(_ball(13), 100 + 40 * _ball(10) + 60 * _ball(5), 0).astype(np.float32)
    head += np.random.default_rng(0).normal(0, 3, SHAPE).astype(np.float32)
    scan = (head - head.mean()) / head.std() - (10 if kind == "all negative" else 0)
    still = Chain(*real_chain(signed=True).steps[1:])  # all but the movement
    scans = RealScans([scan], [NOTHING], Standardised(), still)
    for seed in range(20):
        image, _ = scans.draw(seed)
        assert spearmanr(image.ravel()[::7], scan.ravel()[::7]).statistic > 0.55, seed
        for high, low in ((_ball(4), _ball(9) & ~_ball(6)), (_ball(8), ~_ball(15))):
            assert image[0][high].mean() > image[0][low].mean() + 0.3, seed


def test_what_moves_in_from_outside_a_scan_is_air():
    rng = np.random.default_rng(0)
    scan = np.where(_ball(13), 2.0, -1.0).astype(np.float32) + rng.normal(0, 0.01, SHAPE)
    chains = [real_chain(signed=signed) for signed in (False, True)]
    scans = RealScans([scan.astype(np.float32)], [NOTHING], Standardised(), *chains)
    for seed in range(10):
        image = scans.draw(seed)[0][0]
        corners = image[:: SHAPE[0] - 1, :: SHAPE[1] - 1, :: SHAPE[2] - 1]
        assert corners.max() < image[_ball(6)].mean() - 1


def test_magnitudes_are_varied_as_ever():
    """With the noise of magnitudes, whatever Gibbs ringing and blur leave below 0."""
    head = torch.from_numpy(np.where(_ball(12), 100.0, 0).astype(np.float32))[None]
    step = Acquisition(Blur(), LowResolution(), Gibbs(), RicianNoise())
    parameters = step.draw(torch_draws(3), {"image": head})
    assert parameters["noise"]["signed"] is False
    assert step.apply({"image": head}, parameters)["image"].min() >= 0
    scan = np.where(_ball(12), 100, 1).astype(np.float32)
    assert from_zero(scan)[0] is scan and from_zero(scan)[1] is False
    scan[0, 0, 0] = -1e-5  # what rounding leaves is no sign
    assert from_zero(scan)[1] is False
    drawn = RicianNoise().draw(torch_draws(1), {"image": torch.from_numpy(scan[None])})
    assert drawn["signed"] is False


def torch_draws(seed):
    from imaging.randomness import Draws

    return Draws(seed)


def test_noise_does_not_fold_an_image_with_a_sign():
    rows = torch.linspace(-3, -1, 40).reshape(1, 40, 1).expand(1, 40, 400)
    step = RicianNoise(sd=0.05)
    for image in (rows, rows + 2):
        for seed in range(10):
            noisy, history = step.sample({"image": image}, seed)
            drawn = history[0]["parameters"]
            assert drawn["signed"] is True
            difference = noisy["image"] - image
            assert abs(float(difference.std()) - 2 * drawn["sd"]) < 0.03 * 2 * drawn["sd"]
            assert abs(float(difference.mean())) < 0.01
    flat = {"sd": 0.1, "coils": 3, "g_factor": 0.5, "seed": 1, "noise_device": "cpu"}
    folded = add_noise(rows, flat | {"signed": False})
    assert float(folded.min()) >= 0
    # A history from before has no such entry: it replays as it was drawn.
    assert torch.equal(add_noise(rows, flat), folded)


def test_synthetic_scans_are_magnitudes_whatever_rounding_leaves_below_zero():
    from imaging.synthesis import synthetic_chain

    for chain in (synthetic_chain(spacing_mm=2), synthetic_chain(), SyntheticScans(length=1).chain):
        (step,) = [s for s in chain.steps if isinstance(s, Acquisition)]
        assert step.noise.signed is False
