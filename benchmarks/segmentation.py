"""Segmentation of real FLAIR cross-sections: learnt from real masks, from synthetic scans, or both.

Every arm sees 2 mm pixels and the same number of steps; masks are scored on the sections' own 1 mm
pixels, of held-out patients, in FLAIR and in two contrasts that no arm trains on by itself. An arm
that is finished is a file of --out and is not run again; one that was stopped goes on.

    PROGNOSIS_DATA=... python benchmarks/segmentation.py --out FOLDER [--arms NAME ...]
"""

import argparse
import json
import time
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from joblib import Memory
from soop_flair import CONTRASTS, load_sections, split_patients
from train_segmenter import data_folder

from imaging.metrics import dice, hausdorff95_mm, lesion_f1
from imaging.segmentation import LesionSegmenter
from imaging.storage.files import replacing
from imaging.synthesis import LabelMapSource
from imaging.synthesis.lesion_masks import read_lesion
from prognosis import load_soop

SPACING_MM = 2
PATCH = (96, 80)  # 192 x 160 mm: all of a section but the ends of the longest
PATCHES = {"swinunetr-small": (96, 96)}  # its sides must be multiples of 32
STEPS_PER_EPOCH = 50
LEAST_LESION_VOXELS = 1000  # 1 ml: smaller ones are hardly seen at 2 mm
LESION_SHARE = 0.6  # of training samples with a lesion, as in the real sections
BRAIN_SHARE = 0.8  # of synthetic heads without skull: the real sections show the brain alone
LAST_BRAIN_TISSUE = 4  # fluid

# Name: (patients with real masks, or "all"; synthetic scans too; network), most important first.
ARMS = {
    "conventional-all": ("all", False, "unet-small"),
    "synthetic": (0, True, "unet-small"),
    "both": ("all", True, "unet-small"),
    "conventional-100": (100, False, "unet-small"),
    "conventional-10": (10, False, "unet-small"),
}
NETWORKS = ("unet-small", "dynunet-small", "mde-small", "mded-small", "swinunetr-small")
ARMS |= {f"network-{name}": ("all", False, name) for name in NETWORKS}
SCORES = {
    "dice": dice,
    "hausdorff95_mm": lambda found, truth: hausdorff95_mm(found, truth, spacing_mm=1),
    "lesion_f1": lesion_f1,
}


class BrainSource(LabelMapSource):
    """Label maps with lesions, mostly without what is outside the brain."""

    def draw(self, draws, scene):
        parameters = super().draw(draws, scene)
        return {**parameters, "brain_only": draws.chance(BRAIN_SHARE)}

    def apply(self, scene, parameters):
        scene = super().apply(scene, parameters)
        if parameters["brain_only"]:
            labels = scene["labels"]
            scene["labels"] = labels * (labels <= LAST_BRAIN_TISSUE)
        return scene


def as_slice(pixels):
    """A cross-section as a NIfTI image of one slice, 1 mm, that knows where left and top are."""
    return nib.Nifti1Image(np.ascontiguousarray(pixels[::-1].T[..., None]), np.eye(4))


def as_pixels(image):
    """The way back."""
    return np.asanyarray(image.dataobj)[..., 0].T[::-1]


def halved_head(path):
    """A label map at 2 mm, by every second voxel."""
    image = nib.load(path)
    codes = np.asanyarray(image.dataobj).astype(np.int16)[::2, ::2, ::2]
    return np.ascontiguousarray(codes), image.affine @ np.diag([2, 2, 2, 1])


def halved_lesions(paths):
    """Lesions above 1 ml, cut to their boxes, at 2 mm."""
    found = []
    for path in paths:
        mask, affine = read_lesion(path)
        if np.count_nonzero(mask) >= LEAST_LESION_VOXELS:
            small = np.ascontiguousarray(mask[::2, ::2, ::2]).astype(np.uint8)
            found.append((small, affine @ np.diag([2, 2, 2, 1])))
    return found


def synthetic_source(patients, memory):
    """Heads of the label maps, lesions of these patients."""
    heads = sorted(str(p) for p in (data_folder() / "label_maps").glob("*.nii.gz"))
    X, _ = load_soop(target="nihss")
    masks = [str(path) for path in X.loc[sorted(patients), "lesion"]]
    images = [
        [nib.Nifti1Image(array, affine) for array, affine in pairs]
        for pairs in (
            [memory.cache(halved_head)(head) for head in heads],
            memory.cache(halved_lesions)(masks),
        )
    ]
    return BrainSource(*images, lesion_probability=LESION_SHARE, mirror_lesions=0.5)


def chosen_patients(sections, count, seed=0):
    """So many patients by a seed; fewer are always among more."""
    patients = sorted({section.patient for section in sections})
    order = np.random.default_rng(seed).permutation(len(patients))
    return {patients[i] for i in order[: len(patients) if count == "all" else count]}


def train(arm, train_sections, folder, steps, memory):
    """The trained segmenter of an arm, the processor seconds, and whether they are but a part."""
    count, synthetic, architecture = ARMS[arm]
    source = None
    if synthetic:
        source = synthetic_source({s.patient for s in train_sections}, memory)
    segmenter = LesionSegmenter(
        architecture,
        spatial_dims=2,
        source=source,
        spacing_mm=SPACING_MM,
        patch_size=PATCHES.get(architecture, PATCH),
        mirror=(0.0, 0.5),
        epochs=max(2, steps // STEPS_PER_EPOCH),
        steps_per_epoch=STEPS_PER_EPOCH,
        batch_size=8,
        lesion_weight=4.0,
        tversky=1.0,
        learning_rate=2e-3,
        validation_samples=0,
        overlap=0.25,
        checkpoint=folder / f"{arm}-training",
        random_state=0,
        verbose=1,
    )
    resumed = Path(segmenter.checkpoint).exists()
    start = time.process_time()
    if count == 0:
        segmenter.fit()
    else:
        patients = chosen_patients(train_sections, count)
        kept = [section for section in train_sections if section.patient in patients]
        segmenter.fit(
            [as_slice(s.image) for s in kept], [as_slice(s.mask.astype(np.uint8)) for s in kept]
        )
    return segmenter, time.process_time() - start, resumed


def score_patients(segmenter, sections, change):
    """Mean scores of every patient over sections with a lesion; false alarms in the others."""
    rows, alarms = {}, []
    found = segmenter.predict([as_slice(change(section.image)) for section in sections])
    for section, mask in zip(sections, map(as_pixels, found), strict=True):
        if section.mask.any():
            row = {name: float(score(mask, section.mask)) for name, score in SCORES.items()}
            rows.setdefault(section.patient, []).append(row)
        else:
            alarms.append(bool(mask.any()))
    patients = {
        patient: {name: float(np.mean([row[name] for row in several])) for name in SCORES}
        for patient, several in rows.items()
    }
    return {"patients": patients, "false_alarms": float(np.mean(alarms))}


def run_arm(arm, parts, folder, steps, memory):
    """Train and test an arm and keep it in a file, or read what is kept."""
    path = folder / f"{arm}.json"
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept["steps"] != steps:
            raise SystemExit(f"{path} has {kept['steps']} steps, not {steps}; choose another --out")
        return kept
    start = time.perf_counter()
    segmenter, seconds, resumed = train(arm, parts["train"], folder, steps, memory)
    start_scoring = time.process_time()
    result = {
        "arm": arm,
        "steps": steps,
        "training_cpu_seconds": seconds,
        "resumed": resumed,
        "parameters": sum(p.numel() for p in segmenter.network_.parameters()),
        "train_loss": segmenter.history_[-1]["train_loss"],
        "contrasts": {
            name: score_patients(segmenter, parts["test"], change)
            for name, change in CONTRASTS.items()
        },
    }
    result["test_cpu_seconds"] = time.process_time() - start_scoring
    result["wall_seconds"] = time.perf_counter() - start
    segmenter.save(folder / f"{arm}.safetensors", training_data=arm)
    with replacing(path) as temporary:
        Path(temporary).write_text(json.dumps(result, indent=1))
    return result


def table(results):
    """All arms in all contrasts, as markdown."""
    lines = [
        "| arm | steps | contrast | Dice | HD95 (mm) | lesion F1 | false alarms | parameters | "
        "training (s) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for contrast, found in result["contrasts"].items():
            cells = []
            for name, form in zip(SCORES, ("{:.3f}", "{:.1f}", "{:.3f}"), strict=True):
                values = [row[name] for row in found["patients"].values()]
                cells.append(f"{form} / {form}".format(np.mean(values), np.median(values)))
            lines.append(
                f"| {result['arm']} | {result['steps']} | {contrast} | {' | '.join(cells)} | "
                f"{found['false_alarms']:.0%} | {result['parameters']:,} | "
                f"{'> ' * result.get('resumed', False)}{result['training_cpu_seconds']:.0f} |"
            )
    return "\n".join(lines)


def difference(results, first, second, contrast, draws=2000):
    """Mean Dice of one arm above another, with 95 % limits from resampled patients."""
    by_arm = {result["arm"]: result["contrasts"][contrast]["patients"] for result in results}
    gaps = np.array([by_arm[first][p]["dice"] - by_arm[second][p]["dice"] for p in by_arm[first]])
    rng = np.random.default_rng(0)
    means = rng.choice(gaps, (draws, len(gaps))).mean(1)
    return gaps.mean(), *np.percentile(means, [2.5, 97.5])


def show(arms, sections, folder, path):
    """Write a picture: a section and contrast per row, an arm per column, true outline in red."""
    from matplotlib import pyplot as plt

    models = {arm: LesionSegmenter.load(folder / f"{arm}.safetensors") for arm in arms}
    largest = sorted(sections, key=lambda section: -section.mask.sum())
    rows = [(s, contrast) for s in largest[5:100:24] for contrast in CONTRASTS]
    figure, axes = plt.subplots(len(rows), len(arms), figsize=(2.2 * len(arms), 2.2 * len(rows)))
    for row, (section, contrast) in zip(np.reshape(axes, (len(rows), -1)), rows, strict=True):
        image = CONTRASTS[contrast](section.image)
        for axis, (arm, model) in zip(row, models.items(), strict=True):
            found = as_pixels(model.predict([as_slice(image)])[0])
            axis.imshow(image, cmap="gray", vmax=np.percentile(image, 99.5))
            axis.contour(section.mask, [0.5], colors="red", linewidths=0.6)
            if found.any():
                axis.contour(found, [0.5], colors="cyan", linewidths=0.8)
            axis.set_title(f"{arm} {dice(found, section.mask):.2f}", fontsize=7)
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=1000, help="of every arm, 8 sections each")
    parser.add_argument("--network-steps", type=int, default=300, help="of the arms network-...")
    parser.add_argument("--picture", metavar="PNG", help="predictions of the first three arms")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    parts = split_patients(load_sections())
    results = []
    for arm in options.arms:
        if arm == "network-swinunetr-small" and find_spec("einops") is None:
            print(f"{arm}: left out, einops is not installed", flush=True)
            continue
        steps = options.network_steps if arm.startswith("network-") else options.steps
        memory = Memory(options.out / "cache", verbose=0)
        results.append(run_arm(arm, parts, options.out, steps, memory))
        print(table(results[-1:]), flush=True)
    print(table(results))
    done = {result["arm"] for result in results}
    if {"synthetic", "conventional-all"} <= done:
        for contrast in CONTRASTS:
            gap, low, high = difference(results, "synthetic", "conventional-all", contrast)
            print(
                f"Dice, synthetic - conventional, {contrast}: {gap:+.3f} [{low:+.3f}, {high:+.3f}]"
            )
    if options.picture:
        show(options.arms[:3], parts["test"], options.out, options.picture)


if __name__ == "__main__":
    main()
