"""Caches know files by content, code by what it says, and open nothing that is damaged."""

import importlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import nibabel as nib
import numpy as np
import pytest

import imaging
from imaging import ImageError
from imaging.storage import contents
from imaging.storage.caching import as_memory, cached_call, image_identity
from imaging.storage.code_identity import code_version
from imaging.storage.contents import file_content

VALUES = np.linspace(0.1, 7.7, 40)


def _image(path, value=1.0, kind=nib.Nifti1Image):
    image = kind(np.full((4, 4, 4), value, np.float32), np.diag([2, 2, 2, 1]))
    nib.save(image, path)
    return path


def _exchange(path, change):
    """Change the bytes of a file, but neither its size nor its time."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    change(content)
    assert len(content) == status.st_size
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _flip(position, bit=1):
    def change(content):
        content[position] ^= bit

    return change


# ----------------------------------------------------------------- files by content


@pytest.mark.parametrize("settled_s", [-1.0, contents._SETTLED_S], ids=["settled", "fresh"])
def test_same_size_and_time_is_not_the_same_file(tmp_path, monkeypatch, settled_s):
    monkeypatch.setattr(contents, "_SETTLED_S", settled_s)
    path = _image(tmp_path / "a.nii")
    before = image_identity(path)
    if settled_s < 0:  # as after some seconds; the clock of the file system has to go on, too
        while (tmp_path / "clock").write_text("") is None or (
            (tmp_path / "clock").stat().st_ctime_ns == path.stat().st_ctime_ns
        ):
            continue
    _exchange(path, _flip(-1))
    assert image_identity(path) != before
    _exchange(path, _flip(-1))
    assert image_identity(path) == before


def test_neither_place_nor_name_nor_time_matter_but_the_format_does(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    path = _image(tmp_path / "a.nii")
    (tmp_path / "other").mkdir()
    copy = shutil.copy(path, tmp_path / "other" / "b.nii")
    os.utime(copy, (1, 1))
    assert image_identity(path) == image_identity(str(copy)) == image_identity("~/a.nii")
    assert image_identity(path) != image_identity(shutil.copy(path, tmp_path / "a.img"))


@pytest.mark.parametrize("named", [".img", ".hdr"])
@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (nib.Nifti1Pair, ".img"),
        (nib.Nifti1Pair, ".hdr"),
        (nib.Spm99AnalyzeImage, ".img"),
        (nib.Spm99AnalyzeImage, ".hdr"),
        (nib.Spm99AnalyzeImage, ".mat"),
    ],
)
def test_pairs_count_with_all_their_parts(tmp_path, kind, named, changed):
    _image(tmp_path / "a.img", kind=kind)
    before = image_identity(tmp_path / f"a{named}")
    _exchange(tmp_path / f"a{changed}", _flip(-1))
    assert image_identity(tmp_path / f"a{named}") != before


def test_a_file_is_hashed_once_per_process_and_state(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "_SETTLED_S", -1.0)
    hashed = []
    new_hash = contents.new_hash
    monkeypatch.setattr(contents, "new_hash", lambda: hashed.append(1) or new_hash())
    path = _image(tmp_path / "a.nii")
    for _ in range(3):
        image_identity(path)
    assert len(hashed) == (3 if os.name == "nt" else 1)
    monkeypatch.setattr(os, "name", "nt")  # where the time of a change can be set by anybody
    contents._known.clear()
    for _ in range(3):
        file_content(str(path))
    monkeypatch.undo()
    assert len(hashed) == (6 if os.name == "nt" else 4)


def test_what_is_no_file_is_named(tmp_path):
    for name in ("nowhere.nii", "~no-such-user/scan.nii", str(tmp_path)):
        with pytest.raises(ImageError, match=f"no file at '{name}'; correct the path or drop"):
            image_identity(name)


def test_images_in_memory_by_voxels_and_place():
    one, same = (nib.Nifti1Image(np.ones((2, 2, 2)), np.eye(4)) for _ in range(2))
    moved = nib.Nifti1Image(np.ones((2, 2, 2)), np.diag([2, 1, 1, 1]))
    assert image_identity(one) == image_identity(same) != image_identity(moved)


# ----------------------------------------------------------------- code


def test_every_file_of_a_package_is_its_version_and_none_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "package_for_versions"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('imported')")
    (package / "inner" / "weights.safetensors").write_bytes(b"1")
    importlib.invalidate_caches()

    def version():
        code_version.cache_clear()
        return code_version("package_for_versions")

    seen = [version(), version()]
    assert seen[0] == seen[1]
    (package / "inner" / "weights.safetensors").write_bytes(b"2")
    seen.append(version())
    (package / "__init__.py").write_text("# other")
    seen.append(version())
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_bytes(b"3")
    assert len(set(seen)) == 3 and version() == seen[-1]
    assert code_version("imaging") != code_version("imaging", "prognosis")


MEASURE = """
import sys
from imaging.storage.caching import as_memory, cached_call
import measuring
print(cached_call(as_memory(sys.argv[1]), measuring.measure)(sys.argv[2], 2))
"""
MEASURING = """
def measure(source, factor):
    print("measured", end=" ")
    return 1 * factor
"""


def test_edited_code_is_run_again(tmp_path):
    """The package's own, and that of the measuring function."""
    shutil.copytree(
        Path(imaging.__file__).parent,
        tmp_path / "imaging",
        ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"),
    )
    (tmp_path / "measuring.py").write_text(MEASURING)
    _image(tmp_path / "a.nii")

    def run():
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, "cache", "a.nii"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
        return done.stdout or done.stderr

    assert [run(), run()] == ["measured 2\n", "2\n"]
    with open(tmp_path / "imaging" / "intensity.py", "a") as file:
        file.write("\n# otherwise\n")
    assert [run(), run()] == ["measured 2\n", "2\n"]
    (tmp_path / "measuring.py").write_text(MEASURING.replace("1 *", "5 *"))
    assert [run(), run()] == ["measured 10\n", "10\n"]


# ----------------------------------------------------------------- checked entries


def _spectrum(n):
    return {"values": VALUES[:n], "name": "spectrum", "n": n}


def _is_right(found):
    return (
        found.keys() == {"values", "name", "n"}
        and found["name"] == "spectrum"
        and found["n"] == 40
        and np.array_equal(found["values"], VALUES)
    )


def _call_afresh(memory):
    joblib.memory._FUNCTION_HASHES.clear()  # as in a new process
    return memory.cache(_spectrum)(40)


@pytest.mark.filterwarnings("ignore:the kept result")
@pytest.mark.parametrize("name", ["output.pkl", "func_code.py"])
def test_a_flipped_bit_never_gives_other_numbers(tmp_path, name):
    memory = as_memory(tmp_path)
    assert _is_right(_call_afresh(memory))
    (path,) = tmp_path.rglob(name)
    content = path.read_bytes()
    step = max(1, len(content) // 80)
    for position in [*range(0, len(content), step), *range(len(content) - 5, len(content))]:
        for bit in (1, 64):
            damaged = bytearray(content)
            damaged[position] ^= bit
            path.write_bytes(damaged)
            assert _is_right(_call_afresh(memory))
            assert _is_right(_call_afresh(memory))
            (path,) = tmp_path.rglob(name)
    for length in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert _is_right(_call_afresh(memory))


def test_a_damaged_entry_is_said_once_and_a_good_one_is_served(tmp_path, monkeypatch, recwarn):
    memory = as_memory(tmp_path)
    _call_afresh(memory)
    (path,) = tmp_path.rglob("output.pkl")
    served = path.stat()
    assert _is_right(_call_afresh(memory)) and path.stat().st_ino == served.st_ino
    assert len(recwarn) == 0
    content = bytearray(path.read_bytes())
    content[30] ^= 2
    path.write_bytes(content)
    for _ in range(2):
        assert _is_right(_call_afresh(memory))
    assert [str(warning.message).split(" is ")[1][:7] for warning in recwarn] == ["damaged"]


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path(os.environ["TRAP_FOR_A_TEST"]),))


@pytest.mark.parametrize("given", [str, lambda folder: joblib.Memory(folder, verbose=0)])
def test_an_entry_without_checksum_is_not_opened(tmp_path, monkeypatch, given):
    monkeypatch.setenv("TRAP_FOR_A_TEST", str(tmp_path / "sprung"))
    memory = as_memory(given(tmp_path / "cache"))
    _call_afresh(memory)
    (path,) = tmp_path.rglob("output.pkl")
    path.write_bytes(pickle.dumps(Trap()))
    assert _is_right(_call_afresh(memory))
    assert not (tmp_path / "sprung").exists()


def test_entries_of_plain_joblib_are_computed_again_in_the_same_folder(tmp_path):
    plain = joblib.Memory(tmp_path, verbose=0)
    _call_afresh(plain)
    checked = as_memory(plain)
    assert checked.location == plain.location
    (path,) = tmp_path.rglob("output.pkl")
    without = path.read_bytes()
    assert _is_right(_call_afresh(checked))
    assert path.read_bytes().startswith(without) and path.read_bytes() != without
    assert as_memory(checked) is checked
    assert as_memory(None).location is None


@pytest.mark.parametrize("options", [{"mmap_mode": "r"}, {"compress": 3}], ids=str)
def test_options_of_a_memory_are_kept(tmp_path, options):
    memory = as_memory(joblib.Memory(tmp_path, verbose=0, **options))
    for _ in range(2):
        assert _is_right(_call_afresh(memory))
    assert isinstance(_call_afresh(memory)["values"], np.memmap) == ("mmap_mode" in options)


def _many(folder):
    kept = as_memory(folder).cache(_spectrum)
    return all(np.array_equal(kept(n)["values"], VALUES[:n]) for n in range(1, 12))


def test_several_processes_write_at_once(tmp_path):
    assert all(joblib.Parallel(2)(joblib.delayed(_many)(tmp_path) for _ in range(6)))
    assert not list(tmp_path.rglob(".writing-*"))


def test_what_cannot_be_kept_is_given_all_the_same(tmp_path):
    kept = cached_call(as_memory(tmp_path / "cache"), _generator)
    with pytest.warns(Warning, match="a result could not be kept in"):
        assert next(kept(_image(tmp_path / "a.nii"))) == 1


def _generator(source):
    return iter(one for one in [1])
