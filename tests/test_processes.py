"""One network trained by two processes is that of a single process, from the same batches."""

import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from imaging import SequenceInvariantEncoder
from imaging.learning.batches import Batches, Samples
from imaging.learning.engine import TrainingError, train_network
from imaging.learning.losses import cross_entropy
from imaging.learning.processes import Share, TogetherError, find_share
from imaging.synthesis import LabelMapSource
from prognosis import StitchedSliceClassifier, make_stroke_cohort


def trained(checkpoint=None):
    """A convolutional network, flipped pictures, 23 samples: the last batch is an odd one."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(23, 1, 8, 8, generator=generator)
    y = (image.mean((1, 2, 3)) > 0).long()
    samples = Samples({"image": image}, y, torch.linspace(0.5, 1.5, 23))

    class Network(torch.nn.Sequential):
        def forward(self, image):
            return super().forward(image)

    def build():
        return Network(
            torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        )

    def flipped(image, draws):
        flips = torch.rand(len(image), generator=draws) < 0.5
        return torch.where(flips[:, None, None, None], image.flip(-1), image)

    network, history = train_network(
        build,
        samples,
        loss=cross_entropy,
        validation=samples.take(torch.arange(10)),
        augment=flipped,
        epochs=4,
        batch_size=6,
        patience=2,
        device="cpu",
        precision="float32",
        seed=3,
        checkpoint=checkpoint,
    )
    weights = torch.cat([p.detach().ravel() for p in network.parameters()]).numpy()
    return weights, np.array([[row["train_loss"], row["valid_loss"]] for row in history])


def pretrained():
    """Views of four heads, told from each other: negatives are those of all processes."""
    encoder = SequenceInvariantEncoder(
        channels=(4, 4, 8),
        source=LabelMapSource(spacing_mm=8),
        spacing_mm=8,
        patch_size=16,
        batch_size=4,
        steps_per_epoch=2,
        epochs=2,
        reconstruction_weight=0.5,
        device="cpu",
        random_state=0,
    ).fit()
    weights = torch.cat([p.detach().ravel() for p in encoder.network_.parameters()]).numpy()
    return weights, np.array([row["train_loss"] for row in encoder.history_])


def predicted():
    """With dropout and batch statistics: not the same as alone, but the same in both."""
    X, y = make_stroke_cohort(12, spacing_mm=8, random_state=0)
    model = StitchedSliceClassifier(
        "t1w", architecture="resnet10", mosaic_size=48, epochs=2, device="cpu", random_state=0
    )
    return model.fit(X, y).predict_proba(X)


def told(call):
    try:
        call()
    except (TogetherError, TrainingError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def unlike():
    samples = Samples({"tabular": torch.zeros(4, 1)}, torch.zeros(4).long(), torch.ones(4))
    rank = int(os.environ["RANK"])
    train_network(lambda: torch.nn.Linear(1, 2), samples, loss=cross_entropy, seed=rank)


def beside():
    errors = []
    thread = threading.Thread(target=lambda: errors.append(told(find_share)))
    thread.start()
    thread.join()
    raise TogetherError(errors[0])


def main(folder):
    """What one of two processes does."""
    rank = os.environ["RANK"]
    weights, history = trained(f"{folder}/training.pt")
    encoder, losses = pretrained()
    np.savez(
        f"{folder}/{rank}.npz",
        weights=weights,
        history=history,
        encoder=encoder,
        losses=losses,
        predicted=predicted(),
        unlike=told(unlike),
        beside=told(beside),
    )


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    pytest.importorskip("accelerate", reason="install the extra distributed")
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # What torchrun and `accelerate launch` tell those that they start.
    known = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank in ("0", "1"):
        told = {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1", **known}
        call = [sys.executable, __file__, str(folder)]
        started.append(subprocess.Popen(call, env=os.environ | told, stderr=subprocess.PIPE))
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()[-2000:]
    return folder, [np.load(folder / f"{rank}.npz") for rank in range(2)]


def test_two_processes_train_the_network_of_one(together):
    _, (first, second) = together
    weights, history = trained()
    assert np.array_equal(first["weights"], second["weights"])
    np.testing.assert_allclose(first["weights"], weights, atol=2e-6)
    np.testing.assert_allclose(first["history"], history, atol=1e-6)


def test_heads_of_all_processes_are_negatives(together):
    _, (first, second) = together
    weights, losses = pretrained()
    assert np.array_equal(first["encoder"], second["encoder"])
    np.testing.assert_allclose(first["losses"], losses, atol=1e-4)
    # The optimiser makes whole steps of gradients that are nothing but rounding.
    assert np.mean(np.abs(first["encoder"] - weights) < 1e-5) > 0.99


def test_batch_statistics_and_predictions_are_the_same_in_both(together):
    _, (first, second) = together
    assert np.array_equal(first["predicted"], second["predicted"])


def test_one_of_them_writes_a_checkpoint_with_which_a_single_process_goes_on(together):
    folder, (first, _) = together
    weights, history = trained(folder / "training.pt")
    assert np.array_equal(weights, first["weights"])
    np.testing.assert_array_equal(history, first["history"])


def test_processes_that_train_different_networks_are_told_so(together):
    for found in together[1]:
        assert "different networks (here seed" in str(found["unlike"])
        assert "n_jobs=1" in str(found["beside"])


def test_alone_a_process_has_no_share(monkeypatch):
    assert find_share() is None
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert find_share() is None


@pytest.mark.parametrize("count", [2, 3, 5])
def test_shares_are_the_batch_and_their_weighted_means_its_mean(count):
    samples = Samples({"x": torch.arange(7.0)}, torch.arange(7.0), torch.linspace(0.5, 1.5, 7))
    whole = list(Batches(samples, 4))
    shares = [list(Batches(samples, 4, share=Share(rank, count))) for rank in range(count)]
    for batch, parts in zip(whole, zip(*shares), strict=True):
        mean = (batch[0]["x"] * batch[0]["weight"]).mean()
        found = torch.stack([(inputs["x"] * inputs["weight"]).mean() for inputs, _ in parts])
        assert torch.isclose(found.mean(), mean)


if __name__ == "__main__":
    main(sys.argv[1])
