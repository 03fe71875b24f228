"""Packing regions into a picture: exact on region voxels, deterministic, the same for everybody."""

import time

import nibabel as nib
import numpy as np
import pytest

from imaging import AtlasError, ImageError, RoiMosaic, load_atlas
from imaging.atlases import Atlas
from imaging.resizing import resize_picture
from imaging.roi_mosaics import LANGUAGE_REGIONS

RNG = np.random.default_rng(0)


def small_atlas(affine):
    """Three blocks and a region of two separate parts."""
    labels = np.zeros((9, 8, 7), np.int16)
    labels[0:3, 0:4, 1:5] = 1
    labels[4:9, 2:5, 2:4] = 2
    labels[0:2, 5:8, 0:7] = 5
    labels[6:9, 6:8, 5:7] = 5
    return Atlas(
        nib.Nifti1Image(labels, affine), {1: "block", 2: "plate", 5: "two parts"}, "blocks"
    )


def scan(affine):
    return nib.Nifti1Image(RNG.uniform(1, 2, (9, 8, 7)).astype(np.float32), affine)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_unpack_inverts_pack_on_region_voxels(affine, plane):
    atlas, image = small_atlas(affine), scan(affine)
    mosaic = RoiMosaic(atlas, ["two parts", "block"], plane=plane)
    back = mosaic.unpack(mosaic.pack(image), image)
    shown = mosaic.coverage(image).get_fdata() > 0
    np.testing.assert_array_equal(shown, np.isin(atlas.image.get_fdata(), [1, 5]))
    np.testing.assert_array_equal(back.affine, affine)
    np.testing.assert_array_equal(back.get_fdata()[shown], image.get_fdata()[shown])
    assert not back.get_fdata()[~shown].any()


def test_every_region_stays_in_its_cell_and_cells_do_not_overlap():
    atlas = load_atlas("aal")
    mosaic = RoiMosaic("aal", 12)
    picture = mosaic.pack(atlas.image)
    taken = np.zeros(picture.shape, int)
    for region, cell in mosaic.cells(atlas.image).items():
        label = atlas.labels_of(region)[0]
        assert set(np.unique(picture[cell])) == {0, label}
        voxels = np.count_nonzero(np.asanyarray(atlas.image.dataobj) == label)
        assert np.count_nonzero(picture[cell]) == voxels
        taken[cell] += 1
    assert taken.max() == 1


@pytest.mark.parametrize("count", range(1, 13))
def test_every_number_of_regions_gets_a_compact_canvas(count):
    picture = RoiMosaic("aal", count).pack(load_atlas("aal").image)
    height, width = picture.shape
    assert 0.6 < height / width < 1.7
    assert (picture > 0).mean() > 0.3


@pytest.mark.parametrize("size", [40, (16, 30), 9])
def test_attribution_is_the_adjoint_at_any_size(affine, size):
    atlas, image = small_atlas(affine), scan(affine)
    mosaic = RoiMosaic(atlas, ["block", "plate", "two parts"], size=size)
    picture = mosaic.pack(image)
    attribution = RNG.standard_normal(picture.shape)
    voxels = mosaic.unpack_attribution(attribution, image).get_fdata()
    assert (voxels * image.get_fdata()).sum() == pytest.approx(
        (attribution * picture).sum(), rel=1e-4
    )
    if size == 40:  # nothing shrinks, so nothing is lost
        shown = mosaic.coverage(image).get_fdata() > 0
        back = mosaic.unpack(picture, image).get_fdata()
        np.testing.assert_array_equal(back[shown], image.get_fdata()[shown])


def test_a_shrunk_picture_is_the_area_average_of_the_whole_canvas():
    image = load_atlas("aal").image
    whole = RoiMosaic("aal", 5).pack(image)
    mosaic = RoiMosaic("aal", 5, size=64)
    shrunk = resize_picture(whole, (64, 64))
    found = mosaic.pack(image)
    np.testing.assert_allclose(found.sum(), shrunk.sum(), rtol=1e-5)
    rows, columns = (np.flatnonzero(found.any(axis)) for axis in (1, 0))
    inner = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rows, columns = (np.flatnonzero(shrunk.any(axis)) for axis in (1, 0))
    np.testing.assert_allclose(
        inner, shrunk[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], rtol=1e-5
    )


def test_orientation_on_disk_and_other_calls_do_not_matter():
    atlas, image = small_atlas(np.eye(4)), scan(np.eye(4))
    mosaic = RoiMosaic(atlas, ["block", "plate"], size=24)
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    np.testing.assert_array_equal(mosaic.pack(image), mosaic.pack(turned))
    again = RoiMosaic(small_atlas(np.eye(4)), ["block", "plate"], size=24)
    np.testing.assert_array_equal(mosaic.pack(image), again.pack(image))


def test_left_is_on_the_left_and_anterior_is_up():
    atlas = small_atlas(np.eye(4))
    data = np.zeros((9, 8, 7), np.float32)
    data[0, 3, 1] = 1
    picture = RoiMosaic(atlas, "block").pack(nib.Nifti1Image(data, np.eye(4)))
    assert picture[0, 0] == 1 and picture.sum() == 1


def test_slices_are_thinned_but_every_region_stays():
    atlas, image = small_atlas(np.eye(4)), scan(np.eye(4))
    everything = RoiMosaic(atlas, ["block", "plate"]).coverage(image).get_fdata()
    thinned = RoiMosaic(atlas, ["block", "plate"], slice_step=5).coverage(image).get_fdata()
    assert everything.sum() == 48 + 30
    assert thinned.sum() == 12 + 15


def test_the_atlas_comes_to_the_image_and_packing_costs_one_gather():
    affine = np.array([[-2.5, 0, 0, 80], [0, 2.5, 0, -115], [0, 0, 2.5, -60], [0, 0, 0, 1]])
    image = nib.Nifti1Image(RNG.random((64, 80, 56)).astype(np.float32), affine)
    mosaic = RoiMosaic("aal", LANGUAGE_REGIONS[:3])
    picture = mosaic.pack(image)
    assert set(picture[picture > 0]) <= set(image.get_fdata(dtype=np.float32).ravel())
    start = time.perf_counter()
    for _ in range(20):
        mosaic.pack(image)
    assert time.perf_counter() - start < 1  # the layout is kept


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        ({"regions": ["Temporal sup L"]}, AtlasError, "did you mean 'Temporal_Sup_L'"),
        ({"regions": []}, ValueError, "regions is empty"),
        ({"regions": 13}, ValueError, "must be 1 to 12"),
        ({"regions": ["Insula_L", "Insula_L"]}, ValueError, "'Insula_L' twice"),
        ({"plane": "oblique"}, ValueError, "plane must be among"),
        ({"slice_step": 0}, ValueError, "slice_step must be at least 1"),
        ({"size": 4}, ValueError, "size must be at least 8"),
    ],
)
def test_impossible_mosaics_are_refused(wrong, error, words):
    with pytest.raises(error, match=words):
        RoiMosaic(**wrong)


def test_a_region_outside_the_image_and_a_foreign_picture_are_refused():
    atlas = small_atlas(np.eye(4))
    low = nib.Nifti1Image(np.ones((9, 8, 2), np.float32), np.eye(4))
    with pytest.raises(AtlasError, match="region 'plate' of atlas 'blocks' has no voxel"):
        RoiMosaic(atlas, ["block", "plate"]).pack(low)
    with pytest.raises(ImageError, match=r"\(5, 5\) where this mosaic"):
        RoiMosaic(atlas, ["block"]).unpack(np.ones((5, 5)), scan(np.eye(4)))


@pytest.mark.parametrize("size", [None, 96, (60, 150)])
def test_layouts_that_cannot_be_best_are_not_packed_and_the_best_is_the_same(size, monkeypatch):
    from imaging import roi_mosaics

    image = load_atlas("aal").image
    grid = nib.Nifti1Image(np.zeros(tuple(n // 2 for n in image.shape), np.uint8), image.affine)
    grid.set_sform(image.affine @ np.diag([2, 2, 2, 1]))
    packed = []
    shelves = roi_mosaics._shelves
    monkeypatch.setattr(roi_mosaics, "_shelves", lambda *each: packed.append(1) or shelves(*each))

    def layout():
        packed.clear()
        roi_mosaics._layout.cache_clear()
        mosaic = RoiMosaic("aal", load_atlas("aal").regions[:30], size=size)
        return mosaic.cells(grid), mosaic.pack(load_atlas("aal").image), len(packed)

    cells, picture, some = layout()
    monkeypatch.setattr(roi_mosaics, "_least", lambda *each: (1e-6, 1e-6))
    same_cells, same_picture, everything = layout()
    roi_mosaics._layout.cache_clear()
    assert cells == same_cells
    assert np.array_equal(picture, same_picture)
    assert some < 0.8 * everything
