"""Registration to the template on coarse simulated heads whose transform is known."""

import json

import nibabel as nib
import numpy as np
import pytest
from registration_heads import Head, Knows
from scipy import ndimage

from imaging import ImageError
from imaging.grids import Grid
from imaging.registration import Transform, Warp, register
from imaging.registration.affines import affine_parts, fit_pictures
from imaging.registration.quality import RANGES, judged
from imaging.registration.template import output_grid, template_grid, template_maps
from imaging.registration.tissues import sharpened
from imaging.registration.upright import seen_upright
from imaging.registration.warping import smoothed_beside, warp_to_template

SPACING = 5.0


@pytest.fixture(scope="module")
def head():
    return Head("flair", 3, lesion_mm=26)


@pytest.fixture(scope="module")
def found(head):
    return register(head.scan, lesion=head.mask, model=Knows(head), spacing_mm=SPACING)


@pytest.fixture(scope="module")
def warped():
    """A transform with a known smooth warp and its numerical inverse."""
    grid = template_grid(4.0)
    x, y, z = np.meshgrid(*(np.linspace(0, np.pi, n) for n in grid.shape), indexing="ij")
    bump = (np.sin(x) * np.sin(y) * np.sin(z))[..., None] * np.array([5.0, -4.0, 3.0])
    warp = Warp(grid, bump, -bump)
    points = nib.affines.apply_affine(grid.affine, np.argwhere(np.ones(grid.shape, bool)))
    back = -bump.reshape(-1, 3)
    for _ in range(12):
        back = -(warp.moved(points + back, "to_scan") - points - back)
    affine = nib.affines.from_matvec(np.diag([1.1, 0.9, 1.0]) + 0.05, [5, -3, 8])
    return Transform(affine, Warp(grid, bump, back.reshape(bump.shape)), {"why": "known"})


def inside(n=300):
    return np.random.default_rng(0).uniform([-60, -90, -50], [60, 60, 60], (n, 3))


def test_points_come_back(warped):
    points = inside()
    there = warped.points_to_native(points)
    assert np.abs(warped.points_to_template(there) - points).max() < 0.1
    assert np.abs(there - points).max() > 5


def test_outside_of_its_grid_a_warp_moves_nothing(warped):
    far = np.array([[300.0, 300.0, 300.0]])
    alone = Transform(warped.affine)
    assert np.allclose(warped.points_to_native(far), alone.points_to_native(far))


def test_files_keep_a_transform_and_itk_can_read_them(warped, tmp_path):
    warped.save(tmp_path / "xfm" / "sub-1")
    again = Transform.load(tmp_path / "xfm" / "sub-1")
    points = inside()
    apart = again.points_to_template(points) - warped.points_to_template(points)
    assert np.abs(apart).max() < 0.02
    assert again.about == {"why": "known"}
    field = nib.load(tmp_path / "xfm" / "sub-1_warp.nii.gz")
    assert field.shape[3:] == (1, 3) and field.header.get_intent()[0] == "vector"
    # As ITK would: the vectors point left and back, the affine takes template points to the scan.
    text = (tmp_path / "xfm" / "sub-1_affine.txt").read_text().splitlines()
    numbers = np.array(text[3].split()[1:], float)
    matrix, offset = numbers[:9].reshape(3, 3), numbers[9:]
    voxel = (20, 25, 20)
    lps = nib.affines.apply_affine(field.affine, voxel) * [-1, -1, 1]
    moved = lps + field.get_fdata()[voxel][0]
    native = (matrix @ moved + offset) * [-1, -1, 1]
    wanted = warped.points_to_native(nib.affines.apply_affine(field.affine, voxel))
    assert np.abs(native - wanted).max() < 0.02


def test_broken_files_are_refused(warped, tmp_path):
    with pytest.raises(ImageError, match="no transform at"):
        Transform.load(tmp_path / "nothing")
    warped.save(tmp_path / "one")
    card = json.loads((tmp_path / "one_transform.json").read_text())
    (tmp_path / "one_transform.json").write_text(json.dumps({**card, "format": 9}))
    with pytest.raises(ImageError, match="is of format 9"):
        Transform.load(tmp_path / "one")
    with pytest.raises(ImageError, match="cannot be inverted"):
        Transform(np.diag([1.0, 1, 0, 1]))
    with pytest.raises(ImageError, match="does not fit"):
        Warp(template_grid(8.0), np.zeros((3, 3, 3, 3)), np.zeros((3, 3, 3, 3)))


@pytest.mark.parametrize("flipped", [False, True])
def test_a_mask_goes_to_the_template_and_back(warped, flipped):
    affine = nib.affines.from_matvec(2 * np.eye(3), [-80, -100, -80])
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in (80, 90, 80)), indexing="ij"), -1)
    ball = np.linalg.norm(nib.affines.apply_affine(affine, voxels) - [-30, -10, 5], axis=-1) < 22
    mask = nib.Nifti1Image(ball.astype(np.uint8), affine)
    if flipped:
        mask = mask.as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
    there = warped.to_template(mask, output_grid(2), interpolation="mask")
    assert there.shape == output_grid(2).shape and there.get_data_dtype() == np.uint8
    back = warped.to_native(there, mask, interpolation="mask")
    assert np.array_equal(back.affine, mask.affine) and back.shape == mask.shape
    one, other = np.asanyarray(mask.dataobj) > 0, np.asanyarray(back.dataobj) > 0
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.95
    labels = warped.to_template(mask, output_grid(4), interpolation="nearest")
    assert set(np.unique(labels.dataobj)) == {0, 1}
    with pytest.raises(ValueError, match="interpolation must be"):
        warped.to_template(mask, output_grid(4), interpolation="cubic")


def test_a_movement_before_it_is_part_of_a_transform(warped):
    step = nib.affines.from_matvec(np.eye(3), [0, 0, 7])
    points = inside()
    moved = warped.after(step).points_to_template(points - [0, 0, 7])
    assert np.allclose(moved, warped.points_to_template(points))


def test_jacobian_of_a_stretch():
    grid = template_grid(8.0)
    points = nib.affines.apply_affine(grid.affine, np.argwhere(np.ones(grid.shape, bool)))
    away = (points * [0.1, 0, 0]).reshape(*grid.shape, 3)
    assert np.allclose(Warp(grid, away, -away).jacobian(), 1.1, atol=0.01)


def test_a_known_head_is_found(head, found):
    before = head.errors(Transform(Knows(head).predict(head.scan).affine)).mean()
    after = head.errors(found.transform).mean()
    assert before > 3 and after < 0.55 * before and after < 3
    assert not found.quality.failed
    assert found.transform.about["lesion_left_out"] and found.warnings == ()
    numbers = found.quality.numbers
    ml = head.lesion.sum() * abs(np.linalg.det(head.grid[:3, :3])) / 1000
    assert abs(numbers["lesion_ml"] / ml - 1) < 0.1
    there = found.transform.to_template(head.mask, output_grid(3), interpolation="mask")
    assert abs(there.get_fdata().sum() * 0.027 / numbers["lesion_template_ml"] - 1) < 0.1
    assert numbers["folded"] == 0 and numbers["in_view"] == 1 and numbers["midline_mm"] < 3


def test_naming_the_lesion_changes_the_result_for_the_better(head, found):
    ignored = register(head.scan, model=Knows(head), spacing_mm=SPACING)
    assert not ignored.transform.about["lesion_left_out"]
    named, without = (head.errors(one.transform, head.lesion).mean() for one in (found, ignored))
    assert named < 0.8 * without


def test_without_a_warp_only_the_affine_moves(head):
    alone = register(head.scan, model=Knows(head), nonlinear=False, spacing_mm=SPACING)
    assert alone.transform.warp is None and np.isnan(alone.quality.numbers["folded"])


def test_whatever_the_orientation_points_go_to_the_same_place(head, found):
    turned = head.scan.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    again = register(
        turned, lesion=head.mask, model=Knows(head), nonlinear=False, spacing_mm=SPACING
    )
    points = nib.affines.apply_affine(head.grid, np.argwhere(head.brain > 0.5))
    wanted = Transform(found.transform.affine).points_to_template(points)
    assert np.abs(again.transform.points_to_template(points) - wanted).max() < 0.1


def test_headers_that_no_head_has_are_refused(head):
    tiny = nib.Nifti1Image(np.asanyarray(head.scan.dataobj), head.grid @ np.diag([0.01] * 3 + [1]))
    with pytest.raises(ImageError, match="cannot be those of a head"):
        register(tiny, model=Knows(head))
    slab = nib.Nifti1Image(np.ones((5, 5, 5), np.float32), np.diag([2.0, 2, 2, 1]))
    with pytest.raises(ImageError, match="too little of a brain"):
        register(slab, model=Knows(head))
    moved = nib.Nifti1Image(head.lesion.astype(np.uint8), np.diag([6.0, 6, 6, 1]))
    with pytest.raises(ImageError, match="another affine"):
        register(head.scan, lesion=moved, model=Knows(head))


def test_a_network_that_is_wrong_is_noticed(head):
    class Mirrored(Knows):
        def predict(self, scan):
            said = super().predict(scan)
            said.affine = (
                np.diag([-1.0, 1, 1, 1])
                @ nib.affines.from_matvec(np.eye(3), [0, 40, 0])
                @ said.affine
            )
            return said

    wrong = register(head.scan, model=Mirrored(head), nonlinear=False, spacing_mm=SPACING)
    assert wrong.quality.failed and wrong.quality.reasons


def test_a_head_whose_header_names_other_axes_is_turned(head):
    class Upright(Knows):
        """Knows heads that are held as people hold them, as a network does."""

        def predict(self, scan):
            self.asked += 1
            said = Knows(head).predict(head.scan)
            turn = scan.affine @ np.linalg.inv(self.wanted.affine)
            if affine_parts(turn)[0] > 20:
                said.residual_mm = 25.0
            return said

    wrong = nib.affines.from_matvec([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [0, 0, 0])
    turned = nib.Nifti1Image(np.asanyarray(head.scan.dataobj), wrong @ head.scan.affine)
    model = Upright(head)
    # Turned back about the middle of the box, it lies there but for a shift.
    model.wanted = head.scan
    maps, found = seen_upright(model, turned)
    assert found and 1 < model.asked <= 24 and maps.residual_mm < 25
    assert affine_parts(maps.affine)[0] > 60

    class AtSecondSight(Knows):
        def predict(self, scan):
            self.asked += 1
            said = Knows(head).predict(head.scan)
            said.residual_mm = 25.0 if self.asked == 1 else 3.0
            return said

    model_of = AtSecondSight(head)
    refused = register(head.scan, model=model_of, nonlinear=False, spacing_mm=SPACING).quality
    assert refused.failed and refused.reasons[0].startswith("the axes in its header")
    model.asked = 0
    assert seen_upright(model, head.scan)[1] is False and model.asked == 1


def test_the_score_rises_with_every_number():
    right = {name: good for name, (good, _, _) in RANGES.items()}
    assert judged(right).failure == 0 and judged(right).reasons == ()
    for name, (_, wrong, words) in RANGES.items():
        bad = judged({**right, name: wrong})
        assert bad.failed and bad.reasons == (words.format(wrong),)
    # Without a warp the same numbers are less odd.
    alone = {**right, "folded": np.nan, "correlation": 0.5}
    assert judged(alone).failure == 0 < judged({**alone, "folded": 0.0}).failure


def test_tissues_become_sharper_where_grey_values_tell():
    maps = template_maps(4.0)
    brain = maps.brain
    true = (maps.tissues == maps.tissues.max(axis=0)) * brain.astype(np.float32)
    blurred = np.stack([ndimage.gaussian_filter(part, 1.0) for part in true])
    shade = np.linspace(0.7, 1.3, maps.grid.shape[0])[:, None, None]
    scan = shade * np.tensordot([0.5, 0.9, 0.1], true, 1)
    found = sharpened(blurred, scan, 4.0)
    error = [np.abs(one - true)[:2, brain].mean() for one in (blurred, found)]
    assert error[1] < 0.5 * error[0]
    assert np.allclose(found.sum(0), blurred.sum(0), atol=1e-4)
    flat = sharpened(blurred, np.ones_like(scan), 4.0)
    assert np.array_equal(flat, blurred)
    hole = np.zeros(brain.shape, bool)
    hole[20:24, 25:29, 20:24] = True
    assert np.array_equal(sharpened(blurred, scan, 4.0, left_out=hole)[:, hole], blurred[:, hole])


def test_forces_are_spread_into_a_lesion():
    vectors, weight = np.ones((40, 40, 40, 3), np.float32), np.ones((40, 40, 40), np.float32)
    weight[8:32, 8:32, 8:32] = 0
    vectors[8:32, 8:32, 8:32] = 50  # what is in it has no say
    assert np.allclose(smoothed_beside(vectors, weight, 2.0)[8:32, 8:32, 8:32], 1, atol=0.35)


def test_the_warp_finds_a_known_movement():
    maps = template_maps(6.0)
    moved = np.roll(maps.picture, 1, axis=0)  # 6 mm to the right
    warp = warp_to_template(maps.picture, moved, maps.grid, iterations=(20, 20))
    inside = maps.tissues[1] > 0.5
    assert abs(warp.to_scan[inside][:, 0].mean() - 6) < 1.2
    assert abs(warp.to_template[inside][:, 0].mean() + 6) < 1.2


@pytest.mark.parametrize("rigid", [False, True])
def test_an_affine_between_pictures_is_found(rigid):
    from scipy.spatial.transform import Rotation

    maps = template_maps(4.0)
    turn = Rotation.from_euler("xyz", [4, -5, 3], degrees=True).as_matrix()
    known = nib.affines.from_matvec(
        turn if rigid else turn @ np.diag([1.06, 0.95, 1.03]), [4, -5, 3]
    )
    grid = Grid(
        maps.grid.shape, tuple(map(tuple, (np.linalg.inv(known) @ maps.grid.affine).tolist()))
    )
    picture = Transform(np.eye(4)).to_template(
        nib.Nifti1Image(maps.picture, grid.affine), maps.grid
    )
    lesion = np.ones(maps.grid.shape, np.float32)
    lesion[20:30, 30:40, 25:35] = 0
    spoilt = np.where(lesion, np.asanyarray(picture.dataobj), 0)
    found = fit_pictures(maps.picture, spoilt, maps.grid, weight=lesion, rigid=rigid)
    points = inside()
    apart = nib.affines.apply_affine(found, nib.affines.apply_affine(np.linalg.inv(known), points))
    assert np.linalg.norm(apart - points, axis=1).mean() < 0.9
    # The same from the voxels of another, turned grid.
    again = fit_pictures(maps.picture, maps.picture, maps.grid, rigid=rigid, moving_grid=grid)
    apart = nib.affines.apply_affine(again, nib.affines.apply_affine(np.linalg.inv(known), points))
    assert np.linalg.norm(apart - points, axis=1).mean() < 0.2


def test_parts_of_an_affine():
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    turned, scales, mirrored = affine_parts(nib.affines.from_matvec(turn @ np.diag([1, 2, 3])))
    assert np.isclose(turned, 30) and np.allclose(scales, [3, 2, 1]) and not mirrored


def test_the_output_grid_is_the_template_s():
    from nilearn.datasets import load_mni152_template

    assert output_grid(2).matches(Grid.of(load_mni152_template(resolution=2)))
