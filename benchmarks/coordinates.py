"""How right the model of brain, tissues and coordinates is, on simulated heads and on real scans.

Simulated: people on four label maps that were not trained on, at 2 mm, every contrast, pose and
fault; errors against the field of each label map. Real: scans of PROGNOSIS_DATA, without a truth
but for those that come without a skull.

    PROGNOSIS_DATA=... python benchmarks/coordinates.py --fields FOLDER [--model FILE]
"""

import argparse
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from train_coordinates import fields
from train_encoder import label_maps
from train_segmenter import data_folder

from imaging import LabelMapSource
from imaging.errors import ImageError
from imaging.metrics import dice
from imaging.randomness import Draws, sample_seed
from imaging.registration import CoordinateModel, CoordinateTarget, Located, fit_affine
from imaging.synthesis import synthetic_chain
from imaging.synthesis.steps import Keep

SPACING_MM = 2.0
SEED = 11


def heads(folder, count):
    """Simulated scans of people who were not trained on, as images, and their targets."""
    maps, held_out = label_maps()[1], fields(folder)[1]
    source = Located(LabelMapSource(maps, lesion_probability=0.5), held_out)
    chain = synthetic_chain(
        source,
        spacing_mm=SPACING_MM,
        patch_size=(96, 120, 96),
        noise_device="cpu",
        ending=(CoordinateTarget(), Keep("image", "target")),
    )
    for number in range(count):
        draws = Draws(sample_seed(SEED, number))
        scene, _ = chain.sample({}, draws.seed())
        affine = np.diag([SPACING_MM] * 3 + [1.0])
        affine[:3, 3] = [draws.uniform(-30, 30) for _ in range(3)]  # headers say little
        yield nib.Nifti1Image(scene["image"][0].numpy(), affine), scene["target"].numpy()


def measured(model, scan, target):
    """Errors of one simulated scan."""
    inside = target[6] > 0.5
    points = apply_affine(scan.affine, np.argwhere(inside).astype(float))
    truth = target[7:][:, inside].T
    begin = time.perf_counter()
    try:
        head = model.predict(scan)
    except ImageError:
        return {"brain": 0.0, "failed": 1.0}
    affine_s = time.perf_counter() - begin
    brain, where = head.brain.get_fdata(), head.coordinates.get_fdata()
    whole_s = time.perf_counter() - begin
    best, _ = fit_affine(points, truth)
    away = np.linalg.norm(where[inside] - truth, axis=1)
    tissues = head.tissues.get_fdata()
    grey, white = target[1] + target[2] / 2, target[3] + target[2] / 2
    return {
        "failed": 0.0,
        "brain": dice(brain > 0.5, inside),
        "grey": dice(tissues[..., 0] > 0.5, grey > 0.5),
        "white": dice(tissues[..., 1] > 0.5, white > 0.5),
        "fluid": dice(tissues[..., 2] > 0.5, target[4] > 0.5),
        "mm": float(away.mean()),
        "affine mm": float(
            np.linalg.norm(apply_affine(head.affine, points) - truth, axis=1).mean()
        ),
        "best affine mm": float(np.linalg.norm(apply_affine(best, points) - truth, axis=1).mean()),
        "from it mm": float(
            np.linalg.norm(apply_affine(head.affine - best, points), axis=1).mean()
        ),
        "residual mm": head.residual_mm,
        "affine s": affine_s,
        "maps s": whole_s,
    }


def real_scans():
    """Names and paths of real scans, and whether they show the brain alone."""
    root = data_folder()
    for path in sorted((root / "scans").glob("*.nii.gz")):
        yield path.name, path, False
    for path in sorted((root / "arc").glob("*.nii.gz")):
        yield path.name, path, False
    for patient in sorted((root / "open_ms").glob("patient*")):
        for path in sorted(patient.glob("*.nii.gz")):
            if not any(word in path.name.lower() for word in ("mask", "consensus", "lesion")):
                yield f"{patient.name} {path.name}", path, True
    for path in sorted((root / "lgg").glob("*FLAIR.nii.gz"))[::12]:
        yield path.name, path, False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", required=True, metavar="FOLDER")
    parser.add_argument("--model", metavar="FILE", help="None: the one that comes with the package")
    parser.add_argument("--heads", type=int, default=20)
    options = parser.parse_args()
    load = CoordinateModel.load if options.model else CoordinateModel.from_pretrained
    model = load(options.model or "coordinates")
    rows = []
    for scan, target in heads(Path(options.fields), options.heads):
        rows.append(measured(model, scan, target))
        print(len(rows), {name: round(value, 2) for name, value in rows[-1].items()}, flush=True)
    names = max(rows, key=len)
    for name in names:
        values = [row[name] for row in rows if name in row]
        print(f"simulated {name:16} mean {np.mean(values):.3f}  worst {np.max(values):.3f}", end="")
        print(f"  median {np.median(values):.3f}  least {np.min(values):.3f}")
    for name, path, stripped in real_scans():
        try:
            head = model.predict(path)
        except ImageError as error:
            print(f"{name}: {error}")
            continue
        edges = np.linalg.svd(head.affine[:3, :3])[1]
        text = f"{name}: brain {head.brain_ml:.0f} ml, residual {head.residual_mm:.1f} mm, "
        text += f"zoom {edges.min():.2f}-{edges.max():.2f}"
        if stripped:
            scan = nib.load(path)
            truth = scan.get_fdata() > 0
            text += (
                f", Dice with the skull stripper {dice(head.brain.get_fdata() > 0.5, truth):.3f}"
            )
            points = apply_affine(scan.affine, np.argwhere(truth)[::50])
            moved = apply_affine(head.affine, points) - points
            text += f", MNI affine within {np.linalg.norm(moved, axis=1).mean():.1f} mm of identity"
        print(text, flush=True)


if __name__ == "__main__":
    main()
