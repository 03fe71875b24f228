"""The door of the command line: values out of place end in exit code 2 and a sentence.

Whatever is asked for, there is no traceback, and nothing is written outside the folders named.
"""

import io
import os
import sys

import numpy as np
from fuzz_verdicts import Outside, must

from contextlib import redirect_stderr, redirect_stdout  # isort: skip

CODES = (0, 2, 3, 4, 5)
_HOME = {}
# Of every option: values that can be meant, and values that cannot.
COUNTS = ("0", "-1", "1.5", "x", "", "1e9", "99999999999999999999", "nan", "²")
VALUES = {
    "--n-jobs": (("1",), ("0", "x", "1.5", "-99999", "", "1e3")),
    "--random-state": (("0", "7"), ("-1", "x", "1.5", str(2**40))),
    "--epochs": (("1",), COUNTS),
    "--mosaic-size": (("32",), (*COUNTS, "1", "1000000")),
    "--device": (("cpu",), ("abacus", "", "meta", "cuda:99", "cpu:7", "cuda:x")),
    "--labels": (("1",), ("0", "x", "1.5", "-3")),
    "--memory": (("{out}/memory",), ("{file}", "", "{file}/x\0", "a\0b")),
    "--images": ((), ("lesion", "lesion=", "=x", "lesion=/etc/*", "lesion=**x", "lesion=a\0b")),
    "--cv": (("2", "2x1"), ("2x99999999999", "1", "0x3", "x", "", "2x", "9" * 5000, "-2", "2x0")),
    "--cut": ((), ("nan", "inf", "x", "1e400", "")),
    "--threshold": (("0.5",), ("nan", "2", "-1", "x", "inf")),
    "--imaging-effect": (("1",), ("-1", "nan", "inf", "x", "1e9")),
    "--n-patients": (("3",), (*COUNTS,)),
    "--refits": (("0",), ("-1", "x", "1.5", "²", "99999999")),
    "--coverage": (("0.9",), ("0", "1", "nan", "x", "-1")),
    "--threads": (("1",), ("0", "-1", "x", "1e9", "")),
    "--scoring": (("f1_macro",), ("nonsense",)),
    "--positive": ((), ("dead",)),
    "--spacing-mm": (("8",), ("0", "nan", "0.01", "1000", "-1", "x")),
    "--limit": (("20GB", "none"), ("0", "-1", "x", "9" * 400 + "GB", "nan", "")),
    "--clear": ((), ("everything",)),
    "--n-trials": (("1",), COUNTS),
    "--tabular": (("age",), ("nothing",)),
    "--target": (("outcome",), ()),
    "--nonsense": ((), ("1",)),
}
COMMON = ("--n-jobs", "--random-state", "--memory", "--images", "--labels", "--n-patients",
          "--imaging-effect", "--nonsense")  # fmt: skip
TRAINING = ("--epochs", "--mosaic-size", "--device")
COMMANDS = {
    "compare": (*COMMON, *TRAINING, "--cv", "--cut", "--threshold", "--scoring", "--positive",
                "--tabular"),
    "fit": (*COMMON, *TRAINING, "--refits", "--tabular"),
    "check": (*COMMON, "--spacing-mm"),
    "predict": ("--coverage", "--cut", "--images", "--nonsense"),
    "segment": ("--device", "--threads", "--threshold", "--nonsense"),
    "cache": ("--limit", "--clear", "--nonsense"),
    "search": (*COMMON, *TRAINING, "--n-trials", "--cv", "--tabular"),
    "explain": (*COMMON, "--spacing-mm"),
}  # fmt: skip
# Options whose values the command itself refuses after it has looked at the data.
LATER = ("--scoring", "--positive", "--tabular")


def cases():
    """Strategy of the door "command"."""
    from hypothesis import strategies as st

    def options(command):
        pairs = [
            st.tuples(st.just(name), st.sampled_from([*good, *bad]))
            for name in COMMANDS[command]
            for good, bad in [VALUES[name]]
        ]
        return st.fixed_dictionaries(
            {
                "command": st.just(command),
                "options": st.lists(st.one_of(pairs), max_size=2, unique_by=lambda pair: pair[0]),
                "cohort": st.sampled_from(["study", "study", "study", "nowhere", "file", "odd"]),
                "out": st.sampled_from(["out", "out", "out", "file/x", "file", "", "a\0b"]),
                "leave": st.sampled_from([None, None, None, "--out", "--target", "cohort"]),
            }
        )

    return st.sampled_from(list(COMMANDS)).flatmap(options)


def prepare(home):
    import nibabel as nib
    import pandas as pd

    import prognosis.commands.compare
    from prognosis.cli import main

    study = home / "study"
    study.mkdir()
    rng = np.random.default_rng(0)
    n = 24
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{k:02}" for k in range(n)],
            "age": rng.normal(70, 8, n).round(),
            "nihss": rng.integers(0, 20, n),
            "outcome": np.where(np.arange(n) % 2, "poor", "good"),
        }
    )
    table.to_csv(study / "participants.tsv", sep="\t", index=False)
    odd = home / "odd"
    odd.mkdir()
    (odd / "participants.tsv").write_text("participant_id\tage\n1\t2\t3\n")
    (home / "file").write_text("x")
    (home / "cache").mkdir()
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), home / "scan.nii.gz")
    _HOME["home"] = home
    os.environ["XDG_CACHE_HOME"] = str(home / "user-cache")
    arguments = ["fit", "--cohort", str(study), "--target", "outcome", "--tabular", "age"]
    arguments += ["--model", "ladder", "--refits", "0", "--n-jobs", "1", "--quiet"]
    assert main([*arguments, "--out", str(home / "model.prognosis")]) == 0
    prognosis.commands.compare  # noqa: B018


def arguments(case, out):
    """The command line of a case."""
    home, command = _HOME["home"], case["command"]
    cohort = str(home / {"file": "scan.nii.gz"}.get(case["cohort"], case["cohort"]))
    given = {"compare": ["--cohort", cohort, "--quiet"], "search": ["--cohort", cohort, "--quiet"]}
    given |= {"fit": ["--cohort", cohort, "--model", "ladder", "--quiet"]}
    given |= {"check": [cohort, "--quiet"], "explain": [str(home / "model.prognosis"), cohort]}
    given |= {"predict": [str(home / "model.prognosis"), cohort, "--quiet", "--no-maps"]}
    given |= {"segment": [str(home / "scan.nii.gz"), "--model", str(home / "file")]}
    given |= {"cache": [str(home / "cache")]}
    found = list(given[command])
    if case["leave"] == "cohort":
        found = found[2:] if found[:1] == ["--cohort"] else found[1:]
    if command in ("compare", "search", "fit", "check", "explain") and case["leave"] != "--target":
        found += ["--target", "outcome"]
    if command != "cache" and case["leave"] != "--out":
        found += ["--out", out]
    named = dict(case["options"])
    if command in ("compare", "search", "fit") and "--tabular" not in named:
        found += ["--tabular", "age"]
    for name, value in [("--n-jobs", "1"), ("--cv", "2"), ("--n-trials", "1")]:
        if name in COMMANDS[command] and name not in named:
            found += [name, value]
    for name, value in case["options"]:
        value = value.format(out=_HOME["home"] / "named", file=_HOME["home"] / "file")
        found.append(f"{name}={value}")
    return found


def tree(home):
    found = {}
    for path in home.rglob("*"):
        allowed = path.relative_to(home).parts[0]
        if allowed not in ("out", "named", "cache", "user-cache"):
            found[path] = path.stat().st_size if path.is_file() else None
    return found


def door(folder, case):
    import shutil

    from prognosis.cli import main

    home = _HOME["home"]
    out = {"out": str(home / "out"), "file": str(home / "file"), "file/x": str(home / "file/x")}
    out = out.get(case["out"], case["out"])
    given = [case["command"], *arguments(case, out)]
    before = tree(home)
    said, errors = io.StringIO(), io.StringIO()
    inside = os.getcwd()
    os.chdir(folder)
    try:
        with redirect_stdout(said), redirect_stderr(errors):
            code = main(given)
    finally:
        os.chdir(inside)
        for name in ("out", "named"):
            shutil.rmtree(home / name, ignore_errors=True)
        if case["command"] == "fit" and case["out"] == "file":  # that one is named
            (home / "file").write_text("x")
        if tree(home) != before or list(folder.iterdir()):
            raise Outside(f"{given}: written outside of what was named")
    text = errors.getvalue()
    must(code in CODES, f"{given}: exit code {code}")
    must("Traceback" not in text, f"{given}: {text}")
    must(code == 0 or text.strip(), f"{given}: exit code {code} without a word")
    bad = [
        name for name, value in case["options"] if value in VALUES[name][1] and name not in LATER
    ]
    wrong = bad or (case["command"] != "cache" and case["out"] in ("", "a\0b"))
    if wrong and case["leave"] is None:
        must(code == 2, f"{given}: exit code {code} where the command is wrong: {text}")
    sys.stdout.flush()


DOORS = {"command": door}
