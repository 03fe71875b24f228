"""What a pretrained encoder is good for: tissues, lesions, noise, and patients' outcome.

Parts, numbered as in the plan of the evaluation: 4 tissues under sequences that were not trained
on, and 7 noise, both of simulated heads (noise also of a real patient); 6 lesions in real FLAIR
sections, 6b in real hospitals' FLAIR with one hospital left out; 8 outcome of real patients. Arms
are in `encoder_arms.py`; each part has rows of what needs no training, from the same run.

    PROGNOSIS_DATA=... python benchmarks/encoder_tasks.py --out FOLDER --parts 7 8
        [--encoder NAME=FILE ...] [--shares .01 .1 1] [--seeds 1] [--steps 200]

Encoders of three dimensions are for parts 4, 6b, 7, those of two for 6 and 8.
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from encoder_arms import SHARES, arms_of, chosen, row, table
from scipy.ndimage import gaussian_filter, label
from segmentation import as_slice, score_patients
from soop_flair import CONTRASTS, PLANES, load_sections, split_patients
from train_encoder import label_maps
from train_segmenter import data_folder

from imaging import Denoiser, LabelMapSource, LesionSegmenter, TissueSegmenter, dice, psnr
from imaging.learning.pretrained import open_encoder
from imaging.pretraining.people import LabelledPeople
from imaging.pretraining.views import Views
from imaging.randomness import sample_seed
from imaging.resizing import resized

SHAPE_MM = (192, 240, 192)
SEQUENCES = ("mprage", "fse", "flair", "spgr")  # the first is trained on
PEOPLE, TESTED = 40, 12
LEVELS = (0.2, 0.4)  # of noise, in the scan's standard deviation
CROP = tuple(slice(m - h, m + h) for m, h in zip((91, 109, 91), (32, 32, 24), strict=True))
PART_SEED = 11
TISSUES = (1, 3, 4)  # grey matter, white matter, fluid


# ------------------------------------------------------------------ simulated heads


def simulated(maps, person, sequence, spacing_mm, scanner=None):
    """A simulated scan of a person by a sequence, and its tissues."""
    shape = tuple(16 * round(mm / spacing_mm / 16) for mm in SHAPE_MM)
    source = LabelMapSource([maps[person % len(maps)]], lesion_probability=0.0)
    people = LabelledPeople(source, shape, spacing_mm, contrast="physics", mirror=0.5)
    people.sequence.sequences = (sequence,)
    views = Views(people, contrast="physics", count=1, clean=scanner == "clean")
    views.holes.probability = 0.0
    seed = sample_seed(PART_SEED, 100 * person + SEQUENCES.index(sequence))
    images, clean, labels = views.draw(seed)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    image = clean[0] if scanner == "clean" else images[0]
    tissues = labels[0] * (labels[0] <= 5)
    return nib.Nifti1Image(image - image.min(), affine), nib.Nifti1Image(tissues, affine)


def common(steps, seed):
    """Parameters of all networks from voxels to voxels here."""
    return {
        "epochs": max(2, steps // 50),
        "steps_per_epoch": min(50, steps),
        "validation_samples": 0,
        "learning_rate": 1e-3,
        "random_state": seed,
    }


def part_4(arm, share, seed, steps):
    """Tissues: trained on some people's MPRAGE, tested on others' scans of all sequences."""
    training, held_out = label_maps()
    settings = arm.settings()
    spacing = open_encoder(arm.weights).spacing_mm
    subjects = chosen(range(PEOPLE), share, seed)
    pairs = [simulated(training, person, SEQUENCES[0], spacing) for person in subjects]
    model = TissueSegmenter(
        **settings,
        **common(round(steps * arm.longer), seed),
        spacing_mm=spacing,
        patch_size=tuple(16 * round(mm / spacing / 16) for mm in SHAPE_MM),
        batch_size=2,
    ).fit(*map(list, zip(*pairs, strict=True)))
    scores = {}
    for sequence in SEQUENCES:
        for person in range(TESTED):
            scan, truth = simulated(held_out, 1000 + person, sequence, spacing)
            found = np.asanyarray(model.predict([scan])[0].dataobj)
            true = np.asanyarray(truth.dataobj)
            value = np.mean([dice(found == k, true == k) for k in TISSUES])
            scores.setdefault(sequence, {})[str(person)] = float(value)
    return scores


# --------------------------------------------------------------------------- lesions


def threshold_lesions(array, least):
    """Brighter than the head by 1.5 robust standard deviations, smoothed, in large enough lumps."""
    smooth = gaussian_filter(np.asarray(array, float), 1.5)
    head = smooth > 0.1 * np.percentile(smooth, 99.5)
    if not head.any():
        return np.zeros(smooth.shape, np.uint8)
    middle = np.median(smooth[head])
    spread = 1.4826 * np.median(np.abs(smooth[head] - middle))
    lumps, count = label(head & (smooth > middle + 1.5 * spread))
    sizes = np.bincount(lumps.ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes[lumps] >= least).astype(np.uint8)


class _Thresholds:
    """The same as a model."""

    def __init__(self, least):
        self.least = least

    def predict(self, scans):
        """Masks of scans."""
        return [
            nib.Nifti1Image(
                threshold_lesions(np.squeeze(scan.get_fdata()), self.least).reshape(scan.shape),
                scan.affine,
            )
            for scan in scans
        ]


def in_sections(model, parts):
    """Dice of the test patients' FLAIR sections in three contrasts, and false alarms."""
    scores = {}
    for name, change in CONTRASTS.items():
        found = score_patients(model, parts["test"], change)
        scores[name] = {patient: one["dice"] for patient, one in found["patients"].items()}
        scores[f"{name}, false alarms"] = {"all": found["false_alarms"]}
    return scores


def part_6(arm, share, seed, steps, cache={}):  # noqa: B006
    """Lesions in real FLAIR sections (2-D)."""
    if not cache:
        cache.update(split_patients(load_sections()))
    if arm is None:
        return in_sections(_Thresholds(60), cache)
    kept = set(chosen((s.patient for s in cache["train"]), share, seed))
    sections = [section for section in cache["train"] if section.patient in kept]
    model = LesionSegmenter(
        **arm.settings(),
        **common(round(steps * arm.longer), seed),
        spacing_mm=2,
        patch_size=(96, 80),
        mirror=(0.0, 0.5),
        batch_size=8,
        lesion_weight=4.0,
        tversky=1.0,
        overlap=0.25,
    ).fit(
        [as_slice(one.image) for one in sections],
        [as_slice(one.mask.astype(np.uint8)) for one in sections],
        groups=[one.patient for one in sections],
    )
    return in_sections(model, cache)


def part_6b(arm, share, seed, steps):
    """Lesions in hospitals' FLAIR, each large hospital left out once."""
    folder = data_folder() / "lgg"
    table = pd.read_csv(folder / "participants.tsv", sep="\t", index_col="participant_id")
    scores = {}
    for hospital in ("DU", "CS", "FG"):
        tested = table.index[table["hospital"] == hospital]
        model = _Thresholds(100)
        if arm is not None:
            learnt = chosen(table.index[table["hospital"] != hospital], share, seed)
            spacing = open_encoder(arm.weights).spacing_mm
            model = LesionSegmenter(
                **arm.settings(),
                **common(round(steps * arm.longer), seed),
                spacing_mm=spacing,
                patch_size=tuple(16 * round(mm / spacing / 16) for mm in (192, 192, 128)),
                mirror=(0.5, 0.0, 0.0),
                batch_size=2,
                lesion_weight=4.0,
                tversky=1.0,
            ).fit(
                [folder / f"{one}_FLAIR.nii.gz" for one in learnt],
                [folder / f"{one}_mask.nii.gz" for one in learnt],
            )
        for patient in tested:
            scan = nib.load(folder / f"{patient}_FLAIR.nii.gz")
            truth = np.asanyarray(nib.load(folder / f"{patient}_mask.nii.gz").dataobj) > 0.5
            found = np.asanyarray(model.predict([scan])[0].dataobj) > 0
            scores.setdefault(f"without {hospital}", {})[patient] = dice(found, truth)
    return scores


# ----------------------------------------------------------------------------- noise


def noisy_scans(spacing_mm):
    """Clean scans to be denoised, by name: of simulated people held out, and of a real patient."""
    held_out = label_maps()[1]
    for number, sequence in enumerate(SEQUENCES):
        scan, _ = simulated(held_out, 1000 + number, sequence, spacing_mm, "clean")
        yield "simulated", sequence, np.asanyarray(scan.dataobj, dtype=np.float32)
    for sequence in ("T1", "T2", "FLAIR"):
        path = data_folder() / "open_ms" / "patient07" / f"{sequence}.nii.gz"
        array = np.asanyarray(nib.load(path).dataobj, dtype=np.float32)
        yield "real", sequence, ((array - array.mean()) / array.std())[CROP]


def similarity(found, truth, span):
    """Structural similarity, mean over the scan."""
    from skimage.metrics import structural_similarity

    return structural_similarity(found, truth, data_range=span, gaussian_weights=True)


def denoised_scores(denoise, spacing_mm):
    """PSNR and SSIM over all scans, both levels.

    Parameters
    ----------
    denoise : callable
        (noisy array, its standard deviation of noise) -> array.
    spacing_mm : float
        Of the simulated heads.
    """
    scores = {}
    for kind, name, clean in noisy_scans(spacing_mm):
        for level in LEVELS:
            sd = level * clean.std() if kind == "simulated" else level
            rng = np.random.default_rng(0)
            noisy = clean + rng.normal(0, sd, clean.shape).astype(np.float32)
            found = np.asarray(denoise(noisy, float(sd)), np.float32)
            span = float(np.subtract(*np.percentile(clean, [99.9, 0.1])))
            condition = f"{kind} sd {level:g}"
            scores.setdefault(f"{condition}, PSNR", {})[name] = psnr(found, clean, span)
            scores.setdefault(f"{condition}, SSIM", {})[name] = similarity(found, clean, span)
    return scores


def non_local_means(noisy, sd):
    """By scikit-image, at twice its usual patch distance for volumes."""
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(
        noisy, patch_size=3, patch_distance=4, h=0.8 * sd, sigma=sd, fast_mode=True
    )


def smoothed(noisy, sd):
    """Smoothed by .6 voxels at a level of .2, .8 at .4; these widths were not tuned."""
    return gaussian_filter(noisy, 0.6 if sd / noisy.std() < 0.3 else 0.8)


def dncnn(shape, in_channels):
    """A DnCNN as an encoder of one level: eight convolutions with batch normalisation."""
    from torch import nn

    from imaging.nets.encoders import LevelsOf

    kind, norm = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}[len(shape)]
    steps, before = [], in_channels
    for _ in range(8):
        steps += [kind(before, 16, 3, padding=1, bias=False), norm(16), nn.ReLU()]
        before = 16
    return LevelsOf([nn.Sequential(*steps)], (16,))


def part_7(arm, share, seed, steps, spacing_mm=None):
    """Noise: trained on some simulated people, tested on others and on a real patient."""
    training, _ = label_maps()
    is_dncnn = arm == "DnCNN"
    spacing = spacing_mm or open_encoder(arm.weights).spacing_mm
    settings = {"architecture": dncnn} if is_dncnn else arm.settings()
    longer = 1.0 if is_dncnn else arm.longer
    subjects = chosen(range(PEOPLE), share, seed)
    scans = [
        simulated(training, person, SEQUENCES[person % 4], spacing, "clean")[0]
        for person in subjects
    ]
    model = Denoiser(
        **settings,
        **common(round(steps * longer), seed),
        noise="gaussian",
        patch_size=32,
        patches=2,
        batch_size=2,
    ).fit(scans)

    def denoise(noisy, sd):
        model.set_params(noise_sd=sd)
        image = nib.Nifti1Image(noisy, np.eye(4))
        return np.asanyarray(model.predict([image])[0].dataobj)

    return denoised_scores(denoise, spacing)


# --------------------------------------------------------------------------- outcome


def part_8(encoders, folder, seed):
    """Poor outcome of SOOP patients: table alone, and with vectors of their FLAIR sections.

    Returns
    -------
    Comparison
    """
    from skimage.io import imread
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from prognosis import (
        LesionSize,
        ScanEmbedding,
        TabularEncoder,
        compare,
        load_soop,
        logistic_ladder,
    )

    X, y = load_soop(target="poor_outcome")
    X = LesionSize().fit(X).transform(X)
    pictures = [imread(path) for path in X["flair"]]
    for plane, box in PLANES.items():
        X[plane] = [as_slice(one[box].astype(np.float32)) for one in pictures]
    columns = ["age", "nihss", "lesion_ml"]
    models = logistic_ladder([["age"], ["age", "nihss"], columns], names=["1", "2", "table"])
    for name, path in encoders.items():
        steps, added = [], []
        for plane in PLANES:
            prefix = f"{plane}_"
            steps.append(
                ScanEmbedding(
                    plane,
                    encoder=str(path),
                    n_components=4,
                    prefix=prefix,
                    memory=str(folder / "memory"),
                )
            )
            added += [f"{prefix}{number}" for number in range(4)]
        encoder = TabularEncoder([*columns, *added])
        models[f"table + {name}"] = make_pipeline(
            *steps, encoder, LogisticRegression(C=0.1, max_iter=1000)
        )
    # What needs no training: the pictures themselves, coarse.
    coarse = np.stack([resized(one[:, :346].astype(np.float32), (24, 44)) for one in pictures])
    flat = coarse.reshape(len(coarse), -1)
    names = [f"pixel_{number}" for number in range(flat.shape[1])]
    pixels = pd.DataFrame(flat / flat.mean(1, keepdims=True), X.index, names)
    X = pd.concat([X, pixels], axis=1)
    both = ColumnTransformer(
        [("table", TabularEncoder(columns), columns), ("pixels", PCA(12, random_state=0), names)]
    )
    models["table + pixels"] = make_pipeline(both, LogisticRegression(C=0.1, max_iter=1000))
    return compare(models, X, y, cv=5, random_state=seed)


# ------------------------------------------------------------------------------ main

PARTS = {"4": (3, part_4), "6": (2, part_6), "6b": (3, part_6b), "7": (3, part_7)}


def free_rows(part, folder, spacing, steps, shares, seeds, wanted):
    """Rows of what needs no training; those of a DnCNN, which does, for part 7."""
    named = {}
    if part == "7":
        ways = {
            "noisy": lambda noisy, sd: noisy,
            "Gaussian": smoothed,
            "non-local means": non_local_means,
        }
        for name, denoise in ways.items():
            named[name, 0.0, 0] = lambda denoise=denoise: denoised_scores(denoise, spacing)
        for share in shares:
            for seed in seeds:
                given = ("DnCNN", share, seed, steps, spacing)
                named["DnCNN", share, seed] = lambda given=given: part_7(*given)
    if part in ("6", "6b"):
        named["threshold", 0.0, 0] = lambda: PARTS[part][1](None, 0, 0, 0)
    return [
        row(folder, part, name, share, seed, steps, measure)
        for (name, share, seed), measure in named.items()
        if not wanted or name in wanted
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, "8"], default=[*PARTS, "8"])
    parser.add_argument("--encoder", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--longer", type=float, default=4.0, help='steps of "none longer"')
    options = parser.parse_args()
    encoders = dict(given.split("=", 1) for given in options.encoder)
    seeds = range(options.seeds)
    for part in options.parts:
        if part == "8":
            flat = {n: p for n, p in encoders.items() if open_encoder(p).spatial_dims == 2}
            random = arms_of({}, 2, options.out, 1.0)[0].weights
            print("part 8: real patients, with the ladder")
            print(*part_8({"random": random, **flat}, options.out, 0).summary(), sep="\n")
            continue
        dims, run = PARTS[part]
        arms = arms_of(encoders, dims, options.out, options.longer)
        arms = [arm for arm in arms if not options.arms or arm.name in options.arms]
        spacing = open_encoder(arms[0].weights).spacing_mm
        rows = free_rows(
            part, options.out, spacing, options.steps, options.shares, seeds, options.arms
        )
        for seed in seeds:
            for share in options.shares:
                for arm in arms:
                    given = (arm, share, seed, options.steps)
                    rows.append(
                        row(
                            options.out,
                            part,
                            arm.name,
                            share,
                            seed,
                            options.steps,
                            lambda run=run, given=given: run(*given),
                        )
                    )
                    print(f"part {part}: {arm.name}, {share:g}, seed {seed}", flush=True)
        print(table(rows))


if __name__ == "__main__":
    main()
