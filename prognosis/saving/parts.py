"""What stands in a file for the parts of a model that scikit-learn's world does not know.

Weights go to safetensors; images, atlases, tables and paths are taken apart into arrays and text.
"""

import sys
from pathlib import Path, PurePath

import joblib
import nibabel as nib
import numpy as np
import pandas as pd

from imaging.atlases.atlas import Atlas

__all__ = ["STAND_INS", "apart", "together"]


class StandIn:
    """Base of what stands for a part; `whole` gives the part back."""

    def whole(self, tensors):
        raise NotImplementedError


class TensorStandIn(StandIn):
    """Weights, by their name among the tensors; their order in memory decides last digits."""

    def __init__(self, tensor, tensors):
        import torch

        self.name = f"tensor-{len(tensors)}"
        self.trained = isinstance(tensor, torch.nn.Parameter)
        self.requires_grad = tensor.requires_grad
        plain = tensor.detach().cpu()
        # Not `is_contiguous`: a kernel of one channel lies both ways, and its strides choose one.
        usual = torch.empty(plain.shape, device="meta").stride()
        self.strides = None if plain.stride() == usual else list(plain.stride())
        tensors[self.name] = plain.clone(memory_format=torch.contiguous_format)

    def whole(self, tensors):
        import torch

        tensor = tensors[self.name]
        if self.strides is not None:
            empty = torch.empty_strided(tensor.shape, self.strides, dtype=tensor.dtype)
            tensor = empty.copy_(tensor)
        if self.trained:
            return torch.nn.Parameter(tensor, requires_grad=self.requires_grad)
        return tensor.requires_grad_(self.requires_grad)


class AtlasStandIn(StandIn):
    def __init__(self, atlas, tensors):
        self.image, self.names, self.name = ImageStandIn(atlas.image), atlas.names, atlas.name

    def whole(self, tensors):
        return Atlas(self.image.whole(tensors), self.names, self.name)


class ImageStandIn(StandIn):
    def __init__(self, image, tensors=None):
        self.data, self.affine = np.asanyarray(image.dataobj), np.asarray(image.affine)

    def whole(self, tensors):
        return nib.Nifti1Image(self.data, self.affine)


class SeriesStandIn(StandIn):
    """A column: its cells, or the numbers of its categories."""

    def __init__(self, series, tensors=None):
        values = series.array
        self.name, self.index = series.name, IndexStandIn(series.index)
        self.dtype, self.categories, self.ordered = str(series.dtype), None, False
        if isinstance(series.dtype, pd.CategoricalDtype):
            self.categories = IndexStandIn(series.dtype.categories)
            self.ordered, values = bool(series.dtype.ordered), values.codes
        self.values = _cells(values)

    def whole(self, tensors):
        index = self.index.whole(tensors)
        if self.categories is None:
            return pd.Series(self.values, index, self.dtype, self.name)
        dtype = pd.CategoricalDtype(self.categories.whole(tensors), self.ordered)
        return pd.Series(pd.Categorical.from_codes(self.values, dtype=dtype), index, name=self.name)


class TableStandIn(StandIn):
    def __init__(self, table, tensors=None):
        self.index, self.names = IndexStandIn(table.index), IndexStandIn(table.columns)
        self.columns = [SeriesStandIn(table.iloc[:, k]) for k in range(table.shape[1])]

    def whole(self, tensors):
        index = self.index.whole(tensors)
        if not self.columns:
            return pd.DataFrame(index=index)
        whole = pd.concat([column.whole(tensors) for column in self.columns], axis=1)
        return whole.set_axis(self.names.whole(tensors), axis=1).set_axis(index, axis=0)


class IndexStandIn(StandIn):
    def __init__(self, index, tensors=None):
        self.values, self.dtype, self.name = _cells(index), str(index.dtype), index.name

    def whole(self, tensors):
        return pd.Index(self.values, dtype=self.dtype, name=self.name)


class TypeStandIn(StandIn):
    """The type of a column."""

    def __init__(self, dtype, tensors=None):
        self.empty = SeriesStandIn(pd.Series([], dtype=dtype))

    def whole(self, tensors):
        return self.empty.whole(tensors).dtype


class PathStandIn(StandIn):
    def __init__(self, path, tensors=None):
        self.text = str(path)

    def whole(self, tensors):
        return Path(self.text)


class NothingStandIn(StandIn):
    """A cache of the machine it was made on, of which nothing is kept."""

    def __init__(self, memory, tensors=None):
        pass

    def whole(self, tensors):
        return None


_KINDS = {
    Atlas: AtlasStandIn,
    nib.spatialimages.SpatialImage: ImageStandIn,
    pd.DataFrame: TableStandIn,
    pd.Series: SeriesStandIn,
    pd.Index: IndexStandIn,
    pd.api.extensions.ExtensionDtype: TypeStandIn,
    PurePath: PathStandIn,
    joblib.Memory: NothingStandIn,
}
STAND_INS = (TensorStandIn, *_KINDS.values())


def apart():
    """What `exchanged` needs to take a model apart.

    Returns
    -------
    kinds : tuple of type
    exchange : callable
        From a part to its stand-in. Atlases that are equal have one.
    tensors : dict of str to Tensor
        Filled by it.
    """
    kinds, tensors, atlases = dict(_KINDS), {}, {}
    torch = sys.modules.get("torch")
    if torch is not None:  # without it no model holds a tensor
        kinds[torch.Tensor] = TensorStandIn

    def exchange(part):
        stand_in = next(kinds[kind] for kind in kinds if isinstance(part, kind))
        if stand_in is not AtlasStandIn:
            return stand_in(part, tensors)
        if part.identity not in atlases:
            atlases[part.identity] = stand_in(part, tensors)
        return atlases[part.identity]

    return tuple(kinds), exchange, tensors


def together(tensors):
    """What `exchanged` needs to put a model together again: kinds and exchange."""
    return STAND_INS, lambda part: part.whole(tensors)


def _cells(values):
    """Numbers as an array of numbers, anything else as a list."""
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array
    return [None if pd.isna(value) else value for value in array.tolist()]
