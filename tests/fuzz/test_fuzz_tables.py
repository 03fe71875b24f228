"""See `fuzz_tables`."""

from fuzz_tables import cases, soop_cases

KEPT, KEPT_SOOP = (), ()  # cases that failed once


def test_tables(fuzz):
    fuzz("table", cases(), examples=250, kept=KEPT)


def test_the_public_cohort(fuzz):
    fuzz("soop", soop_cases(), examples=60, kept=KEPT_SOOP)
