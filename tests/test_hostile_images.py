"""Images that say what they are not: refused in a sentence, before any memory is asked for."""

import bz2
import gzip
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import imaging
from imaging import ImageError
from imaging.atlases import load_atlas
from imaging.errors import AtlasError
from imaging.volumes import read_stored

VOXELS = np.arange(1, 9, dtype=np.int16).reshape(2, 2, 2)


def patched(folder, name="scan.nii", *edits):
    """A scan of eight voxels, with other bytes in its header."""
    nib.save(nib.Nifti1Image(VOXELS, np.diag([-2, 2, 2, 1])), folder / "whole.nii")
    content = bytearray((folder / "whole.nii").read_bytes())
    for offset, layout, *values in edits:
        struct.pack_into(layout, content, offset, *values)
    pack = {"z": gzip.compress, "2": bz2.compress}.get(name[-1], bytes)
    (folder / name).write_bytes(pack(bytes(content)))
    return folder / name


def dims(*counts):
    return 40, "<8h", len(counts), *counts, *[1] * (7 - len(counts))


# ------------------------------------------------------------------- silently wrong


@pytest.mark.parametrize(("unit", "factor"), [("micron", "0.001"), ("meter", "1000")])
def test_other_units_than_millimetres_are_refused(unit, factor, tmp_path):
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "scan.nii")
    for given in (image, tmp_path / "scan.nii"):
        with pytest.raises(ImageError, match=f"lengths are in {unit}s.*{factor}.*set_xyzt_units"):
            imaging.read_volume(given)
    # The unit of time says nothing of lengths, even where it is none.
    with pytest.raises(ImageError, match="meters"):
        imaging.open_image(patched(tmp_path, "odd.nii", (123, "B", 97)))
    imaging.read_volume(patched(tmp_path, "odd.nii", (123, "B", 96)))


def test_complex_and_coloured_images_are_refused(tmp_path):
    wave = nib.Nifti1Image((VOXELS + 5j).astype(np.complex64), np.eye(4))
    nib.save(wave, tmp_path / "wave.nii")
    for given in (wave, tmp_path / "wave.nii"):
        with pytest.raises(ImageError, match=r"holds complex numbers; .*magnitude"):
            imaging.read_mask(given)
    rgb = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii.gz")
    with pytest.raises(ImageError, match=r"holds colours \(R, G, B\)"):
        imaging.read_volume(tmp_path / "rgb.nii.gz")


def test_an_affine_whose_code_means_nothing_is_not_replaced_by_another(tmp_path):
    with pytest.raises(ImageError, match="sform_code 9, which means nothing"):
        imaging.read_volume(patched(tmp_path, "scan.nii.gz", (254, "<h", 9)))
    assert imaging.read_volume(patched(tmp_path, "scan.nii", (254, "<h", 4))).shape == (2, 2, 2)


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_are_read_in_either_byte_order(order, tmp_path):
    grey = np.arange(0, 4000, 40).reshape(10, 10)
    Image.fromarray(grey.astype(f"{order}u2")).save(tmp_path / "scan.tif")
    np.testing.assert_array_equal(imaging.read_picture(tmp_path / "scan.tif"), grey)


def test_of_several_pictures_none_is_chosen(tmp_path):
    first, second = (Image.fromarray(np.full((5, 5), n, np.uint8)) for n in (3, 9))
    first.save(tmp_path / "scan.tif", save_all=True, append_images=[second])
    with pytest.raises(ImageError, match="holds 2 pictures"):
        imaging.read_picture(tmp_path / "scan.tif")


# ------------------------------------------------------------------- memory


@pytest.fixture
def frugal():
    """Fails if more than 20 MB are taken."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("read", [imaging.read_volume, imaging.read_mask, read_stored])
def test_a_header_that_promises_more_than_its_file_holds(name, read, tmp_path, frugal):
    path = patched(tmp_path, name, dims(1200, 1200, 1200))
    with pytest.raises(ImageError, match=r"ends early: .* promises 1200 x 1200 x 1200 voxels"):
        read(path)


def test_no_head_has_so_many_voxels(tmp_path, frugal):
    nothing = np.broadcast_to(np.uint8(1), (1200, 1200, 1200))
    with pytest.raises(ImageError, match="more than 1,000,000,000, which no image of a head has"):
        imaging.read_volume(nib.Nifti1Image(nothing, np.eye(4)))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gz", "bz2"])
def test_no_more_is_unpacked_than_the_header_allows(pack, tmp_path, frugal):
    plain = patched(tmp_path).read_bytes()
    name = "bomb.nii.gz" if pack is gzip.compress else "bomb.nii.bz2"
    many = b"".join([pack(plain), *[pack(bytes(2_000_000))] * 40])
    (tmp_path / name).write_bytes(many)
    with pytest.raises(ImageError, match="goes on for more than 64,000,000 bytes"):
        imaging.read_volume(tmp_path / name)
    (tmp_path / name).write_bytes(pack(plain) + pack(b"a note"))
    assert imaging.read_volume(tmp_path / name).get_fdata().max() == 8


def test_pictures_of_more_pixels_than_any_section_has(tmp_path):
    Image.new("1", (12000, 12000)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageError, match="12000 x 12000 pixels, more than 100,000,000"):
        imaging.read_picture(tmp_path / "bomb.png")


@pytest.mark.parametrize("edge", [1000.0, 0.001])
def test_voxels_that_no_scan_of_a_head_has(edge):
    with pytest.raises(ImageError, match=r"mm where 0.01 to 50 mm were expected"):
        imaging.read_volume(nib.Nifti1Image(VOXELS, np.diag([edge, 1, 1, 1])))


def test_what_becomes_too_large_is_not_resized(frugal):
    image = nib.Nifti1Image(np.ones((40, 40, 40), np.uint8), np.diag([40.0, 40, 40, 1]))
    with pytest.raises(ImageError, match=r"resampled to 0.5 mm"):
        imaging.to_spacing(image, 0.5)
    long = nib.Nifti1Image(np.ones((100, 2, 2), np.uint8), np.diag([40.0, 1, 1, 1]))
    with pytest.raises(ImageError, match="4,000 mm long, more than a body"):
        imaging.read_volume(long)


# ------------------------------------------------------------------- foreign errors

BROKEN = {
    "negative size": [dims(-2, 2, 2)],
    "no axis": [(40, "<h", 99)],
    "unknown type": [(70, "<h", 9999)],
    "endless offset": [(108, "<f", 1e30)],
    "no offset": [(108, "<f", float("nan"))],
    "no rotation": [(252, "<2h", 1, 0), (256, "<3f", 9, 9, 9)],
    "no affine": [(280, "<12f", *[0] * 12)],
    "far away": [(280, "<12f", 1, 0, 0, 1e9, 0, 1, 0, 0, 0, 0, 1, 0)],
}


@pytest.mark.parametrize("edits", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_broken_headers_are_refused_in_a_sentence(edits, name, tmp_path):
    with pytest.raises(ImageError) as refused:
        imaging.read_volume(patched(tmp_path, name, *edits))
    assert "\n" not in str(refused.value) and "; " in str(refused.value)


@pytest.mark.parametrize("ending", [".par", ".head", ".gii", ".mgh", ".mnc", ".img", ".zst"])
def test_files_of_other_formats_than_their_names_say(ending, tmp_path):
    (tmp_path / f"scan{ending}").write_bytes(patched(tmp_path).read_bytes())
    with pytest.raises(ImageError, match="cannot be read as an image"):
        imaging.read_volume(tmp_path / f"scan{ending}")


@pytest.mark.parametrize("path", ["a" * 5000 + ".nii", "a\0b.nii", "a\0b.png", "."])
def test_paths_that_the_system_cannot_have(path):
    read = imaging.read_picture if path.endswith(".png") else imaging.read_volume
    with pytest.raises(ImageError, match=r"no path of a file|no file at|is a folder"):
        read(path)


def test_an_atlas_is_read_through_the_same_door(tmp_path):
    path = patched(tmp_path, "regions.nii.gz", dims(1200, 1200, 1200))
    (tmp_path / "regions.txt").write_text("1\ta\n2\tb\n")
    with pytest.raises(AtlasError, match="ends early"):
        load_atlas(path)


def test_an_analyze_file_does_not_say_which_side_is_left(tmp_path):
    nib.save(nib.Nifti1Pair(VOXELS, np.diag([-2, 2, 2, 1])), tmp_path / "pair.img")
    assert imaging.read_volume(tmp_path / "pair.img").shape == (2, 2, 2)
    content = bytearray((tmp_path / "pair.hdr").read_bytes())
    content[344:348] = b"abcd"  # no longer NIfTI
    (tmp_path / "pair.hdr").write_bytes(content)
    with pytest.raises(ImageError, match="does not say which side is left"):
        imaging.read_volume(tmp_path / "pair.img")
    nib.save(nib.Spm99AnalyzeImage(VOXELS, np.diag([-2, 2, 2, 1])), tmp_path / "spm.img")
    assert imaging.read_volume(tmp_path / "spm.img").shape == (2, 2, 2)  # its .mat says it


def test_an_image_that_ends_before_the_grid_begins():
    far = nib.Nifti1Image(VOXELS, nib.affines.from_matvec(np.eye(3), [500, 500, 500]))
    grid = nib.Nifti1Image(
        np.zeros((3, 3, 3), np.uint8), nib.affines.from_matvec(np.eye(3), [-900, 0, 0])
    )
    with pytest.raises(ImageError, match="cannot be resampled"):
        imaging.to_grid(grid, far)
