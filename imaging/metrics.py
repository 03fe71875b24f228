"""How well one mask agrees with another: overlap, distance, volume, and lesion by lesion.

Every score is defined for empty masks, so that patients without a lesion count like all others.
"""

import numpy as np

from .errors import ImageError
from .grids import MarkedVoxels, same_grid, true_voxels

__all__ = [
    "count_lesions",
    "dice",
    "hausdorff95_mm",
    "lesion_count_difference",
    "lesion_f1",
    "psnr",
    "segmentation_scores",
    "volume_difference_ml",
]


def dice(prediction, truth):
    """Dice coefficient, twice the common voxels divided by the voxels of both masks.

    Parameters
    ----------
    prediction, truth : nibabel spatial image on one grid, or ndarray of one shape, 2-D or 3-D
        Zero outside. Of a label map, give ``labels == k``.

    Returns
    -------
    float
        1 for equal masks, two empty ones included; 0 where only one is empty.

    Raises
    ------
    ImageError
        If grids or shapes differ, or a mask holds fractions (probabilities) or NaN.

    Examples
    --------
    >>> dice(np.array([[1, 1, 0]]), np.array([[0, 1, 0]])).__round__(3)
    0.667
    """
    a, b, _ = _masks(prediction, truth)
    return _dice(a, b)


def hausdorff95_mm(prediction, truth, spacing_mm=None):
    """95th percentile of the distances between two masks' surfaces, the larger of both directions.

    Parameters
    ----------
    prediction, truth : nibabel spatial image on one grid, or ndarray of one shape
    spacing_mm : float or sequence of float, default=None
        Size of the voxels of arrays; of images it is read from the affine (as the length of its
        columns: for sheared grids only about right).

    Returns
    -------
    float
        In mm. Two empty masks: 0. One empty mask: the diagonal of the image, which no distance
        exceeds, so that means over patients stay finite.

    Raises
    ------
    ImageError
        As for `dice`, or if `spacing_mm` is missing or does not fit.

    Examples
    --------
    >>> a, b = np.zeros((2, 1, 9))
    >>> a[0, 2], b[0, 5] = 1, 1
    >>> hausdorff95_mm(a, b, spacing_mm=2)
    6.0
    """
    a, b, spacing = _masks(prediction, truth, spacing_mm, needs_spacing=True)
    return _hausdorff95(a, b, spacing)


def volume_difference_ml(prediction, truth, spacing_mm=None):
    """Absolute difference of two masks' volumes in ml; a 2-D array is taken as 1 mm thick.

    Parameters
    ----------
    prediction, truth, spacing_mm
        As for `hausdorff95_mm`.

    Returns
    -------
    float

    Examples
    --------
    >>> volume_difference_ml(np.ones((10, 10, 10)), np.zeros((10, 10, 10)), spacing_mm=2)
    8.0
    """
    a, b, spacing = _masks(prediction, truth, spacing_mm, needs_spacing=True)
    return _volume_difference(a, b, _voxel_ml(prediction, spacing))


def lesion_count_difference(prediction, truth):
    """Absolute difference of the numbers of lesions.

    Parameters
    ----------
    prediction, truth
        As for `dice`. Voxels that touch by a face, an edge or a corner are one lesion (26
        neighbours, 8 in 2-D).

    Returns
    -------
    int

    Examples
    --------
    >>> lesion_count_difference(np.array([[1, 0, 1, 0, 1]]), np.array([[1, 1, 0, 0, 0]]))
    2
    """
    a, b, _ = _masks(prediction, truth)
    return abs(_lesions(a)[1] - _lesions(b)[1])


def count_lesions(mask, spacing_mm=None, *, least_mm3=0.0):
    """Number of lesions in one mask, the very small ones left out where that is wanted.

    Parameters
    ----------
    mask : nibabel spatial image, or ndarray, 2-D or 3-D
        Zero outside. Voxels that touch by a face, an edge or a corner are one lesion (26
        neighbours, 8 in 2-D), so the count belongs to the grid: on coarser voxels lesions merge,
        and interpolation can tear a thin one apart.
    spacing_mm : float or sequence of float, default=None
        Size of the voxels of an array, needed with `least_mm3`; of an image it is read from the
        affine. A 2-D array is taken as 1 mm thick.
    least_mm3 : float, default=0.0
        Lesions of a smaller volume are not counted.

    Returns
    -------
    int

    Raises
    ------
    ImageError
        As for `dice`, or if `spacing_mm` is missing or does not fit.

    Examples
    --------
    >>> mask = np.zeros((20, 20, 20), bool)
    >>> mask[2:5, 2:5, 2:5] = mask[10, 10, 10] = mask[11, 11, 11] = True
    >>> count_lesions(mask), count_lesions(mask, spacing_mm=1, least_mm3=20)
    (2, 1)
    """
    sized = least_mm3 > 0
    if isinstance(getattr(mask, "dataobj", None), MarkedVoxels):  # where they lie is known
        values, spacing = _box(mask.dataobj.places()), None
    else:
        values, _, spacing = _masks(mask, mask, spacing_mm, needs_spacing=sized)
        values = _cut(values)
    lesions, count = _lesions(values)
    if not sized or not count:
        return count
    voxels = np.bincount(lesions.ravel(), minlength=count + 1)[1:]
    # Rounded, so that 20 voxels of .1 ml are not fewer than 2 ml.
    volumes = np.round(voxels * _voxel_ml(mask, spacing) * 1000, 6)
    return int((volumes >= least_mm3).sum())


def lesion_f1(prediction, truth):
    """F1 score in which every lesion counts once, whatever its size.

    A true lesion is found if one voxel or more of it is predicted; a predicted lesion is invented
    if it touches no voxel of a true one. F1 = found / (found + (missed + invented) / 2).

    Parameters
    ----------
    prediction, truth
        As for `dice`; lesions as for `lesion_count_difference`.

    Returns
    -------
    float
        Two empty masks: 1; one empty mask: 0.

    References
    ----------
    Hernandez Petzsche et al. 2022, ISLES 2022, Scientific Data 9:762.

    Examples
    --------
    >>> lesion_f1(np.array([[1, 0, 1, 0, 0]]), np.array([[1, 1, 0, 0, 1]]))
    0.5
    """
    a, b, _ = _masks(prediction, truth)
    return _lesion_f1(a, b)


def segmentation_scores(prediction, truth, spacing_mm=None):
    """All scores of this module at once.

    Parameters
    ----------
    prediction, truth, spacing_mm
        As for `hausdorff95_mm`.

    Returns
    -------
    dict of str to number
        "dice", "hausdorff95_mm", "volume_difference_ml", "lesion_count_difference", "lesion_f1".

    Examples
    --------
    >>> mask = np.ones((4, 4, 4))
    >>> segmentation_scores(mask, mask, spacing_mm=1)
    {'dice': 1.0, 'hausdorff95_mm': 0.0, 'volume_difference_ml': 0.0,
     'lesion_count_difference': 0, 'lesion_f1': 1.0}
    """
    a, b, spacing = _masks(prediction, truth, spacing_mm, needs_spacing=True)
    return {
        "dice": _dice(a, b),
        "hausdorff95_mm": _hausdorff95(a, b, spacing),
        "volume_difference_ml": _volume_difference(a, b, _voxel_ml(prediction, spacing)),
        "lesion_count_difference": abs(_lesions(a)[1] - _lesions(b)[1]),
        "lesion_f1": _lesion_f1(a, b),
    }


def _dice(a, b):
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _hausdorff95(a, b, spacing):
    if not a.any() and not b.any():
        return 0.0
    if not (a.any() and b.any()):
        return float(np.linalg.norm(np.multiply(a.shape, spacing)))
    import torch
    from monai.metrics import compute_hausdorff_distance

    # Cut to both masks with a margin of one voxel: distances are the same, and sooner found.
    box = tuple(
        slice(max(int(places.min()) - 1, 0), int(places.max()) + 2) for places in (a | b).nonzero()
    )
    a, b = (np.pad(mask[box], 1) for mask in (a, b))
    distance = compute_hausdorff_distance(
        *(torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (a, b)),
        include_background=True,
        percentile=95,
        spacing=[float(s) for s in spacing],
    )
    return float(distance)


def _voxel_ml(image, spacing):
    from .volumes import voxel_volume_ml

    if hasattr(image, "affine"):
        return voxel_volume_ml(image)
    return float(np.prod(spacing)) / 1000


def _volume_difference(a, b, voxel_ml):
    return abs(int(a.sum()) - int(b.sum())) * voxel_ml


def _box(places):
    """The smallest array that holds the voxels of these places."""
    if not len(places[0]):
        return np.zeros((1,) * len(places), bool)
    low = [place.min() for place in places]
    values = np.zeros([place.max() - first + 1 for place, first in zip(places, low)], bool)
    values[tuple(place - first for place, first in zip(places, low))] = True
    return values


def _cut(mask):
    """The part of a mask that holds something: the rest need not be looked through."""
    places = true_voxels(mask)
    if not len(places[0]):
        return mask[tuple(slice(0, 1) for _ in mask.shape)]
    box = [(int(along.min()), int(along.max()) + 1) for along in places]
    return mask[tuple(slice(*ends) for ends in box)]


def _lesions(mask):
    from scipy.ndimage import label

    return label(mask, structure=np.ones((3,) * mask.ndim))


def _lesion_f1(a, b):
    predicted, n_predicted = _lesions(a)
    true, n_true = _lesions(b)
    if not n_predicted and not n_true:
        return 1.0
    common = a & b
    found = np.unique(true[common]).size
    invented = n_predicted - np.unique(predicted[common]).size
    return found / (found + (n_true - found + invented) / 2)


def psnr(prediction, truth, data_range=None):
    """Peak signal-to-noise ratio of an image, in decibels.

    Parameters
    ----------
    prediction, truth : nibabel spatial image or ndarray of one shape
    data_range : float, default=None
        The peak that errors are compared with. None takes the distance of the .1 and 99.9
        percentiles of `truth`, which no single bright voxel decides.

    Returns
    -------
    float
        Infinite where both are equal.

    Raises
    ------
    ImageError
        If the shapes differ, or `truth` has no range.

    Examples
    --------
    >>> truth = np.linspace(0, 1, 101)
    >>> round(psnr(truth + 0.01, truth, data_range=1.0), 2)
    40.0
    """
    found, wanted = (
        np.asanyarray(getattr(one, "dataobj", one), float) for one in (prediction, truth)
    )
    if found.shape != wanted.shape:
        raise ImageError(f"found shapes {found.shape} and {wanted.shape}; give images of one shape")
    if data_range is None:
        low, high = np.percentile(wanted, [0.1, 99.9])
        data_range = high - low
    if not data_range > 0:
        raise ImageError(f"found a range of {data_range}; give data_range, above 0")
    error = np.mean((found - wanted) ** 2)
    return float(10 * np.log10(data_range**2 / error)) if error > 0 else float("inf")


def _masks(prediction, truth, spacing_mm=None, needs_spacing=False):
    """Both as boolean arrays, and the size of their voxels in mm (None where it is not needed)."""
    images = [hasattr(one, "affine") for one in (prediction, truth)]
    if all(images):
        if not same_grid(prediction, truth):
            raise ImageError(
                f"prediction {prediction.shape} and truth {truth.shape} are on different grids; "
                "resample one with imaging.to_grid(prediction, truth, interpolation='nearest')"
            )
        if spacing_mm is not None:
            raise ImageError("spacing_mm is for arrays; images say their voxel size themselves")
        spacing = np.linalg.norm(prediction.affine[:3, :3], axis=0)
        a, b = (_mask(np.asanyarray(one.dataobj), n) for one, n in _named(prediction, truth))
        # A file of one volume may have a fourth axis of length one.
        a, b = (mask[..., 0] if mask.ndim == 4 and mask.shape[3] == 1 else mask for mask in (a, b))
    elif any(images):
        raise ImageError(
            "one of prediction and truth is an image, the other an array; give two "
            "images or two arrays"
        )
    else:
        a, b = (_mask(np.asarray(one), n) for one, n in _named(prediction, truth))
        spacing = spacing_mm
    if a.shape != b.shape or a.ndim not in (2, 3):
        raise ImageError(
            f"prediction and truth must have one shape of two or three axes, got {a.shape} and "
            f"{b.shape}"
        )
    if needs_spacing:
        if spacing is None:
            raise ImageError("arrays have no voxel size: give spacing_mm")
        spacing = (
            np.broadcast_to(np.asarray(spacing, float), a.ndim)
            if np.ndim(spacing) == 0
            else (np.asarray(spacing, float))
        )
        if spacing.shape != (a.ndim,) or not (spacing > 0).all():
            raise ImageError(f"spacing_mm must be {a.ndim} positive sizes, got {spacing_mm}")
    return a, b, spacing


def _named(prediction, truth):
    return (prediction, "prediction"), (truth, "truth")


def _mask(values, name):
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise ImageError(f"{name} holds fractions or NaN, not a mask; compare with .5 first")
    return values != 0
