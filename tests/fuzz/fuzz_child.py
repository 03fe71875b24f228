"""The process that `fuzz_runner` gives cases to: one answer for each, on the real stdout."""

import contextlib
import gc
import io
import os
import pickle
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

MOST_MB = 1000  # that one case may take beyond what the process holds already
MOST_VIRTUAL_MB = 4000


def memory_mb(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def forget_peak():
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def run(door, case):
    """Status and what was said of one case."""
    from fuzz_doors import DOORS, Outside, Wrong

    from imaging.errors import ImagingError
    from prognosis.errors import PrognosisError

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "right", DOORS[door](Path(folder), case) or ""
        except (ImagingError, PrognosisError) as error:
            text = str(error)
            if "more memory than there is" in text:
                return "memory", text
            if not text or "\n" in text or "Traceback" in text:
                return "foreign", f"not one sentence: {text[:500]!r}"
            return "refused", text
        except Wrong as error:
            return "wrong", str(error)
        except Outside as error:
            return "outside", str(error)
        except MemoryError as error:
            return "memory", repr(error)
        except BaseException:
            return "foreign", traceback.format_exc()[-3000:]


def main(home):
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a door prints gets among the answers
    import fuzz_doors

    done = 0
    while True:
        try:
            door, case = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if door == "start":
            fuzz_doors.prepare(case, home)
            limit = int((memory_mb("VmSize") + MOST_VIRTUAL_MB) * 1e6)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**31, 2**31))
            pickle.dump(("right", "", 0.0, 0.0), answers)
            answers.flush()
            continue
        done += 1
        if done % 20 == 0:
            gc.collect()
        before = memory_mb("VmRSS")
        forget_peak()
        begin = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status, said = run(door, case)
        seconds, peak = time.perf_counter() - begin, memory_mb("VmHWM") - before
        if peak > MOST_MB and status in ("right", "refused"):
            status, said = "memory", f"{peak:.0f} MB; {said}"
        pickle.dump((status, said[-3000:], seconds, peak), answers)
        answers.flush()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(Path(sys.argv[1]))
