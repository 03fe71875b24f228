"""Sections of a brain: cut alike of any grid and picture, paint taken off, lesions told nothing."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from imaging import ImageError, read_volume
from imaging.overlay import remove_overlay
from imaging.sections.describing import describe_sections, picture_panes
from imaging.sections.panes import SOOP_PANES, as_panes
from imaging.sections.reading import lesion_sections, read_sections

GRID = nib.affines.from_matvec(np.eye(3), [-78, -112, -50])


def head(ventricle=8.0, bright=0, seed=0):
    """A ball of tissue with fluid in its middle, on the grid that the sections are cut of."""
    places = np.indices((157, 189, 136), dtype=np.float32)
    away = [(p - m) / r for p, m, r in zip(places, (78, 94, 68), (65, 80, 60))]
    data = np.where(sum(a**2 for a in away) < 1, 500.0, 0.0)
    x, y, z = places[0] - 78, places[1] - 94, places[2] - 68
    data[(x / ventricle) ** 2 + (y / (2 * ventricle)) ** 2 + (z / ventricle) ** 2 < 1] = 100
    if bright:
        data[(np.abs(x - 35) < bright) & (np.abs(y) < bright) & (np.abs(z) < bright)] = 800
    data += np.where(data > 0, np.random.default_rng(seed).normal(0, 10, data.shape), 0)
    return nib.Nifti1Image(data.astype(np.float32), GRID)


def ball(radius=12, centre=(118, 94, 68)):
    places = np.indices((157, 189, 136))
    away = sum((p - c) ** 2 for p, c in zip(places, centre))
    return nib.Nifti1Image((away < radius**2).astype(np.uint8), GRID)


@pytest.fixture(scope="module")
def scan():
    return head()


@pytest.fixture(scope="module")
def described(scan):
    return describe_sections(scan, SOOP_PANES)


def strip(image):
    """The published layout: axial, sagittal and coronal section side by side, row 0 at the top."""
    data = np.asanyarray(image.dataobj)
    whole = np.zeros((189, 503), np.float32)
    whole[:, :157] = data[:, :, 68].T[::-1]
    whole[53:, 157:346] = data[39].T[::-1]
    whole[53:, 346:] = data[:, 94].T[::-1]
    return whole


def test_sections_of_a_volume_are_those_of_the_published_layout(scan, tmp_path):
    marked = np.random.default_rng(0).integers(1, 255, scan.shape).astype(np.uint8)
    marked = nib.Nifti1Image(marked, GRID)
    Image.fromarray(strip(marked).astype(np.uint8)).save(tmp_path / "strip.png")
    cut, painted = read_sections(marked, SOOP_PANES)
    shown, _ = read_sections(tmp_path / "strip.png", SOOP_PANES)
    for one, other, pane in zip(cut, shown, SOOP_PANES):
        assert one.shape == pane.shape
        np.testing.assert_array_equal(one, other)
    assert painted == [None] * 3


def test_the_grid_does_not_matter(scan, described):
    turned = scan.as_reoriented(np.array([[1, -1], [2, 1], [0, -1.0]]))
    again = describe_sections(turned, SOOP_PANES)
    np.testing.assert_allclose(again["picture"], described["picture"], atol=1e-5)
    small = nib.Nifti1Image(
        np.asanyarray(scan.dataobj)[::2, ::2, ::2], GRID @ np.diag([2, 2, 2, 1])
    )
    coarse = describe_sections(small, SOOP_PANES)
    assert np.corrcoef(coarse["picture"], described["picture"])[0, 1] > 0.98
    np.testing.assert_allclose(coarse["numbers"], described["numbers"], atol=0.15)


def test_grey_values_have_no_unit(scan, described):
    for factor in (0.001, 30):
        other = nib.Nifti1Image(np.asanyarray(scan.dataobj) * factor, GRID)
        found = describe_sections(other, SOOP_PANES)
        np.testing.assert_allclose(found["picture"], described["picture"], atol=1e-3)
        np.testing.assert_allclose(found["numbers"], described["numbers"], atol=1e-3)


def test_numbers_say_what_they_are_called(described):
    """5th percentile, fluid; with a midline ventricles, fluid elsewhere, bright tissue."""
    axial, sagittal, coronal = np.split(described["numbers"], [5, 7])
    # An ellipse of 16 x 8 pixels in one of 80 x 65, of which 3 pixels of rim are taken.
    share = 16 * 8 / (77 * 62)
    assert axial[1] == pytest.approx(share, rel=0.1)
    assert axial[2] == pytest.approx(np.log(0.002 + share), abs=0.1)
    assert axial[3] == 0 and sagittal[1] == 0  # no fluid beside the ventricle
    assert axial[4] == coronal[4] == pytest.approx(np.log(0.002))
    assert 0.9 < sagittal[0] < 1
    wide = describe_sections(head(ventricle=14), SOOP_PANES)["numbers"] - described["numbers"]
    assert wide[2] > 0.8 and wide[9] > 0.8
    assert np.abs(np.delete(wide, [0, 1, 2, 7, 8, 9])).max() < 0.1
    spots = describe_sections(head(bright=6), SOOP_PANES)["numbers"] - described["numbers"]
    assert spots[4] > 1 and np.abs(np.delete(spots, [4, 11])).max() < 0.1


def test_lesions_tell_nothing(scan, described):
    mask = ball()
    told = nib.Nifti1Image(np.where(np.asanyarray(mask.dataobj), 900, scan.dataobj), GRID)
    with_it = describe_sections(told, SOOP_PANES)
    assert np.abs(with_it["picture"] - described["picture"]).max() > 0.4
    without = describe_sections(told, SOOP_PANES, lesion_sections(mask, SOOP_PANES))
    assert np.abs(without["picture"] - described["picture"]).max() < 0.05
    np.testing.assert_allclose(without["numbers"], described["numbers"], atol=0.03)


def test_paint_is_taken_off_and_counts_as_lesion(scan, tmp_path):
    grey = np.clip(strip(scan) / 4, 0, 255).astype(np.uint8)
    mask = strip(ball()) > 0
    colours = np.repeat(grey[..., None], 3, axis=2).astype(float)
    colours[mask] = colours[mask] / 2 + [127.5, 0, 0]
    rendering = np.zeros((189, 189, 3))
    rendering[..., 2] = 200  # another colour, outside of the sections
    Image.fromarray(np.hstack([colours, rendering]).astype(np.uint8)).save(tmp_path / "red.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(255 * mask.astype(np.uint8)).save(tmp_path / "mask.png")
    from_volume = lesion_sections(ball(), SOOP_PANES)
    np.testing.assert_array_equal(lesion_sections(tmp_path / "mask.png", SOOP_PANES), from_volume)
    painted = describe_sections(tmp_path / "red.png", SOOP_PANES)
    clean = describe_sections(tmp_path / "grey.png", SOOP_PANES, from_volume)
    np.testing.assert_allclose(painted["picture"], clean["picture"], atol=1e-3)
    np.testing.assert_allclose(painted["numbers"], clean["numbers"], atol=1e-3)


def test_another_colour_is_refused():
    with pytest.raises(ImageError, match="coloured otherwise than by a red overlay"):
        remove_overlay(np.dstack([np.zeros((2, 2, 2), np.uint8), np.full((2, 2), 9, np.uint8)]))


def test_an_empty_mask_is_a_mask(tmp_path):
    nothing = nib.Nifti1Image(np.zeros((5, 5, 5), np.uint8), GRID)
    assert not lesion_sections(nothing, SOOP_PANES).any()
    Image.fromarray(np.zeros((189, 503), np.uint8)).save(tmp_path / "none.png")
    assert not lesion_sections(tmp_path / "none.png", SOOP_PANES).any()
    with pytest.raises(ImageError, match="negative values"):
        lesion_sections(nib.Nifti1Image(-np.ones((5, 5, 5), np.float32), GRID), SOOP_PANES)


def test_places_and_boxes(scan):
    panes = as_panes({"axial": [0, 18], "coronal": -18})
    assert [(pane.plane, pane.at_mm) for pane in panes] == [
        ("axial", 0),
        ("axial", 18),
        ("coronal", -18),
    ]
    found = describe_sections(scan, panes)
    shapes = [picture.shape for picture in picture_panes(found["picture"], panes)]
    assert shapes == [(48, 40), (48, 40), (34, 40)] and found["numbers"].shape == (15,)
    data = np.asanyarray(read_volume(scan).dataobj)[:, :, 60:61]
    slice_only = nib.Nifti1Image(data, GRID)
    box = as_panes([("axial", (0, 189), (0, 157))])
    (section,), _ = read_sections(slice_only, box)
    np.testing.assert_array_equal(section, data[:, :, 0].T[::-1])


@pytest.mark.parametrize(
    ("panes", "message"),
    [
        ("axial", "is not understood"),
        ({"oblique": 3}, "is not understood"),
        ({"axial": "top"}, "is not understood"),
        ({}, "is not understood"),
        ([("axial", (0, 189))], "is not understood"),
        ({"axial": 140}, "axial section at 140 mm lies outside"),
        ([("axial", (9, 9), (0, 157))], "no box in a picture"),
    ],
)
def test_what_is_no_layout_is_refused(panes, message):
    with pytest.raises(ValueError, match=message):
        as_panes(panes)


def test_what_has_no_such_sections_is_refused(scan, tmp_path):
    Image.fromarray(np.full((100, 503), 9, np.uint8)).save(tmp_path / "low.png")
    Image.fromarray(np.full((512, 512), 9, np.uint8)).save(tmp_path / "other.png")
    far = nib.Nifti1Image(
        np.ones((9, 9, 9), np.float32), nib.affines.from_matvec(np.eye(3), [500] * 3)
    )
    spot = np.zeros(scan.shape, np.float32)
    spot[30:50, 90:100, 60:75] = 1
    spot = nib.Nifti1Image(spot, GRID)
    shifted = nib.Nifti1Image(np.asanyarray(scan.dataobj) - 300, GRID)
    box = as_panes([("axial", (0, 100), (0, 100))])
    for source, panes, message in [
        (tmp_path / "low.png", SOOP_PANES, "has 100 rows and 503 columns"),
        (tmp_path / "other.png", SOOP_PANES, "has 512 rows and 512 columns"),
        (tmp_path / "low.png", as_panes({"axial": 18}), "a 2-D picture was found"),
        (scan, box, "a volume was found where panes declares boxes"),
        (far, SOOP_PANES, "the sections are black"),
        (spot, SOOP_PANES, "axial section shows 56 pixels of brain"),
        (shifted, SOOP_PANES, "holds negative values"),
    ]:
        with pytest.raises(ImageError, match=message):
            describe_sections(source, panes)
