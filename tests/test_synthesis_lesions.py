"""Lesions: the edge is soft, the target stays the mask, fades have nothing in common."""

import numpy as np
import pytest
import torch

from imaging.physics import LESION_STATISTICS
from imaging.synthesis import Chain, PasteLesions, Target
from imaging.synthesis.lesion_shapes import fade_field, grown_weight, soft_weight
from imaging.synthesis.tissue_maps import MAPS


def ball(radius, size=48):
    axes = torch.meshgrid(*[torch.arange(size) - size // 2] * 3, indexing="ij")
    return sum(a.square() for a in axes) <= radius**2


def scene(*masks, image=0.0):
    lesion = torch.zeros(masks[0].shape, dtype=torch.uint8)
    for number, mask in enumerate(masks, start=1):
        lesion[mask] = number
    shape = lesion.shape
    return {
        "labels": torch.ones((1, *shape), dtype=torch.uint8),
        "lesion": lesion[None],
        "image": torch.full((1, *shape), image),
        "maps": torch.ones((5, *shape)),
    }


def dice(a, b):
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.mark.parametrize("radius", [1, 3, 7, 15])
def test_the_target_is_the_mask(radius):
    mask = ball(radius)
    after, _ = Chain(PasteLesions("image"), Target()).sample(scene(mask), 3)
    assert torch.equal(after["target"][0] == 5, mask)
    after, _ = Chain(PasteLesions("maps"), Target("lesion")).sample(scene(mask), 3)
    assert torch.equal(after["target"][0].bool(), mask)
    assert after["target"].dtype == torch.uint8


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_a_soft_edge_stays_where_the_mask_ends(width):
    mask = ball(10)
    weight = soft_weight(mask, width)
    assert dice(weight > 0.5, mask) > 0.995
    assert abs(float(weight.sum() / mask.sum()) - 1) < 0.01
    assert int(((weight > 0.01) & (weight < 0.99)).sum()) > 0
    assert torch.equal(soft_weight(mask, 0.0), mask.float())


@pytest.mark.parametrize("voxels, published", [(123, 0.40), (2109, 0.69), (33401, 0.86)])
def test_the_published_softening_grows_lesions(voxels, published):
    """A perfect network would be scored by these Dice values, because its target grew."""
    radius = {123: 3, 2109: 8, 33401: 20}[voxels]
    mask = ball(radius)
    assert int(mask.sum()) == voxels
    assert abs(dice(grown_weight(mask) > 0, mask) - published) < 0.01
    after, _ = Chain(PasteLesions("image", softening="grown"), Target()).sample(scene(mask), 3)
    assert abs(dice(after["target"][0] == 5, mask) - published) < 0.01


def test_fades_have_nothing_in_common():
    shape = (24, 24, 24)
    fields = torch.stack([fade_field(seed, 0.6, shape, "cpu").flatten() for seed in range(20)])
    assert fields.min() >= 0.4 and fields.max() <= 1
    assert fields.std(1).min() > 0.02
    r = torch.corrcoef(fields)[np.triu_indices(20, 1)]
    assert abs(float(r.mean())) < 0.1
    assert float(r.abs().mean()) < 0.2


def test_values_inside_are_those_drawn():
    plain = PasteLesions("image", edge_width=0.0, fade=0.0, sd=0.0)
    after, history = plain.sample(scene(ball(6), image=300.0), 1)
    (lesion,) = history[0]["parameters"]["lesions"]
    assert torch.allclose(after["image"][0][ball(6)], torch.tensor(lesion["mean"][0]))
    assert torch.all(after["image"][0][~ball(6)] == 300.0)
    maps, history = PasteLesions(kinds=["cavity"], edge_width=0.0, fade=0.0).sample(
        scene(ball(9)), 2
    )
    (lesion,) = history[0]["parameters"]["lesions"]
    assert lesion["kind"] == "cavity"
    for name, map_, mean in zip(MAPS, maps["maps"], lesion["mean"], strict=True):
        expected, sd = getattr(LESION_STATISTICS["cavity"], name)
        assert abs(mean - expected) < 5 * sd
        assert abs(float(map_[ball(9)].mean()) - mean) < 1.5 * sd


def test_several_lesions_and_none():
    first, second = ball(5).roll(-10, 0), ball(5).roll(10, 0)
    after, history = PasteLesions("image", sd=0.0).sample(scene(first, second), 5)
    values = [e["mean"][0] for e in history[0]["parameters"]["lesions"]]
    assert len(values) == 2 and values[0] != values[1]
    assert after["image"][0][first].max() != after["image"][0][second].max()
    healthy = scene(torch.zeros(48, 48, 48, dtype=torch.bool))
    after, _ = Chain(PasteLesions("image"), Target()).sample(healthy, 5)
    assert torch.isfinite(after["image"]).all() and torch.all(after["target"] == 1)


def test_pasting_leaves_its_input_alone():
    before = scene(ball(6))
    copies = {name: tensor.clone() for name, tensor in before.items()}
    PasteLesions("image", softening="grown").sample(before, 3)
    assert all(torch.equal(before[name], copies[name]) for name in before)


def test_a_lesion_at_the_edge_and_in_two_dimensions():
    mask = torch.zeros(30, 30, dtype=torch.bool)
    mask[:5, 25:] = True
    after, _ = Chain(PasteLesions("image"), Target()).sample(scene(mask), 1)
    assert torch.equal(after["target"][0] == 5, mask)
    assert after["image"][0][mask].max() > 0


def test_bad_input_is_told():
    with pytest.raises(ValueError, match="'kinds' parameter of PasteLesions"):
        PasteLesions(kinds=["tumour"])
    with pytest.raises(ValueError, match="numbered 1 to 8"):
        labels = scene(ball(3)) | {"lesion": torch.full((1, 48, 48, 48), 41, dtype=torch.uint8)}
        PasteLesions("image").sample(labels, 0)
    with pytest.raises(ValueError, match="softening"):
        PasteLesions(softening="boxy")
    with pytest.raises(ValueError, match="onto"):
        PasteLesions(onto="labels")
