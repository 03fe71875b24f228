"""Train the model of brain, tissues and template coordinates on simulated heads; four are held out.

Every label map needs a field that says where its voxels lie in the MNI template
(`register_label_maps.py`). First samples are made (--make), which may go on beside the training. A
training that was stopped goes on with --resume. What is kept is the mean of the weights of the last
some hundred steps, so that it may be stopped at any time.

    PROGNOSIS_DATA=... python benchmarks/train_coordinates.py --out RUN --samples DATA --fields F \
        --make 3000
    PROGNOSIS_DATA=... python benchmarks/train_coordinates.py --out RUN --samples DATA --fields F \
        --minutes 60 [--resume]
    PROGNOSIS_DATA=... python benchmarks/train_coordinates.py --out RUN --export FILE
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import avg_pool3d
from train_encoder import label_maps

from imaging import LabelMapSource
from imaging.nets.voxelwise import build_voxelwise
from imaging.pretraining.people import LabelledPeople, _softened, pose_geometry
from imaging.randomness import Draws, as_draws, sample_seed
from imaging.registration.places.located import CoordinateTarget, Located
from imaging.registration.places.model import CoordinateModel
from imaging.registration.places.robust import fit_affine
from imaging.registration.places.tasks import COORDINATE_OUTPUTS
from imaging.storage.files import replacing
from imaging.synthesis.occlusion import CoarseDropout, grow
from imaging.synthesis.recipes import scanner_steps
from imaging.synthesis.resampling import resample_scene
from imaging.synthesis.steps import Chain

SPACING_MM = 4.0
SHAPE = (48, 64, 48)  # 192 x 256 x 192 mm
SMALLER = ((48, 48, 48), (32, 64, 48), (48, 64, 32))  # that batches are cut to, now and then
CHANNELS = (32, 64, 96, 96)
TURNED_DEG, MOVED_MM = 20.0, 30.0
STRIPPED, CUT = 0.35, 0.3  # chances
FEWEST = 64  # samples that must be there before a training begins
KEPT_STEPS = 200  # over which weights are averaged, at least
_EXACT = 50.0  # steps of a millimetre that are kept of coordinates
_VALIDATION = 2**40


class LocatedPeople(LabelledPeople):
    """People of whom it is known where in the template they lie; each is made once and kept.

    Parameters
    ----------
    source : Located
    count : int
    folder : Path
        Where they are kept.
    """

    def __init__(self, source, count, folder):
        super().__init__(source, (56, 68, 64), SPACING_MM, contrast="both")
        self.count, self.folder, self.kept = count, folder, {}
        folder.mkdir(parents=True, exist_ok=True)

    def anybody(self, seed, *, most=None):
        """One of the people; `most` bounds how many of them are there as yet."""
        draws = as_draws(seed)
        number = draws.integer(0, min(self.count, most or self.count) - 1)
        if number not in self.kept:
            self.kept[number] = self._made(number)
        head = dict(self.kept[number])
        head["tissues"] = head["tissues"] / self.factor**3
        head["located"] = head["located"] / _EXACT
        return self.measured(head, draws.seed())

    def _made(self, number):
        path = self.folder / f"{number}.pt"
        if not path.is_file():
            head = self.head(sample_seed(20, number))
            head["tissues"] = (head["tissues"] * self.factor**3).round().to(torch.uint8)
            head["located"] = (head["located"] * _EXACT).round().to(torch.int16)
            with replacing(path) as temporary:
                torch.save(head, temporary)
        return torch.load(path, weights_only=True)

    def head(self, seed):
        scene, _ = self.anatomy.sample({}, seed)
        located = scene.pop("located")
        scene = _softened(scene, self.factor)
        return {**scene, "located": avg_pool3d(located[None], self.factor)[0]}

    def contrasted(self, person, seed):
        scene = super().contrasted(person, seed)
        inside = person["tissues"][1:6]
        shares = torch.cat([1 - inside.sum(0, keepdim=True), inside])
        return {**scene, "tissues": shares, "located": person["located"]}


class Scans:
    """Simulated scans of people, with all faults that scans have, and their targets."""

    def __init__(self, people):
        self.people = people
        *faults, _ = scanner_steps(people.grid.spacing_mm, "both", "cpu")
        self.faults, self.target = Chain(*faults), CoordinateTarget()
        self.holes = CoarseDropout(size=(3, 12), probability=0.15)
        model = CoordinateModel()
        self.scaling = model._task_of(COORDINATE_OUTPUTS).scaling

    def draw(self, seed, shape, most=None):
        """One scan: image (1, *shape) and target (10, *shape), float32."""
        draws = Draws(seed)
        person = self.people.anybody(draws.seed(), most=most)
        scene = self.people.contrasted(person, draws.seed())
        size, moved = scene["image"].shape[1:], MOVED_MM / self.people.grid.spacing_mm
        pose = {"rotation_deg": TURNED_DEG, "shift_voxels": moved}
        scene = resample_scene(scene, pose_geometry(size, shape, **pose, seed=draws.seed()))
        scene, _ = self.faults.sample(scene, draws.seed())
        scene = self.target.apply(scene, {})
        image, target = scene["image"][0], scene["target"]
        seen = torch.ones(image.shape, dtype=torch.bool)
        if draws.chance(STRIPPED):
            brain = target[6] > 0.5 if draws.chance(0.5) else target[0] < 0.5
            seen &= grow(brain, draws.integer(-1, 1))
        if draws.chance(CUT):
            for _ in range(draws.integer(1, 3)):
                axis, last = draws.integer(0, 2), draws.chance(0.5)
                cut = draws.integer(1, image.shape[axis] // 3)
                rows = slice(image.shape[axis] - cut, None) if last else slice(0, cut)
                seen[(*[slice(None)] * axis, rows)] = False
        image = torch.where(seen, image, image.min())
        target[:, ~seen] = 0
        target[0, ~seen] = 1
        image = torch.from_numpy(self.scaling.finished(image.numpy()))[None]
        scene, _ = self.holes.sample({"image": image}, draws.seed())
        return scene["image"], target


class Shelf:
    """Finished samples in files: made once, and learnt from in other sizes, sides and greys.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, number):
        """Of one sample."""
        return self.folder / f"{number}.pt"

    def add(self, number, image, target):
        """Keep a sample in few bytes."""
        kept = {
            "image": image.to(torch.bfloat16),
            "shares": (target[:7].clamp(0, 1) * 255).round().to(torch.uint8),
            "where": (target[7:] * _EXACT).round().to(torch.int16),
        }
        with replacing(self.path(number)) as temporary:
            torch.save(kept, temporary)

    def draw(self, draws):
        """Any of those that are there: image and target."""
        while self.path(self.count).is_file():
            self.count += 1
        while self.count < FEWEST:
            time.sleep(5)
            while self.path(self.count).is_file():
                self.count += 1
        kept = torch.load(self.path(draws.integer(0, self.count - 1)), weights_only=True)
        image = kept["image"].float()
        target = torch.cat([kept["shares"] / 255, kept["where"] / _EXACT])
        if draws.chance(0.5):
            image, target = image.flip(1), target.flip(1)
            target[7] *= -1
        if draws.chance(0.5):
            low, high = float(image.min()), float(image.max())
            image = ((image - low) / (high - low)) ** draws.uniform(0.7, 1.4) * (high - low) + low
        return image, target


def make(folder, options):
    """Put so many samples on the shelf; those that are there stay."""
    torch.set_num_threads(options.threads)
    trained, _ = fields(Path(options.fields))
    source = Located(LabelMapSource(label_maps()[0], lesion_probability=0.5), trained)
    scans = Scans(LocatedPeople(source, options.people, folder / "people"))
    shelf = Shelf(folder / "samples")
    for number in range(options.make):
        if not shelf.path(number).is_file():
            most = 12 + number // 8  # people come one after another
            shelf.add(number, *scans.draw(sample_seed(1, number), SHAPE, most))


def fields(folder):
    """Fields of label maps for training and of those held out."""
    found = []
    for maps in label_maps():
        paths = [folder / Path(one).name.replace(".nii.gz", "_mni.nii.gz") for one in maps]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            raise SystemExit(f"{missing[0]} is missing; make it with register_label_maps.py")
        found.append([str(path) for path in paths])
    return found


def measures(model, network, scans):
    """Means over validation scans: Dice of brain and tissues, and millimetres."""
    task, rows = model.task_, []
    for image, target in scans:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            found = task.activated(network(image[None]).float())[0]
        row = {"brain": _dice(found[6] > 0.5, target[6] > 0.5)}
        best, truth = found[:6].argmax(0), target[:6].argmax(0)
        for name, number in (("grey", 1), ("white", 3), ("fluid", 4)):
            row[name] = _dice(best == number, truth == number)
        inside = target[6] > 0.5
        row["mm"] = float((found[7:] - target[7:]).norm(dim=0)[inside].mean())
        points = inside.nonzero().numpy().astype(float)
        known, _ = fit_affine(points, target[7:][:, inside].T.numpy())
        said = found[6] > 0.5
        row["affine_mm"] = 99.0
        if int(said.sum()) > 50:
            where = found[7:][:, said].T.numpy()
            fitted, _ = fit_affine(said.nonzero().numpy().astype(float), where)
            row["affine_mm"] = float(
                np.linalg.norm(
                    points @ (fitted - known)[:3, :3].T + (fitted - known)[:3, 3], axis=1
                ).mean()
            )
        rows.append(row)
    return {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}


def _dice(found, truth):
    return 2 * float((found & truth).sum()) / max(1.0, float(found.sum() + truth.sum()))


def model_of(weights, channels=CHANNELS, spacing_mm=SPACING_MM):
    """A fitted model with these weights."""
    model = CoordinateModel(
        "folded-small", channels=channels, spacing_mm=spacing_mm, patch_size=SHAPE, mirror=0.0
    )
    model.outputs_, model.patch_size_ = COORDINATE_OUTPUTS, SHAPE
    network = build_voxelwise("folded-small", len(COORDINATE_OUTPUTS), channels=channels)
    network.load_state_dict(weights)
    model.network_ = network.eval()
    return model


class Training:
    """Network, mean of its weights, optimiser and count of steps, to and from a file."""

    def __init__(self, folder, options):
        self.path, self.step = folder / "training.pt", 0
        self.seconds = self.processor = 0.0
        torch.manual_seed(0)
        self.channels = tuple(options.channels)
        self.network = build_voxelwise(
            "folded-small", len(COORDINATE_OUTPUTS), channels=self.channels
        )
        self.mean = {n: t.clone() for n, t in self.network.state_dict().items()}
        self.network.to(memory_format=torch.channels_last_3d)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=options.rate, weight_decay=1e-3
        )
        if options.resume and self.path.is_file():
            kept = torch.load(self.path, weights_only=True)
            self.network.load_state_dict(kept["network"])
            self.optimiser.load_state_dict(kept["optimiser"])
            self.mean = kept["mean"]
            self.step = kept["step"]
            self.seconds, self.processor = kept["seconds"], kept["processor"]

    def save(self):
        """Keep it, whole or not at all."""
        kept = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "mean": self.mean,
            "step": self.step,
            "seconds": self.seconds,
            "processor": self.processor,
        }
        with replacing(self.path) as temporary:
            torch.save(kept, temporary)

    def learn(self, image, target, loss, rate):
        """One step."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * min(1.0, (self.step + 1) / 100)
        image = image.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.network(image)
        value = loss(outputs.float(), target).mean()
        self.optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if torch.isfinite(value):
            self.optimiser.step()
        share = max(1 / KEPT_STEPS, 9 / (10 + self.step))
        for name, tensor in self.network.state_dict().items():
            self.mean[name].lerp_(tensor, share)
        self.step += 1
        return float(value.detach())


def train(folder, options):
    """Train for so many minutes, with checkpoints and a log."""
    torch.set_num_threads(options.threads)
    _, held_out = fields(Path(options.fields))
    others = Located(LabelMapSource(label_maps()[1], lesion_probability=0.5), held_out)
    made = Path(options.samples)
    checked = Scans(LocatedPeople(others, options.checked, made / "held-out"))
    kept = [checked.draw(sample_seed(_VALIDATION, i), SHAPE) for i in range(options.checked)]
    shelf = Shelf(made / "samples")
    training = Training(folder, options)
    model = model_of(training.mean, training.channels)
    model.coordinate_weight = options.weight
    loss = model.task_.loss()
    begin = last = time.monotonic()
    worked = time.process_time()
    end, losses = begin + 60 * options.minutes, []
    while (now := time.monotonic()) < end:
        draws = Draws(sample_seed(1, training.step))
        batch = [shelf.draw(draws) for _ in range(options.batch)]
        image, target = (torch.stack(parts) for parts in zip(*batch, strict=True))
        if draws.chance(0.25):
            shape = draws.choice(SMALLER)
            at = [draws.integer(0, n - m) for n, m in zip(SHAPE, shape, strict=True)]
            box = (..., *[slice(a, a + m) for a, m in zip(at, shape, strict=True)])
            image, target = image[box], target[box]
        left = (end - now) / max(60 * options.decay, 1e-9)
        losses.append(training.learn(image, target, loss, options.rate * min(1.0, 0.02 + left)))
        if time.monotonic() - last > 60 * options.every:
            training.seconds += time.monotonic() - last
            training.processor += time.process_time() - worked
            last, worked = time.monotonic(), time.process_time()
            report(folder, training, kept, losses)
            losses = []
    training.seconds += time.monotonic() - last
    training.processor += time.process_time() - worked
    report(folder, training, kept, losses)


def export(folder, path, options):
    """Write the mean weights as a model with its card."""
    options.resume = True
    training = Training(folder, options)
    if not training.step:
        raise SystemExit(f"{folder} holds no training")
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    trained, held_out = (len(maps) for maps in label_maps())
    text = (
        f"simulated heads only: {training.step} steps of {options.batch} of some thousand scans "
        f"of people on {trained} SynthSeg label maps with made-up lesions, deformations and poses; "
        f"{held_out} label maps held out; coordinates of the MNI template by symmetric "
        f"normalisation of each label map; {training.processor / 60:.0f} minutes of one processor"
    )
    scores = {f"held-out simulated {name}": last[name] for name in ("brain", "mm", "affine_mm")}
    model = model_of(training.mean, training.channels)
    print(model.save(path, training_data=text, scores=scores, half=True), last)


def report(folder, training, kept, losses):
    """Write checkpoint, weights and a line of the log."""
    training.save()
    model = model_of(training.mean, training.channels)
    row = {"step": training.step, "minutes": round(training.seconds / 60, 1)}
    row["processor_minutes"] = round(training.processor / 60, 1)
    row["loss"] = round(float(np.mean(losses[-200:] or [np.nan])), 4)
    row |= measures(model, model.network_, kept)
    line = json.dumps(row)
    print(line, flush=True)
    with open(folder / "log.jsonl", "a") as file:
        file.write(line + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument("--fields", metavar="FOLDER", help="of the label maps; None: in --out")
    parser.add_argument("--samples", metavar="FOLDER", help="that are made; None: in --out")
    parser.add_argument("--make", type=int, default=0, help="so many samples, and train nothing")
    parser.add_argument("--minutes", type=float, default=60.0, help="of this run, at most")
    parser.add_argument("--decay", type=float, default=0.0, help="last minutes: smaller steps")
    parser.add_argument("--every", type=float, default=4.0, help="minutes between checkpoints")
    parser.add_argument("--export", metavar="FILE", help="write the model so far, train nothing")
    parser.add_argument("--resume", action="store_true", help="go on with the training in --out")
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--checked", type=int, default=16, help="validation scans, each a person")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3, metavar="LEARNING_RATE")
    parser.add_argument("--weight", type=float, default=1.0, help="of coordinates in the loss")
    parser.add_argument("--channels", type=int, nargs="+", default=CHANNELS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    folder = Path(options.out)
    options.fields = options.fields or options.out
    options.samples = options.samples or options.out
    if options.make:
        return make(Path(options.samples), options)
    if options.export:
        return export(folder, options.export, options)
    if (folder / "training.pt").is_file() and not options.resume:
        raise SystemExit(f"{folder} holds a training; go on with --resume, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    train(folder, options)


if __name__ == "__main__":
    main()
