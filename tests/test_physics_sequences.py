"""Signal equations: published values, limits, gradients, and blocks against the plain equation."""

import math
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from imaging.errors import TimingError
from imaging.physics import (
    QuantitativeMaps,
    flair_signed,
    mp2rage,
    mp2rage_readouts,
    mprage,
    simulate,
)

# PD, R1, R2*, MT of grey matter, partial volume, white matter, a mixed class and pure CSF.
TISSUES = np.array(
    [
        [76.83974, 0.6519561, 19.84481, 0.7788643],
        [75.36535, 0.7881048, 23.90073, 1.0397398],
        [69.79425, 0.9676176, 22.22746, 1.4996668],
        [74.78872, 0.5135527, 18.33751, 0.3277960],
        [100.0, 0.25, 1.0, 0.05],
    ]
).T

MPRAGE = {
    "repetition_time": 2.3,
    "inversion_time": 0.9,
    "echo_time": 0.0029,
    "flip_angle": 9.0,
    "n_readouts": 160,
    "inversion_efficiency": 0.96,
}
MP2RAGE = {
    "repetition_time": 6.25,
    "inversion_times": (0.8, 2.2),
    "flip_angles": (4.0, 5.0),
    "n_readouts": 160,
    "excitation_spacing": 0.0058,
    "inversion_efficiency": 0.96,
}
GRE = {"repetition_time": 0.025, "echo_time": 0.0025, "flip_angle": 20.0}
FSE = {"repetition_time": 4.0, "echo_time": 0.1}
FLAIR = {"repetition_time": 9.0, "inversion_time": 2.5, "echo_time": 0.1}

GOLDEN = [
    ("mprage", MPRAGE, [1.40974, 1.78770, 2.17809, 0.96089, 0.41070]),
    ("mp2rage", MP2RAGE, [-0.15907, -0.00065, 0.14584, -0.35564, -0.40671]),
    ("fse", FSE, [9.78343, 6.61004, 7.40188, 10.42002, 57.19663]),
    ("flair", FLAIR, [6.45248, 4.98551, 6.21504, 5.44918, 3.15574]),
    ("gre", GRE, [5.35516, 6.02393, 6.52059, 4.31133, 3.21277]),
    ("spgr", GRE, [4.85082, 5.31397, 5.50748, 4.12374, 3.18866]),
]
DEFAULTS = {name: parameters for name, parameters, _ in GOLDEN}


def literal_mprage(pd, r1, r2s, tr, ti, te, alpha, n, eff, tx):
    """The equation as it is printed, power by power."""
    train = n * tx
    tp, td, m = ti - train / 2, tr - ti - train / 2, n // 2
    ex, ep, ed, e1 = (np.exp(-r1 * t) for t in (tx, tp, td, tr))
    c, s = np.cos(np.deg2rad(alpha)), np.sin(np.deg2rad(alpha))
    z = (1 - ep) * (c * ex) ** n + (1 - ex) * (1 - (c * ex) ** n) / (1 - c * ex)
    z = z * ed + (1 - ed)
    steady = z / (1 + eff * c**n * e1)
    z = -eff * steady * ep + (1 - ep)
    z = z * (c * ex) ** (m - 1) + (1 - ex) * (1 - (c * ex) ** (m - 1)) / (1 - c * ex)
    return np.abs(z * s) * pd * np.exp(-te * r2s)


def literal_mp2rage(r1, tr, times, angles, n, eff, tx):
    """Both images as printed: the second is traced backward from the end of the cycle."""
    train, m = n * tx, n // 2
    tp, td = times[0] - train / 2, tr - times[1] - train / 2
    tw = times[1] - train / 2 - times[0] - train / 2
    ex, ep, ew, ed, e1 = (np.exp(-r1 * t) for t in (tx, tp, tw, td, tr))
    (c1, c2), (s1, s2) = np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))
    z = (1 - ep) * (c1 * ex) ** n + (1 - ex) * (1 - (c1 * ex) ** n) / (1 - c1 * ex)
    z = z * ew + (1 - ew)
    z = z * (c2 * ex) ** n + (1 - ex) * (1 - (c2 * ex) ** n) / (1 - c2 * ex)
    z = z * ed + (1 - ed)
    z = z / (1 + eff * (c1 * c2) ** n * e1)
    first = (-eff * z * ep + 1 - ep) * (c1 * ex) ** (m - 1)
    first = (first + (1 - ex) * (1 - (c1 * ex) ** (m - 1)) / (1 - c1 * ex)) * s1
    second = (z - (1 - ed)) / (ed * (c2 * ex) ** m)
    second = (second + (1 - ex) * (1 - (c2 * ex) ** -m) / (1 - c2 * ex)) * s2
    return first, second


def some_maps(shape=(40, 50, 60), dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    low, high = np.array([60.0, 0.25, 2, 0]), np.array([100.0, 1.4, 60, 2])
    values = [rng.uniform(a, b, shape).astype(dtype) for a, b in zip(low, high)]
    values[0][: shape[0] // 3] = 0
    values[0][rng.random(shape) < 0.3] = 0
    return QuantitativeMaps(*values)


@pytest.mark.parametrize("sequence, parameters, expected", GOLDEN)
@pytest.mark.parametrize("dtype, rtol", [(torch.float64, 1e-4), (torch.float32, 1e-3)])
def test_golden_values(sequence, parameters, expected, dtype, rtol):
    maps = QuantitativeMaps(*torch.tensor(TISSUES, dtype=dtype))
    image = simulate(maps, sequence, **parameters)
    assert image.dtype == dtype
    # The table has five decimals; the smallest value, -.00065, is only known to half of the last.
    np.testing.assert_allclose(image.numpy(), expected, rtol=rtol, atol=6e-6)


@pytest.mark.parametrize("n", [159, 160])
def test_closed_forms_equal_the_printed_equations(n):
    maps = some_maps((2000,))
    pd, r1, r2s = (np.abs(x) + 1e-3 for x in (maps.pd, maps.r1, maps.r2s))
    ours = mprage(pd, r1, r2s, **{**MPRAGE, "n_readouts": n})
    theirs = literal_mprage(pd, r1, r2s, 2.3, 0.9, 0.0029, 9.0, n, 0.96, 0.0058)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    first, second = literal_mp2rage(r1, 6.25, (0.8, 2.2), (4.0, 5.0), n, 0.96, 0.0058)
    images = mp2rage_readouts(pd, r1, r2s, **{**MP2RAGE, "n_readouts": n})
    amplitude = pd * np.exp(-0.0029 * r2s)
    for image, expected in zip(images, (first, second), strict=True):
        np.testing.assert_allclose(image, expected * amplitude, rtol=1e-9, atol=1e-10)
    uni = first * second / (first**2 + second**2)
    np.testing.assert_allclose(
        mp2rage(pd, r1, **{**MP2RAGE, "n_readouts": n}), uni, rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("sequence", DEFAULTS)
@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-13), (np.float32, 1e-6)])
def test_blocks_lose_no_accuracy(sequence, dtype, bound):
    maps = some_maps(dtype=dtype)
    exact = [x.astype(np.float64) for x in (maps.pd, maps.r1, maps.r2s, maps.mt)]
    tensors = [torch.tensor(x, requires_grad=True) for x in exact]
    plain = simulate(QuantitativeMaps(*tensors), sequence, **DEFAULTS[sequence])
    assert plain.requires_grad
    plain = plain.detach().numpy()
    blocks = simulate(maps, sequence, **DEFAULTS[sequence])
    assert blocks.dtype == dtype
    assert np.all(blocks[maps.pd == 0] == 0)
    assert np.abs(blocks - plain).max() <= bound * np.ptp(plain)
    as_tensor = QuantitativeMaps(*map(torch.from_numpy, (maps.pd, maps.r1, maps.r2s, maps.mt)))
    same = simulate(as_tensor, sequence, **DEFAULTS[sequence])
    np.testing.assert_array_equal(same.numpy(), blocks)


@pytest.mark.parametrize("sequence", DEFAULTS)
def test_background_and_flip_angle_zero_are_dark_and_finite(sequence):
    zero = np.zeros(4)
    maps = QuantitativeMaps(zero, np.array([0, 0, 1.0, 5.0]), zero, zero)
    assert np.all(simulate(maps, sequence, **DEFAULTS[sequence]) == 0)
    tensors = QuantitativeMaps(*(torch.zeros(4, requires_grad=True) for _ in range(4)))
    assert torch.all(simulate(tensors, sequence, **DEFAULTS[sequence]) == 0)
    if "flip_angle" in DEFAULTS[sequence]:
        maps = QuantitativeMaps(*TISSUES)
        assert np.all(simulate(maps, sequence, **{**DEFAULTS[sequence], "flip_angle": 0.0}) == 0)


def test_limits():
    pd, r1, r2s, _ = TISSUES
    maps = QuantitativeMaps(*TISSUES)
    without = QuantitativeMaps(pd, r1, r2s)
    long = {"repetition_time": 50.0, "echo_time": 1e-9}
    np.testing.assert_allclose(simulate(maps, "fse", **long), pd, rtol=1e-5)
    ernst = simulate(maps, "gre", **long, flip_angle=90.0)
    np.testing.assert_allclose(ernst, pd, rtol=1e-5)
    np.testing.assert_array_equal(simulate(without, "spgr"), simulate(without, "gre"))
    none = QuantitativeMaps(pd, r1, r2s, np.zeros(5))
    np.testing.assert_allclose(simulate(none, "spgr"), simulate(none, "gre"), rtol=1e-12)
    late = simulate(maps, "flair", repetition_time=59.0, inversion_time=50.0, echo_time=1e-9)
    np.testing.assert_allclose(late, pd, rtol=1e-4)
    early = flair_signed(pd, r1, r2s, repetition_time=50.0, inversion_time=1e-9, echo_time=1e-9)
    np.testing.assert_allclose(early, -pd, rtol=1e-4)
    nothing = simulate(maps, "mprage", **{**MPRAGE, "echo_time": 1e-9, "excitation_spacing": 0.006})
    assert np.all(nothing > simulate(maps, "mprage", **MPRAGE, excitation_spacing=0.006))


def test_spin_echoes_prefer_r2():
    pd, r1, r2s, mt = TISSUES
    maps = QuantitativeMaps(pd, r1, r2s, mt, r2=r2s / 2)
    ratio = simulate(maps, "fse", **FSE) / simulate(QuantitativeMaps(pd, r1, r2s, mt), "fse", **FSE)
    np.testing.assert_allclose(ratio, np.exp(0.1 * r2s / 2))


def test_fields():
    maps = QuantitativeMaps(*TISSUES)
    twice = simulate(maps, "gre", **GRE, receive=2.0)
    np.testing.assert_allclose(twice, 2 * simulate(maps, "gre", **GRE))
    tilted = simulate(maps, "gre", **{**GRE, "flip_angle": 40.0}, transmit=np.full(5, 0.5))
    np.testing.assert_allclose(tilted, simulate(maps, "gre", **GRE))
    for sequence in ("mprage", "mp2rage"):
        weak = simulate(maps, sequence, **DEFAULTS[sequence], transmit=np.full(5, 0.8))
        scalar = simulate(maps, sequence, **DEFAULTS[sequence], transmit=0.8)
        np.testing.assert_allclose(weak, scalar, rtol=1e-12)


def test_mp2rage_without_sign_is_its_magnitude():
    maps = QuantitativeMaps(*TISSUES)
    signed = simulate(maps, "mp2rage", **MP2RAGE)
    np.testing.assert_allclose(simulate(maps, "mp2rage", **MP2RAGE, signed=False), abs(signed))


@pytest.mark.parametrize("sequence", DEFAULTS)
def test_gradients_equal_finite_differences(sequence):
    values = [torch.tensor(row[:4], requires_grad=True) for row in TISSUES]

    def image(*maps):
        return simulate(QuantitativeMaps.unchecked(*maps), sequence, **DEFAULTS[sequence])

    assert torch.autograd.gradcheck(image, values, eps=1e-5, atol=1e-5)


def test_gradient_through_a_protocol_parameter():
    time = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    r1 = torch.tensor(TISSUES[1])
    image = mprage(torch.tensor(TISSUES[0]), r1, r1 * 0, **{**MPRAGE, "inversion_time": time})
    (slope,) = torch.autograd.grad(image.sum(), time)
    step = 1e-6
    ends = [
        mprage(
            TISSUES[0], TISSUES[1], 0 * TISSUES[1], **{**MPRAGE, "inversion_time": 0.9 + d}
        ).sum()
        for d in (-step, step)
    ]
    assert math.isclose(slope.item(), (ends[1] - ends[0]) / (2 * step), rel_tol=1e-6)


def test_the_kind_of_image_is_kept():
    affine = np.diag([-2.0, 2, 2, 1])
    images = [nib.Nifti1Image(x.reshape(5, 1, 1).astype(np.float32), affine) for x in TISSUES]
    image = simulate(QuantitativeMaps(*images), "mprage", **MPRAGE)
    np.testing.assert_array_equal(image.affine, affine)
    np.testing.assert_allclose(image.get_fdata().ravel(), GOLDEN[0][2], rtol=1e-3)
    batch = QuantitativeMaps(*(torch.tensor(x).reshape(5, 1, 1, 1).float() for x in TISSUES))
    assert simulate(batch, "fse").shape == (5, 1, 1, 1)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler on this machine")
@pytest.mark.parametrize("sequence, defaults", [("mprage", MPRAGE), ("mp2rage", MP2RAGE)])
def test_one_compiled_kernel_serves_all_protocols(sequence, defaults):
    rng = np.random.default_rng(0)
    pd, r1, r2s = (rng.uniform(low, high, 5000) for low, high in ((60, 100), (0.25, 1.4), (2, 60)))
    pd[:100] = 0
    maps = QuantitativeMaps(*(x.astype(np.float32) for x in (pd, r1, r2s)))
    with torch.compiler.set_stance("default"):
        simulate(maps, sequence, compiled=True, **defaults)
    with torch.compiler.set_stance("fail_on_recompile"):
        for changed in ({}, {"repetition_time": 7.0, "n_readouts": 120}):
            parameters = {**defaults, **changed}
            found = simulate(maps, sequence, compiled=True, **parameters)
            expected = simulate(maps, sequence, **parameters)
            assert isinstance(found, np.ndarray) and found.dtype == np.float32
            assert np.abs(found - expected).max() < 1e-5 * np.ptp(expected)
            assert not found[:100].any()


def test_without_a_compiler_the_remedy_is_told():
    import torch._inductor.config as inductor

    maps = QuantitativeMaps(*(np.full(7, x, np.float32) for x in (70, 1, 20)))
    with (
        inductor.patch({"cpp.cxx": ("no-such-compiler",), "fx_graph_cache": False}),
        pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler .* leave compiled out"),
    ):
        simulate(maps, "mprage", compiled=True, transmit=np.full(7, 1.1, np.float32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("sequence", DEFAULTS)
def test_gpu_equals_cpu(sequence):
    maps = some_maps(dtype=np.float32)
    cpu = simulate(maps, sequence, **DEFAULTS[sequence])
    there = [torch.from_numpy(x).cuda() for x in (maps.pd, maps.r1, maps.r2s, maps.mt)]
    gpu = simulate(QuantitativeMaps(*there), sequence, **DEFAULTS[sequence]).cpu().numpy()
    assert np.abs(gpu - cpu).max() <= 1e-5 * np.abs(cpu).max()


IMPOSSIBLE = [
    ("mprage", {"inversion_time": 0.3}, "half of it does not fit between the inversion"),
    ("mprage", {"repetition_time": 1.2}, "ends after the cycle"),
    (
        "mprage",
        {"echo_time": 0.01, "excitation_spacing": 0.008},
        "does not fit between excitations",
    ),
    ("mprage", {"repetition_time": 2300.0}, "not milliseconds"),
    ("mprage", {"flip_angle": 700.0}, "degrees"),
    ("mprage", {"inversion_efficiency": 1.4}, "inversion_efficiency"),
    ("mp2rage", {"repetition_time": 2.3}, "ends after the cycle"),
    ("mp2rage", {"inversion_times": (0.8, 1.2)}, "overlap"),
    ("fse", {"echo_time": 5.0}, "the cycle is over"),
    ("flair", {"repetition_time": 2.0}, "longer than the cycle"),
    ("gre", {"echo_time": -0.1}, "positive"),
]


@pytest.mark.parametrize("sequence, change, reason", IMPOSSIBLE)
def test_a_timing_that_cannot_exist_is_refused(sequence, change, reason):
    maps = QuantitativeMaps(*TISSUES)
    with pytest.raises(TimingError, match=reason):
        simulate(maps, sequence, **{**DEFAULTS[sequence], **change})


def test_reference_ranges_run_an_impossible_timing():
    maps = QuantitativeMaps(*TISSUES)
    image = simulate(maps, "mp2rage", **{**MP2RAGE, "repetition_time": 2.3}, ranges="reference")
    assert np.isfinite(image).all()


def test_wrong_names_are_told():
    maps = QuantitativeMaps(*TISSUES)
    with pytest.raises(ValueError, match="choose one of mprage"):
        simulate(maps, "epi")
    with pytest.raises(TypeError, match="it takes repetition_time, echo_time"):
        simulate(maps, "fse", flip_angle=3)
    with pytest.raises(TypeError, match="wrap them"):
        simulate(TISSUES, "fse")
