"""Figures of attribution in the brain: slices on anatomy, and a page to click."""

import numpy as np

from .painting import paint

__all__ = ["as_html", "draw_map", "view_map"]

COLOURS = "RdBu_r"
FAINT = 0.35  # share of the scale from which colours are solid; below, anatomy shines through
PER_ROW = 4


def draw_map(
    explanation, patient=None, column=None, *, smoothing_mm=8.0, n_slices=6, background=None
):
    """Axial slices of a map, and the sagittal and the coronal one that hold the most of it.

    Parameters
    ----------
    explanation : Explanation
        2-D pictures are drawn as they are.
    patient : index label, default=None
        None: the mean over patients.
    column : str, default=None
        An image column; None adds all of them up.
    smoothing_mm : float, default=8
        Full width at half maximum of the smoothing that attributions, which jump from voxel to
        voxel, need for the eye; 0 for none. It also bridges what the network does not see between
        stitched slices. Tables and NIfTI files are never smoothed.
    n_slices : int, default=6
        Axial slices, evenly over where the attribution is.
    background : nibabel image, path, "mni152", "mean" or None, default=None
        Anatomy behind the map, whose voxels are drawn: "mni152" the template, "mean" the mean
        training image as far as the network sees it. None: the template, or for images in native
        space the mean.

    Returns
    -------
    matplotlib.figure.Figure
        Attribution per millilitre. Red speaks for what is explained, blue against it; faint is
        weak. Images in template space are masked to the brain, and the title says how much of the
        attribution lies outside.
    """
    from matplotlib.figure import Figure

    if explanation.place.is_picture:
        return _draw_picture(explanation, patient, column)
    painting = paint(explanation, patient, column, smoothing_mm=smoothing_mm, background=background)
    limit, panes = painting.limit, _panes(painting, n_slices)
    rows = -(-len(panes) // PER_ROW)
    figure = Figure(figsize=(9.6, 2.75 * rows + 1.45), facecolor="white")
    _write_title(figure, explanation, patient, column, painting.outside)
    top, bottom = 1 - 0.72 / figure.get_figheight(), 0.75 / figure.get_figheight()
    axes = figure.subplots(
        rows,
        PER_ROW,
        squeeze=False,
        gridspec_kw={"left": 0.01, "right": 0.99, "top": top, "bottom": bottom, "wspace": 0.03},
    )
    for place, (axis, index) in zip(axes.ravel(), panes, strict=False):
        _draw_pane(place, painting, axis, index, limit)
    for place in axes.ravel():
        place.set_axis_off()
    _draw_scale(figure, explanation, limit, f"{explanation.metadata['unit']} per ml")
    return figure


def view_map(explanation, patient=None, column=None, *, smoothing_mm=8.0, background=None):
    """The map in nilearn's HTML view; parameters as `draw_map`.

    Returns
    -------
    nilearn.plotting.html_stat_map.StatMapView
        Shows itself in a notebook; ``save_as_html(path)``, ``open_in_browser()``.
    """
    from nilearn import plotting

    painting = paint(explanation, patient, column, smoothing_mm=smoothing_mm, background=background)
    image, behind = painting.as_images()
    return plotting.view_img(
        image,
        bg_img=behind,
        cmap=COLOURS,
        vmax=painting.limit,
        symmetric_cmap=True,
        threshold=0.15 * painting.limit,
        black_bg=False,
        title=f"{_title(explanation, patient, column)} ({explanation.metadata['unit']} per ml)",
    )


def as_html(explanation):
    """The mean map as a picture, and the mean size of what the tabular values add, as HTML."""
    import base64
    import io
    from html import escape

    file, about = io.BytesIO(), explanation.metadata
    draw_map(explanation).savefig(file, dpi=80, format="png")
    words = escape(_title(explanation, None, None))
    data = base64.b64encode(file.getvalue()).decode()
    parts = [f'<img alt="{words}" src="data:image/png;base64,{data}" style="max-width: 100%">']
    if explanation.tabular.shape[1]:
        sizes = explanation.tabular.abs().mean().rename(f"mean size ({about['unit']})")
        parts.append(sizes.to_frame().to_html(float_format="{:.3f}".format))
    return f"<div><p>{escape(repr(explanation))}</p>{''.join(parts)}</div>"


def _panes(painting, n_slices):
    """Axis and index of every section: axial ones from below, then sagittal and coronal."""
    strength = np.abs(np.nan_to_num(painting.values))
    if not strength.any():
        strength = np.ones_like(strength)
    levels = np.cumsum(strength.sum(axis=(0, 1)))
    shares = (np.arange(n_slices) + 0.5) / n_slices
    low, high = np.searchsorted(levels / levels[-1], [0.03, 0.97])
    axial = np.unique(np.rint(low + shares * (high - low)).astype(int))
    sagittal, coronal = strength.sum(axis=(1, 2)).argmax(), strength.sum(axis=(0, 2)).argmax()
    return [(2, int(level)) for level in axial] + [(0, int(sagittal)), (1, int(coronal))]


def _draw_pane(place, painting, axis, index, limit):
    cut = (slice(None),) * axis + (index,)
    sizes = np.linalg.norm(painting.affine[:3, :3], axis=0)
    across, up = (n for n in range(3) if n != axis)
    shown = {"origin": "lower", "aspect": sizes[up] / sizes[across], "interpolation": "bilinear"}
    place.imshow(painting.anatomy[cut].T, cmap="gray", vmin=0, vmax=1.15, **shown)
    values = painting.values[cut].T
    solid = np.where(np.isfinite(values), np.clip(np.abs(values) / (FAINT * limit), 0, 1), 0)
    place.imshow(
        np.nan_to_num(values),
        cmap=COLOURS,
        vmin=-limit,
        vmax=limit,
        alpha=0.9 * solid,
        **shown,
    )
    point = np.zeros(4)
    point[[axis, 3]] = index, 1
    world = round(float(painting.affine[axis] @ point))
    side = f" ({'left' if world < 0 else 'right'})" if axis == 0 and world else ""
    where = f"{'xyz'[axis]} = {world} mm{side}".replace("-", "\N{MINUS SIGN}")
    place.set_title(where, fontsize=8, pad=2)
    if axis != 0:
        for x, text in ((0.03, "L"), (0.97, "R")):
            place.text(
                x,
                0.02,
                text,
                transform=place.transAxes,
                color="white",
                fontsize=8,
                ha="left" if text == "L" else "right",
            )


def _draw_scale(figure, explanation, limit, unit):
    """The colour scale, with what its ends say in words."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    height = figure.get_figheight()
    place = figure.add_axes((0.33, 0.42 / height, 0.34, 0.13 / height))
    colours = ScalarMappable(Normalize(-limit, limit), COLOURS)
    scale = figure.colorbar(colours, cax=place, orientation="horizontal", extend="both")
    scale.set_ticks([-limit, 0, limit])
    scale.ax.set_xticklabels(
        [f"\N{MINUS SIGN}{limit:.2g}", "0", f"+{limit:.2g} {unit}"], fontsize=8
    )
    what = explanation.metadata.get("speaks_for") or explanation.metadata["target"]
    for x, words, side in ((0.31, "against", "right"), (0.69, "for", "left")):
        figure.text(
            x,
            0.485 / height,
            f"speaks {words} {what}",
            ha=side,
            va="center",
            fontsize=9,
            parse_math=False,
        )


def _draw_picture(explanation, patient, column):
    from matplotlib.figure import Figure

    values = explanation.picture(patient, column)
    number = 0 if column is None else explanation.columns.index(column)
    limit = float(max(np.abs(values).max(), 1e-12))
    figure = Figure(figsize=(9.6, 5.4), facecolor="white")
    _write_title(figure, explanation, patient, column, 0.0)
    grid = {"left": 0.02, "right": 0.98, "top": 0.84, "bottom": 0.15}
    left, right = figure.subplots(1, 2, gridspec_kw=grid)
    left.imshow(explanation.background[number], cmap="gray")
    left.set_title("mean training picture", fontsize=9)
    right.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit)
    right.set_title("attribution", fontsize=9)
    for axes in (left, right):
        axes.set_axis_off()
    _draw_scale(figure, explanation, limit, f"{explanation.metadata['unit']} per pixel")
    return figure


def _write_title(figure, explanation, patient, column, outside):
    about, height = explanation.metadata, figure.get_figheight()
    figure.suptitle(
        _title(explanation, patient, column),
        fontsize=12,
        y=1 - 0.12 / height,
        va="top",
        parse_math=False,
    )
    below = f"{about['method'].replace('_', ' ')} of {about['target']}"
    if outside > 0.005:
        below += f"; {100 * outside:.0f} % of the attribution lies outside the brain, not drawn"
    figure.text(0.5, 1 - 0.4 / height, below, ha="center", va="top", fontsize=8.5, parse_math=False)


def _title(explanation, patient, column):
    about = explanation.metadata
    what = about.get("speaks_for") or about["target"]
    who = f"mean of {len(explanation.patients)} patients" if patient is None else f"{patient}"
    simulated = "SIMULATED: " if explanation.simulated else ""
    image = "" if column is None else f", {column}"
    return f"{simulated}what speaks for and against {what}, {who}{image}"
