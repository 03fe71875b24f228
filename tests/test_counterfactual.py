"""Counterfactual explanations on a small cohort whose outcome is a bright spot in one region."""

import importlib
import itertools

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from imaging.atlases import Atlas
from prognosis import (
    CohortError,
    FusionClassifier,
    RoiSymbolClassifier,
    RoiSymbolRegressor,
    StitchedSliceClassifier,
    VolumeClassifier,
    Volumes,
    counterfactuals,
)
from prognosis.explanation.counterfactuals.answers import answers
from prognosis.explanation.counterfactuals.region_masks import region_masks
from prognosis.explanation.counterfactuals.swaps import (
    LocalRegression,
    all_swaps,
    minimal,
    swapped_images,
)

AFFINE = np.diag([8.0, 8.0, 8.0, 1])
SHAPE = (14, 14, 12)
LABELS = np.zeros(SHAPE, np.int16)
LABELS[1:7, 4:10, 2:10] = 1
LABELS[8:13, 3:9, 3:9] = 2
LABELS[8:13, 9:13, 3:9] = 3
REGIONS = {1: "here", 2: "elsewhere", 3: "nowhere"}
ATLAS = Atlas(nib.Nifti1Image(LABELS, AFFINE), REGIONS, "blocks")

COMMON = {"epochs": 10, "learning_rate": 3e-3, "dropout": 0.2, "random_state": 0}
ROI = {"atlas": ATLAS, "regions": list(REGIONS.values()), "mosaic_size": 32, "symbol_size": 16}
ESTIMATORS = {
    "regions with symbols": RoiSymbolClassifier("t1w", symbols=["age", "sex"], **ROI, **COMMON),
    "regions, tabular, two networks": RoiSymbolClassifier(
        "t1w", tabular=["age"], n_seeds=2, **ROI, **COMMON
    ),
    "stitched": StitchedSliceClassifier("t1w", mosaic_size=48, **COMMON),
    "volume": VolumeClassifier("t1w", spacing_mm=8, **COMMON),
    "DAFT, volume": FusionClassifier(
        "t1w", tabular=["age", "sex"], view=Volumes(spacing_mm=8), fusion="daft", **COMMON
    ),
}


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    y = pd.Series(rng.permutation(["good", "poor"] * 20), [f"sub-{n:02}" for n in range(40)])
    images = []
    for label in y:
        data = rng.uniform(0.3, 0.5, SHAPE).astype(np.float32)
        if label == "poor":
            data[2:6, 5:9, 3:9] += 0.6
        data[LABELS == 3] = 1.1  # as bright in everybody, so that images are scaled alike
        images.append(nib.Nifti1Image(data, AFFINE))
    X = pd.DataFrame({"t1w": images, "age": rng.uniform(40, 80, 40)}, index=y.index)
    X["sex"] = rng.choice(["F", "M"], 40)
    return X, y


@pytest.fixture(scope="module")
def fitted(cohort):
    return {name: clone(one).fit(*cohort) for name, one in ESTIMATORS.items()}


def explain(model, cohort, **changes):
    X, y = cohort
    given = {"X_reference": X, "y_reference": y, "atlas": None, **changes}
    if given["atlas"] is None and not hasattr(model, "regions"):
        given["atlas"] = ATLAS
    return counterfactuals(model, X, X.index[:8], **given)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "DAFT, volume"])
def test_the_planted_region_is_found(name, fitted, cohort):
    found = explain(fitted[name], cohort)
    assert found.importance.index[0] == "here"
    assert found.importance.loc["here", "in_counterfactuals"] == 1
    assert (found.swaps["n_regions"] == 1).mean() > 0.8
    assert found.importance["share"].sum() == pytest.approx(1)
    within = found.importance["low"].le(found.importance["importance"])
    assert (within & found.importance["importance"].le(found.importance["high"])).all()
    assert set(found.fidelity["predicted"]) == {"good", "poor"}
    assert (found.fidelity["predicted"] != found.fidelity["contrast_predicted"]).all()
    assert found.fidelity["answer"].between(0.5, 1).all()
    assert found.exhaustive and "fidelity error" in repr(found)


def test_daft_works_with_its_tabular_values(fitted, cohort):
    found = explain(fitted["DAFT, volume"], cohort, atlas=ATLAS, max_regions=2)
    assert found.coefficients.shape == (8, 3) and np.isfinite(found.coefficients).all(axis=None)
    assert found.importance.index[0] == "here"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_asked_of_unaltered_images_the_answer_is_the_prediction(name, fitted, cohort):
    model, (X, _) = fitted[name], cohort
    inputs = model.inputs(X)
    said = np.exp(answers(model, inputs["image"], inputs.get("tabular")))
    np.testing.assert_allclose(said, model.predict_proba(X), atol=1e-6)


def test_swaps_are_true_minimal_and_complete(fitted, cohort):
    """Every counterfactual, made by hand from two pictures, changes the prediction."""
    model, (X, _) = fitted["regions with symbols"], cohort
    found = explain(model, cohort, symbols=True, max_regions=2)
    masks = region_masks(model, symbols=True)
    assert list(masks) == [*REGIONS.values(), "age", "sex"]
    pictures = dict(zip(X.index, model.prepared_images(X)))
    for (patient, contrast), _ in found.fidelity.groupby(["patient", "contrast"]):
        own = int(model.predict_proba(X.loc[[patient]]).argmax())
        flips = set()
        for size in (1, 2):
            for regions in itertools.combinations(masks, size):
                changed = pictures[patient].copy()
                for region in regions:
                    inside = masks[region] > 0
                    changed[:, inside] = pictures[contrast][:, inside]
                said = np.exp(answers(model, changed[None])[0])
                if said.argmax() != own and not any(set(f) <= set(regions) for f in flips):
                    flips.add(regions)
        told = found.swaps[found.swaps["patient"] == patient]
        assert set(told["regions"]) == flips
        assert (told["answer"] < 0.5).all()
        np.testing.assert_allclose(
            told["fidelity_error"], (told["answer"] - told["regression"]).abs()
        )


def test_swapping_everything_is_the_contrast_and_nothing_the_patient():
    rng = np.random.default_rng(0)
    image, contrast = rng.random((2, 1, 4, 4), np.float32)
    masks = np.stack([np.tri(4, dtype=np.float32), 1 - np.tri(4, dtype=np.float32)])
    swaps = np.array([[False, False], [True, True], [True, False]])
    none, both, one = swapped_images(image, contrast, masks, swaps)
    np.testing.assert_array_equal(none, image)
    np.testing.assert_allclose(both, contrast, atol=1e-6)
    np.testing.assert_allclose(one[0], np.where(masks[0] > 0, contrast[0], image[0]), atol=1e-6)


def test_all_swaps_are_counted_and_candidates_limit_the_larger_ones():
    assert len(all_swaps(8, 3)) == 8 + 28 + 56
    limited = all_swaps(20, 3, candidates=[3, 5, 7])
    assert len(limited) == 20 + 3 + 1
    assert set(np.flatnonzero(limited[20:].any(axis=0))) == {3, 5, 7}


def test_minimal_agrees_with_the_definition():
    rng = np.random.default_rng(1)
    swaps = all_swaps(6, 3)
    for _ in range(20):
        flips = rng.random(len(swaps)) < 0.3
        sets = [frozenset(np.flatnonzero(row)) for row in swaps]
        flipping = [one for one, flip in zip(sets, flips) if flip]
        expected = [
            flip and not any(other < one for other in flipping) for one, flip in zip(sets, flips)
        ]
        np.testing.assert_array_equal(minimal(swaps, flips), expected)


def test_the_regression_finds_an_additive_network_and_says_when_it_is_none():
    swaps, weights = all_swaps(6, 3), np.array([3.0, -1, 0, 0.5, 2, 0])
    fit = LocalRegression.fit(swaps, 2 - swaps @ weights, 2.0)
    np.testing.assert_allclose(fit.coefficients, weights, atol=0.02)
    assert fit.r2 > 0.999
    together = 2 - 4.0 * (swaps[:, 0] & swaps[:, 1])
    assert LocalRegression.fit(swaps, together, 2.0).r2 < 0.7


def test_contrasts_are_right_confident_near_and_someone_else(fitted, cohort):
    model, (X, y) = fitted["regions, tabular, two networks"], cohort
    wrong = y.copy()
    wrong.iloc[:10] = np.where(y.iloc[:10] == "good", "poor", "good")
    table = explain(model, (X, wrong), n_contrasts=3).fidelity
    assert (table.groupby("patient").size() == 3).all()
    assert not set(table["contrast"]) & set(X.index[:10])
    sure = pd.Series(model.predict_proba(X).max(axis=1), X.index)
    assert sure[table["contrast"]].min() >= sure.median() - 0.2
    nearest = explain(model, cohort).fidelity
    ages = X["age"]
    gaps = (ages[nearest["patient"]].to_numpy() - ages[nearest["contrast"]].to_numpy()).round(3)
    assert np.median(np.abs(gaps)) < 6  # of a range of 40 years


def test_nobody_is_contrasted_with_another_scan_of_the_same_person(cohort):
    X, y = cohort
    pairs = X.assign(person=np.argsort(np.argsort(y.to_numpy(), kind="stable")) % 20)
    assert (y.groupby(pairs["person"].to_numpy()).nunique() == 2).all()  # one good, one poor scan
    model = clone(ESTIMATORS["stitched"]).set_params(patient="person").fit(pairs, y)
    table = explain(model, (pairs, y)).fidelity
    people = pairs["person"]
    assert (people[table["patient"]].to_numpy() != people[table["contrast"]].to_numpy()).all()


def test_memory_does_not_change_the_answer(monkeypatch, fitted, cohort):
    whole = explain(fitted["volume"], cohort)
    module = importlib.import_module("prognosis.explanation.counterfactuals.counterfactual")
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 1)
    one_by_one = explain(fitted["volume"], cohort)
    pd.testing.assert_frame_equal(one_by_one.coefficients, whole.coefficients, rtol=1e-3, atol=1e-3)


def test_with_many_regions_larger_swaps_are_made_of_the_strongest(fitted, cohort):
    found = explain(fitted["stitched"], cohort, n_candidates=2)
    assert not found.exhaustive
    single = found.swaps[found.swaps["n_regions"] > 1]
    assert (single["regions"].explode() != "nowhere").all()


def test_pictures_need_masks(tmp_path):
    rng = np.random.default_rng(0)
    y = pd.Series([0, 1] * 10, [f"sub-{n}" for n in range(20)])
    paths = []
    for row, label in y.items():
        pixels = rng.integers(0, 100, (32, 32), np.uint8)
        pixels[4:14, 4:14] += np.uint8(150 * label)
        pixels[-6:] = 250
        paths.append(str(tmp_path / f"{row}.png"))
        Image.fromarray(pixels).save(paths[-1])
    X = pd.DataFrame({"t1w": paths}, y.index)
    model = StitchedSliceClassifier("t1w", mosaic_size=32, **COMMON).fit(X, y)
    with pytest.raises(ValueError, match="2-D pictures lie in no space"):
        counterfactuals(model, X)
    halves = {"top": np.zeros((32, 32)), "bottom": np.zeros((32, 32))}
    halves["top"][:16], halves["bottom"][16:] = 1, 1
    found = counterfactuals(model, X, y_reference=y, regions=halves)
    assert found.importance.index[0] == "top"


def test_no_counterfactual_is_an_answer_too(fitted, cohort):
    found = explain(fitted["regions with symbols"], cohort, regions=["nowhere"])
    assert found.swaps.empty and found.fidelity["fidelity_error"].isna().all()
    assert found.importance.loc["nowhere", "in_counterfactuals"] == 0
    assert "prediction changed in 0" in repr(found) and "no counterfactual" in repr(found)


def test_given_contrasts_are_used_or_refused(fitted, cohort):
    model, (X, y) = fitted["stitched"], cohort
    poor, good = y.index[y == "poor"], y.index[y == "good"]
    patient = poor[0]
    given = {"contrasts": {patient: [good[0], good[1]]}, "atlas": ATLAS}
    table = counterfactuals(model, X, [patient], **given).fidelity
    assert table["contrast"].tolist() == [good[0], good[1]]
    with pytest.raises(CohortError, match=f"{patient}.*predicted poor as well"):
        counterfactuals(model, X, [patient], contrasts={patient: poor[1]}, atlas=ATLAS)
    with pytest.raises(CohortError, match="not among the reference"):
        counterfactuals(model, X, [patient], contrasts={patient: "sub-99"}, atlas=ATLAS)
    with pytest.raises(CohortError, match="has no contrast"):
        counterfactuals(model, X, [patient], contrasts={}, atlas=ATLAS)


def test_a_regressor_is_explained_across_a_threshold(cohort):
    X, y = cohort
    outcome = 100 + 20.0 * (y == "poor")
    model = RoiSymbolRegressor("t1w", **ROI, **COMMON).fit(X, outcome)
    found = counterfactuals(model, X, X.index[:8], y_reference=outcome, threshold=110)
    assert found.importance.index[0] == "here" and found.unit == "units of the outcome"
    assert 5 < found.importance.loc["here", "importance"] < 40
    crossed = found.swaps.merge(found.fidelity, on="patient", suffixes=("", "_before"))
    assert ((crossed["answer"] >= 110) != (crossed["answer_before"] >= 110)).all()


class Renamed(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X.rename(columns={"scan": "t1w"})


def test_a_pipeline_is_explained_as_its_last_step(fitted, cohort):
    X, y = cohort
    plain = fitted["regions with symbols"]
    pipeline = make_pipeline(Renamed(), clone(plain)).fit(X.rename(columns={"t1w": "scan"}), y)
    direct = explain(plain, cohort)
    piped = explain(pipeline, (X.rename(columns={"t1w": "scan"}), y), atlas=ATLAS)
    piped_cells = counterfactuals(
        pipeline, X.rename(columns={"t1w": "scan"}), X.index[:8], y_reference=y
    )
    pd.testing.assert_frame_equal(piped_cells.importance, direct.importance)
    assert piped.importance.index[0] == "here"  # labels packed into the canvas, not its cells


def test_atlas_masks_lie_where_the_labels_do(fitted):
    masks = region_masks(fitted["volume"], atlas=ATLAS)
    np.testing.assert_array_equal(masks["here"], LABELS == 1)
    stitched = region_masks(fitted["stitched"], atlas=ATLAS)
    total = np.sum(list(stitched.values()), axis=0)
    assert total.min() >= 0 and total.max() <= 1 + 1e-6
    assert stitched["here"].sum() > stitched["nowhere"].sum() > 1


def test_own_masks_and_wrong_ones(fitted, cohort):
    model = fitted["stitched"]
    half = np.zeros((48, 48))
    half[:, :24] = 1
    found = explain(model, cohort, regions={"left": half, "right": 1 - half})
    assert set(found.importance.index) == {"left", "right"}
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        explain(model, cohort, regions={"left": np.zeros((3, 3))})
    with pytest.raises(ValueError, match="outside 0 to 1"):
        explain(model, cohort, regions={"left": half * 2})
    with pytest.raises(ValueError, match="no cell"):
        explain(fitted["regions with symbols"], cohort, regions=["here", "Atlantis"])


def test_wrong_inputs_are_refused(fitted, cohort):
    X, y = cohort
    model = fitted["regions with symbols"]
    with pytest.raises(CohortError, match="'sub-99' is not in X"):
        counterfactuals(model, X, ["sub-99"])
    with pytest.raises(CohortError, match="patients is empty"):
        counterfactuals(model, X, [])
    with pytest.raises(ValueError, match="max_regions"):
        counterfactuals(model, X, max_regions=0)
    with pytest.raises(CohortError, match="y_reference has 3 rows"):
        counterfactuals(model, X, y_reference=y[:3])
    same = X[(model.predict(X) == "good")]
    with pytest.raises(CohortError, match="anything but good"):
        counterfactuals(model, same)
    with pytest.raises(TypeError, match="found LogisticRegression where an image"):
        counterfactuals(LogisticRegression().fit([[0], [1]], [0, 1]), X)
    with pytest.raises(TypeError, match="one fitted estimator"):
        counterfactuals({"estimator": [model]}, X)
    with pytest.raises(NotFittedError):
        counterfactuals(clone(model), X)
    table_only = StitchedSliceClassifier(tabular=["age"], epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="sees no image"):
        counterfactuals(table_only, X)


def test_the_plot_shows_every_region(fitted, cohort):
    figure = explain(fitted["regions with symbols"], cohort).plot()
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert set(labels) == set(REGIONS.values())
