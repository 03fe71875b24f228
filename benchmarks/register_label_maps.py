"""Where in the MNI template the voxels of every label map lie: fields for `train_coordinates.py`.

A picture of grey and white matter is registered to that of nilearn's template, affine and by
symmetric normalisation (dipy) at 2 mm, a minute each. Beyond the template's box the affine counts.

    PROGNOSIS_DATA=... python benchmarks/register_label_maps.py --out FOLDER
"""

import argparse
from itertools import chain
from pathlib import Path

import nibabel as nib
import numpy as np
from dipy.align.imaffine import (
    AffineRegistration,
    MutualInformationMetric,
    transform_centers_of_mass,
)
from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
from dipy.align.metrics import CCMetric
from dipy.align.transforms import AffineTransform3D, RigidTransform3D
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from scipy.ndimage import gaussian_filter
from train_encoder import label_maps

from imaging.storage.files import replacing
from imaging.synthesis.label_maps import read_label_map

RIM = 4  # voxels around the template
BRIGHTNESS = (0.0, 0.6, 0.8, 1.0)  # outside, grey, mixed, white


def template():
    """Picture of the template's brain at 2 mm, and its affine."""
    grey = load_mni152_gm_template(resolution=2)
    white = load_mni152_wm_template(resolution=2).get_fdata(dtype=np.float32)
    picture = np.pad(0.6 * grey.get_fdata(dtype=np.float32) + white, RIM)
    affine = grey.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.full(3, RIM)
    return gaussian_filter(picture, 0.5), affine


def head(path):
    """The same picture of a label map at 2 mm."""
    labels, affine = read_label_map(path)
    half = [n // 2 for n in labels.shape]
    labels = labels[tuple(slice(2 * n) for n in half)]
    bright = np.array([*BRIGHTNESS, *[0.0] * 20], np.float32)[labels]
    picture = bright.reshape(half[0], 2, half[1], 2, half[2], 2).mean((1, 3, 5))
    coarse = affine.copy()
    coarse[:3, :3] *= 2
    coarse[:3, 3] = affine[:3, :3] @ np.full(3, 0.5) + affine[:3, 3]
    return gaussian_filter(picture, 0.8), coarse


def field(path, fixed, its_affine):
    """Coordinates in the template of a label map's voxels, 2 mm apart, as an image."""
    moving, affine = head(path)
    metric = MutualInformationMetric(nbins=32, sampling_proportion=0.3)
    search = AffineRegistration(
        metric=metric, level_iters=[300, 60], sigmas=[3.0, 1.0], factors=[4, 2], verbosity=0
    )
    grids = {"static_grid2world": its_affine, "moving_grid2world": affine}
    matrix = transform_centers_of_mass(fixed, its_affine, moving, affine).affine
    for kind in (RigidTransform3D(), AffineTransform3D()):
        found = search.optimize(fixed, moving, kind, None, starting_affine=matrix, **grids)
        matrix = found.affine
    warp = SymmetricDiffeomorphicRegistration(
        CCMetric(3, sigma_diff=2.5, radius=3), level_iters=[20, 20, 8], inv_iter=20
    )
    mapping = warp.optimize(fixed, moving, prealign=matrix, **grids)
    millimetres = _places(fixed.shape, its_affine)
    warped = [
        mapping.transform_inverse(
            np.ascontiguousarray(one),
            interpolation="linear",
            image_world2grid=np.linalg.inv(its_affine),
            out_shape=moving.shape,
            out_grid2world=affine,
        )
        for one in millimetres
    ]
    straight = _places(moving.shape, np.linalg.inv(matrix) @ affine)
    voxels = np.tensordot(np.linalg.inv(its_affine)[:3, :3], straight, 1)
    voxels += np.linalg.inv(its_affine)[:3, 3].reshape(3, 1, 1, 1)
    inside = np.all([(v > 3) & (v < n - 4) for v, n in zip(voxels, fixed.shape)], 0)
    trust = gaussian_filter(inside.astype(np.float32), 2) * inside
    where = straight + trust * (np.stack(warped) - straight)
    return nib.Nifti1Image(np.moveaxis(where, 0, -1).astype(np.float32), affine)


def _places(shape, affine):
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    return np.moveaxis(grid @ affine[:3, :3].T + affine[:3, 3], -1, 0).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="FOLDER")
    folder = Path(parser.parse_args().out)
    folder.mkdir(parents=True, exist_ok=True)
    fixed, affine = template()
    for path in chain(*label_maps()):
        target = folder / Path(path).name.replace(".nii.gz", "_mni.nii.gz")
        if not target.is_file():
            with replacing(target) as temporary:
                nib.save(field(path, fixed, affine), temporary)
            print(target, flush=True)


if __name__ == "__main__":
    main()
