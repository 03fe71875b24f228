"""Images in and out: orientation, refusals in one sentence, and back on the grid they came from."""

import gzip
import pickle
import warnings

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import imaging
from imaging import ImageError, to_grid
from imaging.grids import marked_places
from imaging.volumes import mask_volume_ml

RNG = np.random.default_rng(0)


def test_reading_and_restoring_gives_back_the_input_grid_and_voxels(affine):
    image = nib.Nifti1Image(RNG.random((7, 9, 11)).astype(np.float32), affine)
    canonical = imaging.read_volume(image)
    assert nib.aff2axcodes(canonical.affine) == ("R", "A", "S")
    back = imaging.restore_grid(canonical, image)
    np.testing.assert_allclose(back.affine, affine)
    np.testing.assert_array_equal(back.get_fdata(), image.get_fdata())


def test_a_mask_resampled_to_a_template_comes_back(affine):
    mask = np.zeros((30, 32, 28), np.uint8)
    mask[8:20, 10:22, 9:19] = 1
    image = nib.Nifti1Image(mask, affine)
    corners = affine @ np.c_[np.indices((2, 2, 2)).reshape(3, -1).T * [29, 31, 27], np.ones(8)].T
    low, high = corners[:3].min(1), corners[:3].max(1)
    fine = np.eye(4)
    fine[:3, :3] *= 0.5
    fine[:3, 3] = low
    grid = imaging.Grid(tuple(((high - low) / 0.5).astype(int) + 1), tuple(map(tuple, fine)))
    there = imaging.to_grid(imaging.read_mask(image), grid, interpolation="nearest")
    back = imaging.restore_grid(there, image, interpolation="nearest").get_fdata()
    dice = 2 * (back * mask).sum() / (back.sum() + mask.sum())
    assert dice > 0.97


def test_trailing_axes_are_dropped_and_4d_is_refused():
    affine = np.eye(4)
    assert imaging.read_volume(nib.Nifti1Image(np.ones((3, 4, 5, 1)), affine)).shape == (3, 4, 5)
    with pytest.raises(ImageError, match=r"\(3, 4, 5, 2\), a 4-D image.*index_img"):
        imaging.read_volume(nib.Nifti1Image(np.ones((3, 4, 5, 2)), affine))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinite_voxels_are_counted(bad):
    data = np.ones((4, 4, 4))
    data[0, 0, :2] = bad
    with pytest.raises(ImageError, match="2 NaN or infinite voxels; replace them"):
        imaging.read_volume(nib.Nifti1Image(data, np.eye(4)))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_compressed_files_hold_the_same_voxels_however_they_were_written(tmp_path, kind):
    data = RNG.integers(0, 200, (6, 7, 8)).astype(kind)
    image = nib.Nifti1Image(data, np.diag([-2, 2, 2, 1]))
    image.header.set_slope_inter(0.5, 3)
    path = imaging.write_image(image, tmp_path / "whole.nii.gz")
    plain = gzip.decompress(path.read_bytes())
    parts = gzip.compress(plain[:500]) + gzip.compress(plain[500:])
    (tmp_path / "parts.nii.gz").write_bytes(parts)
    (tmp_path / "longer.nii.gz").write_bytes(gzip.compress(plain + b"more"))
    wanted = nib.as_closest_canonical(nib.load(path)).get_fdata()
    for name in ("whole", "parts", "longer"):
        found = imaging.read_volume(tmp_path / f"{name}.nii.gz")
        np.testing.assert_allclose(found.get_fdata(), wanted, rtol=1e-6)
        assert found.get_data_dtype() == np.float32


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(ImageError, match=r"no file at '.*nowhere.nii'; correct the path"):
        imaging.read_volume(tmp_path / "nowhere.nii")
    text = tmp_path / "scan.nii.gz"
    text.write_text("not an image")
    with pytest.raises(ImageError, match="cannot be read as an image"):
        imaging.read_volume(text)
    whole = tmp_path / "whole.nii.gz"
    noise = RNG.integers(0, 1000, (20, 20, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), whole)
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(ImageError, match=r"cut.nii.gz' ends early or is corrupt.*copy the file"):
        imaging.read_volume(cut)
    short = tmp_path / "short.nii.gz"
    short.write_bytes(gzip.compress(gzip.decompress(whole.read_bytes())[:2000]))
    with pytest.raises(ImageError, match="ends early or is corrupt"):
        imaging.read_volume(short)
    with pytest.raises(ImageError, match=r"found 3 \(int\) where an image was expected"):
        imaging.read_volume(3)


def test_empty_scans_are_refused_and_empty_masks_are_not():
    empty = nib.Nifti1Image(np.zeros((4, 4, 4)), np.eye(4))
    with pytest.raises(ImageError, match="zero everywhere"):
        imaging.read_volume(empty)
    assert imaging.read_mask(empty).get_fdata().sum() == 0
    with pytest.raises(ImageError, match="negative values"):
        imaging.read_mask(nib.Nifti1Image(-np.ones((4, 4, 4)), np.eye(4)))


def test_pictures_keep_their_layout_and_nifti_slices_are_turned_as_viewers_show_them(tmp_path):
    array = np.arange(1, 13, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(array).save(tmp_path / "p.png")
    np.testing.assert_array_equal(imaging.read_picture(tmp_path / "p.png"), array)
    assert imaging.is_picture(tmp_path / "p.png")
    slice_image = nib.Nifti1Image(array[:, :, None].astype(np.float32), np.eye(4))
    np.testing.assert_array_equal(imaging.read_picture(slice_image), array.T[::-1])
    mirrored = nib.Nifti1Image(array[::-1, :, None].astype(np.float32), np.diag([-1, 1, 1, 1]))
    np.testing.assert_array_equal(imaging.read_picture(mirrored), array.T[::-1])
    (tmp_path / "q.png").write_bytes((tmp_path / "p.png").read_bytes()[:40])
    with pytest.raises(ImageError, match="cannot be read as a picture"):
        imaging.read_picture(tmp_path / "q.png")
    with pytest.raises(ImageError, match="a 2-D image was expected"):
        imaging.read_picture(nib.Nifti1Image(np.ones((3, 4, 5)), np.eye(4)))


def test_writing_leaves_the_whole_file_or_nothing(tmp_path):
    image = nib.Nifti1Image(np.ones((3, 3, 3), np.float32), np.eye(4))
    path = imaging.write_image(image, tmp_path / "new" / "x.nii.gz")
    assert imaging.same_grid(nib.load(path), image)

    class Broken(nib.Nifti1Image):
        def to_filename(self, *args, **kwargs):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        imaging.write_image(Broken(np.ones((3, 3, 3)), np.eye(4)), tmp_path / "y.nii.gz")
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_grids_compare_by_position_not_by_rounding():
    image = nib.Nifti1Image(np.ones((10, 10, 10)), np.eye(4))
    nudged, moved = np.eye(4), np.eye(4)
    nudged[0, 3], moved[0, 3] = 1e-4, 0.5
    assert imaging.same_grid(image, nib.Nifti1Image(np.ones((10, 10, 10)), nudged))
    assert not imaging.same_grid(image, nib.Nifti1Image(np.ones((10, 10, 10)), moved))
    assert not imaging.same_grid(image, nib.Nifti1Image(np.ones((10, 10, 11)), np.eye(4)))


def test_volume_of_a_voxel_counts_shear_and_flips():
    sheared = np.array([[-2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1.0]])
    image = nib.Nifti1Image(np.ones((2, 2, 2)), sheared)
    assert imaging.voxel_volume_ml(image) == pytest.approx(0.02)


def test_intensity_scale_ignores_the_size_of_the_background():
    brain = RNG.uniform(50, 100, 1000).astype(np.float32)
    small, large = np.r_[np.zeros(10), brain], np.r_[np.zeros(100000), brain]
    np.testing.assert_allclose(
        imaging.rescale_intensity(small)[10:], imaging.rescale_intensity(large)[100000:]
    )
    mask = np.array([0, 1, 1, 0])
    np.testing.assert_array_equal(imaging.rescale_intensity(mask), mask)
    np.testing.assert_array_equal(imaging.rescale_intensity(np.full(5, 7.0)), np.zeros(5))


class TestResampling:
    """As nilearn's, without looking at what is empty and without a warning for each mask."""

    @pytest.mark.parametrize("interpolation", ["nearest", "linear"])
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
    @pytest.mark.parametrize("full", [True, False])
    def test_it_gives_what_nilearn_gives(self, affine, interpolation, dtype, full):
        from nilearn.image import resample_img

        from imaging.grids import resample

        rng = np.random.default_rng(0)
        data = np.zeros((14, 12, 10), dtype)
        part = data if full else data[3:7, 8:, 2:5]
        part[...] = rng.integers(0, 200, part.shape)
        image = nib.Nifti1Image(data, affine)
        target = nib.affines.from_matvec(np.diag([1.3, 0.9, 1.1]), affine[:3, 3] - 2)
        grid = nib.Nifti1Image(np.zeros((20, 19, 18), np.uint8), target)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = resample_img(
                image,
                target_affine=target,
                target_shape=grid.shape,
                interpolation=interpolation,
                copy_header=False,
                force_resample=True,
            )
        found = resample(image, grid, interpolation)
        assert found.get_data_dtype() == expected.get_data_dtype()
        gap = np.abs(np.asanyarray(found.dataobj) - np.asanyarray(expected.dataobj, dtype=float))
        if full:
            assert not gap.any()
        elif dtype == "float32":
            assert gap.max() < 1e-4
        else:  # halves may be rounded otherwise
            assert gap.max() <= 1 and (gap > 0).mean() < 0.02

    def test_masks_are_resampled_without_a_warning(self):
        mask = nib.Nifti1Image(np.zeros((9, 9, 9), np.float32), np.eye(4))
        mask.dataobj[4:6, 4:6, 4:6] = 1
        grid = nib.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.diag([2, 2, 2, 1]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            placed = to_grid(mask, grid)
        assert placed.get_fdata().sum() == 1

    def test_empty_masks_and_fields_that_do_not_meet(self):
        empty = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
        far = nib.affines.from_matvec(np.eye(3), [50, 50, 50])
        grid = nib.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.diag([2, 2, 2, 1]))
        assert not to_grid(empty, grid).get_fdata().any()
        with pytest.raises(ValueError, match="does not contain any of the data"):
            to_grid(empty, nib.Nifti1Image(np.zeros((5, 5, 5), np.uint8), far))


class TestMaskVoxels:
    def test_a_mask_is_read_once_however_often_it_is_measured(self, tmp_path, reads, monkeypatch):
        from imaging import count_lesions
        from imaging.storage import contents

        monkeypatch.setattr(contents, "_SETTLED_S", -60)  # as if it had been there for a while
        path = tmp_path / "mask.nii.gz"
        data = np.zeros((40, 40, 40), np.int16)
        data[10:14, 20:26, 30:33] = data[30, 30, 30] = 3
        nib.save(nib.Nifti1Image(data, np.diag([4, 4, 4, 1])), path)
        imaging.read_mask(path)
        before = len(reads())
        mask = imaging.read_mask(path)
        assert len(reads()) == before
        np.testing.assert_array_equal(np.asanyarray(mask.dataobj), data > 0)
        assert (count_lesions(mask), mask_volume_ml(mask)) == (2, pytest.approx(73 * 0.064))

    def test_a_file_that_changed_is_read_again(self, tmp_path):
        path = tmp_path / "mask.nii.gz"
        for filled in (1, 2, 3):
            data = np.zeros((8, 8, 8), np.uint8)
            data[:filled] = 1
            nib.save(nib.Nifti1Image(data, np.eye(4)), path)
            assert imaging.read_mask(path).get_fdata().sum() == 64 * filled

    def test_labels_are_kept_apart(self, tmp_path):
        path = tmp_path / "labels.nii.gz"
        data = np.arange(8, dtype=np.uint8).reshape(2, 2, 2) % 4
        nib.save(nib.Nifti1Image(data, np.eye(4)), path)
        for labels, count in ((1, 2), ([1, 2], 4), ([3], 2)):
            assert imaging.read_mask(path, labels=labels).get_fdata().sum() == count

    def test_what_is_known_of_places_is_what_the_array_says(self, affine):
        data = (RNG.random((9, 8, 7)) > 0.8).astype(np.float32) * 0.7
        mask = imaging.read_mask(nib.Nifti1Image(data, affine))
        dense = nib.Nifti1Image(np.asanyarray(mask.dataobj), mask.affine)
        assert sorted(zip(*marked_places(mask))) == sorted(zip(*marked_places(dense)))
        for size in (0.0, 20.0):
            counts = [imaging.count_lesions(one, least_mm3=size) for one in (mask, dense)]
            assert counts[0] == counts[1]
        assert mask_volume_ml(mask) == mask_volume_ml(dense)
        assert (mask.shape, mask.get_data_dtype()) == (dense.shape, dense.get_data_dtype())
        again = pickle.loads(pickle.dumps(mask))
        np.testing.assert_array_equal(again.get_fdata(), dense.get_fdata())
