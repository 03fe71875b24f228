"""Other numbers of pixels and voxels: what is even stays even, the mean stays, and so the place."""

import nibabel as nib
import numpy as np
import pytest

from imaging import restore_grid, shrink_volume
from imaging.resizing import pixel_shares, resize_picture, resized, resizing_matrix


@pytest.mark.parametrize("n_in, n_out", [(7, 3), (3, 7), (5, 5), (1, 4), (4, 1), (189, 72)])
def test_resizing_keeps_constants_and_hits_golden_values(n_in, n_out):
    matrix = resizing_matrix(n_in, n_out)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    assert (matrix >= 0).all()
    if n_in == n_out:
        np.testing.assert_array_equal(matrix, np.eye(n_in))
    if n_in % max(n_out, 1) == 0 and n_out < n_in:
        np.testing.assert_allclose(matrix[0, : n_in // n_out], n_out / n_in)


def test_shrinking_does_not_alias():
    stripes = np.tile([0.0, 1.0], 32)[None].repeat(64, 0)
    np.testing.assert_allclose(resize_picture(stripes, (16, 16)), 0.5, rtol=1e-5)
    assert resize_picture(np.ones((189, 503)), (192, 192)).shape == (72, 192)


def test_resizing_keeps_the_mean_and_its_own_shape():
    array = np.random.default_rng(0).random((9, 12))
    assert resized(array, (3, 4)).mean() == pytest.approx(array.mean())
    np.testing.assert_allclose(resized(array, (9, 12)), array, rtol=1e-6)


def test_shrinking_averages_and_comes_back(affine):
    grid = np.indices((12, 10, 8)).sum(0) / 30
    image = nib.Nifti1Image(grid.astype(np.float32), affine)
    small = shrink_volume(image, 4)
    assert small.shape[0] < 12 and np.asanyarray(small.dataobj).mean() == pytest.approx(
        grid.mean(), rel=1e-4
    )
    centre = nib.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2)
    small_centre = nib.affines.apply_affine(small.affine, (np.array(small.shape) - 1) / 2)
    np.testing.assert_allclose(centre, small_centre, atol=1e-6)
    back = restore_grid(small, image)
    inside = (slice(3, -3),) * 2 + (slice(2, -2),)
    np.testing.assert_allclose(back.get_fdata()[inside], grid[inside], atol=0.06)
    coarse = shrink_volume(image, 0.1)
    np.testing.assert_array_equal(coarse.get_fdata(), image.get_fdata())
    with pytest.raises(ValueError, match="spacing_mm must be positive"):
        shrink_volume(image, 0)


@pytest.mark.parametrize("size, thickness", [(64, 3.7), (17, 2.0), (9, 1.0), (5, 8.0)])
def test_slices_of_a_synthetic_scan_are_the_same_averages(size, thickness):
    from imaging.synthesis.separable import downsampling, upsampling

    down = downsampling(size, thickness).numpy()
    np.testing.assert_allclose(down, resizing_matrix(size, len(down)), atol=1e-6)
    if len(down) < size:
        up = upsampling(size, len(down)).numpy()
        np.testing.assert_allclose(up, resizing_matrix(len(down), size), atol=1e-6)


def test_shares_of_pixels_are_those_of_the_whole_picture():
    canvas, content = (7, 10), (3, 4)
    rng = np.random.default_rng(0)
    pixels = tuple(rng.integers(0, n, 20) for n in canvas)
    picture = np.zeros(canvas, np.float32)
    values = rng.random(20, np.float32)
    np.add.at(picture, pixels, values)
    down, across = (resizing_matrix(*pair) for pair in zip(canvas, content, strict=True))
    shares = pixel_shares(canvas, content, pixels)
    np.testing.assert_allclose(shares @ values, (down @ picture @ across.T).ravel(), rtol=1e-5)
    assert shares.nnz <= 20 * 4
