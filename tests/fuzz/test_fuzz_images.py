"""See `fuzz_images`."""

from fuzz_images import cases

ANALYZE = {
    "datatype": 8, "ending": ".img", "big_endian": True, "fields": [("magic", b"abcd")],
    "plain": {}, "packed": {}, "zeros": 0, "members": False, "how": "volume",
}  # fmt: skip
TIME = ANALYZE | {"ending": ".nii", "datatype": 2, "fields": [("xyzt_units", 97)]}
CODE = TIME | {"fields": [("sform_code", 9)]}
EDITS = [(0.7306998837724742, 134)]
SHEARED = ANALYZE | {"ending": ".mgh", "how": "size", "packed": {"edits": EDITS}}
SHEARED |= {"datatype": 512, "fields": [("dim", (8, 1, 3, 3, 1200, 32767, 1200, 4))]}
EMPTY = ANALYZE | {"ending": ".nii.gz", "datatype": 1024, "how": "picture"}
EMPTY |= {"fields": [("dim", (3, 6, 5, 0, 1, 1, 1, 1))]}
KEPT = (EMPTY, ANALYZE, TIME, CODE, SHEARED)  # cases that failed once


def test_images(fuzz):
    fuzz("image", cases(), examples=400, kept=KEPT)
