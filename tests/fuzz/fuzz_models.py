"""The doors of model files: a segmenter with its card, and what `prognosis.save` writes.

A file that opens has to give what the whole one gave, or what its changed card honestly says:
probabilities; a card that was changed is signed anew in half of the cases, as an attacker would.
"""

import hashlib
import io
import json
import zipfile

import numpy as np
from fuzz_verdicts import damaged, damages, is_damaged, must

_HOME = {}


def values():
    """Strategy of what may stand in a card: plain values, most of them out of place."""
    from hypothesis import strategies as st

    size = st.sampled_from([0, -1, 1, 2, 3, 8, 16, 200, 1600, 10**9, 10**30])
    return st.one_of(
        st.sampled_from([None, True, False, "", "x", "1", [], {}, 0.0, 1.0, -1.0, 0.01, 0.999999,
                         1e9, 1e300, float("nan"), float("inf"), "unet-small", "swinunetr-small",
                         "folded", ["a", "b"], ["a", "a"], [["a"]], {"a": None}, {"a": 1}]),
        size,
        st.lists(size, max_size=4),
        st.just([8] * 3000),
    )  # fmt: skip


def cases():
    """Strategy of the door "model"."""
    from hypothesis import strategies as st

    names = st.sampled_from(
        ["format", "outputs", "task", "spacing_mm", "patch_size", "spatial_dims", "architecture",
         "channels", "deep_supervision", "dropout", "mirror", "training_data", "scores",
         "trained_on", "overlap", "test_time_mirroring", "version", "date", "checksum"]
    )  # fmt: skip
    weights = st.tuples(
        st.floats(0, 1),
        st.sampled_from(
            ["1e38", "nan", "inf", "1e8", "drop", "flat", "more", "float8", "int", "0"]
        ),
    )
    return st.fixed_dictionaries(
        {
            "card": st.lists(st.tuples(names, values()), max_size=2),
            "text": st.sampled_from([None] * 8 + ["", "[]", "[" * 100_000, '{"format": 1e999}']),
            "weights": st.lists(weights, max_size=1),
            "signed": st.booleans(),
            "damage": st.one_of(st.just({}), damages(3)),
            "how": st.sampled_from(["segmenter", "segmenter", "segmenter", "encoder"]),
        }
    )


def archive_cases():
    """Strategy of the door "archive"."""
    from hypothesis import strategies as st

    names = st.sampled_from(
        ["format", "model", "steps", "cohort", "versions", "trusted", "checksums", "date", "code"]
    )
    inside = st.sampled_from(["n_patients", "columns", "images", "places", "salt", "ids", "used"])
    return st.fixed_dictionaries(
        {
            "card": st.lists(st.tuples(names, values()), max_size=1),
            "cohort": st.lists(st.tuples(inside, values()), max_size=1),
            "bomb": st.sampled_from([None] * 6 + ["card.json", "model.skops", "extra"]),
            "inner": st.one_of(st.just({}), damages(3)),  # of the model, and signed anew
            "harm": st.sampled_from([None] * 6 + ["os.system", "builtins.eval", "nothing.there"]),
            "damage": st.one_of(st.just({}), damages(3)),
        }
    )


def prepare(home):
    import nibabel as nib
    import pandas as pd

    import prognosis
    from imaging import LesionSegmenter, SequenceInvariantEncoder
    from imaging.synthesis import LabelMapSource

    segmenter = LesionSegmenter(
        channels=(4, 8, 8),
        source=LabelMapSource(spacing_mm=8),
        spacing_mm=8,
        patch_size=16,
        mirror=(0.5, 0.0, 0.0),
        epochs=1,
        steps_per_epoch=1,
        validation_samples=0,
        random_state=0,
    ).fit()
    _HOME["segmenter"] = segmenter.save(home / "segmenter.safetensors").read_bytes()
    encoder = SequenceInvariantEncoder(
        channels=(4, 4, 8),
        source=LabelMapSource(spacing_mm=8),
        spacing_mm=8,
        patch_size=24,
        batch_size=4,
        steps_per_epoch=1,
        epochs=1,
        random_state=0,
    )
    _HOME["encoder"] = encoder.fit().save(home / "encoder.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    voxels = rng.normal(100, 20, (20, 22, 18)).astype(np.float32)
    _HOME["scan"] = nib.Nifti1Image(voxels, np.diag([8.0, 8, 8, 1]))
    X = pd.DataFrame(
        {"age": rng.normal(60, 9, 40), "sex": rng.choice(["F", "M"], 40)},
        index=[f"p{k}" for k in range(40)],
    )
    y = pd.Series(rng.integers(0, 2, 40), X.index, name="bad")
    model = prognosis.logistic_ladder([["age", "sex"]])["age + sex"].fit(X, y)
    path = prognosis.save(model, home / "model.prognosis", X, y)
    _HOME.update(archive=path.read_bytes(), table=X, expected=model.predict_proba(X))
    for name in ("segmenter", "encoder"):
        path = home / f"{name}.safetensors"
        _HOME[f"{name} says"] = answer(name, path)


def answer(name, path):
    """What a model says of the scan."""
    from imaging import LesionSegmenter, SequenceInvariantEncoder

    if name == "encoder":
        return np.asarray(SequenceInvariantEncoder.load(path).transform([_HOME["scan"]]))
    (image,) = LesionSegmenter.load(path).predict_proba([_HOME["scan"]])
    return image.get_fdata()


def door(folder, case):
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    whole = folder / "whole.safetensors"
    whole.write_bytes(_HOME[case["how"]])
    path = folder / "model.safetensors"
    with safe_open(whole, "pt") as file:
        card = json.loads(file.metadata()["model_card"])
    weights, changed = load_file(whole), bool(case["card"] or case["weights"] or case["text"])
    if changed:
        if not case["signed"]:
            card.pop("checksum")  # as one who cannot sign would
        card |= dict(case["card"])
        for share, what in case["weights"]:
            change(weights, sorted(weights)[int(share * (len(weights) - 1))], what, torch)
        text = json.dumps(card) if case["text"] is None else case["text"]
        save_file(weights, path, metadata={"model_card": text})
    else:
        path.write_bytes(_HOME[case["how"]])
    path.write_bytes(damaged(path.read_bytes(), case["damage"]))
    said = answer(case["how"], path)
    must(np.isfinite(said).all(), "values that are not finite")
    if case["how"] == "segmenter":
        must(said.min() >= 0 and said.max() <= 1.00001, "no probabilities")
    if not changed or case["signed"]:  # then every byte is vouched for
        equal = said.shape == _HOME[f"{case['how']} says"].shape
        equal = equal and np.allclose(said, _HOME[f"{case['how']} says"], atol=1e-5)
        foreign = dict(case["card"]).get("checksum", 0) is None
        must(equal or foreign, "a changed file gives other results")


def change(weights, name, what, torch):
    tensor = weights[name]
    if what == "drop":
        del weights[name]
    elif what == "flat":
        weights[name] = tensor.reshape(-1).contiguous()
    elif what == "more":
        weights["further.weight"] = torch.zeros(3)
    elif what == "float8":
        weights[name] = tensor.to(torch.float8_e4m3fn)
    elif what == "int":
        weights[name] = tensor.to(torch.int32)
    else:
        weights[name] = torch.full_like(tensor, float(what))


def archive_door(folder, case):
    import prognosis
    from imaging.storage.models import ModelFileError
    from prognosis.prediction.predicting import predict_patients

    path = folder / "model.prognosis"
    with zipfile.ZipFile(io.BytesIO(_HOME["archive"])) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    card = json.loads(parts["card.json"])
    touched = bool(case["card"] or case["cohort"] or case["bomb"] or case["harm"])
    touched = touched or is_damaged(case["inner"])
    if case["harm"]:
        parts["model.skops"] = harmful(parts["model.skops"], case["harm"])
    if is_damaged(case["inner"]):
        parts["model.skops"] = damaged(parts["model.skops"], case["inner"])
    card["checksums"]["model.skops"] = hashlib.sha256(parts["model.skops"]).hexdigest()
    card |= dict(case["card"])
    if case["cohort"] and isinstance(card["cohort"], dict):
        card["cohort"] |= dict(case["cohort"])
    if touched:
        parts["card.json"] = json.dumps(card).encode()
        if case["bomb"]:
            parts[case["bomb"]] = bytes(300_000_000)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for name, part in parts.items():
                file.writestr(name, part)
        parts.clear()
    else:
        path.write_bytes(_HOME["archive"])
    path.write_bytes(damaged(path.read_bytes(), case["damage"]))
    model = prognosis.load(path)
    found = model.predict_proba(_HOME["table"])
    must(np.isfinite(found).all(), "values that are not finite")
    if not is_damaged(case["inner"]):
        must(np.array_equal(found, _HOME["expected"]), "a changed file gives other results")
    try:
        cohort = prognosis.training_cohort(path)
    except ModelFileError:
        return
    predict_patients(model, _HOME["table"], cohort)
    repr(cohort), cohort.columns


def harmful(held, name):
    """A model whose first type is another."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(held)) as file, zipfile.ZipFile(out, "w") as other:
        for part in file.namelist():
            content = file.read(part)
            if part == "schema.json":
                schema = json.loads(content)
                module, _, own = name.rpartition(".")
                schema["__class__"], schema["__module__"] = own, module
                content = json.dumps(schema).encode()
            other.writestr(part, content)
    return out.getvalue()


DOORS = {"model": door, "archive": archive_door}
