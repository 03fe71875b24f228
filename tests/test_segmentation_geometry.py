"""To the voxels of the network and back: on every kind of grid, and intensities as in training."""

import nibabel as nib
import numpy as np
import pytest

from imaging.errors import ImageError
from imaging.metrics import dice
from imaging.resizing import resized
from imaging.segmentation.targets import resized_labels, upright_target
from imaging.voxelwise.geometry import prepare
from imaging.voxelwise.samples import cut_patch
from imaging.voxelwise.scaling import standardise


def _labels(affine, extent_mm=(120, 140, 110)):
    """Nested ellipsoids, lying off the middle, on the grid of an affine."""
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    shape = np.maximum(8, np.round(np.array(extent_mm) / edges)).astype(int)
    places = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij"))
    distance = np.sqrt(((places - np.reshape([0.45, 0.55, 0.5], (3, 1, 1, 1))) ** 2).sum(0))
    return np.select([distance < 0.15, distance < 0.25, distance < 0.4], [5, 3, 1], 0).astype(
        np.uint8
    )


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_label_map_survives_the_way_there_and_back(affine, spacing_mm):
    labels = _labels(affine)
    image = nib.Nifti1Image(labels, affine)
    prepared = prepare(image, spacing_mm)
    upright = np.asanyarray(nib.as_closest_canonical(image).dataobj)
    # what a perfect network would say: the share of each class in each of its voxels
    shares = np.stack(
        [prepared.back(resized(upright == k, prepared.array.shape)) for k in range(6)]
    )
    back = prepared.restore(shares.argmax(0).astype(np.uint8))
    assert back.shape == image.shape
    np.testing.assert_array_equal(back.affine, image.affine)
    for k in (1, 3, 5):
        assert dice(np.asanyarray(back.dataobj) == k, labels == k) >= 0.98


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_thick_slices_and_fine_voxels_survive_too(spacing_mm):
    for spacing in ((0.7, 0.7, 5.0), (0.5, 0.5, 0.5), (3.0, 1.0, 1.0)):
        affine = np.diag([*spacing, 1.0])
        labels = _labels(affine, (90, 100, 80))
        prepared = prepare(nib.Nifti1Image(labels, affine), spacing_mm)
        shares = np.stack(
            [prepared.back(resized(labels == k, prepared.array.shape)) for k in range(6)]
        )
        for k in (1, 3, 5):
            assert dice(shares.argmax(0) == k, labels == k) >= 0.98, (spacing, k)


def test_labels_of_coarser_voxels_are_those_that_fill_most_of_them():
    labels = np.array([[0, 0, 1, 5], [0, 1, 5, 5]], np.uint8)
    np.testing.assert_array_equal(resized_labels(labels, (1, 2), 6), [[0, 5]])
    assert resized_labels(labels, labels.shape, 6) is labels


def test_the_network_always_sees_canonical_voxels_of_the_wanted_size(affine):
    labels = _labels(affine)
    prepared = prepare(nib.Nifti1Image(labels.astype(np.float32), affine), 2.0)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(labels, affine))
    edges = np.linalg.norm(canonical.affine[:3, :3], axis=0)
    expected = np.round(np.array(canonical.shape) * edges / 2)
    assert prepared.array.shape == tuple(expected.astype(int))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("flat", [False, True])
def test_one_slice_keeps_its_place_and_turns_upright(axis, flat):
    rng = np.random.default_rng(axis)
    affine = np.diag([-1.0, 1, 1, 1])
    shape = [20, 26, 30]
    shape[axis] = 1
    data = rng.random(shape).astype(np.float32)
    if flat and axis == 2:
        data = data[:, :, 0]
    image = nib.Nifti1Image(data, affine)
    prepared = prepare(image, 1.0, spatial_dims=2)
    assert prepared.array.ndim == 2
    back = prepared.restore(prepared.back(prepared.array))
    assert back.shape == image.shape
    np.testing.assert_array_equal(back.affine, affine)
    np.testing.assert_allclose(back.get_fdata(), data, atol=1e-6)
    channels = prepared.restore(np.stack([prepared.upright, 2 * prepared.upright], -1))
    np.testing.assert_allclose(channels.get_fdata()[..., 1].reshape(data.shape), 2 * data)


def test_slices_are_resized_to_the_spacing_and_arrays_are_not():
    image = nib.Nifti1Image(np.random.default_rng(0).random((20, 30, 1)), np.diag([2, 1, 5, 1.0]))
    assert prepare(image, 1.0, 2).array.shape == (30, 40)  # rows are the second axis
    picture = np.random.default_rng(0).random((20, 30))
    prepared = prepare(picture, 3.0, 2)
    assert prepared.array.shape == (20, 30)
    assert isinstance(prepared.restore(prepared.upright), np.ndarray)


def test_wrong_dimensions_are_refused_in_words():
    volume = nib.Nifti1Image(np.ones((5, 5, 5), np.float32), np.eye(4))
    with pytest.raises(ImageError, match="one slice"):
        prepare(volume, 1.0, 2)
    with pytest.raises(ImageError, match="array of shape"):
        prepare(np.ones((5, 5, 5)), 1.0, 3)


def test_masks_on_another_grid_are_brought_over_and_strange_ones_refused():
    scan = prepare(nib.Nifti1Image(np.ones((20, 20, 20), np.float32), np.eye(4)), 2.0)
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[2:5, 2:5, 2:5] = 1
    fitted = upright_target(nib.Nifti1Image(mask, np.diag([2.0, 2, 2, 1])), scan, 2)
    assert fitted.shape == (20, 20, 20) and 150 < fitted.sum() < 300
    with pytest.raises(ImageError, match="wholly outside"):
        upright_target(
            nib.Nifti1Image(mask, nib.affines.from_matvec(np.eye(3), [500] * 3)), scan, 2
        )
    with pytest.raises(ImageError, match="from 0 to 5"):
        upright_target(nib.Nifti1Image(7 * mask, np.diag([2.0, 2, 2, 1])), scan, 6)


def test_standardising_does_not_depend_on_unit_field_of_view_or_hot_voxels():
    rng = np.random.default_rng(0)
    head = np.where(rng.random((30, 30, 30)) < 0.6, rng.uniform(80, 120, (30, 30, 30)), 20)
    plain = standardise(head)
    np.testing.assert_allclose(standardise(7 * head + 3), plain, atol=1e-4)
    wider = standardise(np.pad(head, 10, constant_values=20))[10:-10, 10:-10, 10:-10]
    assert abs(wider - plain).max() < 0.05
    hot = head.copy()
    hot[0, 0, :3] = 1e6
    clipped = standardise(np.where(hot > 1e5, head.max(), head))
    np.testing.assert_allclose(
        np.delete(standardise(hot), 0, 0), np.delete(clipped, 0, 0), atol=0.2
    )
    assert not standardise(np.full((4, 4), 3.0)).any()


def test_computed_tomography_is_clipped_to_brain():
    ct = np.full((8, 8, 8), -1000.0)
    ct[2:6, 2:6, 2:6] = np.linspace(20, 60, 64).reshape(4, 4, 4)
    ct[2, 2, 2] = 1500
    same = ct.clip(0, 80)
    np.testing.assert_array_equal(standardise(ct, ct=True), standardise(same))


def test_patches_stay_inside_and_pad_what_is_too_small():
    array = np.arange(100.0).reshape(1, 10, 10)
    np.testing.assert_array_equal(cut_patch(array, [0, 9], (4, 4)), array[:, :4, 6:])
    padded = cut_patch(array + 1, [5, 5], (12, 4))
    assert padded.shape == (1, 12, 4) and padded[0, 0, 0] == padded.min()
