"""Label maps: from the codes of a segmentation tool to tissues, by an explicit table.

The embedded head is built from the tissue maps of the MNI template inside nilearn, so that
everything can be tried without data.
"""

from functools import lru_cache

import numpy as np

from ..errors import ImageError
from ..grids import open_image
from ..physics.tissues import TISSUES
from ..volumes import read_voxels

__all__ = ["FREESURFER_TISSUES", "read_label_map", "template_label_map"]

_SIDES = {  # left code: (right code, tissue)
    2: (41, "white matter"),
    3: (42, "grey matter"),
    4: (43, "csf"),  # lateral ventricle
    5: (44, "csf"),  # its inferior horn
    7: (46, "white matter"),  # cerebellum
    8: (47, "grey matter"),  # cerebellum
    10: (49, "grey/white partial volume"),  # thalamus
    11: (50, "grey matter"),  # caudate
    12: (51, "grey matter"),  # putamen
    13: (52, "grey/white partial volume"),  # pallidum
    17: (53, "grey matter"),  # hippocampus
    18: (54, "grey matter"),  # amygdala
    25: (57, "white matter"),  # small lesions of the donor
    26: (58, "grey matter"),  # accumbens
    28: (60, "grey/white partial volume"),  # ventral diencephalon
    30: (62, "csf"),  # vessel in the brain, as dark as fluid on most sequences
    136: (163, "csf"),  # parts of ventricles and cisterns that some tools label apart
    137: (164, "csf"),
}

# FreeSurfer codes, and those of the tissues outside the brain that whole-head label maps use.
FREESURFER_TISSUES = {
    0: "background",
    14: "csf",  # third ventricle
    15: "csf",  # fourth ventricle
    16: "grey/white partial volume",  # brain stem
    24: "csf",
    72: "csf",  # fifth ventricle
    77: "white matter",  # white matter hypointensity
    80: "white matter",
    85: "white matter",  # optic chiasm
    **{left: tissue for left, (_, tissue) in _SIDES.items()},
    **{right: tissue for right, tissue in _SIDES.values()},
    502: "skin and vessels",  # arteries
    506: "eye fluid",
    507: "muscle and soft tissue",
    508: "muscle and soft tissue",  # of the eye
    509: "muscle and soft tissue",  # mucosa
    511: "skin and vessels",  # skin
    512: "muscle and soft tissue",  # spinal cord: not brain, and not a target
    514: "skin and vessels",  # veins and sinuses
    515: "bone and air",
    516: "fat and marrow",  # between the tables of the skull
    530: "dura and connective tissue",  # optic nerve
}


def read_label_map(image, table=None):
    """Read a label map as tissue numbers, in canonical orientation, cropped to the head.

    Parameters
    ----------
    image : path or nibabel image
        Whole numbers.
    table : mapping of int to str, or None
        From code to the name of a tissue of `TISSUES`; None is `FREESURFER_TISSUES`.

    Returns
    -------
    tissues : ndarray of shape (x, y, z), uint8
        Places in `TISSUES`, with a rim of background.
    affine : ndarray of shape (4, 4)
        From voxels of `tissues` to millimetres.

    Raises
    ------
    ImageError
        If a code is not in the table, or voxels are no whole numbers.

    Examples
    --------
    >>> import nibabel as nib
    >>> codes = np.zeros((4, 4, 4), np.int16)
    >>> codes[1, 1, 1:3] = 2, 42  # left white matter, right grey matter
    >>> tissues, affine = read_label_map(nib.Nifti1Image(codes, np.eye(4)))
    >>> [TISSUES[number] for number in tissues[1, 1]]
    ['background', 'white matter', 'grey matter', 'background']
    """
    import nibabel as nib

    table = FREESURFER_TISSUES if table is None else table
    opened = open_image(image)
    image = nib.as_closest_canonical(nib.Nifti1Image(read_voxels(opened), opened.affine))
    data = np.asanyarray(image.dataobj)
    codes = np.rint(data).astype(np.int32)
    if not np.array_equal(codes, data):
        raise ImageError(
            "the label map holds values between whole numbers; give the labels, resampled with "
            'interpolation="nearest", not a scan'
        )
    lowest, highest = int(codes.min()), int(codes.max())
    counts = np.bincount((codes - lowest).ravel())
    present = {lowest + int(i) for i in np.flatnonzero(counts)}
    unknown = sorted(present - set(table))
    if unknown:
        raise ImageError(
            f"the label map holds codes {unknown[:10]} that the table does not know; add them: "
            'table={**FREESURFER_TISSUES, code: "name of a tissue"}'
        )
    lookup = np.zeros(highest - lowest + 1, np.uint8)
    for code in present:
        lookup[code - lowest] = _number(table[code])
    return _cropped(lookup[codes - lowest], image.affine)


def _number(tissue):
    if tissue not in TISSUES:
        raise ImageError(f"found tissue {tissue!r} in the table; choose among {', '.join(TISSUES)}")
    return TISSUES.index(tissue)


def _cropped(tissues, affine, rim=1):
    """Cut to what is not background, plus a rim, moving the affine along."""
    filled = np.argwhere(tissues.any((1, 2))), np.argwhere(tissues.any((0, 2)))
    filled = (*filled, np.argwhere(tissues.any((0, 1))))
    if len(filled[0]) == 0:
        raise ImageError("the label map is background everywhere; check the file and the table")
    low = np.array([int(f[0, 0]) for f in filled])
    high = np.array([int(f[-1, 0]) + 1 for f in filled])
    inside = tissues[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    shifted = affine.copy()
    shifted[:3, 3] = affine[:3, :3] @ (low - rim) + affine[:3, 3]
    return np.ascontiguousarray(np.pad(inside, rim)), shifted


@lru_cache(maxsize=4)
def template_label_map(spacing_mm=1):
    """A whole head around the tissue maps of the MNI template: no patient, and no data needed.

    Grey matter, white matter, the mixture of both, and fluid come from the template's probability
    maps; the skull with its marrow, fat and skin are shells around the brain.

    Parameters
    ----------
    spacing_mm : int
        Whole millimetres, as nilearn offers them.

    Returns
    -------
    tissues : ndarray of shape (x, y, z), uint8
    affine : ndarray of shape (4, 4)
    """
    from nilearn.datasets import (
        load_mni152_brain_mask,
        load_mni152_gm_template,
        load_mni152_wm_template,
    )
    from scipy.ndimage import distance_transform_edt

    grey_image = load_mni152_gm_template(resolution=spacing_mm)
    grey = grey_image.get_fdata(dtype=np.float32)
    white = load_mni152_wm_template(resolution=spacing_mm).get_fdata(dtype=np.float32)
    brain = load_mni152_brain_mask(resolution=spacing_mm).get_fdata() > 0
    pad = [(round(22 / spacing_mm),) * 2] * 3
    grey, white, brain = (np.pad(x, pad) for x in (grey, white, brain))
    affine = grey_image.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [p[0] for p in pad]

    distance = distance_transform_edt(~brain, sampling=spacing_mm)
    tissues = np.zeros(brain.shape, np.uint8)
    # Shells from the outside to the inside: each covers the inner part of the one before.
    for reach, tissue in (
        (18, "skin and vessels"),
        (16, "fat and marrow"),
        (9.5, "bone and air"),
        (7.5, "fat and marrow"),
        (5, "bone and air"),
        (2.5, "csf"),
    ):
        tissues[distance <= reach] = TISSUES.index(tissue)
    fluid = 1 - grey - white
    mixed = brain & (np.abs(grey - white) < 0.15) & (fluid < 0.3)
    tissues[brain & (grey >= white) & (grey > fluid)] = TISSUES.index("grey matter")
    tissues[brain & (white > grey) & (white > fluid)] = TISSUES.index("white matter")
    tissues[mixed] = TISSUES.index("grey/white partial volume")
    return _cropped(tissues, affine)
