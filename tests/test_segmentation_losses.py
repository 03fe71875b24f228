"""Losses of segmentation: golden values, empty masks, the switch after the warm start."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from imaging.segmentation.losses import SegmentationLoss


def sample(n_classes=3, shape=(8, 8, 8), batch=2):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, n_classes, *shape, generator=generator)
    target = torch.randint(0, n_classes, (batch, *shape), generator=generator)
    return logits, target


@pytest.mark.parametrize("shape", [(8, 16), (8, 8, 8)])
def test_equals_monai_up_to_the_smoothing(shape):
    from monai.losses import DiceCELoss

    logits, target = sample(shape=shape)
    theirs = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, smooth_nr=1, smooth_dr=1
    )(logits, target[:, None])
    ours = SegmentationLoss(3)(logits, target)
    assert ours.shape == (2,)
    torch.testing.assert_close(ours.mean(), theirs)


def test_numbers_and_probabilities_are_the_same_target():
    logits, target = sample()
    soft = functional.one_hot(target, 3).movedim(-1, 1).float()
    loss = SegmentationLoss(3, lesion_weight=4, tversky=1)
    torch.testing.assert_close(loss(logits, target), loss(logits, soft))
    # A prediction that equals a soft target is the best one.
    soft = (soft + 0.2) / soft.add(0.2).sum(1, keepdim=True)
    best = loss(soft.log(), soft)
    assert (best < loss(soft.log() * 2, soft)).all() and (best < loss(logits, soft)).all()


def test_images_without_a_lesion():
    target = torch.zeros(1, 8, 8, 8, dtype=torch.long)
    loss = SegmentationLoss(2, lesion_weight=3, tversky=1)
    logits = torch.zeros(1, 2, 8, 8, 8, requires_grad=True)
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert torch.isfinite(gradient).all() and (gradient[:, 1] > 0).all()
    certain = torch.zeros(1, 2, 8, 8, 8)
    certain[:, 0] = 40
    assert loss(certain, target).item() == pytest.approx(0, abs=1e-6)


def test_lesion_weight_and_tversky_prefer_invented_to_missed():
    target = torch.zeros(1, 10, 10, dtype=torch.long)
    target[:, :4] = 1

    def predicted(rows):
        logits = torch.full((1, 2, 10, 10), -20.0)
        logits[:, 1, :rows] = 20
        logits[:, 0, rows:] = 20
        return logits

    one, many = SegmentationLoss(2), SegmentationLoss(2, lesion_weight=5)
    missed, invented = predicted(3), predicted(5)
    assert many(missed, target) / many(invented, target) > 2 * one(missed, target) / one(
        invented, target
    )
    plain = one(missed, target), one(invented, target)
    terms = [SegmentationLoss(2, tversky=1)(x, target) for x in (missed, invented)]
    tversky = [t.item() - p.item() for t, p in zip(terms, plain)]
    # 30 found, 10 missed: 1 - 31 / (31 + 7); 40 found, 10 invented: 1 - 41 / (41 + 3).
    np.testing.assert_allclose(tversky, [1 - 31 / 38, 1 - 41 / 44], atol=1e-4)
    swapped = SegmentationLoss(2, tversky=1, missed_weight=0.3, invented_weight=0.7)
    assert (swapped(missed, target) - plain[0]).item() == pytest.approx(1 - 31 / 34, abs=1e-4)


def test_the_warm_start_ends():
    logits, target = sample()
    cold, warm = SegmentationLoss(3), SegmentationLoss(3, warm_start_steps=10)
    torch.testing.assert_close(warm(logits, target, 10), cold(logits, target))
    assert not torch.isclose(warm(logits, target, 9), cold(logits, target)).any()
    goal = 5 * (2 * functional.one_hot(target, 3).movedim(-1, 1).float() - 1)
    torch.testing.assert_close(warm(goal, target, 0), torch.zeros(2))
    torch.testing.assert_close(warm(goal + 1, target, 0), torch.ones(2))
    with pytest.raises(ValueError, match="call the loss with the step"):
        warm(logits, target)


def test_deep_supervision_halves_the_weight_of_every_coarser_stage():
    loss = SegmentationLoss(2)
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    target[:, :4] = 1
    right = [
        20.0 * (2 * functional.one_hot(target[:, ::k, ::k]).movedim(-1, 1) - 1) for k in (4, 2, 1)
    ]
    torch.testing.assert_close(loss(right, target), torch.zeros(1), atol=1e-4, rtol=0)
    # Stages are coarse to fine: with equal errors the finest weighs 4/7, 2/7, 1/7.
    single = loss(-right[2], target)
    for i, share in ((2, 4 / 7), (1, 2 / 7)):
        logits = list(right)
        logits[i] = -logits[i]
        torch.testing.assert_close(loss(logits, target), share * single, rtol=0.01, atol=0)


def test_wrong_input_is_refused():
    logits, target = sample()
    with pytest.raises(ValueError, match=r"target has shape \(2, 3, 4, 4, 4\)"):
        SegmentationLoss(3)(logits, target[:, :4, :4, :4])
    with pytest.raises(ValueError, match="lesion_class must be between 1 and 2, got 3"):
        SegmentationLoss(3, lesion_class=3)
    with pytest.raises(ValueError, match="lesion_weight must be positive"):
        SegmentationLoss(3, lesion_weight=0)
