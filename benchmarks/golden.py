"""Results that a change promises to leave as they are: freeze them before it, compare them after.

    python benchmarks/golden.py before.npz            (on the code before the change)
    python benchmarks/golden.py after.npz before.npz  (after it, on the same machine)

Trains one small estimator of each kind, segmenters, a comparison and explanations on SIMULATED
heads, and keeps what they predict, bit for bit. Numbers differ among processors, so both files have
to come from one machine. Ends with 1 where anything differs; 5 minutes.
"""

import argparse
import hashlib
import sys
import warnings

import nibabel as nib
import numpy as np

import prognosis as pg
from imaging.segmentation import LesionSegmenter, TissueSegmenter
from imaging.synthesis import LabelMapSource, SyntheticScans, synthetic_chain

QUICK = {"random_state": 0, "device": "cpu"}
STITCHED = {"image": "t1w", "mosaic_size": 62, **QUICK}
ROI = {"image": "t1w", "regions": 3, **QUICK}
VOLUME = {"spacing_mm": 8, "architecture": "resnet10", "epochs": 2, **QUICK}
FUSED = {
    "image": "t1w",
    "tabular": ["age"],
    "view": pg.Volumes(spacing_mm=8),
    "architecture": "resnet10",
    "epochs": 2,
    **QUICK,
}
TINY = {
    "channels": (4, 8, 8),
    "spacing_mm": 8,
    "patch_size": 16,
    "epochs": 2,
    "steps_per_epoch": 3,
    "validation_samples": 2,
    **QUICK,
}


def estimators(X, y):
    """Predictions of one image estimator of each kind."""
    stitched, roi = pg.StitchedSliceClassifier, pg.RoiSymbolRegressor
    yield "stitched", stitched(**STITCHED, tabular=["severity"], epochs=3), y
    yield (
        "stitched, validation",
        stitched(**STITCHED, epochs=4, validation_fraction=0.3, patience=2, n_seeds=2),
        y,
    )
    yield "stitched, regression", pg.StitchedSliceRegressor(**STITCHED, epochs=2), X["age"]
    yield (
        "regions and symbols",
        roi(**ROI, symbols={"severity": "grey"}, mosaic_size=(38, 62), epochs=3),
        X["age"],
    )
    yield "volume", pg.VolumeClassifier(image=["t1w", "lesion"], allow_empty=True, **VOLUME), y
    yield (
        "volume, regression",
        pg.VolumeRegressor(image="t1w", tabular=["severity"], **VOLUME),
        X["age"],
    )
    yield (
        "fusion, DAFT",
        pg.FusionClassifier(
            image="t1w",
            tabular=["severity"],
            view=pg.StitchedSlices(mosaic_size=62),
            fusion="daft",
            epochs=2,
            **QUICK,
        ),
        y,
    )
    yield (
        "fusion of regions",
        pg.FusionRegressor(
            image="t1w",
            tabular=["age"],
            view=pg.RoiSymbols(regions=3, symbols=["severity"], mosaic_size=62),
            epochs=2,
            **QUICK,
        ),
        X["severity"],
    )
    yield (
        "fusion of volumes",
        pg.FusionClassifier(**FUSED),
        y,
    )
    yield "table", stitched(tabular=["severity", "lesion_ml"], epochs=5, **QUICK), y


def around(X, y):
    """What is built around estimators: explanation, embedding, selection, comparison."""
    cnn = pg.StitchedSliceClassifier(**STITCHED, epochs=2)
    columns = pg.ImageEmbedding(cnn, cv=2, n_components=2, random_state=0).fit_transform(X, y)
    yield "embedding", columns.filter(like="cnn").to_numpy(float)
    roi = pg.RoiSymbolClassifier(
        **ROI, symbols=["severity"], mosaic_size=30, epochs=3, learning_rate=3e-3
    )
    for by in ("counterfactual", "saliency"):
        found = pg.RegionSelector(roi, k=1, by=by, n_patients=6, random_state=0).fit(X, y)
        yield f"selection by {by}", found.ranking_["importance"].to_numpy()
    roi.fit(X, y)
    cnn.set_params(tabular=["severity"]).fit(X, y)
    volume = pg.VolumeRegressor(image="t1w", **VOLUME).fit(X, X["age"])
    fused = pg.FusionClassifier(**FUSED).fit(X, y)
    models = {"stitched": cnn, "regions": roi, "volume": volume, "fusion": fused}
    for name, model in models.items():
        for method in ("integrated_gradients", "smoothgrad", "gradcam", "occlusion"):
            found = pg.explain(model, X[:5], method, n_samples=3)
            yield (
                f"{method} of {name}",
                np.r_[found.pictures.ravel(), found.tabular.to_numpy().ravel()],
            )
            if method == "integrated_gradients":
                yield f"regions of {name}", found.by_region("aal")["attribution"].to_numpy()
                yield f"map of {name}", np.asanyarray(found.to_nifti().dataobj).ravel()
    other = pg.counterfactuals(roi, X[:6], X_reference=X, y_reference=y)
    yield "counterfactuals", other.coefficients.to_numpy()
    models = pg.logistic_ladder([["lesion_ml"], ["lesion_ml", "severity"]])
    models["cnn"] = pg.StitchedSliceClassifier(**STITCHED, tabular=["severity"], epochs=2)
    result = pg.compare(models, X, y, cv="3x2", random_state=0)
    yield "comparison", result.predictions["probability"].to_numpy()
    yield "comparison, table", result.table.to_numpy(float)


def segmenters():
    """Probabilities of small segmenters of each kind, and of the one that comes along."""
    rng = np.random.default_rng(0)

    def image(*shape, edge=8.0):
        return nib.Nifti1Image(rng.random(shape).astype(np.float32), np.diag([edge, 8, 8, 1]))

    scan = image(20, 24, 18, edge=-8.0)
    scans = [image(18, 20, 16) for _ in range(4)]
    masks = [nib.Nifti1Image((s.get_fdata() > 0.9).astype(np.uint8), s.affine) for s in scans]
    labels = [nib.Nifti1Image((s.get_fdata() * 5.99).astype(np.uint8), s.affine) for s in scans]
    ct = [nib.Nifti1Image(s.get_fdata() * 200 - 60, s.affine) for s in scans]
    flat = [np.asanyarray(s.dataobj)[:, :, 8] for s in scans]
    flat_masks = [(picture > 0.9).astype(np.uint8) for picture in flat]
    heads = {
        "source": LabelMapSource(spacing_mm=8),
        "validation_source": LabelMapSource(spacing_mm=8, lesion_probability=1.0),
    }
    extras = {"dropout": 0.2, "deep_supervision": True, "tversky": 0.5, "warm_start_steps": 2}
    apart = {"validation_fraction": 0.25}
    several = [[scans[0], scans[1]], scans[2], scans[3]]
    cases = {
        "synthetic": (LesionSegmenter(**TINY, **heads), ()),
        "synthetic, extras": (LesionSegmenter(**TINY, **heads, **extras), ()),
        "synthetic, lesion only": (
            LesionSegmenter(**TINY, **heads, learn_tissues=False, contrast="physics"),
            (),
        ),
        "real": (LesionSegmenter(**TINY, **apart), (scans, masks)),
        "real, sequences": (LesionSegmenter(**TINY, patches=2), (several, masks[:3])),
        "mixed": (LesionSegmenter(**TINY, **heads), (scans, masks)),
        "computed tomography": (LesionSegmenter(**TINY, ct=True), (ct, masks)),
        "pictures": (
            LesionSegmenter(**{**TINY, "spatial_dims": 2}, augment=False),
            (flat, flat_masks),
        ),
        "synthetic pictures": (LesionSegmenter(**{**TINY, "spatial_dims": 2}, **heads), ()),
        "tissues": (TissueSegmenter(**TINY, **heads), ()),
        "real tissues": (TissueSegmenter(**TINY), (scans, labels)),
        "shipped": (LesionSegmenter.from_pretrained("synthetic-small", device="cpu"), None),
    }
    for name, (model, data) in cases.items():
        if data is not None:
            model.fit(*data)
            yield f"segmenter, {name}: history", [list(row.values()) for row in model.history_]
        given = [flat[0]] if model.spatial_dims == 2 else [scan]
        for flips in (False, True):
            model.test_time_mirroring = flips
            (found,) = model.predict_proba(given)
            found = np.asanyarray(getattr(found, "dataobj", found))
            yield f"segmenter, {name}{', flips' * flips}", found.ravel()
        model.test_time_mirroring = False
        (mask,) = model.predict(given)
        yield f"segmenter, {name}: mask", np.asanyarray(getattr(mask, "dataobj", mask)).ravel()
        if name == "synthetic, extras":
            (spread,) = model.predict_uncertainty([scan], n_draws=3)
            yield "segmenter, uncertainty", np.asanyarray(spread.dataobj).ravel()
        if name == "real":
            yield "segmenter, score", [model.score(scans, masks)]
            yield (
                "segmenter, several sequences",
                np.asanyarray(model.predict_proba([scans[:2]])[0].dataobj).ravel(),
            )


def samples():
    """Synthetic scans."""
    for contrast in ("mixture", "physics"):
        chain = synthetic_chain(LabelMapSource(spacing_mm=4), contrast=contrast, patch_size=32)
        scans = SyntheticScans(chain, length=3, random_state=1)
        yield f"samples, {contrast}", np.stack([scans[n]["image"].numpy() for n in range(3)])


def everything():
    X, y = pg.make_stroke_cohort(24, spacing_mm=8, random_state=0)
    X = pg.LesionSize().fit_transform(X)
    for name, values in (*samples(), *segmenters()):
        yield name, values
    for name, model, outcome in estimators(X, y):
        model.fit(X, outcome)
        proba = getattr(model, "predict_proba", None)
        yield name, model.predict(X) if proba is None else proba(X)[:, 1]
    yield from around(X, y)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", help="file to write, .npz")
    parser.add_argument("before", nargs="?", help="file to compare with")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = {}
    for name, values in everything():
        found[name] = np.asarray(values, dtype=float)
        digest = hashlib.sha256(np.ascontiguousarray(found[name])).hexdigest()[:12]
        print(f"{name:40} {found[name].shape!s:14} {digest}", flush=True)
    np.savez_compressed(options.out, **found)
    if options.before is None:
        return 0
    before = np.load(options.before)
    changed = [
        name
        for name in sorted({*found, *before.files})
        if name not in found
        or name not in before.files
        or not np.array_equal(found[name], before[name], equal_nan=True)
    ]
    print(f"{len(found) - len(changed)} of {len(before.files)} results are the same bit for bit")
    for name in changed:
        print(f"changed: {name}")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
