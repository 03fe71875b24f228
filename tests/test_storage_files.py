"""Files are whole or not there, honour the umask, and what killed runs left is cleaned up."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from imaging.storage import files
from imaging.storage.caching import as_memory
from imaging.storage.files import making_folder, replacing, replacing_all
from imaging.volumes import write_image
from prognosis import MatchedGroups, compare, logistic_ladder, make_stroke_cohort

WRITERS = {}


def _writer(function):
    WRITERS[function.__name__] = function
    return function


@_writer
def one_file(folder, segmenter):
    with replacing(folder / "a.txt") as temporary:
        temporary.write_text("a")


@_writer
def a_file_that_its_writer_exchanges(folder, segmenter):
    with replacing(folder / "a.txt") as temporary:
        private = folder / "private"
        os.close(os.open(private, os.O_CREAT, 0o600))
        private.replace(temporary)


@_writer
def several_files(folder, segmenter):
    with replacing_all(folder / "out") as temporary:
        (temporary / "a.txt").write_text("a")


@_writer
def a_new_folder(folder, segmenter):
    with making_folder(folder / "new") as temporary:
        (temporary / "a.txt").write_text("a")


@_writer
def an_image(folder, segmenter):
    write_image(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), folder / "a.nii.gz")


@_writer
def a_report(folder, segmenter):
    X = pd.DataFrame({"age": range(20)})
    found = compare(logistic_ladder([["age"]]), X, [0, 1] * 10, cv=2, random_state=0)
    found.to_html(folder / "report" / "index.html")


@_writer
def a_model(folder, segmenter):
    segmenter.save(folder / "model.safetensors")


@_writer
def an_overlay(folder, segmenter):
    from imaging.overlay import save_overlay

    scan = nib.Nifti1Image(np.arange(64, dtype=np.float32).reshape(4, 4, 4), np.eye(4))
    save_overlay(scan, nib.Nifti1Image(np.ones((4, 4, 4)), np.eye(4)), folder / "a.png")


@_writer
def a_cohort(folder, segmenter):
    make_stroke_cohort(1, spacing_mm=8, folder=folder / "cohort", random_state=0)


@_writer
def a_lock_box(folder, segmenter):
    X = pd.DataFrame({"age": range(20)})
    MatchedGroups(3, match=["age"], record=folder / "opened.json").open_lock_box(X)


@_writer
def a_cache(folder, segmenter):
    as_memory(folder / "cache").cache(_ones)(3)


def _ones(n):
    return np.ones(n)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002], ids=oct)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_the_umask_decides_who_may_read(tmp_path, segmenter, write, mask):
    before = os.umask(mask)
    try:
        write(tmp_path, segmenter)
    finally:
        os.umask(before)
    written = list(tmp_path.rglob("*"))
    assert any(path.is_file() for path in written)
    for path in written:
        expected = (0o777 if path.is_dir() else 0o666) & ~mask
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_several_files_all_or_none(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "c.txt").mkdir()  # a file cannot take its place
    with pytest.raises(OSError), replacing_all(tmp_path) as temporary:
        for name in ("a.txt", "b.txt", "c.txt"):
            (temporary / name).write_text("new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "c.txt"]


@pytest.mark.parametrize("writer", [replacing, replacing_all, making_folder])
def test_a_failure_leaves_nothing(tmp_path, writer):
    with pytest.raises(RuntimeError), writer(tmp_path / "a") as temporary:
        if temporary.is_dir():
            (temporary / "part.txt").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_takes_no_others_place(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OSError), making_folder(tmp_path) as temporary:
        (temporary / "a.txt").write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


WRITING = """
import sys, time
from imaging.storage.files import making_folder, replacing, replacing_all
folder = sys.argv[1]
with replacing(folder + "/a.nii.gz"), replacing_all(folder) as one, making_folder(folder + "/b"):
    (one / "half.txt").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def _another_process_writing(folder):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def _write(folder):
    with replacing(folder / "mine.txt") as temporary:
        temporary.write_text("mine")
    return sorted(path.name for path in folder.glob(".writing-*"))


@pytest.mark.skipif(os.name == "nt", reason="there, only age tells")
@pytest.mark.parametrize("waited_for", [True, False], ids=["ended", "zombie"])
def test_left_overs_of_a_killed_process_go_and_those_of_a_living_one_stay(tmp_path, waited_for):
    with _another_process_writing(tmp_path) as child:
        assert len(_write(tmp_path)) == 3
        os.kill(child.pid, signal.SIGKILL)
        if waited_for:
            child.wait()
        else:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert _write(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_number_that_another_process_got_since_is_no_life(tmp_path):
    if files._process(os.getpid())[1] is None:
        pytest.skip("this system does not tell when a process began")
    (tmp_path / f".writing-{files._host()}-{os.getpid()}-1-abcd.nii").touch()
    assert _write(tmp_path) == []


@pytest.mark.parametrize("kind", ["of another host", "without owner"])
def test_what_nobody_can_judge_goes_after_a_day(tmp_path, kind):
    name = ".writing-0f0f0f0f-1-1-abcd" if kind == "of another host" else ".writing-x2ab_9zq"
    old = time.time() - 25 * 3600
    for suffix in (".new", ".old"):
        (tmp_path / f"{name}{suffix}").touch()
    for folder in ("1", "2"):
        (tmp_path / f"{name}{folder}").mkdir()
        (tmp_path / f"{name}{folder}" / "part").touch()
    os.utime(tmp_path / f"{name}2" / "part", (old, old))
    for aged in (".old", "1", "2"):  # in the first folder a file is new
        os.utime(tmp_path / f"{name}{aged}", (old, old))
    assert _write(tmp_path) == [f"{name}.new", f"{name}1"]


def test_no_process_is_asked_by_a_signal_on_windows(monkeypatch):
    name = f".writing-{files._host()}-{os.getppid()}-0-abcd"
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        patch.setattr(os, "kill", lambda *_: pytest.fail("it would end the process"))
        gone = files._owner_is_gone(name)
    assert gone is None


def test_threads_and_processes_write_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from imaging.storage.files import replacing\n"
        "for n in range(60):\n"
        "    with replacing(Path(sys.argv[1]) / f'{n % 7}.txt') as t: t.write_text('x' * 9999)"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(2)
    ]
    failures = []

    def write():
        try:
            for number in range(60):
                with replacing(tmp_path / f"{number % 7}.txt") as temporary:
                    temporary.write_text("x" * 9999)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [child.wait() for child in children] == [0, 0]
    assert failures == []
    names = sorted(path.name for path in Path(tmp_path).iterdir())
    assert names == [f"{number}.txt" for number in range(7)]
    assert {len((tmp_path / name).read_text()) for name in names} == {9999}
