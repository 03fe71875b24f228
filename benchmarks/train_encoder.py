"""Pretrain an encoder on simulated contrasts of 12 label maps; four are held out.

A training that was stopped, or ran out of its minutes, goes on with --resume to the same result. At
the end of a run the network as it is lies in --out as encoder.safetensors.

    PROGNOSIS_DATA=... python benchmarks/train_encoder.py --minutes 60 --out FOLDER [--resume]
"""

import argparse
import json
import threading
import time
from _thread import interrupt_main
from pathlib import Path

import torch
from train_segmenter import data_folder

from imaging import SequenceInvariantEncoder
from imaging.learning.checkpoints import read_checkpoint
from imaging.pretraining.fitting import build_network, people_of, view_stream
from imaging.synthesis import LabelMapSource

HELD_OUT = 4  # label maps that no encoder is trained on


def label_maps():
    """Label maps to train on, and those held out."""
    found = [str(one) for one in sorted((data_folder() / "label_maps").glob("*.nii.gz"))]
    if not found:
        raise SystemExit(f"label_maps is needed in {data_folder()}")
    return found[:-HELD_OUT], found[-HELD_OUT:]


def encoder(objective="seq_inv", **changes):
    """The untrained encoder, as it is configured for the weights of the package."""
    settings = {
        "source": LabelMapSource(label_maps()[0], lesion_probability=0.5),
        "loss": "nt-xent",
        "temperature": 0.2,
        "reconstruction_weight": 0.0,
        "contrast": "physics",
        "spacing_mm": 6.0,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "batch_size": 64,
        "epochs": 20,
        "steps_per_epoch": 5,
        "random_state": 0,
        "verbose": 1,
    }
    return SequenceInvariantEncoder(objective, **{**settings, **changes})


def speed(model, heads=32):
    """Print how fast views are made, and how fast the network would learn from them, in one thread.

    Processor time, so that what else runs does not count.
    """
    torch.set_num_threads(1)
    model._prepare_fit()
    stream = view_stream(model, people_of(model)[0], 0)
    stream.take(torch.arange(48))  # files are read once
    if model.n_people is not None:  # and people made once
        for seed in range(8 * model.n_people):
            stream.views.people.person(seed)
    begin = time.process_time()
    image = stream.take(torch.arange(48, 48 + heads)).inputs["image"]
    making = (time.process_time() - begin) / heads
    network = build_network(model)
    for _ in range(2):  # the first time there is more to do
        begin = time.process_time()
        network(image)[0].square().mean().backward()
        learning = (time.process_time() - begin) / heads
    print(f"views of a head are made in {making:.3f} s and learnt from in {learning:.3f} s;")
    print(f"a thread reaches {learning / (making + learning):.0%} of the network's own speed, two")
    print(f"threads {learning / max(making, learning):.0%}")


def minutes_spent(folder):
    """Minutes that all whole epochs of a training took, in whatever runs."""
    rows = json.loads(read_checkpoint(folder / "training.pt")["history"])
    return sum(row["dur"] for row in rows) / 60


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=60.0, help="of this run, at most")
    parser.add_argument("--resume", action="store_true", help="go on with the training in --out")
    parser.add_argument("--objective", default="seq_inv")
    parser.add_argument("--encoder", default="small")
    parser.add_argument("--loss", default="nt-xent")
    parser.add_argument("--reconstruction", type=float, default=0.0, metavar="WEIGHT")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=5, help="of an epoch")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--spacing", type=float, default=6.0, metavar="MM")
    parser.add_argument("--rate", type=float, default=1e-3, metavar="LEARNING_RATE")
    parser.add_argument("--contrast", default="physics")
    parser.add_argument("--people", type=int, help="that are made once; else new ones all the time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--speed", action="store_true", help="measure speed, train nothing")
    options = parser.parse_args()
    folder = Path(options.out)
    if (folder / "training.pt").is_file() and not options.resume:
        raise SystemExit(f"{folder} holds a training; go on with --resume, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    model = encoder(
        options.objective,
        encoder=options.encoder,
        loss=options.loss,
        reconstruction_weight=options.reconstruction,
        epochs=options.epochs,
        steps_per_epoch=options.steps,
        batch_size=options.batch,
        spacing_mm=options.spacing,
        learning_rate=options.rate,
        contrast=options.contrast,
        n_people=options.people,
        device=options.device,
        n_threads=options.threads,
        checkpoint=folder,
    )
    if options.speed:
        return speed(model)
    clock = threading.Timer(60 * options.minutes, interrupt_main)
    clock.daemon = True
    clock.start()
    try:
        model.fit()
    except KeyboardInterrupt:
        print("stopped; what was learnt since the last whole epoch is learnt again", flush=True)
        model.take_checkpoint()
    clock.cancel()
    minutes = minutes_spent(folder)
    for number, row in enumerate(model.history_, start=1):
        print(number, {name: round(float(value), 4) for name, value in row.items()})
    steps = len(model.history_) * options.steps
    print(f"{minutes:.0f} minutes in all")
    model.save(
        folder / "encoder.safetensors",
        training_data=(
            f"synthetic scans only: {steps} steps of {options.batch} heads, {options.objective}, "
            f"{options.loss}, from {len(label_maps()[0])} SynthSeg label maps with made-up lesions "
            f"and deformations, {HELD_OUT} label maps held out; {minutes:.0f} minutes"
        ),
        half=True,
    )


if __name__ == "__main__":
    main()
