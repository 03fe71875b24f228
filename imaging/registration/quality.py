"""How good a registration is: numbers, one score of failure, and words.

Every number has a range in which registrations that were right lie (`RANGES`); the score is how far
the worst one lies beyond it.
"""

from dataclasses import asdict, dataclass

import nibabel as nib
import numpy as np

from .affines import affine_parts
from .template import tissue_picture

__all__ = ["FAILED_ABOVE", "RANGES", "Quality", "correlation", "judge"]

FAILED_ABOVE = 0.5
_POINTS = 20_000

# Where a registration is certainly right, and from where on it is certainly wrong; in words.
RANGES = {
    "correlation": (0.65, 0.40, "its tissues look little like the template's ({:.2f})"),
    "grey_overlap": (0.60, 0.35, "its grey matter meets {:.0%} of the template's"),
    "white_overlap": (0.65, 0.40, "its white matter meets {:.0%} of the template's"),
    "in_view": (0.80, 0.45, "only {:.0%} of the template's brain is in its field of view"),
    "residual_mm": (7.0, 16.0, "places in it do not fit together ({:.0f} mm)"),
    "apart_mm": (7.0, 16.0, "transform and network place it differently ({:.0f} mm)"),
    "midline_mm": (4.0, 10.0, "its midline lies {:.0f} mm beside the template's"),
    "smallest_scale": (0.72, 0.50, "it would have to be squeezed to {:.2f} of its size"),
    "largest_scale": (1.45, 1.90, "it would have to be stretched to {:.2f} of its size"),
    "brain_ml": (900.0, 500.0, "its brain of {:.0f} ml is too small"),
    "folded": (0.002, 0.03, "the warp folds {:.1%} of the brain"),
    "jacobian_low": (0.35, 0.10, "the warp squeezes parts to {:.2f} of their size"),
    "jacobian_high": (3.0, 6.0, "the warp stretches parts to {:.1f} times their size"),
}


# Without a warp folds do not meet, and the same registration looks worse.
WITHOUT_WARP = {
    "correlation": (0.45, 0.20),
    "grey_overlap": (0.50, 0.30),
    "white_overlap": (0.55, 0.35),
}


@dataclass(frozen=True)
class Quality:
    """How good a registration is.

    Attributes
    ----------
    numbers : dict of str to float
        ``correlation`` of its tissue picture with the template's in the brain; ``grey_overlap``
        and ``white_overlap`` (Dice of shares); ``in_view`` (share of the template's brain);
        ``residual_mm`` (of the network's places from their affine); ``apart_mm`` (of the
        transform from the network's places); ``midline_mm``; ``smallest_scale`` and
        ``largest_scale`` of the affine; ``turned_deg``; ``brain_ml``; ``folded`` (share of the
        brain), ``jacobian_low`` and ``jacobian_high`` (first and last percent), NaN without a warp;
        of a lesion that was named ``lesion_ml`` on the scan and ``lesion_template_ml``.
    failure : float
        0 to 1; above `FAILED_ABOVE` it failed.
    reasons : tuple of str
        What is odd, the gravest first.

    Examples
    --------
    >>> Quality({"correlation": 0.2}, 1.0, ("its tissues look little like the template's",)).failed
    True
    """

    numbers: dict
    failure: float
    reasons: tuple

    @property
    def failed(self):
        """Whether the registration is not to be used."""
        return self.failure > FAILED_ABOVE

    def as_dict(self):
        """Plain values by name, ready for JSON; None for numbers that are not finite."""
        plain = {name: n if np.isfinite(n) else None for name, n in self.numbers.items()}
        return {**asdict(self), "numbers": plain}


def judge(transform, maps, tissues, target, *, left_out=None):
    """Measure a registration.

    Parameters
    ----------
    transform : Transform
    maps : object
        What the network said of the scan: ``coordinates``, ``brain``, ``residual_mm``,
        ``brain_ml``.
    tissues : ndarray of shape (3, x, y, z)
        Of the scan, on the grid of `target`, the affine done, the warp not.
    target : TemplateMaps
    left_out : ndarray of bool, default=None
        A lesion, as `tissues` lie.

    Returns
    -------
    Quality
    """
    moved, hidden = _warped(transform.warp, tissues, target, left_out)
    counted = target.brain if hidden is None else target.brain & ~hidden
    numbers = {
        "correlation": correlation(tissue_picture(moved), target.picture, counted),
        "grey_overlap": _overlap(moved[0], target.tissues[0], counted),
        "white_overlap": _overlap(moved[1], target.tissues[1], counted),
        "in_view": _in_view(transform, maps, target),
        "residual_mm": float(maps.residual_mm),
        "brain_ml": float(maps.brain_ml),
        **_beside_network(transform, maps),
        **_of_affine(transform.affine),
        **_of_warp(transform.warp, target.brain),
        **_of_lesion(transform, left_out, hidden, target.grid),
    }
    return judged(numbers)


def judged(numbers):
    """The score and the words that numbers come to.

    Parameters
    ----------
    numbers : dict of str to float
        As in `Quality`; "folded" is NaN where there is no warp.

    Returns
    -------
    Quality

    Examples
    --------
    >>> judged({"correlation": 0.95, "midline_mm": 1.0}).failure
    0.0
    >>> bad = judged({"correlation": 0.3, "midline_mm": 5.0})
    >>> bad.failed, bad.reasons[0]
    (True, "its tissues look little like the template's (0.30)")
    """
    beyond, warped = {}, np.isfinite(numbers.get("folded", 0.0))
    for name, (right, wrong, _) in RANGES.items():
        if not warped:
            right, wrong = WITHOUT_WARP.get(name, (right, wrong))
        value = numbers.get(name, np.nan)
        if np.isfinite(value):
            beyond[name] = float(np.clip((value - right) / (wrong - right), 0, 2))
    odd = sorted((name for name in beyond if beyond[name] > 0), key=lambda name: -beyond[name])
    # Several numbers a little odd are as bad as one that is odd.
    total = np.linalg.norm([beyond[name] for name in odd]) if odd else 0.0
    reasons = tuple(RANGES[name][2].format(numbers[name]) for name in odd)
    rounded = {name: round(float(value), 4) for name, value in numbers.items()}
    return Quality(rounded, round(float(min(1.0, total)), 3), reasons)


def _warped(warp, tissues, target, left_out):
    """Tissues, and the lesion or None, where the warp takes them."""
    from scipy.ndimage import map_coordinates

    if warp is None:
        return tissues, left_out
    spacing = np.linalg.norm(target.grid.affine[:3, :3], axis=0)
    axes = np.meshgrid(*(np.arange(n) for n in target.grid.shape), indexing="ij")
    at = [axis + warp.to_scan[..., k] / spacing[k] for k, axis in enumerate(axes)]
    moved = [map_coordinates(part, at, order=1, output=np.float32) for part in tissues]
    if left_out is not None:
        left_out = map_coordinates(left_out.astype(np.float32), at, order=1) >= 0.5
    return np.stack(moved), left_out


def _of_lesion(transform, before, after, grid):
    """Millilitres of a lesion on the scan and in the template."""
    if before is None or not before.any():
        return {}
    ml = float(abs(np.linalg.det(grid.affine[:3, :3])) / 1000)
    growth = abs(np.linalg.det(transform.affine[:3, :3]))
    return {
        "lesion_ml": float(before.sum() * ml / growth),
        "lesion_template_ml": float(after.sum() * ml),
    }


def correlation(one, other, where):
    """Pearson's correlation of two pictures within a mask; 0 where one is flat."""
    first, second = one[where], other[where]
    if first.size < 2 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _overlap(one, other, where):
    one, other = one[where], other[where]
    total = float(one.sum() + other.sum())
    return float(2 * np.minimum(one, other).sum() / total) if total else 0.0


def _in_view(transform, maps, target):
    """Share of the template's brain that lies in the scan's field of view."""
    places = np.argwhere(target.brain)
    places = places[:: max(1, len(places) // _POINTS)]
    points = transform.points_to_native(nib.affines.apply_affine(target.grid.affine, places))
    shape = np.array(maps.brain.shape[:3])
    voxels = nib.affines.apply_affine(np.linalg.inv(maps.brain.affine), points)
    return float(((voxels >= -0.5) & (voxels <= shape - 0.5)).all(axis=1).mean())


def _beside_network(transform, maps):
    """How far the transform places the brain from where the network does, and its midline."""
    brain = np.asanyarray(maps.brain.dataobj) > 0.5
    places = np.argwhere(brain)
    if len(places) < 100:
        return {"apart_mm": np.inf, "midline_mm": np.inf}
    said = np.asanyarray(maps.coordinates.dataobj)
    near = np.abs(said[..., 0]) < 3
    some = places[:: max(1, len(places) // _POINTS)]
    middle = np.argwhere(brain & near)
    middle = middle[:: max(1, len(middle) // _POINTS)]

    def placed(voxels):
        return transform.points_to_template(nib.affines.apply_affine(maps.brain.affine, voxels))

    apart = np.linalg.norm(placed(some) - said[tuple(some.T)], axis=1)
    beside = np.abs(np.median(placed(middle)[:, 0])) if len(middle) >= 20 else np.inf
    return {"apart_mm": float(np.median(apart)), "midline_mm": float(beside)}


def _of_affine(affine):
    turned, scales, mirrored = affine_parts(affine)
    smallest = -1.0 if mirrored else float(scales.min())
    return {"turned_deg": turned, "smallest_scale": smallest, "largest_scale": float(scales.max())}


def _of_warp(warp, brain):
    if warp is None:
        return dict.fromkeys(("folded", "jacobian_low", "jacobian_high"), np.nan)
    inside = warp.jacobian()[brain]
    low, high = np.percentile(inside, [1, 99])
    return {
        "folded": float((inside <= 0).mean()),
        "jacobian_low": float(low),
        "jacobian_high": float(high),
    }
