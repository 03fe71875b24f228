"""A label atlas: which voxel belongs to which named region, on its own grid and on others.

What was computed for a grid is kept, since all masks of a cohort lie on one.
"""

import difflib
import functools
import re
from collections import OrderedDict
from dataclasses import dataclass, field

import joblib
import nibabel as nib
import numpy as np

from ..errors import AtlasError
from ..spaces.checking import holds_template
from ..volumes import to_grid

__all__ = ["Atlas"]

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
    >>> atlas
    Atlas('small', 2 regions)
    >>> atlas.regions, atlas.labels_of("thalamus")
    (['insula', 'thalamus'], [7])
    """

    image: nib.Nifti1Image
    names: dict
    name: str
    _on_grids: OrderedDict = field(default_factory=OrderedDict, init=False, repr=False)

    def __repr__(self):
        return f"Atlas({self.name!r}, {len(self.names)} regions)"

    def __getstate__(self):
        return {**self.__dict__, "_on_grids": OrderedDict()}

    def __deepcopy__(self, memo):
        # Nothing of an atlas changes, and clones of an estimator should share what is kept.
        return self

    @functools.cached_property
    def identity(self):
        """A hash of labels, place and names, for caches: it is computed once."""
        return joblib.hash((np.asanyarray(self.image.dataobj), self.image.affine, self.names))

    @functools.cached_property
    def in_template(self):
        """Whether its regions spread over the template's brain: then it asks for template space."""
        return holds_template(self.image)

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
        return self._on(grid)[0]

    def sizes_on(self, grid):
        """Voxels of the background and of every region on the grid of another image.

        Parameters
        ----------
        grid : nibabel spatial image

        Returns
        -------
        ndarray of shape (1 + n_regions,), int
            In the order of the indices that `labels_on` returns. Read-only.

        Raises
        ------
        AtlasError
            As `labels_on`.
        """
        return self._on(grid)[1]

    def _on(self, grid):
        """Labels and sizes on a grid, made once."""
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
            sizes = np.bincount(indices.ravel(order="K"), minlength=1 + len(self.names))
            indices.flags.writeable = sizes.flags.writeable = False
            while len(self._on_grids) >= _GRIDS_KEPT:
                self._on_grids.popitem(last=False)
            self._on_grids[key] = indices, sizes
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
        >>> from imaging import load_atlas
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
