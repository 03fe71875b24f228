"""Part 3 of what pretrained encoders are worth: the same place in another real contrast.

Two patients of open_ms, T1, T2 and FLAIR on one grid, without skull. The second scan is turned by 0
or 15 degrees. For 400 places of the brain in one scan the most alike voxel of the other is sought
within 20 mm of a place that is itself up to 20 mm off; it counts where it is within 4 mm of the
true one. Rows: MIND-SSC with its surroundings; template coordinates of `CoordinateModel` alone; and
the two together: MIND-SSC between scans that were laid over each other by the two affines, and the
distance from there.

    PROGNOSIS_DATA=... python benchmarks/correspondence.py [--model FILE] [--points 400]
"""

import argparse
from itertools import permutations, product

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy.ndimage import affine_transform, binary_erosion, uniform_filter
from train_segmenter import data_folder

from imaging.grids import open_image
from imaging.registration import CoordinateModel
from imaging.resizing import resized
from imaging.synthesis.geometry import affine_matrix

SPACING_MM = 2.0
REACH_MM, RIGHT_MM = 20.0, 4.0
PRIOR_MM = 4.0  # how far off the affines are taken to be; not tuned
SEQUENCES = ("T1", "T2", "FLAIR")
SEED = 5


def patients():
    """Names, and by sequence images at 2 mm."""
    for folder in sorted((data_folder() / "open_ms").glob("patient*")):
        found = {}
        for name in SEQUENCES:
            (path,) = folder.glob(f"*{name}.nii.gz")
            image = nib.as_closest_canonical(open_image(path))
            edges = np.linalg.norm(image.affine[:3, :3], axis=0)
            shape = [round(n * e / SPACING_MM) for n, e in zip(image.shape, edges, strict=True)]
            scale = np.divide(image.shape, shape)
            affine = image.affine @ np.diag([*scale, 1.0])
            affine[:3, 3] = apply_affine(image.affine, (scale - 1) / 2)
            found[name] = nib.Nifti1Image(resized(image.get_fdata(), shape), affine)
        yield folder.name, found


def turned(image, degrees, rng):
    """An image turned about its middle, and the matrix from its old millimetres to the new ones."""
    if degrees == 0:
        return image, np.eye(4)
    axis = rng.normal(size=3)
    angles = degrees * axis / np.linalg.norm(axis)
    turn = np.eye(4)
    turn[:3, :3] = affine_matrix(angles.tolist(), [0.0] * 3, [1.0] * 3).numpy()
    middle = apply_affine(image.affine, (np.array(image.shape)[None] - 1) / 2)[0]
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    return moved(image, np.linalg.inv(turn), image), turn


def moved(image, matrix, grid):
    """An image on the voxels of another, by the matrix from the other's millimetres to its own."""
    voxels = np.linalg.inv(image.affine) @ matrix @ grid.affine
    values = affine_transform(
        image.get_fdata(dtype=np.float32), voxels[:3, :3], voxels[:3, 3], grid.shape, order=1
    )
    return nib.Nifti1Image(values, grid.affine)


def mind_ssc(values, apart=2, radius=1):
    """MIND-SSC: twelve distances between patches around each voxel (Heinrich et al. 2013).

    Returns
    -------
    ndarray of shape (12, *spatial), float32
    """
    around = [np.array(o) for o in product((-1, 0, 1), repeat=3) if np.abs(o).sum() == 1]
    pairs = [
        (a, b) for i, a in enumerate(around) for b in around[i + 1 :] if np.abs(a + b).sum() > 0
    ]
    away = np.stack(
        [
            uniform_filter(
                (_shifted(values, apart * a) - _shifted(values, apart * b)) ** 2, 2 * radius + 1
            )
            for a, b in pairs
        ]
    )
    away -= away.min(0)
    noise = away.mean(0)
    noise = np.clip(noise, 0.001 * noise.mean(), 1000 * noise.mean())
    return np.exp(-away / np.maximum(noise, 1e-12)).astype(np.float32)


def _shifted(values, offset):
    return np.roll(values, tuple(int(n) for n in offset), (0, 1, 2))


def surrounded(features, apart=4):
    """Features of a voxel and of six places around it, 8 mm away."""
    shifts = [s for s in product((-apart, 0, apart), repeat=3) if np.count_nonzero(s) <= 1]
    return np.concatenate([np.roll(features, s, (1, 2, 3)) for s in shifts])


def windows(points, centres, image):
    """Voxels within reach of each centre, clipped to the image: (points, n, 3)."""
    reach = int(REACH_MM / SPACING_MM)
    steps = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    found = np.rint(centres)[:, None] + steps
    return np.clip(found, 0, np.array(image.shape) - 1).astype(int)


def most_alike(one, other, points, candidates):
    """Squared distance of features of every candidate, (points, n)."""
    costs = np.empty(candidates.shape[:2], np.float32)
    for number, (point, near) in enumerate(zip(points, candidates, strict=True)):
        there = other[(slice(None), *near.T)]
        costs[number] = ((there - one[(slice(None), *point)][:, None]) ** 2).mean(0)
    return costs


def found_places(model, one, other, points, centres):
    """By method, where the points of one scan are said to be in the other, millimetres of it."""
    inverse = np.linalg.inv(other.affine)
    near = windows(points, apply_affine(inverse, centres), other)
    features = surrounded(mind_ssc(one.get_fdata(dtype=np.float32)))
    cost = most_alike(
        features, surrounded(mind_ssc(other.get_fdata(dtype=np.float32))), points, near
    )
    places = {"MIND-SSC": _best(cost, near, other.affine)}
    if model is None:
        return places
    heads = model.predict([one, other])
    where = [np.moveaxis(head.coordinates.get_fdata(dtype=np.float32), -1, 0) for head in heads]
    cost = most_alike(where[0], where[1], points, near)
    places["coordinates"] = _best(cost, near, other.affine)
    over = np.linalg.inv(heads[1].affine) @ heads[0].affine  # millimetres of one to the other's
    laid = moved(other, over, one)
    back = np.linalg.inv(one.affine) @ np.linalg.inv(over)
    near = windows(points, apply_affine(back, centres), one)
    cost = most_alike(
        features, surrounded(mind_ssc(laid.get_fdata(dtype=np.float32))), points, near
    )
    cost = cost / np.median(cost, axis=1, keepdims=True)
    off = SPACING_MM * np.linalg.norm(near - points[:, None], axis=2)
    places["affines alone"] = apply_affine(over, apply_affine(one.affine, points.astype(float)))
    cost = cost + (off / PRIOR_MM) ** 2 / 8
    places["both"] = apply_affine(over, _best(cost, near, one.affine))
    return places


def _best(cost, near, affine):
    best = near[np.arange(len(near)), cost.argmin(1)]
    return apply_affine(affine, best.astype(float))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", metavar="FILE", help="None: the one that comes with the package")
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--degrees", type=int, nargs="+", default=(0, 15))
    options = parser.parse_args()
    load = CoordinateModel.load if options.model else CoordinateModel.from_pretrained
    model = load(options.model or "coordinates")
    table = {}
    for patient, images in patients():
        for degrees, (a, b) in product(options.degrees, permutations(SEQUENCES, 2)):
            rng = np.random.default_rng([SEED, degrees, SEQUENCES.index(a), SEQUENCES.index(b)])
            one = images[a]
            other, turn = turned(images[b], degrees, rng)
            brain = binary_erosion(one.get_fdata() > 0, iterations=3)
            points = rng.permutation(np.argwhere(brain))[: options.points]
            truth = apply_affine(turn, apply_affine(one.affine, points.astype(float)))
            centres = truth + rng.uniform(-REACH_MM, REACH_MM, truth.shape)
            for name, places in found_places(model, one, other, points, centres).items():
                right = np.linalg.norm(places - truth, axis=1) <= RIGHT_MM
                table.setdefault((name, degrees), {})[patient, a, b] = float(right.mean())
            row = {
                name: values[patient, a, b] for (name, d), values in table.items() if d == degrees
            }
            print(patient, f"{a} to {b}, {degrees} degrees:", row, flush=True)
    for (name, degrees), values in sorted(table.items()):
        shares = list(values.values())
        print(f"{name:14} {degrees:2} degrees: mean {np.mean(shares):.3f}, least {min(shares):.3f}")


if __name__ == "__main__":
    main()
