"""So many fresh cases over all doors, counted: how many are right, refused, or anything else.

    python tests/fuzz/campaign.py [--cases 10000] [--seed 1] [--door image ...]

Unlike the tests it does not stop at a failure and tries none again; every kind of failure is shown
once, with its case. A door gets its share by how fast it is.
"""

import argparse
import importlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_doors import MODULES
from fuzz_runner import GOOD, Child
from hypothesis import HealthCheck, Phase, given, seed, settings

SHARES = {"image": 0.35, "picture": 0.25, "table": 0.25, "soop": 0.05}
STRATEGIES = {"soop": "soop_cases", "archive": "archive_cases"}


def campaign(door, cases, number, folder):
    """Outcomes of a door by status, the first case of every kind of failure, time and memory."""
    strategy = getattr(importlib.import_module(MODULES[door]), STRATEGIES.get(door, "cases"))()
    counts, failures, start, worst = Counter(), {}, time.perf_counter(), [0.0, 0.0]
    with Child(folder) as child:

        def one(case):
            found = child.run(door, case)
            counts[found.status] += 1
            worst[:] = max(worst[0], found.seconds), max(worst[1], found.peak_mb)
            if found.status not in GOOD:
                last = (found.said.strip().splitlines() or [""])[-1]
                failures.setdefault((found.status, last[:20]), (case, found.said))

        run = settings(
            max_examples=cases,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )(given(strategy)(one))
        seed(number)(run)()
    return counts, failures, time.perf_counter() - start, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--door", nargs="+", choices=list(MODULES), default=list(MODULES))
    options = parser.parse_args()
    others = [door for door in MODULES if door not in SHARES]
    left = (1 - sum(SHARES.values())) / len(others)
    total, failed = Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        for door in options.door:
            cases = round(options.cases * SHARES.get(door, left))
            place = Path(folder, door)
            place.mkdir()
            counts, failures, seconds, worst = campaign(door, cases, options.seed, place)
            total += counts
            failed += sum(n for status, n in counts.items() if status not in GOOD)
            print(
                f"{door:8} {dict(counts)}, {seconds:.0f} s; a case at most {worst[0]:.1f} s, "
                f"{worst[1]:.0f} MB",
                flush=True,
            )
            for (status, _), (case, said) in failures.items():
                print(f"  {status}: {case!r:.1500}\n    {said[-1500:]}", flush=True)
    print(f"in all   {dict(total)}; {failed} of {sum(total.values())} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
