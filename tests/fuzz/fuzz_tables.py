"""The doors of tables: a folder of one's own, and the public stroke cohort.

The truth is drawn first and written in some way; what is read has to be the truth, cell by cell,
and every scan the scan of its patient.
"""

import math
import shutil
import struct

import numpy as np
from fuzz_verdicts import Outside, damaged, damages, is_damaged, must

ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32")
MISSING = ("", "n/a", "NA", "nan", "NaN", "N/A")
LAYOUTS = (
    "sub-{id}/anat/sub-{id}_T1w.nii",
    "{id}_T1w.nii",
    "{id}/T1w.nii",
    "visit_1/{id}_T1w.nii",
    "visit_2/{id}_visit_1_T1w.nii",
    "site_{other}/{id}_T1w.nii",
    "{other}/{id}_T1w.nii",
    "sub-{other}/sub-{id}_T1w.nii",
    "sub-{id}/ses-{other}/sub-{id}_ses-{other}_T1w.nii",
    "{id}.nii",
    "T1w_{id}.nii",
)
PATTERNS = ("**/*T1w.nii", "*/*_T1w.nii", "*_T1w.nii", "sub-*/anat/*_T1w.nii", "**/*.nii")
ODD_PATTERNS = ("", " ", "**x", "/etc/*", "~/*", "a\0b", "[", "*" * 2000, "**/" * 30, "..", ".")
_HOME = {}


def cases():
    """Strategy of the door "table"."""
    from hypothesis import strategies as st

    ids = st.one_of(
        st.sampled_from(["1", "2", "01", "10", "sub-1", "sub-01", "sub-2", "A1", "A2", "x_1", "x"]),
        st.sampled_from(["../1", "/etc/x", "a/b", " 3 ", "=1+1", "@x", "1.2", "..", "", "n/a"]),
        st.text(max_size=4),
    )
    number = st.one_of(
        st.integers(-5, 120).map(str),
        st.floats(-1e3, 1e3).map(repr),
        st.sampled_from(["1e20", "-1e300", "inf", "-inf", "1e400", "3.5", "007", "1,5", "9" * 30,
                         "120+", "0x10", "True", "1_000", "+4", " 5", "5 ", "1e-400"]),
    )  # fmt: skip
    text = st.one_of(
        st.sampled_from(
            ["F", "M", '"F"', '"tall', 'y"', "a,b", "=cmd()", "Köln", "\u2028", "NULL"]
        ),
        st.text(max_size=5),
    )
    cell = st.one_of(number, number, text, st.sampled_from(MISSING))
    names = st.sampled_from(["age", "sex", "note", "out", "lesion", "b c"])
    good = st.sampled_from(["1", "2", "01", "10", "A1", "A2", "x_1", "x", "1_2", "B-3", "sub-7"])
    prefix = st.sampled_from(["", "sub-"])

    def often(usual, odd):
        """Three times in four what is usual, so that cases get past the first look."""
        return st.integers(0, 3).flatmap(lambda n: usual if n else odd)

    return st.fixed_dictionaries(
        {
            "ids": often(
                st.builds(
                    lambda ids, start: [start * (not one.startswith("sub-")) + one for one in ids],
                    st.lists(good, min_size=1, max_size=5, unique=True),
                    prefix,
                ),
                st.lists(ids, min_size=1, max_size=5),
            ),
            "names": often(
                st.lists(names, max_size=3, unique=True),
                st.lists(st.one_of(names, st.sampled_from(["age", "t1w", "", " b"])), max_size=3),
            ),
            "cells": st.lists(cell, min_size=30, max_size=30),
            "outcomes": often(
                st.lists(st.sampled_from(["0", "1", "2.5", "n/a"]), min_size=5, max_size=5),
                st.lists(cell, min_size=5, max_size=5),
            ),
            "encoding": often(st.just("utf-8"), st.sampled_from(ENCODINGS)),
            "newline": st.sampled_from(["\n", "\n", "\r\n", "\r"]),
            "tail": st.sampled_from(["", "", "\t", "\t\t"]),
            "short": often(st.none(), st.integers(0, 5)),
            "quoted": often(st.just(False), st.booleans()),
            "layouts": often(
                st.sampled_from(LAYOUTS).map(lambda one: [one] * 5),
                st.lists(st.sampled_from(LAYOUTS), min_size=5, max_size=5),
            ),
            "pattern": often(st.just("**/*.nii"), st.sampled_from([*PATTERNS, *ODD_PATTERNS])),
            "images": st.booleans(),
            "unlisted": st.booleans(),
            "damage": often(st.just({}), damages(3)),
        }
    )


def soop_cases():
    """Strategy of the door "soop"."""
    from hypothesis import strategies as st

    cell = st.sampled_from(["0", "1", "2.0", "6", "3", "n/a"])
    odd = st.sampled_from(["7", "3.5", "-1", "1e20", "inf", "x", '"1"', "", "42", "43"])
    age = st.sampled_from(["60", "89+", "61.0", "n/a", "70"])
    odd_age = st.sampled_from(["120+", "old", "-3", "1e9", "89", "89 +"])
    ids = st.sampled_from(["sub-1", "sub-2", "sub-2", "../x", "/tmp/x", "sub-3", "a/b", ".", ""])

    def often(usual, rare):
        return st.integers(0, 5).flatmap(lambda n: usual if n else rare)

    def four(usual, rare):
        rows = st.lists(usual, min_size=4, max_size=4)
        return often(rows, st.lists(st.one_of(usual, rare), min_size=4, max_size=4))

    return st.fixed_dictionaries(
        {
            "ids": often(
                st.just(["sub-1", "sub-2", "sub-3"]), st.lists(ids, min_size=1, max_size=4)
            ),
            "age": four(age, odd_age),
            "nihss": four(cell, odd),
            "mrs": four(cell, odd),
            "lacks": often(st.none(), st.integers(0, 6)),
            "encoding": often(st.just("utf-8"), st.sampled_from(ENCODINGS)),
            "target": st.sampled_from(["mrs", "nihss", "poor_outcome"]),
            "damage": often(st.just({}), damages(3)),
            "picture": often(st.just({}), damages(3)),
        }
    )


def prepare(home):
    from PIL import Image

    from prognosis import load_cohort, load_soop  # noqa: F401

    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 2, 2, 2, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 2, 8)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352.0)
    struct.pack_into("<h", header, 254, 1)
    struct.pack_into("<12f", header, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    header[344:348] = b"n+1\0"
    _HOME["scan"] = bytes(header) + bytes(range(1, 9))
    picture = home / "picture.png"
    Image.fromarray(np.full((189, 503, 3), 90, np.uint8)).save(picture)
    _HOME["picture"] = picture.read_bytes()


def written(names, rows, case, quoted=False):
    """The bytes of a table."""
    rows = [list(names), *rows]
    if quoted:
        rows = [[f'"{cell}"' for cell in row] for row in rows]
    lines = ["\t".join(row) + case.get("tail", "") for row in rows]
    if case.get("short") is not None and case["short"] < len(lines):
        lines[case["short"]] = lines[case["short"]].rpartition("\t")[0]
    text = case.get("newline", "\n").join(lines) + case.get("newline", "\n")
    return text.encode(case["encoding"], "replace")


def door(folder, case):
    from prognosis import load_cohort

    ids = case["ids"]
    names = ["participant_id", *case["names"], "outcome"]
    width = len(case["names"])
    rows = [
        [patient, *case["cells"][k * width : (k + 1) * width], case["outcomes"][k]]
        for k, patient in enumerate(ids)
    ]
    table = folder / "study" / "participants.tsv"
    table.parent.mkdir()
    table.write_bytes(damaged(written(names, rows, case, case["quoted"]), case["damage"]))
    owner = {}
    if case["images"]:
        listed = [*ids, "77"] if case["unlisted"] else ids
        for k, patient in enumerate(listed):
            plain = patient.strip().removeprefix("sub-")
            if not plain.isascii() or not plain.replace("_", "").isalnum():
                continue
            other = ids[k - 1].strip().removeprefix("sub-")
            if not other.isascii() or not other.isalnum():
                other = "9"
            path = table.parent / case["layouts"][k % 5].format(id=plain, other=other)
            owner.setdefault(str(path), set()).add(patient.strip())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_HOME["scan"])
    images = {"t1w": case["pattern"]} if case["images"] else {}
    X, y = load_cohort(table, images, target="outcome")
    must(len(X) and X.index.is_unique and X.index.equals(y.index), "rows are not patients")
    must(X.columns.is_unique, "doubled columns")
    if is_damaged(case["damage"]):
        return
    # Where letters cannot be written in an encoding, the truth is what was written instead.
    text = written(names, rows, {**case, "short": None, "tail": ""}).decode(case["encoding"])
    lines = [line.split("\t") for line in text.split(case["newline"])[: len(rows) + 1]]
    truth = {row[0].strip(): dict(zip(lines[0], row)) for row in lines[1:]}
    for patient in X.index:
        must(patient in truth, f"{patient!r} is in no line")
        for name in [*X.columns, "outcome"]:
            found = y[patient] if name == "outcome" else X.loc[patient, name]
            if name == "t1w" and case["images"]:
                must(owner.get(found) == {patient}, f"{patient!r} got {found!r}")
                continue
            said = next(value for key, value in truth[patient].items() if key.strip() == name)
            must(same(found, said), f"{patient!r}, {name!r}: {said!r} became {found!r}")
    known = [p for p, row in truth.items() if row["outcome"].strip() not in MISSING]
    must(set(known) <= set(X.index), "patients were lost without a word")


def same(found, said):
    """Whether a cell is what its text says."""
    if said in MISSING:
        return isinstance(found, float) and math.isnan(found)
    if isinstance(found, str):
        return found == said
    if isinstance(found, (bool, np.bool_)):
        return said.strip().lower() == str(bool(found)).lower()
    try:
        return math.isclose(float(said), float(found), rel_tol=1e-12) or float(said) == float(found)
    except ValueError:
        return said.strip() in MISSING and math.isnan(found)


def soop_door(folder, case):
    from prognosis import load_soop

    home = folder / "soop"
    for name in ("Scripts", "NIfTI", "PNG"):
        (home / name).mkdir(parents=True)
    for patient in ("sub-1", "sub-2", "sub-3"):
        (home / f"NIfTI/bwsr{patient}_lesion.nii.gz").write_bytes(b"")
        (home / f"PNG/r{patient}_lesion.nii.png").write_bytes(
            damaged(_HOME["picture"], case["picture"])
        )
    names = ["participant_id", "sex", "age", "race", "priorstroke", "bmi", "nihss",
             "gs_rankin_6isdeath"]  # fmt: skip
    if case["lacks"] is not None:
        names[case["lacks"]] = "other"
    rows = [
        [p, "F", case["age"][k], "w", "0", "25", case["nihss"][k], case["mrs"][k]]
        for k, p in enumerate(case["ids"])
    ]
    table = home / "Scripts" / "participants.tsv"
    table.write_bytes(damaged(written(names, rows, case), case["damage"]))
    before = {path for path in folder.rglob("*") if (folder / "cache") not in path.parents}
    try:
        X, y = load_soop(folder, target=case["target"], cache=folder / "cache", n_jobs=1)
    finally:
        after = {path for path in folder.rglob("*") if (folder / "cache") not in path.parents}
        if after - before - {folder / "cache"}:
            raise Outside(f"written: {sorted(map(str, after - before))}")
        shutil.rmtree(folder / "cache", ignore_errors=True)
    must(X.index.is_unique and len(X) == len(y), "doubled patients")
    must(X["age"].dropna().between(0, 120).all(), f"ages {X['age'].tolist()}")
    limit = {"mrs": 6, "nihss": 42, "poor_outcome": 1}[case["target"]]
    must(y.between(0, limit).all() and (y == y.round()).all(), f"outcomes {y.tolist()}")
    if is_damaged(case["damage"]):
        return
    column = case["nihss"] if case["target"] == "nihss" else case["mrs"]
    for patient, value in y.items():
        said = float(column[case["ids"].index(patient)])
        if case["target"] == "poor_outcome":
            said = float(said > 2)
        must(value == said, f"{patient!r}: {said} became {value}")


DOORS = {"table": door, "soop": soop_door}
