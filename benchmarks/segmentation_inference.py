"""How long a whole head takes, how much memory, and what a model finds on real scans.

PROGNOSIS_DATA=... python benchmarks/segmentation_inference.py --model FILE --threads 2
"""

import argparse
import resource
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from train_segmenter import data_folder

from imaging.metrics import dice
from imaging.segmentation import LesionSegmenter, segmentation_chain
from imaging.segmentation.pictures import save_overlay
from imaging.synthesis import LabelMapSource, SyntheticScans


def whole_head():
    """A synthetic head at 1 mm."""
    chain = segmentation_chain(LabelMapSource(), spacing_mm=1.0, classes="lesion")
    image = SyntheticScans(chain, length=1)[0]["image"][0].numpy()
    return nib.Nifti1Image(image, np.eye(4))


def model_of(name, **parameters):
    """A pretrained name or a file."""
    if name.endswith(".safetensors"):
        return LesionSegmenter.load(name, **parameters)
    return LesionSegmenter.from_pretrained(name, **parameters)


def speed(name, threads):
    """Seconds without and with all 8 flips, and the highest memory of the process."""
    head = whole_head()
    for flips in (False, (0, 1, 2)):
        model = model_of(name, n_threads=threads, test_time_flips=flips)
        start = time.perf_counter()
        model.predict([head])
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        copies = 8 if flips else 1
        print(
            f"{head.shape} at 1 mm, {copies} copies, {threads} threads: {seconds:.1f} s, "
            f"peak memory {peak:.2f} GiB"
        )


def real(name, threads, out):
    """Dice on the two patients with multiple sclerosis, and a picture of a chronic stroke."""
    model = model_of(name, n_threads=threads)
    for folder in sorted((data_folder() / "open_ms").glob("patient*")):
        files = sorted(folder.glob("*.nii.gz"))
        truth = folder / "lesion.nii.gz"
        scans = [f for f in files if any(s in f.name.upper() for s in ("T1", "T2", "FLAIR"))]
        for scan in [*scans, scans]:
            (found,) = model.predict([scan])
            label = "all together" if isinstance(scan, list) else scan.name
            print(f"{folder.name} {label}: Dice {dice(found, nib.load(truth)):.3f}")
    stroke = data_folder() / "arc" / "sub-M2265_T2w.nii.gz"
    (found,) = model.predict([stroke])
    save_overlay(stroke, found, Path(out) / "arc_T2w.png", title="ARC T2w")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="synthetic-small")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default=".", help="folder for the picture")
    options = parser.parse_args()
    speed(options.model, options.threads)
    real(options.model, options.threads, options.out)


if __name__ == "__main__":
    main()
