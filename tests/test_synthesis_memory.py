"""What a source keeps in memory is bounded, is its own, and changes no sample."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from imaging.segmentation import LesionSegmenter
from imaging.storage.recently_used import RecentlyUsed
from imaging.synthesis import LabelMapSource, sources


@pytest.fixture
def source():
    return LabelMapSource([_head(seed) for seed in range(6)], [_lesion(s) for s in range(6)])


def _head(seed):
    codes = np.random.default_rng(seed).choice([2, 3, 4], (24, 24, 24))
    return nib.Nifti1Image(codes.astype(np.int16), np.eye(4))


def _lesion(seed):
    mask = np.random.default_rng(seed).random((9, 9, 9)) < 0.5
    return nib.Nifti1Image(mask.astype(np.uint8), np.eye(4))


def _samples(source, seeds=range(40)):
    return [source.sample({}, seed)[0] for seed in seeds]


def _equal(some, others):
    return all(torch.equal(a[n], b[n]) for a, b in zip(some, others, strict=True) for n in a)


def test_bytes_are_bounded_and_samples_do_not_depend_on_them(source, monkeypatch):
    expected = _samples(source)
    whole = source._kept.bytes
    assert 6 * 24**3 < whole <= sources.KEPT_BYTES
    for most in (0, whole // 3):
        monkeypatch.setattr(sources, "KEPT_BYTES", most)
        small = LabelMapSource(source.label_maps, source.lesions)
        assert _equal(_samples(small), expected)
        assert small._kept.bytes <= most
        assert small._kept.bytes == sum(
            part.nbytes for entry in small._kept.entries.values() for part in entry[:2]
        ) + 2 * 3 * 8 * sum(key[0] == "head" for key in small._kept.entries)
    assert len(small._kept.entries) > 0


def test_the_least_recently_used_goes_first():
    kept = RecentlyUsed(most_bytes=3)
    made = []

    def get(name):
        return kept.get(name, lambda: made.append(name) or (np.zeros(1, np.uint8), name))[1]

    assert [get(name) for name in "abcadb"] == list("abcadb")
    assert made == list("abcdb")  # d put out b, not a, which was used after it
    kept.get("large", lambda: (np.zeros(9, np.uint8),))
    assert "large" not in kept.entries and kept.bytes == 3


def test_copies_and_pickles_begin_empty(source):
    expected = _samples(source, range(5))
    bare = len(pickle.dumps(LabelMapSource(source.label_maps, source.lesions)))
    assert abs(len(pickle.dumps(source)) - bare) < 200
    segmenter = clone(LesionSegmenter(source=source))
    for other in (copy.deepcopy(source), pickle.loads(pickle.dumps(source)), segmenter.source):
        assert other._kept is not source._kept and not other._kept.entries
        assert _equal(_samples(other, range(5)), expected)
    assert source._kept.entries


def test_a_source_that_is_changed_forgets_what_was(source):
    _samples(source)
    source.label_maps, source.table = [_head(9)], {2: "csf", 3: "csf", 4: "csf"}
    fresh = LabelMapSource(source.label_maps, source.lesions, table=source.table)
    assert _equal(_samples(source), _samples(fresh))


def test_threads_share_it(source, monkeypatch):
    expected = _samples(source)
    monkeypatch.setattr(sources, "KEPT_BYTES", source._kept.bytes // 3)
    shared = LabelMapSource(source.label_maps, source.lesions)
    with ThreadPoolExecutor(8) as pool:
        found = [scene for (scene,) in pool.map(lambda s: _samples(shared, [s]), range(40))]
    assert _equal(found, expected)
    assert shared._kept.bytes == sum(
        sum(getattr(part, "nbytes", 0) for part in entry) for entry in shared._kept.entries.values()
    )
