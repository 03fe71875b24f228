"""What in the sections of a brain can tell its age, as a smoothed picture and a few numbers."""

import numpy as np
from scipy import ndimage

from ..errors import ImageError
from .reading import read_sections

__all__ = ["describe_sections", "picture_panes"]

WHITE = 255.0  # grey value of the 99.5th percentile, once rescaled
TISSUE_ABOVE, TISSUE_ABOVE_IF_DARK, LEAST_BRIGHT = 60, 5, 0.3
HISTOGRAM_BINS, HISTOGRAM_SMOOTHING = 64, 2
BRAIN_ABOVE, FLUID_BELOW, BRIGHT_ABOVE = 0.15, 0.6, 1.3  # of the tissue's commonest value
CLOSED, PEELED, LESION_GROWN = 3, 3, 3  # pixels
CENTRE_COLUMNS, CENTRE_DEPTH, BRIGHT_DEPTH = 30, 20, 5  # pixels
SMALLEST_SHARE = 0.002  # added before logarithms
BRIGHTEST, BLUR_PIXELS, EVERY = 2, 2, 4
LEAST_BRAIN_PIXELS = 500


def describe_sections(source, panes, lesion=None):
    """What can tell the age of a brain in its sections.

    Grey values are divided by the commonest one of tissue in each section; what lies outside of the
    brain becomes 0, and lesions the median of the brain, so that they tell nothing.

    Parameters
    ----------
    source : str, os.PathLike or nibabel spatial image
        A volume in template space, best without the skull, or a picture. A red overlay is taken off
        a coloured picture and counts as lesion.
    panes : sequence of Pane
    lesion : ndarray of uint8, default=None
        As `lesion_sections` makes it.

    Returns
    -------
    dict
        ``"picture"``: all sections, smoothed and every fourth pixel of them, one after the other,
        float32. ``"numbers"``: for each section the 5th percentile of the brain and the share of
        fluid; with a midline also the logarithm of the share of the ventricles, that of fluid
        elsewhere, and the logarithm of the share of bright tissue deep in the brain.

    Raises
    ------
    ImageError
        If it cannot be read, does not have such sections, or one shows no brain.
    """
    sections, painted = read_sections(source, panes)
    lesions = [np.zeros(pane.shape, bool) for pane in panes]
    if lesion is not None:
        ends = np.cumsum([np.prod(pane.shape) for pane in panes])
        bits = np.unpackbits(lesion, count=ends[-1]).astype(bool)
        lesions = [part.reshape(pane.shape) for part, pane in zip(np.split(bits, ends[:-1]), panes)]
    white = _white(sections)
    pictures, numbers = [], []
    for pane, section, mask, paint in zip(panes, sections, lesions, painted):
        mask = mask if paint is None else mask | paint
        try:
            picture, found = _described(section * (WHITE / white), mask, pane.has_midline)
        except ImageError as error:
            raise ImageError(f"the {pane.plane} section {error}") from None
        pictures.append(picture.ravel())
        numbers += found
    return {"picture": np.concatenate(pictures), "numbers": np.array(numbers)}


def picture_panes(values, panes):
    """The sections of a ``"picture"`` as `describe_sections` makes it, as 2-D arrays.

    Parameters
    ----------
    values : ndarray of shape (n_pixels,)
    panes : sequence of Pane

    Returns
    -------
    list of ndarray of shape (rows / 4, columns / 4), rounded up
    """
    shapes = [tuple(-(-n // EVERY) for n in pane.shape) for pane in panes]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(values, ends[:-1]), shapes)]


def _white(sections):
    """The grey value that counts as white, of all sections together."""
    values = np.concatenate([one.ravel() for one in sections])
    values, low = values[values > 0], values.min()
    if not values.size:
        raise ImageError("the sections are black; check that the image is in template space")
    white = np.percentile(values, 99.5)
    if low < -0.1 * white:
        raise ImageError(
            f"the image holds negative values (lowest {low:.4g}) where grey values on a black "
            "background were expected; shift them so that the background is 0"
        )
    return white


def _described(section, lesion, has_midline):
    relative = section / _commonest(section)
    depth = _depth(relative)
    brain = depth > 0
    area = np.count_nonzero(brain)
    if area < LEAST_BRAIN_PIXELS:
        raise ImageError(
            f"shows {area} pixels of brain, at least {LEAST_BRAIN_PIXELS} were expected; check "
            "that the image is in template space, of 1 mm, and bright on black"
        )
    if lesion.any():
        lesion = ndimage.binary_dilation(lesion, iterations=LESION_GROWN)
    spared = brain & ~lesion
    median = np.median(relative[spared if spared.any() else brain])
    relative[lesion] = median
    relative[~brain] = 0
    fluid = brain & (relative < FLUID_BELOW)
    numbers = [np.percentile(relative[brain], 5), np.count_nonzero(fluid) / area]
    if has_midline:
        away = np.abs(np.arange(section.shape[1]) - (section.shape[1] - 1) / 2)
        ventricles = np.count_nonzero(fluid & (depth > CENTRE_DEPTH) & (away <= CENTRE_COLUMNS))
        deep = spared & (depth > BRIGHT_DEPTH)
        bright = np.count_nonzero(deep & (relative > BRIGHT_ABOVE * median))
        numbers += [
            np.log(SMALLEST_SHARE + ventricles / area),
            (np.count_nonzero(fluid) - ventricles) / area,
            np.log(SMALLEST_SHARE + bright / max(1, np.count_nonzero(deep))),
        ]
    smooth = ndimage.gaussian_filter(np.clip(relative, 0, BRIGHTEST), BLUR_PIXELS)
    return smooth[::EVERY, ::EVERY].astype(np.float32), numbers


def _commonest(section):
    """The commonest grey value of tissue, from a smoothed histogram."""
    values = section[section > TISSUE_ABOVE]
    if len(values) < LEAST_BRIGHT * np.count_nonzero(section > 0):
        values = section[section > TISSUE_ABOVE_IF_DARK]
    if not len(values):
        raise ImageError("is black; check that the image is in template space")
    counts, edges = np.histogram(values, HISTOGRAM_BINS)
    at = ndimage.gaussian_filter1d(counts.astype(float), HISTOGRAM_SMOOTHING).argmax()
    return (edges[at] + edges[at + 1]) / 2


def _depth(relative):
    """Pixels from the outside to each pixel of the brain, without its rim; 0 or less outside."""
    margin = CLOSED + 1
    bright = np.pad(relative > BRAIN_ABOVE, margin)
    if not bright.any():
        return np.zeros(relative.shape, int)
    grown = _steps_to(bright) <= CLOSED
    outside, _ = ndimage.label(~grown)
    filled = outside != outside[0, 0]
    depth = _steps_to(~filled) - (CLOSED + PEELED)
    return depth[margin:-margin, margin:-margin]


def _steps_to(mask):
    """Steps to the next pixel of a mask, along rows and columns."""
    return ndimage.distance_transform_cdt(~mask, metric="taxicab")
