"""Features stand before any learner and inside ColumnTransformer; stacks can be explained."""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from imaging.atlases import Atlas
from prognosis import (
    CohortError,
    ImageEmbedding,
    LesionCount,
    LesionKernel,
    LesionSize,
    RegionLoad,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
    TabularEncoder,
    explain,
    linear_ladder,
    logistic_ladder,
)

AFFINE = np.diag([8.0, 8.0, 8.0, 1])
LABELS = np.zeros((16, 16, 10), np.int16)
LABELS[1:7, 1:15, 2:8], LABELS[9:15, 1:15, 2:8] = 1, 2
LABELS[7:9, 1:3, 2:4] = 3
ATLAS = Atlas(nib.Nifti1Image(LABELS, AFFINE), {1: "left", 2: "right", 3: "middle"}, "halves")
FEATURES = [
    LesionSize(output="added"),
    LesionCount(volume="ml", output="added"),
    LesionKernel(cube_mm=8, space="native", output="added"),
    RegionLoad(atlas=ATLAS, output="added"),
    RegionLoad(atlas=ATLAS, minimum_patients=3, root="square", output="added"),
]


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    index = [f"sub-{k:02}" for k in range(30)]
    y = pd.Series(rng.uniform(0.05, 0.6, 30), index)
    images = []
    for number, share in enumerate(y):
        data = np.zeros(LABELS.shape, np.uint8)
        left = np.flatnonzero(LABELS == 1)
        data.ravel()[rng.choice(left, int(share * len(left)), replace=False)] = 1
        if number < 2:
            data[LABELS == 3] = 1
        if number % 2:
            data[9:11, 5:8, 3:6] = 1
        images.append(nib.Nifti1Image(data, AFFINE))
    X = pd.DataFrame({"lesion": images, "age": rng.uniform(40, 80, 30)}, index)
    X.attrs["cohort"] = {"name": "halves"}
    return X, y


@pytest.mark.parametrize("feature", FEATURES, ids=str)
def test_added_columns_alone_are_those_of_the_table(feature, cohort):
    X, _ = cohort
    added = clone(feature).fit_transform(X)
    table = clone(feature).set_params(output="table").fit_transform(X)
    names = added.columns.tolist()
    assert table.columns.tolist() == ["lesion", "age", *names]
    pd.testing.assert_frame_equal(added, table[names])
    fitted = pickle.loads(pickle.dumps(clone(feature).fit(X)))
    assert fitted.get_feature_names_out().tolist() == names
    pd.testing.assert_frame_equal(fitted.transform(X), added, atol=1e-12)
    assert added.attrs == X.attrs and added.index.equals(X.index)


@pytest.mark.parametrize("feature", FEATURES, ids=str)
def test_features_stand_before_a_learner_and_in_a_column_transformer(feature, cohort):
    X, y = cohort
    assert make_pipeline(clone(feature), Ridge()).fit(X, y).predict(X).shape == (30,)
    parts = [("image", clone(feature), ["lesion"]), ("table", TabularEncoder(), ["age"])]
    both = ColumnTransformer(parts).fit(X)
    width = len(both.get_feature_names_out())
    assert both.get_feature_names_out()[-1] == "table__age"
    assert both.transform(X).shape == (30, width)
    frame = clone(both).set_output(transform="pandas").fit_transform(X)
    assert frame.columns.tolist() == both.get_feature_names_out().tolist()
    assert np.isfinite(make_pipeline(both, Ridge()).fit(X, y).predict(X)).all()


def test_a_planted_effect_is_found_by_loads_and_ridge(cohort):
    X, y = cohort
    model = make_pipeline(RegionLoad(atlas=ATLAS, output="added"), Ridge(alpha=0.01))
    assert cross_val_score(model, X, y, cv=5, scoring="r2").mean() > 0.95


def test_rare_regions_are_left_out_by_training_patients_alone(cohort):
    X, _ = cohort
    load = RegionLoad(atlas=ATLAS, minimum_patients=3, prefix="place_")
    assert load.fit_transform(X).columns.tolist() == ["lesion", "age", "place_left", "place_right"]
    assert load.patients_.to_dict() == {"left": 30, "right": 15, "middle": 2}
    all_three = ["place_left", "place_right", "place_middle"]
    assert clone(load).set_params(minimum_patients=2).fit(X).columns_ == all_three
    train = X.iloc[2:]  # nobody in training has the middle lesioned
    assert clone(load).set_params(minimum_patients=1).fit(train).columns_ == all_three[:2]
    assert clone(load).set_params(minimum_patients=0).fit(train).columns_ == all_three
    with pytest.raises(CohortError, match=r"lesioned in 31 of 30 .*at most in 30.*lower minimum"):
        clone(load).set_params(minimum_patients=31).fit(X)


@pytest.mark.parametrize(("root", "power"), [("square", 2), ("cube", 3)])
def test_roots_of_loads_have_an_inverse(cohort, root, power):
    X, _ = cohort
    plain = RegionLoad(atlas=ATLAS, output="added").fit_transform(X)
    rooted = RegionLoad(atlas=ATLAS, output="added", root=root).fit_transform(X)
    pd.testing.assert_frame_equal(rooted**power, plain)


def test_what_output_may_be():
    with pytest.raises(ValueError, match="'output' parameter of LesionSize must be"):
        LesionSize(output="new").fit(pd.DataFrame({"lesion": ["a.nii"]}))


# ------------------------------------------------------------------------- the embedding


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    return X, (X["a"] > 0).astype(int)


def embedding(**changes):
    network = StitchedSliceClassifier(
        tabular=list("abc"), epochs=5, learning_rate=1e-2, random_state=0
    )
    settings = {"cv": 2, "n_components": 2, "random_state": 0, **changes}
    return ImageEmbedding(network, **settings)


def test_the_embedding_alone(table):
    X, y = table
    added = embedding(output="added").fit(X, y)
    names = ["cnn_output", "cnn_1", "cnn_2"]
    assert added.get_feature_names_out().tolist() == names
    whole = embedding().fit(X, y).transform(X)
    pd.testing.assert_frame_equal(added.transform(X), whole[names])
    model = make_pipeline(embedding(output="added"), LogisticRegression()).fit(X, y)
    assert model.score(X, y) > 0.8
    array = embedding(output="added")
    array.estimator.set_params(tabular=None)
    assert array.fit_transform(X.to_numpy(), y).shape == (60, 3)


def test_weights_reach_the_networks_of_the_embedding(table):
    X, y = table
    rng = np.random.default_rng(1)
    wrong = y.copy()
    lied_about = rng.random(60) < 0.4
    wrong[lied_about] = 1 - wrong[lied_about]
    weights = np.where(lied_about, 0.0, 1.0)
    folds = [(np.arange(30), np.arange(30, 60)), (np.arange(30, 60), np.arange(30))]
    weighted = embedding(cv=folds).fit_transform(X, wrong, sample_weight=weights)
    kept = X.index[:30][~lied_about[:30]]
    network = clone(embedding().estimator).fit(X.loc[kept], wrong[kept])
    chances = network.predict_proba(X.iloc[30:])
    expected = np.log(chances[:, 1] / chances[:, 0])
    np.testing.assert_allclose(weighted["cnn_output"].iloc[30:], expected, atol=1e-6)
    even = embedding(cv=folds).fit_transform(X, y, sample_weight=np.ones(60))
    pd.testing.assert_frame_equal(even, embedding(cv=folds).fit_transform(X, y))
    pipeline = make_pipeline(embedding(cv=folds), TabularEncoder(["cnn_output"]), Ridge())
    pipeline.fit(X, wrong, imageembedding__sample_weight=weights)
    with pytest.raises(ValueError, match="sample_weight"):
        embedding().fit(X, y, sample_weight=np.ones(3))


# ------------------------------------------------------------------------------- stacks

TINY = {"mosaic_size": 24, "epochs": 1, "allow_empty": True, "augment": False, "random_state": 0}
SLICES = {"rows": 2, "columns": 2, **TINY}


@pytest.fixture(scope="module")
def stack(cohort):
    X, y = cohort
    outcome = (y > y.median()).map({True: "poor", False: "good"})
    members = [
        ("table", logistic_ladder([["age"]])["age"]),
        ("cnn", StitchedSliceClassifier("lesion", **SLICES)),
    ]
    return StackingClassifier(members, cv=2).fit(X, outcome)


def test_a_stack_is_explained_by_its_network(stack, cohort):
    X, _ = cohort
    found = explain(stack, X, target="poor")
    assert found.metadata["member"] == "cnn"
    assert "log odds of 'poor' as member 'cnn' of the ensemble says it" in repr(found)
    alone = explain(stack.named_estimators_["cnn"], X, target=1)
    np.testing.assert_array_equal(found.pictures, alone.pictures)
    assert alone.metadata["member"] is None
    assert stack.named_estimators_["cnn"].classes_.tolist() == [0, 1]  # as scikit-learn left it
    with pytest.raises(ValueError, match="the classes are \\['good', 'poor'\\]"):
        explain(stack, X, target="dead")


def test_stacks_of_which_it_is_not_clear_what_is_explained(cohort):
    X, y = cohort
    member = StitchedSliceRegressor("lesion", **SLICES)
    two = StackingRegressor([("a", member), ("b", clone(member))], cv=2).fit(X, y)
    with pytest.raises(TypeError, match="StackingRegressor holds 'a', 'b' where one image est"):
        explain(two, X)
    none = StackingRegressor([("a", linear_ladder([["age"]])["age"])], cv=2).fit(X, y)
    with pytest.raises(TypeError, match="StackingRegressor holds none where one image estimator"):
        explain(none, X)
