"""The prepared images of a cohort, one row each: in memory, or in files where they are too many.

A network asks for batches by row number and does not know which; only the rows of a batch are ever
copied, and parts of a cohort (training, validation) are views.
"""

import numpy as np
import torch

__all__ = ["ImageRows"]


class ImageRows:
    """Images of equal shape by row number.

    Parameters
    ----------
    images : ndarray of shape (n_images, channels, *spatial), float32, or object
        Anything else has that `shape`, and gives the array of some rows when called with an array
        of their numbers.
    rows : ndarray of int, default=None
        Those of `images` that count, in this order; None takes all.

    Examples
    --------
    >>> images = ImageRows(np.arange(8, dtype=np.float32).reshape(4, 1, 2))
    >>> half = images.at([3, 0])
    >>> len(half), half.shape, half[torch.tensor([0])].tolist()
    (2, (1, 2), [[[6.0, 7.0]]])
    >>> half.mean().tolist()
    [[3.0, 4.0]]
    """

    def __init__(self, images, rows=None):
        self.images = images
        self.rows = np.arange(images.shape[0]) if rows is None else np.asarray(rows)

    def __len__(self):
        return len(self.rows)

    @property
    def shape(self):
        """Channels and spatial shape of one image."""
        return tuple(self.images.shape[1:])

    def at(self, rows):
        """A view of some of the images, in their order; nothing is copied."""
        return ImageRows(self.images, self.rows[np.asarray(rows)])

    def __getitem__(self, rows):
        """The images at `rows`, a tensor of shape (n, channels, *spatial) of its own memory."""
        return torch.from_numpy(self._read(self.rows[np.asarray(rows)]))

    def array(self):
        """All images as one array."""
        whole = isinstance(self.images, np.ndarray) and np.array_equal(
            self.rows, np.arange(len(self.images))
        )
        return self.images if whole else self._read(self.rows)

    def mean(self):
        """The mean image, shape (channels, *spatial), one image in memory at a time."""
        total = self._read(self.rows[:1])[0]
        for row in self.rows[1:]:
            total += self._one(row)
        return total / np.float32(len(self))

    def spread(self, mean):
        """Root mean square of the standard deviations of the images' differences from `mean`."""
        return float(np.sqrt(np.mean([(self._one(row) - mean).var() for row in self.rows])))

    def _one(self, row):
        if isinstance(self.images, np.ndarray):
            return self.images[row]
        return self.images(np.array([row]))[0]

    def _read(self, rows):
        return self.images[rows] if isinstance(self.images, np.ndarray) else self.images(rows)
