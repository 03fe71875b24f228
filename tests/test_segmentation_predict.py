"""What a fitted segmenter gives: masks on each scan's own voxels, flips, dropout, sequences."""

import nibabel as nib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from imaging.errors import ImageError
from imaging.segmentation import (
    LESION_CLASSES,
    TISSUE_CLASSES,
    LesionSegmenter,
    LesionTask,
    TissueSegmenter,
)
from imaging.voxelwise.windows import apply_windows, mirrored_axes

RNG = np.random.default_rng(0)


class _Bright(torch.nn.Module):
    """Says lesion where a scan is bright, with one voxel of context to the right."""

    spatial_dims = 3

    def __init__(self, n_classes=2, drop=0.0):
        super().__init__()
        self.n_classes = n_classes
        self.drop = torch.nn.Dropout(drop)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, image):
        bright = 8 * (self.drop(image) - 1.5) + 0.2 * image.roll(1, 2)
        rest = [torch.zeros_like(image)] + [torch.full_like(image, -9.0)] * (self.n_classes - 2)
        return torch.cat([*rest, bright * self.weight], 1)


def _fitted(cls=LesionSegmenter, classes=LESION_CLASSES, drop=0.0, **parameters):
    segmenter = cls(**{"spacing_mm": 2, "patch_size": 16, **parameters})
    segmenter.network_ = _Bright(len(classes), drop).eval()
    segmenter.outputs_ = classes
    segmenter.patch_size_ = (16, 16, 16)
    return segmenter


def _scan(affine, shape=(40, 36, 30)):
    """A head of noise with a bright box in it, and the mask of the box."""
    mask = np.zeros(shape, np.uint8)
    mask[10:24, 12:26, 8:20] = 1
    data = 100 + RNG.normal(0, 3, shape) + 60 * mask
    data[:4] = 0
    return nib.Nifti1Image(data.astype(np.float32), affine), nib.Nifti1Image(mask, affine)


def test_masks_lie_where_the_lesion_is_on_every_grid(affine):
    scan, truth = _scan(affine)
    segmenter = _fitted()
    (mask,) = segmenter.predict([scan])
    assert mask.shape == scan.shape and mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, scan.affine)
    assert set(np.unique(mask.dataobj)) <= {0, 1}
    assert segmenter.score([scan], [truth]) > 0.9
    (probability,) = segmenter.predict_proba([scan])
    np.testing.assert_array_equal(np.asanyarray(probability.dataobj) > 0.5, mask.dataobj)


def test_paths_and_images_are_the_same_and_classes_come_last(tmp_path):
    scan, _ = _scan(np.diag([-2.0, 2, 2, 1]))
    nib.save(scan, tmp_path / "scan.nii.gz")
    tissues = _fitted(TissueSegmenter, TISSUE_CLASSES)
    (one,), (other,) = tissues.predict([scan]), tissues.predict([str(tmp_path / "scan.nii.gz")])
    np.testing.assert_array_equal(one.dataobj, other.dataobj)
    assert set(np.unique(one.dataobj)) == {0, 5}
    (per_class,) = tissues.predict_proba([scan])
    assert per_class.shape == (*scan.shape, 6)
    np.testing.assert_allclose(per_class.get_fdata().sum(-1), 1, atol=1e-5)
    labels = nib.Nifti1Image(np.asanyarray(one.dataobj), scan.affine)
    assert tissues.score([scan], [labels]) == 1.0


def test_flips_average_over_eight_probabilities():
    array = RNG.normal(size=(16, 16, 16)).astype(np.float32)
    network = _Bright()
    keep = {"patch_size": (16, 16, 16), "task": LesionTask()}
    mean, _ = apply_windows(network, array, axes=(0, 1, 2), **keep)
    expected = []
    for code in range(8):
        axes = [a for a in range(3) if code >> a & 1]
        found, _ = apply_windows(network, np.flip(array, axes).copy(), **keep)
        expected.append(np.flip(found[0], axes))
    np.testing.assert_allclose(mean[0], np.mean(expected, 0), atol=1e-5)
    assert not np.allclose(mean[0], expected[0], atol=1e-3)


def test_flips_are_of_the_axes_that_training_mirrored():
    assert mirrored_axes(True, 0.5, 3) == (0, 1, 2)
    assert mirrored_axes(True, (0.5, 0, 0), 3) == (0,)
    assert mirrored_axes((0, 2), 0.0, 3) == (0, 2)
    assert mirrored_axes(False, 0.5, 3) == ()
    assert mirrored_axes(np.True_, 0.5, 2) == (0, 1) and mirrored_axes(np.False_, 0.5, 2) == ()


def test_windows_agree_with_the_whole_scan():
    array = RNG.normal(size=(40, 24, 33)).astype(np.float32)
    network = _Bright()
    found, _ = apply_windows(network, array, patch_size=(16, 16, 16), task=LesionTask())
    with torch.inference_mode():
        whole = network(torch.from_numpy(array)[None, None]).softmax(1)[0, 1].numpy()
    # `roll` wraps at the border of each window, so only what is far from one agrees closely
    assert np.abs(found[0] - whole).mean() < 0.02


def test_air_around_a_head_is_background_whatever_the_network_says():
    class Everywhere(_Bright):
        def forward(self, image):
            return super().forward(torch.full_like(image, 9.0))

    scan, _ = _scan(np.diag([2.0, 2, 2, 1]))
    wide = np.pad(scan.get_fdata(), 30)
    segmenter = _fitted()
    segmenter.network_ = Everywhere().eval()
    (mask,) = segmenter.predict([nib.Nifti1Image(wide.astype(np.float32), scan.affine)])
    found = np.asanyarray(mask.dataobj)
    assert found[34:70, 30:66, 30:60].all() and not found[:25].any() and not found[..., 70:].any()
    tissues = _fitted(TissueSegmenter, TISSUE_CLASSES)
    (per_class,) = tissues.predict_proba([nib.Nifti1Image(wide.astype(np.float32), scan.affine)])
    np.testing.assert_array_equal(per_class.get_fdata()[0, 0, 0], [1, 0, 0, 0, 0, 0])


def test_sequences_of_one_patient_are_averaged_on_the_first():
    first, _ = _scan(np.diag([2.0, 2, 2, 1]))
    other, _ = _scan(np.diag([-2.0, 2, 2, 1]))
    third = nib.Nifti1Image(other.get_fdata()[::2], np.diag([-4.0, 2, 2, 1]))
    segmenter = _fitted()
    (alone,) = segmenter.predict_proba([first])
    (twice,) = segmenter.predict_proba([[first, first]])
    np.testing.assert_allclose(twice.get_fdata(), alone.get_fdata(), atol=1e-6)
    flipped = first.as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
    (both,) = segmenter.predict_proba([[first, flipped]])
    np.testing.assert_allclose(both.get_fdata(), alone.get_fdata(), atol=1e-5)
    (far,) = segmenter.predict_proba([[first, third]])
    assert far.shape == first.shape
    # the other ones lie to the left of the first, where nothing is known
    np.testing.assert_allclose(far.get_fdata()[4:], alone.get_fdata()[4:] / 2, atol=0.01)


def test_dropout_varies_where_it_matters_and_repeats():
    scan, _ = _scan(np.diag([2.0, 2, 2, 1]))
    segmenter = _fitted(drop=0.5)
    (one,), (other,) = (segmenter.predict_uncertainty([scan], n_draws=6) for _ in range(2))
    np.testing.assert_array_equal(one.dataobj, other.dataobj)
    inside = one.get_fdata()[12:22, 14:24, 10:18].mean()
    assert inside > 0.3 > one.get_fdata().min() >= 0
    plain = segmenter.predict_proba([scan])[0].get_fdata()
    np.testing.assert_array_equal(plain, _fitted().predict_proba([scan])[0].get_fdata())
    for n_draws in (0, 1, 2.5):
        with pytest.raises(ValueError, match="n_draws must be"):
            segmenter.predict_uncertainty([scan], n_draws=n_draws)
    with pytest.raises(ValueError, match="no dropout"):
        _fitted().predict_uncertainty([scan])


def test_scores_of_empty_masks_and_wrong_counts():
    scan, truth = _scan(np.diag([2.0, 2, 2, 1]))
    empty = nib.Nifti1Image(np.zeros(scan.shape, np.uint8), scan.affine)
    blind = _fitted(threshold=1.0)
    assert blind.score([scan, scan], [empty, truth]) == 0.5
    with pytest.raises(ValueError, match="0 scans and 0 masks"):
        blind.score([], [])
    with pytest.raises(ImageError, match="list of scans"):
        blind.score(scan, [truth])
    with pytest.raises(ValueError, match="1 scans and 2 masks"):
        blind.score([scan], [empty, truth])


def test_errors_say_which_scan():
    scan, _ = _scan(np.diag([2.0, 2, 2, 1]))
    with pytest.raises(ImageError, match=r"scan 1: .*zero everywhere"):
        _fitted().predict([scan, nib.Nifti1Image(np.zeros((9, 9, 9)), np.eye(4))])
    with pytest.raises(ImageError, match="list of scans"):
        _fitted().predict(scan)
    with pytest.raises(ValueError, match="without any scan"):
        _fitted().predict([[]])


def test_scikit_learn_sees_an_estimator():
    segmenter = _fitted(threshold=0.3, ct=True)
    copy = clone(segmenter)
    assert copy.get_params() == segmenter.get_params()
    assert copy.threshold == 0.3 and copy.ct
    with pytest.raises(NotFittedError):
        copy.predict([_scan(np.eye(4))[0]])
    assert not hasattr(copy, "network_")
