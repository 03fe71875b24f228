"""A score on a scan that a segmenter has learnt from says so, however it came to learn it."""

import json
import warnings

import nibabel as nib
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from imaging.segmentation import LesionSegmenter
from imaging.storage.seen import SeenScans, fingerprint

AFFINE = np.diag([8.0, 8, 8, 1])
TINY = {
    "channels": (4, 8, 8),
    "spacing_mm": 8,
    "patch_size": 16,
    "epochs": 1,
    "steps_per_epoch": 1,
    "augment": False,
    "random_state": 0,
}


def _scan(seed):
    data = np.random.default_rng(seed).random((12, 13, 14)).astype(np.float32)
    return nib.Nifti1Image(data, AFFINE)


SCANS = [_scan(seed) for seed in range(6)]
MASKS = [nib.Nifti1Image((s.get_fdata() > 0.9).astype(np.uint8), AFFINE) for s in SCANS]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A model that was trained on the first two scans, as two sequences of one patient."""
    model = LesionSegmenter(**TINY).fit([SCANS[:2]], MASKS[:1])
    return model.save(tmp_path_factory.mktemp("seen") / "first.safetensors")


def _card(path, change=None, without=()):
    with safe_open(path, "pt") as file:
        card = json.loads(file.metadata()["model_card"])
    if change is None and not without:
        return card
    card = {
        name: value for name, value in {**card, **(change or {})}.items() if name not in without
    }
    card.pop("checksum", None)  # as of a file that was never signed
    other = path.with_name("changed.safetensors")
    save_file(load_file(path), other, metadata={"model_card": json.dumps(card)})
    return other


def _said(model, X, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.score(X, y)
    return [str(one.message) for one in caught if "this segmenter" in str(one.message)]


def test_cards_name_the_training_scans(path):
    card = _card(path)
    assert len(card["trained_on"]) == 2 and all(len(one) == 16 for one in card["trained_on"])
    assert "trained_on_others" not in card
    assert card["trained_on"] == sorted(fingerprint(s.get_fdata()) for s in SCANS[:2])


def test_a_scan_is_known_whatever_its_file_and_orientation(path, tmp_path):
    nib.save(SCANS[1], tmp_path / "again.nii.gz")
    flipped = SCANS[0].as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
    model = LesionSegmenter.load(path)
    (said,) = _said(model, [SCANS[2], str(tmp_path / "again.nii.gz"), flipped], MASKS[:3])
    assert "was trained on scans 1, 2 of those scored" in said
    (said,) = _said(model, [[SCANS[3], SCANS[1]]], MASKS[3:4])
    assert "was trained on scan 0 of" in said
    assert _said(model, SCANS[2:4], MASKS[2:4]) == []


def test_cross_validation_of_a_loaded_model_warns(path):
    model = LesionSegmenter.load(path, epochs=1, steps_per_epoch=1, augment=False, random_state=0)
    with pytest.warns(UserWarning, match=r"was trained on scans 0, 1 of") as caught:
        cross_val_score(model, SCANS, MASKS, cv=3, error_score="raise")
    assert len(caught) == 1  # the other two folds score what nothing has seen
    fresh = clone(model).set_params(initial_weights=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        cross_val_score(fresh, SCANS, MASKS, cv=3, error_score="raise")


def test_what_a_model_has_seen_is_handed_on(path, tmp_path):
    settings = {"epochs": 1, "steps_per_epoch": 1, "augment": False, "random_state": 0}
    further = LesionSegmenter.load(path, **settings, checkpoint=tmp_path / "kept")
    further.fit(SCANS[2:3], MASKS[2:3])
    second = further.save(tmp_path / "second.safetensors")
    known = {fingerprint(s.get_fdata()) for s in SCANS[:3]}
    assert set(_card(second)["trained_on"]) == known
    assert set(LesionSegmenter.load(second).seen_scans_.fingerprints) == known
    taken = LesionSegmenter.load(
        path, **settings, checkpoint=tmp_path / "kept", learn_tissues=False
    ).take_checkpoint()
    assert set(taken.seen_scans_.fingerprints) == known
    (said,) = _said(taken, SCANS, MASKS)
    assert "scans 0, 1, 2 of" in said


def test_a_card_that_does_not_say_is_warned_of(path, tmp_path):
    silent = _card(path, {"training_data": "our stroke unit"}, without=["trained_on"])
    model = LesionSegmenter.load(silent, epochs=1, steps_per_epoch=1, augment=False)
    (said,) = _said(model, SCANS[3:], MASKS[3:])
    assert "may have seen those scored" in said
    model.fit(SCANS[:1], MASKS[:1])
    assert "may have seen" in _said(model, SCANS[3:], MASKS[3:])[0]
    assert "scan 0 of" in _said(model, SCANS[:1], MASKS[:1])[0]
    handed_on = model.save(tmp_path / "on.safetensors")
    assert _card(handed_on)["trained_on_others"] is True
    assert "may have seen" in _said(LesionSegmenter.load(handed_on), SCANS[3:], MASKS[3:])[0]


def test_synthetic_training_has_seen_nobody(segmenter, path, tmp_path):
    saved = segmenter.save(tmp_path / "synthetic.safetensors")
    assert _card(saved)["trained_on"] == []
    assert _said(LesionSegmenter.load(saved), SCANS[:2], MASKS[:2]) == []
    shipped = LesionSegmenter.from_pretrained("synthetic-small")
    assert "trained_on" not in shipped.card_ and shipped.seen_scans_ == SeenScans()
    assert _said(shipped, SCANS[:1], MASKS[:1]) == []


def test_the_scans_of_this_very_training_count_too():
    model = LesionSegmenter(**TINY).fit(SCANS[:2], MASKS[:2])
    assert "scan 1 of" in _said(model, [SCANS[4], SCANS[1]], MASKS[:2])[0]
    assert _said(model, SCANS[2:], MASKS[2:]) == []


def test_pictures_are_known_too():
    rng = np.random.default_rng(0)
    pictures = [rng.random((20, 24)).astype(np.float32) for _ in range(3)]
    masks = [(picture > 0.9).astype(np.uint8) for picture in pictures]
    model = LesionSegmenter(**{**TINY, "spatial_dims": 2}).fit(pictures[:2], masks[:2])
    assert "scan 1 of" in _said(model, pictures[2:] + pictures[:1], masks[2:] + masks[:1])[0]


def test_a_wrong_card_is_refused(path):
    from imaging import ModelFileError

    for change in ({"trained_on": "all"}, {"trained_on_others": "yes"}):
        with pytest.raises(ModelFileError, match=next(iter(change))):
            LesionSegmenter.load(_card(path, change))
    with pytest.raises(ModelFileError, match=r"'threshold' parameter of LesionSegmenter"):
        LesionSegmenter.load(_card(path, {"task": {"name": "LesionTask", "threshold": "half"}}))
    with pytest.raises(ModelFileError, match=r"'overlap' parameter of LesionSegmenter"):
        LesionSegmenter.load(_card(path, {"overlap": 7}))
