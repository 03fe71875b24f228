"""See `fuzz_caches`."""

from fuzz_caches import cases

FOLDER = {"kind": "cohort", "file": 0.0, "instead": "folder", "damage": {}}
KEPT = (FOLDER, FOLDER | {"kind": "checkpoint"})  # cases that failed once


def test_caches(fuzz):
    fuzz("cache", cases(), examples=40, kept=KEPT)
