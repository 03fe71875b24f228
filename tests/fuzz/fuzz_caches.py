"""The door of what the package keeps on disk: caches, records of simulated patients, checkpoints.

Whatever happens to a file, the next result equals the first one, or it is refused in a sentence;
and what somebody else put there is never unpickled.
"""

import os
import pickle
import shutil
import warnings

import numpy as np
from fuzz_verdicts import Outside, damaged, damages, must

KINDS = ("values", "images", "cohort", "checkpoint", "limit")
_HOME = {}


def cases():
    """Strategy of the door "cache"."""
    from hypothesis import strategies as st

    return st.fixed_dictionaries(
        {
            "kind": st.sampled_from([*KINDS[:3], *KINDS[:3], *KINDS]),
            "file": st.floats(0, 1),
            "instead": st.sampled_from(
                [None] * 4
                + [b"", b"{}", b"[]", b"null", b"[" * 100_000, b'{"checksum": 1}', b"\x80\x04N.",
                   "pickle", "folder", "other", bytes(5_000_000)]
            ),
            "damage": damages(3),
        }
    )  # fmt: skip


class Sprung:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def prepare(home):
    import joblib
    import nibabel as nib
    import pandas as pd

    from imaging import LesionSegmenter
    from imaging.synthesis import LabelMapSource
    from prognosis import make_stroke_cohort

    X, _ = make_stroke_cohort(3, spacing_mm=8, random_state=0)
    scans = home / "scans"
    scans.mkdir()
    rows = []
    for patient in X.index:
        row = {}
        for name in ("t1w", "lesion"):
            row[name] = str(scans / f"{patient}_{name}.nii.gz")
            nib.save(X.loc[patient, name], row[name])
        rows.append(row)
    _HOME["X"] = pd.DataFrame(rows, X.index)
    _HOME["segmenter"] = LesionSegmenter(
        channels=(4, 8, 8),
        source=LabelMapSource(spacing_mm=8),
        spacing_mm=8,
        patch_size=16,
        epochs=2,
        steps_per_epoch=1,
        validation_samples=0,
        random_state=0,
    )
    for kind in KINDS:
        folder = home / kind
        folder.mkdir()
        _HOME[f"{kind} says"] = result(kind, folder)
        _HOME[kind] = folder
    joblib.hash  # noqa: B018


def result(kind, folder):
    """What is computed with a folder of this kind."""
    from prognosis import CohortError, LesionSize, make_stroke_cohort  # noqa: F401
    from prognosis.views.protocol import Reading
    from prognosis.views.stitched import StitchedSlices

    X = _HOME["X"]
    if kind == "values":
        return LesionSize(memory=folder).fit_transform(X)["lesion_ml"].to_numpy()
    if kind == "images":
        view = StitchedSlices(mosaic_size=32)
        rows = view.fit_prepare(X, ["t1w"], Reading(memory=folder))
        return np.asarray(rows[np.arange(len(X))] if hasattr(rows, "__getitem__") else rows)
    if kind == "cohort":
        found, y = make_stroke_cohort(3, spacing_mm=8, folder=folder, random_state=0)
        read = [os.path.getsize(path) for path in found["lesion"]]
        import imaging

        voxels = [imaging.read_volume(path).get_fdata() for path in found["t1w"]]
        return np.concatenate(
            [np.ravel(voxels), y.to_numpy(), found["age"].to_numpy(), [len(read)]]
        )
    if kind == "checkpoint":
        import copy

        segmenter = copy.deepcopy(_HOME["segmenter"]).set_params(checkpoint=folder).fit()
        weights = segmenter.network_.state_dict().values()
        return np.concatenate([tensor.numpy().ravel() for tensor in weights])
    from imaging.storage.upkeep.cache_folder import CacheFolder

    (folder / ".cache-limit").exists() or CacheFolder(folder).set_limit("20GB")
    limit = CacheFolder(folder).limit
    return np.array([0.0 if limit is None else 1.0])


def door(folder, case):
    kind = case["kind"]
    kept = folder / "kept"
    shutil.copytree(_HOME[kind], kept, symlinks=True)
    files = sorted(path for path in kept.rglob("*") if path.is_file())
    if not files:
        return
    path = files[int(case["file"] * (len(files) - 1))]
    trap = str(folder / "sprung")
    instead = case["instead"]
    if instead == "folder":
        path.unlink()
        path.mkdir()
    elif instead == "other":
        path.write_bytes(files[0].read_bytes() + files[-1].read_bytes())
    elif instead == "pickle":
        path.write_bytes(pickle.dumps(Sprung(trap)))
    else:
        content = path.read_bytes() if instead is None else instead
        path.write_bytes(damaged(content, case["damage"]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = result(kind, kept)
    finally:
        if os.path.exists(trap):
            raise Outside("somebody's code was run")
    if kind == "limit":
        return
    expected = _HOME[f"{kind} says"]
    equal = found.shape == expected.shape and np.array_equal(found, expected)
    must(equal, f"another result after {path.relative_to(kept)} was damaged")


DOORS = {"cache": door}
