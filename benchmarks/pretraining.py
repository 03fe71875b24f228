"""What pretrained encoders are worth, beside baselines that cost nothing. All scans are simulated.

Parts: 1 retrieval of a person across contrasts, 2 what the features vary with. People are
deformations of four label maps that no encoder was trained on; every scan has a pose, a crop, a
protocol and noise of its own, and is stripped of the skull or not. Rows that are finished are files
of --out and are not computed again. Part 3, on real scans, is `correspondence.py`.

    PROGNOSIS_DATA=... python benchmarks/pretraining.py --out FOLDER [--encoder NAME=FILE ...]
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from train_encoder import encoder, label_maps

from imaging import HeadShapeEncoder, LabelMapSource, SequenceInvariantEncoder
from imaging.pretraining.applying import framed
from imaging.pretraining.people import LabelledPeople
from imaging.pretraining.views import Views
from imaging.randomness import sample_seed
from imaging.resizing import resized
from imaging.storage.files import replacing
from imaging.storage.models import read_card
from imaging.voxelwise.scaling import standardise

SPACING_MM = 3.0
SHAPE = (64, 80, 64)  # 192 x 240 x 192 mm: a field of view that cuts necks off
SEQUENCES = ("mprage", "fse", "flair", "spgr")
REPEATS = 2  # scans of a person by each sequence
COARSE_MM = 6.0  # voxels that the baselines see
SEED = 7


def scans(count):
    """Simulated scans of `count` people, of each by every sequence, so often as it is repeated."""
    held_out = label_maps()[1]
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    rng = np.random.default_rng(SEED)
    for person in range(count):
        source = LabelMapSource([held_out[person % len(held_out)]], lesion_probability=0.5)
        settings = {"contrast": "physics", "mirror": 0.5}
        people = LabelledPeople(source, SHAPE, SPACING_MM, **settings)
        head = people.person(sample_seed(SEED, person))
        for number, sequence in enumerate(SEQUENCES):
            people.sequence.sequences = (sequence,)
            views = Views(_OneHead(people, head), contrast="physics", count=REPEATS)
            views.holes.probability = 0.0
            images, _, _ = views.draw(sample_seed(SEED, 10**6 + person * 10 + number))
            for image in images:
                image = image - image.min()
                cut = rng.integers(0, 6, (3, 2))  # up to 15 mm of the field of view are missing
                box = tuple(slice(a, n - b) for (a, b), n in zip(cut, image.shape, strict=True))
                yield nib.Nifti1Image(image[box].copy(), affine)


class _OneHead:
    """People of whom there is one."""

    def __init__(self, people, head):
        self.grid, self.contrasted = people.grid, people.contrasted
        self.head = head

    def person(self, seed):
        return self.head


def coarse(image):
    """A scan as baselines see it: coarse, standardised, the head in the middle."""
    array = np.asanyarray(image.dataobj, dtype=np.float32)
    shape = [max(2, round(n * SPACING_MM / COARSE_MM)) for n in array.shape]
    return framed(standardise(resized(array, shape)), (32, 48, 32))


def gradient_map(image):
    """How steep grey values are, which hangs less on the contrast than they do."""
    steep = np.linalg.norm(np.gradient(coarse(image)), axis=0).ravel()
    return steep / max(np.linalg.norm(steep), 1e-12)


def head_mask(image):
    """Where the head is."""
    array = coarse(image)
    return (array > array.mean()).ravel().astype(np.float32)


def head_moments(image):
    """What a head measures once it is turned along the principal axes of its mask.

    Lengths along the axes, volume, skewness, and the share of it in cells of the turned head:
    what can be known of a person's shape without any training.
    """
    mask = head_mask(image).reshape(32, 48, 32)
    voxels = np.argwhere(mask > 0).astype(float)
    if len(voxels) < 4:
        return np.zeros(7 + 80, np.float32)
    away = voxels - voxels.mean(0)
    strength, axes = np.linalg.eigh(np.cov(away.T))
    # The axes nearest to upright ones.
    order = [int(np.argmax(np.abs(axes[0])))]
    order += sorted({0, 1, 2} - set(order), key=lambda k: -abs(axes[1, k]))
    axes = axes[:, order] * np.sign(axes[range(3), order])
    wide = np.sqrt(strength[order])
    turned = away @ axes / np.maximum(wide, 1e-6)
    cells, _ = np.histogramdd(turned, bins=(4, 5, 4), range=[(-2.5, 2.5)] * 3)
    skewness = (turned**3).mean(0)
    shares = np.sqrt(cells.ravel() / len(voxels))
    return np.concatenate([np.log(wide), [np.log(len(voxels))], skewness, shares])


def vectors(folder, rows, count):
    """Vectors of all scans by every way to measure one, kept in files of the folder.

    Parameters
    ----------
    folder : Path
    rows : dict of str to callable
    count : int

    Returns
    -------
    dict of str to ndarray of shape (count, sequences, repeats, features)
    """
    paths = {name: folder / f"{name.replace(' ', '-')}-{count}.npy" for name in rows}
    missing = {name: [] for name, path in paths.items() if not path.is_file()}
    if missing:
        for image in scans(count):
            for name, found in missing.items():
                found.append(rows[name](image).astype(np.float32))
    for name, found in missing.items():
        together = np.stack(found).reshape(count, len(SEQUENCES), REPEATS, -1)
        with replacing(paths[name]) as temporary, open(temporary, "wb") as file:
            np.save(file, together)
    return {name: np.load(path) for name, path in paths.items()}


def found_again(values):
    """Share of pairs of sequences in which each person is the nearest one, by person.

    Features are standardised over all scans, which needs no names, and compared by their angle.

    Returns
    -------
    ndarray of shape (people,)
    """
    flat = values.reshape(-1, values.shape[-1])
    values = (values - flat.mean(0)) / np.maximum(flat.std(0), 1e-9)
    values = values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
    hits, pairs = np.zeros(len(values)), 0
    for one in range(len(SEQUENCES)):
        for other in range(len(SEQUENCES)):
            if one != other:
                alike = values[:, one, 0] @ values[:, other, 0].T
                hits += alike.argmax(1) == np.arange(len(values))
                pairs += 1
    return hits / pairs


def variance_shares(values):
    """Shares of the variance of the features: person, contrast, both together, the rest.

    A two-way analysis of variance with random effects for each feature, with negative estimates
    set to 0; shares are means over features. The rest is pose, crop, protocol and noise.

    Returns
    -------
    dict of str to float
        And the intraclass correlation of single scans over contrasts (absolute agreement), its
        mean over features.
    """
    people, contrasts, repeats, _ = values.shape
    grand = values.mean((0, 1, 2))
    of_person, of_contrast = values.mean((1, 2)), values.mean((0, 2))
    cells = values.mean(2)
    ms_person = contrasts * repeats * ((of_person - grand) ** 2).sum(0) / (people - 1)
    ms_contrast = people * repeats * ((of_contrast - grand) ** 2).sum(0) / (contrasts - 1)
    both = cells - of_person[:, None] - of_contrast[None] + grand
    ms_both = repeats * (both**2).sum((0, 1)) / ((people - 1) * (contrasts - 1))
    rest = ((values - cells[:, :, None]) ** 2).sum((0, 1, 2)) / (people * contrasts * (repeats - 1))
    parts = {
        "person": (ms_person - ms_both) / (contrasts * repeats),
        "contrast": (ms_contrast - ms_both) / (people * repeats),
        "person x contrast": (ms_both - rest) / repeats,
        "rest": rest,
    }
    parts = {name: np.maximum(part, 0) for name, part in parts.items()}
    whole = np.maximum(sum(parts.values()), 1e-12)
    varies = values.reshape(-1, values.shape[-1]).std(0) > 1e-6
    shares = {name: float((part / whole)[varies].mean()) for name, part in parts.items()}
    icc = _icc(values[:, :, 0])[varies].mean()
    return {**shares, "ICC": icc, "dimensions": effective_dimensions(values)}


def effective_dimensions(values):
    """Of how many features equally strong ones would vary as much: few where they say one thing."""
    flat = values.reshape(-1, values.shape[-1])
    flat = (flat - flat.mean(0)) / np.maximum(flat.std(0), 1e-9)
    strengths = np.linalg.svd(flat, compute_uv=False) ** 2
    return float(strengths.sum() ** 2 / (strengths**2).sum())


def _icc(values):
    """ICC(2,1) of each feature: shape (people, contrasts, features)."""
    n, k, _ = values.shape
    grand = values.mean((0, 1))
    rows, columns = values.mean(1), values.mean(0)
    ms_rows = k * ((rows - grand) ** 2).sum(0) / (n - 1)
    ms_columns = n * ((columns - grand) ** 2).sum(0) / (k - 1)
    rest = values - rows[:, None] - columns[None] + grand
    ms_rest = (rest**2).sum((0, 1)) / ((n - 1) * (k - 1))
    whole = ms_rows + (k - 1) * ms_rest + k * (ms_columns - ms_rest) / n
    return (ms_rows - ms_rest) / np.maximum(whole, 1e-12)


def interval(differences, seed=0):
    """95 % interval of a mean over people, by 2,000 bootstraps of people."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(differences), (2000, len(differences)))
    return np.quantile(differences[drawn].mean(1), [0.025, 0.975])


def untrained(epochs_of_nothing=1):
    """The encoder as it was before it learnt anything: as good as no step was made."""
    model = encoder(
        epochs=epochs_of_nothing, steps_per_epoch=1, batch_size=2, learning_rate=1e-12, verbose=0
    )
    return model.fit()


def loaded(path):
    """An encoder of either kind from a file."""
    kind = read_card(path).get("kind")
    return (HeadShapeEncoder if kind == "HeadShapeEncoder" else SequenceInvariantEncoder).load(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument("--people", type=int, default=64)
    parser.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help='a saved encoder; the one named "base" is compared with the others',
    )
    options = parser.parse_args()
    folder, count = Path(options.out), options.people
    folder.mkdir(parents=True, exist_ok=True)
    models = {"random encoder": untrained()}
    for given in options.encoder:
        name, _, path = given.partition("=")
        models[name] = loaded(path)
    free = {"gradient map": gradient_map, "head mask": head_mask, "head moments": head_moments}
    rows, keys = dict(free), {}
    for name, model in models.items():
        keys[name] = f"{name} {model.identity()[:8]}"  # another network is another row
        rows[keys[name]] = lambda image, model=model: model.transform([image])[0]
    values = vectors(folder, rows, count)
    hits, table = {}, {}
    print(f"simulated: {count} people, {len(SEQUENCES)} sequences; chance {1 / count:.3f}")
    for name in (*free, *models):
        found = values[keys.get(name, name)]
        hits[name], table[name] = found_again(found), variance_shares(found)
        low, high = interval(hits[name])
        shares = ", ".join(f"{part} {share:.2f}" for part, share in table[name].items())
        print(f"{name:16} top-1 {hits[name].mean():.3f} ({low:.3f} to {high:.3f}); {shares}")
    for name in models:
        for other in ("random encoder", "base"):
            if other in hits and name not in (other, "random encoder"):
                low, high = interval(hits[name] - hits[other])
                gain = (hits[name] - hits[other]).mean()
                print(f"{name} - {other}: {gain:+.3f} ({low:+.3f} to {high:+.3f})")
    print("bars:")
    for name in list(models)[1:]:
        shares = table[name]
        print(f"  {name}: top-1 >= .90 {_met(hits[name].mean() >= 0.9)}", end="; ")
        print(f"ICC >= .90 {_met(shares['ICC'] >= 0.9)}", end="; ")
        print(f"contrast <= .05 {_met(shares['contrast'] <= 0.05)}")


def _met(bar):
    return "met" if bar else "missed"


if __name__ == "__main__":
    main()
