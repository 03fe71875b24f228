"""Label atlases: by name, by path with a table, from nilearn; loads on any grid."""

import os
import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from imaging import AtlasError, ImageError, load_atlas, region_load
from imaging.atlases import atlas_names
from imaging.atlases.white_matter import WHITE_MATTER


@pytest.fixture(scope="module")
def aal():
    return load_atlas("aal")


def _two_regions(tmp_path, table, suffix=".txt"):
    data = np.zeros((6, 6, 6), np.int16)
    data[:3, 1:4, 1:4], data[3:, 1:4, 1:4] = 1, 2
    path = tmp_path / "small.nii.gz"
    nib.save(nib.Nifti1Image(data, np.diag([2, 2, 2, 1])), path)
    (tmp_path / f"small{suffix}").write_text(table)
    return path


@pytest.mark.parametrize(
    "name",
    [n for n in atlas_names() if n not in ("harvard_oxford", "juelich", *WHITE_MATTER)],
)
def test_every_shipped_label_atlas_opens(name):
    atlas = load_atlas(name)
    assert len(set(atlas.regions)) == len(atlas.regions) > 50
    assert 0 not in atlas.names


def test_probability_maps_become_labels():
    atlas = load_atlas("harvard_oxford")
    assert len(atlas.regions) == 113
    assert atlas.names[3] == "Left_Insular_Cortex"
    insula = atlas.region_mask("Left_Insular_Cortex")
    centre = nib.affines.apply_affine(insula.affine, np.argwhere(insula.get_fdata() > 0).mean(0))
    assert np.allclose(centre, [-37, 2, 0], atol=6)


def test_regions_lie_where_anatomy_has_them(aal):
    mask = aal.region_mask("Temporal_Sup_L")
    x, y, z = nib.affines.apply_affine(mask.affine, np.argwhere(mask.get_fdata() > 0).mean(0))
    assert x < -45 and -35 < y < 0 and -10 < z < 20


def test_unknown_region_names_the_closest(aal):
    with pytest.raises(
        AtlasError, match=r"no region 'Temporal_Superior_L'; did you mean 'Temporal"
    ):
        aal.labels_of(["Precentral_L", "Temporal_Superior_L"])


def test_unknown_atlas_names_the_closest():
    with pytest.raises(AtlasError, match="did you mean 'aal'"):
        load_atlas("aal3")
    with pytest.raises(AtlasError, match="no atlas file"):
        load_atlas("folder/atlas.nii.gz")
    with pytest.raises(AtlasError, match="int where an atlas was expected"):
        load_atlas(3)


@pytest.mark.parametrize("changed", ["small.nii", "small.txt"])
def test_an_exchanged_atlas_is_opened_anew(tmp_path, changed):
    """Image or table, though size and time stay."""
    path = tmp_path / "small.nii"
    nib.save(nib.load(_two_regions(tmp_path, "1 left\n2 right\n")), path)
    first = load_atlas(path)
    assert load_atlas(path) is first
    status = (tmp_path / changed).stat()
    if changed == "small.txt":
        (tmp_path / changed).write_text("2 left\n1 right\n")
    else:
        mirrored = np.asanyarray(first.image.dataobj)[::-1]
        nib.save(nib.Nifti1Image(mirrored, first.image.affine), path)
        assert path.stat().st_size == status.st_size
    os.utime(tmp_path / changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = load_atlas(path)
    left, right = first.region_mask("left"), again.region_mask("right")
    assert np.array_equal(left.get_fdata(), right.get_fdata())


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    _two_regions(tmp_path, "1 left\n2 right\n")
    assert load_atlas("~/small.nii.gz").regions == ["left", "right"]
    with pytest.raises(AtlasError, match="no atlas file at '~no-such-user/small"):
        load_atlas("~no-such-user/small.nii")


@pytest.mark.parametrize(
    ("table", "suffix"),
    [
        ("index,name\n1,left\n2,right\n", ".csv"),
        ("1\tleft\n2\tright\n", ".tsv"),
        ("1 left\n2 right\n", ".txt"),
        ("1|MCA|left|1\n2|MCA|right|2\n", ".txt"),
    ],
)
def test_label_tables(tmp_path, table, suffix):
    atlas = load_atlas(_two_regions(tmp_path, table, suffix))
    assert atlas.names == {1: "left", 2: "right"}
    assert atlas.name == "small"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a b c\n", "no line 'number, name'"),
        ("1 left\n1 right\n", "names label 1 twice"),
        ("7 left\n8 right\n", "do not belong together"),
        ("1 5\n2 6\n", "numbers but no names"),
    ],
)
def test_unfit_label_tables_are_refused(tmp_path, table, message):
    with pytest.raises(AtlasError, match=message):
        load_atlas(_two_regions(tmp_path, table))


def test_missing_table_and_unfit_images_are_refused(tmp_path):
    path = _two_regions(tmp_path, "1 left\n2 right\n")
    (tmp_path / "small.txt").unlink()
    with pytest.raises(AtlasError, match=r"no label table beside .*'small.txt'"):
        load_atlas(path)
    (tmp_path / "small.txt").write_text("1 left\n2 right\n")
    nib.save(nib.Nifti1Image(np.full((6, 6, 6), 0.5, np.float32), np.eye(4)), path)
    with pytest.raises(AtlasError, match="holds fractions"):
        load_atlas(path)


def test_a_changed_atlas_file_is_read_again(tmp_path):
    path = _two_regions(tmp_path, "1 left\n2 right\n")
    assert region_load(load_atlas(path).region_mask("left"), path)["right"] == 0
    nib.save(nib.Nifti1Image(np.ones((3, 6, 6), np.int16), np.diag([2, 2, 2, 1])), path)
    assert load_atlas(path).image.shape == (3, 6, 6)


def test_nilearn_bunches(tmp_path):
    path = _two_regions(tmp_path, "1 left\n2 right\n")
    expected = {1: "left", 2: "right"}
    lut = pd.DataFrame({"index": [0, 1, 2], "name": ["Background", "left", "right"]})
    for bunch in (
        Bunch(maps=path, lut=lut, labels=["Background", "left", "right"]),
        Bunch(maps=str(path), indices=["1", "2"], labels=["left", "right"]),
        Bunch(maps=nib.load(path), labels=[b"Background", b"left", b"right"]),
    ):
        assert load_atlas(bunch).names == expected
    with pytest.raises(AtlasError, match="neither 'lut' nor 'labels'"):
        load_atlas(Bunch(maps=path))


def test_four_dimensional_bunch_keeps_the_most_probable(tmp_path):
    maps = np.zeros((4, 4, 4, 2), np.float32)
    maps[:2, ..., 0], maps[2:, ..., 1], maps[3, ..., 0] = 0.6, 0.4, 0.2
    maps[0] = 0.1
    atlas = load_atlas(Bunch(maps=nib.Nifti1Image(maps, np.eye(4)), labels=["a", "b"]))
    assert atlas.image.get_fdata()[:, 0, 0].tolist() == [0, 1, 2, 2]
    with pytest.raises(AtlasError, match="probabilities"):
        load_atlas(Bunch(maps=nib.Nifti1Image(maps - 1, np.eye(4)), labels=["a", "b"]))


@pytest.mark.parametrize(
    "axes", [((0, 1), (1, 1), (2, 1)), ((1, -1), (0, 1), (2, -1)), ((2, 1), (0, -1), (1, -1))]
)
def test_load_does_not_depend_on_orientation(aal, axes):
    mask = aal.region_mask(["Insula_L", "Putamen_L"])
    turned = mask.as_reoriented(np.array(axes, float))
    loads = region_load(turned, aal)
    assert loads["Insula_L"] == loads["Putamen_L"] == 1
    assert sum(loads.values()) == 2


def test_load_on_a_finer_and_a_coarser_grid(aal):
    from imaging import to_grid

    mask = aal.region_mask("Temporal_Sup_L")
    for edge_mm in (1.5, 4):
        affine = mask.affine.copy()
        affine[:3, :3] *= edge_mm / 2
        shape = tuple(int(n * 2 / edge_mm) for n in mask.shape)
        grid = nib.Nifti1Image(np.zeros(shape, np.uint8), affine)
        loads = region_load(to_grid(mask, grid, interpolation="nearest"), aal)
        assert loads["Temporal_Sup_L"] > 0.97
        assert sum(loads.values()) < 1.1


def test_half_a_region_counts_half(tmp_path):
    path = _two_regions(tmp_path, "1 left\n2 right\n")
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[3:, 1:4, 1] = 1
    loads = region_load(nib.Nifti1Image(mask, np.diag([2, 2, 2, 1])), path)
    assert loads == {"left": 0, "right": pytest.approx(1 / 3)}


def test_empty_mask_and_mask_elsewhere(aal):
    empty = nib.Nifti1Image(np.zeros(aal.image.shape, np.uint8), aal.image.affine)
    assert set(region_load(empty, aal).values()) == {0.0}
    far = nib.Nifti1Image(
        np.ones((4, 4, 4), np.uint8), nib.affines.from_matvec(np.eye(3), [900] * 3)
    )
    with pytest.raises(AtlasError, match="no region of atlas 'aal' lies within the image"):
        region_load(far, aal, space="native")
    with pytest.raises(ImageError, match="100 % of the lesion lies outside of the template's"):
        region_load(far, aal)


def test_labels_on_a_grid_are_computed_once_and_stay_out_of_pickles(aal):
    grid = nib.Nifti1Image(np.zeros((20, 20, 20), np.uint8), np.diag([4, 4, 4, 1]))
    first = aal.labels_on(grid)
    assert aal.labels_on(nib.Nifti1Image(np.ones((20, 20, 20)), grid.affine)) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0, 0] = 1
    copy = pickle.loads(pickle.dumps(aal))
    assert copy.names == aal.names and not copy._on_grids
    assert np.array_equal(copy.labels_on(grid), first)


@pytest.mark.data
def test_arterial_atlas_of_soop(data_home):
    path = data_home / "soop" / "NIfTI" / "ArterialAtlas136.nii.gz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    atlas = load_atlas(path)
    assert len(atlas.regions) == 32
    assert atlas.names[9] == "parietal pars of middle cerebral artery left"
