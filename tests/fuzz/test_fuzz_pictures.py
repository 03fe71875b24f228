"""See `fuzz_pictures`."""

from fuzz_pictures import cases

KEPT = ()  # cases that failed once


def test_pictures(fuzz):
    fuzz("picture", cases(), examples=300, kept=KEPT)
