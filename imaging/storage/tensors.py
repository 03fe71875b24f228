"""NumPy arrays as PyTorch tensors, without PyTorch's warning about arrays that are read-only.

Arrays come read-only from whoever lends them: joblib to its workers, pandas, nibabel, Pillow.
Tensors know no such thing, so those arrays are copied, and writing hits nobody else's memory.
"""

import numpy as np

__all__ = ["as_tensor"]


def as_tensor(array):
    """The tensor of an array: of the same memory, or of a copy where that is read-only.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    torch.Tensor
        Of the type of `array`.

    Examples
    --------
    >>> lent = np.arange(3)
    >>> lent.flags.writeable = False
    >>> as_tensor(lent)
    tensor([0, 1, 2])
    """
    import torch

    return torch.from_numpy(np.require(array, requirements="W"))
