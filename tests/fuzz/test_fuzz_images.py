"""See `fuzz_images`."""

from fuzz_images import cases

KEPT = ()  # cases that failed once


def test_images(fuzz):
    fuzz("image", cases(), examples=400, kept=KEPT)
