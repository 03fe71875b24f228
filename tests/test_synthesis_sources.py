"""Label maps and lesion masks: codes become tissues by name, lesions keep their side."""

import nibabel as nib
import numpy as np
import pytest
import torch

from imaging import ImageError
from imaging.physics import TISSUES
from imaging.synthesis import (
    FREESURFER_TISSUES,
    LabelMapSource,
    read_label_map,
    template_label_map,
)
from imaging.synthesis.lesion_masks import MNI_BRAIN_BOX, blob_mask, fit_mask, read_lesion
from imaging.synthesis.sources import _brain_box


def head(codes, affine=None):
    data = np.zeros((30, 32, 34), np.int32)
    for i, code in enumerate(codes):
        data[5 + 2 * i : 7 + 2 * i, 10:20, 12:22] = code
    return nib.Nifti1Image(data, np.eye(4) if affine is None else affine)


def test_codes_become_tissues_by_name():
    tissues, affine = read_label_map(head([2, 42, 4, 515]))
    assert tissues.dtype == np.uint8
    assert tissues.shape == (8 + 2, 10 + 2, 10 + 2)
    np.testing.assert_array_equal(affine[:3, 3], [4, 9, 11])
    column = tissues[1:9:2, 5, 5]
    assert [TISSUES[i] for i in column] == ["white matter", "grey matter", "csf", "bone and air"]
    assert tissues[0].max() == 0


def test_orientation_is_canonical():
    flipped = nib.Nifti1Image(
        np.asanyarray(head([2, 42]).dataobj)[::-1].copy(), np.diag([-1.0, 1, 1, 1])
    )
    turned, _ = read_label_map(flipped)
    straight, _ = read_label_map(head([2, 42]))
    np.testing.assert_array_equal(turned, straight)


def test_what_the_table_does_not_know_is_refused():
    with pytest.raises(ImageError, match=r"codes \[999\]"):
        read_label_map(head([2, 999]))
    own = {**FREESURFER_TISSUES, 999: "csf"}
    assert TISSUES.index("csf") in read_label_map(head([2, 999]), own)[0]
    with pytest.raises(ImageError, match="choose among background"):
        read_label_map(head([2]), {0: "background", 2: "white"})
    scan = nib.Nifti1Image(np.full((4, 4, 4), 0.5, np.float32), np.eye(4))
    with pytest.raises(ImageError, match="between whole numbers"):
        read_label_map(scan)
    with pytest.raises(ImageError, match="background everywhere"):
        read_label_map(head([]))


def test_table_names_tissues_that_exist():
    assert set(FREESURFER_TISSUES.values()) <= set(TISSUES)
    # Left and right of a structure are the same tissue.
    for left, right in ((2, 41), (3, 42), (4, 43), (10, 49), (13, 52), (28, 60)):
        assert FREESURFER_TISSUES[left] == FREESURFER_TISSUES[right]


def test_the_embedded_head():
    tissues, affine = template_label_map(4)
    shares = np.bincount(tissues.ravel(), minlength=len(TISSUES)) * 0.064
    volumes = dict(zip(TISSUES, shares, strict=True))
    assert 800 < volumes["grey matter"] < 1300
    assert 400 < volumes["white matter"] < 800
    assert 100 < volumes["csf"] < 800
    assert volumes["lesion"] == 0
    box = _brain_box(tissues, affine)
    # Apart from the brain stem, which is white matter here, this is the box lesions are fitted by.
    assert np.abs((box - MNI_BRAIN_BOX)[[0, 0, 1, 1, 1], [0, 1, 0, 1, 2]]).max() <= 4


def mask_at(x_mm):
    """A ball of 8 mm around (x, 10, 20) mm."""
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = [-90, -120, -70]
    grid = np.indices((181, 217, 181)).reshape(3, -1).T + affine[:3, 3]
    ball = (np.linalg.norm(grid - [x_mm, 10, 20], axis=1) < 8).reshape(181, 217, 181)
    return nib.Nifti1Image(ball.astype(np.uint8), affine)


def centre_x(scene):
    x = (scene["lesion"][0] > 0).nonzero()[:, 0].double().mean()
    return float(x) / scene["lesion"].shape[1]


def test_a_lesion_keeps_its_side_unless_mirrored():
    left = LabelMapSource(
        lesions=[mask_at(-30)], lesion_probability=1, most_lesions=1, spacing_mm=4
    )
    scene, history = left.sample({}, 0)
    assert centre_x(scene) < 0.45
    assert history[0]["parameters"]["lesions"] == [{"mask": 0, "mirrored": False}]
    mirrored = {"label_map": 0, "lesions": [{"mask": 0, "mirrored": True}]}
    assert centre_x(left.apply({}, mirrored)) > 0.55


def test_fit_is_exact_where_spaces_agree():
    image = mask_at(-30)
    mask, affine = read_lesion(image)
    place, inside = fit_mask(mask, affine, image.shape, image.affine)
    whole = np.zeros(image.shape, bool)
    whole[place] = inside
    np.testing.assert_array_equal(whole, np.asanyarray(image.dataobj) > 0)
    half = MNI_BRAIN_BOX / 2
    place, inside = fit_mask(mask, affine, image.shape, image.affine, half)
    assert abs(inside.sum() / mask.sum() - 1 / 8) < 0.02
    middle = np.mean([(p.start + p.stop - 1) / 2 for p in place[:1]]) + affine[0, 0] * -90
    assert abs(middle - -15) <= 1


def test_lesions_stay_inside_the_brain_and_holes_are_filled():
    shell = mask_at(-30)
    data = np.asanyarray(shell.dataobj).copy()
    data[58:63, 128:133, 88:93] = 0
    ring = nib.Nifti1Image(data, shell.affine)
    assert read_lesion(ring, True)[0].sum() > read_lesion(ring, False)[0].sum()
    outside = LabelMapSource(lesions=[mask_at(-70)], lesion_probability=1, spacing_mm=4)
    scene, _ = outside.sample({}, 0)
    inside = scene["labels"][scene["lesion"] > 0]
    assert len(inside) and inside.min() >= 1 and inside.max() <= 4


def test_made_up_lesions_and_healthy_samples():
    mask, affine = blob_mask(3)
    assert mask.any() and affine.shape == (4, 4)
    source = LabelMapSource(spacing_mm=4, lesion_probability=0.5)
    some = [bool(source.sample({}, i)[0]["lesion"].any()) for i in range(30)]
    assert 5 < sum(some) < 25
    assert torch.equal(source.sample({}, 9)[0]["lesion"], source.sample({}, 9)[0]["lesion"])


def test_lesions_of_the_label_map_itself():
    table = {**FREESURFER_TISSUES, 25: "lesion"}
    source = LabelMapSource([head([2, 25, 3])], lesion_probability=0, table=table)
    scene, _ = source.sample({}, 0)
    assert int((scene["lesion"] == 1).sum()) == 200
    assert set(scene["labels"][scene["lesion"] == 1].tolist()) == {TISSUES.index("white matter")}


def test_bad_input_is_told():
    with pytest.raises(
        ValueError,
        match="'lesions' parameter of LabelMapSource must be a sequence",
    ):
        LabelMapSource(lesions=[])
    with pytest.raises(ValueError, match="'fit'"):
        LabelMapSource(fit="best")
    with pytest.raises(ImageError, match="no file at"):
        LabelMapSource(["nothing.nii.gz"]).sample({}, 0)


@pytest.mark.data
def test_real_label_maps_and_lesions(data_home):
    heads = sorted((data_home / "label_maps").glob("*.nii.gz"))[:1]
    lesions = sorted((data_home / "soop" / "NIfTI").glob("*lesion.nii.gz"))[:5]
    if not heads or not lesions:
        pytest.skip(f"no label maps or lesion masks below {data_home}")
    source = LabelMapSource(heads, lesions, lesion_probability=1, most_lesions=1)
    scene, _ = source.sample({}, 0)
    counts = np.bincount(scene["labels"].numpy().ravel(), minlength=len(TISSUES)) / 1000
    volumes = dict(zip(TISSUES, counts, strict=True))
    assert 400 < volumes["white matter"] < 700 and 500 < volumes["grey matter"] < 900
    for k in range(5):
        scene = source.apply({}, {"label_map": 0, "lesions": [{"mask": k, "mirrored": False}]})
        original = source._mask(k)[0].sum()
        # Most of a lesion lands in brain, at about its size: heads differ by a tenth in each axis.
        assert 0.5 < float((scene["lesion"] > 0).sum()) / original < 1.3
