"""Cross-sections of a brain, and what ages in them: ventricles, fluid, bright white matter, looks.

Sections are cut from a volume in template space or lie side by side in a picture; from then on both
are alike: grey values on pixels of 1 mm, up is superior (axial: anterior), left is left.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from .errors import ImageError
from .mosaics import PLANES
from .overlay import remove_overlay
from .volumes import is_picture, is_raster, read_colours, read_picture, read_stored

__all__ = [
    "SOOP_PANES",
    "Pane",
    "as_panes",
    "describe_sections",
    "lesion_sections",
    "picture_panes",
]

# What is cut of a volume, world coordinates along x, y and z, mm.
FIELD_MM = ((-78, 78), (-112, 76), (-50, 85))

WHITE = 255.0  # grey value of the 99.5th percentile, once rescaled
TISSUE_ABOVE, TISSUE_ABOVE_IF_DARK, LEAST_BRIGHT = 60, 5, 0.3
HISTOGRAM_BINS, HISTOGRAM_SMOOTHING = 64, 2
BRAIN_ABOVE, FLUID_BELOW, BRIGHT_ABOVE = 0.15, 0.6, 1.3  # of the tissue's commonest value
CLOSED, PEELED, LESION_GROWN = 3, 3, 3  # pixels
CENTRE_COLUMNS, CENTRE_DEPTH, BRIGHT_DEPTH = 30, 20, 5  # pixels
SMALLEST_SHARE = 0.002  # added before logarithms
BRIGHTEST, BLUR_PIXELS, EVERY = 2, 2, 4
LEAST_BRAIN_PIXELS = 500


class Pane(NamedTuple):
    """One section: its plane, and where it is cut in a volume or lies in a picture.

    `at_mm` is the place in template space (x, y or z), or None; `rows` and `columns` are first and
    last + 1 in a picture, or None.
    """

    plane: str
    at_mm: float | None = None
    rows: tuple | None = None
    columns: tuple | None = None

    @property
    def shape(self):
        """Rows and columns."""
        if self.rows is not None:
            return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]
        right, up = (n for n in range(3) if n != PLANES[self.plane])
        return tuple(FIELD_MM[axis][1] - FIELD_MM[axis][0] + 1 for axis in (up, right))

    @property
    def has_midline(self):
        """Whether both halves of the brain are seen, left and right of the middle column."""
        return self.plane != "sagittal"


# Of the published pictures of the Stroke Outcome Optimization Project; their grid is the field.
SOOP_PANES = (
    Pane("axial", 18.0, (0, 189), (0, 157)),
    Pane("sagittal", -39.0, (53, 189), (157, 346)),
    Pane("coronal", -18.0, (53, 189), (346, 503)),
)


def as_panes(panes):
    """Read a declaration of sections.

    Parameters
    ----------
    panes : "soop", dict of str to float or sequence of float, or sequence of tuple
        "soop": three sections, in volumes as in the pictures of that cohort. A dict says where
        volumes are cut: plane ("axial", "coronal", "sagittal") to one or several places in template
        space, mm. Tuples ``(plane, (top, bottom), (left, right))`` say where sections lie in
        pictures: first row or column, and last + 1.

    Returns
    -------
    tuple of Pane

    Raises
    ------
    ValueError
        If it is none of these, or names an unknown plane, an empty box, or a place outside of the
        template's brain.

    Examples
    --------
    >>> as_panes({"axial": [0, 18]})[1].at_mm, as_panes("soop")[0].shape
    (18.0, (189, 157))
    >>> as_panes([("axial", (0, 189), (0, 157))])[0].has_midline
    True
    """
    if isinstance(panes, str) and panes == "soop":
        return SOOP_PANES
    try:
        if isinstance(panes, dict):
            found = [
                Pane(plane, float(at))
                for plane, places in panes.items()
                for at in np.atleast_1d(np.asarray(places, dtype=float))
            ]
        else:
            found = [
                Pane(plane, None, tuple(map(int, rows)), tuple(map(int, columns)))
                for plane, rows, columns in panes
            ]
        for pane in found:
            low, high = FIELD_MM[PLANES[pane.plane]]
            if pane.rows is None and not low <= pane.at_mm <= high:
                raise ValueError(
                    f"panes: the {pane.plane} section at {pane.at_mm:g} mm lies outside of the "
                    f"brain of the template, {low} to {high} mm"
                )
            if pane.rows is not None and not (_ordered(pane.rows) and _ordered(pane.columns)):
                raise ValueError(
                    f"panes: rows {pane.rows} and columns {pane.columns} are no box in a picture; "
                    "give (first, last + 1) of both, from 0"
                )
    except (KeyError, TypeError) as error:
        raise _not_understood(panes) from error
    except ValueError as error:
        raise error if str(error).startswith("panes: ") else _not_understood(panes) from error
    if not found:
        raise _not_understood(panes)
    return tuple(found)


def lesion_sections(source, panes):
    """The sections of a lesion mask, packed.

    Parameters
    ----------
    source : str, os.PathLike or nibabel spatial image
        A mask in template space, or a picture of masks in the layout of `panes`. Above 0.5 is
        lesion; of picture files, everything above 0.
    panes : sequence of Pane

    Returns
    -------
    ndarray of uint8
        As `describe_sections` takes it: the bits of all sections, one after the other.

    Raises
    ------
    ImageError
        If it cannot be read, or does not have such sections.
    """
    least = 0 if is_raster(source) else 0.5
    sections, _ = _sections(source, panes, mask=True)
    return np.packbits(np.concatenate([(one > least).ravel() for one in sections]))


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
    sections, painted = _sections(source, panes)
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


def _sections(source, panes, mask=False):
    """Sections as they are, and for each what was painted over it, or None."""
    if is_picture(source):
        return _of_picture(source, panes, mask)
    if panes[0].at_mm is None:
        raise ImageError(
            "a volume was found where panes declares boxes in a picture; say where to cut volumes, "
            'for example panes={"axial": 18}'
        )
    image = read_stored(source, allow_empty=mask)
    data = np.asanyarray(image.dataobj)
    inverse = np.linalg.inv(image.affine)
    return [_cut(data, inverse, pane, mask) for pane in panes], [None] * len(panes)


def _cut(data, inverse, pane, mask):
    axis = PLANES[pane.plane]
    right, up = (n for n in range(3) if n != axis)
    at = np.empty((3, *pane.shape))
    at[axis] = pane.at_mm
    at[right] = np.arange(FIELD_MM[right][0], FIELD_MM[right][1] + 1)
    at[up] = np.arange(FIELD_MM[up][1], FIELD_MM[up][0] - 1, -1)[:, None]
    voxels = np.tensordot(inverse[:3, :3], at, 1) + inverse[:3, 3, None, None]
    # Rounded, so that places on voxels are exactly on them, whatever the header's last digits.
    return ndimage.map_coordinates(
        data, np.round(voxels, 4), order=0 if mask else 1, output=np.float32
    )


def _of_picture(source, panes, mask):
    if panes[0].rows is None:
        raise ImageError(
            "a 2-D picture was found where panes says where to cut volumes; say where the sections "
            'lie in the picture: panes=[("axial", (0, 189), (0, 157)), ...]'
        )
    if is_raster(source) and not mask:
        whole = read_colours(source)
    else:
        whole = read_picture(source, allow_empty=mask)
    height, width = whole.shape[:2]
    bottom, far = max(pane.rows[1] for pane in panes), max(pane.columns[1] for pane in panes)
    if height < bottom or width < far or (panes == SOOP_PANES and height != bottom):
        raise ImageError(
            f"the picture has {height} rows and {width} columns where the sections of panes reach "
            f"to row {bottom} and column {far}; declare panes as the sections lie in your pictures"
        )
    sections, painted = [], []
    for pane in panes:
        part, paint = whole[slice(*pane.rows), slice(*pane.columns)], None
        if part.ndim == 3:
            part, paint = remove_overlay(part)
        sections.append(np.asarray(part, dtype=np.float32))
        painted.append(paint)
    return sections, painted


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


def _ordered(pair):
    return len(pair) == 2 and 0 <= pair[0] < pair[1]


def _not_understood(panes):
    return ValueError(
        f'panes={panes!r} is not understood: give "soop", places to cut volumes in mm '
        '({"axial": 18, "coronal": [-18, 0]}), or boxes in pictures '
        "([(plane, (top, bottom), (left, right)), ...])"
    )
