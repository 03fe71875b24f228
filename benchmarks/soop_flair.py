"""Real 2-D data for segmentation: raw FLAIR cross-sections of acute stroke, with lesion masks.

708 patients of the Stroke Outcome Optimization Project, three planes each, the painted lesion taken
off. Two further contrasts are made of them by remapping grey levels: no scanner made those.

    python benchmarks/soop_flair.py --out pictures.png      # a look at a few
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from scipy.ndimage import binary_fill_holes, gaussian_filter

from prognosis import load_soop
from prognosis.cohorts.soop import recover_picture

PLANES = {
    "axial": (slice(0, 189), slice(0, 157)),
    "sagittal": (slice(53, 189), slice(157, 346)),
    "coronal": (slice(53, 189), slice(346, 503)),
}
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}

# T1-like grey by FLAIR grey, in units of the head's median: fluid stays dark, white matter, the
# darker tissue in FLAIR, becomes brighter than grey matter, lesions and gliosis become dark.
FLAIR_GREY = (0.0, 0.4, 0.85, 1.15, 1.8, 3.0)
T1_GREY = (0.0, 0.15, 1.0, 0.7, 0.25, 0.5)


class Section(NamedTuple):
    """One cross-section: 1 mm pixels, left is left, top is up (axial: front)."""

    patient: str
    plane: str
    image: np.ndarray
    mask: np.ndarray


def load_sections(data_home=None, planes=tuple(PLANES), n_jobs=None):
    """All cross-sections, sorted by patient.

    Returns
    -------
    list of Section
        Images as float32 grey levels 0 to 255, masks as bool; axial 189 x 157, sagittal 136 x 189,
        coronal 136 x 157.
    """
    X, _ = load_soop(data_home, target="nihss", n_jobs=n_jobs)
    folder = Path(X["lesion"].iloc[0]).parents[1] / "PNG"

    def read(patient):
        grey, mask = recover_picture(folder / f"r{patient}_lesion.nii.png")
        return [
            Section(patient, plane, grey[PLANES[plane]].astype(np.float32), mask[PLANES[plane]])
            for plane in planes
        ]

    patients = sorted(X.index)
    rows = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(read)(p) for p in patients)
    return [section for row in rows for section in row]


def split_patients(sections, seed=0):
    """Train, validation and test sections; all sections of a patient fall into one part."""
    patients = sorted({section.patient for section in sections})
    order = np.random.default_rng(seed).permutation(len(patients))
    ends = np.rint(np.cumsum(list(SHARES.values())) * len(patients)).astype(int)
    parts, start = {}, 0
    for name, end in zip(SHARES, ends):
        chosen = {patients[i] for i in order[start:end]}
        parts[name] = [section for section in sections if section.patient in chosen]
        start = end
    return parts


def head(image):
    """Pixels of the head (most pictures show the brain only): not black, holes filled."""
    smooth = gaussian_filter(image, 1.5)
    return binary_fill_holes(smooth > 0.1 * np.percentile(image[image > 0], 95))


def inverted(image):
    """Dark where the image was bright, inside the head; the background stays black."""
    inside = head(image)
    top = np.percentile(image[inside], 99.5)
    return np.where(inside, np.clip(top - image, 0, None), 0).astype(np.float32)


def t1_like(image):
    """Fluid dark, grey matter darker than white, lesion dark (`FLAIR_GREY` to `T1_GREY`)."""
    inside = head(image)
    middle = np.median(image[inside])
    grey = np.interp(image / middle, FLAIR_GREY, T1_GREY)
    return np.where(inside, 255 * grey, 0).astype(np.float32)


CONTRASTS = {"flair": lambda image: image, "inverted": inverted, "t1-like": t1_like}


def show(sections, path):
    """Write a picture: one row per section, one column per contrast, the lesion outlined."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(sections), 3, figsize=(7.5, 2.5 * len(sections)), squeeze=False)
    for row, section in zip(axes, sections):
        for axis, (name, change) in zip(row, CONTRASTS.items()):
            axis.imshow(change(section.image), cmap="gray")
            if section.mask.any():
                axis.contour(section.mask, [0.5], colors="red", linewidths=0.6)
            axis.set_title(f"{section.patient} {section.plane} {name}", fontsize=7)
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="soop_flair.png")
    options = parser.parse_args()
    sections = load_sections(n_jobs=2)
    for name, part in split_patients(sections).items():
        with_lesion = sum(section.mask.any() for section in part)
        patients = len({section.patient for section in part})
        print(f"{name}: {patients} patients, {len(part)} sections, {with_lesion} with a lesion")
    large = sorted(sections, key=lambda section: -section.mask.sum())
    show(large[20:320:60], options.out)


if __name__ == "__main__":
    main()
