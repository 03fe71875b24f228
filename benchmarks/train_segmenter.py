"""Train a small general lesion segmenter on synthetic scans only.

Label maps of 16 heads times lesion masks of SOOP patients; two heads and a tenth of the masks are
held out. A training that was stopped goes on when the script is started again.

    PROGNOSIS_DATA=... python benchmarks/train_segmenter.py --checkpoint FOLDER
"""

import argparse
import os
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np

from imaging.metrics import dice
from imaging.randomness import sample_seed
from imaging.segmentation import LesionSegmenter
from imaging.synthesis import Keep, LabelMapSource, Target, synthetic_chain
from imaging.volumes import mask_volume_ml

HELD_OUT_HEADS = 2
HELD_OUT_SHARE = 10  # every tenth mask
LEAST_ML = 1.0  # smaller lesions are some hundred voxels of 2 mm at most


def data_folder():
    """The folder with the data sets."""
    return Path(os.environ.get("PROGNOSIS_DATA", Path(__file__).parents[2] / "shared" / "datasets"))


@cache
def volume_ml(mask):
    """Of a lesion, from a mask of 1 mm voxels."""
    return mask_volume_ml(nib.load(mask))


def sources():
    """Where training and validation scans come from: no head and no lesion is in both."""
    heads = sorted((data_folder() / "label_maps").glob("*.nii.gz"))
    masks = sorted((data_folder() / "soop" / "NIfTI").glob("bwsr*_lesion.nii.gz"))
    if not heads or not masks:
        raise SystemExit(f"label_maps and soop are needed in {data_folder()}")
    masks = [mask for mask in masks if volume_ml(mask) >= LEAST_ML]
    held_out = masks[::HELD_OUT_SHARE]
    kept = [mask for number, mask in enumerate(masks) if number % HELD_OUT_SHARE]
    training = LabelMapSource(
        [str(h) for h in heads[:-HELD_OUT_HEADS]], [str(m) for m in kept], mirror_lesions=0.5
    )
    validation = LabelMapSource(
        [str(h) for h in heads[-HELD_OUT_HEADS:]],
        [str(m) for m in held_out],
        lesion_probability=1.0,
    )
    return training, validation


def segmenter(checkpoint=None, epochs=42, **changes):
    """The untrained segmenter, as it was configured for the weights of the package."""
    training, validation = sources()
    settings = {
        "source": training,
        "validation_source": validation,
        "validation_samples": 16,
        "spacing_mm": 3.0,
        "patch_size": (32, 48, 32),
        "patches": 2,
        "mirror": (0.5, 0.0, 0.0),
        "epochs": epochs,
        "steps_per_epoch": 1000,
        "batch_size": 1,
        "lesion_weight": 3.0,
        "tversky": 0.5,
        "deep_supervision": True,
        "learning_rate": 2e-3,
        "weight_decay": 1e-4,
        "checkpoint": checkpoint,
        "random_state": 0,
        "verbose": 1,
    }
    return LesionSegmenter("folded-small", **{**settings, **changes})


def synthetic_validation(count, contrast, seed=1):
    """Whole heads at 2 mm with held-out lesions on held-out labels: scans and masks."""
    _, source = sources()
    chain = synthetic_chain(
        source,
        spacing_mm=2.0,
        patch_size=None,
        noise_device="cpu",
        contrast=contrast,
        ending=(Target("lesion"), Keep("image", "target")),
    )
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for number in range(count):
        scene, _ = chain.sample({}, sample_seed(seed, number))
        image, mask = scene["image"][0].numpy(), scene["target"][0].numpy()
        yield nib.Nifti1Image(image, affine), nib.Nifti1Image(mask, affine)


def measured(model, count):
    """Mean lesion Dice on whole synthetic heads, by kind of contrast and volume of the lesion."""
    scores = {}
    for contrast in ("physics", "mixture"):
        rows = []
        for scan, truth in synthetic_validation(count, contrast):
            (found,) = model.predict([scan])
            rows.append((mask_volume_ml(truth), dice(found, truth)))
        table = np.array(rows)
        scores[f"{contrast}_dice"] = table[:, 1].mean()
        for low, high in ((0, 5), (5, 20), (20, 1000)):
            here = (table[:, 0] >= low) & (table[:, 0] < high)
            if here.any():
                scores[f"{contrast}_dice_{low}_to_{high}_ml"] = table[here, 1].mean()
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER")
    parser.add_argument("--epochs", type=int, default=42)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--take", action="store_true", help="train no more: take the best network so far"
    )
    parser.add_argument("--export", metavar="FILE", help="write the model, measured, to this file")
    parser.add_argument(
        "--count", type=int, default=60, help="synthetic heads of each kind to test"
    )
    options = parser.parse_args()
    model = segmenter(
        options.checkpoint,
        options.epochs,
        steps_per_epoch=options.steps,
        n_threads=options.threads,
    )
    model = model.take_checkpoint() if options.take else model.fit()
    for number, row in enumerate(model.history_, start=1):
        print(number, {key: round(float(value), 4) for key, value in row.items()})
    if options.export:
        scores = measured(model, options.count)
        print(scores)
        patches = len(model.history_) * options.steps * model.batch_size * model.patches
        model.save(
            options.export,
            training_data=(
                f"synthetic scans only: {patches} patches of 14 SynthSeg label maps with lesion "
                f"masks of SOOP patients of {LEAST_ML:g} ml or more, intensity mixtures and "
                "plausible protocols; 2 label maps and a tenth of the masks held out"
            ),
            scores=scores,
            half=True,
        )


if __name__ == "__main__":
    main()
