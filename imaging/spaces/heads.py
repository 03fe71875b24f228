"""How far the head on a scan lies from the template's, from outlines alone, of any contrast.

Foreground of a coarse sample is slid over the template: voxels of foreground count for it within
the head and against it in the air around, voxels of background within the head count against it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from .template import EDGE_MM, PADDED, REACH, template

__all__ = ["HeadFit", "fit_head", "sample_coarsely"]

_MASKED_SHARE = 0.15  # of voxels with one value: that is a background of zeros
_MASKED_ABOVE, _NOISE_ABOVE = 0.03, 0.2  # of the range of grey values
_ALIKE = 0.1  # difference of scores below which either outline may be right


@dataclass(frozen=True)
class HeadFit:
    """Where a head lies.

    Attributes
    ----------
    score : float
        How well the outlines meet where they meet best: 1 is as well as can be.
    gain : float
        By how much this is better than where the image is now.
    moved_mm : tuple of three floats
        Of the head from the template's, to the right, front and top.
    covered : float
        Share of the template's brain, as far as it is in view, that is foreground where the image
        is now.
    air : float
        Share of the field of view that is background.
    """

    score: float
    gain: float
    moved_mm: tuple
    covered: float
    air: float


def sample_coarsely(volume):
    """The nearest voxel of an image at every voxel of the frame.

    Parameters
    ----------
    volume : nibabel spatial image, 3-D

    Returns
    -------
    values : ndarray, float32
        0 outside of the field of view.
    seen : ndarray of bool
        What is within the field of view.
    """
    axes, data = template().axes, np.asanyarray(volume.dataobj)
    inverse = np.linalg.inv(volume.affine)
    turn = inverse[:3, :3]
    if np.allclose(turn, np.diag(np.diag(turn)), atol=1e-4 * np.abs(turn).max()):
        places = [
            np.rint(inverse[n, n] * axis + inverse[n, 3]).astype(np.intp)
            for n, axis in enumerate(axes)
        ]
        kept = [(place >= 0) & (place < n) for place, n in zip(places, data.shape)]
        seen = kept[0][:, None, None] & kept[1][:, None] & kept[2]
        values = np.zeros(seen.shape, np.float32)
        picked = np.ix_(*(place[keep] for place, keep in zip(places, kept)))
        values[np.ix_(*kept)] = data[picked]
        return values, seen
    x, y, z = axes[0][:, None, None], axes[1][:, None], axes[2]
    places = [
        np.rint(row[0] * x + (row[1] * y + (row[2] * z + row[3]))).astype(np.intp)
        for row in inverse[:3]
    ]
    seen = np.logical_and.reduce([(at >= 0) & (at < n) for at, n in zip(places, data.shape)])
    values = np.zeros(seen.shape, np.float32)
    values[seen] = data[tuple(at[seen] for at in places)]
    return values, seen


def fit_head(values, seen):
    """Find the head of a coarse sample.

    Parameters
    ----------
    values, seen : ndarray
        As `sample_coarsely` makes them.

    Returns
    -------
    HeadFit
    """
    brain = template().brain
    front = foreground(values, seen)
    in_view = float(brain[seen].sum())
    covered = float(brain[front].sum()) / in_view if in_view else 0.0
    air = float((seen & ~front).sum() / max(1, seen.sum()))
    signed = front.astype(np.float32) - (seen & ~front)
    signed, front = (fft.rfftn(part, PADDED) for part in (signed, front.astype(np.float32)))
    fits = [_slid(signed, front, outline) for outline in template().outlines]
    best = max(fit[0] for fit in fits)
    # A scalp looks like the top of a lower brain: of what fits about as well, the smaller shift.
    score, here, moved = min(
        (fit for fit in fits if fit[0] >= best - _ALIKE), key=lambda fit: np.linalg.norm(fit[2])
    )
    return HeadFit(score, score - here, tuple(moved.tolist()), covered, air)


def foreground(values, seen):
    """What is not air: ndarray of bool, smoothed by a majority of neighbours."""
    front = np.zeros(seen.shape, bool)
    inside = values[seen]
    if inside.size == 0 or inside.min() == inside.max():
        return front
    found, counts = np.unique(inside, return_counts=True)  # sorted once
    air, share = found[counts.argmax()], counts.max() / inside.size
    if share > _MASKED_SHARE:
        away = np.abs(inside - air)
        front[seen] = away > _MASKED_ABOVE * np.percentile(away[away > 0], 90)
    if share <= _MASKED_SHARE or front[seen].mean() > 0.6:
        low, high = np.percentile(inside, [5, 98])
        front[seen] = inside > low + _NOISE_ABOVE * (high - low)
    # What lies beyond the field of view has no vote.
    votes, voters = (ndimage.uniform_filter(part.astype(np.float32), 3) for part in (front, seen))
    return seen & (votes > 0.5 * voters)


def _slid(signed, front, outline):
    """Best score, score without a shift, and the best shift in mm, between voxels."""
    product = signed * outline.head_conjugate - front * outline.air_conjugate
    near = np.r_[-REACH : REACH + 1]
    scores = fft.irfftn(product, PADDED)[np.ix_(near, near, near)] / outline.size
    peak = np.array(np.unravel_index(scores.argmax(), scores.shape))
    shift = (peak - REACH).astype(float)
    for axis in range(3):
        if 0 < peak[axis] < 2 * REACH:
            at = [tuple(peak + step * np.eye(3, dtype=int)[axis]) for step in (-1, 0, 1)]
            below, top, above = (scores[place] for place in at)
            bend = below - 2 * top + above
            shift[axis] += 0.5 * (below - above) / bend if bend < 0 else 0.0
    here = scores[REACH, REACH, REACH]
    return float(scores[tuple(peak)]), float(here), EDGE_MM * shift
