"""Mosaics of slices: golden layouts, the way back to the volume, refusals."""

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_mni152_template

from imaging import ImageError, SliceMosaic

RNG = np.random.default_rng(0)


@pytest.fixture
def volume():
    return nib.Nifti1Image(RNG.random((12, 10, 8)).astype(np.float32), np.eye(4))


def test_tiles_are_in_reading_order_with_anterior_up_and_left_on_the_left():
    data = np.zeros((4, 5, 6), np.float32)
    data[0, 4, 1] = 1  # left, anterior, second slice
    data[3, 0, 4] = 2  # right, posterior, fifth slice
    mosaic = SliceMosaic(rows=2, columns=3, first_slice=0, slice_step=1)
    picture = mosaic.stitch(nib.Nifti1Image(data, np.eye(4)))
    assert picture.shape == (10, 12)
    assert picture[0, 4] == 1 and picture[9, 11 - 4] == 2
    assert np.count_nonzero(picture) == 2


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", ("axial", "coronal")])
def test_unstitch_inverts_stitch_on_the_slices_shown(plane, affine):
    image = nib.Nifti1Image(RNG.random((6, 7, 9)).astype(np.float32), affine)
    mosaic = SliceMosaic(plane=plane, rows=2, columns=2, first_slice=1, slice_step=1)
    back = mosaic.unstitch(mosaic.stitch(image), image)
    shown = mosaic.coverage(image).get_fdata() > 0
    np.testing.assert_array_equal(back.affine, affine)
    np.testing.assert_allclose(back.get_fdata()[shown], image.get_fdata()[shown], rtol=1e-6)
    assert not back.get_fdata()[~shown].any() and shown.any() and not shown.all()


def test_orientation_on_disk_does_not_matter(volume):
    mosaic = SliceMosaic(rows=2, columns=2, size=64)
    turned = volume.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    assert nib.aff2axcodes(turned.affine) != ("R", "A", "S")
    np.testing.assert_array_equal(mosaic.stitch(volume), mosaic.stitch(turned))


def test_a_resized_mosaic_keeps_proportions_in_mm_and_stays_inside_its_tiles():
    thick = nib.Nifti1Image(np.ones((20, 10, 4), np.float32), np.diag([1, 2, 5, 1]))
    picture = SliceMosaic(rows=1, columns=2, first_slice=0, slice_step=1, size=(30, 60)).stitch(
        thick
    )
    assert picture.shape == (30, 60)
    np.testing.assert_allclose(picture, 1, rtol=1e-6)  # 20 mm x 20 mm fills a square tile
    wide = nib.Nifti1Image(np.ones((20, 10, 4), np.float32), np.eye(4))
    tile = SliceMosaic(rows=1, columns=1, first_slice=0, slice_step=1, size=(40, 40)).stitch(wide)
    assert tile.any(axis=1).sum() == 20 and tile.any(axis=0).sum() == 40


def test_a_smooth_map_survives_resizing_and_unstitching():
    grid = np.indices((40, 40, 16)) / 40
    smooth = nib.Nifti1Image(np.sin(4 * grid[0]).astype(np.float32) + grid[1], np.eye(4))
    mosaic = SliceMosaic(rows=4, columns=4, first_slice=0, slice_step=1, size=96)
    back = mosaic.unstitch(mosaic.stitch(smooth), smooth)
    assert np.corrcoef(back.get_fdata().ravel(), smooth.get_fdata().ravel())[0, 1] > 0.995


@pytest.mark.parametrize("size", [None, 37, (64, 96)])
def test_attribution_is_the_adjoint_and_keeps_its_sum(volume, size):
    mosaic = SliceMosaic(plane=("axial", "sagittal"), rows=2, columns=2, size=size)
    picture = mosaic.stitch(volume)
    attribution = np.where(picture > 0, RNG.standard_normal(picture.shape), 0)
    voxels = mosaic.unstitch_attribution(attribution, volume).get_fdata()
    assert voxels.sum() == pytest.approx(attribution.sum(), rel=1e-4)
    assert (voxels * volume.get_fdata()).sum() == pytest.approx(
        (attribution * picture).sum(), rel=1e-4
    )


def test_slices_spread_evenly_or_centre_or_fall_outside():
    assert SliceMosaic(rows=1, columns=4).slice_indices(8).tolist() == [1, 3, 5, 7]
    assert SliceMosaic(rows=1, columns=3, slice_step=2).slice_indices(9).tolist() == [2, 4, 6]
    beyond = SliceMosaic(rows=1, columns=3, first_slice=6, slice_step=1)
    picture = beyond.stitch(nib.Nifti1Image(np.ones((4, 4, 8), np.float32), np.eye(4)))
    np.testing.assert_array_equal(picture.any(axis=0).reshape(3, 4).any(1), [True, True, False])
    nowhere = SliceMosaic(rows=1, columns=3, first_slice=20, slice_step=1)
    with pytest.raises(ImageError, match="no slice of the mosaic lies inside"):
        nowhere.stitch(nib.Nifti1Image(np.ones((4, 4, 8), np.float32), np.eye(4)))


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"plane": "oblique"}, "plane must be among"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"slice_step": 0}, "slice_step must be at least 1 voxel"),
        ({"size": 8}, "less than 4 pixels"),
    ],
)
def test_impossible_layouts_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        SliceMosaic(**wrong)


def test_unstitch_refuses_a_picture_of_another_mosaic(volume):
    with pytest.raises(ImageError, match=r"\(5, 5\) where this mosaic"):
        SliceMosaic(rows=2, columns=2).unstitch(np.ones((5, 5)), volume)


@pytest.fixture(scope="module")
def head():
    return load_mni152_template(resolution=4)


class TestExtent:
    def test_slices_of_the_brain_only(self, head):
        whole, brain = SliceMosaic(), SliceMosaic(extent="brain")
        data = nib.as_closest_canonical(head).get_fdata()
        empty = {}
        for mosaic in (whole, brain):
            found = nib.as_closest_canonical(mosaic.coverage(head)).get_fdata()
            levels = np.flatnonzero(found.any(axis=(0, 1)))
            empty[mosaic.extent] = [n for n in levels if not (data[:, :, n] > 0.1).any()]
        assert empty["volume"] and not empty["brain"]

    def test_is_the_same_whatever_the_field_of_view(self, head):
        """Air above and below does not move the slices, as it does those of the whole volume."""
        data = np.pad(head.get_fdata(dtype=np.float32), ((0, 0), (0, 0), (6, 9)))
        affine = head.affine.copy()
        affine[:3, 3] -= 6 * affine[:3, 2]
        padded = nib.Nifti1Image(data, affine)
        brain, whole = SliceMosaic(extent="brain", size=128), SliceMosaic(size=128)
        np.testing.assert_array_equal(brain.stitch(head), brain.stitch(padded))
        assert not np.array_equal(whole.stitch(head), whole.stitch(padded))

    @pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
    def test_is_undone(self, head, plane):
        mosaic = SliceMosaic(plane=plane, rows=2, columns=3, extent="brain")
        back, shown = mosaic.unstitch(mosaic.stitch(head), head), mosaic.coverage(head).get_fdata()
        np.testing.assert_allclose(
            back.get_fdata()[shown > 0], head.get_fdata()[shown > 0], rtol=1e-6
        )

    def test_refusals(self, head):
        with pytest.raises(ValueError, match="extent must be among"):
            SliceMosaic(extent="head")
        with pytest.raises(ValueError, match="leave first_slice=3"):
            SliceMosaic(extent="brain", first_slice=3)
        far = nib.Nifti1Image(np.ones((9, 9, 9), np.float32), np.eye(4))
        far.affine[2, 3] = 500
        with pytest.raises(ImageError, match="does not hold the template's brain"):
            SliceMosaic(extent="brain").stitch(far)
