"""Coarse simulated heads whose place in the template is known, and what a perfect network says."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
from scipy import ndimage

from imaging.registration.template import template_maps

EDGE_MM = 5.0
# What scans of six contrasts show of grey matter, white matter, fluid and scalp.
CONTRASTS = {
    "t1w": (0.55, 0.85, 0.15, 0.95),
    "t2w": (0.65, 0.45, 1.0, 0.4),
    "flair": (0.7, 0.55, 0.1, 0.5),
}


class Head:
    """A head: the template moved by an affine and a smooth warp."""

    def __init__(self, contrast="t1w", seed=0, *, warp_mm=7.0, turn_deg=8.0, lesion_mm=0.0):
        rng = np.random.default_rng(seed)
        fine = template_maps(3.0)
        turn = np.radians(rng.normal(0, turn_deg, 3))
        matrix = _rotation(turn) @ np.diag(rng.normal(1, 0.04, 3))
        self.affine = nib.affines.from_matvec(matrix, rng.normal(0, 6, 3))  # scan to template
        shape = (42, 48, 44)
        grid = nib.affines.from_matvec(EDGE_MM * np.eye(3), [-105, -128, -105])
        self.grid = np.linalg.inv(self.affine) @ grid
        voxels = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
        smooth = [ndimage.gaussian_filter(rng.standard_normal(shape), 4) for _ in range(3)]
        smooth = np.stack([one / one.std() for one in smooth], -1) * warp_mm / np.sqrt(3)
        self.truth = nib.affines.apply_affine(grid, voxels) + smooth  # template mm by voxel
        at = nib.affines.apply_affine(np.linalg.inv(fine.grid.affine), self.truth)
        at = np.moveaxis(at, -1, 0)
        self.tissues = np.stack(
            [ndimage.map_coordinates(part, at, order=1) for part in fine.tissues], -1
        )
        self.brain = self.tissues.sum(-1)
        away = ndimage.distance_transform_edt(self.brain < 0.5) * EDGE_MM
        self.lesion = np.linalg.norm(self.truth - [-40, -10, 15], axis=-1) < lesion_mm
        self.lesion &= self.brain > 0.5
        values = CONTRASTS[contrast]
        scan = self.tissues @ np.array(values[:3]) + values[3] * ((away > 6) & (away < 14))
        scan[self.lesion] = values[2]
        scan += rng.normal(0, 0.02, shape)
        self.scan = nib.Nifti1Image(scan.astype(np.float32), self.grid)
        self.mask = nib.Nifti1Image(self.lesion.astype(np.uint8), self.grid)

    def image(self, values):
        return nib.Nifti1Image(np.asarray(values, np.float32), self.grid)

    def errors(self, transform, where=None):
        """Distance of voxels from where they should be, mm."""
        where = (self.brain > 0.5) & ~self.lesion if where is None else where
        points = nib.affines.apply_affine(self.grid, np.argwhere(where))
        return np.linalg.norm(transform.points_to_template(points) - self.truth[where], axis=1)


class Knows:
    """Stands for the network: says of any scan of these heads what is so."""

    def __init__(self, *heads):
        self.heads = heads
        self.asked = 0

    def identity(self):
        return "knows"

    def predict(self, scan):
        self.asked += 1
        scan = nib.as_closest_canonical(scan)
        head = min(self.heads, key=lambda one: _distance(one, scan))
        tissues = head.tissues.copy()
        tissues[head.lesion] = [0, 0, 1]  # as a cavity looks
        inside = head.brain > 0.5
        points = nib.affines.apply_affine(head.grid, np.argwhere(inside))
        design = np.c_[points, np.ones(len(points))]
        solved = np.linalg.lstsq(design, head.truth[inside], rcond=None)[0]
        affine = np.eye(4)
        affine[:3] = solved.T
        away = np.linalg.norm(design @ solved - head.truth[inside], axis=1)
        return SimpleNamespace(
            brain=head.image(head.brain),
            tissues=head.image(tissues),
            coordinates=head.image(head.truth),
            affine=affine,
            residual_mm=float(np.median(away)),
            brain_ml=float(head.brain.sum() * abs(np.linalg.det(head.grid[:3, :3])) / 1000),
        )


def _distance(head, scan):
    own = nib.as_closest_canonical(head.scan)
    if own.shape != scan.shape:
        return np.inf
    return float(np.abs(own.get_fdata() - scan.get_fdata()).mean())


def _rotation(turn):
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(turn).as_matrix()
