"""Model files, caches and commands that ask for what nobody can mean."""

import json
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

import prognosis
from imaging import LesionSegmenter
from imaging.learning.checkpoints import CheckpointError, read_checkpoint
from imaging.storage.bank import ImageBank, Recipe
from imaging.storage.models import ModelFileError, plain_json, shapes_only
from prognosis.cli import main
from prognosis.cohorts.records import read_record
from prognosis.splits import parse_cv


@pytest.fixture
def path(segmenter, tmp_path):
    return segmenter.save(tmp_path / "model.safetensors")


def changed(path, card=(), weights=lambda tensors: tensors, signed=False):
    """A model file with another card or other weights; `signed` keeps the checksum it had."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["model_card"])
    if not signed:
        del about["checksum"]
    about |= dict(card)
    save_file(weights(load_file(path)), path, metadata={"model_card": json.dumps(about)})
    return path


BOMBS = {
    "spacing": {"spacing_mm": 0.01},
    "large voxels": {"spacing_mm": 1e9},
    "channels": {"channels": [10**9, 10**9, 10**9]},
    "channels within bounds": {"channels": [4096, 4096, 4096]},
    "levels": {"channels": [8] * 3000},
    "patch": {"patch_size": [1600, 1600, 1600]},
    "patch beyond numbers": {"patch_size": [10**30] * 3},
    "overlap": {"overlap": 0.999999},
    "outputs": {"outputs": [["a"], ["b"]]},
    "many outputs": {"outputs": [str(n) for n in range(5000)]},
    "task": {"task": {}},
    "scores": {"scores": {"dice": "good"}},
    "fingerprints": {"trained_on": [3]},
}


@pytest.mark.parametrize("card", BOMBS.values(), ids=BOMBS)
def test_cards_are_bounded_before_a_network_is_built(card, path):
    before = _resident_mb()
    with pytest.raises(ModelFileError):
        LesionSegmenter.load(changed(path, card))
    assert _resident_mb() - before < 200


def _resident_mb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def test_shapes_are_compared_without_memory():
    network = shapes_only(lambda: torch.nn.Linear(10**6, 10**6))
    assert network.weight.shape == (10**6, 10**6) and network.weight.is_meta
    with pytest.raises(ZeroDivisionError):
        shapes_only(lambda: 1 / 0)


@pytest.mark.parametrize("value", [1e38, np.nan, -np.inf])
def test_weights_that_give_no_numbers(value, path):
    def fill(tensors):
        name = next(name for name in tensors if tensors[name].ndim > 1)
        return {**tensors, name: torch.full_like(tensors[name], value)}

    with pytest.raises(ModelFileError, match=r"larger than the weights of any|not finite"):
        LesionSegmenter.load(changed(path, weights=fill))


def test_a_file_that_was_changed_is_told_from_the_one_that_was_written(path):
    whole = path.read_bytes()
    place = len(whole) - 5
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(ModelFileError, match="changed or damaged since it was written"):
        LesionSegmenter.load(path)
    path.write_bytes(whole)
    LesionSegmenter.load(path)
    with pytest.raises(ModelFileError, match="changed or damaged"):
        LesionSegmenter.load(changed(path, {"spacing_mm": 9.0}, signed=True))
    LesionSegmenter.load(changed(path, {"spacing_mm": 9.0}))  # older files have no checksum


@pytest.mark.parametrize("text", ["NaN", '{"a": 1e999}', "[" * 100_000])
def test_json_that_holds_no_plain_values(text):
    with pytest.raises(ValueError, match=r"stands where a number|nested too deeply"):
        plain_json(text)


@pytest.fixture
def archive(tmp_path):
    X = pd.DataFrame({"age": np.arange(20.0)}, index=[f"p{k}" for k in range(20)])
    model = LogisticRegression().fit(X, np.arange(20) % 2)
    return prognosis.save(model, tmp_path / "model.prognosis", X)


@pytest.mark.parametrize("name", ["card.json", "model.skops", "other"])
def test_archives_that_would_fill_the_memory(name, archive):
    with zipfile.ZipFile(archive) as file:
        parts = {one: file.read(one) for one in file.namelist()}
    parts[name] = bytes(200_000_000)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for one, part in parts.items():
            file.writestr(one, part)
    with pytest.raises(ModelFileError, match=r"would become 200,000,000 bytes|it holds 'other'"):
        prognosis.load(archive)


@pytest.mark.parametrize("change", [{"columns": {"age": {}}}, {"ids": 3}, {"images": {"t1w": 1}}])
def test_descriptions_of_patients_are_not_believed(change, archive):
    with zipfile.ZipFile(archive) as file:
        parts = {one: file.read(one) for one in file.namelist()}
    card = json.loads(parts["card.json"])
    card["cohort"] |= change
    parts["card.json"] = json.dumps(card)
    with zipfile.ZipFile(archive, "w") as file:
        for one, part in parts.items():
            file.writestr(one, part)
    with pytest.raises(prognosis.CohortError, match="is not whole"):
        prognosis.training_cohort(archive)


# ------------------------------------------------------------------- what is kept on disk


def test_a_damaged_checkpoint_does_not_go_on(tmp_path):
    torch.save({"settings": "{}", "module": {"w": torch.ones(1000)}}, tmp_path / "training.pt")
    content = bytearray((tmp_path / "training.pt").read_bytes())
    assert read_checkpoint(tmp_path / "training.pt")["module"]["w"].sum() == 1000
    content[content.find(b"\x00\x00\x80\x3f" * 20) + 2] ^= 8
    (tmp_path / "training.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(tmp_path / "training.pt")
    torch.save([1, 2], tmp_path / "training.pt")
    with pytest.raises(CheckpointError, match="holds something else"):
        read_checkpoint(tmp_path / "training.pt")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff\xfe", b"null"])
def test_damaged_records_are_made_again(text, tmp_path):
    (tmp_path / "sub-1.json").write_bytes(text)
    assert read_record(tmp_path / "sub-1.json", [], []) is None


def test_what_somebody_else_put_into_a_cache_is_not_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    import nibabel as nib

    scan = nib.Nifti1Image(np.ones((2, 2, 2), np.float32), np.eye(4))
    bank = ImageBank(tmp_path / "cache")
    recipe = Recipe(_halved, (), "halved")
    entry, _ = bank.fetch(recipe, scan)
    values = bank.kept_call(_total)
    assert values(scan) == 8
    for file in (tmp_path / "cache").rglob("*"):
        if file.is_file():
            file.write_bytes(pickle.dumps(Trap()))
    assert bank.fetch(recipe, scan)[1].max() == 0.5 and values(scan) == 8
    assert not (tmp_path / "sprung").exists() and entry.read().max() == 0.5


def test_the_prepared_image_of_one_scan_is_not_taken_for_that_of_another(tmp_path):
    import nibabel as nib

    one, other = (nib.Nifti1Image(np.full((2, 2, 2), n, np.float32), np.eye(4)) for n in (1, 2))
    bank, recipe = ImageBank(tmp_path), Recipe(_halved, (), "halved")
    first, second = (bank.fetch(recipe, image)[0] for image in (one, other))
    second.path.write_bytes(first.path.read_bytes())
    assert bank.fetch(recipe, other)[1].max() == 1.0 and second.read().max() == 1.0
    totals = bank.kept_call(_total)
    assert (totals(one), totals(other)) == (8, 16)
    first, second = sorted((tmp_path / "calls").rglob("output.pkl"))
    second.write_bytes(first.read_bytes())
    assert (totals(one), totals(other)) == (8, 16)


def _halved(image):
    from imaging.grids import Grid

    return np.asanyarray(image.dataobj) / 2, Grid.of(image)


def _total(image):
    return float(np.asanyarray(image.dataobj).sum())


# ------------------------------------------------------------------- the command line


@pytest.mark.parametrize("cv", ["2x99999999999", "99999999", "9" * 5000, "200x100"])
def test_folds_have_a_bound(cv):
    with pytest.raises(ValueError, match="10,000 folds in all are the most"):
        parse_cv(cv)


WRONG = {
    "threads": ["segment", "scan.nii", "--threads", "0"],
    "device": ["segment", "scan.nii", "--device", "abacus"],
    "device of a table": ["fit", "--cohort", "x", "--model", "ladder", "--device", "cuda:99"],
    "memory": ["check", "simulated", "--memory", "FILE"],
    "pattern": ["check", "folder", "--images", "t1w="],
    "absolute pattern": ["check", "folder", "--images", "t1w=/etc/*"],
    "stars": ["check", "folder", "--images", "t1w=**x"],
    "jobs": ["check", "simulated", "--n-jobs", "0"],
    "seed": ["check", "simulated", "--random-state", "-1"],
    "spacing": ["check", "simulated", "--spacing-mm", "nan"],
    "effect": ["check", "simulated", "--imaging-effect", "inf"],
    "labels": ["check", "folder", "--labels", "0"],
    "cv": ["compare", "--cohort", "folder", "--cv", "2x99999999999"],
    "cut": ["compare", "--cohort", "folder", "--cut", "nan"],
    "epochs": ["compare", "--cohort", "folder", "--epochs", "999999999"],
    "mosaic": ["compare", "--cohort", "folder", "--mosaic-size", "1000000"],
    "refits": ["fit", "--cohort", "folder", "--model", "ladder", "--refits", "²"],
    "coverage": ["predict", "FILE", "folder", "--coverage", "nan"],
    "cut of predict": ["predict", "FILE", "folder", "--cut", "x"],
    "zero byte": ["check", "simulated", "--out", "a\0b"],
    "limit": ["cache", "folder", "--limit", "9" * 400 + "GB"],
}


@pytest.mark.parametrize("command", WRONG.values(), ids=WRONG)
def test_every_wrong_value_is_exit_code_two_and_a_sentence(command, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    command = [str(tmp_path / "file") if part == "FILE" else part for part in command]
    if "--out" not in command and command[0] != "cache":
        command += ["--out", str(tmp_path / "out")]
    assert main(command) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("prognosis") and "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_errors_of_the_system_have_an_exit_code(monkeypatch, capsys, tmp_path):
    from prognosis.commands import cache

    for error, code, words in (
        (PermissionError(13, "Permission denied", "x"), 5, "Permission denied: 'x'"),
        (MemoryError(), 3, "too little memory"),
    ):

        def run(options, error=error):
            raise error

        monkeypatch.setattr(cache, "add", _adding(run))
        assert main(["cache"]) == code
        assert words in capsys.readouterr().err


def _adding(run):
    def add(commands):
        commands.add_parser("cache").set_defaults(run=run)

    return add
