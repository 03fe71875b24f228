"""Simulated heads with chronic stroke: the images behind `make_stroke_cohort`.

Each is an individual deformation of the MNI template with a lesion grown in left middle cerebral
artery territory, and the T1w intensities that a scanner would give.
"""

import functools
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from imaging.atlases import load_atlas

__all__ = ["PLANTED_REGIONS", "patient_affine", "simulate_head"]

# What decides the outcome, besides lesion size, severity and time.
PLANTED_REGIONS = ("Temporal_Sup_L", "Temporal_Mid_L", "SupraMarginal_L")

# Volumes (ml) of the 360 Stroke Outcome Optimization Project masks that lie to at least 70 % in
# left middle cerebral artery territory: their quantiles, and the largest this territory can hold.
VOLUME_QUANTILES = (0.0, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 1.0)
VOLUMES_ML = (0.2, 0.29, 0.48, 1.86, 13.9, 52.7, 152.0, 200.0, 220.0)

# Where a lesion may start, how often, and the regions that its branch feeds (AAL, left).
BRANCHES = {
    "superior division": (
        0.32,
        (
            "Frontal_Inf_Oper_L",
            "Frontal_Inf_Tri_L",
            "Frontal_Mid_2_L",
            "Precentral_L",
            "Rolandic_Oper_L",
            "Postcentral_L",
        ),
    ),
    "inferior division": (
        0.42,
        ("Temporal_Sup_L", "Temporal_Mid_L", "Heschl_L", "SupraMarginal_L", "Angular_L"),
    ),
    "deep": (0.14, ("Insula_L", "Putamen_L", "Pallidum_L", "Caudate_L")),
    "posterior": (0.12, ("Parietal_Inf_L", "Angular_L", "Postcentral_L", "Occipital_Mid_L")),
}
FURTHER_TERRITORY = ("Temporal_Pole_Sup_L", "Temporal_Pole_Mid_L", "Frontal_Inf_Orb_2_L")

# Voxels outside the branch, or outside the territory, are reached as if they were farther away.
BEYOND_BRANCH_MM = 25.0
BEYOND_TERRITORY_MM = 60.0

SCANNER_GAINS = (420.0, 900.0, 1600.0)


def simulate_head(spacing_mm, seed, number):
    """Images of one patient and what was done to the brain.

    Returns
    -------
    dict
        ``t1w`` and ``lesion`` (arrays of shape (x, y, z)), ``volume_ml`` and ``damage``: the mean
        fraction lesioned of the planted regions, in the patient's own anatomy.
    """
    anatomy = _anatomy(spacing_mm)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 0)))
    at = _deformation(anatomy, rng)
    tissue = map_coordinates(anatomy.tissue, at, order=1, output=np.float32)
    whole = np.clip(
        np.rint(at).astype(np.intp), 0, np.array(anatomy.t1.shape)[:, None, None, None] - 1
    )
    nearest = anatomy.nearest[tuple(whole)]
    lesion = _grow_lesion(anatomy, nearest, tissue > 0.2, rng)
    region = anatomy.region[tuple(whole)]
    planted = [1 + anatomy.regions.index(name) for name in PLANTED_REGIONS]
    damage = np.mean([lesion[region == label].mean() for label in planted])
    head = map_coordinates(anatomy.t1, at, order=1, output=np.float32)
    t1w = _acquire(anatomy, head, lesion, rng)
    return {
        "t1w": t1w,
        "lesion": lesion.astype(np.uint8),
        "volume_ml": float(lesion.sum() * abs(np.linalg.det(anatomy.affine[:3, :3])) / 1000),
        "damage": float(damage),
    }


def _deformation(anatomy, rng):
    """Where in the fine template each voxel of the patient lies: shape (3, x, y, z), in voxels.

    What registration leaves: shift 1.5 mm, turn 1.5 degrees, scale 2 % and a smooth field of 2 mm
    (standard deviations).
    """
    turn, scale, shift = (
        rng.normal(0, np.radians(1.5), 3),
        rng.normal(1, 0.02, 3),
        rng.normal(0, 1.5, 3),
    )
    matrix = Rotation.from_rotvec(turn).as_matrix() * scale
    to_fine = np.linalg.inv(anatomy.fine_affine)
    linear = to_fine[:3, :3] @ matrix @ anatomy.affine[:3, :3]
    origin = nib.affines.apply_affine(to_fine, matrix @ anatomy.affine[:3, 3] + shift)
    axes = np.ix_(*(np.arange(n) for n in anatomy.shape))
    voxels_per_mm = np.diag(to_fine)
    return np.stack(
        [
            sum(linear[row, k] * axes[k] for k in range(3))
            + origin[row]
            + 2.0 * voxels_per_mm[row] * _smooth_field(anatomy, 30.0, rng)
            for row in range(3)
        ]
    )


def _grow_lesion(anatomy, nearest, tissue, rng):
    """A lesion that spreads from one point of a branch: bool, shape (x, y, z)."""
    branch = rng.choice(list(BRANCHES), p=[share for share, _ in BRANCHES.values()])
    fed = np.isin(nearest, _labels(anatomy, BRANCHES[branch][1])) & tissue
    volume_ml = np.exp(np.interp(rng.random(), VOLUME_QUANTILES, np.log(VOLUMES_ML)))
    voxel_mm = anatomy.affine[0, 0]
    n_voxels = max(1, round(volume_ml * 1000 / voxel_mm**3))
    start = rng.permutation(np.argwhere(fed))[0]
    mottled = _smooth_field(anatomy, 12.0, rng) + 0.5 * _smooth_field(anatomy, 8.0, rng)
    stretch = rng.uniform(0.75, 1.25, 3)

    left = np.isin(
        nearest, [k + 1 for k, name in enumerate(anatomy.regions) if name.endswith("_L")]
    )
    candidates = np.nonzero(left & tissue)
    offset = (np.stack(candidates) - start[:, None]) * voxel_mm * stretch[:, None]
    radius_mm = (volume_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
    reach = np.linalg.norm(offset, axis=0) + 0.3 * radius_mm * mottled[candidates]
    territory = np.isin(nearest[candidates], _labels(anatomy, _territory()))
    reach += np.where(fed[candidates], 0, BEYOND_BRANCH_MM) + np.where(
        territory, 0, BEYOND_TERRITORY_MM
    )
    taken = np.argpartition(reach, min(n_voxels, len(reach)) - 1)[:n_voxels]
    lesion = np.zeros(anatomy.shape, bool)
    lesion[tuple(axis[taken] for axis in candidates)] = True
    return lesion


def _acquire(anatomy, head, lesion, rng):
    """A T1w image of the head: lesion contrast, bias field, noise, gain; int16."""
    gliotic = rng.random() < 0.15
    cavity = rng.uniform(0.3, 0.6) if gliotic else rng.uniform(0.75, 1.0)
    texture = 1 + 0.15 * _smooth_field(anatomy, 10.0, rng)
    inside = (cavity * anatomy.csf + (1 - cavity) * 0.7 * head) * texture
    share = gaussian_filter(lesion.astype(np.float32), 0.6)
    signal = np.maximum(head + share * (inside - head), 0)
    bias = np.exp(0.05 * _smooth_field(anatomy, 80.0, rng))
    noise = rng.uniform(0.015, 0.035) * rng.standard_normal((2, *anatomy.shape), dtype=np.float32)
    magnitude = np.hypot(signal * bias + noise[0], noise[1]) * (head > 0.05)
    gain = SCANNER_GAINS[rng.integers(len(SCANNER_GAINS))] * rng.normal(1, 0.05)
    return np.rint(magnitude * gain).astype(np.int16)


def _smooth_field(anatomy, width_mm, rng):
    """Smooth Gaussian noise of unit variance: shape (x, y, z), float32."""
    bases = _bases(anatomy.shape, float(anatomy.affine[0, 0]), width_mm)
    nodes = rng.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    field = nodes
    for basis in bases:  # one axis after the other; each turn moves the first axis to the end
        field = np.tensordot(field, basis, axes=(0, 1))
    return field


@functools.lru_cache(maxsize=32)
def _bases(shape, voxel_mm, width_mm):
    """Per axis a matrix (voxels, nodes) of Gaussian bumps one width apart, rows of unit norm."""
    bases = []
    for n in shape:
        nodes = np.arange(-2 * width_mm, n * voxel_mm + 2 * width_mm, width_mm)
        away = (np.arange(n)[:, None] * voxel_mm - nodes) / width_mm
        basis = np.exp(-0.5 * (away / 0.6) ** 2)
        bases.append((basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32))
    return bases


def patient_affine(spacing_mm):
    """Affine of every simulated image at this resolution, shape (4, 4)."""
    return _anatomy(spacing_mm).affine


@dataclass(frozen=True)
class _Anatomy:
    """The template, finer than the patients' grid, and the patients' grid.

    `t1` (0-1), `tissue` (grey + white, 0-1), `region` (index of the AAL region) and `nearest`
    (the same, carried on into white matter) have shape (x, y, z) with `fine_affine`.
    """

    t1: np.ndarray
    tissue: np.ndarray
    region: np.ndarray
    nearest: np.ndarray
    fine_affine: np.ndarray
    affine: np.ndarray
    shape: tuple
    regions: tuple
    csf: float


@functools.lru_cache(maxsize=2)
def _anatomy(spacing_mm):
    from nilearn.datasets import (
        load_mni152_gm_template,
        load_mni152_template,
        load_mni152_wm_template,
    )

    template = load_mni152_template(resolution=1)
    step = max(1, int(spacing_mm // 2))
    # The blur of a voxel of this size, as full width at half maximum, before sampling.
    sigma = spacing_mm / 2.355

    def coarse(data):
        return gaussian_filter(data, sigma)[::step, ::step, ::step]

    t1 = template.get_fdata(dtype=np.float32)
    grey, white = (
        np.asanyarray(load(resolution=1).dataobj, dtype=np.float32)
        for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    csf = float(np.median(t1[(t1 > 0) & (grey + white < 0.05)]))
    fine_affine = template.affine @ np.diag([step, step, step, 1])
    brain = np.argwhere(t1 > 0)
    low = nib.affines.apply_affine(template.affine, brain.min(0)) - 4
    high = nib.affines.apply_affine(template.affine, brain.max(0)) + 4
    shape = tuple(int(n) for n in np.ceil((high - low) / spacing_mm))
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = low

    tissue = coarse(grey + white)
    aal = load_atlas("aal")
    region = aal.labels_on(nib.Nifti1Image(tissue, fine_affine)).copy()
    where = distance_transform_edt(region == 0, return_distances=False, return_indices=True)
    nearest = region[tuple(where)]
    return _Anatomy(
        coarse(t1), tissue, region, nearest, fine_affine, affine, shape, tuple(aal.regions), csf
    )


def _labels(anatomy, names):
    return [1 + anatomy.regions.index(name) for name in names]


def _territory():
    return {*FURTHER_TERRITORY, *(name for _, fed in BRANCHES.values() for name in fed)}
