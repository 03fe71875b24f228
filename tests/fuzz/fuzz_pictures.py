"""The door of pictures: modes, byte orders, several frames, bombs, damaged bytes."""

import io
import struct

import numpy as np
from fuzz_verdicts import damaged, damages, is_damaged, must

MODES = ("L", "1", "P", "RGB", "RGBA", "LA", "CMYK", "I", "F", "I;16", "I;16B")
FORMATS = {".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG", ".bmp": "BMP"}


def cases():
    """Strategy of the door "picture"."""
    from hypothesis import strategies as st

    size = st.sampled_from([0, 1, 5, 9, 9, 9, 9, 5000, 70000, 2**31])
    return st.fixed_dictionaries(
        {
            "ending": st.sampled_from(list(FORMATS)),
            "named": st.sampled_from([None, None, None, ".png", ".JPG", ".tiff"]),
            "mode": st.sampled_from(MODES),
            "frames": st.sampled_from([1, 1, 1, 2]),
            "damage": damages(4),
            "tiff": st.one_of(
                st.none(),
                st.none(),
                st.fixed_dictionaries(
                    {
                        "big": st.booleans(),
                        "width": size,
                        "height": size,
                        "bits": st.sampled_from([1, 8, 16, 16, 32, 64]),
                        "format": st.sampled_from([1, 1, 2, 3, 9]),
                    }
                ),
            ),
            "how": st.sampled_from(["grey", "colour", "cohort"]),
        }
    )


def prepare(home):
    import imaging

    imaging.read_picture  # noqa: B018


def handmade(about):
    """A TIFF by hand, whose directory says what it likes of 9 x 9 pixels."""
    order = ">" if about["big"] else "<"
    kind = {(2, 16): "i2", (3, 32): "f4", (3, 64): "f8"}.get((about["format"], about["bits"]))
    kind = kind or {1: "u1", 8: "u1", 16: "u2", 32: "u4", 64: "u8"}[about["bits"]]
    pixels = (np.arange(81) * 3 % 200 + 300 * (kind == "u2")).astype(order + kind).tobytes()

    def entry(tag, layout, value):
        packed = struct.pack(order + ("H" if layout == 3 else "I"), value & 0xFFFFFFFF)
        return struct.pack(order + "HHI", tag, layout, 1) + packed.ljust(4, b"\0")

    entries = [
        entry(256, 4, about["width"]),
        entry(257, 4, about["height"]),
        entry(258, 3, about["bits"]),
        entry(259, 3, 1),
        entry(262, 3, 1),
        entry(273, 4, 8 + 2 + 12 * 9 + 4),
        entry(278, 4, about["height"]),
        entry(279, 4, len(pixels)),
        entry(339, 3, about["format"]),
    ]
    head = (b"MM\0*" if about["big"] else b"II*\0") + struct.pack(order + "IH", 8, len(entries))
    return head + b"".join(entries) + bytes(4) + pixels, np.frombuffer(pixels, order + kind)


def made(case):
    """A picture of Pillow's, or None where it cannot write such a one; and the grey it has."""
    from PIL import Image

    grey = (np.arange(81).reshape(9, 9) * 3).astype(np.uint8)
    mode = case["mode"]
    if mode in ("I", "F", "I;16", "I;16B"):
        kind = {"I": "i4", "F": "f4", "I;16": "<u2", "I;16B": ">u2"}[mode]
        expected = grey.astype(np.float32) * 20
        picture = Image.fromarray((grey.astype(np.float64) * 20).astype(kind))
    else:
        picture = Image.fromarray(grey).convert(mode)
        expected = None if mode in ("1", "CMYK") else grey.astype(np.float32)
    file = io.BytesIO()
    more = {}
    if case["frames"] > 1:
        more = {"save_all": True, "append_images": [picture.copy()]}
    try:
        picture.save(file, FORMATS[case["ending"]], **more)
    except (OSError, KeyError, ValueError):
        return None, None
    return file.getvalue(), expected


def door(folder, case):
    from imaging.volumes import read_colours, read_picture
    from prognosis.cohorts.folder import _problem

    expected = None
    if case["tiff"] is not None:
        content, values = handmade(case["tiff"])
        about, ending = case["tiff"], ".tif"
        if (about["width"], about["height"]) == (9, 9) and about["bits"] > 1:
            expected = values.reshape(9, 9).astype(np.float32)
    else:
        content, expected = made(case)
        ending = case["named"] or case["ending"]
    if content is None:
        return
    path = folder / f"picture{ending}"
    path.write_bytes(damaged(content, case["damage"]))
    if case["how"] == "cohort":
        _problem([path], folder, "*")
        return
    if case["how"] == "colour":
        found = read_colours(path)
        must(found.ndim in (2, 3), "no picture")
        return
    found = read_picture(path)
    must(found.ndim == 2 and found.dtype == np.float32 and np.isfinite(found).all(), "no picture")
    must(found.size <= 100_000_000, "too large")
    if expected is None or is_damaged(case["damage"]):
        return
    must(
        case["tiff"] is not None
        or case["frames"] == 1
        or case["ending"] in (".jpg", ".bmp")
        or case["ending"] == ".png",
        "one of several pictures was taken",
    )
    tolerance = 4 if case["ending"] == ".jpg" and case["tiff"] is None else 1
    must(np.abs(found - expected).max() <= tolerance, "other values")


DOORS = {"picture": door}
