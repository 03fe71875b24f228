"""A mask on its scan: drawn, to see at a glance whether a segmentation can be right, and taken off.

Published pictures often have the lesion painted over them; left there, it gives the lesion away to
whatever learns from them.
"""

from pathlib import Path

import nibabel as nib
import numpy as np

from .errors import ImageError
from .grids import same_grid
from .storage.files import replacing
from .volumes import read_mask, read_volume, to_grid

__all__ = ["remove_overlay", "save_overlay"]

_COLUMNS, _ROWS = 6, 2


def save_overlay(scan, mask, path, *, title=""):
    """Draw the outline of a mask on axial slices of its scan, and write a PNG file.

    The slices span the lesion, and the brain where there is none; left is left.

    Parameters
    ----------
    scan : path or nibabel image, 3-D
    mask : path or nibabel image on the grid of the scan
    path : path
        Ending in .png.
    title : str
        Shown as it is.

    Returns
    -------
    pathlib.Path
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scan, mask = read_volume(scan), read_mask(mask)
    if not same_grid(scan, mask):
        mask = to_grid(mask, scan, interpolation="nearest")
    data, lesion = (np.asanyarray(image.dataobj) for image in (scan, mask))
    bright = data[data > data.mean()]  # none in a constant scan
    low, high = np.percentile(bright if bright.size else data, [0.5, 99.5])
    low = min(float(np.percentile(data, 1)), float(low))
    edges = nib.affines.voxel_sizes(scan.affine)
    figure = Figure(figsize=(2 * _COLUMNS, 2.3 * _ROWS + 0.4), facecolor="black")
    FigureCanvasAgg(figure)
    slices = _slices(lesion, data)
    for place, number in enumerate(slices):
        axes = figure.add_subplot(_ROWS, _COLUMNS, place + 1)
        # Neurological convention: x grows to the right.
        axes.imshow(
            data[:, :, number].T,
            cmap="gray",
            vmin=low,
            vmax=max(high, low + 1e-6),
            origin="lower",
            aspect=edges[1] / edges[0],
            interpolation="nearest",
        )
        if lesion[:, :, number].any():
            # With a rim of zeros, so that a mask that fills the slice has an outline, too.
            rim = np.pad(lesion[:, :, number].T, 1)
            limits = axes.get_xlim(), axes.get_ylim()
            rows, columns = (np.arange(n) - 1 for n in rim.shape)
            axes.contour(columns, rows, rim, [0.5], colors="#ff4d4d", linewidths=0.9)
            axes.set(xlim=limits[0], ylim=limits[1])
        height = (scan.affine @ [*(np.array(data.shape[:2]) / 2), number, 1])[2]
        axes.set_title(f"z = {height:.0f} mm", color="white", fontsize=7, pad=2)
        axes.axis("off")
    # A file name is text, not mathematics, whatever dollars are in it.
    text = f"{title}   L | R" if title else "L | R"
    figure.suptitle(text, color="white", fontsize=9, parse_math=False)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.9, wspace=0.02, hspace=0.1)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="black", format="png")
    return path


def remove_overlay(colours, name="the picture"):
    """Take a red overlay off a grey picture.

    Where the mask was painted with opacity a, red is ``v (1 - a) + 255 a`` and green and blue are
    ``v (1 - a)`` of the raw grey value v; so ``a = (red - green) / 255``, ``v = green / (1 - a)``.

    Parameters
    ----------
    colours : ndarray of shape (rows, columns, 3), uint8
    name : str
        What the picture is called in errors.

    Returns
    -------
    grey : ndarray of shape (rows, columns), uint8
        Exact outside of the mask, and to about one grey level under it.
    mask : ndarray of shape (rows, columns), bool

    Raises
    ------
    ImageError
        If it is coloured otherwise.

    Examples
    --------
    >>> raw = np.full((2, 2, 3), 100, np.uint8)
    >>> raw[0, 1] = [177, 50, 50]  # painted half red
    >>> grey, mask = remove_overlay(raw)
    >>> grey.tolist(), mask.tolist()
    ([[100, 100], [100, 100]], [[False, True], [False, False]])
    """
    red, green, blue = (colours[..., k].astype(np.float32) for k in range(3))
    if not np.array_equal(green, blue) or (red < green).any():
        raise ImageError(f"{name} is coloured otherwise than by a red overlay; copy it again")
    opacity = (red - green) / 255
    # Outside the mask red equals green exactly; inside the opacity is one half, or one quarter
    # (at the least .247) where the picture is black.
    mask = opacity > 0.2
    grey = np.rint(np.minimum(green / np.maximum(1 - opacity, 1 / 255), 255))
    return grey.astype(np.uint8), mask


def _slices(lesion, data):
    """Numbers of evenly spaced slices over the lesion with a little around it, or over the head."""
    filled = np.flatnonzero(lesion.any((0, 1)))
    if len(filled) == 0:
        filled = np.flatnonzero((data > data.mean()).mean((0, 1)) > 0.05)
    if len(filled) == 0:
        filled = np.arange(data.shape[2])
    first, last = int(filled[0]), int(filled[-1])
    margin = max(1, (last - first) // 10)
    first, last = max(0, first - margin), min(data.shape[2] - 1, last + margin)
    count = min(_COLUMNS * _ROWS, last - first + 1)
    return np.unique(np.linspace(first, last, count).round().astype(int)).tolist()
