"""Train a small denoiser on simulated heads and on real scans; one real patient is held out.

Label maps of 12 heads (four are held out), and 64 x 64 x 64 pieces of the scans of one patient of
open_ms (19), and of the folders scans and arc. A training that was stopped, or ran out of its
minutes, goes on with --resume. With --measure the result is
measured as in part 7 of `benchmarks/encoder_tasks.py`.

    PROGNOSIS_DATA=... python benchmarks/train_denoiser.py --minutes 60 --out FOLDER [--resume]
"""

import argparse
import threading
from _thread import interrupt_main
from pathlib import Path

import nibabel as nib
import numpy as np
from train_encoder import label_maps
from train_segmenter import data_folder

from imaging import Denoiser, LabelMapSource

PIECE = 64
LEAST_HEAD = 0.3  # of a piece, brighter than the scan's mean


def real_pieces():
    """Pieces of real scans to learn from, and which scan each is of."""
    folder = data_folder()
    paths = sorted((folder / "open_ms" / "patient19").glob("[FT]*.nii.gz"))
    paths += sorted((folder / "scans").glob("*.nii.gz")) + sorted((folder / "arc").glob("*.nii.gz"))
    pieces, scans = [], []
    for path in paths:
        image = nib.load(path)
        array = np.asanyarray(image.dataobj, dtype=np.float32)
        head = array > array.mean()
        starts = [range(0, max(1, n - PIECE + 1), PIECE) for n in array.shape]
        for corner in np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 3):
            box = tuple(slice(first, first + PIECE) for first in corner)
            if head[box].mean() >= LEAST_HEAD:
                pieces.append(nib.Nifti1Image(array[box].copy(), image.affine))
                scans.append(str(path))
    return pieces, scans


def denoiser(epochs=60, **changes):
    """The untrained denoiser, as it is configured for the weights of the package."""
    training, held_out = label_maps()
    settings = {
        "source": LabelMapSource(training, lesion_probability=0.5),
        "validation_source": LabelMapSource(held_out, lesion_probability=0.5),
        "validation_samples": 6,
        "real_share": 0.5,
        "patches": 8,
        "batch_size": 2,
        "epochs": epochs,
        "steps_per_epoch": 40,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "random_state": 0,
        "verbose": 1,
    }
    return Denoiser(**{**settings, **changes})


def measure(path):
    """Print PSNR and SSIM of a denoiser on simulated heads and on the real patient held out."""
    from encoder_tasks import denoised_scores

    model = Denoiser.load(path)

    def denoise(noisy, sd):
        model.set_params(noise_sd=sd)
        return np.asanyarray(model.predict([nib.Nifti1Image(noisy, np.eye(4))])[0].dataobj)

    for condition, scores in denoised_scores(denoise, 4.0).items():
        print(condition, {name: round(score, 3) for name, score in scores.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=60.0, help="of this run, at most")
    parser.add_argument("--resume", action="store_true", help="go on with the training in --out")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument(
        "--architecture",
        default="encoder-small",
        help="of Denoiser; this one works at full resolution, denoising-small at half of it",
    )
    parser.add_argument("--simulated", action="store_true", help="learn from no real scan")
    parser.add_argument("--measure", action="store_true", help="train no more: measure the result")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    folder = Path(options.out)
    if options.measure:
        return measure(folder / "denoiser.safetensors")
    if (folder / "training.pt").is_file() and not options.resume:
        raise SystemExit(f"{folder} holds a training; go on with --resume, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    model = denoiser(
        options.epochs,
        architecture=options.architecture,
        checkpoint=folder,
        n_threads=options.threads,
    )
    pieces, scans = (None, ()) if options.simulated else real_pieces()
    clock = threading.Timer(60 * options.minutes, interrupt_main)
    clock.daemon = True
    clock.start()
    try:
        model.fit(pieces, groups=None if pieces is None else scans)
    except KeyboardInterrupt:
        print("stopped; what was learnt since the last whole epoch is learnt again", flush=True)
        model.take_checkpoint()
    clock.cancel()
    for number, row in enumerate(model.history_, start=1):
        print(number, {name: round(float(value), 4) for name, value in row.items()})
    steps = len(model.history_) * model.steps_per_epoch
    real = f"and {len(pieces)} pieces of {len(set(scans))} real scans" if pieces else "only"
    model.save(
        folder / "denoiser.safetensors",
        training_data=(
            f"{'simulated heads' if pieces else 'synthetic scans'} {real}: {steps} steps of "
            f"{model.batch_size * model.patches} patches, from {len(label_maps()[0])} SynthSeg "
            "label maps with made-up lesions"
            + ("; real scans: open_ms (CC BY) patient 19, allineate, ARC (CC0)" if pieces else "")
        ),
        half=True,
    )


if __name__ == "__main__":
    main()
