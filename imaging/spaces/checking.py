"""The space check: does one image lie where the template's brain lies?

Scans are judged by the outline of the head, masks by where the lesion lies; both by what their
header says and by how much of the template's brain is in view.
"""

import nibabel as nib
import numpy as np

from ..errors import ImageError
from ..grids import Grid, MarkedVoxels, open_image, true_voxels
from ..volumes import read_mask, read_stored, voxel_volume_ml
from .headers import header_signs
from .heads import fit_head, sample_coarsely
from .template import EDGE_MM, REACH, template
from .verdicts import DOUBTFUL, WRONG, SpaceVerdict

__all__ = [
    "check_space",
    "covers_brain",
    "holds_template",
    "of_placed_mask",
    "read_placed_mask",
    "refuse_wrong",
]

# What is found in scans that were registered (`tests/test_spaces.py` says in which), and more.
DOUBTFUL_MM = (9.0, 12.0, 16.0)  # to the side, front or back, up or down
DOUBTFUL_DISTANCE_MM, WRONG_DISTANCE_MM = 15.0, 22.0
SUSPECT_DISTANCE_MM = 8.0  # of an image with a scanner's axes or slices
DOUBTFUL_GAIN, WRONG_GAIN = 0.02, 0.08
HEAD_SCORE, LEAST_AIR = 0.0, 0.1  # below them, nothing like a head stands out
BLACK_BELOW = 0.1  # share of the brain in view that is not air
LEAST_BRAIN_ML = 600.0
HOLDS_HEAD_ML = 1200.0  # a field of view that could hold a brain
# Of a lesion, from the template's brain, beyond half a voxel; shares within.
LESION_NEAR_MM, LESION_FAR_MM = 5.0, 10.0
DOUBTFUL_INSIDE, WRONG_INSIDE = 0.8, 0.5
LEAST_OUTSIDE_ML = 0.5  # nearer than "far", less tells nothing: brains differ by some millimetres
DOUBTFUL_IN_VIEW, WRONG_IN_VIEW, NOTHING_IN_VIEW = 0.7, 0.5, 0.05
_VOXELS_LOOKED_AT = 20_000
REMEDY = (
    "register it to the template first (for example with ANTs or FSL; resampling alone is not "
    'enough), or say space="native" if positions need not mean anything'
)
_DIRECTIONS = (("left", "right"), ("back", "front"), ("bottom", "top"))


def check_space(image, *, volume=None, kind=None):
    """Whether an image lies in template (MNI) space.

    Parameters
    ----------
    image : str, os.PathLike or nibabel spatial image
        A scan of any contrast, of a whole head or of a brain without skull, or a lesion mask.
    volume : nibabel spatial image, default=None
        The same in canonical orientation, where it was read already: then only the header of
        `image` is read.
    kind : {"scan", "mask"}, default=None
        None: an image of 0 and one other value is a mask, and so is one of values from 0 to 1 of
        which less than 600 ml are filled, too little for a brain.

    Returns
    -------
    SpaceVerdict
        "wrong": positions cannot be right. "doubtful": something speaks against them. "ok":
        nothing does, which is not a proof: a patient's own space that happens to lie as the
        template does, and a mask whose sides were swapped, look like any other.

    Raises
    ------
    ImageError
        If the image cannot be read.

    Notes
    -----
    Scans: the outline of the head, on voxels of 8 mm, is slid over the outlines of the template's
    brain and of a head around it, by up to 40 mm. A shift of 9 mm to a side, 12 to the front or
    back, 16 up or down or 15 in all is doubtful; one of 22 mm in all is wrong if outlines meet
    much better after it. Of an image that has a scanner's tilted axes or thick slices, 8 mm are
    doubtful, and what else would be doubtful is wrong. Masks: half of the lesion farther than 10 mm
    from the template's brain is wrong, a fifth farther than 5 mm doubtful, as are a scanner's axes
    or slices; less than half a millilitre outside, and none of it far, tells nothing, and a mask
    without a lesion is right anywhere.

    Examples
    --------
    >>> from nilearn.datasets import load_mni152_template
    >>> scan = load_mni152_template(resolution=2)
    >>> print(check_space(scan))
    ok
    >>> moved = nib.affines.from_matvec(np.eye(3), [0, 30, 0]) @ scan.affine
    >>> print(check_space(nib.Nifti1Image(scan.get_fdata(), moved)))
    wrong: the head lies 30 mm to the front of the template's
    """
    volume = read_stored(image, allow_empty=True) if volume is None else volume
    values, seen = sample_coarsely(volume)
    signs = header_signs(image)
    brain = template().brain
    in_view = float(brain[seen].sum() / brain.sum())
    kind = kind or ("mask" if _is_mask(volume, values) else "scan")
    if kind == "mask":
        away, lesion_ml = _lesion_distances(volume)
        if away is None:  # nothing of it has a place
            return SpaceVerdict.from_findings(kind, [], in_view)
        inside = round(float((away <= LESION_NEAR_MM).mean()), 3)
        findings = _view_of_mask(volume, in_view) + _of_lesion(away, inside, lesion_ml)
        findings += [(WRONG, reason) for reason in signs.lost]
        findings += [(DOUBTFUL, reason) for reason in (*signs.broken, *signs.native)]
        return SpaceVerdict.from_findings(kind, findings, in_view, inside=inside)
    findings = [(WRONG, reason) for reason in signs.lost] + _view_of_scan(volume, in_view)
    findings += [(DOUBTFUL, reason) for reason in signs.broken]
    if in_view < NOTHING_IN_VIEW:
        return SpaceVerdict.from_findings(kind, findings, in_view)
    fit = fit_head(values, seen)
    findings += _of_head(fit, signs.native)
    moved = tuple(round(one, 1) for one in fit.moved_mm) if _stands_out(fit) else None
    return SpaceVerdict.from_findings(
        kind, findings, in_view, moved_mm=moved, gain=round(fit.gain, 3)
    )


def refuse_wrong(verdict):
    """Refuse an image that cannot lie in template space.

    Parameters
    ----------
    verdict : SpaceVerdict or None

    Raises
    ------
    ImageError
        If the verdict is "wrong".
    """
    if verdict is not None and verdict.verdict == WRONG:
        raise ImageError(f"not in template (MNI) space: {'; '.join(verdict.reasons)}; {REMEDY}")


def read_placed_mask(mask, *, labels=None, checked=True):
    """A lesion mask, and what the space check says of it.

    Parameters
    ----------
    mask : str, os.PathLike or nibabel spatial image
    labels : int, sequence of int or None, default=None
        See `read_mask`.
    checked : bool, default=True
        False asks nothing.

    Returns
    -------
    mask : nibabel.Nifti1Image
    verdict : SpaceVerdict or None

    Raises
    ------
    ImageError
        As `read_mask`.
    """
    read = read_mask(mask, labels=labels)
    return read, check_space(mask, volume=read, kind="mask") if checked else None


def of_placed_mask(measure, source, labels, checked):
    """What is measured of a lesion mask in template space, and the verdict of the space check.

    Parameters
    ----------
    measure : callable
        Takes the mask. It is not asked of a mask that will be refused, which perhaps has nothing in
        view: the refusal says more.
    source : str, os.PathLike or nibabel spatial image
    labels : tuple of int or None
    checked : bool
        Whether the space is looked at.

    Returns
    -------
    measured : object
        None of a mask that is wrong.
    verdict : SpaceVerdict or None
    """
    mask, verdict = read_placed_mask(source, labels=labels, checked=checked)
    wrong = verdict is not None and verdict.verdict == WRONG
    return None if wrong else measure(mask), verdict


def covers_brain(grid):
    """Whether a grid holds the template's brain, or most of it: then it may be in its space.

    Parameters
    ----------
    grid : Grid or nibabel spatial image
    """
    _, seen = sample_coarsely(grid.image() if isinstance(grid, Grid) else grid)
    brain = template().brain
    return bool(brain[seen].sum() >= DOUBTFUL_IN_VIEW * brain.sum())


def holds_template(labels):
    """Whether a label image spreads over the template's brain, so that it is one of its atlases.

    Parameters
    ----------
    labels : nibabel spatial image
        0 is background.
    """
    volume = nib.as_closest_canonical(open_image(labels))
    places = np.stack(true_voxels(np.asanyarray(volume.dataobj)), axis=-1)
    if not len(places):
        return False
    points = nib.affines.apply_affine(volume.affine, places[:: -(-len(places) // 20_000)])
    spread = np.ptp(points, axis=0)
    inside = (template().distance_at(points) <= LESION_NEAR_MM).mean()
    return bool(inside >= DOUBTFUL_INSIDE and np.sum(spread >= 50) >= 2)


def _is_mask(volume, values):
    """Whether an image holds two values, or probabilities in less than could be a brain."""
    data = np.asanyarray(volume.dataobj)
    top = values.max(initial=0)
    if ((values == 0) | (values == top)).all():  # as of hardly any scan
        top = data.max(initial=0)
        some = data.ravel(order="K")[:: max(1, data.size // 100_000)]
        if ((some == 0) | (some == top)).all():
            return True
    if values.min(initial=0) < 0 or top > 1.01:
        return False
    filled = np.count_nonzero(values > 0.1) * EDGE_MM**3 / 1000  # ml, without faint tails
    return bool(filled < LEAST_BRAIN_ML and data.min(initial=0) >= 0)


def _lesion_distances(volume):
    """How far voxels of a lesion, their near sides, lie from the brain, and its volume in ml.

    None and 0 without a lesion.
    """
    places = np.stack(_lesion_places(volume), axis=-1)
    lesion_ml = len(places) * voxel_volume_ml(volume)
    if not len(places):
        return None, lesion_ml
    places = places[:: -(-len(places) // _VOXELS_LOOKED_AT)]
    points = nib.affines.apply_affine(volume.affine, places)
    edge = np.linalg.norm(volume.affine[:3, :3], axis=0).max()
    return template().distance_at(points) - edge / 2, lesion_ml


def _lesion_places(volume):
    if isinstance(volume.dataobj, MarkedVoxels):
        return volume.dataobj.places()
    data = np.asanyarray(volume.dataobj)
    top = data.max(initial=0)
    if data.dtype == np.uint8 and top <= 1:  # truth values are found faster
        return true_voxels(data.view(bool))
    return true_voxels(data > top / 2 if top > 0 else data)


def _view_of_mask(volume, in_view):
    # A mask that was cropped around its lesion shows little of the brain, and is right.
    if np.prod(volume.shape[:3]) * voxel_volume_ml(volume) < HOLDS_HEAD_ML:
        return []
    reason = f"{_percent(in_view)} of the template's brain is in its field of view"
    if in_view < WRONG_IN_VIEW:
        return [(WRONG, reason)]
    return [(DOUBTFUL, reason)] if in_view < DOUBTFUL_IN_VIEW else []


def _view_of_scan(volume, in_view):
    if in_view < NOTHING_IN_VIEW:
        return [(WRONG, "its field of view lies beside the template's brain")]
    reason = f"only {_percent(in_view)} of the template's brain is in its field of view"
    large = np.prod(volume.shape[:3]) * voxel_volume_ml(volume) >= HOLDS_HEAD_ML
    if in_view < WRONG_IN_VIEW and large:
        return [(WRONG, reason)]
    return [(DOUBTFUL, reason)] if in_view < DOUBTFUL_IN_VIEW else []


def _of_lesion(away, inside, lesion_ml):
    near = (1 - inside) * lesion_ml < LEAST_OUTSIDE_ML and (away <= LESION_FAR_MM).all()
    if inside >= DOUBTFUL_INSIDE or near:
        return []
    reason = f"{_percent(1 - inside)} of the lesion lies outside of the template's brain"
    wrong = (away <= LESION_FAR_MM).mean() < WRONG_INSIDE
    return [(WRONG if wrong else DOUBTFUL, reason)]


def _stands_out(fit):
    return fit.score > HEAD_SCORE and fit.air >= LEAST_AIR


def _of_head(fit, native):
    if fit.covered < BLACK_BELOW:
        return [(WRONG, "it is black where the template's brain lies")]
    if not _stands_out(fit):
        return [(DOUBTFUL, "nothing of the size of a head stands out from its background")]
    distance = np.linalg.norm(fit.moved_mm)
    far = distance >= DOUBTFUL_DISTANCE_MM or np.greater(np.abs(fit.moved_mm), DOUBTFUL_MM).any()
    near = distance < SUSPECT_DISTANCE_MM if native else not far
    if near or fit.gain < DOUBTFUL_GAIN:
        return []
    reason = f"the head lies {_places(fit.moved_mm)} of the template's"
    wrong = far and (native or (distance >= WRONG_DISTANCE_MM and fit.gain >= WRONG_GAIN))
    return [(WRONG if wrong else DOUBTFUL, reason), *((DOUBTFUL, sign) for sign in native)]


def _places(moved_mm):
    """A shift in words: "20 mm to the front and 16 mm to the bottom"."""
    parts = []
    for along, words in zip(moved_mm, _DIRECTIONS):
        if abs(along) >= 5:
            most = " or more" if abs(along) >= REACH * EDGE_MM else ""
            parts.append(f"{abs(along):.0f} mm{most} to the {words[int(along > 0)]}")
    return " and ".join(parts)


def _percent(share):
    return f"{100 * share:.0f} %"
