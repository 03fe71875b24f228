"""Which regions are shown of an atlas that has not the published ones: those lesioned most often.

They are chosen on training patients, and no outcome is looked at.
"""

import warnings

import numpy as np

from imaging.atlases.loads import loads_of
from imaging.roi_mosaics import LANGUAGE_REGIONS
from imaging.spaces.checking import of_placed_mask
from imaging.storage.bank import keeping
from imaging.storage.caching import Identified, as_memory

from ..cells import listing
from ..columns import check_cohort, map_images
from ..spaces import judge_spaces

__all__ = ["choose_regions", "has_published"]


def has_published(atlas, count):
    """Whether an atlas has the first so many of `imaging.LANGUAGE_REGIONS`."""
    return set(LANGUAGE_REGIONS[:count]) <= set(atlas.regions)


def choose_regions(atlas, count, X, lesion, *, space="template", reading=None, stacklevel=2):
    """The regions that most training patients have lesioned; says which in a warning.

    Parameters
    ----------
    atlas : imaging.Atlas
    count : int
        So many; all of them, where the atlas has fewer.
    X : DataFrame
        Training patients.
    lesion : str or None
        Column of their lesion masks. None: there is none, and the largest regions are taken.
    space : {"template", "native"}
    reading : Reading
    stacklevel : int
        Of the warning.

    Returns
    -------
    list of str
        The most often lesioned first; of those lesioned as often, the one with the higher load.

    Raises
    ------
    CohortError
        If the column or a mask is missing, or a mask cannot be read.
    """
    if lesion is None:
        labels = np.bincount(np.asanyarray(atlas.image.dataobj).ravel().astype(int))
        sizes = {name: labels[label] for label, name in atlas.names.items() if label < len(labels)}
        chosen = sorted(sizes, key=sizes.get, reverse=True)[:count]
        how = (
            f"the largest {len(chosen)}, since no column of lesion masks is declared by which to "
            "choose (lesion='...')"
        )
    else:
        loads = _loads(atlas, check_cohort(X, [lesion]), lesion, space, reading)
        often = {
            name: (sum(one[name] > 0 for one in loads), sum(one[name] for one in loads))
            for name in atlas.regions
        }
        chosen = sorted(often, key=often.get, reverse=True)[:count]
        how = f"those most often lesioned in {len(X)} training patients"
    warnings.warn(
        f"atlas {atlas.name!r} has not the published regions, so regions={count} shows {how}: "
        f"{listing(chosen)}; to choose them yourself: regions=[...]",
        UserWarning,
        stacklevel=stacklevel + 1,
    )
    return chosen


def _loads(atlas, X, lesion, space, reading):
    measure = keeping(as_memory(None if reading is None else reading.memory), _measured)
    identified, checked = Identified(atlas, atlas.identity), space == "template"
    found = map_images(
        lambda cell: measure(cell, identified, checked and atlas.in_template),
        X,
        lesion,
        n_jobs=None if reading is None else reading.n_jobs,
    )
    judge_spaces(X, lesion, [verdict for _, verdict in found], stacklevel=4)
    return [loads for loads, _ in found]


def _measured(source, identified, checked):
    return of_placed_mask(lambda mask: loads_of(mask, identified.value), source, None, checked)
