"""The door of volumes: headers whose fields are anything, bytes flipped, files cut or blown up.

What is read is compared with a reading of the same bytes that knows nothing of nibabel.
"""

import bz2
import functools
import gzip
import struct
import zlib

import numpy as np
from fuzz_verdicts import damaged, damages, is_damaged, must

FIELDS = {  # offset in a NIfTI-1 header, and layout
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "intent_code": (68, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "cal_max": (124, "f"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "6f"),
    "srow": (280, "12f"),
    "magic": (344, "4s"),
    "extension": (348, "4s"),
}
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip
ENDINGS = (".nii", ".nii.gz", ".nii.bz2", ".img", ".mgh", ".mgz")
SHAPE = (3, 4, 5)
HUGE = 1e38


def cases():
    """Strategy of the door "image"."""
    from hypothesis import strategies as st

    size = st.sampled_from([0, 1, 2, 3, 4, 5, 6, -1, 1200, 30000, 32767])
    number = st.sampled_from(
        [0.0, 1.0, -1.0, 2.0, 0.5, 1e-3, 1e-12, 60.0, 1000.0, 1e20, -HUGE, float("nan"),
         float("inf")]
    )  # fmt: skip
    changes = st.one_of(
        st.tuples(st.just("dim"), st.tuples(st.integers(-1, 8), *[size] * 7)),
        st.tuples(st.just("dim"), st.tuples(st.just(3), *[size] * 3, *[st.just(1)] * 4)),
        st.tuples(st.just("datatype"), st.sampled_from([*TYPES, 0, 1, 32, 128, 1792, 2304, 9999])),
        st.tuples(st.just("bitpix"), st.sampled_from([0, 8, 16, 64, -1])),
        st.tuples(st.just("pixdim"), st.tuples(*[number] * 8)),
        st.tuples(
            st.just("vox_offset"),
            st.sampled_from([0.0, -1.0, 16.0, 348.0, 352.0, 353.0, 368.0, 1e9, float("nan"), HUGE]),
        ),
        st.tuples(st.sampled_from(["scl_slope", "scl_inter"]), number),
        st.tuples(st.just("xyzt_units"), st.integers(0, 255)),
        st.tuples(st.sampled_from(["qform_code", "sform_code"]), st.sampled_from([-1, 0, 1, 4, 9])),
        st.tuples(st.just("quatern"), st.tuples(*[number] * 6)),
        st.tuples(st.just("srow"), st.tuples(*[number] * 12)),
        st.tuples(st.just("magic"), st.sampled_from([b"n+1\0", b"ni1\0", b"n+2\0", b"abcd"])),
        st.tuples(st.just("extension"), st.sampled_from([b"\1\0\0\0", b"\xff\xff\xff\xff"])),
        st.tuples(st.just("sizeof_hdr"), st.sampled_from([0, 348, 540, -1])),
        st.tuples(st.just("intent_code"), st.sampled_from([0, 1002, 2003, 2004])),
    )
    return st.fixed_dictionaries(
        {
            "ending": st.sampled_from(ENDINGS),
            "datatype": st.sampled_from(list(TYPES)),
            "big_endian": st.booleans(),
            "fields": st.lists(changes, max_size=3),
            "plain": st.one_of(st.just({}), damages(3)),  # before compression
            "packed": st.one_of(st.just({}), damages(3)),
            "zeros": st.sampled_from([0, 0, 0, 0, 200_000_000]),  # after the voxels
            "members": st.booleans(),
            "how": st.sampled_from(["volume", "mask", "memory", "space", "picture", "size"]),
        }
    )


def prepare(home):
    import nibabel.imageglobals

    import imaging
    from prognosis import LesionSize  # noqa: F401

    nibabel.imageglobals.logger.setLevel(100)
    imaging.read_volume, imaging.read_mask, imaging.check_space, imaging.to_spacing  # noqa: B018


def content(case):
    """The bytes of the file before compression, and those of its header where it has its own."""
    order = ">" if case["big_endian"] else "<"
    dtype = np.dtype(order + TYPES[case["datatype"]])
    voxels = (np.arange(np.prod(SHAPE)) % 7 + 1).astype(dtype)
    single = case["ending"] != ".img"
    header = bytearray(352 if single else 348)
    fields = {
        "sizeof_hdr": 348,
        "dim": (3, *SHAPE, 1, 1, 1, 1),
        "datatype": case["datatype"],
        "bitpix": 8 * dtype.itemsize,
        "pixdim": (1, 2, 2, 3, 1, 1, 1, 1),
        "vox_offset": 352.0 if single else 0.0,
        "scl_slope": 1.0,
        "xyzt_units": 2,
        "sform_code": 1,
        "srow": (-2, 0, 0, 30, 0, 2, 0, -20, 0, 0, 3, -10),
        "magic": b"n+1\0" if single else b"ni1\0",
    }
    for name, value in [*fields.items(), *case["fields"]]:
        offset, layout = FIELDS[name]
        values = value if isinstance(value, tuple) else (value,)
        if offset + struct.calcsize(layout) <= len(header):
            struct.pack_into(order + layout, header, offset, *values)
    if single:
        return damaged(bytes(header) + voxels.tobytes(), case["plain"]), None
    return damaged(voxels.tobytes(), case["plain"]), bytes(header)


def mgh(case):
    """A FreeSurfer volume of the same voxels."""
    code, dtype = {2: (0, ">u1"), 4: (4, ">i2"), 8: (1, ">i4")}.get(case["datatype"], (3, ">f4"))
    dims = dict(case["fields"]).get("dim", (3, *SHAPE))[1:4]
    header = struct.pack(">7ih", 1, *dims, 1, code, 0, 1)
    header += struct.pack(">15f", 2, 2, 3, -1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    voxels = (np.arange(np.prod(SHAPE)) % 7 + 1).astype(dtype)
    return damaged(header.ljust(284, b"\0") + voxels.tobytes(), case["plain"])


def packed(plain, case):
    """Compressed as the name says, perhaps in members, perhaps with very much after the voxels."""
    ending = case["ending"]
    blown = case["zeros"] if ending in (".nii.gz", ".mgz") else 0
    if ending in (".nii.gz", ".mgz"):
        parts = [plain[:100], plain[100:]] if case["members"] else [plain]
        plain = b"".join(gzip.compress(part, 1, mtime=0) for part in parts)
        if blown:
            plain += _zeros(blown)
    elif ending == ".nii.bz2":
        plain = bz2.compress(plain)
    return damaged(plain, case["packed"])


@functools.cache
def _zeros(count):
    """A gzip member of so many zeros, a thousandth as large."""
    found = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = bytes(1_000_000)
    return b"".join(found.compress(block) for _ in range(count // len(block))) + found.flush()


def door(folder, case):
    import nibabel as nib

    import imaging
    from imaging.spaces.checking import check_space
    from imaging.volumes import read_stored
    from prognosis.cohorts.folder import _problem

    ending, header = case["ending"], None
    plain, header = (mgh(case), None) if ending in (".mgh", ".mgz") else content(case)
    path = folder / f"scan{ending}"
    path.write_bytes(packed(plain, case))
    if header is not None:
        path.with_suffix(".hdr").write_bytes(header)
    how = case["how"]
    if how == "space":
        check_space(path)
        return
    if how == "picture":
        picture = imaging.read_picture(path)
        must(picture.ndim == 2 and np.isfinite(picture).all(), "no picture")
        return
    if how == "size":
        small = imaging.to_spacing(imaging.read_volume(path), 4.0)
        must(np.isfinite(small.get_fdata()).all(), "not finite")
        return
    if how == "memory":
        try:
            image = nib.load(path)
        except Exception:  # nibabel's own door, not ours
            image = path
        read = imaging.read_volume(image)
    elif how == "mask":
        mask = np.asanyarray(imaging.read_mask(path, labels=[1, 2, 3]).dataobj)
        stored = np.asanyarray(read_stored(path, allow_empty=True).dataobj)
        must(np.array_equal(mask > 0, np.isin(stored, [1, 2, 3])), "another mask")
        return
    else:
        read = imaging.read_volume(path)
        said = _problem([path], folder, "*")
        must(said is None or "bytes after its voxels" in said, f"a cohort says: {said}")
    data = np.asanyarray(read.dataobj)
    must(data.ndim == 3 and data.dtype == np.float32 and np.isfinite(data).all(), "no volume")
    must("".join(nib.aff2axcodes(read.affine)) == "RAS", "not turned")
    if ending in (".mgh", ".mgz"):
        return
    if is_damaged(case["packed"]):  # its checksum held, or bytes after the voxels were hit
        return
    compare(data, read.affine, plain, header)


def compare(data, affine, plain, header):
    """What was read, and what the bytes say."""
    own = plain if header is None else header
    order = "<" if 0 < struct.unpack_from("<h", own, 40)[0] < 8 else ">"

    def field(name):
        offset, layout = FIELDS[name]
        found = struct.unpack_from(order + layout, own, offset)
        return found if len(found) > 1 else found[0]

    dim = field("dim")
    shape = [n for n in dim[1 : dim[0] + 1]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    must(len(shape) == 3, f"{dim} was read as a volume")
    must(field("xyzt_units") & 7 not in (1, 3), "lengths in metres or micrometres were taken")
    must(field("datatype") in TYPES, f"voxels of type {field('datatype')} were taken")
    dtype = np.dtype(order + TYPES[field("datatype")])
    start = int(field("vox_offset"))
    count = int(np.prod(shape))
    must(len(plain) >= start + count * dtype.itemsize, "more voxels than there are")
    found = np.frombuffer(plain, dtype, count, start).astype(np.float64).reshape(shape, order="F")
    slope, inter = field("scl_slope"), field("scl_inter")
    if np.isfinite(slope) and slope != 0:
        found = found * slope + inter
    must(
        np.allclose(np.sort(data.ravel()), np.sort(found.ravel()), rtol=1e-5, atol=1e-30),
        "other values",
    )
    if field("sform_code") <= 0:
        return
    stated = np.vstack([np.reshape(field("srow"), (3, 4)), [0, 0, 0, 1]])
    places = np.argwhere(np.ones(shape, bool))[:: max(1, count // 20)]
    back = np.linalg.inv(affine) @ stated @ np.c_[places, np.ones(len(places))].T
    rounded = np.rint(back[:3]).astype(int)
    must(np.abs(back[:3] - rounded).max() < 0.01, "voxels lie elsewhere")
    values = data[tuple(rounded)]
    must(np.allclose(values, found[tuple(places.T)], rtol=1e-5, atol=1e-30), "voxels were moved")


DOORS = {"image": door}
