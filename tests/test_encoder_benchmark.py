"""Arms of the benchmark of pretrained encoders: rows that are kept, subjects, tests, tables."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def arms():
    sys.path.insert(0, str(FOLDER))
    try:
        yield import_module("encoder_arms")
    finally:
        sys.path.remove(str(FOLDER))


def test_fewer_subjects_are_among_more(arms):
    few, some, every = (arms.chosen(range(40), share, 3) for share in arms.SHARES)
    assert len(few) == 1 and len(some) == 4 and sorted(every) == list(range(40))
    assert set(few) <= set(some) and arms.chosen(range(40), 0.1, 4) != some
    assert arms.chosen("aabbcc", 1.0, 0).count("a") == 1  # subjects, not their scans


def test_rows_are_measured_once(arms, tmp_path):
    calls = []

    def measure():
        calls.append(1)
        return {"flair": {"a": 0.5}}

    given = (tmp_path, "4", "random frozen", 0.1, 0)
    first = arms.row(*given, 100, measure)
    assert arms.row(*given, 100, measure) == first and len(calls) == 1
    with pytest.raises(SystemExit, match="100 steps, not 200"):
        arms.row(*given, 200, measure)


def test_p_values_are_adjusted(arms):
    np.testing.assert_allclose(arms.holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    assert arms.holm(np.array([0.6, 0.9])).max() == 1.0


def test_a_planted_gain_is_found_over_subjects(arms):
    rng = np.random.default_rng(0)
    rows, base = [], rng.random(12)
    for seed in range(3):
        for arm, gain in (("none", 0.0), ("better", 0.1), ("same", 0.0)):
            scores = base + gain + rng.normal(0, 0.01, 12)
            named = {"flair": {str(number): float(s) for number, s in enumerate(scores)}}
            rows.append({"arm": arm, "share": 0.1, "seed": seed, "cpu_seconds": 1.0})
            rows[-1]["scores"] = named
    lines = arms.table(rows).splitlines()
    better, same = (next(x for x in lines if f"| {arm} |" in x) for arm in ("better", "same"))
    assert "| +0.1" in better or "| +0.09" in better
    assert float(better.split("|")[7]) < 0.01 < float(same.split("|")[7])
    assert better.split("|")[4].strip() == "3"
