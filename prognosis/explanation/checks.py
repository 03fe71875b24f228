"""What the functions of this folder refuse alike."""

import numpy as np

__all__ = ["check_counts"]


def check_counts(**counts):
    """Refuse parameters, given by name, that are no whole numbers from 1.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> check_counts(n_steps=8, n_samples=0)
    Traceback (most recent call last):
        ...
    ValueError: n_samples must be a whole number from 1, got 0
    """
    for name, value in counts.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
