"""How much memory a patient costs in `fit` and `predict_proba`.

Each cohort is fitted in a process of its own; the slope of the peak between two sizes of cohort is
what one patient costs, without libraries and networks. Below `memory_limit_mb` the prepared images
are held once; above, they stay in a file, and a patient must cost next to nothing. The images are
SIMULATED: noise.

    python benchmarks/memory.py [--patients 1000 3000]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

EDGE = 48  # voxels of a scan, and of a prepared volume
SPACING_MM = 4.0
MOSAIC_SIZE = 256
FLOAT_BYTES = 4
PREPARED_BYTES = {"stitched": MOSAIC_SIZE**2 * FLOAT_BYTES, "volume": EDGE**3 * FLOAT_BYTES}
LIMIT_MB = {"stitched": 100_000, "volume": 64}
MOST_HELD = 1.2  # of a prepared picture
MOST_IN_FILE = 0.02  # of a prepared volume


def write_cohort(folder, n_patients):
    """Noise, another for each patient, so that nothing can be shared between them."""
    rng = np.random.default_rng(0)
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1])
    for number in range(n_patients):
        voxels = rng.integers(1, 256, (EDGE, EDGE, EDGE), np.uint8)
        nib.save(nib.Nifti1Image(voxels, affine), _scan(folder, number))


def _scan(folder, number):
    return str(Path(folder) / f"{number:05d}.nii")


def tiny_encoder(shape, n_channels):
    """A network whose own memory does not count: means over large cells."""
    import torch

    class Encoder(torch.nn.Module):
        n_maps = n_channels

        def __init__(self):
            super().__init__()
            kind = {2: torch.nn.AdaptiveAvgPool2d, 3: torch.nn.AdaptiveAvgPool3d}[len(shape)]
            self.pool = kind(4)
            self.n_features = n_channels * 4 ** len(shape)

        def feature_maps(self, image):
            return self.pool(image)

        def summarise(self, maps):
            return maps.flatten(1)

        def forward(self, image):
            return self.summarise(self.feature_maps(image))

    return Encoder()


def peak_of_fit(kind, folder, n_patients):
    """Fit and predict in this process; its highest memory in bytes."""
    from prognosis import StitchedSliceClassifier, VolumeClassifier

    index = [f"sub-{number:05d}" for number in range(n_patients)]
    X = pd.DataFrame({"scan": [_scan(folder, number) for number in range(n_patients)]}, index)
    y = pd.Series(np.arange(n_patients) % 2, index)
    if kind == "stitched":
        model = StitchedSliceClassifier("scan", mosaic_size=MOSAIC_SIZE)
    else:
        model = VolumeClassifier("scan", spacing_mm=SPACING_MM)
    model.set_params(architecture=tiny_encoder, augment=False, epochs=1, random_state=0)
    model.set_params(memory_limit_mb=LIMIT_MB[kind])
    model.fit(X, y).predict_proba(X)
    expected = {"stitched": (1, MOSAIC_SIZE, MOSAIC_SIZE), "volume": (1, EDGE, EDGE, EDGE)}[kind]
    if model.image_shape_ != expected:
        raise RuntimeError(f"prepared images have the shape {model.image_shape_}, not {expected}")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_in_child(kind, folder, n_patients):
    command = [sys.executable, __file__, "--child", kind, "--folder", folder]
    command += ["--patients", str(n_patients), str(n_patients)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{kind}, {n_patients} patients: {run.stderr}")
    return int(run.stdout.split()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, nargs=2, default=(1000, 3000))
    for hidden in ("--child", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    few, many = options.patients
    if options.child:
        print(peak_of_fit(options.child, options.folder, few))
        return 0

    share = {}
    print("SIMULATED: noise")
    with tempfile.TemporaryDirectory() as folder:
        write_cohort(folder, many)
        for kind, size in PREPARED_BYTES.items():
            peaks = [peak_in_child(kind, folder, count) for count in (few, many)]
            share[kind] = (peaks[1] - peaks[0]) / (many - few) / size
            print(
                f"{kind}: peak {peaks[0] / 2**20:.0f} MiB with {few} patients, "
                f"{peaks[1] / 2**20:.0f} MiB with {many}; each costs {share[kind]:.3f} x its "
                f"prepared image of {size / 2**10:.0f} KiB"
            )
    bars = {
        f"in memory, a patient costs at most {MOST_HELD} x its picture": share["stitched"]
        <= MOST_HELD,
        f"in a file, a patient costs at most {MOST_IN_FILE} x its volume": share["volume"]
        <= MOST_IN_FILE,
    }
    for name, held in bars.items():
        print(f"{'held  ' if held else 'MISSED'} {name}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
