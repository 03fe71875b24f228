"""Scores of masks: hand-computed cases, empty masks, anisotropic voxels, MONAI's values."""

import nibabel as nib
import numpy as np
import pytest
import torch

from imaging import (
    ImageError,
    dice,
    hausdorff95_mm,
    lesion_count_difference,
    lesion_f1,
    segmentation_scores,
    volume_difference_ml,
)

EMPTY = np.zeros((6, 8, 4), bool)


def cube(start, size=2, shape=(12, 12, 12)):
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(s, s + size) for s in start)] = 1
    return mask


def image(mask, affine=None):
    return nib.Nifti1Image(np.asarray(mask, np.uint8), np.eye(4) if affine is None else affine)


def test_dice_by_hand():
    a, b = cube((2, 2, 2), 4), cube((4, 2, 2), 4)
    assert dice(a, b) == 2 * 32 / 128 == dice(image(a), image(b)) == dice(255 * a, b)
    assert dice(a, a) == 1 and dice(a, cube((8, 8, 8))) == 0


def test_empty_masks():
    one = EMPTY.copy()
    one[1, 2, 1] = True
    expected = {"dice": 1, "hausdorff95_mm": 0, "volume_difference_ml": 0}
    expected |= {"lesion_count_difference": 0, "lesion_f1": 1}
    assert segmentation_scores(EMPTY, EMPTY, (1, 2, 3)) == expected
    for pair in ((EMPTY, one), (one, EMPTY)):
        scores = segmentation_scores(*pair, spacing_mm=(1, 2, 3))
        assert scores["dice"] == scores["lesion_f1"] == 0 and scores["lesion_count_difference"] == 1
        assert scores["volume_difference_ml"] == pytest.approx(0.006)
        assert scores["hausdorff95_mm"] == pytest.approx((6**2 + 16**2 + 12**2) ** 0.5)


def test_distance_is_in_millimetres_along_every_axis():
    for axis, expected in enumerate((3 * 1.0, 3 * 2.5, 3 * 4.0)):
        moved = [2, 2, 2]
        moved[axis] += 3
        distance = hausdorff95_mm(cube((2, 2, 2)), cube(moved), (1, 2.5, 4))
        assert distance == pytest.approx(expected)
        affine = np.diag([-1, 2.5, 4, 1])
        assert hausdorff95_mm(
            image(cube((2, 2, 2)), affine), image(cube(moved), affine)
        ) == pytest.approx(expected)


def test_distance_ignores_five_percent():
    """A line of 100 voxels and the same with one voxel far off: 95 % of the distances are 0."""
    line = np.zeros((5, 120), bool)
    line[2, :100] = True
    spot = line.copy()
    spot[2, 115] = True
    assert hausdorff95_mm(spot, line, 1) == 0
    spot[2, 104:118] = True
    assert hausdorff95_mm(spot, line, 1) > 5


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.9, 1.2, 5.0)])
def test_random_masks_score_as_in_monai(spacing_mm):
    from monai.metrics import compute_dice, compute_hausdorff_distance
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    for _ in range(4):
        a, b = (gaussian_filter(rng.normal(size=(20, 18, 10)), 1.5) > 0.15 for _ in range(2))
        tensors = [torch.from_numpy(m[None, None].astype(np.float32)) for m in (a, b)]
        assert dice(a, b) == pytest.approx(compute_dice(*tensors).item(), abs=1e-6)
        theirs = compute_hausdorff_distance(
            *tensors, include_background=True, percentile=95, spacing=list(spacing_mm)
        ).item()
        assert hausdorff95_mm(a, b, spacing_mm) == pytest.approx(theirs, rel=1e-5)


def test_distance_does_not_depend_on_where_the_lesion_lies():
    corner = hausdorff95_mm(cube((0, 0, 0), 3), cube((0, 2, 0), 3), 1)
    assert corner == hausdorff95_mm(cube((4, 4, 4), 3), cube((4, 6, 4), 3), 1)


def test_volume_comes_from_the_affine(affine):
    a, b = image(cube((1, 1, 1), 4), affine), image(cube((1, 1, 1), 2), affine)
    expected = 56 * abs(np.linalg.det(affine[:3, :3])) / 1000
    assert volume_difference_ml(a, b) == volume_difference_ml(b, a) == pytest.approx(expected)
    assert segmentation_scores(a, b)["volume_difference_ml"] == pytest.approx(expected)


def test_lesions_touch_by_corners():
    chain = np.zeros((6, 6, 6), bool)
    chain[[0, 1, 2], [0, 1, 2], [0, 1, 2]] = True
    apart = chain.copy()
    apart[1, 1, 1] = False
    assert lesion_count_difference(chain, np.zeros_like(chain)) == 1
    assert lesion_count_difference(chain, apart) == lesion_count_difference(apart, chain) == 1
    assert lesion_count_difference(np.eye(4), np.eye(4)[:, ::-1]) == 0


def test_lesion_f1_by_hand():
    truth = cube((0, 0, 0)) + cube((5, 5, 5)) + cube((9, 9, 9))
    # One found by a voxel, one by two pieces, one missed, two invented.
    prediction = np.zeros_like(truth)
    prediction[1, 1, 1] = prediction[5, 5, 5] = 1
    prediction[0:3, 11, 0] = prediction[11, 0, 0] = 1
    assert lesion_f1(prediction, truth) == pytest.approx(2 / (2 + 3 / 2))
    # A piece more of a lesion already found is no invention.
    pieces = np.array([[1, 0, 1, 0, 0]])
    assert lesion_f1(pieces, np.array([[1, 1, 1, 0, 0]])) == 1
    # One predicted lesion may find two.
    assert lesion_f1(np.array([[1, 1, 1, 0, 0]]), pieces) == 1
    assert lesion_f1(truth, truth) == 1


def test_other_input_is_refused():
    a = cube((2, 2, 2))
    with pytest.raises(ImageError, match="different grids"):
        dice(image(a), image(a, np.diag([2, 1, 1, 1])))
    with pytest.raises(ImageError, match=r"different grids; resample one with"):
        hausdorff95_mm(image(a), image(a[:-1]))
    with pytest.raises(ImageError, match="one of prediction and truth is an image"):
        dice(image(a), a)
    with pytest.raises(ImageError, match="one shape of two or three axes"):
        dice(a, a[:-1])
    with pytest.raises(ImageError, match="prediction holds fractions or NaN"):
        dice(a * 0.7, a)
    with pytest.raises(ImageError, match="truth holds fractions or NaN"):
        dice(a, np.where(a, np.nan, 0))
    with pytest.raises(ImageError, match="give spacing_mm"):
        hausdorff95_mm(a, a)
    with pytest.raises(ImageError, match="3 positive sizes"):
        volume_difference_ml(a, a, (1, 1))
    with pytest.raises(ImageError, match="spacing_mm is for arrays"):
        segmentation_scores(image(a), image(a), 1)
