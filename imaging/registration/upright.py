"""A head whose header names the wrong axes: found by asking the network in every orientation.

Networks learn heads that are held as people hold them; what a wrong header turns by 90 degrees they
place badly, and say so by coordinates that no affine fits.
"""

from types import SimpleNamespace

import nibabel as nib
import numpy as np

from ..errors import ImageError
from .affines import affine_parts, turns

__all__ = ["seen_upright"]

_SUSPECT_MM, _SUSPECT_DEG = 7.0, 45.0
_CLEARLY = 0.6  # of the residual as the header says it, for another orientation to be believed


def seen_upright(model, volume):
    """What a network says of a head, in the orientation that fits best.

    Mirrored orientations are not tried: left and right of a head look alike.

    Parameters
    ----------
    model : object with ``predict(scan)``
    volume : nibabel spatial image, canonical

    Returns
    -------
    maps : object
        As ``predict`` returns it, in the world of `volume`.
    turned : bool
        Whether the header's axes are not those of the head.

    Raises
    ------
    ImageError
        If no brain is found in any orientation.
    """
    try:
        maps, first = model.predict(volume), None
        residual_mm = maps.residual_mm
        if not _is_odd(maps):
            return maps, False
    except ImageError as error:
        maps, first, residual_mm = None, error, np.inf
    best, best_mm = None, _CLEARLY * residual_mm
    for turn in _turns(volume)[1:]:
        try:
            found = model.predict(nib.Nifti1Image(volume.dataobj, turn @ volume.affine))
        except ImageError:
            continue
        if found.residual_mm < best_mm and not _is_odd(found):
            best, best_mm = (found, turn), found.residual_mm
    if best is not None:
        return _in_world_of(*best), True
    if maps is None:
        raise first
    return maps, False


def _is_odd(maps):
    turned, scales, mirrored = affine_parts(maps.affine)
    shrunk = scales.min() < 0.6 or scales.max() > 1.6
    return mirrored or shrunk or turned > _SUSPECT_DEG or maps.residual_mm > _SUSPECT_MM


def _turns(volume):
    """The 24 ways to hold a box, as movements of the world about its middle; the first is none."""
    middle = nib.affines.apply_affine(volume.affine, (np.array(volume.shape) - 1) / 2)
    found = []
    for order, signs in turns():
        matrix = np.zeros((3, 3))
        matrix[range(3), order] = signs
        found.append(nib.affines.from_matvec(matrix, middle - matrix @ middle))
    return found


def _in_world_of(maps, turn):
    """Maps of a head that was turned, as of the head before."""
    back = np.linalg.inv(turn)

    def here(image):
        return nib.Nifti1Image(image.dataobj, back @ image.affine)

    return SimpleNamespace(
        brain=here(maps.brain),
        tissues=here(maps.tissues),
        coordinates=here(maps.coordinates),
        affine=maps.affine @ turn,
        residual_mm=maps.residual_mm,
        brain_ml=maps.brain_ml,
    )
