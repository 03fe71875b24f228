"""See `fuzz_tables`."""

from fuzz_tables import cases, soop_cases

PLAIN = {
    "ids": ["A2", "sub-7", "A1"], "names": [], "cells": ["1"] * 30, "encoding": "utf-8",
    "outcomes": ["2.5", "n/a", "0", "1", "n/a"], "newline": "\n", "tail": "\t", "short": None,
    "quoted": False, "layouts": ["{other}/{id}_T1w.nii"] * 5, "pattern": "**/*.nii",
    "images": True, "unlisted": False, "damage": {},
}  # fmt: skip
LARGE = PLAIN | {"images": False, "names": ["note"], "cells": ["9" * 30, "N/A", "n/a"] + ["3"] * 27}
OUTCOME = PLAIN | {"images": False, "outcomes": ["38", "nan", "9" * 30, "x", "1"]}
AGELESS = {
    "ids": ["sub-1", "sub-2", "sub-3"], "age": ["n/a"] * 4, "nihss": ["n/a", "6", "0", "1"],
    "mrs": ["n/a", "6", "0", "1"], "target": "nihss", "lacks": None, "encoding": "utf-8",
    "damage": {}, "picture": {},
}  # fmt: skip
KEPT, KEPT_SOOP = (PLAIN, LARGE, OUTCOME), (AGELESS,)  # cases that failed once


def test_tables(fuzz):
    fuzz("table", cases(), examples=250, kept=KEPT)


def test_the_public_cohort(fuzz):
    fuzz("soop", soop_cases(), examples=60, kept=KEPT_SOOP)
