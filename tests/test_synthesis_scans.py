"""Whole samples: reproducible, replayable, independent of their batch, right on every device."""

import json
import pickle

import numpy as np
import pytest
import torch

from imaging.physics import (
    MEASURED_STATISTICS,
    TISSUE_STATISTICS,
    TISSUES,
    QuantitativeMaps,
    simulate,
)
from imaging.synthesis import (
    BiasField,
    Blur,
    Chain,
    CoarseDropout,
    Deformation,
    Gamma,
    Gibbs,
    IntensityMixture,
    LabelMapSource,
    LowResolution,
    PasteLesions,
    RandomSequence,
    Rescale,
    RicianNoise,
    SkullStrip,
    SyntheticScans,
    Target,
    TissueMaps,
    ZScore,
    synthetic_chain,
)


def batch(shape, n=4):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (n, 1, *shape), generator=generator, dtype=torch.uint8)
    lesion = torch.zeros_like(labels)
    middle = (slice(None), slice(None), *(slice(k // 3, k // 2) for k in shape))
    lesion[middle] = 1
    return {"labels": labels, "lesion": lesion}


def chain(noise_device=None):
    noise = {"noise_device": noise_device}
    return Chain(
        Deformation(patch_size=None),
        TissueMaps(**noise),
        PasteLesions("maps", **noise),
        RandomSequence(),
        BiasField(),
        Gamma(),
        Blur(),
        Gibbs(),
        LowResolution(probability=0.5),
        RicianNoise(**noise),
        CoarseDropout(probability=0.5),
        SkullStrip(probability=0.5),
        Rescale(),
        Target(),
        ZScore(),
    )


@pytest.mark.parametrize("shape", [(20, 24, 22), (32, 40)])
def test_a_sample_does_not_depend_on_its_batch(shape):
    whole, histories = chain()(batch(shape), seed=5)
    for n in (1, 2):
        parts = [
            chain()({k: v[i : i + n] for k, v in batch(shape).items()}, seed=5, first=i)[0]
            for i in range(0, 4, n)
        ]
        for name, tensor in whole.items():
            assert torch.equal(torch.cat([p[name] for p in parts]), tensor)
    assert len(histories) == 4
    assert not torch.equal(whole["image"][0], whole["image"][1])
    other, _ = chain()(batch(shape), seed=6)
    assert not torch.equal(other["image"], whole["image"])


@pytest.mark.parametrize("shape", [(20, 24, 22), (32, 40)])
def test_a_history_replays_from_json(shape):
    drawn, histories = chain()(batch(shape), seed=5)
    again = chain().replay(batch(shape), json.loads(json.dumps(histories)))
    assert set(again) == set(drawn)
    assert all(torch.equal(again[name], drawn[name]) for name in drawn)
    assert torch.isfinite(drawn["image"]).all()
    assert drawn["target"].dtype == torch.uint8


def test_a_history_of_other_steps_is_refused():
    _, histories = Gamma()({"image": torch.rand(1, 1, 5, 5)}, seed=1)
    with pytest.raises(ValueError, match="made by Gamma and is replayed by Blur"):
        Blur().replay({"image": torch.rand(1, 1, 5, 5)}, histories)
    with pytest.raises(ValueError, match="1 entries for 2 steps"):
        Chain(Gamma(), Blur()).replay({"image": torch.rand(1, 1, 5, 5)}, histories)
    with pytest.raises(ValueError, match="holds as many"):
        Gamma()({"image": torch.rand(2, 1, 5, 5), "target": torch.rand(1, 1, 5, 5)}, seed=1)


def test_inputs_are_left_alone_and_so_is_the_global_state():
    before = batch((20, 20, 20))
    copies = {name: tensor.clone() for name, tensor in before.items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    chain()(before, seed=5)
    assert all(torch.equal(before[name], copies[name]) for name in before)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_results_do_not_depend_on_threads():
    threads = torch.get_num_threads()
    try:
        images = []
        for n in (1, 2):
            torch.set_num_threads(n)
            images.append(chain()(batch((40, 40, 40), n=1), seed=2)[0]["image"])
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*images, atol=1e-5, rtol=1e-5)


def test_maps_follow_the_statistics_and_the_sequence_the_maps():
    scene = {
        "labels": torch.arange(5, dtype=torch.uint8).repeat_interleave(200).reshape(1, 1000, 1)
    }
    step = TissueMaps(spread=0.0, temperature=0.1, texture_width=0.9)
    maps = step.sample(scene, 1)[0]["maps"]
    assert maps.shape == (5, 1000, 1)
    assert torch.all(maps[:, :200] == 0)
    white = maps[:, 600:800, 0]
    for values, name in zip(white, ("pd", "r1", "r2s", "mt", "r2"), strict=True):
        mean, sd = getattr(TISSUE_STATISTICS["white matter"], name)
        assert abs(float(values.mean()) - mean) < 0.05 * mean
        assert float(values.std()) < 0.2 * sd
    spread = [
        TissueMaps(texture_width=0.9).sample(scene, i)[0]["maps"][1, 700, 0] for i in range(200)
    ]
    assert abs(float(torch.stack(spread).std()) - TISSUE_STATISTICS["white matter"].r1[1]) < 0.02
    assert TissueMaps(MEASURED_STATISTICS).sample(scene, 1)[0]["maps"].shape == (4, 1000, 1)
    scanned, history = RandomSequence(["flair"]).sample({"maps": maps}, 4)
    expected = simulate(QuantitativeMaps(*maps), history[0]["parameters"])
    assert torch.equal(scanned["image"][0], expected)


def test_statistics_that_miss_a_tissue_are_refused():
    scene = {"labels": torch.full((1, 20, 20), TISSUES.index("eye fluid"), dtype=torch.uint8)}
    with pytest.raises(ValueError, match="eye fluid"):
        TissueMaps(MEASURED_STATISTICS).sample(scene, 0)


@pytest.mark.parametrize("contrast", ["mixture", "physics", "both"])
def test_training_samples_from_nothing_but_the_package(contrast):
    chain = synthetic_chain(LabelMapSource(spacing_mm=4), contrast=contrast, patch_size=32)
    scans = SyntheticScans(chain, length=4, random_state=3)
    for i in range(4):
        sample, history = scans.sample(i)
        assert sample["image"].shape == (1, 32, 32, 32) and sample["image"].dtype == torch.float32
        assert sample["target"].dtype == torch.uint8 and sample["target"].max() <= 5
        assert torch.isfinite(sample["image"]).all()
        assert abs(float(sample["image"].mean())) < 1e-3
        again = pickle.loads(pickle.dumps(scans)).replay(json.loads(json.dumps(history)))
        assert torch.equal(again["image"], sample["image"])
        assert torch.equal(scans[i]["target"], sample["target"])
    with pytest.raises(IndexError):
        scans[4]
    with pytest.raises(ValueError, match="choose one of both, mixture, physics"):
        synthetic_chain(contrast="t1")


def test_samples_come_through_a_data_loader():
    chain = synthetic_chain(LabelMapSource(spacing_mm=4), contrast="mixture", patch_size=16)
    scans = SyntheticScans(chain, length=4, random_state=3)
    loader = torch.utils.data.DataLoader(scans, batch_size=2, num_workers=0)
    images = torch.cat([b["image"] for b in loader])
    assert torch.equal(images[3], scans[3]["image"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_gpu_equals_cpu():
    drawn, histories = chain(noise_device="cpu")(batch((40, 48, 44)), seed=5)
    there = {name: tensor.cuda() for name, tensor in batch((40, 48, 44)).items()}
    replayed = chain().replay(there, histories)
    difference = (replayed["image"].cpu() - drawn["image"]).norm() / drawn["image"].norm()
    assert difference < 1e-4
    assert (replayed["target"].cpu() != drawn["target"]).float().mean() < 1e-4


def test_mixture_of_soft_labels_in_a_batch():
    soft = torch.rand((2, 3, 20, 20), generator=torch.Generator().manual_seed(1))
    soft = soft / soft.sum(1, keepdim=True)
    step = Chain(Deformation(), IntensityMixture(classes=3))
    drawn, _ = step({"tissues": soft}, seed=1)
    assert drawn["image"].shape == (2, 1, 20, 20)
    torch.testing.assert_close(drawn["tissues"].sum(1), torch.ones(2, 20, 20))


def test_tensors_take_the_way_of_arrays(monkeypatch):
    """On the CPU NumPy does the small work; the same expressions on tensors, as on a GPU."""
    from imaging.synthesis import (
        deformation,
        geometry,
        lesion_shapes,
        lesions,
        mixture,
        occlusion,
        resampling,
        slabs,
        tissue_maps,
    )

    drawn, histories = chain()(batch((20, 24, 22)), seed=5)
    for module in (
        deformation,
        geometry,
        lesion_shapes,
        lesions,
        mixture,
        occlusion,
        resampling,
        slabs,
        tissue_maps,
    ):
        monkeypatch.setattr(module, "plain", lambda tensor: tensor)
    again, histories_again = chain()(batch((20, 24, 22)), seed=5)
    assert histories_again == histories
    assert torch.equal(again["target"], drawn["target"])
    torch.testing.assert_close(again["image"], drawn["image"], atol=1e-4, rtol=1e-4)
