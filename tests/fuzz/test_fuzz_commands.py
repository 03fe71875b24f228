"""See `fuzz_commands`."""

from fuzz_commands import cases

KEPT = ()  # cases that failed once


def test_commands(fuzz):
    fuzz("command", cases(), examples=60, kept=KEPT)
