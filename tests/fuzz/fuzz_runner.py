"""Cases run in a child process, which may die of them: memory and time are limits of the test.

Every case ends in "right" (the door gave what an independent reading of the same bytes gives) or in
"refused" (an error of ours, in one sentence). Anything else is a failure: "wrong", "foreign",
"memory", "hung", "crashed", "outside".

By default a seeded look, the same every time. With FUZZ_MINUTES fresh cases for so long, over all
files of the suite.
"""

import os
import pickle
import select
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, example, given, seed, settings

PATIENCE_S = 60  # of one case on a busy machine; most take milliseconds
START_S = 240
FILES = 6  # test files that share FUZZ_MINUTES
GOOD = ("right", "refused")


@dataclass(frozen=True)
class Outcome:
    """What became of a case, and what was said."""

    status: str
    said: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0


class Child:
    """A process that runs cases one after the other, and is replaced when it dies."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.process = None
        self.counts = Counter()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()

    def start(self):
        folder = self.folder / f"child-{time.monotonic_ns()}"
        folder.mkdir()
        command = [sys.executable, str(Path(__file__).with_name("fuzz_child.py")), str(folder)]
        surroundings = {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder), "MPLBACKEND": "agg"}
        surroundings["PYTHONPATH"] = str(Path(__file__).parents[2])
        with open(folder / "stderr", "w") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env=os.environ | surroundings,
            )
        self.errors = folder / "stderr"

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
        self.process = None

    def run(self, door, case):
        """The outcome of one case."""
        if self.process is None:
            self.start()
            begun = self._answer("start", door, START_S)
            assert begun.status == "right", begun
        found = self._answer(door, case, PATIENCE_S)
        self.counts[door, found.status] += 1
        return found

    def _answer(self, door, case, seconds):
        try:
            pickle.dump((door, case), self.process.stdin)
            self.process.stdin.flush()
        except BrokenPipeError:
            return self._died()
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            self.stop()
            return Outcome("hung", f"no answer after {seconds} s", seconds)
        try:
            return Outcome(*pickle.load(self.process.stdout))
        except (EOFError, pickle.UnpicklingError):
            return self._died()

    def _died(self):
        self.process.wait()
        code, said = self.process.returncode, self.errors.read_text()[-2000:]
        self.stop()
        return Outcome("crashed", f"exit code {code}: {said}")


def fuzzed(child, door, strategy, *, examples, kept=()):
    """Try a door with so many seeded cases, and those that failed once; or for FUZZ_MINUTES."""

    def check(case):
        found = child.run(door, case)
        assert found.status in GOOD, f"{door}, {found.status}: {found.said}"

    minutes = float(os.environ.get("FUZZ_MINUTES", 0))
    if not minutes:
        _with(check, strategy, kept, examples, derandomize=True)()
        return
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    end = time.monotonic() + 60 * minutes * workers / FILES
    number = time.time_ns() % 2**32
    while time.monotonic() < end:
        seed(number)(_with(check, strategy, kept, 10 * examples))()
        number += 1


def _with(check, strategy, kept, examples, **options):
    test = given(strategy)(check)
    for case in kept:
        test = example(case)(test)
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        **options,
    )(test)
