"""Back into the brain: sums are kept, on any grid, and regions are sums of voxels."""

import nibabel as nib
import numpy as np
import pytest

from imaging import Grid, RoiMosaic, SliceMosaic, load_atlas, read_volume, shrink_volume
from imaging.atlases import Atlas
from prognosis import CohortError
from prognosis.views.places import MosaicPlace, PicturePlace, VolumePlace, VoxelPlace

SHAPE = (14, 16, 12)


def halves(grid):
    """An atlas of two regions on this grid: the lower half of each voxel axis 0, and the rest."""
    labels = np.ones(grid.shape, np.int16)
    labels[grid.shape[0] // 2 :] = 2
    return Atlas(nib.Nifti1Image(labels, grid.affine), {1: "first", 2: "second"}, "halves")


@pytest.fixture
def grid(affine):
    scan = nib.Nifti1Image(np.zeros(SHAPE, np.float32) + 1, affine)
    return Grid.of(read_volume(scan))


@pytest.fixture(params=["slices", "two planes", "volume", "voxels"])
def place(request, grid):
    return {
        "slices": lambda: MosaicPlace(SliceMosaic(rows=2, columns=3, size=40), grid),
        "two planes": lambda: MosaicPlace(
            SliceMosaic(("axial", "coronal"), rows=2, columns=2, size=(80, 40)), grid
        ),
        "volume": lambda: VolumePlace(4.0, grid),
        "voxels": lambda: VoxelPlace(grid),
    }[request.param]()


def numbers_on(place, grid, seed=0):
    """Random attributions of what lies in the image, and nothing in the gaps between tiles."""
    ones = nib.Nifti1Image(np.ones(grid.shape, np.float32), grid.affine)
    inside = place.draw(ones) > 0.999
    return np.random.default_rng(seed).normal(size=inside.shape).astype(np.float32) * inside


def test_the_sum_is_kept_on_the_grid_of_the_scan(place, grid):
    numbers = numbers_on(place, grid)
    volume = place.put_back(numbers)
    assert volume.shape == grid.shape
    np.testing.assert_allclose(volume.affine, grid.affine)
    np.testing.assert_allclose(volume.get_fdata().sum(), numbers.sum(), atol=1e-3)


def test_putting_back_is_the_adjoint_of_drawing(place, grid):
    numbers = numbers_on(place, grid)
    scan = nib.Nifti1Image(
        np.random.default_rng(1).random(grid.shape).astype(np.float32), grid.affine
    )
    expected = (place.put_back(numbers).get_fdata() * scan.get_fdata()).sum()
    np.testing.assert_allclose((place.draw(scan) * numbers).sum(), expected, atol=1e-3)


def test_regions_are_sums_of_voxels(place, grid):
    atlas = halves(grid)
    numbers = numbers_on(place, grid)
    regions = place.region_weights(atlas)
    volume = place.put_back(numbers).get_fdata()
    labels = atlas.labels_on(grid.image())
    assert regions.names == ["first", "second"]
    expected = [volume[labels == number].sum() for number in (1, 2)]
    np.testing.assert_allclose(numbers.ravel() @ regions.weights, expected, atol=1e-3)
    seen = place.shown().get_fdata() > 0
    voxel_ml = abs(np.linalg.det(grid.affine[:3, :3])) / 1000
    shown = [(seen & (labels == number)).sum() * voxel_ml for number in (1, 2)]
    np.testing.assert_allclose(regions.volume_ml, shown)


def test_packed_regions():
    grid = Grid.of(nib.as_closest_canonical(load_atlas("aal").image))
    mosaic = RoiMosaic("aal", ["Insula_L", "Putamen_L"], slice_step=2, size=40)
    place = MosaicPlace(mosaic, grid)
    numbers = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    numbers[place.draw(place.shown()) == 0] = 0
    regions = place.region_weights(load_atlas("aal"))
    assert regions.names == ["Insula_L", "Putamen_L"]
    volume = place.put_back(numbers).get_fdata()
    np.testing.assert_allclose((numbers.ravel() @ regions.weights).sum(), volume.sum(), rtol=1e-3)
    assert (volume[place.shown().get_fdata() == 0] == 0).all()


def test_the_background_of_volumes_lies_where_they_do(grid):
    place = VolumePlace(4.0, grid)
    ramp = np.broadcast_to(np.arange(grid.shape[2], dtype=np.float32), grid.shape)
    scan = nib.Nifti1Image(ramp.copy(), grid.affine)
    small = np.asanyarray(shrink_volume(scan, 4.0).dataobj)
    middle = tuple(slice(3, n - 3) for n in grid.shape)
    found = place.restore(small).get_fdata()[middle]
    assert np.corrcoef(found.ravel(), scan.get_fdata()[middle].ravel())[0, 1] > 0.9


def test_places_are_told_apart(grid):
    one, same = (MosaicPlace(SliceMosaic(rows=2, columns=3, size=40), grid) for _ in range(2))
    other = MosaicPlace(SliceMosaic(rows=3, columns=3, size=40), grid)
    assert one.key == same.key != other.key


def test_pictures_lie_nowhere():
    place = PicturePlace(Grid((20, 30)))
    with pytest.raises(CohortError, match="2-D pictures without a place in the brain"):
        place.put_back(np.zeros((20, 30)))
    with pytest.raises(CohortError, match="2-D pictures"):
        place.region_weights(load_atlas("aal"))
