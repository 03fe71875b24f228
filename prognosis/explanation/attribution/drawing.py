"""Figures of attribution in the brain: glass brain and slices on paper, and a page to click."""

import numpy as np

from imaging.grids import open_image

__all__ = ["draw_map", "view_map"]

COLOURS = "RdBu_r"


def draw_map(
    explanation, patient=None, column=None, *, smoothing_mm=6.0, n_slices=6, background=None
):
    """Glass brain above, slices below; 2-D pictures are drawn as they are.

    Parameters
    ----------
    explanation : Explanation
    patient : index label, default=None
        None: the mean over patients.
    column : str, default=None
        An image column; None adds all of them up.
    smoothing_mm : float, default=6
        Full width at half maximum of the smoothing that attributions, which jump from voxel to
        voxel, need for the eye; 0 for none. Tables and NIfTI files are never smoothed.
    n_slices : int, default=6
        Axial slices: of those that the network sees, the ones with the strongest attribution.
    background : nibabel image, path, "mni152" or None, default=None
        None: the mean training image, as far as the network sees it.

    Returns
    -------
    matplotlib.figure.Figure
        Red speaks for what is explained, blue against it.
    """
    from matplotlib.figure import Figure

    if explanation.place.is_picture:
        return _draw_picture(explanation, patient, column)
    from nilearn import plotting

    image, behind = _layers(explanation, patient, column, smoothing_mm, background)
    limit = _limit(np.asanyarray(image.dataobj))
    figure = Figure(figsize=(11, 6.2), facecolor="white")
    figure.suptitle(_title(explanation, patient, column), fontsize=11)
    above = figure.add_axes((0.02, 0.45, 0.94, 0.47))
    below = figure.add_axes((0.02, 0.03, 0.94, 0.38))
    shared = {"cmap": COLOURS, "vmax": limit, "vmin": -limit}
    plotting.plot_glass_brain(image, axes=above, plot_abs=False, threshold=0, **shared)
    plotting.plot_stat_map(
        image,
        bg_img=behind,
        axes=below,
        display_mode="z",
        cut_coords=_cuts(explanation, patient, column, n_slices),
        threshold=0.1 * limit,
        black_bg=False,
        colorbar=False,
        **shared,
    )
    return figure


def view_map(explanation, patient=None, column=None, *, smoothing_mm=6.0, background=None):
    """The map in nilearn's HTML view; parameters as `draw_map`.

    Returns
    -------
    nilearn.plotting.html_stat_map.StatMapView
        Shows itself in a notebook; ``save_as_html(path)``, ``open_in_browser()``.
    """
    from nilearn import plotting

    image, behind = _layers(explanation, patient, column, smoothing_mm, background)
    limit = _limit(np.asanyarray(image.dataobj))
    return plotting.view_img(
        image,
        bg_img=behind,
        cmap=COLOURS,
        vmax=limit,
        symmetric_cmap=True,
        threshold=0.1 * limit,
        black_bg=False,
        title=_title(explanation, patient, column),
    )


def _layers(explanation, patient, column, smoothing_mm, background):
    from nilearn.datasets import load_mni152_template
    from nilearn.image import smooth_img

    image = explanation.to_nifti(patient, column)
    if smoothing_mm:
        image = smooth_img(image, smoothing_mm)
    if background is None:
        behind = explanation.background_image(column)
    elif isinstance(background, str) and background == "mni152":
        behind = load_mni152_template(resolution=2)
    else:
        behind = open_image(background)
    return image, behind


def _limit(values):
    """The end of a colour scale that is symmetric about zero."""
    return float(max(np.abs(values).max(), 1e-12))


def _cuts(explanation, patient, column, n_slices):
    """World z of the axial slices with the strongest attribution, from bottom to top."""
    image = explanation.to_nifti(patient, column)
    strength = np.abs(np.asanyarray(image.dataobj)).sum(axis=(0, 1))
    strongest = np.sort(np.argsort(-strength)[:n_slices])
    centre = (np.array(image.shape) - 1) / 2
    return [float(image.affine[2] @ [centre[0], centre[1], level, 1]) for level in strongest]


def _draw_picture(explanation, patient, column):
    from matplotlib.figure import Figure

    values = explanation.picture(patient, column)
    number = 0 if column is None else explanation.columns.index(column)
    limit = _limit(values)
    figure = Figure(figsize=(9, 4.6), facecolor="white")
    figure.suptitle(_title(explanation, patient, column), fontsize=11)
    left, right = figure.subplots(1, 2)
    left.imshow(explanation.background[number], cmap="gray")
    left.set_title("mean training picture", fontsize=9)
    shown = right.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit)
    figure.colorbar(shown, ax=right, fraction=0.046)
    for axes in (left, right):
        axes.set_axis_off()
    return figure


def _title(explanation, patient, column):
    about = explanation.metadata
    who = f"mean of {len(explanation.patients)} patients" if patient is None else f"{patient}"
    simulated = "SIMULATED: " if explanation.simulated else ""
    image = "" if column is None else f", {column}"
    return (
        f"{simulated}{about['method'].replace('_', ' ')} of {about['target']}, {who}{image} "
        "(red for, blue against)"
    )
