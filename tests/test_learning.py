"""The training engine: seeds, stopping, weights, batches, devices; a network is what comes out."""

import threading

import numpy as np
import pytest
import torch

from imaging.learning.batches import Batches, Samples
from imaging.learning.device import (
    generators,
    private_torch_state,
    resolve_device,
    resolve_precision,
)
from imaging.learning.engine import TrainingError, apply_network, train_network
from imaging.learning.losses import cross_entropy, squared_error
from imaging.nets.classifiers import ImageTabularNet
from imaging.nets.encoders import build_encoder


def samples(n=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    y = (x[:, 0] + x[:, 1] > 0).long()
    return Samples({"tabular": x}, y, torch.ones(n))


def network():
    return ImageTabularNet(None, 4, 2, n_hidden=8, dropout=0.2)


def parameters(module):
    return torch.cat([p.detach().ravel() for p in module.parameters()])


SETTINGS = {"loss": cross_entropy, "epochs": 5, "device": "cpu", "precision": "float32"}


def test_a_seed_gives_the_same_network_twice_and_leaves_the_global_state_alone():
    torch.manual_seed(123)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first, history = train_network(network, samples(), seed=1, **SETTINGS)
    torch.rand(3)
    again, _ = train_network(network, samples(), seed=1, **SETTINGS)
    other, _ = train_network(network, samples(), seed=2, **SETTINGS)
    assert torch.equal(parameters(first), parameters(again))
    assert not torch.equal(parameters(first), parameters(other))
    torch.manual_seed(123)
    assert torch.equal(before, torch.get_rng_state()) and threads == torch.get_num_threads()
    assert len(history) == 5 and set(history[0]) == {"train_loss"}
    assert not first.training


def test_early_stopping_returns_the_best_epoch_not_the_last():
    noise = samples(40)
    labels = Samples(noise.inputs, 1 - noise.targets, noise.weights)  # validation is the opposite
    best, history = train_network(
        network, noise, validation=labels, patience=3, seed=0, **{**SETTINGS, "epochs": 50}
    )
    losses = [row["valid_loss"] for row in history]
    assert len(history) < 50
    logits = torch.from_numpy(apply_network(best, labels.inputs, device="cpu"))
    assert cross_entropy(logits, labels.targets).mean().item() == pytest.approx(
        min(losses), rel=1e-4
    )


class Interrupted:
    """Samples of which the user has enough when they are asked for the so-manieth time."""

    def __init__(self, at):
        self.samples, self.at, self.calls = samples(), at, 0

    def __len__(self):
        return len(self.samples)

    def take(self, rows):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.samples.take(rows)


@pytest.mark.parametrize("at", [1, 6, 20])
@pytest.mark.parametrize("stopping", [{}, {"validation": samples(20, seed=1), "patience": 1}])
def test_an_interrupt_comes_out_and_is_no_early_stop(at, stopping):
    settings = {**SETTINGS, **stopping, "learning_rate": 1e-6, "epochs": 30}
    with pytest.raises(KeyboardInterrupt):
        train_network(network, Interrupted(at), seed=0, verbose=1, **settings)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(value):
    with pytest.raises(TrainingError, match=r"validation score became .* in epoch 1; give"):
        train_network(network, samples(), seed=0, score=lambda net: value, **SETTINGS)


def test_weights_decide_what_is_learnt():
    data = samples(80)
    flipped = Samples(
        {"tabular": data.inputs["tabular"].repeat(2, 1)},
        torch.cat([data.targets, 1 - data.targets]),
        torch.cat([torch.full((80,), 1.9), torch.full((80,), 0.1)]),
    )
    trained, _ = train_network(network, flipped, seed=0, **{**SETTINGS, "epochs": 40})
    guess = apply_network(trained, data.inputs, device="cpu").argmax(1)
    assert (guess == data.targets.numpy()).mean() > 0.9


def test_a_loss_that_is_not_finite_stops_training_with_the_remedy():
    bad = samples(20)
    bad.inputs["tabular"][3, 0] = float("inf")
    with pytest.raises(TrainingError, match="epoch 1; lower learning_rate"):
        train_network(network, bad, seed=0, **SETTINGS)


def test_batches_hold_every_sample_once_and_differ_by_one_at_most():
    data = samples(35)
    generator = torch.Generator().manual_seed(0)
    batches = list(Batches(data, 16, order=generator))
    assert sorted(len(y) for _, y in batches) == [11, 12, 12]
    seen = torch.cat([inputs["tabular"] for inputs, _ in batches])
    assert torch.equal(seen.sort(0).values, data.inputs["tabular"].sort(0).values)
    assert not torch.equal(seen, data.inputs["tabular"])
    assert torch.equal(
        torch.cat([b["tabular"] for b, _ in Batches(data, 16)]), data.inputs["tabular"]
    )


class OnDemand:
    """Samples that are made when they are needed; says which, and what was handed over."""

    def __init__(self, count, fails_at=None):
        self.count = count
        self.fails_at = fails_at
        self.made, self.handed_over = [], []

    def __len__(self):
        return self.count

    def at_batch(self, batch):
        self.handed_over.append(batch)

    def take(self, rows):
        self.made.append(rows.tolist())
        if len(self.made) == self.fails_at:
            raise OSError("the disk is gone")
        return Samples({"image": rows.float()[:, None]}, rows, torch.ones(len(rows)))


def test_samples_made_on_demand_come_in_order_and_are_made_ahead():
    data = OnDemand(12)
    found = []
    for _, targets in Batches(data, 2):
        found.append(targets.tolist())
        assert data.handed_over == list(range(len(found)))
        assert len(data.made) <= len(found) + 3  # no more than three ahead
    assert found == data.made == [[i, i + 1] for i in range(0, 12, 2)]


def test_an_error_while_samples_are_made_reaches_the_training_and_the_maker_stops():
    data, found = OnDemand(100, fails_at=3), []
    with pytest.raises(OSError, match="the disk is gone"):
        for _, targets in Batches(data, 1):
            found.append(targets.item())
    assert found == [0, 1]
    left = OnDemand(100)
    iterator = iter(Batches(left, 1))
    next(iterator)
    iterator.close()
    count = len(left.made)
    assert count <= 4
    assert not [t for t in threading.enumerate() if "ThreadPoolExecutor" in t.name]


def test_devices_and_precision_are_refused_or_resolved():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="device must be"):
        resolve_device("gpu!")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match='not present on this machine; use device="auto"'):
            resolve_device("cuda")
    assert resolve_precision("bf16", torch.device("cpu"))
    assert not resolve_precision("float32", torch.device("cuda"))
    with pytest.raises(ValueError, match=r"precision must be among .* got 'typo'"):
        resolve_precision("typo", torch.device("cpu"))
    with pytest.raises(ValueError, match="precision must be among"):
        train_network(network, samples(), seed=0, **{**SETTINGS, "precision": "bf 16"})


def test_networks_in_3d_stay_in_float32_on_processors(monkeypatch):
    """bfloat16 kernels of 3-D convolutions give wrong values, see `resolve_precision`."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    cpu = torch.device("cpu")
    for shape, wanted in (((32, 32), True), ((16, 16, 16), False)):
        encoder = build_encoder("resnet10", shape)
        assert resolve_precision("auto", cpu, encoder) is wanted
        assert not resolve_precision("float32", cpu, encoder)
        if len(shape) == 2:
            assert resolve_precision("bf16", cpu, encoder)
        else:
            with pytest.raises(ValueError, match=r'3-D convolutions .* use precision="auto"'):
                resolve_precision("bf16", cpu, encoder)
            assert resolve_precision("bf16", torch.device("cuda"), encoder)


def test_regression_loss_and_private_state_nest():
    outputs, targets = torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0])
    assert squared_error(outputs, targets).tolist() == [0.0, 4.0]
    with private_torch_state(0), private_torch_state(1):
        inner = torch.rand(1)
    with private_torch_state(1):
        assert torch.equal(inner, torch.rand(1))


def test_convolutions_run_on_cudnn_within_and_all_is_as_it_was_outside():
    names = ("enabled", "benchmark", "deterministic", "allow_tf32")

    def settings():
        return [getattr(torch.backends.cudnn, name) for name in names]

    before = settings()
    with private_torch_state(0):
        assert settings() == [True, False, True, before[3]]
    assert settings() == before


def test_samples_are_ordered_on_the_cpu_and_augmented_where_the_network_is(monkeypatch):
    order, draws = generators(torch.device("cpu"), 3)
    assert order is draws and order.device.type == "cpu"
    made = []

    class Elsewhere:
        def __init__(self, device):
            self.device = torch.device(device)
            made.append(self.device.type)

        def manual_seed(self, seed):
            self.seed = seed
            return self

    monkeypatch.setattr(torch, "Generator", Elsewhere)
    order, draws = generators(torch.device("cuda:1"), 3)
    assert made == ["cpu", "cuda"]
    assert str(draws.device) == "cuda:1" and order.seed == draws.seed == 3


def test_batches_draw_their_order_from_one_source_and_augment_from_the_other():
    used = []

    def augment(images, source):
        used.append((source, images.device))
        return images

    order, draws = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    before = draws.get_state()
    images = Samples({"image": torch.rand(10, 1, 4, 4)}, torch.zeros(10), torch.ones(10))
    list(Batches(images, 4, order=order, draws=draws, augment=augment, device=torch.device("cpu")))
    assert {source for source, _ in used} == {draws}
    assert torch.equal(draws.get_state(), before)
    assert not torch.equal(order.get_state(), torch.Generator().manual_seed(1).get_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_gives_a_network_on_the_cpu():
    settings = {**SETTINGS, "device": "cuda"}
    trained, history = train_network(network, samples(), seed=0, **settings)
    again, history_again = train_network(network, samples(), seed=0, **settings)
    assert all(p.device.type == "cpu" for p in trained.parameters())
    assert torch.equal(parameters(trained), parameters(again)) and history == history_again
    assert np.isfinite(apply_network(trained, samples().inputs, device="cuda")).all()
