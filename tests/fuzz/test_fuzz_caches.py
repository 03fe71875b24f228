"""See `fuzz_caches`."""

from fuzz_caches import cases

KEPT = ()  # cases that failed once


def test_caches(fuzz):
    fuzz("cache", cases(), examples=40, kept=KEPT)
