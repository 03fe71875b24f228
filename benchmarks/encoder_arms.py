"""Arms that compare what a network begins with, rows that are kept, and tables of them.

Every arm of a task has the same network, data and steps. A row (an arm, a share of the training
subjects, a seed) that is finished is a file and is not computed again.
"""

import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import wilcoxon

from imaging import LabelMapSource, SequenceInvariantEncoder
from imaging.learning.pretrained import open_encoder
from imaging.storage.files import replacing

SHARES = (0.01, 0.1, 1.0)


class Arm(NamedTuple):
    """What networks of an arm begin with.

    Parameters
    ----------
    name : str
    weights : str or None
        File of an encoder.
    freeze : bool
    longer : float
        Of how many times the steps.
    way : {"encoder", "features"}
        A decoder on the encoder, or its frozen features beside the scan.
    """

    name: str
    weights: str
    freeze: bool = False
    longer: float = 1.0
    way: str = "encoder"

    def settings(self):
        """Parameters of a model from voxels to voxels."""
        opened = open_encoder(self.weights)
        found = {"initial_weights": self.weights, "spatial_dims": opened.spatial_dims}
        if self.way == "features":
            return {**found, "architecture": f"features-{opened.name}"}
        return {**found, "freeze": self.freeze}


def untrained(folder, dims, like=None):
    """A file of an encoder as it was before it learnt anything.

    Parameters
    ----------
    folder : path
        Where it is kept.
    dims : {2, 3}
    like : OpenedEncoder, default=None
        Of the same kind; None: a small one, of pictures at 2 mm or heads at 4 mm.
    """
    name = "small" if like is None else like.name
    path = Path(folder) / f"untrained-{name}-{dims}.safetensors"
    if not path.is_file():
        Path(folder).mkdir(parents=True, exist_ok=True)
        model = SequenceInvariantEncoder(
            "shape" if name == "shape" else "seq_inv",
            encoder=name,
            channels=None if like is None else like.channels,
            spatial_dims=dims,
            spacing_mm={2: 2.0, 3: 4.0}[dims] if like is None else like.spacing_mm,
            source=LabelMapSource(spacing_mm=4),
            batch_size=2,
            steps_per_epoch=1,
            epochs=1,
            learning_rate=1e-12,
            weight_decay=0.0,
            random_state=0,
        ).fit()
        model.save(path, training_data="synthetic scans only: none, as good as untrained")
    return str(path)


def arms_of(encoders, dims, folder, longer):
    """The arms for encoders of so many dimensions, those that begin with nothing first.

    Parameters
    ----------
    encoders : dict of str to path
    dims : {2, 3}
    folder : path
        Where untrained encoders are kept.
    longer : float
        The steps of "none longer", as a multiple.
    """
    opened = {name: open_encoder(path) for name, path in encoders.items()}
    suited = {name: one for name, one in opened.items() if one.spatial_dims == dims}
    nothing = untrained(folder, dims, next(iter(suited.values()), None))
    arms = [
        Arm("none", nothing),
        Arm("none longer", nothing, longer=longer),
        Arm("random frozen", nothing, freeze=True),
    ]
    for name in suited:
        path = str(encoders[name])
        arms += [Arm(f"{name} fine-tuned", path), Arm(f"{name} frozen", path, freeze=True)]
        arms.append(Arm(f"{name} features", path, way="features"))
    return arms


def chosen(subjects, share, seed):
    """A share of the subjects, at least one, by a seed; fewer are always among more."""
    subjects = sorted(set(subjects))
    order = np.random.default_rng(seed).permutation(len(subjects))
    return [subjects[i] for i in order[: max(1, round(share * len(subjects)))]]


def row(folder, part, arm, share, seed, steps, measure):
    """One finished row: read, or measured and kept.

    Parameters
    ----------
    folder : Path
    part, arm : str
    share : float
    seed, steps : int
    measure : callable
        Gives scores by condition and subject: ``{"sd .2": {"patient07 T1": 30.1}}``.
    """
    path = folder / part / f"{arm.replace(' ', '-')}_{share:g}_{seed}.json"
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept["steps"] != steps:
            raise SystemExit(f"{path} has {kept['steps']} steps, not {steps}; choose another --out")
        return kept
    start = time.process_time()
    scores = measure()
    found = {"part": part, "arm": arm, "share": share, "seed": seed, "steps": steps}
    found |= {"cpu_seconds": time.process_time() - start, "scores": scores}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Path(temporary).write_text(json.dumps(found, indent=1))
    return found


def by_subject(rows, arm, share, condition):
    """The score of every subject, its mean over seeds."""
    found = {}
    for one in rows:
        if one["arm"] == arm and one["share"] == share:
            for subject, score in one["scores"].get(condition, {}).items():
                found.setdefault(subject, []).append(score)
    return {subject: float(np.mean(scores)) for subject, scores in sorted(found.items())}


def holm(p_values):
    """p-values of several tests, adjusted (Holm 1979)."""
    order = np.argsort(p_values)
    adjusted, highest = np.empty(len(p_values)), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def table(rows, base="none"):
    """Mean and standard error over subjects, as markdown; tests of every arm against one.

    Paired Wilcoxon tests over subjects, adjusted by Holm over all arms of a condition and share.
    """
    lines = ["| condition | share | arm | seeds | mean ± SE | against none | p (Holm) | CPU s |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    conditions = list(dict.fromkeys(c for one in rows for c in one["scores"]))
    for condition in conditions:
        for share in sorted({one["share"] for one in rows}):
            here = [one for one in rows if one["share"] == share and condition in one["scores"]]
            arms = list(dict.fromkeys(one["arm"] for one in here))
            scores = {arm: by_subject(here, arm, share, condition) for arm in arms}
            gaps, tested = {}, []
            for arm in arms:
                common = sorted(set(scores[arm]) & set(scores.get(base, {})))
                gap = np.array([scores[arm][s] - scores[base][s] for s in common])
                if arm != base and len(gap) > 1:
                    gaps[arm] = gap.mean()
                    tested.append((arm, wilcoxon(gap).pvalue if np.any(gap) else 1.0))
            adjusted = holm(np.array([p for _, p in tested])) if tested else []
            p_of = {arm: p for (arm, _), p in zip(tested, adjusted, strict=True)}
            for arm in arms:
                values = np.array(list(scores[arm].values()))
                error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
                own = [one for one in here if one["arm"] == arm]
                gap = f"{gaps[arm]:+.3f}" if arm in gaps else ""
                p = f"{p_of[arm]:.3f}" if arm in p_of else ""
                seconds = np.mean([one["cpu_seconds"] for one in own])
                lines.append(
                    f"| {condition} | {share:g} | {arm} | {len(own)} | {values.mean():.3f} ± "
                    f"{error:.3f} | {gap} | {p} | {seconds:.0f} |"
                )
    return "\n".join(lines)
