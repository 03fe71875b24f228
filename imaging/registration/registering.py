"""One scan to the template: brain and tissues, affine, warp, and what became of it.

What is found of a scan is small and travels alone: the transform and its quality. Images are moved
by it later, from the raw scan, in one resampling.
"""

from dataclasses import dataclass, field, replace
from importlib import metadata

import nibabel as nib
import numpy as np
from scipy import ndimage

from ..errors import ImageError
from ..grids import Grid, same_grid
from ..spaces.headers import header_signs
from ..volumes import read_mask, read_volume
from .affines import affine_parts, fit_pictures
from .quality import Quality, correlation, judge
from .template import template_maps, tissue_picture
from .tissues import sharpened
from .transform import Transform
from .upright import seen_upright
from .warping import warp_to_template

__all__ = ["Registration", "match_sequences", "opened_model", "register"]

_LEAST_EDGE_MM, _LARGEST_EDGE_MM, _LEAST_FIELD_MM = 0.1, 12.0, 70.0
_MOST_TURNED_DEG, _MOST_MOVED_MM = 15.0, 15.0  # of a head between two scans of a session
_NETWORK = "coordinates"
_TURNED = (
    "the axes in its header are not those of the head, so that left and right cannot be told; "
    "repair the header"
)


@dataclass(frozen=True, eq=False)
class Registration:
    """What became of a scan.

    Attributes
    ----------
    transform : Transform
    quality : Quality
        Numbers, a score of failure, and in words what is odd.
    warnings : tuple of str
        What is odd in the header.

    Examples
    --------
    >>> found = Registration(Transform(np.eye(4)), Quality({}, 0.0, ()))
    >>> found.quality.failed, found.transform.warp
    (False, None)
    """

    transform: Transform
    quality: Quality
    warnings: tuple = field(default_factory=tuple)


def register(scan, *, lesion=None, labels=None, model=_NETWORK, nonlinear=True, spacing_mm=2.0):
    """Register a scan of any contrast to the MNI template.

    Parameters
    ----------
    scan : str, os.PathLike or nibabel spatial image, 3-D
        A whole head or a brain, in any orientation and of any slices.
    lesion : str, os.PathLike or nibabel spatial image, default=None
        Its mask, in the scan's world: it is left out of what is matched.
    labels : int, sequence of int or None, default=None
        Where the mask holds labels, those that are lesion.
    model : str, path, or object with ``predict(scan)``
        What finds the brain, its tissues and where in the template they lie: the name of pretrained
        weights, a file, or a model.
    nonlinear : bool, default=True
        False: the affine is all.
    spacing_mm : float, default=2.0
        Voxels on which the warp is sought.

    Returns
    -------
    Registration

    Raises
    ------
    ImageError
        If an image cannot be read, its voxels cannot be a head's, or no brain is found.

    Notes
    -----
    Tissues come from the network, are made sharp by the scan's own grey values
    (`tissues.sharpened`), and are matched as a picture of one contrast to the template's: by least
    squares for an affine, kept where it is better than the network's, then by dipy's symmetric
    registration for the warp.

    Examples
    --------
    >>> from imaging.registration import output_grid
    >>> found = register("sub-01_FLAIR.nii.gz", lesion="sub-01_lesion.nii.gz")  # doctest: +SKIP
    >>> found.transform.to_template("sub-01_FLAIR.nii.gz", output_grid(1))  # doctest: +SKIP
    """
    volume = read_volume(scan)
    _check_voxels(volume)
    mask = None if lesion is None else _lesion_on(volume, lesion, labels)
    seen = header_signs(scan)
    maps, turned = seen_upright(opened_model(model), volume)
    target = template_maps(float(spacing_mm))
    grid, wanted = target.grid, target.picture
    transform = Transform(maps.affine)

    tissues = _placed_tissues(maps, transform, grid)
    spared = _placed_mask(mask, transform, grid)
    transform, tissues, spared, refined = _refined(maps, mask, transform, tissues, spared, target)
    values = transform.to_template(_smoothed(volume, spacing_mm), grid).get_fdata(dtype=np.float32)
    tissues = sharpened(tissues, values, spacing_mm, left_out=spared)
    if nonlinear:
        warp = warp_to_template(wanted, tissue_picture(tissues), grid, lesion=spared)
        transform = Transform(transform.affine, warp)
    about = {
        "template": "MNI152 (ICBM 2009a, as in nilearn)",
        "warped": bool(nonlinear),
        "lesion_left_out": bool(spared is not None and spared.any()),
        "affine": "network, then tissues" if refined else "network",
        "spacing_mm": float(spacing_mm),
        "versions": installed(),
    }
    transform = Transform(transform.affine, transform.warp, about)
    quality = judge(transform, maps, tissues, target, left_out=spared)
    if turned:  # to take one side for the other is worse than to leave a patient out
        reasons = (_TURNED, *quality.reasons)
        quality = replace(quality, failure=max(quality.failure, 0.9), reasons=reasons)
    return Registration(transform, quality, tuple([*seen.lost, *seen.broken]))


def match_sequences(other, scan, *, model=_NETWORK):
    """The small movement of the head between two scans of one session.

    Parameters
    ----------
    other, scan : str, os.PathLike or nibabel spatial image, 3-D
        Of any two contrasts.
    model : str, path, or object with ``predict(scan)``
        As for `register`.

    Returns
    -------
    ndarray of shape (4, 4)
        World coordinates of `other` to those of `scan`. The identity where both have one grid, and
        where what was found is no small movement: scans of a session share the scanner's
        coordinates, and their headers are believed first.
    """
    other, scan = read_volume(other), read_volume(scan)
    if same_grid(other, scan):
        return np.eye(4)
    model = opened_model(model)
    pictures, grids = [], []
    for volume in (scan, other):
        maps = model.predict(volume)
        data = np.moveaxis(np.asanyarray(maps.tissues.dataobj), -1, 0)
        pictures.append(tissue_picture(data))
        grids.append(Grid.of(maps.tissues))
    found = fit_pictures(*pictures, grids[0], rigid=True, moving_grid=grids[1])
    turned, _, _ = affine_parts(found)
    inside = np.argwhere(pictures[1] > 0.3)
    if len(inside) == 0:
        return np.eye(4)
    middle = nib.affines.apply_affine(grids[1].affine, inside.mean(axis=0))
    moved = np.linalg.norm(nib.affines.apply_affine(found, middle) - middle)
    small = turned <= _MOST_TURNED_DEG and moved <= _MOST_MOVED_MM
    return found if small else np.eye(4)


def _refined(maps, mask, transform, tissues, spared, target):
    """The affine made better by the pictures themselves, where they then agree better."""
    picture = tissue_picture(tissues)
    counted = None if spared is None else (~spared).astype(np.float32)
    before = correlation(picture, target.picture, _asked(target, spared))
    step = fit_pictures(target.picture, picture, target.grid, weight=counted)
    moved = Transform(step @ transform.affine)
    again, hidden = (
        _placed_tissues(maps, moved, target.grid),
        _placed_mask(mask, moved, target.grid),
    )
    after = correlation(tissue_picture(again), target.picture, _asked(target, hidden))
    if after <= before:
        return transform, tissues, spared, False
    return moved, again, hidden, True


def _asked(target, spared):
    return target.brain if spared is None else target.brain & ~spared


def _placed_tissues(maps, transform, grid):
    data = np.asanyarray(maps.tissues.dataobj)
    parts = [
        transform.to_template(nib.Nifti1Image(data[..., k], maps.tissues.affine), grid)
        for k in range(3)
    ]
    return np.stack([np.asanyarray(part.dataobj) for part in parts]).clip(0, 1)


def _placed_mask(mask, transform, grid):
    if mask is None:
        return None
    placed = transform.to_template(mask, grid, interpolation="mask")
    return np.asanyarray(placed.dataobj) > 0


def _smoothed(volume, spacing_mm):
    """A scan without what a coarser grid cannot show."""
    edges = np.linalg.norm(volume.affine[:3, :3], axis=0)
    widths = np.where(edges < 0.75 * spacing_mm, 0.35 * spacing_mm / edges, 0)
    if not widths.any():
        return volume
    data = ndimage.gaussian_filter(np.asanyarray(volume.dataobj, dtype=np.float32), widths)
    return nib.Nifti1Image(data, volume.affine)


def _lesion_on(volume, lesion, labels):
    """The lesion's mask; one on the scan's voxels lies where the scan does, whatever its header."""
    mask = read_mask(lesion, labels=labels)
    if mask.shape == volume.shape and not same_grid(mask, volume, tolerance_mm=1.0):
        raise ImageError(
            "its lesion mask has the voxels of the scan, but another affine: one of both headers "
            "is wrong; repair it before they are registered"
        )
    return nib.Nifti1Image(np.asanyarray(mask.dataobj), mask.affine)


def _check_voxels(volume):
    edges = np.linalg.norm(volume.affine[:3, :3], axis=0)
    size = " x ".join(f"{edge:.3g}" for edge in edges)
    if edges.min() < _LEAST_EDGE_MM or edges.max() > _LARGEST_EDGE_MM:
        raise ImageError(
            f"its voxels of {size} mm cannot be those of a head; repair the sizes in the header "
            "(units of micrometres or metres?)"
        )
    field_mm = np.sort(edges * volume.shape)
    if field_mm[0] < 0.3 * _LEAST_FIELD_MM or field_mm[1] < _LEAST_FIELD_MM:
        raise ImageError(
            f"its field of view of {' x '.join(f'{n:.0f}' for n in edges * volume.shape)} mm "
            "holds too little of a brain; check the sizes of the voxels in the header"
        )


def opened_model(model):
    """The model that was given, or the one of that name or file.

    Parameters
    ----------
    model : str, os.PathLike or object with ``predict``
    """
    if hasattr(model, "predict"):
        return model
    from ..storage.models import model_path
    from .places.model import CoordinateModel

    return CoordinateModel.load(model_path(model))


def installed():
    """Versions of what a registration hangs on: dict of str to str."""
    found = {}
    for name in ("prognosis-mri", "dipy", "nilearn", "nibabel", "numpy", "scipy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
