"""What the score of failure says of spoilt scans, and of good ones.

    PROGNOSIS_DATA=... python benchmarks/registration_failures.py [--model coordinates] [--affine]

One real scan is spoilt in a score of ways; one that passes is missed where it lies more
than 8 mm from where the unspoilt scan was placed. Good are simulated heads of six sequences, and
the real scans at hand, whose registrations have to be looked at to be called good.
"""

import argparse

import nibabel as nib
import numpy as np
import torch
from registration import CASES, Case
from scipy import ndimage
from train_segmenter import data_folder

from imaging import ImageError
from imaging.registration import register
from imaging.registration.registering import opened_model
from imaging.volumes import read_volume

MISPLACED_MM = 8.0


def spoilt(scan):
    """Spoilt copies of a scan: name to image."""
    data, affine = np.asanyarray(scan.dataobj, dtype=np.float32), scan.affine
    rng = np.random.default_rng(0)
    high = float(np.percentile(data, 99))
    noise = np.abs(rng.normal(0, high / 2, data.shape)).astype(np.float32)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in data.shape), indexing="ij")
    away = np.sqrt(x**2 + y**2 + z**2)
    third = [n // 3 for n in data.shape]

    def image(values, where=affine):
        return nib.Nifti1Image(np.ascontiguousarray(values, np.float32), where)

    left, top, lower = (data.copy() for _ in range(3))
    left[: data.shape[0] // 2] = 0
    top[:, :, -third[2] :] = 0
    lower[:, :, : 2 * data.shape[2] // 3] = 0
    twice = data.copy()
    twice[third[0] :] += data[: -third[0]]
    thirds = affine.copy()
    thirds[:3, 3] += affine[:3, :3] @ [0, 0, 2 * third[2]]
    return {
        "half a head": image(left),
        "noise": image(noise),
        "noise stronger than the head": image(data + 4 * noise),
        "an orange": image(high * (away < 0.6) * (1 + 0.1 * np.sin(12 * np.arctan2(y, x)))),
        "a box": image(high * (np.maximum.reduce([abs(x), abs(y), abs(z)]) < 0.6)),
        "all zero": image(0 * data),
        "all one": image(0 * data + 1),
        "neck only": image(data[:, :, : third[2]]),
        "top only": image(data[:, :, 2 * third[2] :], thirds),
        "upper third blanked": image(top),
        "lower two thirds blanked": image(lower),
        "two heads": image(twice),
        "axes swapped": image(np.swapaxes(data, 0, 2)),
        "upside down": image(data[:, :, ::-1]),
        "back to front": image(data[:, ::-1]),
        "voxels twice as large": image(data, affine @ np.diag([2, 2, 2, 1])),
        "voxels half as large": image(data, affine @ np.diag([0.5, 0.5, 0.5, 1])),
        "stretched": image(data, affine @ np.diag([1, 1, 2.2, 1])),
        "blurred": image(ndimage.gaussian_filter(data, 16 / np.linalg.norm(affine[:3, 0]))),
        "one slice repeated": image(np.repeat(data[:, :, [third[2]]], data.shape[2], axis=2)),
    }


def placed(scan, model, nonlinear):
    """Score, reasons, and where the middle and the ends of the brain come to lie."""
    try:
        found = register(scan, model=model, nonlinear=nonlinear)
    except ImageError as error:
        return 1.0, f"refused: {error}", None
    reasons = "; ".join([*found.quality.reasons, *found.warnings])
    return found.quality.failure, reasons, found.transform


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="coordinates")
    parser.add_argument("--affine", action="store_true", help="no warp: quicker")
    parser.add_argument("--simulated", type=int, default=len(CASES), help="good heads to try")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, data = opened_model(options.model), data_folder()
    scans = {path.name: path for path in sorted((data / "scans").glob("*.nii.gz"))}
    first = read_volume(next(iter(scans.values())))
    _, _, right = placed(first, model, not options.affine)
    caught = missed = 0
    for name, image in (ways := spoilt(first)).items():
        failure, reasons, transform = placed(image, model, not options.affine)
        apart = np.inf
        if transform is not None and right is not None:
            points = np.array(list(np.ndindex(2, 2, 2))) * [90, 120, 90] - [45, 75, 25]
            native = right.points_to_native(points)
            apart = np.linalg.norm(transform.points_to_template(native) - points, axis=1).mean()
        caught += failure > 0.5
        missed += failure <= 0.5 and apart > MISPLACED_MM
        print(
            f"spoilt, {name}: {failure:.2f}, {apart:.0f} mm from the unspoilt ({reasons})",
            flush=True,
        )
    print(f"{caught} of {len(ways)} spoilt scans are called failed, {missed} misplaced ones pass")
    passed = total = 0
    for name, path in scans.items():
        failure, reasons, _ = placed(path, model, not options.affine)
        total, passed = total + 1, passed + (failure <= 0.5)
        print(f"real, {name}: {failure:.2f} ({reasons})", flush=True)
    for case_of in CASES[: options.simulated]:
        failure, reasons, _ = placed(Case(*case_of).scan, model, not options.affine)
        total, passed = total + 1, passed + (failure <= 0.5)
        print(f"simulated, {case_of}: {failure:.2f} ({reasons})", flush=True)
    print(f"{passed} of {total} good scans pass")


if __name__ == "__main__":
    main()
