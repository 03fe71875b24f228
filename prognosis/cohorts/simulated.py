"""A simulated stroke cohort whose truth is known: the default data of every example and test.

T1w heads are individual deformations of the MNI template with a lesion in left middle cerebral
artery territory; the outcome follows a stated model, so the best possible accuracy is known.
"""

import functools
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation
from scipy.special import expit, ndtr

from imaging.atlases import load_atlas
from imaging.volumes import write_image

from ..errors import CohortError

__all__ = ["make_stroke_cohort"]

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
_SUFFIXES = {"t1w": "T1w", "lesion": "lesion"}

# Mean and standard deviation of what the outcome depends on, and their correlations, measured on
# 2,400 patients: fixed, so that no patient's outcome depends on who else is in the cohort.
SIZE_MEAN, SIZE_SD = 4.88, 4.25  # square root of the volume in ml
SEVERITY_MEAN, SEVERITY_SD = 3.89, 1.77
TIME_MEAN, TIME_SD = 2.79, 1.60  # years, at most 5
DAMAGE_MEAN, DAMAGE_SD = 0.177, 0.259  # damage / (damage + HALF_EFFECT)
HALF_EFFECT = 0.3
CORRELATIONS = np.array(
    [  # size, severity, time, damage
        [1.0, 0.3, 0.0, 0.69],
        [0.3, 1.0, 0.0, 0.23],
        [0.0, 0.0, 1.0, 0.0],
        [0.69, 0.23, 0.0, 1.0],
    ]
)
WEIGHTS = (0.1, 0.6, -0.65, 1.2)  # of the same four, before they are scaled to LOGIT_SD together
LOGIT_SD = 3.6

# Severity is a latent normal variable, correlated with the size score, cut into seven levels.
SEVERITY_SIZE = 0.3
SEVERITY_CUTS = (-1.2, -0.7, -0.2, 0.3, 0.8, 1.4)

FORMAT = 1  # part of the folder's name: another way of drawing patients is another folder


def make_stroke_cohort(
    n_patients=300,
    *,
    imaging_effect=1.0,
    resolution_mm=4.0,
    folder=None,
    n_jobs=None,
    random_state=None,
):
    """Simulate patients with chronic stroke: T1w heads, lesion masks, a table, and an outcome.

    Parameters
    ----------
    n_patients : int, default=300
        Patient i is the same however many are asked for.
    imaging_effect : float, default=1.0
        How much damage to the planted regions counts for the outcome. With 0 the image carries
        nothing beyond lesion size; class balance and best possible accuracy stay comparable,
        because the other effects grow.
    resolution_mm : float, default=4.0
        Edge of the cubic voxels, 1 to 8 mm.
    folder : str, os.PathLike or None, default=None
        None: the image columns hold nibabel images. Otherwise the images are written as NIfTI
        below this folder, the columns hold their paths, and a later call with the same seed and
        resolution reads what is there instead of simulating it again.
    n_jobs : int or None, default=None
        Processes; the result does not depend on it.
    random_state : int, numpy.random.RandomState, Generator or None, default=None
        An int gives the same cohort every time.

    Returns
    -------
    X : DataFrame, one row per patient
        ``t1w`` (int16, arbitrary units that differ between scanners) and ``lesion`` (uint8 mask),
        both in MNI space with some misalignment left; ``severity`` soon after the stroke, 1 (mild)
        to 7 (severe), missing in about 8 %; ``recovery_years`` from stroke to outcome; ``age`` in
        years, which has no effect. ``X.attrs["cohort"]`` describes the cohort: among others
        ``best_accuracy``, ``planted_regions`` and ``outcome_model``.
    y : Series of int
        1 = aphasia at follow-up, about half of the patients.

    Raises
    ------
    CohortError
        If a parameter is out of range.

    Notes
    -----
    *Lesions* grow from a point in one branch of the left middle cerebral artery (superior 32 %,
    inferior 42 %, deep 14 %, posterior 12 %) to a volume drawn from the quantiles of 360 real masks
    of this territory (Absher et al. 2024, Scientific Data 11:839): 5 % below 0.3 ml, quartiles
    1.9, 13.9 and 52.7 ml, 10 % above 150 ml.

    *T1w* intensities: the template, moved by a smooth individual deformation; in the lesion
    cerebrospinal fluid (cavity) or, in 15 % of the patients, partly gliosis, with a partial
    volume edge; then a smooth bias field, Rician noise and the gain of one of three scanners.

    *Outcome*: ``attrs["cohort"]["outcome_model"]`` states the logistic model. The best possible
    accuracy is the mean of max(p, 1 - p) over this cohort, where p is the probability of aphasia
    given everything recorded (a missing severity is integrated out).

    Examples
    --------
    >>> X, y = make_stroke_cohort(3, resolution_mm=8, random_state=0)
    >>> X.columns.tolist()
    ['t1w', 'lesion', 'severity', 'recovery_years', 'age']
    >>> X["t1w"].iloc[0].shape, X.attrs["cohort"]["simulated"]
    ((19, 24, 21), True)
    """
    _check_range("n_patients", n_patients, 1, 1_000_000)
    _check_range("imaging_effect", imaging_effect, 0, 100)
    _check_range("resolution_mm", resolution_mm, 1, 8)
    seed = _seed(random_state)
    resolution_mm = float(resolution_mm)
    if folder is None:
        simulate, arguments = _simulate_patient, (resolution_mm,)
    else:
        name = f"simulated-v{FORMAT}-{resolution_mm:g}mm-seed{seed}"
        target = Path(folder).expanduser() / name
        target.mkdir(parents=True, exist_ok=True)
        simulate, arguments = _stored_patient, (resolution_mm, target.absolute())
    patients = Parallel(n_jobs=n_jobs)(
        delayed(simulate)(*arguments, seed, number) for number in range(n_patients)
    )
    if folder is None:
        affine = _anatomy(resolution_mm).affine
        for one in patients:
            one.update({name: nib.Nifti1Image(one[name], affine) for name in _SUFFIXES})
    index = pd.Index([f"sub-{number:04d}" for number in range(1, n_patients + 1)], name="patient")
    histories = pd.DataFrame(
        [_history(seed, number, one["volume_ml"]) for number, one in enumerate(patients)], index
    )
    volume = np.array([one["volume_ml"] for one in patients])
    damage = np.array([one["damage"] for one in patients])
    logit = functools.partial(
        _logit, volume, damage, histories["recovery_years"].to_numpy(), imaging_effect
    )
    poor = histories["chance"] < expit(logit(histories["true_severity"].to_numpy()))

    # What can be known: the severity where it is recorded, else its distribution given lesion size.
    levels = [expit(logit(level)) for level in range(1, 8)]
    expected = np.sum(_severity_probabilities(volume) * np.stack(levels, axis=1), axis=1)
    recorded = histories["severity"].to_numpy()
    known = np.where(np.isnan(recorded), expected, expit(logit(np.nan_to_num(recorded))))

    images = {
        name: pd.Series([one[name] for one in patients], index, dtype=None if folder else object)
        for name in _SUFFIXES
    }
    X = pd.DataFrame({**images, **histories[["severity", "recovery_years", "age"]]})
    X.attrs["cohort"] = {
        "name": "Simulated stroke cohort",
        "simulated": True,
        "description": (
            f"{n_patients} simulated patients with chronic stroke in left middle cerebral artery "
            "territory; aphasia at follow-up depends on damage to three regions, lesion size, "
            "initial severity and time, by a stated model. These are not real patients."
        ),
        "source": (
            "MNI152 template and tissue maps (Fonov et al. 2011, NeuroImage 54:313), AAL atlas "
            "(Tzourio-Mazoyer et al. 2002, NeuroImage 15:273)"
        ),
        "licence": "as this package; the template's own licence allows use with attribution",
        "image_columns": ["t1w", "lesion"],
        "target": "aphasia",
        "imaging_effect": float(imaging_effect),
        "resolution_mm": resolution_mm,
        "planted_regions": list(PLANTED_REGIONS),
        "best_accuracy": float(np.maximum(known, 1 - known).mean()),
        "outcome_model": _outcome_model(imaging_effect),
    }
    y = pd.Series(poor.to_numpy(dtype=np.int64), index, name="aphasia")
    return X, y


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
def _anatomy(resolution_mm):
    from nilearn.datasets import (
        load_mni152_gm_template,
        load_mni152_template,
        load_mni152_wm_template,
    )

    template = load_mni152_template(resolution=1)
    step = max(1, int(resolution_mm // 2))
    # The blur of a voxel of this size, as full width at half maximum, before sampling.
    sigma = resolution_mm / 2.355

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
    shape = tuple(int(n) for n in np.ceil((high - low) / resolution_mm))
    affine = np.diag([resolution_mm] * 3 + [1.0])
    affine[:3, 3] = low

    tissue = coarse(grey + white)
    aal = load_atlas("aal")
    region = aal.labels_on(nib.Nifti1Image(tissue, fine_affine)).copy()
    where = distance_transform_edt(region == 0, return_distances=False, return_indices=True)
    nearest = region[tuple(where)]
    return _Anatomy(
        coarse(t1), tissue, region, nearest, fine_affine, affine, shape, tuple(aal.regions), csf
    )


def _stored_patient(resolution_mm, folder, seed, number):
    """A patient's images as files: read when they are there, else simulated and written."""
    stem = folder / f"sub-{number + 1:04d}"
    paths = {name: f"{stem}_{suffix}.nii.gz" for name, suffix in _SUFFIXES.items()}
    record = Path(f"{stem}.json")
    # The record is written last: where it exists the images are whole.
    if record.is_file() and all(Path(path).is_file() for path in paths.values()):
        return {**json.loads(record.read_text()), **paths}
    patient = _simulate_patient(resolution_mm, seed, number)
    for name, path in paths.items():
        write_image(nib.Nifti1Image(patient.pop(name), _anatomy(resolution_mm).affine), path)
    handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=folder)
    with os.fdopen(handle, "w") as file:
        json.dump(patient, file)
    os.replace(temporary, record)
    return {**patient, **paths}


def _simulate_patient(resolution_mm, seed, number):
    """Images of one patient and what was done to the brain.

    Returns
    -------
    dict
        ``t1w`` and ``lesion`` (arrays of shape (x, y, z)), ``volume_ml`` and ``damage``: the mean
        fraction lesioned of the planted regions, in the patient's own anatomy.
    """
    anatomy = _anatomy(resolution_mm)
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


def _history(seed, number, volume_ml):
    """Everything about a patient that is not in the images; independent of the resolution."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 1)))
    deviation, chance, dropped = rng.normal(), rng.random(), rng.random() < 0.08
    years = float(np.round(np.clip(rng.lognormal(np.log(2.5), 0.9), 0.1, 20), 2))
    age = float(np.round(np.clip(rng.normal(63, 13), 22, 92)))
    latent = SEVERITY_SIZE * _size_score(volume_ml) + np.sqrt(1 - SEVERITY_SIZE**2) * deviation
    severity = 1 + int(np.searchsorted(SEVERITY_CUTS, latent))
    return {
        "severity": np.nan if dropped else float(severity),
        "recovery_years": years,
        "age": age,
        "true_severity": severity,
        "chance": chance,
    }


def _size_score(volume_ml):
    """Standardised square root of the lesion volume."""
    return (np.sqrt(volume_ml) - SIZE_MEAN) / SIZE_SD


def _severity_probabilities(volume_ml):
    """Distribution of severity given lesion size: shape (n_patients, 7)."""
    spread = np.sqrt(1 - SEVERITY_SIZE**2)
    centre = SEVERITY_SIZE * _size_score(np.asarray(volume_ml))[:, None]
    below = ndtr((np.array(SEVERITY_CUTS) - centre) / spread)
    return np.diff(below, prepend=0, append=1, axis=1)


def _weights(imaging_effect):
    """Weights of size, severity, time and damage, scaled to one spread of the logit."""
    weights = np.array([*WEIGHTS[:3], WEIGHTS[3] * imaging_effect])
    return weights * LOGIT_SD / np.sqrt(weights @ CORRELATIONS @ weights)


def _logit(volume_ml, damage, years, imaging_effect, severity):
    scores = (
        _size_score(volume_ml),
        (severity - SEVERITY_MEAN) / SEVERITY_SD,
        (np.minimum(years, 5) - TIME_MEAN) / TIME_SD,
        (damage / (damage + HALF_EFFECT) - DAMAGE_MEAN) / DAMAGE_SD,
    )
    return sum(weight * score for weight, score in zip(_weights(imaging_effect), scores))


def _labels(anatomy, names):
    return [1 + anatomy.regions.index(name) for name in names]


def _territory():
    return {*FURTHER_TERRITORY, *(name for _, fed in BRANCHES.values() for name in fed)}


def _seed(random_state):
    if random_state is None:
        return np.random.SeedSequence().entropy
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, (int, np.integer)) and random_state >= 0:
        return int(random_state)
    raise CohortError(
        f"random_state must be None, an int >= 0 or a generator, got {random_state!r}"
    )


def _check_range(name, value, low, high):
    if not isinstance(value, (int, float, np.number)) or not low <= value <= high:
        raise CohortError(f"{name} must be a number from {low} to {high}, got {value!r}")


def _outcome_model(imaging_effect):
    size, severity, time, damage = _weights(imaging_effect)
    return (
        f"logit P(aphasia) = {size:+.2f} (sqrt(lesion ml) - {SIZE_MEAN}) / {SIZE_SD} "
        f"{severity:+.2f} (severity - {SEVERITY_MEAN}) / {SEVERITY_SD} "
        f"{time:+.2f} (min(recovery years, 5) - {TIME_MEAN}) / {TIME_SD} "
        f"{damage:+.2f} (D / (D + {HALF_EFFECT}) - {DAMAGE_MEAN}) / {DAMAGE_SD}, "
        f"where D is the mean fraction lesioned of {', '.join(PLANTED_REGIONS)} in the patient's "
        "own anatomy"
    )
