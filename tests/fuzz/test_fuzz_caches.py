"""See `fuzz_caches`."""

from fuzz_caches import cases

FOLDER = {"kind": "cohort", "file": 0.0, "instead": "folder", "damage": {}}
OTHER = {"kind": "images", "file": 0.9504434338952765, "instead": "other", "damage": {}}
KEPT = (OTHER, FOLDER, FOLDER | {"kind": "checkpoint"})  # cases that failed once


def test_caches(fuzz):
    fuzz("cache", cases(), examples=40, kept=KEPT)
