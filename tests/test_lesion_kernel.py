"""Masks in cubes, and the kernel of them: exact, centred in training, blind to the grid."""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from imaging import ImageError, cube_image, cube_shares
from prognosis import CohortError, LesionKernel


def lesions(n, seed=0):
    """Balls of random size and place on the grid of a template at 1 mm."""
    rng = np.random.default_rng(seed)
    affine = np.array([[-1, 0, 0, 78], [0, 1, 0, -112], [0, 0, 1, -50], [0, 0, 0, 1.0]])
    grid = np.indices((157, 189, 136))
    images = []
    for _ in range(n):
        centre = rng.uniform([30, 40, 30], [120, 150, 100])
        away = sum((axis - c) ** 2 for axis, c in zip(grid, centre))
        images.append(nib.Nifti1Image((away < rng.uniform(5, 25) ** 2).astype(np.uint8), affine))
    return pd.DataFrame({"lesion": images}, index=[f"p{k}" for k in range(n)])


@pytest.fixture(scope="module")
def X():
    return lesions(12)


def blocks(image):
    """The recipe, written out: means over blocks of 4 mm of the mask in canonical orientation."""
    data = nib.as_closest_canonical(image).get_fdata()
    # The canonical first voxel lies at -78, -112, -50 mm; a cube begins at -80, -112, -50.
    padded = np.zeros((160, 192, 136))
    padded[2:159, :189, :136] = data
    return padded.reshape(40, 4, 48, 4, 34, 4).mean(axis=(1, 3, 5))


def test_cubes_are_means_over_blocks(X):
    for image in X["lesion"]:
        cubes = cube_image(*cube_shares(image)).get_fdata()
        expected = blocks(image)
        np.testing.assert_allclose(cubes[3:43, 5:53, 6:40], expected, atol=1e-6)
        assert cubes.sum() == pytest.approx(expected.sum(), abs=1e-4)


def test_cubes_do_not_depend_on_orientation_and_hardly_on_the_grid(X):
    image = max(X["lesion"], key=lambda one: np.count_nonzero(one.dataobj))
    first = cube_image(*cube_shares(image)).get_fdata()
    turned = image.as_reoriented(np.array([[1, -1], [0, 1], [2, -1.0]]))
    np.testing.assert_allclose(cube_image(*cube_shares(turned)).get_fdata(), first, atol=1e-6)
    data = np.asanyarray(image.dataobj)[:156, :188, :136]
    affine = image.affine @ np.diag([2, 2, 2, 1])
    affine[:3, 3] = nib.affines.apply_affine(image.affine, [0.5] * 3)
    coarse = data.reshape(78, 2, 94, 2, 68, 2).mean(axis=(1, 3, 5)) > 0.5
    other = cube_image(*cube_shares(nib.Nifti1Image(coarse.astype(np.uint8), affine))).get_fdata()
    assert np.corrcoef(other.ravel(), first.ravel())[0, 1] > 0.95
    assert other.sum() == pytest.approx(first.sum(), rel=0.05)


def test_nothing_and_elsewhere():
    assert len(cube_shares(nib.Nifti1Image(np.zeros((3, 3, 3)), np.eye(4)))[0]) == 0
    far = nib.Nifti1Image(np.ones((3, 3, 3)), nib.affines.from_matvec(np.eye(3), [900] * 3))
    with pytest.raises(ImageError, match="100 % of the lesion lies outside"):
        cube_shares(far)
    with pytest.raises(ImageError, match="bring the mask into template"):
        cube_shares(far, space="native")
    X = pd.DataFrame({"lesion": [far]}, index=["sub-1"])
    with pytest.raises(CohortError, match="row 'sub-1', column 'lesion': this mask does not lie"):
        LesionKernel().fit(X)
    with pytest.raises(CohortError, match="row 'sub-1', column 'lesion': no voxel of the lesion"):
        LesionKernel(space="native").fit(X)


def test_products_are_the_kernel_and_ridge_is_ridge_on_the_cubes(X):
    train, test = X[:8], X[8:]
    kernel = LesionKernel().fit(train)
    features, new = (kernel.transform(part).drop(columns="lesion") for part in (train, test))
    rows = [
        np.stack([cube_image(*cube_shares(image)).get_fdata().ravel() for image in part["lesion"]])
        for part in (train, test)
    ]
    mean = rows[0].mean(axis=0)
    centred = [part - mean for part in rows]
    scale = np.sqrt((centred[0] ** 2).sum(axis=1).mean()) / 3.2
    a, b = (part / scale for part in centred)
    np.testing.assert_allclose(features.to_numpy() @ features.to_numpy().T, a @ a.T, atol=1e-6)
    np.testing.assert_allclose(new.to_numpy() @ features.to_numpy().T, b @ a.T, atol=1e-6)
    y = np.arange(8.0) ** 2
    whole = Ridge(alpha=0.5).fit(a, y)
    ours = Ridge(alpha=0.5).fit(features, y)
    np.testing.assert_allclose(ours.predict(new), whole.predict(b), rtol=1e-6)
    image = kernel.coefficient_image(ours.coef_).get_fdata().ravel()
    np.testing.assert_allclose(image, whole.coef_ / scale, atol=1e-4 * np.abs(whole.coef_).max())


def test_life(X, tmp_path, monkeypatch):
    from prognosis.features import lesion_kernel

    kernel = LesionKernel(memory=str(tmp_path), n_components=3)
    out = kernel.fit_transform(X)
    assert out.columns.tolist() == ["lesion", "kernel_1", "kernel_2", "kernel_3"]
    assert kernel.get_feature_names_out().tolist() == out.columns.tolist()
    spread = out.drop(columns="lesion").var()
    assert spread.is_monotonic_decreasing

    def read(*args):
        raise AssertionError("read again")

    monkeypatch.setattr(lesion_kernel, "shares_of", read)
    again = pickle.loads(pickle.dumps(kernel)).transform(X)
    pd.testing.assert_frame_equal(again, out)
    monkeypatch.undo()
    with pytest.raises(CohortError, match="'kernel_2' exists already"):
        LesionKernel().fit(X.assign(kernel_2=0))


def test_alike_or_empty_masks_give_no_column(X):
    empty = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    for image in (empty, X["lesion"].iloc[0]):
        alike = pd.DataFrame({"lesion": [image] * 3})
        assert LesionKernel().fit_transform(alike).columns.tolist() == ["lesion"]
    assert LesionKernel().fit(X).transform(pd.DataFrame({"lesion": [empty]})).notna().all(axis=None)
