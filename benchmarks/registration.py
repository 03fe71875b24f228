"""How far registration misses: simulated heads whose place in the template is known.

Heads are the MNI template's own tissues, moved by a known affine and a known smooth warp, scanned
by six simulated sequences, with lesions pasted in and slices made thick. Same anatomy on both
sides: what is measured is the finding of a movement, not the difference between people. Errors in
mm, in grey and white matter outside of the lesion, inside it, and in its rim of 4 mm.

    python benchmarks/registration.py --out FOLDER [--model coordinates] [--tools ours niimath dipy]

With ``--model truth`` the network's part is played by the truth, blurred as a network of 4 mm
voxels blurs it and with smooth errors of 5 mm in its coordinates: an upper bound. Rows are kept in
FOLDER/rows.json; a run that was stopped goes on.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from imaging import Protocol, QuantitativeMaps, load_atlas, sample_protocol, simulate
from imaging.grids import Grid
from imaging.physics.tissues import LESION_STATISTICS, TISSUE_STATISTICS, TISSUES
from imaging.registration import Transform, register
from imaging.synthesis.label_maps import template_label_map

SEQUENCES = {
    "t1w": "mprage",
    "mp2rage": "mp2rage",
    "t2w": "fse",
    "flair": "flair",
    "gre": "gre",
    "spgr": "spgr",
}
GREY_WHITE, FLUID, LESION = (1, 2, 3), 4, 5
TURN_DEG, SCALE, SHIFT_MM, WARP_MM = 8.0, 0.05, 8.0, 3.0  # standard deviations
# (sequence, slices in mm or None, lesion in ml, seed)
CASES = [
    ("t1w", None, 100, 1),
    ("t1w", None, 0, 2),
    ("flair", None, 100, 3),
    ("flair", 5, 30, 4),
    ("t2w", None, 30, 5),
    ("mp2rage", None, 10, 6),
    ("gre", None, 30, 7),
    ("spgr", None, 0, 8),
    ("t2w", 5, 100, 9),
    ("t1w", 5, 10, 10),
    ("flair", None, 0, 11),
    ("t2w", None, 0, 12),
]


class Case:
    """A simulated head: `scan`, `mask` of its lesion, and `truth`, template mm by fine voxel."""

    def __init__(self, sequence, slices_mm, lesion_ml, seed):
        rng = np.random.default_rng(seed)
        tissues, to_template = template_label_map(1)
        turn = Rotation.from_rotvec(np.radians(rng.normal(0, TURN_DEG, 3))).as_matrix()
        matrix = turn @ np.diag(rng.normal(1, SCALE, 3))
        self.affine = nib.affines.from_matvec(matrix, rng.normal(0, SHIFT_MM, 3))
        corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(tissues.shape) - 1)
        points = nib.affines.apply_affine(np.linalg.inv(self.affine) @ to_template, corners)
        shape = tuple(np.ceil(np.ptp(points, axis=0)).astype(int) + 1)
        self.grid = nib.affines.from_matvec(np.eye(3), points.min(0))
        to_mm = (self.affine @ self.grid).astype(np.float32)
        warp = _smooth(shape, 45, WARP_MM, rng)
        self.truth = np.empty((*shape, 3), np.float32)
        axes = np.ix_(*(np.arange(n, dtype=np.float32) for n in shape))
        for k in range(3):
            row = sum(to_mm[k, j] * axes[j] for j in range(3)) + to_mm[k, 3]
            self.truth[..., k] = row + warp[k]
        inverse = np.linalg.inv(to_template)
        at = [self.truth[..., k] * inverse[k, k] + inverse[k, 3] for k in range(3)]
        self.labels = ndimage.map_coordinates(tissues, at, order=0)
        self.lesion = self._lesion(lesion_ml, rng)
        values = _signals(sequence, seed)
        image = values[np.where(self.lesion, LESION, self.labels)]
        image = ndimage.gaussian_filter(image, 0.5) * np.clip(
            1 + 0.1 * _smooth(shape, 120, 1.0, rng, parts=1)[0], 0.6, 1.4
        )
        image += rng.normal(0, 0.02 * np.abs(image).max(), shape).astype(np.float32)
        self.scan, self.mask = (
            _thick(part, self.grid, slices_mm) for part in (image, self.lesion.astype(np.float32))
        )
        self.mask = nib.Nifti1Image(
            (np.asanyarray(self.mask.dataobj) > 0.5).astype(np.uint8), self.mask.affine
        )

    def _lesion(self, ml, rng):
        if not ml:
            return np.zeros(self.labels.shape, bool)
        middle = np.array([-45 if rng.random() < 0.5 else 45, -10, 12], np.float32)
        rough = ndimage.gaussian_filter(rng.standard_normal(self.labels.shape), 3)
        away = np.linalg.norm(self.truth - middle, axis=-1) + 5 * rough / rough.std()
        inside = (self.labels >= 1) & (self.labels <= FLUID)
        return inside & (away <= np.partition(away[inside], ml * 1000)[ml * 1000])

    def errors(self, transform, step=3):
        """Mean distance from where voxels should be, mm, by part of the brain."""
        labels, truth, lesion = (
            part[::step, ::step, ::step] for part in (self.labels, self.truth, self.lesion)
        )
        affine = self.grid @ np.diag([step, step, step, 1])
        brain = np.isin(labels, GREY_WHITE)
        rim = ndimage.binary_dilation(lesion, iterations=max(1, round(4 / step))) & brain & ~lesion
        found = {}
        for name, where in (("brain", brain & ~lesion), ("lesion", lesion), ("rim", rim)):
            points = nib.affines.apply_affine(affine, np.argwhere(where))
            away = transform.points_to_template(points) - truth[where]
            found[name] = (
                round(float(np.linalg.norm(away, axis=1).mean()), 3) if len(away) else None
            )
        return found

    def _grown(self):
        """By how much the voxels of the lesion grow on their way to the template."""
        ends = [(at.min() - 2, at.max() + 3) for at in np.nonzero(self.lesion)]
        box = tuple(slice(max(0, low), high) for low, high in ends)
        rows = [np.gradient(self.truth[(*box, k)]) for k in range(3)]
        turned = np.stack([np.stack(row, -1)[self.lesion[box]] for row in rows], -2)
        return np.abs(np.linalg.det(turned))

    def loads(self, transform, atlas):
        """Lesion and region loads: true ones against those after registration."""
        if not self.lesion.any():
            return {}
        image = nib.as_closest_canonical(atlas.image)
        regions = np.asanyarray(image.dataobj)
        n, ml = int(regions.max()) + 1, abs(np.linalg.det(image.affine[:3, :3])) / 1000
        size = np.bincount(regions.ravel().astype(int), minlength=n)
        at = nib.affines.apply_affine(np.linalg.inv(image.affine), self.truth[self.lesion])
        inside = tuple(np.rint(at).astype(int).clip(0, np.array(regions.shape) - 1).T)
        # A voxel of the scan fills more or less of the template, by the affine and the warp.
        filled = self._grown() / 1000 / ml
        true = np.bincount(regions[inside].astype(int), weights=filled, minlength=n)
        moved = transform.to_template(self.mask, Grid.of(image), interpolation="mask")
        hit = np.asanyarray(moved.dataobj) > 0
        found = np.bincount(regions[hit].astype(int), minlength=n)
        there = np.flatnonzero((size > 0) & (np.arange(n) > 0) & (true > 0.05 * size))
        apart = np.abs(found[there] - true[there]) / size[there]
        native_ml = float(self.lesion.sum()) / 1000
        return {
            "load_error": round(float(apart.mean()), 4),
            "regions": len(there),
            "native_ml": native_ml,
            "template_ml": round(float(hit.sum() * ml), 1),
        }


class Truth:
    """Says what a network of coarse voxels could say at best."""

    def __init__(self, case, *, blur_mm=4.0, error_mm=5.0, seed=0):
        self.case, self.blur_mm, self.error_mm, self.seed = case, blur_mm, error_mm, seed

    def predict(self, scan):
        case, step = self.case, 2
        labels, truth, lesion = (
            part[::step, ::step, ::step] for part in (case.labels, case.truth, case.lesion)
        )
        affine = case.grid @ np.diag([step, step, step, 1])
        labels = np.where(lesion, FLUID, labels)
        grey = (labels == 1) + 0.5 * (labels == 2)
        white = (labels == 3) + 0.5 * (labels == 2)
        width = self.blur_mm / 2.355 / step
        parts = [
            ndimage.gaussian_filter(part.astype(np.float32), width)
            for part in (grey, white, labels == FLUID)
        ]
        brain = np.clip(sum(parts), 0, 1)
        rng = np.random.default_rng(self.seed)
        said = truth + np.moveaxis(
            _smooth(labels.shape, 14, self.error_mm / np.sqrt(3), rng), 0, -1
        )
        places = np.argwhere(brain > 0.5)[::7]
        points = nib.affines.apply_affine(affine, places)
        design, wanted = np.c_[points, np.ones(len(points))], said[tuple(places.T)]
        solved = np.linalg.lstsq(design, wanted, rcond=None)[0]
        fitted = np.eye(4)
        fitted[:3] = solved.T
        residual = np.median(np.linalg.norm(design @ solved - wanted, axis=1))
        return SimpleNamespace(
            brain=nib.Nifti1Image(brain, affine),
            tissues=nib.Nifti1Image(np.stack(parts, -1), affine),
            coordinates=nib.Nifti1Image(said.astype(np.float32), affine),
            affine=fitted,
            residual_mm=float(residual),
            brain_ml=float((brain > 0.5).sum() * step**3 / 1000),
        )


def ours(case, model, *, lesion=True, nonlinear=True):
    """The package's own way."""
    mask = case.mask if lesion and case.lesion.any() else None
    found = register(case.scan, lesion=mask, model=model, nonlinear=nonlinear)
    return found.transform, {"failure": found.quality.failure, **found.quality.numbers}


def niimath_alone(case, model):
    """Its affine of the whole head to the skull-stripped template."""
    import niimath
    from nilearn.datasets import load_mni152_template

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nib.save(case.scan, folder / "scan.nii")
        nib.save(load_mni152_template(resolution=2), folder / "base.nii")
        command = [niimath.bin, "scan.nii", "-allineate", "base.nii", "-savemat", "m.json", "o.nii"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        found = json.loads((folder / "m.json").read_text())["moving_to_fixed"]
    return Transform(np.array(found)), {}


def dipy_alone(case, model):
    """Its affine by mutual information, then its symmetric registration, of the scans' own greys.

    The brain is masked by the model, and no lesion is known.
    """
    from dipy.align.imaffine import AffineRegistration, MutualInformationMetric
    from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
    from dipy.align.metrics import CCMetric
    from dipy.align.transforms import AffineTransform3D
    from nilearn.datasets import load_mni152_template

    from imaging.registration import Warp

    template = load_mni152_template(resolution=2)
    grid, static = Grid.of(template), template.get_fdata(dtype=np.float32)
    maps = model.predict(case.scan)
    brain = Transform(np.eye(4)).to_template(maps.brain, case.scan)
    scan = np.asanyarray(case.scan.dataobj) * (np.asanyarray(brain.dataobj) > 0.5)
    tool = AffineRegistration(
        metric=MutualInformationMetric(nbins=32, sampling_proportion=None),
        level_iters=[1000, 100, 10],
        verbosity=0,
    )
    found = tool.optimize(
        static,
        scan,
        AffineTransform3D(),
        None,
        template.affine,
        case.scan.affine,
        starting_affine=np.linalg.inv(maps.affine),
    )
    affine = np.linalg.inv(found.affine)
    moved = Transform(affine).to_template(nib.Nifti1Image(scan, case.scan.affine), grid)
    tool = SymmetricDiffeomorphicRegistration(CCMetric(3), level_iters=[30, 30, 12])
    warp = tool.optimize(
        static,
        np.asanyarray(moved.dataobj),
        static_grid2world=grid.affine,
        moving_grid2world=grid.affine,
    )
    fields = (np.asarray(warp.get_forward_field()), np.asarray(warp.get_backward_field()))
    return Transform(affine, Warp(grid, *fields)), {}


TOOLS = {
    "ours": ours,
    "ours, affine": lambda case, model: ours(case, model, nonlinear=False),
    "ours, lesion not named": lambda case, model: ours(case, model, lesion=False),
    "niimath": niimath_alone,
    "dipy": dipy_alone,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--model", default="truth", help="truth, or weights by name or file")
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--cases", type=int, default=len(CASES), help="the first so many")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rows.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    torch.set_num_threads(1)
    atlas = load_atlas("aal")
    for case_of in CASES[: options.cases]:
        known = {
            row["tool"]
            for row in rows
            if row["case"] == list(case_of) and (row["model"] == options.model)
        }
        missing = [tool for tool in options.tools if tool not in known]
        if not missing:
            continue
        case = Case(*case_of)
        model = Truth(case) if options.model == "truth" else opened(options.model)
        for tool in missing:
            if tool == "ours, lesion not named" and not case.lesion.any():
                continue
            begin = cpu_seconds()
            transform, numbers = TOOLS[tool](case, model)
            row = {"tool": tool, "model": options.model, "case": list(case_of)}
            row |= {"cpu_s": round(cpu_seconds() - begin, 1)} | case.errors(transform)
            row |= case.loads(transform, atlas)
            row |= {"peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)}
            rows.append(row | {"quality": numbers})
            temporary = path.with_suffix(".writing")
            temporary.write_text(json.dumps(rows, indent=1))
            os.replace(temporary, path)
            print({k: v for k, v in row.items() if k != "quality"}, flush=True)
    summary(rows, options.model)


def summary(rows, model):
    """Means by tool."""
    print(f"simulated heads, model: {model}")
    for tool in TOOLS:
        own = [row for row in rows if row["tool"] == tool and row["model"] == model]
        if not own:
            continue
        parts = []
        for name in ("brain", "lesion", "rim", "load_error", "cpu_s"):
            values = [row[name] for row in own if row.get(name) is not None]
            parts += [f"{name} {np.mean(values):.2f}" if values else f"{name} -"]
        print(f"{tool}: {', '.join(parts)} ({len(own)} heads)")


def opened(name):
    from imaging.registration.registering import opened_model

    return opened_model(name)


def cpu_seconds():
    """Of this process and of those it waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _signals(sequence, seed):
    """What a simulated scan shows of every tissue, the brightest 1."""
    protocol = Protocol(sample_protocol(SEQUENCES[sequence], seed=seed))
    lesion = LESION_STATISTICS["cavity" if sequence == "t1w" else "acute"]
    maps = ("pd", "r1", "r2s", "mt", "r2")
    values = [
        [getattr(TISSUE_STATISTICS.get(tissue, lesion), name)[0] for name in maps]
        for tissue in TISSUES
    ]
    values = torch.tensor(values, dtype=torch.float32).T.reshape(5, -1, 1, 1)
    image = simulate(QuantitativeMaps.unchecked(**dict(zip(maps, values))), protocol)
    image = image.numpy().ravel()
    if sequence == "mp2rage":
        image = image + 0.5
    image[0] = 0
    return (image / np.abs(image).max()).astype(np.float32)


def _smooth(shape, width_mm, sd, rng, parts=3, coarse=4):
    """Smooth random fields on voxels of 1 mm, shape (parts, *shape)."""
    small = tuple(n // coarse + 2 for n in shape)
    fields = []
    for _ in range(parts):
        one = ndimage.gaussian_filter(rng.standard_normal(small), width_mm / 2.355 / coarse)
        one = ndimage.zoom((one / one.std() * sd).astype(np.float32), coarse, order=1)
        fields.append(one[tuple(slice(0, n) for n in shape)])
    return np.stack(fields)


def _thick(image, grid, slices_mm):
    """Axial slices as thick as wanted."""
    if not slices_mm:
        return nib.Nifti1Image(image.astype(np.float32), grid)
    n = image.shape[2] // slices_mm
    cut = image[:, :, : n * slices_mm].reshape(*image.shape[:2], n, slices_mm).mean(axis=3)
    affine = grid @ np.diag([1, 1, slices_mm, 1.0])
    affine[:3, 3] += grid[:3, 2] * (slices_mm - 1) / 2
    return nib.Nifti1Image(cut.astype(np.float32), affine)


if __name__ == "__main__":
    main()
