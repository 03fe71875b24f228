"""Caches grow to their limit and no further, lose nothing in use, and touch no other file."""

import os
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from imaging import CacheFolder
from imaging.grids import Grid
from imaging.storage.bank import ImageBank, Recipe
from imaging.storage.caching import as_memory, cached_call
from imaging.storage.upkeep import limits
from imaging.storage.upkeep.entries import find_entries, remove
from imaging.storage.upkeep.savings import counting
from prognosis import StitchedSliceClassifier, compare, logistic_ladder
from prognosis.cli import main

IMAGES, VALUES, FITS = "prepared images", "computed values", "finished fits"
SIZE = 4 * 1000  # bytes of voxels of one prepared image


def _as_it_is(image):
    return np.asanyarray(image.dataobj), Grid.of(image)


def _scan(value):
    return nib.Nifti1Image(np.full((10, 10, 10), value, np.float32), np.eye(4))


RECIPE = Recipe(_as_it_is, (), "as it is")


def _bank(folder):
    return ImageBank(folder / "images", cache=folder)


def _fill(folder, values, start_ns=10**18):
    """Prepared images of which each was last used a second after the one before."""
    entries = [_bank(folder).fetch(RECIPE, _scan(value))[0] for value in values]
    for number, entry in enumerate(entries):
        os.utime(entry.path, ns=(start_ns + number * 10**9,) * 2)
    return entries


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    monkeypatch.delenv(limits.VARIABLE, raising=False)
    limits._seen.clear()
    limits._warned.clear()


# ----------------------------------------------------------------- the limit


def test_what_was_not_used_for_longest_leaves_first(tmp_path):
    entries = _fill(tmp_path, range(10))
    _bank(tmp_path).fetch(RECIPE, _scan(0))  # read again: now it is the latest
    removed = CacheFolder(tmp_path).set_limit(6 * SIZE)
    left = [number for number, entry in enumerate(entries) if entry.path.exists()]
    assert removed == 10 - len(left) and len(left) >= 3
    assert left == [0, *range(10 - len(left) + 1, 10)]
    assert CacheFolder(tmp_path).look()[IMAGES]["bytes"] <= 6 * SIZE


@pytest.mark.parametrize("by", ["folder", "environment"])
def test_writing_makes_room(tmp_path, monkeypatch, by):
    limit = 5 * (SIZE + 500)
    if by == "folder":
        CacheFolder(tmp_path).set_limit(limit)
    else:
        monkeypatch.setenv(limits.VARIABLE, f"{limit / 1000}kB")
    for value in range(20):
        bank = _bank(tmp_path)
        np.testing.assert_array_equal(bank.fetch(RECIPE, _scan(value))[1], float(value))
        assert sum(entry.size for entry in find_entries(tmp_path)) <= limit
    assert CacheFolder(tmp_path).look()[IMAGES]["entries"] >= 3
    assert CacheFolder(tmp_path).limit == limit


def test_a_folder_may_be_without_limit_where_the_environment_has_one(tmp_path, monkeypatch):
    monkeypatch.setenv(limits.VARIABLE, "1kB")
    CacheFolder(tmp_path).set_limit(None)
    _fill(tmp_path, range(3))
    assert CacheFolder(tmp_path).limit is None
    assert CacheFolder(tmp_path).look()[IMAGES]["entries"] == 3


def test_what_is_no_size_is_refused(tmp_path, monkeypatch):
    for wrong in ("much", "-1GB", 0, True, "1 PB"):
        with pytest.raises(ValueError, match=r"is no size; give bytes, or text such as '20GB'"):
            CacheFolder(tmp_path).set_limit(wrong)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(limits.VARIABLE, "lots")
    with pytest.raises(ValueError, match=f"{limits.VARIABLE}=lots"):
        _fill(tmp_path, [1])


def _double(image):
    return float(image.dataobj[0, 0, 0]) * 2


def _finished(folder):
    """A finished fit of `compare(resume=)`."""
    X = pd.DataFrame({"age": np.arange(20.0)})
    models = logistic_ladder([["age"]])
    return compare(models, X, pd.Series([0, 1] * 10), cv=2, random_state=0, resume=folder)


def test_other_files_and_finished_fits_are_never_removed(tmp_path):
    foreign = {
        "images/notes.image": b"PRI2 of somebody",
        "images/0123abcd/abc/mine.image": b"somebody's own",
        "joblib/f/0123456789abcdef0123456789abcdef/output.pkl": b"of plain joblib" * 10,
        "scan.nii.gz": b"x" * 100_000,
        "abc/lock": b"",
    }
    for name, content in foreign.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / "outside").mkdir()
    outside = _fill(tmp_path / "outside", [1])[0].path
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "linked").symlink_to(tmp_path / "outside")
    _finished(tmp_path)
    cache = CacheFolder(tmp_path)
    double = cached_call(as_memory(tmp_path), _double)
    assert [double(_scan(value)) for value in (1, 2, 1)] == [2.0, 4.0, 2.0]
    found = cache.look()
    assert (found[VALUES]["entries"], found[FITS]["entries"]) == (2, 2)
    cache.set_limit(1)
    found = cache.look()
    assert (found[VALUES]["entries"], found[FITS]["entries"]) == (0, 2)
    assert not outside.exists()  # it lies in the folder, but not by its link:
    outside = _fill(tmp_path / "outside", [1])[0].path
    CacheFolder(tmp_path / "cache").clear()
    assert outside.exists()
    assert cache.clear() == (3, 0) and cache.look()[FITS]["entries"] == 0
    assert {name: (tmp_path / name).read_bytes() for name in foreign} == foreign


# ----------------------------------------------------------------- what is in use


def test_nothing_that_is_read_again_and_again_leaves(tmp_path):
    old = _fill(tmp_path, range(4))
    bank = _bank(tmp_path)
    using = bank.using()
    entry = bank.fetch(RECIPE, _scan(2))[0]
    cache = CacheFolder(tmp_path)
    cache.set_limit(1)
    assert entry.read().mean() == 2.0 and [one.path.exists() for one in old].count(True) == 1
    assert cache.clear() == (0, 1) and entry.path.exists()
    del using
    assert cache.clear() == (1, 0) and not entry.path.exists()
    assert not list((tmp_path / "images").iterdir())  # nor empty folders and locks
    np.testing.assert_array_equal(bank.fetch(RECIPE, _scan(2))[1], 2.0)


def test_who_was_killed_uses_nothing(tmp_path):
    _fill(tmp_path, [1])
    script = (
        "import os, sys; from imaging.storage.upkeep.usage import InUse; "
        f"using = InUse({str(tmp_path)!r}); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[1], check=False)
    assert len(list((tmp_path / ".in-use").iterdir())) == 1
    os.utime(_bank(tmp_path).fetch(RECIPE, _scan(1))[0].path)
    assert CacheFolder(tmp_path).clear() == (1, 0)


def test_a_limit_that_is_too_small_is_said_and_a_fit_succeeds(tmp_path):
    X = pd.DataFrame({"scan": [_scan(value) for value in np.random.default_rng(0).random(8)]})
    y = pd.Series([0, 1] * 4)
    settings = {"mosaic_size": 24, "epochs": 2, "device": "cpu", "random_state": 0}
    rng = np.random.default_rng(0)
    X["scan"] = [
        nib.Nifti1Image(rng.random((10, 10, 10)).astype(np.float32), np.eye(4)) for _ in range(8)
    ]
    expected = StitchedSliceClassifier("scan", **settings).fit(X, y).predict_proba(X)
    CacheFolder(tmp_path).set_limit(100)
    kept = {"memory": tmp_path, "memory_limit_mb": 0}
    with pytest.warns(UserWarning, match=r"in use or finished fits, and its limit is 100 B"):
        model = StitchedSliceClassifier("scan", **kept, **settings).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert not list((tmp_path / ".in-use").iterdir())


def test_an_entry_that_was_used_since_it_was_found_stays(tmp_path):
    _fill(tmp_path, [1, 2])
    found = list(find_entries(tmp_path))
    _bank(tmp_path).fetch(RECIPE, _scan(1))
    assert sorted(map(remove, found)) == [False, True]
    assert _bank(tmp_path).fetch(RECIPE, _scan(1))[0].path.exists()
    assert not list(tmp_path.rglob(".writing-*"))


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import numpy as np
import test_storage_upkeep as t
from imaging.storage.caching import as_memory, cached_call
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
double = cached_call(as_memory(folder), t._double)
for value in np.random.default_rng(seed).integers(0, 30, 60).tolist():
    scan = t._scan(value)
    assert (t._bank(folder).fetch(t.RECIPE, scan)[1] == value).all()
    assert double(scan) == 2 * value
print("right")
"""


def test_two_processes_write_at_once(tmp_path):
    """Each is given what it asked for, whatever the other removes, and the limit holds."""
    foreign = tmp_path / "images" / "mine.txt"
    foreign.parent.mkdir()
    foreign.write_text("x" * 100_000)
    limit = 12 * (SIZE + 500)
    CacheFolder(tmp_path).set_limit(limit)
    root = Path(__file__).parents[1]
    command = [sys.executable, "-W", "error::UserWarning", "-c", WRITER, str(tmp_path)]
    surroundings = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [*command, str(seed), str(root / "tests")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=surroundings,
        )
        for seed in range(2)
    ]
    ends = [run.communicate(timeout=240) for run in runs]
    assert [out for out, _ in ends] == ["right\n"] * 2, ends
    sizes = [entry.size for entry in find_entries(tmp_path)]
    assert len(sizes) >= 5 and sum(sizes) <= (1 + 2 * limits.LOOK) * limit + SIZE
    assert foreign.exists() and not list(tmp_path.rglob(".writing-*"))


# ----------------------------------------------------------------- what was saved


def _slow(image):
    time.sleep(0.05)
    return _as_it_is(image)


def test_savings_are_measured(tmp_path):
    recipe, bank = Recipe(_slow, (), "slow"), ImageBank(tmp_path)
    double = bank.kept_call(_double)
    with counting() as outer:
        with counting() as savings:
            for value in (1, 2, 1, 1):
                bank.fetch(recipe, _scan(value))
        with counting() as measured:
            assert [double(_scan(value)) for value in (1, 1)] == [2.0, 2.0]
    assert (savings.images_prepared, savings.images_reused) == (2, 2)
    assert (measured.images_prepared, measured.images_reused) == (1, 1)
    assert savings.prepare_seconds >= 0.1
    assert 0.02 < savings.saved_seconds <= 0.1 * 2
    assert outer.images_prepared == 0  # who counts within says what it found


# ----------------------------------------------------------------- the command


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(["cache", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def test_the_command_shows_limits_and_clears(run, tmp_path):
    _fill(tmp_path, range(5))
    _finished(tmp_path)
    (tmp_path / "scan.nii").write_bytes(b"x" * 2000)
    code, out, err = run(tmp_path)
    assert (code, err) == (0, "")
    rows = {line[:15].strip(): line.split() for line in out.splitlines()}
    assert rows[IMAGES][2] == "5" and rows[IMAGES][-2] == "2001-09-09"
    assert rows[FITS][2] == "2" and rows["other files"][2:4] == ["1", "2"] and "limit: none" in out
    code, out, _ = run(tmp_path, "--limit", "13kB")
    assert code == 0 and "limit: 13 kB" in out and "4 removed" in out
    code, out, _ = run(tmp_path, "--clear", "images")
    assert code == 0 and "1 removed" in out
    assert CacheFolder(tmp_path).look()[FITS]["entries"] == 2
    code, out, _ = run(tmp_path, "--limit", "none", "--clear")
    assert code == 0 and "2 removed" in out and "limit: none" in out
    assert (tmp_path / "scan.nii").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere"], "no folder at 'nowhere'"),
        ([".", "--limit", "much"], "'much' is no size"),
        ([".", "--clear", "dust"], "invalid choice"),
    ],
)
def test_wrong_commands(run, options, words):
    code, out, err = run(*options)
    assert (code, out) == (2, "") and words in err
