"""What goes wrong at the doors: each mistake gets a sentence that says where, what, the way out.

A row of `MISTAKES` is a mistake, and words that its message must have: the row or the column, what
was found, and the remedy.
"""

import re
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from imaging.errors import ImagingError
from imaging.volumes import to_spacing
from prognosis import (
    BrainAgeGap,
    LesionSize,
    RegionLoad,
    RoiSymbolClassifier,
    StitchedSliceClassifier,
    StitchedSliceRegressor,
    check_images,
    compare,
    counterfactuals,
    explain,
    linear_ladder,
    load_cohort,
    load_soop,
    logistic_ladder,
    make_stroke_cohort,
    place_model,
    region_model,
)
from prognosis.errors import PrognosisError

N = 24


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """Everything that a mistake needs: a cohort, a fitted network, files."""
    X, y = make_stroke_cohort(N, spacing_mm=8, random_state=0)
    folder = tmp_path_factory.mktemp("study")
    (folder / "notes.txt").write_text("no scan")
    nib.save(X["t1w"].iloc[0], folder / "cut.nii.gz")
    whole = (folder / "cut.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    people = pd.DataFrame(
        {"participant_id": [f"sub-{k:02}" for k in range(N)], "age": 60, "mrs": [0, 4] * (N // 2)}
    )
    people.to_csv(folder / "participants.tsv", sep="\t", index=False)
    people.to_csv(folder / "participants.csv", index=False)
    pd.concat([people, people[:1]]).to_csv(folder / "twice.tsv", sep="\t", index=False)
    rungs = [["age"], ["age", "severity"]]
    d = SimpleNamespace(X=X, y=y, folder=folder, rungs=rungs, scan=X["t1w"].iloc[4])
    d.table = X[["age", "severity"]]
    d.ladder = logistic_ladder(rungs)
    d.age = d.ladder["age"]
    d.fitted = cnn(tabular=["age"]).fit(X, y)
    return d


def cnn(image="t1w", **changes):
    return StitchedSliceClassifier(
        image, **{"mosaic_size": 32, "epochs": 1, "random_state": 0, **changes}
    )


def put(X, column, value):
    """The table with another value in the fifth row, sub-0005."""
    cells = X[column].astype(object).copy()
    cells.iloc[4] = value
    return X.assign(**{column: cells})


def like(image, data):
    return nib.Nifti1Image(np.asarray(data, np.float32), image.affine)


def moved(image):
    affine = image.affine.copy()
    affine[0, 3] += 200
    return nib.Nifti1Image(np.asanyarray(image.dataobj), affine)


def voxels(image):
    return image.get_fdata(dtype=np.float32)


ROW = "row 'sub-0005', column 't1w'"
MISTAKES = {
    # ---- columns
    "image column misspelt": (
        lambda d: cnn("T1w").fit(d.X, d.y),
        ["column 'T1w' not found", "did you mean 't1w'?", "Rename"],
    ),
    "tabular column misspelt": (
        lambda d: cnn(tabular=["Age"]).fit(d.X, d.y),
        ["column 'Age' not found", "did you mean 'age'?", "Rename"],
    ),
    "column of a ladder misspelt": (
        lambda d: logistic_ladder([["severty"]])["severty"].fit(d.X, d.y),
        ["column 'severty' not found", "did you mean 'severity'?", "Rename"],
    ),
    "column of a comparison misspelt": (
        lambda d: compare(logistic_ladder([["ages"]]), d.table, d.y, cv=2),
        ["model 'ages', repeat 1, fold 1", "column 'ages' not found", "did you mean 'age'?"],
    ),
    "column of the place model missing": (
        lambda d: place_model(tabular=["sevirity"], atlas="aal").fit(d.X, d.y),
        ["column 'sevirity' not found", "did you mean 'severity'?", "Rename"],
    ),
    "column of the region model missing": (
        lambda d: region_model(tabular=["nihss"]).fit(d.X, d.y),
        ["column 'nihss' not found", "the table has", "Rename"],
    ),
    "symbol misspelt": (
        lambda d: RoiSymbolClassifier("t1w", symbols=["agee"], epochs=1).fit(d.X, d.y),
        ["column 'agee' not found", "did you mean 'age'?"],
    ),
    "column of check_images misspelt": (
        lambda d: check_images(d.X, ["T1W"]),
        ["column 'T1W' not found", "did you mean 't1w'?"],
    ),
    "a rung without brackets": (
        lambda d: logistic_ladder(["age"]),
        ["rung 'age'", "must be a list of column names", "['lesion_ml']"],
    ),
    "columns without brackets": (
        lambda d: cnn(tabular="age").fit(d.X, d.y),
        ["'tabular' parameter", "array-like", "Got 'age'"],
    ),
    "a column twice": (
        lambda d: cnn(tabular=["age"]).fit(pd.concat([d.X, d.X[["age"]]], axis=1), d.y),
        ["column 'age' occurs more than once", "keep one"],
    ),
    "an image among the numbers": (
        lambda d: cnn(tabular=["lesion"]).fit(d.X, d.y),
        ["column 'lesion' holds images", "declare it as image='lesion'"],
    ),
    "a number where the image is": (
        lambda d: cnn("age").fit(d.X, d.y),
        ["row 'sub-0001', column 'age'", "found 60.0", "give the path of a NIfTI file"],
    ),
    "the column is there already": (
        lambda d: LesionSize().fit(d.X.assign(lesion_ml=1.0)),
        ["column 'lesion_ml' exists already", "drop it first"],
    ),
    # ---- tables
    "an array for a table": (
        lambda d: cnn().fit(d.X.to_numpy(), d.y),
        ["found ndarray where a DataFrame", "wrap it: pd.DataFrame"],
    ),
    "an array for a table, of a ladder": (
        lambda d: clone(d.age).fit(d.table.to_numpy(), d.y),
        ["found ndarray where a DataFrame", "wrap it: pd.DataFrame"],
    ),
    "one column for a table": (
        lambda d: cnn().fit(d.X["t1w"], d.y),
        ["found Series where a DataFrame", "wrap it: pd.DataFrame"],
    ),
    "one patient for a table": (
        lambda d: d.fitted.predict(d.X.iloc[0]),
        ["found Series where a DataFrame", "wrap it: pd.DataFrame"],
    ),
    "a table of nobody": (
        lambda d: cnn().fit(d.X[:0], d.y[:0]),
        ["the table has no rows", "look at what selected them"],
    ),
    "a patient twice": (
        lambda d: cnn().fit(pd.concat([d.X, d.X[:1]]), pd.concat([d.y, d.y[:1]])),
        ["row 'sub-0001' occurs 2 times", "X.index.duplicated()"],
    ),
    "text among numbers": (
        lambda d: clone(d.age).fit(put(d.X, "age", "89+"), d.y),
        ["row 'sub-0005', column 'age'", "found '89+' in 1 of 24 rows", "pd.to_numeric"],
    ),
    "infinite": (
        lambda d: clone(d.age).fit(put(d.table, "age", np.inf).astype(float), d.y),
        ["row 'sub-0005', column 'age'", "found an infinite value", "X.replace"],
    ),
    "identifiers as predictors": (
        lambda d: logistic_ladder([["id"]])["id"].fit(d.table.assign(id=d.X.index), d.y),
        ["column 'id'", "all 24 values differ", "identifier", "leave it out"],
    ),
    "dates as predictors": (
        lambda d: logistic_ladder([["on"]])["on"].fit(d.table.assign(on="2020-01-02"), d.y),
        ["row 'sub-0001', column 'on'", "found '2020-01-02'", "count days: X['on'] ="],
    ),
    # ---- outcomes
    "an outcome too few": (
        lambda d: cnn().fit(d.X, d.y[:-1]),
        ["X has 24 rows and y 23", "y.loc[X.index]"],
    ),
    "an outcome too few, of a ladder": (
        lambda d: clone(d.age).fit(d.table, d.y[:-1]),
        ["X has 24 rows and y 23", "y.loc[X.index]"],
    ),
    "an outcome missing": (
        lambda d: cnn().fit(d.X, d.y.where(d.y.index != "sub-0004")),
        ["row 'sub-0004', y", "missing in 1 rows", "drop them first"],
    ),
    "an outcome missing, of a ladder": (
        lambda d: clone(d.age).fit(d.table, d.y.where(d.y.index != "sub-0004")),
        ["row 'sub-0004', y", "missing in 1 rows", "drop them first"],
    ),
    "outcomes in another order": (
        lambda d: clone(d.age).fit(d.table, d.y[::-1]),
        ["y is in another order than X", "y = y.loc[X.index]"],
    ),
    "outcomes of other patients": (
        lambda d: compare(d.ladder, d.table, d.y.reset_index(drop=True), cv=2),
        ["y has a row 0 that X has not", "use the same patient ids"],
    ),
    "the name of the outcome": (
        lambda d: compare(d.ladder, d.X, "aphasia", cv=2),
        ["found the text 'aphasia'", "y = X['aphasia']"],
    ),
    "a table of outcomes": (
        lambda d: cnn().fit(d.X, d.table),
        ["y is a table of 2 columns ('age', 'severity')", "give one column: y = y['age']"],
    ),
    "an outcome missing in a table with numbered rows": (
        lambda d: clone(d.age).fit(d.table.set_index(np.arange(N) ** 2), [np.nan, *d.y[1:]]),
        ["row 0, y: the outcome is missing in 1 rows", "drop them first"],
    ),
    "one class": (
        lambda d: cnn().fit(d.X, 0 * d.y),
        ["y holds only one class, 0;", "use stratified folds"],
    ),
    "a number for a class": (
        lambda d: cnn().fit(d.X, pd.Series(np.arange(N), d.X.index)),
        ["y holds 24 different values in 24 patients", "use a regressor"],
    ),
    "a word for a number": (
        lambda d: StitchedSliceRegressor("t1w").fit(d.X, d.y.map({0: "good", 1: "poor"})),
        ["row 'sub-0001', y", "found '", "pd.to_numeric"],
    ),
    # ---- images
    "no image": (lambda d: cnn().fit(put(d.X, "t1w", None), d.y), [ROW, "no image", "dropna"]),
    "no file": (
        lambda d: cnn().fit(put(d.X, "t1w", "nowhere.nii.gz"), d.y),
        [ROW, "no file at 'nowhere.nii.gz'", "correct the path"],
    ),
    "a folder for a file": (
        lambda d: cnn().fit(put(d.X, "t1w", str(d.folder)), d.y),
        [ROW, "is a folder", "give the image in it"],
    ),
    "a text for a scan": (
        lambda d: cnn().fit(put(d.X, "t1w", d.folder / "notes.txt"), d.y),
        [ROW, "cannot be read as an image", "convert it to NIfTI"],
    ),
    "half a file": (
        lambda d: cnn().fit(put(d.X, "t1w", d.folder / "cut.nii.gz"), d.y),
        [ROW, "ends early or is corrupt", "copy the file again"],
    ),
    "an array for an image": (
        lambda d: cnn().fit(put(d.X, "t1w", np.ones((5, 5, 5))), d.y),
        [ROW, "found an array of shape (5, 5, 5)", "nibabel image"],
    ),
    "a series for a scan": (
        lambda d: cnn().fit(put(d.X, "t1w", like(d.scan, np.stack([voxels(d.scan)] * 3, -1))), d.y),
        [ROW, "4-D", "keep one volume"],
    ),
    "an empty scan": (
        lambda d: cnn().fit(put(d.X, "t1w", like(d.scan, 0 * voxels(d.scan))), d.y),
        [ROW, "zero everywhere", "drop the row"],
    ),
    "an empty mask": (
        lambda d: cnn("lesion").fit(put(d.X, "lesion", like(d.scan, 0 * voxels(d.scan))), d.y),
        ["row 'sub-0005', column 'lesion'", "zero everywhere", "allow_empty=True"],
    ),
    "a scan of NaN": (
        lambda d: cnn().fit(put(d.X, "t1w", like(d.scan, np.nan * voxels(d.scan))), d.y),
        [ROW, "NaN", "replace them first"],
    ),
    "another grid": (
        lambda d: cnn().fit(put(d.X, "t1w", to_spacing(d.scan, 6)), d.y),
        [ROW, "found a grid of", "register all images"],
    ),
    "a scan in another space": (
        lambda d: cnn(grid="mni152").fit(put(d.X, "t1w", moved(d.scan)), d.y),
        [ROW, "lies elsewhere", "register it to the template"],
    ),
    "a mask in another space": (
        lambda d: RegionLoad().fit_transform(put(d.X, "lesion", moved(d.X["lesion"].iloc[4]))),
        ["row 'sub-0005', column 'lesion'", "does not lie in template", "register it"],
    ),
    "a scan for a mask": (
        lambda d: LesionSize("t1w").fit_transform(d.X),
        ["row 'sub-0001', column 't1w'", "grey values", "give the mask, not the scan"],
    ),
    "a mask for a scan": (
        lambda d: BrainAgeGap("lesion").fit(d.X),
        ["row 'sub-0001', column 'lesion'", "black where the template's brain lies", "register"],
    ),
    # ---- parameters and the order of things
    "a negative size": (
        lambda d: cnn(mosaic_size=-3).fit(d.X, d.y),
        ["size (-3, -3)", "enlarge size"],
    ),
    "no epochs": (lambda d: cnn(epochs=0).fit(d.X, d.y), ["'epochs' parameter", "Got 0"]),
    "a number as text": (
        lambda d: cnn(learning_rate="0.1").fit(d.X, d.y),
        ["'learning_rate' parameter", "Got '0.1'"],
    ),
    "a network that there is not": (
        lambda d: cnn(architecture="resnet9").fit(d.X, d.y),
        ["'architecture' parameter", "'resnet10'", "Got 'resnet9'"],
    ),
    "a device that there is not": (
        lambda d: cnn(device="gpu").fit(d.X, d.y),
        ["device must be", "cuda", "got 'gpu'"],
    ),
    "an atlas misspelt": (
        lambda d: RegionLoad(atlas="aall").fit(d.X),
        ["no atlas is called 'aall'", "did you mean 'aal'"],
    ),
    "a region misspelt": (
        lambda d: RegionLoad(regions=["insula left"]).fit(d.X),
        ["no region 'insula left'", "did you mean 'Insula_L'"],
    ),
    "predict before fit": (lambda d: cnn().predict(d.X), ["not fitted yet", "Call 'fit'"]),
    "predict with other columns": (
        lambda d: d.fitted.predict(d.X.rename(columns={"age": "ages"})),
        ["column 'age' not found", "did you mean 'ages'?", "Rename"],
    ),
    "predict with words for numbers": (
        lambda d: d.fitted.predict(d.X.assign(age="sixty")),
        ["row 'sub-0001', column 'age'", "found the str 'sixty'", "pd.to_numeric"],
    ),
    "transform with other columns": (
        lambda d: LesionSize().fit(d.X).transform(d.X.drop(columns="age")),
        ["columns are not those", "'age' missing", "give the table as in fit"],
    ),
    "explain a class that there is not": (
        lambda d: explain(d.fitted, d.X, target="poor"),
        ["target='poor' is no class", "the classes are [0, 1]"],
    ),
    "a patient that there is not": (
        lambda d: counterfactuals(d.fitted, d.X, ["nobody"]),
        ["row 'nobody' is not in X", "X.index"],
    ),
    # ---- comparisons
    "too few of a class for the folds": (
        lambda d: compare(d.ladder, d.table, pd.Series([1, 1] + [0] * (N - 2), d.X.index), cv=5),
        ["class 1 has 2 patients", "fewer than the 5 folds", "lower cv"],
    ),
    "more folds than patients": (
        lambda d: compare(d.ladder, d.table[:4], d.y[:4], cv=5),
        ["5 folds need at least 5 patients", "found 4", "lower cv"],
    ),
    "folds in words": (
        lambda d: compare(d.ladder, d.table, d.y, cv="five"),
        ["cv='five' is not understood", "'5x2'"],
    ),
    "one model without a name": (
        lambda d: compare(d.age, d.table, d.y),
        ["models is one Pipeline", "{'my model': model"],
    ),
    "a model without brackets": (
        lambda d: compare({"logistic": LogisticRegression}, d.table, d.y),
        ["model 'logistic'", "write LogisticRegression()"],
    ),
    "classifier against regressor": (
        lambda d: compare(d.ladder | linear_ladder([["age"]], names=["b"]), d.table, d.y),
        ["'b' a regressor", "compare models of one kind"],
    ),
    "a baseline that there is not": (
        lambda d: compare(d.ladder, d.table, d.y, baseline="clinical"),
        ["baseline='clinical' is none of the models", "age + severity"],
    ),
    "images for a learner of numbers": (
        lambda d: compare({"logistic": LogisticRegression()}, d.X, d.y, cv=2),
        ["model 'logistic', repeat 1, fold 1", "whole table ('t1w'", "put TabularEncoder"],
    ),
    "groups that there are not": (
        lambda d: compare(d.ladder, d.table.assign(subject=1), d.y, groups="subjct"),
        ["column 'subjct' not found", "did you mean 'subject'?"],
    ),
    # ---- folders
    "no table": (
        lambda d: load_cohort(d.folder / "patients.tsv", {}, target="mrs"),
        ["no file at", "patients.tsv", "give the path of participants.tsv"],
    ),
    "the folder for the table": (
        lambda d: load_cohort(d.folder, {}, target="mrs"),
        ["is a folder", "participants.tsv"],
    ),
    "commas for tabs": (
        lambda d: load_cohort(d.folder / "participants.csv", {}, target="mrs"),
        ["no column 'participant_id'", "separate columns by tabs"],
    ),
    "the target misspelt": (
        lambda d: load_cohort(d.folder / "participants.tsv", {}, target="MRS"),
        ["column 'MRS' not found", "did you mean 'mrs'?", "as target"],
    ),
    "a pattern without a name": (
        lambda d: load_cohort(d.folder / "participants.tsv", "sub-*/*.nii", target="mrs"),
        ["images must name each column", "got 'sub-*/*.nii'", "{'t1w':"],
    ),
    "a pattern that matches nothing": (
        lambda d: load_cohort(d.folder / "participants.tsv", {"t1w": "*.nii"}, target="mrs"),
        ["24 of 24 patients lack a usable scan", "sub-00, 't1w'", "require='usable'"],
    ),
    "a patient twice in the table": (
        lambda d: load_cohort(d.folder / "twice.tsv", {}, target="mrs"),
        ["lists sub-00 more than once", "keep one line per patient"],
    ),
    "no data where SOOP should be": (
        lambda d: load_soop(d.folder),
        ["no Stroke Outcome Optimization Project data at", "download=True"],
    ),
}


def test_there_are_forty():
    assert len(MISTAKES) >= 40


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_sentence(mistake, door):
    make, words = mistake
    with pytest.raises((PrognosisError, ImagingError, ValueError)) as refused:
        make(door)
    said = str(refused.value)
    missing = [word for word in words if word not in said]
    assert not missing, f"{missing} not in: {said}"
    assert "\n" not in said and len(said) < 1000
    assert not re.search(r"np\.(int|float|str)\w+\(|Traceback|<class '(?!sklearn)", said)
