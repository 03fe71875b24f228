"""How long a whole head takes, how much memory, and what a model finds, simulated and real.

PROGNOSIS_DATA=... python benchmarks/segmentation_inference.py --model FILE --threads 2
"""

import argparse
import resource
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.stats import spearmanr
from train_segmenter import data_folder

from imaging.metrics import dice
from imaging.overlay import save_overlay
from imaging.segmentation import LesionSegmenter
from imaging.storage.models import model_path
from imaging.synthesis import Keep, LabelMapSource, SyntheticScans, Target, synthetic_chain
from imaging.volumes import mask_volume_ml
from prognosis import make_stroke_cohort


def whole_head():
    """A synthetic head at 1 mm."""
    chain = synthetic_chain(
        LabelMapSource(),
        spacing_mm=1.0,
        patch_size=None,
        noise_device="cpu",
        ending=(Target("lesion"), Keep("image", "target")),
    )
    image = SyntheticScans(chain, length=1)[0]["image"][0].numpy()
    return nib.Nifti1Image(image, np.eye(4))


def model_of(name, **parameters):
    """A pretrained name or a file."""
    return LesionSegmenter.load(model_path(name), **parameters)


def speed(name, threads):
    """Seconds without and with all 8 flips, and the highest memory of the process."""
    head = whole_head()
    for flips in (False, (0, 1, 2)):
        model = model_of(name, n_threads=threads, test_time_mirroring=flips)
        start = time.perf_counter()
        model.predict([head])
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        copies = 8 if flips else 1
        print(
            f"{head.shape} at 1 mm, {copies} copies, {threads} threads: {seconds:.1f} s, "
            f"peak memory {peak:.2f} GiB"
        )


def simulated(name, threads, count=30):
    """SIMULATED patients of `make_stroke_cohort`: Dice and volume against the true masks."""
    X, _ = make_stroke_cohort(count, random_state=3)
    model = model_of(name, n_threads=threads)
    found, truth = model.predict(list(X["t1w"])), list(X["lesion"])
    scores = [dice(one, other) for one, other in zip(found, truth, strict=True)]
    ml = [[mask_volume_ml(mask) for mask in masks] for masks in (found, truth)]
    print(
        f"{count} simulated T1w: mean Dice {np.mean(scores):.3f}, median {np.median(scores):.3f}; "
        f"volume found against true, rank correlation {spearmanr(*ml).statistic:.2f}, "
        f"medians {np.median(ml[0]):.0f} and {np.median(ml[1]):.0f} ml"
    )


def real(name, threads, out):
    """Multiple sclerosis (Dice), healthy heads (false ml), and a picture of a chronic stroke."""
    model = model_of(name, n_threads=threads)
    for folder in sorted((data_folder() / "open_ms").glob("patient*")):
        files = sorted(folder.glob("*.nii.gz"))
        truth = folder / "lesion.nii.gz"
        scans = [f for f in files if any(s in f.name.upper() for s in ("T1", "T2", "FLAIR"))]
        for scan in [*scans, scans]:
            (found,) = model.predict([scan])
            label = "all together" if isinstance(scan, list) else scan.name
            print(f"{folder.name} {label}: Dice {dice(found, nib.load(truth)):.3f}")
    for healthy in sorted((data_folder() / "scans").glob("*.nii.gz")):
        (found,) = model.predict([healthy])
        print(f"{healthy.name}, healthy: {mask_volume_ml(found):.0f} ml of false alarms")
    stroke = data_folder() / "arc" / "sub-M2265_T2w.nii.gz"
    (found,) = model.predict([stroke])
    ml = mask_volume_ml(found)
    print(f"{stroke.name}: {ml:.0f} ml (there is no mask to compare with: look at the picture)")
    save_overlay(stroke, found, Path(out) / "arc_T2w.png", title="ARC T2w")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="synthetic-small")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default=".", help="folder for the picture")
    options = parser.parse_args()
    speed(options.model, options.threads)
    simulated(options.model, options.threads)
    real(options.model, options.threads, options.out)


if __name__ == "__main__":
    main()
